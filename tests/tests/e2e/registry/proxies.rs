//! Registries behind a proxy.

use testkit::{Engine, ForwardProxy, Kind, Options};

use super::prints;
use super::server::{Registry, busybox};

const ADDRESS: &str = "http://me:p%40ss@127.0.0.1:3128";
const MASKED: &str = "http://xxxxx:xxxxx@127.0.0.1:3128";
/// `me:p@ss`
const GOOD: &str = "Basic bWU6cEBzcw==";
const EXCEPTIONS: &str = "10.0.0.0/8,.direct.example";

#[test]
fn registries_are_reached_through_the_proxies_of_the_environment() {
    let variables = [
        ("HTTP_PROXY", ADDRESS),
        ("https_proxy", ADDRESS),
        ("NO_PROXY", EXCEPTIONS),
    ];
    let options = Options {
        flags: ["reg.example:5000", "reg.example:5443"]
            .map(|name| format!("--insecure-registry={name}"))
            .into(),
        environment: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    };
    Engine::run_with(options, |engine| {
        let proxy = ForwardProxy::start(engine.sandbox(), 3128);
        proxy.require(GOOD);
        let plain = Registry::start(engine);
        plain.upload(&busybox(), "box:1");
        let encrypted = Registry::start_encrypted(engine);
        encrypted.upload(&busybox(), "box:1");
        for client in [Engine::d, Engine::w] {
            for (name, request) in [
                ("reg.example:5000/box:1", "GET http://reg.example:5000/v2/"),
                ("reg.example:5443/box:1", "CONNECT reg.example:5443"),
            ] {
                let before = proxy.seen().len();
                client(engine, &["pull", name]).ok();
                prints(engine, name, &["echo", "fine"], "fine\n");
                let seen = proxy.seen().split_off(before);
                assert!(seen.iter().any(|seen| seen == request), "{seen:?}");
                client(engine, &["rmi", name]).ok();
            }
            // This host, and what is excepted.
            let before = proxy.seen();
            let name = plain.name("box:1");
            client(engine, &["pull", &name]).ok();
            client(engine, &["rmi", &name]).ok();
            let failed = client(engine, &["pull", "10.9.9.9:5000/box:1"]).fails_with(1);
            assert!(
                failed.stderr.contains("network is unreachable"),
                "{}",
                failed.stderr
            );
            assert_eq!(proxy.seen(), before);
            let told = client(engine, &["info"]).ok().stdout;
            for line in [
                format!("\n HTTP Proxy: {MASKED}\n"),
                format!("\n HTTPS Proxy: {MASKED}\n"),
                format!("\n No Proxy: {EXCEPTIONS}\n"),
            ] {
                assert!(told.contains(&line), "{line}: {told}");
            }
        }
        proxy.require("Basic somebody-else");
        for (name, words) in [
            (
                "reg.example:5000/box:1",
                "proxyconnect tcp: the proxy answered 407 Proxy Authentication Required",
            ),
            (
                "other.example/box:1",
                "Get \"https://other.example/v2/\": proxyconnect tcp: the proxy answered 407",
            ),
        ] {
            let failed = engine.w(&["pull", name]).fails_with(1);
            if engine.kind() == Kind::Wharf {
                assert!(failed.stderr.contains(words), "{}", failed.stderr);
            }
        }
        assert!(!engine.log().contains("p%40ss"), "{}", engine.log());
    });
}

#[test]
fn a_proxy_that_is_not_there_or_none_is_said() {
    for (address, words) in [
        (
            "127.0.0.1:9",
            "proxyconnect tcp: dial tcp 127.0.0.1:9: connect: connection refused",
        ),
        (
            "ftp://u:p@proxy",
            "\"ftp://xxxxx:xxxxx@proxy\" is no address of an http or https proxy",
        ),
    ] {
        let options = Options {
            flags: vec![format!("--https-proxy={address}")],
            ..Options::default()
        };
        if Kind::from_environment() == Kind::Dockerd {
            return;
        }
        Engine::run_with(options, |engine| {
            let failed = engine.w(&["pull", "reg.example/box:1"]).fails_with(1);
            assert!(failed.stderr.contains(words), "{}", failed.stderr);
        });
    }
}

//! A registry with a certificate and a password, as they are in the world.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use testkit::{Engine, ForwardProxy, Options, run};

use super::server::{Registry, busybox, make_certificate};

/// `user:pw`
const GOOD: &str = "dXNlcjpwdw==";

#[test]
fn only_a_registry_whose_certificate_is_known_is_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.crt");
    fs::write(&bundle, "").unwrap();
    let variables = [
        ("HTTPS_PROXY", "http://127.0.0.1:3128"),
        ("SSL_CERT_FILE", bundle.to_str().unwrap()),
    ];
    let options = Options {
        environment: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    };
    Engine::run_with(options, |engine| {
        // It finds the registry's name at the loopback.
        let _proxy = ForwardProxy::start(engine.sandbox(), 3128);
        let registry = Registry::start_encrypted_and_guarded(engine);
        registry.upload(&busybox(), "box:1");
        let host = "reg.example:5443";
        let name = format!("{host}/box:1");
        let config = engine.folder().parent().unwrap().join("config");
        fs::create_dir_all(&config).unwrap();
        let auths = json!({"auths": {host: {"auth": GOOD}}});
        fs::write(config.join("config.json"), auths.to_string()).unwrap();
        let unknown =
            "tls: failed to verify certificate: x509: certificate signed by unknown authority";
        for client in [Engine::d, Engine::w] {
            let failed = client(engine, &["pull", &name]).fails_with(1);
            assert!(failed.stderr.contains(unknown), "{}", failed.stderr);
        }
        let login = ["login", "-u", "user", "--password-stdin", host];
        let failed = run(engine.wharf(&login), b"pw\n").fails_with(1);
        assert!(failed.stderr.contains(unknown), "{}", failed.stderr);
        // A certificate that is known from now on counts at once.
        fs::copy(registry.certificate(), &bundle).unwrap();
        for client in [Engine::d, Engine::w] {
            client(engine, &["pull", &name]).ok();
            super::prints(engine, &name, &["echo", "fine"], "fine\n");
            let other = format!("{host}/other:1");
            client(engine, &["tag", &name, &other]).ok();
            client(engine, &["push", &other]).ok();
            client(engine, &["rmi", &name, &other]).ok();
        }
        let known = run(engine.wharf(&login), b"pw\n").ok();
        assert_eq!(known.stdout, "Login Succeeded\n");
    });
}

/// Lays a folder of the test over `/etc` where the engine sees it, and not the host; the folder of the registry's
/// certificates in it.
fn certificates(engine: &Engine) -> PathBuf {
    let place = |name: &str| engine.folder().join(name);
    let (upper, work) = (place("etc"), place("etc-work"));
    let folder = upper.join("docker/certs.d/reg.example:5443");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(&work).unwrap();
    let layers = format!(
        "lowerdir=/etc,upperdir={},workdir={}",
        upper.display(),
        work.display()
    );
    let mut mount = engine.sandbox().command("mount");
    mount.args(["-t", "overlay", "overlay", "-o", &layers, "/etc"]);
    run(mount, b"").ok();
    folder
}

fn copy(names: &[&str], from: &Path, to: &Path) {
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[test]
fn a_registry_may_ask_for_a_certificate() {
    let variables = [("HTTPS_PROXY", "http://127.0.0.1:3128")];
    let options = Options {
        environment: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    };
    Engine::run_with(options, |engine| {
        let _proxy = ForwardProxy::start(engine.sandbox(), 3128);
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [own.path(), other.path()] {
            make_certificate(
                "me",
                &folder.join("client.cert"),
                &folder.join("client.key"),
            );
        }
        let registry = Registry::start_asking_for_certificate(engine, own.path());
        let docker = certificates(engine);
        fs::copy(registry.certificate(), docker.join("ca.crt")).unwrap();
        let name = "reg.example:5443/box:1";
        engine.load_busybox();
        engine.d(&["tag", "busybox", name]).ok();
        let refused = |said: &str| {
            for client in [Engine::d, Engine::w] {
                for verb in ["push", "pull"] {
                    let failed = client(engine, &[verb, name]).fails_with(1);
                    assert!(failed.stderr.contains(said), "{}", failed.stderr);
                }
            }
        };
        // Newer registries say that one is required.
        refused("remote error: tls: bad certificate");
        let pair = ["client.cert", "client.key"];
        copy(&pair, other.path(), &docker);
        refused("remote error: tls:");
        copy(&pair, own.path(), &docker);
        for client in [Engine::d, Engine::w] {
            client(engine, &["push", name]).ok();
            client(engine, &["rmi", name]).ok();
            client(engine, &["pull", name]).ok();
        }
        let mut unmount = engine.sandbox().command("umount");
        unmount.arg("/etc");
        run(unmount, b"").ok();
    });
}

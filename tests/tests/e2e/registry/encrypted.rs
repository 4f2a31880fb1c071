//! A registry with a certificate and a password, as they are in the world.

use std::fs;

use serde_json::json;
use testkit::{Engine, ForwardProxy, Options, run};

use super::server::{Registry, busybox};

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

//! The bridge, published ports, shared and host networks.

use std::io::Read;
use std::net::TcpStream;

use engine::{Engine, RemoveOptions};

use crate::kit::{self, Roots, eventually, request, run_container};

pub(crate) const TESTS: [(&str, fn()); 2] = [
    (
        "ports_are_published_and_free_at_once",
        ports_are_published_and_free_at_once,
    ),
    ("files_of_names_are_written", files_of_names_are_written),
];

fn ports_are_published_and_free_at_once() {
    kit::run(async {
        let roots = Roots::new();
        let mut config = roots.config();
        config.bridge = None;
        let engine = Engine::open(config).await.expect("open");
        for round in 0..5 {
            let mut request = request(&["listen", "80"]);
            request.host_config.network_mode = "bridge".to_owned();
            let binding = api_types::PortBinding {
                host_ip: String::new(),
                host_port: "8080".to_owned(),
            };
            request.host_config.port_bindings =
                Some([("80/tcp".to_owned(), Some(vec![binding]))].into());
            let id = engine
                .create(Some("web".into()), request, None)
                .await
                .expect("create")
                .id;
            engine
                .start(&id, None)
                .await
                .unwrap_or_else(|error| panic!("start in round {round}: {error}"));
            let seen = engine.inspect(&id, false).await.expect("inspect");
            let bridge = &seen.network_settings.networks["bridge"];
            assert!(
                bridge.ip_address.starts_with("172."),
                "{}",
                bridge.ip_address
            );
            let mut text = String::new();
            eventually("the port answers", async || {
                text.clear();
                TcpStream::connect("127.0.0.1:8080")
                    .and_then(|mut stream| stream.read_to_string(&mut text))
                    .is_ok()
                    && text == "served\n"
            })
            .await;
            engine
                .remove(
                    &id,
                    RemoveOptions {
                        force: true,
                        ..Default::default()
                    },
                )
                .await
                .expect("remove");
            assert!(
                TcpStream::connect("127.0.0.1:8080").is_err(),
                "the port is closed when the container is gone"
            );
        }
        kit::clean_up(engine).await;
        let links = std::process::Command::new("ip")
            .args(["-o", "link"])
            .output()
            .expect("ip")
            .stdout;
        let links = String::from_utf8_lossy(&links);
        assert!(!links.contains("docker0"), "{links}");
    });
}

fn files_of_names_are_written() {
    kit::run(async {
        let roots = Roots::new();
        let mut config = roots.config();
        config.bridge = None;
        let engine = Engine::open(config).await.expect("open");
        let mut request = request(&["read", "/etc/hosts"]);
        request.host_config.network_mode = "bridge".to_owned();
        request.config.hostname = "ship".to_owned();
        request.host_config.extra_hosts = Some(vec!["db:10.1.2.3".to_owned()]);
        let ran = run_container(&engine, request).await;
        assert!(ran.output.contains("10.1.2.3\tdb\n"), "{}", ran.output);
        assert!(
            ran.output
                .lines()
                .any(|line| line.starts_with("172.") && line.ends_with("\tship")),
            "{}",
            ran.output
        );
        kit::clean_up(engine).await;
    });
}

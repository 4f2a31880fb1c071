//! All tags of a repository at once, and archives that the daemon fetches itself.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use testkit::{Engine, Finished};

use super::server::Registry;

const CLIENTS: [fn(&Engine, &[&str]) -> Finished; 2] = [Engine::d, Engine::w];

#[test]
fn every_tag_of_a_repository_is_pulled_and_pushed() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        engine.load_busybox();
        let repository = registry.name("many/tags");
        let tags = ["1", "1.1", "latest"].map(|tag| format!("{repository}:{tag}"));
        for client in CLIENTS {
            for tag in &tags {
                engine.d(&["tag", "busybox", tag]).ok();
            }
            let pushed = client(engine, &["push", "-a", &repository]).ok();
            for tag in ["1", "1.1", "latest"] {
                let line = format!("\n{tag}: digest: sha256:");
                assert!(pushed.stdout.contains(&line), "{}", pushed.stdout);
            }
            let mut remove = vec!["rmi"];
            remove.extend(tags.iter().map(String::as_str));
            engine.d(&remove).ok();
            let pulled = client(engine, &["pull", "--all-tags", &repository]).ok();
            for tag in ["1", "1.1", "latest"] {
                let line = format!("{tag}: Pulling from many/tags\n");
                assert!(pulled.stdout.contains(&line), "{}", pulled.stdout);
            }
            assert!(!pulled.stdout.contains("Using default tag"));
            let end = format!("Status: Downloaded newer image for {repository}\n{repository}\n");
            assert!(pulled.stdout.ends_with(&end), "{}", pulled.stdout);
            for tag in &tags {
                engine.d(&["inspect", tag]).ok();
            }
            let again = client(engine, &["pull", "-a", &repository]).ok();
            let end = format!("Status: Image is up to date for {repository}\n{repository}\n");
            assert!(again.stdout.ends_with(&end), "{}", again.stdout);
            engine.d(&remove).ok();

            let one = client(engine, &["pull", "-a", &tags[0]]).fails_with(1);
            assert_eq!(one.stderr, "tag can't be used with --all-tags/-a\n");
            let none = registry.name("many/others");
            let none = client(engine, &["pull", "-a", &none]).fails_with(1);
            let words = "name unknown: repository name not known to registry";
            assert!(none.stderr.contains(words), "{}", none.stderr);
        }
    });
}

/// A web server with an archive, a folder that leads to it, and what a server should not do.
fn web(engine: &Engine, port: u16, archive: Vec<u8>) {
    let listener = engine
        .sandbox()
        .within_network(move || TcpListener::bind(("127.0.0.1", port)).unwrap());
    engine.sandbox().network_thread(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let mut head = String::new();
            let mut reader = BufReader::new(client.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    break;
                }
            }
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, more, body): (_, _, &[u8]) = match path.as_str() {
                "/root.tar" => ("200 OK", "", &archive),
                "/moved" => ("302 Found", "Location: /root.tar\r\n", b""),
                "/round" => ("302 Found", "Location: /round\r\n", b""),
                "/cut" => ("200 OK", "", &archive[..archive.len() / 2]),
                _ => ("404 Not Found", "", b"  nothing here\n"),
            };
            let length = if path == "/cut" {
                archive.len()
            } else {
                body.len()
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = client.write_all(answer.as_bytes());
            let _ = client.write_all(body);
        }
    });
}

#[test]
fn an_archive_is_imported_from_a_web_server() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["create", "--name", "root", "busybox"]).ok();
        let path = engine.folder().join("root.tar");
        let file = path.to_str().unwrap();
        engine.d(&["export", "-o", file, "root"]).ok();
        engine.d(&["rm", "root"]).ok();
        web(engine, 8090, std::fs::read(&path).unwrap());
        let at = |path: &str| format!("http://127.0.0.1:8090/{path}");
        for client in CLIENTS {
            for (source, address) in [(at("root.tar"), at("root.tar")), (at("moved"), at("moved"))]
            {
                let change = "CMD [\"echo\", \"fetched\"]";
                let made = client(engine, &["import", "-c", change, &source, "fetched:1"]).ok();
                let first = format!("Downloading from {address}\n");
                assert!(made.stdout.starts_with(&first), "{}", made.stdout);
                let id = made.stdout.lines().last().unwrap().to_owned();
                assert!(id.starts_with("sha256:"), "{}", made.stdout);
                assert_eq!(
                    client(engine, &["run", "--rm", "fetched:1"]).ok().stdout,
                    "fetched\n"
                );
                let history = ["history", "--format", "{{.Comment}}", "fetched:1"];
                assert_eq!(
                    client(engine, &history).ok().text(),
                    format!("Imported from {source}")
                );
                client(engine, &["rmi", "fetched:1"]).ok();
            }
            for (source, words) in [
                (
                    at("none"),
                    format!("failed to GET {} with status 404 Not Found: nothing here", at("none")),
                ),
                (at("round"), "stopped after 10 redirects".to_owned()),
                (
                    at("cut"),
                    "end of file before message length reached".to_owned(),
                ),
                (
                    "http://127.0.0.1:9/x".to_owned(),
                    "Get \"http://127.0.0.1:9/x\": dial tcp 127.0.0.1:9: connect: connection refused"
                        .to_owned(),
                ),
            ] {
                let failed = client(engine, &["import", &source, "broken:1"]).fails_with(1);
                assert!(failed.stderr.contains(&words), "{source}: {}", failed.stderr);
                assert_eq!(client(engine, &["images", "-q", "broken"]).ok().stdout, "");
            }
        }
    });
}

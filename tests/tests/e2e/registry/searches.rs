//! Searching a registry that offers it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use testkit::Engine;

/// What it finds, whatever the words.
const FOUND: &str = r#"{"num_results": 3, "results": [
    {"name": "few", "description": "a short one", "star_count": 2, "is_official": false, "is_automated": false},
    {"name": "many/stars", "description": "a description of more letters than a column of the table has room for", "star_count": 77, "is_official": true, "is_automated": false},
    {"name": "none", "description": "", "star_count": 0, "is_official": false, "is_automated": false}
]}"#;

/// A registry that only knows how to search.
fn index(engine: &Engine, port: u16) {
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
            let (status, body) = match head.starts_with("GET /v1/search?") {
                true => ("200 OK", FOUND),
                false => ("404 Not Found", "nothing"),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = client.write_all(answer.as_bytes());
        }
    });
}

#[test]
fn what_is_found_is_shown_alike_by_both_clients() {
    Engine::run(|engine| {
        index(engine, 5002);
        let term = "127.0.0.1:5002/words";
        let args = ["search", term];
        let (theirs, ours) = (engine.d(&args).ok(), engine.w(&args).ok());
        assert_eq!(ours.stdout, theirs.stdout);
        assert!(ours.stdout.contains("many/stars"), "{}", ours.stdout);
    });
}

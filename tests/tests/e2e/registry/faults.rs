//! Registries and archives that are not as they should be.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use testkit::{Engine, Kind};

use super::server::{Registry, busybox, tar};

/// A pull that must fail with these words and leave nothing, by both clients.
#[track_caller]
fn fails(engine: &Engine, image: &str, words: &[&str]) {
    let before = engine.census();
    for client in [Engine::d, Engine::w] {
        let done = client(engine, &["pull", image]).fails_with(1);
        assert!(
            words.iter().any(|words| done.stderr.contains(words)),
            "{image}: {}",
            done.stderr
        );
        let run = client(engine, &["run", "--rm", image, "true"]).fails_with(125);
        assert!(
            run.stderr.contains("Unable to find image"),
            "{}",
            run.stderr
        );
    }
    // A whole blob that came before the fault may wait for the next pull.
    let left = engine.census().beyond(&before).to_string();
    let waiting = |line: &str| line.starts_with("  file: v1/ingest/");
    assert!(left.lines().all(waiting), "{left}");
}

#[test]
fn what_a_registry_does_not_have_is_said() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.upload(&busybox(), "there:1");
        let missing = registry.name("there:2");
        fails(
            engine,
            &missing,
            &[&format!(
                "manifest for {missing} not found: manifest unknown: manifest unknown"
            )],
        );
        fails(engine, &registry.name("nowhere:1"), &["not found"]);
        let absent = format!("{}@sha256:{}", registry.name("there"), "0".repeat(64));
        fails(engine, &absent, &["manifest unknown"]);
        fails(engine, "127.0.0.1:9/nobody:1", &["connection refused"]);
        for name in ["bad_char$/x", "there:a+b", "There", "there:", "/there"] {
            for client in [Engine::d, Engine::w] {
                let done = client(engine, &["pull", name]).fails_with(1);
                let told = "invalid reference format";
                assert!(done.stderr.starts_with(told), "{name}: {}", done.stderr);
            }
        }
    });
}

#[test]
fn a_layer_that_is_not_what_its_digest_says_is_refused() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.upload(&busybox(), "changed:1");
        let digest = registry.manifest("changed:1")["layers"][0]["digest"].clone();
        let blob = registry.blob(digest.as_str().unwrap());
        let mut bytes = fs::read(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&blob, &bytes).unwrap();
        let before = engine.census();
        fails(
            engine,
            &registry.name("changed:1"),
            &["filesystem layer verification failed for digest", "digest"],
        );
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
        let left = engine.census().beyond(&before).to_string();
        assert!(!left.contains(hex), "{left}");
    });
}

#[test]
fn a_server_that_sends_garbage_or_nothing_is_refused() {
    Engine::run(|engine| {
        for (port, answer) in [
            (7001, &b"\x00\xff\x01garbage\r\n\r\n"[..]),
            (7002, b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: 9\r\n\r\n{\"no\": 1}"),
            (7003, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
            (7004, b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
            (7005, b""),
            (7006, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<html>Sign in</html>"),
        ] {
            let listener = engine
                .sandbox()
                .within_network(move || TcpListener::bind(("127.0.0.1", port)).unwrap());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request);
                    let _ = stream.write_all(answer);
                }
            });
            let before = engine.census();
            for client in [Engine::d, Engine::w] {
                let done = client(engine, &["pull", &format!("127.0.0.1:{port}/x:1")]).fails_with(1);
                assert!(!done.stderr.trim().is_empty(), "{port}");
                if port == 7006 && engine.kind() == Kind::Wharf {
                    let told = "a web page instead of a manifest from http://127.0.0.1:7006: \"<html>Sign in</html>\"";
                    assert!(done.stderr.contains(told), "{}", done.stderr);
                }
                // JSON that is no manifest: which image, and who sent it.
                if port == 7002 && engine.kind() == Kind::Wharf {
                    let start = "cannot pull 127.0.0.1:7002/x:1 from http://127.0.0.1:7002: \
                                 invalid manifest: ";
                    assert!(done.stderr.starts_with(start), "{}", done.stderr);
                }
            }
            let left = engine.census().beyond(&before);
            assert!(left.is_empty(), "{left}");
        }
    });
}

#[test]
fn archives_that_can_not_be_read_leave_nothing() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        let layout = registry.layout_by_umoci();
        let folder = registry.scratch("bad");
        let whole = folder.join("whole.tar");
        tar(&layout, &whole);
        let bytes = fs::read(&whole).unwrap();
        let before = engine.census();
        // Cut at several places; a byte of a layer changed; a file that the manifest names missing.
        let mut cases: Vec<(String, Vec<u8>)> = [4, 2, 1]
            .iter()
            .map(|part| {
                (
                    format!("cut at 1/{part}"),
                    bytes[..bytes.len() / part - 60_000].to_vec(),
                )
            })
            .collect();
        let mut changed = bytes.clone();
        let place = changed.len() / 2;
        changed[place] ^= 1;
        cases.push(("a changed byte".to_owned(), changed));
        let mut lacks = testkit::image::ImageBuilder::new().archive("lacks:1");
        let named = lacks.windows(10).position(|part| part == b"layer.tar\"");
        lacks[named.unwrap()] = b'x';
        cases.push(("a missing layer".to_owned(), lacks));
        for (name, content) in cases {
            let path = folder.join("case.tar");
            fs::write(&path, content).unwrap();
            for client in [Engine::d, Engine::w] {
                let done = client(engine, &["load", "-i", path.to_str().unwrap()]);
                assert_ne!(done.status, 0, "{name}: {}", done.stdout);
                assert!(!done.stderr.trim().is_empty(), "{name}");
            }
        }
        let left = engine.census().beyond(&before);
        assert!(left.is_empty(), "{left}");
    });
}

/// A layer that can not be unpacked is named by its digest: in an archive by that of its files, in a registry by its blob's.
#[test]
fn a_layer_that_can_not_be_unpacked_is_named_by_its_digest() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        let path = registry.scratch("bad").join("bad.tar");
        let image = testkit::image::ImageBuilder::new()
            .file("good", 0o644, b"good")
            .next_layer()
            .file("a/.wh..", 0o644, b"");
        fs::write(&path, image.archive("bad:1")).unwrap();
        let source = format!("docker-archive:{}", path.display());
        registry.upload(&source, "bad:1");
        let config = format!("docker://{}", registry.name("bad:1"));
        let config = registry.skopeo(&["inspect", "--config", "--tls-verify=false", &config]);
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let files = config["rootfs"]["diff_ids"][1].clone();
        let blob = registry.manifest("bad:1")["layers"][1]["digest"].clone();
        let name = registry.name("bad:1");
        let before = engine.census();
        for client in [Engine::d, Engine::w] {
            for (args, digest) in [
                (&["load", "-i", path.to_str().unwrap()][..], &files),
                (&["pull", &name], &blob),
            ] {
                let done = client(engine, args).fails_with(1);
                let told = match engine.kind() {
                    Kind::Wharf => format!(
                        "failed to register layer {}: \"a/.wh..\" leads out of the layer\n",
                        digest.as_str().unwrap()
                    ),
                    Kind::Dockerd => ".wh..".to_owned(),
                };
                assert!(done.stderr.ends_with(&told), "{args:?}: {}", done.stderr);
            }
        }
        let left = engine.census().beyond(&before);
        assert!(left.is_empty(), "{left}");
    });
}

#[test]
fn a_folder_is_no_archive() {
    Engine::run(|engine| {
        let folder = engine.folder();
        let path = folder.to_str().unwrap();
        let socket = engine.socket().display().to_string().replace('/', "%2F");
        // Docker's own client tells now and then of the connection that it closed itself.
        engine.d(&["load", "-i", path]).fails_with(1);
        let done = engine.w(&["load", "-i", path]).fails_with(1);
        assert_eq!(done.stdout, "");
        let (start, rest) = done.stderr.split_once("/v1.").unwrap();
        assert_eq!(
            start,
            format!("error during connect: Post \"http://{socket}")
        );
        let (_, end) = rest.split_once("/images/load?quiet=1\": ").unwrap();
        assert_eq!(end, format!("read {path}: is a directory\n"));
    });
}

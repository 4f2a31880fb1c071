//! What is told while images come.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;

use testkit::image::ImageBuilder;
use testkit::{Engine, Terminal, run};

use super::server::{Registry, busybox};

/// Uploads `low:1`, and `high:1` with two layers more.
fn fill(registry: &Registry) {
    let layout = registry.scratch("umoci").join("layout");
    let tag = |tag: &str| format!("{}:{tag}", layout.display());
    registry.skopeo(&["copy", "-q", &busybox(), &format!("oci:{}", tag("low"))]);
    registry.umoci(&["tag", "--image", &tag("low"), "high"]);
    for name in ["a", "b"] {
        let own = registry.scratch("own").join(name);
        std::fs::write(&own, name).unwrap();
        let target = format!("/{name}");
        registry.umoci(&[
            "insert",
            "--image",
            &tag("high"),
            own.to_str().unwrap(),
            &target,
        ]);
    }
    for name in ["low", "high"] {
        registry.upload(&format!("oci:{}", tag(name)), &format!("{name}:1"));
    }
}

/// A pull off a terminal prints each layer's steps, by both clients alike, and nothing else.
#[test]
fn a_pull_tells_each_layers_steps() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        fill(&registry);
        let short = |image: &str, layer: usize| {
            let digest = registry.manifest(image)["layers"][layer]["digest"].clone();
            digest.as_str().unwrap()["sha256:".len()..][..12].to_owned()
        };
        let (low, high) = (registry.name("low:1"), registry.name("high:1"));
        let from = format!("docker://{high}");
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        let other = registry.name("other:1");
        registry.skopeo(&[
            "copy",
            "-q",
            tls[0],
            tls[1],
            &from,
            &format!("docker://{other}"),
        ]);
        for client in [Engine::d, Engine::w] {
            client(engine, &["pull", "-q", &low]).ok();
            let told = client(engine, &["pull", &high]).ok().stdout;
            let mut of_layers: Vec<&str> = told.lines().collect();
            let end = of_layers.split_off(of_layers.len() - 3);
            assert_eq!(of_layers.remove(0), "1: Pulling from high");
            let steps = |layer: usize| {
                let id = format!("{}: ", short("high:1", layer));
                let own = of_layers.iter().filter_map(|line| line.strip_prefix(&*id));
                own.collect::<Vec<_>>()
            };
            assert_eq!(steps(0), ["Already exists"], "{told}");
            for layer in [1, 2] {
                // Docker's daemon leaves the checksum out for layers that come in one piece.
                let steps: Vec<_> = steps(layer)
                    .into_iter()
                    .filter(|step| *step != "Verifying Checksum")
                    .collect();
                assert_eq!(
                    steps,
                    ["Pulling fs layer", "Download complete", "Pull complete"],
                    "{told}"
                );
            }
            let digest = registry.digest("high:1");
            let expected = [
                format!("Digest: {digest}"),
                format!("Status: Downloaded newer image for {high}"),
                high.clone(),
            ];
            assert_eq!(end, expected);
            // Of an image that is here no layer is told, under a further name neither.
            for (name, path, status) in [
                (&high, "high", "Image is up to date for"),
                (&other, "other", "Downloaded newer image for"),
                (&other, "other", "Image is up to date for"),
            ] {
                let told = client(engine, &["pull", name]).ok().stdout;
                let expected = format!(
                    "1: Pulling from {path}\nDigest: {digest}\nStatus: {status} {name}\n{name}\n"
                );
                assert_eq!(told, expected);
            }
            client(engine, &["rmi", &low, &high, &other]).ok();
        }
    });
}

#[test]
fn a_name_that_is_loaded_anew_is_taken_from_its_image() {
    Engine::run(|engine| {
        let archive = |content: &[u8]| {
            let path = engine.folder().join("named.tar");
            let image = ImageBuilder::new().file("file", 0o644, content);
            std::fs::write(&path, image.archive("named:1")).unwrap();
            path.to_str().unwrap().to_owned()
        };
        for client in [Engine::d, Engine::w] {
            let first = client(engine, &["load", "-i", &archive(b"one")]).ok();
            assert_eq!(first.stdout, "Loaded image: named:1\n");
            let again = client(engine, &["load", "-i", &archive(b"one")]).ok();
            assert_eq!(again.stdout, "Loaded image: named:1\n");
            let format = ["image", "inspect", "-f", "{{.Id}}", "named:1"];
            let id = client(engine, &format).ok().text().to_owned();
            let other = client(engine, &["load", "-i", &archive(b"two")]).ok();
            assert_eq!(
                other.stdout,
                format!(
                    "The image named:1 already exists, renaming the old one with ID {id} to empty string\n\
                     Loaded image: named:1\n"
                )
            );
            client(engine, &["rmi", "named:1", &id]).ok();
        }
    });
}

/// What an engine might say while an image comes.
const LINES: &str = r#"{"status":"Pulling from library/x","id":"latest"}
{"status":"Already exists","progressDetail":{},"id":"aaaaaaaaaaaa"}
{"status":"Pulling fs layer","progressDetail":{},"id":"bbbbbbbbbbbb"}
{"status":"Pulling fs layer","progressDetail":{},"id":"cccccccccccc"}
{"status":"Waiting","progressDetail":{},"id":"cccccccccccc"}
{"status":"Downloading","progressDetail":{"total":3000000},"progress":"[>                                                  ]       0B/3MB","id":"bbbbbbbbbbbb"}
{"status":"Downloading","progressDetail":{"current":1500000,"total":3000000},"progress":"[=========================>                         ]    1.5MB/3MB","id":"bbbbbbbbbbbb"}
{"status":"Retrying in 2 seconds","progressDetail":{},"id":"cccccccccccc"}
{"status":"Downloading","progressDetail":{"current":3000000,"total":3000000},"progress":"[==================================================>]      3MB/3MB","id":"bbbbbbbbbbbb"}
{"status":"Verifying Checksum","progressDetail":{},"id":"bbbbbbbbbbbb"}
{"status":"Download complete","progressDetail":{},"id":"bbbbbbbbbbbb"}
{"status":"Extracting","progressDetail":{"current":98304,"total":3000000},"progress":"[=>                                                 ]   98.3kB/3MB","id":"bbbbbbbbbbbb"}
{"status":"Pull complete","progressDetail":{},"id":"bbbbbbbbbbbb"}
{"status":"Downloading","progressDetail":{"current":12345},"progress":"12.35kB","id":"cccccccccccc"}
{"status":"Pull complete","progressDetail":{},"id":"cccccccccccc"}
{"status":"Digest: sha256:0000000000000000000000000000000000000000000000000000000000000000"}
{"status":"Status: Downloaded newer image for x:latest"}
"#;

/// Answers every ping and every pull at this socket.
fn speak(listener: UnixListener) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        std::thread::spawn(move || {
            let mut client = client;
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
            while let Some(Ok(first)) = lines.next() {
                while lines
                    .next()
                    .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                {}
                let body = match first.contains("/images/create") {
                    true => LINES.replace('\n', "\r\n"),
                    false => String::new(),
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                if client.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
    }
}

/// Both clients print the same bytes of the same stream, on a terminal and off it.
#[test]
fn progress_is_printed_as_by_docker_s_client() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || speak(listener));
    let pull = |program: &std::path::Path, quiet: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(["pull"])
            .args(quiet)
            .arg("x")
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env("DOCKER_CONFIG", folder.path())
            .env_remove("DOCKER_CONTEXT");
        command
    };
    let (docker, wharf) = (std::path::PathBuf::from("docker"), Engine::program());
    for quiet in [&[][..], &["-q"]] {
        let [theirs, ours] = [&docker, &wharf].map(|program| run(pull(program, quiet), b"").ok());
        assert_eq!(ours.stdout, theirs.stdout);
        assert_eq!(ours.stderr, theirs.stderr);
        for columns in [80, 200] {
            let shown = |program| Terminal::start(pull(program, quiet), 30, columns).finish();
            assert_eq!(shown(&wharf), shown(&docker), "{columns} columns");
        }
    }
}

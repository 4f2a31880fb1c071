//! Pulls that nobody waits for any more, and registries that do not get on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use testkit::image::ImageBuilder;
use testkit::{Engine, Kind, eventually};

use super::proxy::Proxy;
use super::resume::{LAYER, fill};
use super::server::Registry;

const NAME: &str = "127.0.0.1:5001/large:1";

fn begin(mut pull: std::process::Command) -> Child {
    pull.stdout(Stdio::null()).spawn().unwrap()
}

fn reached(proxy: &Proxy, bytes: u64) {
    eventually("bytes come", Duration::from_secs(60), || {
        (proxy.handed_on() + (64 << 10) > bytes).then_some(())
    });
}

#[test]
fn a_pull_ends_with_its_client_and_leaves_what_the_next_one_continues() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        let total = fill(&registry, "large:1");
        let archive = ImageBuilder::new()
            .file("own", 0o644, b"x")
            .archive("other:1");
        let path = registry.scratch("other").join("other.tar");
        std::fs::write(&path, archive).unwrap();
        registry.upload(&format!("docker-archive:{}", path.display()), "other:1");
        let proxy = Proxy::start(engine, 5001, 5000);
        for command in [Engine::docker, Engine::wharf] {
            let before = engine.census();
            let begun = proxy.handed_on();
            proxy.hold_at(begun + total / 2);
            let mut pull = begin(command(engine, &["pull", NAME]));
            reached(&proxy, begun + total / 2);
            // A registry that hangs keeps nobody from removing what is not needed.
            let other = registry.name("other:1");
            engine.w(&["pull", "-q", &other]).ok();
            let layer = registry.manifest("other:1")["layers"][0]["digest"].clone();
            let hex = layer
                .as_str()
                .unwrap()
                .trim_start_matches("sha256:")
                .to_owned();
            let blobs = engine.data_root().join("v1/blobs/sha256");
            let is_there = || blobs.join(&hex).exists();
            if engine.kind() == Kind::Wharf {
                assert!(is_there());
                engine.w(&["rmi", &other]).ok();
                assert!(!is_there());
            }
            pull.kill().unwrap();
            pull.wait().unwrap();
            eventually("the transfer ends", Duration::from_secs(20), || {
                (proxy.connections() == 0).then_some(())
            });
            if engine.kind() == Kind::Wharf {
                eventually("nothing half-made stays", Duration::from_secs(20), || {
                    let left = engine.census().beyond(&before).to_string();
                    let waits = |line: &str| line.starts_with("  file: v1/ingest/");
                    left.lines().all(waits).then_some(())
                });
            }
            engine.w(&["image", "inspect", NAME]).fails_with(1);
            // The next pull fetches the rest.
            proxy.open();
            let came = proxy.handed_on() - begun;
            let done = testkit::run(command(engine, &["pull", "-q", NAME]), b"").ok();
            assert_eq!(done.text(), NAME);
            let all = proxy.handed_on() - begun;
            if engine.kind() == Kind::Wharf {
                assert!(
                    all * 100 <= total * 112,
                    "{came} bytes, then {all} of {total}"
                );
            }
            let sizes = ["run", "--rm", NAME, "sh", "-c", "cat /data-* | wc -c"];
            assert_eq!(engine.w(&sizes).ok().stdout, format!("{}\n", 4 * LAYER));
            engine.w(&["rmi", NAME]).ok();
        }
    });
}

#[test]
fn one_of_two_pulls_survives_the_other() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        let total = fill(&registry, "large:1");
        let (slow, fast) = (
            Proxy::start(engine, 5001, 5000),
            Proxy::start(engine, 5002, 5000),
        );
        slow.hold_at(total / 2);
        let mut first = begin(engine.docker(&["pull", NAME]));
        reached(&slow, total / 2);
        // The second waits for the layers that the first fetches.
        let same = "127.0.0.1:5002/large:1";
        let mut second = engine.wharf(&["pull", same]);
        let mut second = second.stdout(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(second.stdout.take().unwrap()).lines();
        let mut layers = 0;
        while layers < 6 {
            let line = told.next().unwrap().unwrap();
            let known = ["Pulling fs layer", "Already exists"];
            layers += u32::from(known.iter().any(|known| line.ends_with(known)));
        }
        first.kill().unwrap();
        first.wait().unwrap();
        told.for_each(|line| drop(line.unwrap()));
        assert_eq!(second.wait().unwrap().code(), Some(0));
        let all = slow.handed_on() + fast.handed_on();
        if engine.kind() == Kind::Wharf {
            assert!(all * 100 <= total * 112, "{all} of {total}");
        }
        let sizes = ["run", "--rm", same, "sh", "-c", "cat /data-* | wc -c"];
        assert_eq!(engine.w(&sizes).ok().stdout, format!("{}\n", 4 * LAYER));
    });
}

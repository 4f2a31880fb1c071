//! A pull that is interrupted goes on where it was, also in the next daemon; a push sends no layer again.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use testkit::image::ImageBuilder;
use testkit::{Engine, eventually};

use super::proxy::{Proxy, Way};
use super::server::Registry;

/// Size of each of the layers, which do not compress.
pub(super) const LAYER: usize = 16 << 20;

/// Bytes that do not compress.
fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut source = std::fs::File::open("/dev/urandom").unwrap();
    source.read_exact(&mut bytes).unwrap();
    bytes
}

/// An image of four large layers, by umoci; gives the number of bytes that a pull of it takes.
pub(super) fn fill(registry: &Registry, image: &str) -> u64 {
    let layout = registry.layout_by_umoci();
    let tag = format!("{}:made", layout.display());
    for number in 0..4 {
        let layer = registry.scratch("layers").join(format!("layer-{number}"));
        std::fs::write(&layer, random(LAYER)).unwrap();
        let target = format!("/data-{number}");
        registry.umoci(&["insert", "--image", &tag, layer.to_str().unwrap(), &target]);
    }
    registry.upload(&format!("oci:{tag}"), image);
    let manifest = registry.manifest(image);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 6);
    layers
        .iter()
        .map(|layer| layer["size"].as_u64().unwrap())
        .sum()
}

#[test]
fn an_interrupted_pull_fetches_little_again() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        let total = fill(&registry, "large:1");
        let proxy = Proxy::start(engine, 5001, 5000);
        let name = "127.0.0.1:5001/large:1";
        let reached = |bytes: u64| {
            eventually("bytes come", Duration::from_secs(60), || {
                (proxy.handed_on() + (64 << 10) > bytes).then_some(())
            });
        };
        // The connections break in the middle: the pull goes on by itself.
        proxy.cut_at(total / 2);
        let mut pull = engine.wharf(&["pull", name]);
        let mut pull = pull.stdout(Stdio::null()).spawn().unwrap();
        reached(total / 2);
        std::thread::sleep(Duration::from_millis(200));
        // Then nothing comes any more, and the daemon is killed. What came is read by then.
        proxy.hold_at(total / 10 * 9);
        reached(total / 10 * 9);
        std::thread::sleep(Duration::from_millis(500));
        engine.kill_daemon();
        assert_ne!(pull.wait().unwrap().code(), Some(0));
        proxy.open();
        let before = proxy.handed_on();
        engine.start_daemon();
        engine.w(&["pull", name]).ok();
        let again = proxy.handed_on() - before;
        if engine.kind() == testkit::Kind::Wharf {
            assert!(
                again * 100 <= total * 12 && before * 100 <= total * 92,
                "{before} bytes of {total} came before, {again} after"
            );
        }
        let sizes = [
            "run",
            "--rm",
            name,
            "sh",
            "-c",
            "cat /data-* | wc -c; cat /made",
        ];
        let expected = format!("{}\nby umoci\n", 4 * LAYER);
        assert_eq!(engine.w(&sizes).ok().stdout, expected);
    });
}

#[test]
fn a_push_that_died_with_its_daemon_sends_no_layer_again() {
    const SMALL: usize = 1 << 20;
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        let proxy = Proxy::start_counting(Way::Up, engine, 5001, 5000);
        let name = "127.0.0.1:5001/large:1";
        let mut image = ImageBuilder::new();
        for layer in 0..3 {
            image = image.file(&format!("small-{layer}"), 0o644, &random(SMALL));
            image = image.next_layer();
        }
        let image = image.file("large", 0o644, &random(LAYER));
        let archive = registry.scratch("large").join("image.tar");
        std::fs::write(&archive, image.archive(name)).unwrap();
        engine.load(&archive);
        let id = ["image", "inspect", "-f", "{{.Id}}", name];
        let before = engine.w(&id).ok().stdout;
        // The large layer hangs in its middle, and the small ones are there when the daemon is killed.
        let mut enough = (3 * SMALL + LAYER / 2) as u64;
        proxy.hold_at(enough);
        let mut push = engine.wharf(&["push", name]);
        let mut push = push.stdout(Stdio::null()).spawn().unwrap();
        eventually("the small layers come", Duration::from_secs(60), || {
            let is_held = proxy.handed_on() + (64 << 10) > enough;
            let all = registry.blobs_of("large") == 3;
            // The large one may have been faster.
            if is_held && !all {
                enough += (SMALL / 2) as u64;
                proxy.hold_at(enough);
            }
            (is_held && all).then_some(())
        });
        engine.kill_daemon();
        assert_ne!(push.wait().unwrap().code(), Some(0));
        proxy.open();
        engine.start_daemon();
        assert_eq!(
            engine.w(&id).ok().stdout,
            before,
            "the image is what it was"
        );
        let sent = proxy.handed_on();
        let told = engine.w(&["push", name]).ok().stdout;
        let again = proxy.handed_on() - sent;
        assert_eq!(
            told.matches(": Layer already exists\n").count(),
            3,
            "{told}"
        );
        assert_eq!(told.matches(": Pushed\n").count(), 1, "{told}");
        assert!(again < (LAYER + SMALL) as u64, "{again} bytes");
        // What came is the image.
        engine.w(&["rmi", name]).ok();
        let name = registry.name("large:1");
        engine.w(&["pull", "-q", &name]).ok();
        let id = ["image", "inspect", "-f", "{{.Id}}", name.as_str()];
        assert_eq!(engine.w(&id).ok().stdout, before);
    });
}

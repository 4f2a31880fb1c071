//! A pull that is interrupted goes on where it was, also in the next daemon.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Engine, eventually};

use super::proxy::Proxy;
use super::server::Registry;

/// Size of each of the layers, which do not compress.
pub(super) const LAYER: usize = 16 << 20;

/// An image of four large layers, by umoci; gives the number of bytes that a pull of it takes.
pub(super) fn fill(registry: &Registry, image: &str) -> u64 {
    let layout = registry.layout_by_umoci();
    let tag = format!("{}:made", layout.display());
    let mut random = std::fs::File::open("/dev/urandom").unwrap();
    for number in 0..4 {
        let layer = registry.scratch("layers").join(format!("layer-{number}"));
        let mut bytes = vec![0; LAYER];
        random.read_exact(&mut bytes).unwrap();
        std::fs::write(&layer, bytes).unwrap();
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

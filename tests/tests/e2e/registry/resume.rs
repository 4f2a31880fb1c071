//! A pull that is interrupted goes on where it was, also in the next daemon.

use std::io::Read;
use std::time::Duration;

use testkit::{Engine, eventually};

use super::proxy::Proxy;
use super::server::Registry;

/// Size of each of the layers, which do not compress.
const LAYER: usize = 16 << 20;

/// An image of four large layers, by umoci; gives the number of bytes that a pull of it takes.
fn fill(registry: &Registry<'_>, image: &str) -> u64 {
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
    layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum()
}

#[test]
fn an_interrupted_pull_fetches_little_again() {
    Engine::run(|engine| {
        let kind = engine.kind();
        let (proxy, total, name);
        {
            let registry = Registry::start(engine);
            total = fill(&registry, "large:1");
            proxy = Proxy::start(engine, 5001, 5000);
            name = "127.0.0.1:5001/large:1";
            // The connections break in the middle: the pull goes on by itself.
            proxy.cut_at(total / 2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    eventually("half of it came", Duration::from_secs(60), || {
                        (proxy.handed_on() > total / 2 - (64 << 10)).then_some(())
                    });
                    std::thread::sleep(Duration::from_millis(200));
                    proxy.hold_at(total * 9 / 10);
                });
                let mut pull = engine.wharf(&["pull", name]);
                pull.stdout(std::process::Stdio::null());
                let mut pull = pull.spawn().unwrap();
                eventually("nine tenths came", Duration::from_secs(60), || {
                    (proxy.handed_on() > total * 9 / 10 - (64 << 10)).then_some(())
                });
                // What was handed on is read within this time.
                std::thread::sleep(Duration::from_millis(500));
                let pid = engine.daemon().pid;
                engine.sandbox().kill(pid, "KILL");
                assert_ne!(pull.wait().unwrap().code(), Some(0));
            });
            let before = proxy.handed_on();
            proxy.open();
            restart(engine);
            engine.w(&["pull", name]).ok();
            let again = proxy.handed_on() - before;
            if kind == testkit::Kind::Wharf {
                assert!(again * 100 <= total * 12, "{again} bytes of {total} came again");
            }
            let sizes = engine.w(&["run", "--rm", name, "sh", "-c", "cat /data-* | wc -c; cat /made"]);
            assert_eq!(sizes.ok().stdout, format!("{}\nby umoci\n", 4 * LAYER));
        }
    });
}

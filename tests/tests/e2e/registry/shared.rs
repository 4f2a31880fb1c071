//! Images that have their lowest layers in common.

use std::process::Stdio;
use std::time::Duration;

use testkit::{Engine, eventually};

use super::prints;
use super::proxy::Proxy;
use super::server::{Registry, busybox};

/// Size of each image's own layer, which does not compress.
const OWN: usize = 4 << 20;

/// Uploads `one:1` and `two:1`: the small image with `/name` and `/data` of their own on it.
fn fill(registry: &Registry) {
    let layout = registry.scratch("umoci").join("layout");
    let tag = |tag: &str| format!("{}:{tag}", layout.display());
    registry.skopeo(&["copy", "-q", &busybox(), &format!("oci:{}", tag("base"))]);
    for name in ["one", "two"] {
        registry.umoci(&["tag", "--image", &tag("base"), name]);
        let own = registry.scratch("own").join(name);
        std::fs::write(&own, format!("{name}\n")).unwrap();
        let random = {
            use std::io::Read;
            let mut bytes = vec![0; OWN];
            let mut random = std::fs::File::open("/dev/urandom").unwrap();
            random.read_exact(&mut bytes).unwrap();
            bytes
        };
        let data = registry.scratch("own").join(format!("{name}-data"));
        std::fs::write(&data, random).unwrap();
        for (source, target) in [(&own, "/name"), (&data, "/data")] {
            registry.umoci(&[
                "insert",
                "--image",
                &tag(name),
                source.to_str().unwrap(),
                target,
            ]);
        }
        registry.upload(&format!("oci:{}", tag(name)), &format!("{name}:1"));
    }
    let lowest = |image| registry.manifest(image)["layers"][0]["digest"].clone();
    assert_eq!(lowest("one:1"), lowest("two:1"));
}

#[test]
fn an_image_on_layers_that_are_here_is_whole() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        fill(&registry);
        for client in [Engine::d, Engine::w] {
            for name in ["one", "two"] {
                let image = registry.name(&format!("{name}:1"));
                client(engine, &["pull", &image]).ok();
                prints(engine, &image, &["cat", "/name"], &format!("{name}\n"));
            }
            let images = ["one:1", "two:1"].map(|image| registry.name(image));
            client(engine, &["rmi", &images[0], &images[1]]).ok();
        }
        // The name moves on to an image with another layer on the same ones.
        let image = registry.name("one:1");
        engine.w(&["pull", &image]).ok();
        registry.upload(&format!("docker://{}", registry.name("two:1")), "one:1");
        engine.w(&["pull", &image]).ok();
        prints(engine, &image, &["cat", "/name"], "two\n");
    });
}

#[test]
fn an_image_that_is_removed_meanwhile_takes_no_shared_layer_along() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        fill(&registry);
        let proxy = Proxy::start(engine, 5001, 5000);
        let (one, two) = (registry.name("one:1"), "127.0.0.1:5001/two:1");
        engine.w(&["pull", &one]).ok();
        let stop = (OWN / 2) as u64;
        proxy.hold_at(stop);
        let mut pull = engine.wharf(&["pull", two]);
        let mut pull = pull.stdout(Stdio::null()).spawn().unwrap();
        eventually("bytes come", Duration::from_secs(60), || {
            (proxy.handed_on() + (64 << 10) > stop).then_some(())
        });
        engine.w(&["rmi", &one]).ok();
        proxy.open();
        assert_eq!(pull.wait().unwrap().code(), Some(0));
        let total = format!("{OWN}\n");
        prints(engine, two, &["sh", "-c", "cat /data | wc -c"], &total);
    });
}

//! Images of as many layers as can be mounted, and of one more.

use std::path::PathBuf;

use testkit::image::ImageBuilder;
use testkit::{Engine, Kind};

use super::prints;
use super::server::Registry;

/// As many as are possible.
const MOST: usize = 127;

/// An archive of an image whose lowest layer holds busybox, and each a file of its own.
fn archive(registry: &Registry, layers: usize) -> PathBuf {
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let mut image = ImageBuilder::new()
        .file("bin/busybox", 0o755, &busybox)
        .link("bin/ls", "busybox")
        .folder("layers");
    for layer in 1..layers {
        image = image
            .next_layer()
            .file(&format!("layers/{layer}"), 0o644, b"x");
    }
    let path = registry.scratch("layers").join(format!("{layers}.tar"));
    std::fs::write(&path, image.archive(&format!("many:{layers}"))).unwrap();
    path
}

#[test]
fn an_image_has_as_many_layers_as_can_be_mounted() {
    Engine::run(|engine| {
        // Docker's own has another limit.
        if engine.kind() == Kind::Dockerd {
            return;
        }
        let registry = Registry::start(engine);
        let (fits, deep) = (archive(&registry, MOST), archive(&registry, MOST + 1));
        for (path, tag) in [(&fits, "many:127"), (&deep, "many:128")] {
            registry.upload(&format!("docker-archive:{}", path.display()), tag);
        }
        let files: String = {
            let mut names: Vec<String> = (1..MOST).map(|layer| layer.to_string()).collect();
            names.sort();
            names.iter().map(|name| format!("{name}\n")).collect()
        };
        let sentence = "max depth exceeded: the image has 128 layers, at most 127 are possible";
        for client in [Engine::d, Engine::w] {
            let name = registry.name("many:127");
            client(engine, &["pull", "-q", &name]).ok();
            prints(engine, &name, &["ls", "/layers"], &files);
            client(engine, &["rmi", &name]).ok();
            client(engine, &["load", "-q", "-i", fits.to_str().unwrap()]).ok();
            prints(engine, "many:127", &["ls", "/layers"], &files);
            client(engine, &["rmi", "many:127"]).ok();

            let before = engine.census();
            let name = registry.name("many:128");
            let failed = client(engine, &["pull", &name]).fails_with(1);
            assert!(failed.stderr.contains(sentence), "{}", failed.stderr);
            let failed = client(engine, &["load", "-i", deep.to_str().unwrap()]).fails_with(1);
            assert!(failed.stderr.contains(sentence), "{}", failed.stderr);
            // Not even a part of one of its layers was fetched.
            let left = engine.census().beyond(&before);
            assert!(left.is_empty(), "{left}");
        }
    });
}

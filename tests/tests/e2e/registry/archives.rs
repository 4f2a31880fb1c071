//! Archives that skopeo, umoci and buildah wrote, and archives that they read.

use std::fs;

use testkit::Engine;

use super::prints;
use super::server::{Registry, busybox, tar};

#[test]
fn archives_of_other_tools_are_loaded() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        let layout = registry.layout_by_umoci();
        let folder = registry.scratch("archives");
        let path = |name: &str| folder.join(name).display().to_string();
        let source = format!("oci:{}:made", layout.display());
        // skopeo: both kinds.
        let target = format!("docker-archive:{}:tool:skopeo", path("skopeo-docker.tar"));
        registry.skopeo(&["copy", "-q", &source, &target]);
        let target = format!("oci-archive:{}:tool:skopeo-oci", path("skopeo-oci.tar"));
        registry.skopeo(&["copy", "-q", &source, &target]);
        // umoci: its layout, packed; two images, of which one has the other's layers.
        tar(&layout, std::path::Path::new(&path("umoci.tar")));
        // buildah: both kinds.
        let made = registry.name("local:1");
        registry.upload(&busybox(), "local:1");
        registry.buildah(&["pull", "-q", "--tls-verify=false", &made]);
        let target = format!("docker-archive:{}:tool:buildah", path("buildah-docker.tar"));
        registry.buildah(&["push", "-q", &made, &target]);
        let target = format!("oci-archive:{}:tool:buildah-oci", path("buildah-oci.tar"));
        registry.buildah(&["push", "-q", &made, &target]);

        for (archive, name, command, expected) in [
            ("skopeo-docker.tar", "tool:skopeo", &[][..], "by umoci\n"),
            (
                "buildah-docker.tar",
                "tool:buildah",
                &["echo", "fine"],
                "fine\n",
            ),
            ("skopeo-oci.tar", "tool:skopeo-oci", &[], "by umoci\n"),
            (
                "buildah-oci.tar",
                "tool:buildah-oci",
                &["echo", "fine"],
                "fine\n",
            ),
            ("umoci.tar", "", &[], "by umoci\n"),
        ] {
            for client in [Engine::d, Engine::w] {
                let loaded = client(engine, &["load", "-i", &path(archive)]).ok();
                if name.is_empty() {
                    assert!(loaded.stdout.contains("Loaded image"), "{}", loaded.stdout);
                } else {
                    let line = format!("Loaded image: {name}\n");
                    assert!(
                        loaded.stdout.contains(&line),
                        "{archive}: {}",
                        loaded.stdout
                    );
                    prints(engine, name, command, expected);
                    client(engine, &["rmi", name]).ok();
                }
            }
        }
        // The same through standard input, compressed as a whole.
        let bytes = fs::read(path("skopeo-docker.tar")).unwrap();
        let packed = |program: &str, ending: &str| {
            let mut command = std::process::Command::new(program);
            command.args(["-k", &path("skopeo-docker.tar")]);
            testkit::run(command, b"").ok();
            fs::read(path(&format!("skopeo-docker.tar.{ending}"))).unwrap()
        };
        for input in [
            bytes.clone(),
            packed("gzip", "gz"),
            packed("xz", "xz"),
            packed("bzip2", "bz2"),
        ] {
            for command in [engine.docker(&["load"]), engine.wharf(&["load"])] {
                let loaded = testkit::run(command, &input).ok();
                let line = "Loaded image: tool:skopeo\n";
                assert!(loaded.stdout.ends_with(line), "{}", loaded.stdout);
            }
        }
    });
}

#[test]
fn what_is_saved_is_read_by_other_tools() {
    Engine::run(|engine| {
        engine.load_busybox();
        let registry = Registry::start(engine);
        for client in [Engine::d, Engine::w] {
            let archive = registry.scratch("saved").join("saved.tar");
            let path = archive.to_str().unwrap();
            client(engine, &["tag", "busybox", "second:2"]).ok();
            client(engine, &["save", "-o", path, "busybox", "second:2"]).ok();
            let source = format!("docker-archive:{path}:busybox:latest");
            let inspected: serde_json::Value =
                serde_json::from_str(&registry.skopeo(&["inspect", &source])).unwrap();
            assert_eq!(inspected["Architecture"], "amd64");
            registry.upload(&source, "saved:1");
            client(engine, &["rmi", "second:2"]).ok();
            let name = registry.name("saved:1");
            client(engine, &["pull", "-q", &name]).ok();
            let id = |name: &str| {
                let format = ["image", "inspect", "-f", "{{.Id}}", name];
                client(engine, &format).ok().stdout
            };
            assert_eq!(id(&name), id("busybox"), "the image is the same");
            client(engine, &["rmi", &name]).ok();
        }
        // Wharf's archives are OCI layouts as well.
        if engine.kind() == testkit::Kind::Wharf {
            let archive = registry.scratch("saved").join("oci.tar");
            engine
                .w(&["save", "-o", archive.to_str().unwrap(), "busybox"])
                .ok();
            let source = format!("oci-archive:{}", archive.display());
            registry.skopeo(&["inspect", &source]);
        }
    });
}

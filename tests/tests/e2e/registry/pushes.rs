//! Images that go to a registry, and come back from it by other tools.

use testkit::Engine;

use super::server::Registry;

fn id(engine: &Engine, name: &str) -> String {
    let format = ["image", "inspect", "-f", "{{.Id}}", name];
    engine.d(&format).ok().text().to_owned()
}

#[test]
fn what_is_pushed_is_read_by_other_tools() {
    Engine::run(|engine| {
        engine.load_busybox();
        let registry = Registry::start(engine);
        let layers = ["image", "inspect", "-f", "{{index .RootFS.Layers 0}}"];
        let layer = engine.d(&[&layers[..], &["busybox"]].concat()).ok();
        let layer = &layer.text()["sha256:".len()..][..12];
        for (number, client) in [Engine::d, Engine::w].into_iter().enumerate() {
            let repository = registry.name(&format!("pushed/{number}"));
            let name = format!("{repository}:1");
            client(engine, &["tag", "busybox", &name]).ok();
            let told = |last: &str, digest: &str| {
                format!(
                    "The push refers to repository [{repository}]\n{layer}: Preparing\n{layer}: {last}\n1: digest: {digest} size: "
                )
            };
            let first = client(engine, &["push", &name]).ok();
            let digest = registry.digest(&format!("pushed/{number}:1"));
            // The second repository gets it from the first one, without a byte.
            let last = match number {
                0 => "Pushed",
                _ => "Mounted from pushed/0",
            };
            assert!(
                first.stdout.starts_with(&told(last, &digest)),
                "{}",
                first.stdout
            );
            let again = client(engine, &["push", &name]).ok();
            let last = "Layer already exists";
            assert!(
                again.stdout.starts_with(&told(last, &digest)),
                "{}",
                again.stdout
            );
            let quiet = client(engine, &["push", "-q", &name]).ok();
            assert_eq!(quiet.text(), name);
            let digests = ["image", "inspect", "-f", "{{json .RepoDigests}}", &name];
            let digests = client(engine, &digests).ok().stdout;
            assert!(
                digests.contains(&format!("{repository}@{digest}")),
                "{digests}"
            );
            let copy = registry.scratch(&format!("copy-{number}"));
            let source = format!("docker://{name}");
            let target = format!("dir:{}", copy.display());
            registry.skopeo(&["copy", "-q", "--src-tls-verify=false", &source, &target]);
            client(engine, &["rmi", &name]).ok();
            client(engine, &["pull", "-q", &name]).ok();
            assert_eq!(
                id(engine, &name),
                id(engine, "busybox"),
                "the image is the same"
            );
        }
        // What is asked for by a name is listed under no other.
        for client in [Engine::d, Engine::w] {
            let listed = ["images", "--format", "{{.Repository}}:{{.Tag}}", "busybox"];
            assert_eq!(client(engine, &listed).ok().text(), "busybox:latest");
            let ids = client(engine, &["images", "-q", "busybox"]).ok();
            assert_eq!(ids.text().lines().count(), 1, "{}", ids.text());
        }
        // An image that was packed to be sent is the same one, and runs, is saved and loaded.
        super::prints(engine, "busybox", &["echo", "fine"], "fine\n");
        let archive = registry.scratch("saved").join("saved.tar");
        let archive = archive.to_str().unwrap();
        engine.w(&["save", "-o", archive, "busybox"]).ok();
        engine.w(&["load", "-i", archive]).ok();
    });
}

#[test]
fn all_tags_go_with_one_word_and_what_is_not_there_is_said() {
    Engine::run(|engine| {
        engine.load_busybox();
        let registry = Registry::start(engine);
        for (number, client) in [Engine::d, Engine::w].into_iter().enumerate() {
            let repository = registry.name(&format!("tags/{number}"));
            let name = |tag: &str| format!("{repository}:{tag}");
            let refers = format!("The push refers to repository [{repository}]\n");
            let none = client(engine, &["push", &repository]).fails_with(1);
            assert_eq!(none.stdout, format!("Using default tag: latest\n{refers}"));
            assert_eq!(
                none.stderr,
                format!("An image does not exist locally with the tag: {repository}\n")
            );
            client(engine, &["tag", "busybox", &name("a")]).ok();
            client(engine, &["tag", "busybox", &name("b")]).ok();
            let other = client(engine, &["push", &name("c")]).fails_with(1);
            assert_eq!(other.stdout, refers);
            assert_eq!(other.stderr, format!("tag does not exist: {}\n", name("c")));
            let both = client(engine, &["push", "-a", &name("a")]).fails_with(1);
            assert_eq!(both.stderr, "tag can't be used with --all-tags/-a\n");
            let all = client(engine, &["push", "-a", &repository]).ok();
            for tag in ["a", "b"] {
                let line = format!(
                    "\n{tag}: digest: {}",
                    registry.digest(&format!("tags/{number}:{tag}"))
                );
                assert!(all.stdout.contains(&line), "{}", all.stdout);
            }
            let digest = format!(
                "{repository}@{}",
                registry.digest(&format!("tags/{number}:a"))
            );
            let digest = client(engine, &["push", &digest]).fails_with(1);
            assert!(
                digest.stderr.contains("cannot push a digest reference"),
                "{}",
                digest.stderr
            );
        }
        let nobody = engine.w(&["tag", "busybox", "127.0.0.1:9/x:1"]).ok();
        assert_eq!(nobody.stdout, "");
        for client in [Engine::d, Engine::w] {
            let failed = client(engine, &["push", "127.0.0.1:9/x:1"]).fails_with(1);
            assert!(
                failed.stderr.contains("connection refused"),
                "{}",
                failed.stderr
            );
        }
    });
}

#[test]
fn a_pulled_image_is_pushed_as_it_came() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_skopeo("gzip:1", "zstd:1");
        registry.fill_by_umoci("umoci:1");
        for (number, image) in ["gzip:1", "zstd:1", "umoci:1"].into_iter().enumerate() {
            for (who, client) in [Engine::d, Engine::w].into_iter().enumerate() {
                let target = format!("again/{number}-{who}:1");
                let (from, to) = (registry.name(image), registry.name(&target));
                client(engine, &["pull", "-q", &from]).ok();
                client(engine, &["tag", &from, &to]).ok();
                client(engine, &["push", &to]).ok();
                assert_eq!(registry.digest(&target), registry.digest(image));
                client(engine, &["rmi", &from, &to]).ok();
            }
        }
    });
}

#[test]
fn the_image_inside_the_program_is_pushed_as_any_other() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        let name = registry.name("isolation:1");
        engine.w(&["tag", "wharf", &name]).ok();
        let before = engine.census();
        engine.w(&["push", &name]).ok();
        let left = engine.census().beyond(&before).to_string();
        assert!(!left.contains("blobs/"), "{left}");
        let digest = registry.digest("isolation:1");
        engine.w(&["push", &name]).ok();
        assert_eq!(registry.digest("isolation:1"), digest);
    });
}

//! `--platform` of the commands on images that are here, and the image inside the program as one among them.

use testkit::{Engine, Kind};

use super::server::Registry;

#[test]
fn images_are_saved_loaded_and_shown_for_a_platform() {
    Engine::run(|engine| {
        // An older daemon knows nothing of it.
        if engine.kind() == Kind::Dockerd {
            return;
        }
        engine.load_busybox();
        let folder = engine.folder();
        let path = |name: &str| folder.join(name).display().to_string();
        for client in [Engine::d, Engine::w] {
            let archive = path("one.tar");
            for platform in ["linux/amd64", "linux/amd64/v2"] {
                let flag = ["--platform", platform];
                let save = ["save", "-o", &archive, flag[0], flag[1], "busybox"];
                client(engine, &save).ok();
                let load = ["load", "-i", &archive, flag[0], flag[1]];
                let loaded = client(engine, &load).ok();
                assert_eq!(loaded.stdout, "Loaded image: busybox:latest\n");
                let format = ["-f", "{{.Architecture}}", "busybox"];
                let show = [&["image", "inspect"][..], &flag, &format].concat();
                assert_eq!(client(engine, &show).ok().text(), "amd64");
                let history = ["history", "-q", flag[0], flag[1], "busybox"];
                client(engine, &history).ok();
            }
            let told = " was found but its platform (linux/amd64) does not match the specified platform (linux/arm64)";
            let other = path("other.tar");
            for command in [
                &["save", "--platform", "linux/arm64", "-o", &other, "busybox"][..],
                &["image", "inspect", "--platform", "linux/arm64", "busybox"],
                &["history", "--platform", "linux/arm64", "busybox"],
            ] {
                let failed = client(engine, command).fails_with(1);
                assert!(
                    failed.stderr.contains(told),
                    "{command:?}: {}",
                    failed.stderr
                );
            }
            assert!(!std::path::Path::new(&other).exists());
            let load = ["load", "--platform", "linux/arm64", "-i", &archive];
            let failed = client(engine, &load).fails_with(1);
            let told = "the archive has no image for linux/arm64";
            assert!(failed.stderr.contains(told), "{}", failed.stderr);
            let nonsense = [
                "save",
                "--platform",
                "no/such thing",
                "-o",
                &other,
                "busybox",
            ];
            let failed = client(engine, &nonsense).fails_with(1);
            assert!(
                failed
                    .stderr
                    .starts_with("invalid platform: \"such thing\" is an invalid"),
                "{}",
                failed.stderr
            );
        }
    });
}

#[test]
fn the_image_inside_the_program_is_saved_and_loaded_as_any_other() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        const NAME: &str = "wharf/isolation:latest";
        let registry = Registry::start(engine);
        let before = engine.census();
        let size = |engine: &Engine| {
            let format = ["image", "inspect", "-f", "{{.Size}}", NAME];
            engine.w(&format).ok().text().parse::<u64>().unwrap()
        };
        let program = std::fs::metadata(Engine::program()).unwrap().len();
        let id = |engine: &Engine, name: &str| {
            let format = ["image", "inspect", "-f", "{{.Id}}", name];
            engine.w(&format).ok().stdout
        };
        let own = id(engine, NAME);
        for client in [Engine::d, Engine::w] {
            assert!(size(engine) >= program, "{} {program}", size(engine));
            let archive = registry.scratch("built-in").join("saved.tar");
            let path = archive.to_str().unwrap();
            client(engine, &["save", "-o", path, NAME]).ok();
            let left = engine.census().beyond(&before);
            assert!(left.is_empty(), "{left}");
            // Other tools read it, and an engine that gets it from them has the same image.
            let source = format!("docker-archive:{path}:{NAME}");
            registry.skopeo(&["inspect", &source]);
            registry.upload(&source, "wharf:1");
            let pulled = registry.name("wharf:1");
            client(engine, &["pull", "-q", &pulled]).ok();
            assert_eq!(id(engine, &pulled), own);
            client(engine, &["run", "--rm", &pulled]).ok();
            client(engine, &["rmi", &pulled]).ok();
            let loaded = client(engine, &["load", "-i", path]).ok();
            assert_eq!(loaded.stdout, format!("Loaded image: {NAME}\n"));
            client(engine, &["run", "--rm", NAME]).ok();
            // A daemon that starts has it, whatever became of it; not unpacked yet.
            client(engine, &["rmi", "-f", own.trim()]).ok();
            engine.stop_daemon();
            engine.start_daemon();
        }
        assert!(size(engine) >= program);
    });
}

#[test]
fn an_image_is_pulled_for_the_platform_of_the_environment_and_by_its_digest() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_buildah("parts");
        let list = registry.name("parts/list:1");
        let digest = format!(
            "{}@{}",
            registry.name("parts/list"),
            registry.digest("parts/list:1")
        );
        let clients: [fn(&Engine, &[&str]) -> std::process::Command; 2] =
            [Engine::docker, Engine::wharf];
        for client in clients {
            let call = |platform: &str, args: &[&str]| {
                let mut command = client(engine, args);
                command.env("DOCKER_DEFAULT_PLATFORM", platform);
                testkit::run(command, b"")
            };
            // Both hold this machine's programs.
            for name in [&list, &digest] {
                let done = call("linux/arm64", &["run", "--rm", name]).ok();
                assert_eq!(done.stdout, "arm64\n");
                let told = format!("Unable to find image '{name}' locally\n");
                assert!(done.stderr.starts_with(&told), "{}", done.stderr);
                // What is there is for another platform than the one that is asked for now.
                let flag = ["run", "--rm", "-q", "--platform", "linux/amd64", name];
                assert_eq!(call("linux/arm64", &flag).ok().stdout, "amd64\n");
                engine.d(&["rmi", name]).ok();
            }
            let wrong = call("linux/nope/x/y", &["run", "--rm", &list]);
            assert_ne!(wrong.status, 0);
            assert!(!wrong.stderr.contains("Pulling from"), "{}", wrong.stderr);
        }
    });
}

#[test]
fn an_image_without_an_index_is_pulled_as_it_is_with_a_warning() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        engine.load_busybox();
        let name = registry.name("alone:1");
        engine.d(&["tag", "busybox", &name]).ok();
        engine.d(&["push", "-q", &name]).ok();
        engine.d(&["rmi", &name]).ok();
        for client in [Engine::d, Engine::w] {
            let done = client(engine, &["pull", "--platform", "linux/arm64", &name]).ok();
            let told = format!(
                "WARNING: image with reference {name} was found but its platform (linux/amd64) does not match the specified platform (linux/arm64)\n"
            );
            if engine.kind() == Kind::Wharf {
                assert!(done.stdout.contains(&told), "{}", done.stdout);
            }
            engine.d(&["rmi", &name]).ok();
        }
    });
}

#[test]
fn an_image_is_removed_only_if_it_is_for_the_platform() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        for client in [Engine::d, Engine::w] {
            engine.load_busybox();
            client(engine, &["tag", "busybox", "other:1"]).ok();
            let before = client(engine, &["images", "-q"]).ok().stdout;
            for (platform, told) in [
                (
                    "linux/arm64",
                    "does not match the specified platform (linux/arm64)",
                ),
                ("no/such/thing/there", "\"no/such/thing/there\": "),
                (
                    "linux/amd64,linux/arm64",
                    "multiple platforms are not supported",
                ),
            ] {
                let failed =
                    client(engine, &["rmi", "--platform", platform, "busybox"]).fails_with(1);
                assert!(
                    failed.stderr.contains(told),
                    "{platform}: {}",
                    failed.stderr
                );
            }
            assert_eq!(client(engine, &["images", "-q"]).ok().stdout, before);
            let removed = client(engine, &["rmi", "--platform", "linux/amd64", "other:1"]).ok();
            assert_eq!(removed.stdout, "Untagged: other:1\n");
            let removed = client(
                engine,
                &["image", "rm", "--platform", "linux/amd64", "busybox"],
            )
            .ok();
            assert!(
                removed.stdout.contains("Deleted: sha256:"),
                "{}",
                removed.stdout
            );
        }
    });
}

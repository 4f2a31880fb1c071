//! Images that other people's tools made, from Debian's registry and from archives.

mod archives;
mod credentials;
mod distribution;
mod encrypted;
mod faults;
mod given_up;
mod limits;
mod logins;
mod manifests;
mod mirrors;
mod platforms;
mod proxies;
mod proxy;
mod pushes;
mod resume;
mod searches;
mod server;
mod shared;
mod tags;
mod words;

use server::Registry;
use testkit::Engine;

/// Runs an image by both clients and compares what it prints.
#[track_caller]
fn prints(engine: &Engine, image: &str, command: &[&str], expected: &str) {
    for client in [Engine::d, Engine::w] {
        let mut args = vec!["run", "--rm", "--pull", "never", image];
        args.extend(command);
        assert_eq!(client(engine, &args).ok().stdout, expected, "{image}");
    }
}

#[test]
fn images_of_three_tools_are_pulled_tagged_and_run() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_skopeo("gzip:1", "zstd:1");
        registry.fill_by_umoci("umoci:latest");
        registry.fill_by_buildah("parts");
        for client in [Engine::d, Engine::w] {
            for (image, command, expected) in [
                ("gzip:1", &["echo", "gzip"][..], "gzip\n"),
                ("zstd:1", &["echo", "zstd"], "zstd\n"),
                ("umoci", &[], "by umoci\n"),
                ("parts/list:1", &[], "amd64\n"),
            ] {
                let name = registry.name(image);
                let pulled = client(engine, &["pull", &name]).ok();
                let full = if image.contains(':') {
                    name.clone()
                } else {
                    assert!(
                        pulled.stdout.starts_with("Using default tag: latest\n"),
                        "{}",
                        pulled.stdout
                    );
                    format!("{name}:latest")
                };
                for line in [
                    "Digest: sha256:".to_owned(),
                    format!("Status: Downloaded newer image for {full}\n{full}\n"),
                ] {
                    assert!(pulled.stdout.contains(&line), "{line}: {}", pulled.stdout);
                }
                let again = client(engine, &["pull", &name]).ok();
                assert!(
                    again
                        .stdout
                        .contains(&format!("Status: Image is up to date for {full}")),
                    "{}",
                    again.stdout
                );
                assert_eq!(client(engine, &["pull", "-q", &name]).ok().text(), full);
                client(engine, &["tag", &name, "short"]).ok();
                prints(engine, "short", command, expected);
                client(engine, &["rmi", "short", &name]).ok();
            }
        }
        // A removed file of the lower layer stays removed.
        engine.w(&["pull", "-q", &registry.name("umoci")]).ok();
        let wget = ["run", "--rm", &registry.name("umoci"), "ls", "/bin/wget"];
        engine.w(&wget).fails_with(1);
    });
}

#[test]
fn run_pulls_what_is_missing() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_umoci("umoci:latest");
        let name = registry.name("umoci");
        for client in [Engine::d, Engine::w] {
            let never = client(engine, &["run", "--rm", "--pull", "never", &name]).fails_with(125);
            assert!(
                never
                    .stderr
                    .contains(&format!("No such image: {name}:latest")),
                "{}",
                never.stderr
            );
            let done = client(engine, &["run", "--rm", &name]).ok();
            assert_eq!(done.stdout, "by umoci\n");
            let told = format!("Unable to find image '{name}:latest' locally\n");
            assert!(done.stderr.starts_with(&told), "{}", done.stderr);
            let quiet = client(engine, &["run", "--rm", "--pull", "always", "-q", &name]).ok();
            assert_eq!(
                (quiet.stdout.as_str(), quiet.stderr.as_str()),
                ("by umoci\n", "")
            );
            client(engine, &["rmi", &name]).ok();
            let made = client(engine, &["create", "--name", "made", "-q", &name]).ok();
            assert_eq!(made.text().len(), 64);
            client(engine, &["rm", "made"]).ok();
            client(engine, &["rmi", &name]).ok();
        }
    });
}

#[test]
fn a_digest_is_taken_away_and_its_tag_stays() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_buildah("parts");
        let name = registry.name("parts/list:1");
        for client in [Engine::d, Engine::w] {
            client(engine, &["pull", "-q", &name]).ok();
            let digests = [
                "image",
                "inspect",
                "-f",
                "{{join .RepoDigests \" \"}}",
                &name,
            ];
            let digest = client(engine, &digests).ok().text().to_owned();
            let removed = client(engine, &["rmi", &digest]).ok();
            assert_eq!(removed.text(), format!("Untagged: {digest}"));
            assert_eq!(client(engine, &digests).ok().text(), "");
            client(engine, &["rmi", &digest]).fails_with(1);
            client(engine, &["rmi", &name]).ok();
        }
    });
}

#[test]
fn a_platform_is_chosen_and_a_foreign_one_is_said() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_buildah("parts");
        let list = registry.name("parts/list:1");
        for client in [Engine::d, Engine::w] {
            let arch = ["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", &list];
            client(engine, &["pull", "--platform", "linux/arm64", &list]).ok();
            assert_eq!(client(engine, &arch).ok().text(), "linux/arm64");
            let warning = "WARNING: The requested image's platform (linux/arm64) does not match the detected host platform (linux/amd64";
            let made = client(engine, &["create", "--name", "other", &list]).ok();
            assert!(made.stderr.starts_with(warning), "{}", made.stderr);
            client(engine, &["rm", "other"]).ok();
            let asked = ["create", "--name", "other", "--platform", "linux/arm64"];
            let made = client(engine, &[&asked[..], &[&list]].concat()).ok();
            assert_eq!(made.stderr, "");
            client(engine, &["rm", "other"]).ok();
            client(engine, &["rmi", &list]).ok();
            client(engine, &["pull", &list]).ok();
            assert_eq!(client(engine, &arch).ok().text(), "linux/amd64");
            client(engine, &["rmi", &list]).ok();
            let none = client(engine, &["pull", "--platform", "linux/s390x", &list]).fails_with(1);
            assert!(
                none.stderr.contains("no matching manifest for linux/s390x"),
                "{}",
                none.stderr
            );
        }
        // A single manifest for another platform is pulled when asked for, and its program is not
        // executable here.
        let foreign = registry.name("parts/arm64:1");
        engine
            .d(&["pull", "--platform", "linux/arm64", &foreign])
            .ok();
        for client in [Engine::d, Engine::w] {
            let done = client(
                engine,
                &[
                    "create",
                    "--platform",
                    "linux/amd64",
                    "--pull",
                    "never",
                    &foreign,
                ],
            );
            assert_eq!(done.status, 1, "{}{}", done.stdout, done.stderr);
            assert!(
                done.stderr
                    .contains("does not match the specified platform")
                    || done
                        .stderr
                        .contains("does not provide the specified platform"),
                "{}",
                done.stderr
            );
        }
    });
}

#[test]
fn a_digest_names_an_image() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_skopeo("gzip:1", "zstd:1");
        let digest = registry.digest("gzip:1");
        let name = format!("{}@{digest}", registry.name("gzip"));
        for client in [Engine::d, Engine::w] {
            let pulled = client(engine, &["pull", &name]).ok();
            assert!(
                pulled.stdout.contains(&format!("Digest: {digest}\n")),
                "{}",
                pulled.stdout
            );
            prints(engine, &name, &["echo", "fine"], "fine\n");
            let digests = client(
                engine,
                &["image", "inspect", "-f", "{{json .RepoDigests}}", &name],
            );
            assert_eq!(digests.ok().json(), serde_json::json!([name]));
            let tags = client(
                engine,
                &["image", "inspect", "-f", "{{json .RepoTags}}", &name],
            );
            assert_eq!(tags.ok().json(), serde_json::json!([]));
            let removed = client(engine, &["rmi", &name]).ok();
            assert_eq!(
                removed.stdout.matches("Untagged: ").count(),
                1,
                "{}",
                removed.stdout
            );
        }
    });
}

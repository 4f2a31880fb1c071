//! `manifest`, by which clients speak to registries without an engine: both print the same, and read each other's files.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{Engine, Finished, run};

use super::server::Registry;

const CLIENTS: [fn(&Engine, &[&str]) -> Command; 2] = [Engine::docker, Engine::wharf];

/// A client's answer, with a folder of its own for its configuration.
fn ask(
    engine: &Engine,
    client: fn(&Engine, &[&str]) -> Command,
    configuration: &Path,
    args: &[&str],
) -> Finished {
    let mut command = client(engine, args);
    command.env("DOCKER_CONFIG", configuration);
    run(command, b"")
}

#[test]
fn manifests_are_shown_as_by_docker_s_client() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_skopeo("gzip:1", "zstd:1");
        registry.fill_by_buildah("parts");
        let folder = tempfile::tempdir().unwrap();
        let digest = format!("{}@{}", registry.name("gzip"), registry.digest("gzip:1"));
        let names = [
            "gzip:1",
            "zstd:1",
            "parts/arm64:1",
            "parts/list:1",
            "none:1",
        ];
        let names = names.map(|name| registry.name(name));
        for name in names.iter().chain([&digest]) {
            for flags in [&[][..], &["-v"]] {
                let args = [&["manifest", "inspect", "--insecure"][..], flags, &[name]].concat();
                let [theirs, ours] =
                    CLIENTS.map(|client| ask(engine, client, folder.path(), &args));
                assert_eq!(ours.stdout, theirs.stdout, "{args:?}");
                assert_eq!(ours.stderr, theirs.stderr, "{args:?}");
                assert_eq!(ours.status, theirs.status, "{args:?}");
                assert_eq!(ours.status != 0, name.contains("none"), "{args:?}");
            }
        }
    });
}

/// What is below a folder, with the content of files.
fn tree(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => all.extend(
                tree(&path)
                    .into_iter()
                    .map(|(below, content)| (format!("{name}/{below}"), content)),
            ),
            false => all.push((name, fs::read_to_string(&path).unwrap())),
        }
    }
    all.sort();
    all
}

#[test]
fn a_list_is_put_together_and_pushed_as_by_docker_s_client() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_skopeo("gzip:1", "zstd:1");
        registry.fill_by_buildah("parts");
        let [amd, arm, gzip] =
            ["parts/amd64:1", "parts/arm64:1", "gzip:1"].map(|name| registry.name(name));
        let folders = CLIENTS.map(|_| tempfile::tempdir().unwrap());
        let mut pushed = Vec::new();
        for (number, client) in CLIENTS.into_iter().enumerate() {
            let list = registry.name("made/list:1");
            let own = folders[number].path();
            let mut said = Vec::new();
            for args in [
                &["create", "--insecure", &list, &amd, &arm][..],
                &["create", "--insecure", &list, &gzip],
                &["create", "--insecure", "--amend", &list, &gzip],
                &[
                    "create",
                    "--insecure",
                    "x:1",
                    &registry.name("parts/list:1"),
                ],
                &["create", "--insecure", "x:1", &registry.name("none:1")],
                &["create", "x:1"],
                &["create", "UPPER", &amd],
                &[
                    "annotate",
                    "--arch",
                    "arm",
                    "--variant",
                    "v7",
                    "--os-features",
                    "a,b",
                    &list,
                    &arm,
                ],
                &[
                    "annotate", "--os", "linux", "--arch", "nothing", &list, &arm,
                ],
                &["annotate", "--arch", "arm", &list, &registry.name("zstd:1")],
                &["inspect", &list],
                &["inspect", "-v", &list],
                &["inspect", &list, &arm],
                &["inspect", &list, &registry.name("zstd:1")],
                &["push", "--insecure", &registry.name("never:1")],
                &["rm", "never:1"],
            ] {
                let args = [&["manifest"], args].concat();
                let done = ask(engine, client, own, &args);
                let text = |text: &str| text.replace("wharf", "docker");
                said.push((
                    args.join(" "),
                    text(&done.stdout),
                    text(&done.stderr),
                    done.status,
                ));
            }
            let kept = tree(&own.join("manifests"));
            // Each pushes what the other put together.
            let other = folders[1 - number].path().join("manifests");
            fs::create_dir_all(&other).unwrap();
            pushed.push((said, kept));
        }
        let [(theirs, their_files), (ours, our_files)] = &pushed[..] else {
            unreachable!()
        };
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(our_files, their_files);
        assert_eq!(our_files.len(), 3);
        let list = registry.name("made/list:1");
        let mut digests = Vec::new();
        for (number, client) in CLIENTS.into_iter().enumerate() {
            let other = folders[1 - number].path();
            let done = ask(
                engine,
                client,
                other,
                &["manifest", "push", "--insecure", "-p", &list],
            )
            .ok();
            let lines: Vec<_> = done.stdout.lines().collect();
            assert_eq!(lines.len(), 4, "{}", done.stdout);
            assert!(lines[0].starts_with(&format!(
                "Pushed ref {}@sha256:",
                registry.name("made/list")
            )));
            assert_eq!(registry.digest("made/list:1"), lines[3]);
            assert_eq!(tree(&other.join("manifests")), []);
            digests.push(done.stdout);
        }
        assert_eq!(digests[0], digests[1]);
        // Other tools read it, and the engine finds its own platform in it.
        let copy = registry.scratch("copy");
        let (from, to) = (
            format!("docker://{list}"),
            format!("dir:{}", copy.display()),
        );
        registry.skopeo(&["copy", "-q", "--all", "--src-tls-verify=false", &from, &to]);
        engine.w(&["pull", "-q", &list]).ok();
        let platform = ["inspect", "-f", "{{.Architecture}}", &list];
        assert_eq!(engine.w(&platform).ok().text(), "amd64");
    });
}

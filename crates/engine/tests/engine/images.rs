//! Images made by other people's tools: archives and a registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use api_types::Progress;
use engine::{Engine, EngineError, Filters, ImageListOptions, RemoveOptions};
use tokio::sync::mpsc;
use types::Digest;

use crate::kit::{self, Roots, eventually, request, run_container};

pub(crate) const TESTS: [(&str, fn()); 4] = [
    (
        "an_archive_is_loaded_and_saved",
        an_archive_is_loaded_and_saved,
    ),
    ("an_image_is_pulled", an_image_is_pulled),
    ("images_in_use_are_kept", images_in_use_are_kept),
    (
        "what_is_left_of_a_pull_does_not_stay_for_ever",
        what_is_left_of_a_pull_does_not_stay_for_ever,
    ),
];

fn tar(folder: &Path, archive: &Path, members: &[&str]) {
    let status = Command::new("tar")
        .arg("-C")
        .arg(folder)
        .arg("-cf")
        .arg(archive)
        .args(members)
        .status()
        .expect("tar");
    assert!(status.success());
}

/// A docker-archive of two layers: this program, and files of a distribution's kind.
pub(crate) fn archive(folder: &Path, name: &str) -> PathBuf {
    let (base, top) = (folder.join("base"), folder.join("top"));
    fs::create_dir_all(base.join("data")).expect("a folder");
    fs::create_dir_all(top.join("etc")).expect("a folder");
    fs::copy("/proc/self/exe", base.join("wharf")).expect("the program");
    fs::write(base.join("data/filled"), "by the image").expect("a file");
    fs::write(base.join("data/.keep"), "").expect("a file");
    fs::write(
        top.join("etc/passwd"),
        "root:x:0:0::/root:\nsailor:x:1000:1000::/home/sailor:\n",
    )
    .expect("a file");
    fs::write(top.join("etc/group"), "root:x:0:\ncrew:x:2000:sailor\n").expect("a file");
    tar(&base, &folder.join("base.tar"), &["."]);
    tar(&top, &folder.join("top.tar"), &["."]);
    let diff =
        |name: &str| Digest::sha256(&fs::read(folder.join(name)).expect("a layer")).to_string();
    let config = serde_json::json!({
        "architecture": types::Platform::host().architecture(), "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": {"Entrypoint": ["/wharf", "inside"], "Cmd": ["echo", "from the image"], "Env": ["SHIP=wharf"], "Volumes": {"/data": {}}},
        "rootfs": {"type": "layers", "diff_ids": [diff("base.tar"), diff("top.tar")]},
        "history": [{"created_by": "base"}, {"created_by": "top"}],
    });
    fs::write(folder.join("config.json"), config.to_string()).expect("a configuration");
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["base.tar", "top.tar"]}]);
    fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a manifest");
    let archive = folder.join("image.tar");
    tar(
        folder,
        &archive,
        &["manifest.json", "config.json", "base.tar", "top.tar"],
    );
    archive
}

pub(crate) async fn load(engine: &Engine, archive: &Path) -> Vec<Progress> {
    let (sender, mut receiver) = mpsc::channel(64);
    let lines = tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line);
        }
        lines
    });
    let file = fs::File::open(archive).expect("the archive");
    engine
        .load(Box::new(file), Vec::new(), false, sender)
        .await
        .expect("load");
    lines.await.expect("lines")
}

/// This program as it is in the loaded image.
pub(crate) fn loaded(words: &[&str]) -> engine::CreateRequest {
    let mut request = request(words);
    request.config.image = "ship:1".to_owned();
    request
}

fn an_archive_is_loaded_and_saved() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let folder = tempfile::tempdir().expect("a folder");
        let lines = load(&engine, &archive(folder.path(), "ship:1")).await;
        assert!(
            lines
                .iter()
                .any(|line| line.stream == "Loaded image: ship:1\n"),
            "{lines:?}"
        );
        assert_eq!(
            run_container(&engine, loaded(&["env", "SHIP"]))
                .await
                .output,
            "wharf\n"
        );
        let inspected = engine.image_inspect("ship:1", &[]).await.expect("inspect");
        assert_eq!(inspected.root_fs.layers.len(), 2);
        assert_eq!(
            engine.image_history("ship:1", &[]).await.expect("history")[0].created_by,
            "top"
        );

        let saved = folder.path().join("saved.tar");
        engine
            .save(
                vec!["ship:1".into()],
                Vec::new(),
                Box::new(fs::File::create(&saved).expect("a file")),
            )
            .await
            .expect("save");
        for container in engine
            .list(engine::ListOptions {
                all: true,
                ..Default::default()
            })
            .await
            .expect("list")
        {
            engine
                .remove(
                    &container.id,
                    RemoveOptions {
                        volumes: true,
                        ..Default::default()
                    },
                )
                .await
                .expect("remove");
        }
        let removed = engine
            .image_remove("ship:1", None, false)
            .await
            .expect("rmi");
        assert_eq!(removed[0].untagged, "ship:1");
        assert!(
            removed
                .iter()
                .filter(|line| !line.deleted.is_empty())
                .count()
                == 3,
            "{removed:?}"
        );
        assert!(matches!(
            engine.image_inspect("ship:1", &[]).await,
            Err(EngineError::NoSuchImage { .. })
        ));
        load(&engine, &saved).await;
        assert_eq!(
            engine
                .image_inspect("ship:1", &[])
                .await
                .expect("inspect")
                .id,
            inspected.id
        );
        kit::clean_up(engine).await;
    });
}

struct Registry(Child);

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn registry(folder: &Path) -> Registry {
    let storage = folder.join("registry");
    fs::create_dir_all(&storage).expect("a folder");
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:5000\n",
        storage.display()
    );
    let path = folder.join("registry.yml");
    fs::write(&path, config).expect("a configuration");
    let mut command = Command::new("docker-registry");
    command
        .arg("serve")
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Registry(command.spawn().expect("docker-registry"))
}

fn an_image_is_pulled() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let folder = tempfile::tempdir().expect("a folder");
        let archive = archive(folder.path(), "ship:1");
        let _registry = registry(folder.path());
        eventually("the registry answers", async || {
            std::net::TcpStream::connect("127.0.0.1:5000").is_ok()
        })
        .await;
        let source = format!("docker-archive:{}", archive.display());
        let pushed = Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--dest-tls-verify=false",
                &source,
                "docker://127.0.0.1:5000/fleet/ship:1",
            ])
            .stdout(Stdio::null())
            .status()
            .expect("skopeo");
        assert!(pushed.success());
        let pull = async |name: &str| {
            let (sender, mut receiver) = mpsc::channel::<Progress>(64);
            let lines = tokio::spawn(async move {
                let mut lines = Vec::new();
                while let Some(line) = receiver.recv().await {
                    lines.push(line.status);
                }
                lines
            });
            engine.pull(name, None, None, sender).await.map(|()| lines)
        };
        let lines = pull("127.0.0.1:5000/fleet/ship:1")
            .await
            .expect("pull")
            .await
            .expect("lines");
        for wanted in [
            "Pulling from fleet/ship",
            "Pull complete",
            "Status: Downloaded newer image for 127.0.0.1:5000/fleet/ship:1",
        ] {
            assert!(
                lines.iter().any(|line| line == wanted),
                "{wanted} is missing in {lines:?}"
            );
        }
        let lines = pull("127.0.0.1:5000/fleet/ship:1")
            .await
            .expect("pull")
            .await
            .expect("lines");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("Status: Image is up to date")),
            "{lines:?}"
        );
        engine
            .image_tag("127.0.0.1:5000/fleet/ship:1", "ship", Some("1".into()))
            .await
            .expect("tag");
        assert_eq!(
            run_container(&engine, loaded(&["env", "SHIP"]))
                .await
                .output,
            "wharf\n"
        );
        let missing = pull("127.0.0.1:5000/fleet/none:1")
            .await
            .expect_err("there is none");
        assert_eq!(missing.class(), engine::Class::NotFound, "{missing}");
        let listed = engine
            .image_list(ImageListOptions::default())
            .await
            .expect("list");
        let image = listed
            .iter()
            .find(|image| image.repo_tags.contains(&"ship:1".to_owned()))
            .expect("it is listed");
        assert!(
            image.repo_digests[0].starts_with("127.0.0.1:5000/fleet/ship@sha256:"),
            "{:?}",
            image.repo_digests
        );
        kit::clean_up(engine).await;
    });
}

fn images_in_use_are_kept() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let folder = tempfile::tempdir().expect("a folder");
        load(&engine, &archive(folder.path(), "ship:1")).await;
        let id = engine
            .create(None, loaded(&["echo", "x"]), None)
            .await
            .expect("create")
            .id;
        let refused = engine
            .image_remove("ship:1", None, false)
            .await
            .expect_err("it is used")
            .to_string();
        let short = &id[..12];
        assert!(refused.starts_with("conflict: unable to remove repository reference \"ship:1\" (must force) - container "), "{refused}");
        assert!(refused.contains(short), "{refused}");
        engine
            .image_remove("ship:1", None, true)
            .await
            .expect("its name goes");
        engine
            .start(&id, None)
            .await
            .expect("its layers are there still");
        kit::clean_up(engine).await;
    });
}

fn what_is_left_of_a_pull_does_not_stay_for_ever() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let ingest = roots.folder.path().join("data/v1/ingest");
        let partial = |text: &str, days: u64| {
            let path = ingest.join(Digest::sha256(text.as_bytes()).hex());
            fs::write(&path, vec![b'x'; 1 << 20]).expect("a partial blob");
            let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            let file = fs::File::options().write(true).open(&path).expect("open");
            file.set_modified(then).expect("an older time");
            path
        };
        let (new, old) = (partial("new", 6), partial("old", 8));
        let total = async || {
            let usage = engine.df().await.expect("df").image_usage;
            usage.expect("images").total_size
        };
        let before = total().await;
        // Any collection will do.
        let folder = tempfile::tempdir().expect("a folder");
        load(&engine, &archive(folder.path(), "ship:1")).await;
        engine
            .image_remove("ship:1", None, false)
            .await
            .expect("remove");
        assert!(new.exists() && !old.exists());
        assert_eq!(before - total().await, 1 << 20);
        let mut narrow = Filters::default();
        narrow.add("label", "none");
        let report = engine.prune_images(narrow).await.expect("prune");
        assert_eq!(report.space_reclaimed, 0);
        assert!(new.exists());
        let report = engine
            .prune_images(Filters::default())
            .await
            .expect("prune");
        assert_eq!(report.space_reclaimed, 1 << 20);
        assert!(!new.exists());
        assert_eq!(before - total().await, 2 << 20);
        let old = partial("old", 8);
        kit::clean_up(engine).await;
        let engine = Engine::open(roots.config()).await.expect("open again");
        assert!(!old.exists());
        kit::clean_up(engine).await;
    });
}

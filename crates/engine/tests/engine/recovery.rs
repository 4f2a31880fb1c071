//! What a second daemon finds after the first was killed: played by a process that ends without closing.

use std::process::{Command, Stdio};

use engine::{Engine, ListOptions, LogsOptions, WaitCondition};

use crate::kit::{self, Roots, eventually, request};

pub(crate) const TESTS: [(&str, fn()); 6] = [
    (
        "a_killed_daemon_loses_nothing",
        a_killed_daemon_loses_nothing,
    ),
    ("a_second_daemon_is_refused", a_second_daemon_is_refused),
    ("orphans_are_removed", orphans_are_removed),
    (
        "data_that_no_row_owns_is_left_alone",
        data_that_no_row_owns_is_left_alone,
    ),
    (
        "what_can_not_be_removed_keeps_no_daemon_from_starting",
        what_can_not_be_removed_keeps_no_daemon_from_starting,
    ),
    (
        "a_policy_that_the_shim_was_not_told_is_told_by_the_next_daemon",
        a_policy_that_the_shim_was_not_told_is_told_by_the_next_daemon,
    ),
];

/// The first daemon: makes containers, tells that they are there, and waits to be killed.
pub(crate) fn first_daemon(folder: &str) {
    kit::run(async {
        let mut config =
            engine::EngineConfig::new(format!("{folder}/data"), format!("{folder}/exec"));
        config.bridge = Some("none".to_owned());
        let engine = Engine::open(config).await.expect("open");
        for (name, words, auto_remove) in [
            ("lives", vec!["ticks"], false),
            ("gone", vec!["nap", "700", "0"], true),
            ("ended", vec!["nap", "700", "9"], false),
        ] {
            let mut request = request(&words);
            request.host_config.auto_remove = auto_remove;
            let id = engine
                .create(Some(name.into()), request, None)
                .await
                .expect("create")
                .id;
            engine.start(&id, None).await.expect("start");
        }
        println!("ready");
        std::future::pending::<()>().await;
    });
}

/// Lets the first daemon do its work, and kills it.
fn play_first_daemon(roots: &Roots) {
    let folder = roots.folder.path().display().to_string();
    let mut first = Command::new("/proc/self/exe")
        .args(["first", &folder])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a daemon");
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(first.stdout.take().expect("its output")),
        &mut line,
    )
    .expect("read");
    assert_eq!(line, "ready\n");
    first.kill().expect("kill");
    first.wait().expect("wait");
}

fn a_killed_daemon_loses_nothing() {
    kit::run(async {
        let roots = Roots::new();
        play_first_daemon(&roots);
        tokio::time::sleep(std::time::Duration::from_millis(1000)).await;

        let engine = Engine::open(roots.config()).await.expect("open again");
        let all = engine
            .list(ListOptions {
                all: true,
                ..Default::default()
            })
            .await
            .expect("list");
        let mut states: Vec<(String, String)> = all
            .iter()
            .map(|c| (c.names[0].clone(), c.state.clone()))
            .collect();
        states.sort();
        assert_eq!(
            states,
            [
                ("/ended".to_owned(), "exited".to_owned()),
                ("/lives".to_owned(), "running".to_owned())
            ]
        );
        assert_eq!(
            engine
                .inspect("ended", false)
                .await
                .expect("inspect")
                .state
                .exit_code,
            9
        );
        engine
            .create(Some("gone".into()), request(&[]), None)
            .await
            .expect("the name is free");
        let mut logs = engine
            .logs(
                "lives",
                LogsOptions {
                    stdout: true,
                    follow: true,
                    ..Default::default()
                },
            )
            .await
            .expect("logs");
        assert!(
            logs.chunks
                .recv()
                .await
                .expect("a tick")
                .expect("readable")
                .bytes
                .starts_with(b"tick\n")
        );
        let wait = engine
            .wait("lives", WaitCondition::NotRunning)
            .await
            .expect("wait");
        engine.kill("lives", None).await.expect("kill");
        assert_eq!(wait.await.expect("the end").status_code, 137);
        kit::clean_up(engine).await;
    });
}

fn a_second_daemon_is_refused() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let refused = Engine::open(roots.config())
            .await
            .err()
            .expect("it is taken");
        assert!(
            refused.to_string().starts_with("another daemon (process "),
            "{refused}"
        );
        kit::clean_up(engine).await;
    });
}

/// Opens an engine once nobody has the roots any more.
async fn open_again(roots: &Roots) -> Engine {
    let mut opened = None;
    eventually("the lock is free", async || {
        opened = Engine::open(roots.config()).await.ok();
        opened.is_some()
    })
    .await;
    opened.expect("an engine")
}

/// What creates and removals leave that a crash cut short, as their steps make it.
fn orphans_are_removed() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        kit::clean_up(engine).await;
        let orphan = "ab".repeat(32);
        let made = [
            format!("data/v1/containers/{orphan}/upper"),
            format!("data/v1/containers/{orphan}/work"),
            format!("data/v1/tombstones/{orphan}/upper/deep"),
            format!("exec/v1/shims/{orphan}/deep"),
            format!("data/v1/volumes/{orphan}/_data"),
        ]
        .map(|folder| roots.folder.path().join(folder));
        for folder in &made {
            std::fs::create_dir_all(folder).expect("an orphan");
        }
        // A spare that became a container's folder has these as well.
        let folder = made[0].parent().expect("its folder");
        std::fs::write(folder.join(format!("{orphan}-json.log")), "").expect("a log");
        std::fs::write(folder.join("hosts"), "").expect("a file for /etc");
        kit::clean_up(open_again(&roots).await).await;
        for folder in made {
            let folder = folder.parent().expect("the orphan");
            assert!(!folder.exists(), "{}", folder.display());
        }
    });
}

/// As after the store was restored from an older copy.
fn data_that_no_row_owns_is_left_alone() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        kit::clean_up(engine).await;
        let (wrote, logged) = ("ab".repeat(32), "cd".repeat(32));
        let kept = [
            format!("data/v1/containers/{wrote}/upper/srv/letter"),
            format!("data/v1/containers/{logged}/{logged}-json.log.1"),
            "data/v1/volumes/precious/_data/letter".to_owned(),
        ]
        .map(|file| roots.folder.path().join(file));
        for file in &kept {
            std::fs::create_dir_all(file.parent().expect("its folder")).expect("a folder");
            std::fs::write(file, "dear").expect("data");
        }
        std::fs::create_dir(
            roots
                .folder
                .path()
                .join(format!("data/v1/containers/{logged}/upper")),
        )
        .expect("an empty layer");
        for _ in 0..2 {
            kit::clean_up(open_again(&roots).await).await;
            for file in &kept {
                assert!(file.exists(), "{}", file.display());
            }
        }
        let engine = open_again(&roots).await;
        let request = api_types::VolumeCreate {
            name: "precious".to_owned(),
            ..Default::default()
        };
        engine
            .volume_create(request)
            .await
            .expect("the volume is taken up");
        assert!(kept[2].exists());
        engine
            .volume_remove("precious", false)
            .await
            .expect("and is a volume like others");
        kit::clean_up(engine).await;
        assert!(kept[0].exists() && !kept[2].exists());
    });
}

/// Makes files that nobody can remove, as chattr(1) does; and such that anybody can again.
fn set_immutable(path: &std::path::Path, on: bool) {
    let flag = if on { "+i" } else { "-i" };
    let done = Command::new("chattr").arg(flag).arg(path).status();
    assert!(done.expect("chattr(1) of e2fsprogs").success());
}

fn what_can_not_be_removed_keeps_no_daemon_from_starting() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let request = api_types::VolumeCreate {
            name: "stubborn".to_owned(),
            ..Default::default()
        };
        engine.volume_create(request).await.expect("a volume");
        let data = roots.folder.path().join("data/v1");
        let file = data.join("volumes/stubborn/_data/file");
        std::fs::write(&file, "").expect("a file");
        set_immutable(&file, true);
        engine
            .volume_remove("stubborn", false)
            .await
            .expect("its name is free");
        kit::clean_up(engine).await;
        // What creates and removals that were cut short may have left, likewise.
        let orphan = "ab".repeat(32);
        let mut stubborn: Vec<_> = std::fs::read_dir(data.join("tombstones"))
            .expect("the tombstones")
            .map(|grave| grave.expect("a grave").path().join("_data/file"))
            .collect();
        assert_eq!(stubborn.len(), 1, "it waits for being emptied");
        for folder in [
            format!("data/v1/tombstones/{orphan}"),
            format!("data/v1/tmp/{orphan}"),
            format!("data/v1/containers/{orphan}"),
            "data/v1/volumes/.removed-1-1".to_owned(),
            format!("exec/v1/shims/{orphan}"),
        ] {
            let folder = roots.folder.path().join(folder);
            std::fs::create_dir_all(&folder).expect("an orphan");
            let file = folder.join("file");
            std::fs::write(&file, "").expect("a file");
            set_immutable(&file, true);
            stubborn.push(file);
        }
        kit::clean_up(open_again(&roots).await).await;
        for file in &stubborn {
            set_immutable(file, false);
        }
        kit::clean_up(open_again(&roots).await).await;
        for file in &stubborn {
            assert!(!file.exists(), "{}", file.display());
        }
    });
}

/// As a daemon leaves it that is killed when it has written a change down, before it said so to the shim.
fn a_policy_that_the_shim_was_not_told_is_told_by_the_next_daemon() {
    kit::run(async {
        let roots = Roots::new();
        play_first_daemon(&roots);
        let host =
            r#"{"NetworkMode":"none","RestartPolicy":{"Name":"always","MaximumRetryCount":0}}"#;
        crate::unwritten::change_store(
            &roots,
            &format!(
                "UPDATE containers SET run = json_set(run, '$.changed_host', json('{host}')) WHERE name = 'lives'"
            ),
        );
        let engine = open_again(&roots).await;
        let state = async || engine.inspect("lives", false).await.expect("inspect");
        eventually("the shim is reached", async || {
            engine.top("lives", "").await.is_ok()
        })
        .await;
        let first = state().await.state.pid;
        let killed = Command::new("kill")
            .args(["-9", &first.to_string()])
            .status();
        assert!(killed.expect("kill(1)").success());
        eventually("it was started again", async || {
            let now = state().await;
            now.state.running && now.state.pid != first && now.restart_count == 1
        })
        .await;
        kit::clean_up(engine).await;
    });
}

//! What a second daemon finds after the first was killed: played by a process that ends without closing.

use std::process::{Command, Stdio};

use engine::{Engine, ListOptions, LogsOptions, WaitCondition};

use crate::kit::{self, Roots, eventually, request};

pub(crate) const TESTS: [(&str, fn()); 3] = [
    (
        "a_killed_daemon_loses_nothing",
        a_killed_daemon_loses_nothing,
    ),
    ("a_second_daemon_is_refused", a_second_daemon_is_refused),
    ("orphans_are_removed", orphans_are_removed),
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

fn a_killed_daemon_loses_nothing() {
    kit::run(async {
        let roots = Roots::new();
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

fn orphans_are_removed() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        kit::clean_up(engine).await;
        let orphan = "ab".repeat(32);
        for folder in ["data/v1/containers", "data/v1/tombstones", "exec/v1/shims"] {
            std::fs::create_dir_all(
                roots
                    .folder
                    .path()
                    .join(folder)
                    .join(&orphan)
                    .join("upper/deep"),
            )
            .expect("an orphan");
        }
        let mut opened = None;
        eventually("the lock is free", async || {
            opened = Engine::open(roots.config()).await.ok();
            opened.is_some()
        })
        .await;
        kit::clean_up(opened.expect("an engine")).await;
        for folder in ["data/v1/containers", "data/v1/tombstones", "exec/v1/shims"] {
            assert!(
                !roots.folder.path().join(folder).join(&orphan).exists(),
                "{folder}"
            );
        }
    });
}

//! Create, start, wait, attach, stop, remove.

use engine::{Engine, EngineError, ListOptions, RemoveOptions, WaitCondition};

use crate::kit::{self, Roots, eventually, request, run_container};

pub(crate) const TESTS: [(&str, fn()); 7] = [
    ("the_built_in_image_runs", the_built_in_image_runs),
    ("a_container_removes_itself", a_container_removes_itself),
    ("exit_codes_are_told", exit_codes_are_told),
    (
        "a_missing_program_is_told_in_dockers_words",
        a_missing_program_is_told_in_dockers_words,
    ),
    ("stop_kill_and_remove", stop_kill_and_remove),
    (
        "more_starts_than_threads_all_end",
        more_starts_than_threads_all_end,
    ),
    (
        "names_conflict_and_are_free_at_once",
        names_conflict_and_are_free_at_once,
    ),
];

fn the_built_in_image_runs() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let ran = run_container(&engine, request(&["echo", "hello"])).await;
        assert_eq!((ran.output.as_str(), ran.code), ("hello\n", 0));
        let seen = engine.inspect(&ran.id, true).await.expect("inspect");
        assert_eq!(
            (seen.state.status.as_str(), seen.state.exit_code),
            ("exited", 0)
        );
        kit::clean_up(engine).await;
    });
}

fn a_container_removes_itself() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        for round in 0..5 {
            let mut request = request(&["exit", "7"]);
            request.host_config.auto_remove = true;
            let ran = run_container(&engine, request).await;
            assert_eq!(ran.code, 7, "round {round}");
            assert!(matches!(
                engine.inspect(&ran.id, false).await,
                Err(EngineError::NoSuchContainer { .. })
            ));
        }
        eventually("all is cleaned", async || engine.cleaning() == 0).await;
        let left = std::fs::read_dir(roots.folder.path().join("data/v1/containers"))
            .expect("list")
            .count();
        assert_eq!(left, 0);
        kit::clean_up(engine).await;
    });
}

fn exit_codes_are_told() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        for code in [0, 1, 42] {
            assert_eq!(
                run_container(&engine, request(&["exit", &code.to_string()]))
                    .await
                    .code,
                code
            );
        }
        kit::clean_up(engine).await;
    });
}

fn a_missing_program_is_told_in_dockers_words() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let mut request = request(&[]);
        request.config.entrypoint = Some(vec!["nope".to_owned()].into());
        let id = engine
            .create(Some("lost".into()), request, None)
            .await
            .expect("create")
            .id;
        let failed = engine.start(&id, None).await.expect_err("it is missing");
        assert_eq!(
            failed.to_string(),
            "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: \
             unable to start container process: exec: \"nope\": executable file not found in $PATH: unknown"
        );
        assert_eq!(failed.class(), engine::Class::InvalidArgument);
        let seen = engine.inspect("lost", false).await.expect("inspect");
        assert_eq!(
            (seen.state.status.as_str(), seen.state.exit_code),
            ("created", 127)
        );
        kit::clean_up(engine).await;
    });
}

fn stop_kill_and_remove() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let id = engine
            .create(Some("sleeper".into()), request(&["sleep"]), None)
            .await
            .expect("create")
            .id;
        engine.start(&id, None).await.expect("start");
        assert!(matches!(
            engine.start(&id, None).await,
            Err(EngineError::NotModified)
        ));
        assert!(matches!(
            engine.remove(&id, RemoveOptions::default()).await,
            Err(EngineError::Conflict { .. })
        ));
        let wait = engine
            .wait(&id, WaitCondition::NotRunning)
            .await
            .expect("wait");
        // Process 1 has no handler: SIGTERM does nothing, the grace ends it.
        engine.stop(&id, Some(0), None).await.expect("stop");
        assert_eq!(wait.await.expect("the end").status_code, 137);
        assert!(matches!(
            engine.stop(&id, None, None).await,
            Err(EngineError::NotModified)
        ));
        engine.start(&id, None).await.expect("start again");
        engine.pause(&id).await.expect("pause");
        assert_eq!(
            engine
                .inspect(&id, false)
                .await
                .expect("inspect")
                .state
                .status,
            "paused"
        );
        engine.unpause(&id).await.expect("unpause");
        engine.kill(&id, None).await.expect("kill");
        assert_eq!(
            engine
                .inspect(&id, false)
                .await
                .expect("inspect")
                .state
                .exit_code,
            137
        );
        engine.restart(&id, Some(0), None).await.expect("restart");
        engine
            .remove(
                &id,
                RemoveOptions {
                    force: true,
                    ..Default::default()
                },
            )
            .await
            .expect("remove");
        assert!(
            engine
                .list(ListOptions {
                    all: true,
                    ..Default::default()
                })
                .await
                .expect("list")
                .is_empty()
        );
        kit::clean_up(engine).await;
    });
}

fn names_conflict_and_are_free_at_once() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        for _ in 0..10 {
            let id = engine
                .create(Some("one".into()), request(&["exit", "0"]), None)
                .await
                .expect("create")
                .id;
            let refused = engine
                .create(Some("one".into()), request(&[]), None)
                .await
                .expect_err("taken");
            assert_eq!(refused.class(), engine::Class::Conflict);
            engine.rename(&id, "two").await.expect("rename");
            engine
                .remove("two", RemoveOptions::default())
                .await
                .expect("remove");
        }
        kit::clean_up(engine).await;
    });
}

fn more_starts_than_threads_all_end() {
    kit::run_on(4, async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let mut ids = Vec::new();
        for _ in 0..20 {
            let made = engine.create(None, request(&[]), None).await;
            ids.push(made.expect("create").id);
        }
        let starts: Vec<_> = ids
            .iter()
            .map(|id| {
                let (engine, id) = (engine.clone(), id.clone());
                tokio::spawn(async move { engine.start(&id, None).await })
            })
            .collect();
        for start in starts {
            start.await.expect("no panic").expect("start");
        }
        kit::clean_up(engine).await;
    });
}

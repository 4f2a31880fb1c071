//! What the store refuses to write down has not happened. Triggers within the store's file refuse, as a disk would.

use std::path::Path;
use std::sync::Arc;

use api_types::VolumeCreate;
use engine::{CreateRequest, Engine};
use rusqlite::Connection;

use crate::kit::{self, Roots, eventually, request};

pub(crate) const TESTS: [(&str, fn()); 6] = [
    (
        "a_start_that_can_not_be_written_down_leaves_nothing_running",
        a_start_that_can_not_be_written_down_leaves_nothing_running,
    ),
    (
        "a_create_that_fails_leaves_data_alone_that_it_found",
        a_create_that_fails_leaves_data_alone_that_it_found,
    ),
    (
        "a_create_that_fails_takes_nobodys_volume_with_it",
        a_create_that_fails_takes_nobodys_volume_with_it,
    ),
    (
        "a_layer_that_can_not_be_written_down_gives_its_space_back",
        a_layer_that_can_not_be_written_down_gives_its_space_back,
    ),
    (
        "limits_that_are_refused_or_not_written_down_are_put_back",
        limits_that_are_refused_or_not_written_down_are_put_back,
    ),
    (
        "an_exec_that_can_not_be_written_down_runs_all_the_same",
        an_exec_that_can_not_be_written_down_runs_all_the_same,
    ),
];

/// Runs SQL on the store of an engine that is closed.
pub(crate) fn change_store(roots: &Roots, sql: &str) {
    let path = roots.folder.path().join("data/v1/store.db");
    Connection::open(path)
        .expect("the store")
        .execute_batch(sql)
        .expect("SQL");
}

/// An engine whose store refuses what the trigger says.
async fn open_with(roots: &Roots, trigger: &str) -> Engine {
    kit::clean_up(Engine::open(roots.config()).await.expect("open")).await;
    change_store(
        roots,
        &format!(
            "CREATE TRIGGER refuse BEFORE {trigger} BEGIN SELECT RAISE(ABORT, 'refused on purpose'); END"
        ),
    );
    open_again(roots).await
}

/// Opens an engine after another one was closed: its last tasks hold the lock a moment longer.
async fn open_again(roots: &Roots) -> Engine {
    for _ in 0..400 {
        match Engine::open(roots.config()).await {
            Err(engine::EngineError::Locked { .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            }
            opened => return opened.expect("open"),
        }
    }
    panic!("the lock of an engine that was closed is held for ten seconds");
}

/// Processes that descend from this one, by number and state.
fn descendants() -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let number: Option<u32> = stat.split(' ').next().and_then(|word| word.parse().ok());
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let parent: Option<u32> = after_name
            .split(' ')
            .nth(2)
            .and_then(|word| word.parse().ok());
        if let (Some(number), Some(parent)) = (number, parent) {
            parents.push((number, parent));
        }
    }
    let mut found = vec![std::process::id()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(number, _)| *number),
        );
        next += 1;
    }
    found
}

fn a_start_that_can_not_be_written_down_leaves_nothing_running() {
    kit::run(async {
        let roots = Roots::new();
        let engine = open_with(&roots, "UPDATE ON containers WHEN NEW.state = 'running'").await;
        let mut idle = 0;
        for policy in ["no", "always"] {
            let mut request = request(&["sleep"]);
            request.host_config.restart_policy.name = policy.to_owned();
            let id = engine.create(None, request, None).await.expect("create").id;
            // The launcher keeps one process ahead, from its first start on.
            if policy == "no" {
                idle = descendants().len();
            }
            let refused = engine
                .start(&id, None)
                .await
                .expect_err("it is not written down");
            assert!(
                refused.to_string().contains("refused on purpose"),
                "{refused}"
            );
            let state = engine.inspect(&id, false).await.expect("inspect").state;
            assert_eq!((state.status.as_str(), state.pid), ("created", 0));
            assert!(
                state.error.contains("refused on purpose"),
                "{}",
                state.error
            );
            assert!(!roots.folder.path().join("exec/v1/shims").join(&id).exists());
            eventually("its processes are gone", async || {
                descendants().len() <= idle
            })
            .await;
        }
        engine.close().await.expect("close");
        drop(engine);
        change_store(&roots, "DROP TRIGGER refuse");
        let engine = Engine::open(roots.config()).await.expect("open");
        for container in engine
            .list(engine::ListOptions {
                all: true,
                ..Default::default()
            })
            .await
            .expect("list")
        {
            engine
                .start(&container.id, None)
                .await
                .expect("now it starts");
        }
        kit::clean_up(engine).await;
    });
}

fn with_volume(name: &str) -> CreateRequest {
    let mut request = request(&[]);
    request.host_config.binds = Some(vec![format!("{name}:/data")]);
    request
}

fn data(roots: &Roots, volume: &str) -> std::path::PathBuf {
    roots
        .folder
        .path()
        .join("data/v1/volumes")
        .join(volume)
        .join("_data")
}

fn leave_file(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("precious"), "data").expect("a file");
}

fn a_create_that_fails_leaves_data_alone_that_it_found() {
    kit::run(async {
        let roots = Roots::new();
        let engine = open_with(&roots, "INSERT ON containers").await;
        // Of a store that was lost: no volume has this folder.
        leave_file(&data(&roots, "found"));
        engine
            .create(None, with_volume("found"), None)
            .await
            .expect_err("refused");
        assert!(data(&roots, "found").join("precious").exists());
        engine
            .create(None, with_volume("new"), None)
            .await
            .expect_err("refused");
        assert!(!data(&roots, "new").exists());
        kit::clean_up(engine).await;
    });
}

fn a_create_that_fails_takes_nobodys_volume_with_it() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Arc::new(open_with(&roots, "INSERT ON containers").await);
        for round in 0..100 {
            let name = format!("volume-{round}");
            let failing = {
                let (engine, name) = (Arc::clone(&engine), name.clone());
                tokio::spawn(async move { engine.create(None, with_volume(&name), None).await })
            };
            // Sooner or later within the other's way.
            for _ in 0..round % 10 {
                tokio::task::yield_now().await;
            }
            let request = VolumeCreate {
                name: name.clone(),
                labels: Some([("mine".to_owned(), "yes".to_owned())].into()),
                ..Default::default()
            };
            engine.volume_create(request).await.expect("a volume");
            failing.await.expect("no panic").expect_err("refused");
            assert!(data(&roots, &name).exists(), "{name}");
            let volume = engine.volume_inspect(&name).await.expect("inspect");
            assert!(volume.labels.is_some(), "{name}");
        }
        kit::clean_up(Arc::try_unwrap(engine).ok().expect("nobody has it")).await;
    });
}

fn a_layer_that_can_not_be_written_down_gives_its_space_back() {
    kit::run(async {
        let roots = Roots::new();
        let engine = open_with(&roots, "INSERT ON layers WHEN NEW.state = 'ready'").await;
        let layers = || {
            let folder = roots.folder.path().join("data/v1/layers");
            let entries = std::fs::read_dir(folder).expect("the layers");
            let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        let before = layers();
        let folder = tempfile::tempdir().expect("a folder");
        let archive = crate::images::archive(folder.path(), "ship:1");
        let file = std::fs::File::open(archive).expect("the archive");
        let (sender, _receiver) = tokio::sync::mpsc::channel(64);
        let error = engine
            .load(Box::new(file), Vec::new(), true, sender)
            .await
            .expect_err("refused");
        assert!(error.to_string().contains("on purpose"), "{error}");
        assert_eq!(layers(), before);
        kit::clean_up(engine).await;
    });
}

/// The limits of a container's control groups: whatever version's files there are.
fn limits(id: &str) -> Vec<(String, String)> {
    const FILES: [&str; 10] = [
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "memory.max",
        "memory.swap.max",
        "cpu.shares",
        "cpu.weight",
        "cpu.cfs_quota_us",
        "cpu.max",
        "cpuset.cpus",
        "pids.max",
    ];
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").expect("control groups");
    let mut folders: Vec<_> = hierarchies.flatten().map(|entry| entry.path()).collect();
    folders.push("/sys/fs/cgroup".into());
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        let engines = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for group in engines.map(|entry| entry.path().join(id)) {
            found.extend(FILES.iter().filter_map(|file| {
                let path = group.join(file);
                let text = std::fs::read_to_string(&path).ok()?;
                Some((path.display().to_string(), text))
            }));
        }
    }
    found
}

fn limits_that_are_refused_or_not_written_down_are_put_back() {
    kit::run(async {
        let roots = Roots::new();
        let engine = open_with(
            &roots,
            "UPDATE ON containers WHEN NEW.run LIKE '%changed_host%'",
        )
        .await;
        let mut request = request(&["sleep"]);
        request.host_config.cpu_shares = 700;
        // So that there is a group for each of them.
        request.host_config.memory_reservation = 32 << 20;
        request.host_config.cpuset_cpus = "0".to_owned();
        request.host_config.pids_limit = Some(100);
        let id = engine.create(None, request, None).await.expect("create").id;
        engine.start(&id, None).await.expect("start");
        let before = limits(&id);
        assert!(before.len() >= 5, "{before:?}");
        let asked = |pids: i64| api_types::HostConfig {
            memory: 64 << 20,
            memory_swap: 128 << 20,
            cpu_shares: 512,
            nano_cpus: 500_000_000,
            pids_limit: Some(pids),
            ..Default::default()
        };
        let refused = engine.update(&id, asked(50)).await.expect_err("refused");
        assert!(refused.to_string().contains("on purpose"), "{refused}");
        assert_eq!(limits(&id), before);
        // The kernel refuses the last one of these: more processes than there can be.
        engine
            .update(&id, asked(5_000_000))
            .await
            .expect_err("refused");
        assert_eq!(limits(&id), before);
        let host = engine
            .inspect(&id, false)
            .await
            .expect("inspect")
            .host_config;
        assert_eq!((host.memory, host.cpu_shares), (0, 700));
        kit::clean_up(engine).await;
    });
}

fn an_exec_that_can_not_be_written_down_runs_all_the_same() {
    kit::run(async {
        let roots = Roots::new();
        let engine = open_with(&roots, "INSERT ON execs").await;
        let id = engine
            .create(None, request(&["sleep"]), None)
            .await
            .expect("create")
            .id;
        engine.start(&id, None).await.expect("start");
        let words = ["/wharf", "inside", "nap", "300", "7"].map(str::to_owned);
        let exec = engine
            .exec_create(
                &id,
                api_types::ExecCreate {
                    cmd: Some(words.to_vec().into()),
                    ..Default::default()
                },
            )
            .await
            .expect("an exec");
        engine
            .exec_start(
                &exec,
                engine::ExecStartOptions {
                    detach: true,
                    ..Default::default()
                },
            )
            .await
            .expect("it runs");
        eventually("its end is known", async || {
            let told = engine.exec_inspect(&exec).await.expect("inspect");
            !told.running && told.exit_code == Some(7)
        })
        .await;
        kit::clean_up(engine).await;
    });
}

//! What a container's settings do inside.

use engine::{CreateRequest, Engine, Filters};

use crate::images::{archive, load, loaded};
use crate::kit::{self, Roots, request, run_container};

pub(crate) const TESTS: [(&str, fn()); 5] = [
    ("a_data_root_has_one_daemon", a_data_root_has_one_daemon),
    ("users_folders_and_names", users_folders_and_names),
    ("mounts_of_all_kinds", mounts_of_all_kinds),
    (
        "limits_reach_the_control_group",
        limits_reach_the_control_group,
    ),
    (
        "restart_policies_are_carried_out",
        restart_policies_are_carried_out,
    ),
];

fn a_data_root_has_one_daemon() {
    kit::run(async {
        let roots = Roots::new();
        let first = Engine::open(roots.config()).await.expect("open");
        let mut other = roots.config();
        other.exec_root = roots.folder.path().join("other");
        let refused = Engine::open(other).await.err().expect("it is in use");
        let root = roots.folder.path().join("data");
        assert_eq!(
            refused.to_string(),
            format!(
                "another daemon is using the data root {}: stop it, or choose another --data-root",
                root.display()
            )
        );
        kit::clean_up(first).await;
    });
}

async fn output(engine: &Engine, request: CreateRequest) -> String {
    run_container(engine, request).await.output
}

fn users_folders_and_names() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let folder = tempfile::tempdir().expect("a folder");
        load(&engine, &archive(folder.path(), "ship:1")).await;
        let mut sailor = loaded(&["read", "/proc/self/status"]);
        sailor.config.user = "sailor".to_owned();
        let status = output(&engine, sailor).await;
        assert!(
            status.contains("Uid:\t1000\t1000\t1000\t1000")
                && status.contains("Groups:\t1000 2000"),
            "{status}"
        );
        assert!(
            status.contains("CapEff:\t0000000000000000") && status.contains("Seccomp:\t2"),
            "{status}"
        );
        let mut unknown = loaded(&[]);
        unknown.config.user = "pirate".to_owned();
        let id = engine.create(None, unknown, None).await.expect("create").id;
        let refused = engine
            .start(&id, None)
            .await
            .expect_err("nobody knows him")
            .to_string();
        assert!(
            refused.contains("unable to find user pirate: no matching entries in passwd file"),
            "{refused}"
        );
        let mut folder = loaded(&["cwd"]);
        folder.config.working_dir = "/made/on/the/way".to_owned();
        assert_eq!(output(&engine, folder).await, "/made/on/the/way\n");
        let mut named = loaded(&["read", "/proc/sys/kernel/hostname"]);
        named.config.hostname = "flagship".to_owned();
        assert_eq!(output(&engine, named).await, "flagship\n");
        let mut read_only = loaded(&["write", "/made", "x"]);
        read_only.host_config.readonly_rootfs = true;
        assert!(
            output(&engine, read_only)
                .await
                .starts_with("Read-only file system")
        );
        let mut privileged = loaded(&["read", "/proc/self/status"]);
        privileged.host_config.privileged = true;
        assert!(output(&engine, privileged).await.contains("Seccomp:\t0"));
        let mut init = loaded(&["read", "/proc/self/stat"]);
        init.host_config.init = Some(true);
        assert!(!output(&engine, init).await.starts_with("1 "));
        kit::clean_up(engine).await;
    });
}

fn mounts_of_all_kinds() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let folder = tempfile::tempdir().expect("a folder");
        load(&engine, &archive(folder.path(), "ship:1")).await;
        let source = folder.path().join("source");
        let bind = |options: &str| Some(vec![format!("{}:/bound{options}", source.display())]);
        let mut write = loaded(&["write", "/bound/file", "written"]);
        write.host_config.binds = bind("");
        assert_eq!(output(&engine, write).await, "");
        assert_eq!(
            std::fs::read_to_string(source.join("file")).expect("written"),
            "written"
        );
        let mut write = loaded(&["write", "/bound/file", "again"]);
        write.host_config.binds = bind(":ro");
        assert!(
            output(&engine, write)
                .await
                .starts_with("Read-only file system")
        );
        let mut tmpfs = loaded(&["list", "/etc"]);
        tmpfs.host_config.tmpfs = [("/etc".to_owned(), "size=1m".to_owned())].into();
        assert!(!output(&engine, tmpfs).await.contains("passwd"));
        // The image's volume is filled at first use, and goes with a container that removes itself.
        let mut filled = loaded(&["read", "/data/filled"]);
        filled.host_config.auto_remove = true;
        assert_eq!(output(&engine, filled).await, "by the image");
        let anonymous = engine
            .volume_list(Filters::default())
            .await
            .expect("volumes");
        let mut named = loaded(&["write", "/data/filled", "by a container"]);
        named.host_config.binds = Some(vec!["cargo:/data".to_owned()]);
        output(&engine, named.clone()).await;
        named.config.cmd = Some(vec!["read".to_owned(), "/data/filled".to_owned()].into());
        assert_eq!(output(&engine, named).await, "by a container");
        let volumes = engine
            .volume_list(Filters::default())
            .await
            .expect("volumes");
        assert!(volumes.iter().any(|volume| volume.name == "cargo"));
        assert!(volumes.len() > anonymous.len());
        let refused = engine
            .volume_remove("cargo", false)
            .await
            .expect_err("it is used")
            .to_string();
        assert!(
            refused.starts_with("remove cargo: volume is in use - ["),
            "{refused}"
        );
        kit::clean_up(engine).await;
    });
}

fn limits_reach_the_control_group() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let mut limited = request(&["sleep"]);
        limited.host_config.memory = 64 << 20;
        limited.host_config.pids_limit = Some(50);
        limited.host_config.nano_cpus = 500_000_000;
        let id = engine.create(None, limited, None).await.expect("create").id;
        engine.start(&id, None).await.expect("start");
        let pid = engine.inspect(&id, false).await.expect("inspect").state.pid;
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
        let read = |controller: &str, file: &str| {
            let path = groups.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                controllers
                    .split(',')
                    .any(|name| name == controller)
                    .then(|| path.to_owned())
            })?;
            std::fs::read_to_string(format!("/sys/fs/cgroup/{controller}{path}/{file}")).ok()
        };
        if let Some(limit) = read("memory", "memory.limit_in_bytes") {
            assert_eq!(limit.trim(), (64 << 20).to_string());
            assert_eq!(read("pids", "pids.max").expect("pids").trim(), "50");
            assert_eq!(
                read("cpu", "cpu.cfs_quota_us").expect("cpu").trim(),
                "50000"
            );
        }
        kit::clean_up(engine).await;
    });
}

fn restart_policies_are_carried_out() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let mut failing = request(&["exit", "3"]);
        failing.host_config.restart_policy = api_types::RestartPolicy {
            name: "on-failure".into(),
            maximum_retry_count: 2,
        };
        let id = engine.create(None, failing, None).await.expect("create").id;
        engine.start(&id, None).await.expect("start");
        kit::eventually("it gives up", async || {
            let seen = engine.inspect(&id, false).await.expect("inspect");
            seen.state.status == "exited" && seen.restart_count == 2
        })
        .await;
        let mut always = request(&["exit", "0"]);
        always.host_config.restart_policy = api_types::RestartPolicy {
            name: "always".into(),
            maximum_retry_count: 0,
        };
        let id = engine.create(None, always, None).await.expect("create").id;
        engine.start(&id, None).await.expect("start");
        kit::eventually("it is started again", async || {
            engine
                .inspect(&id, false)
                .await
                .expect("inspect")
                .restart_count
                >= 2
        })
        .await;
        engine.stop(&id, Some(1), None).await.expect("stop");
        assert_eq!(
            engine
                .inspect(&id, false)
                .await
                .expect("inspect")
                .state
                .status,
            "exited"
        );
        kit::clean_up(engine).await;
    });
}

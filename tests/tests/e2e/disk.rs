//! A full disk.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::{Engine, Kind, Options, eventually, image::ImageBuilder};

/// A tmpfs of its own, as small as a test wants it.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(megabytes: u32) -> Disk {
        let folder = tempfile::Builder::new()
            .prefix("wharf-disk-")
            .tempdir()
            .unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "disk"])
            .arg(folder.path())
            .status();
        assert!(status.unwrap().success(), "mount(8) of a tmpfs");
        Disk { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Writes until nothing fits any more; gives the file whose removal makes room again.
    fn fill(&self) -> PathBuf {
        let path = self.folder.path().join("filler");
        let mut file = fs::File::create(&path).unwrap();
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

/// An archive with one file of noise.
fn large(megabytes: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(megabytes << 20)
    .collect();
    ImageBuilder::new()
        .file("noise", 0o644, &noise)
        .archive("large:latest")
}

fn write(path: &Path, content: &[u8]) -> String {
    fs::write(path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn state(engine: &Engine, name: &str) -> String {
    engine
        .d(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}}",
            name,
        ])
        .ok()
        .text()
        .to_owned()
}

/// Runs a test on an engine whose data root is a disk of this size.
fn on_small_disk(test: impl FnOnce(&mut Engine, &Disk)) {
    if Kind::from_environment() == Kind::Dockerd {
        testkit::skip("dockerd takes no tmpfs as data root");
        return;
    }
    let disk = Disk::new(128);
    let options = Options {
        data_root: Some(disk.path().join("data")),
        ..Options::default()
    };
    Engine::run_with(options, |engine| test(engine, &disk));
}

#[test]
fn a_load_that_does_not_fit_fails_with_a_sentence_and_leaves_nothing() {
    on_small_disk(|engine, _| {
        engine.load_busybox();
        let archive = write(&engine.folder().join("large.tar"), &large(100));
        let before = engine.settled();
        let images = engine.d(&["images"]).ok().stdout.lines().count();
        for client in [Engine::d, Engine::w] {
            let failed = client(engine, &["load", "-i", &archive]).fails_with(1);
            assert!(
                failed.stderr.contains("no space left on device"),
                "{}",
                failed.stderr
            );
            engine.nothing_beyond(&before);
            let now = client(engine, &["images"]).ok().stdout;
            assert_eq!(now.lines().count(), images, "{now}");
        }
        engine.d(&["run", "--rm", "busybox", "true"]).ok();
    });
}

#[test]
fn a_full_disk_stops_no_container_and_loses_no_exit() {
    on_small_disk(|engine, disk| {
        engine.load_busybox();
        let run = |name: &str, extra: &[&str], script: &str| {
            let mut args = vec!["run", "-d", "--name", name];
            args.extend(extra);
            args.extend(["busybox", "sh", "-c", script]);
            engine.d(&args).ok();
        };
        let folder = engine.folder();
        let bind = format!("{}:/out", folder.display());
        run(
            "ends",
            &["-v", &bind],
            "until [ -e /out/go ]; do sleep 0.05; done; exit 7",
        );
        run("talks", &[], "while :; do echo something; sleep 0.01; done");
        run("again", &["--restart", "always"], "sleep 0.3; exit 1");
        run(
            "goes",
            &["--rm", "-v", &bind],
            "until [ -e /out/go ]; do sleep 0.05; done",
        );
        let filler = disk.fill();

        fs::write(folder.join("go"), "").unwrap();
        eventually("its exit is told", Duration::from_secs(10), || {
            (state(engine, "ends") == "exited 7").then_some(())
        });
        assert_eq!(state(engine, "talks"), "running 0");
        for line in [
            &["create", "--name", "new", "busybox"][..],
            &["run", "--rm", "--name", "new", "busybox", "true"],
            &["volume", "create", "new"],
        ] {
            let done = engine.d(line);
            // The store has room of its own for small things; what fails says why.
            if done.status != 0 {
                assert!(
                    done.stderr.contains("no space left on device"),
                    "{line:?}: {}",
                    done.stderr
                );
                let names = engine.d(&["ps", "-aq", "-f", "name=new"]).ok();
                assert_eq!(names.text(), "");
            }
            engine.d(&["rm", "-f", "new"]);
        }
        engine.d(&["exec", "talks", "true"]).ok();

        // A daemon that starts on a full disk knows everything too.
        engine.kill_daemon();
        engine.start_daemon();
        assert_eq!(state(engine, "ends"), "exited 7");
        assert_eq!(state(engine, "talks"), "running 0");
        assert_eq!(engine.d(&["ps", "-aq", "-f", "name=goes"]).ok().text(), "");

        fs::remove_file(filler).unwrap();
        let restarts = || -> u32 {
            let args = ["inspect", "-f", "{{.RestartCount}}", "again"];
            engine.d(&args).ok().text().parse().unwrap()
        };
        let before = restarts();
        eventually("it is restarted", Duration::from_secs(30), || {
            (restarts() > before).then_some(())
        });
        engine.d(&["start", "ends"]).ok();
        let archive = write(&folder.join("large.tar"), &large(8));
        engine.d(&["load", "-i", &archive]).ok();
        engine.d(&["run", "--rm", "busybox", "true"]).ok();
        engine.d(&["stop", "-t", "0", "talks"]).ok();
    });
}

#[test]
fn a_daemon_starts_on_a_full_disk_where_nothing_is_held_for_it() {
    on_small_disk(|engine, disk| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "lives", "busybox", "sleep", "1000"])
            .ok();
        engine
            .d(&["run", "--name", "ended", "busybox", "sh", "-c", "exit 7"])
            .fails_with(7);
        let folder = engine.folder();
        let bind = format!("{}:/out", folder.display());
        let script = "until [ -e /out/go ]; do sleep 0.05; done; exit 8";
        let args = [
            "run", "-d", "--name", "ends", "-v", &bind, "busybox", "sh", "-c", script,
        ];
        engine.d(&args).ok();
        let check = |engine: &Engine| {
            assert_eq!(state(engine, "lives"), "running 0");
            assert_eq!(state(engine, "ended"), "exited 7");
            engine.d(&["exec", "lives", "true"]).ok();
        };
        // Copies hold no more than their content, and the log's index is gone: the store of a machine that lost power
        // and was restored elsewhere.
        engine.kill_daemon();
        fs::write(folder.join("go"), "").unwrap();
        let data = engine.data_root().join("v1");
        for name in ["store.db", "store.db-wal"] {
            let content = fs::read(data.join(name)).unwrap();
            fs::remove_file(data.join(name)).unwrap();
            fs::write(data.join(name), content).unwrap();
        }
        let _ = fs::remove_file(data.join("store.db-shm"));
        let filler = disk.fill();
        engine.start_daemon();
        check(engine);

        // The same after an orderly end, which folds the log and lets it go.
        engine.stop_daemon();
        fs::File::options()
            .append(true)
            .open(&filler)
            .map(|mut file| while file.write_all(&[1; 4096]).is_ok() {})
            .unwrap();
        engine.start_daemon();
        check(engine);

        fs::remove_file(filler).unwrap();
        eventually("its exit is told", Duration::from_secs(10), || {
            (state(engine, "ends") == "exited 8").then_some(())
        });
        engine.d(&["start", "ended"]).ok();
        engine.d(&["run", "--rm", "busybox", "true"]).ok();
        engine.d(&["stop", "-t", "0", "lives"]).ok();
    });
}

#[test]
fn a_first_daemon_on_a_full_disk_says_so_in_one_sentence() {
    if Kind::from_environment() == Kind::Dockerd {
        testkit::skip("dockerd takes no tmpfs as data root");
        return;
    }
    let disk = Disk::new(1);
    fs::create_dir_all(disk.path().join("data")).unwrap();
    disk.fill();
    let roots = tempfile::tempdir().unwrap();
    let sandbox = testkit::Sandbox::new();
    let mut daemon = sandbox.command(Engine::program());
    daemon
        .arg("daemon")
        .arg(format!(
            "--data-root={}",
            disk.path().join("data").display()
        ))
        .arg(format!(
            "--exec-root={}",
            roots.path().join("exec").display()
        ))
        .arg(format!("--pidfile={}", roots.path().join("pid").display()))
        .arg(format!(
            "--host=unix://{}",
            roots.path().join("sock").display()
        ));
    let refused = testkit::run(daemon, b"").fails_with(1);
    let sentence = refused.stderr.lines().last().unwrap_or_default();
    assert!(
        sentence.starts_with("wharf daemon: ") && sentence.contains("no space left on device"),
        "{}",
        refused.stderr
    );
}

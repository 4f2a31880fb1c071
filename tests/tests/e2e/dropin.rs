//! The runtime under other engines: Debian's dockerd, containerd, podman and buildah.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Engine, Finished, Kind, Options, Sandbox, Terminal, eventually, run};

/// What counts up and can be seen to stand still.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";

fn missing(program: &str) -> bool {
    let found = Path::new(program).exists();
    if !found {
        testkit::skip(&format!("{program} is not installed"));
    }
    !found
}

/// The runtime as other engines call it.
fn runtime(folder: &Path) -> PathBuf {
    let path = folder.join("wharf-runtime");
    std::os::unix::fs::symlink(Engine::program(), &path).unwrap();
    path
}

/// Whether what a container tells stands still: two looks, and time for several words between.
fn stands_still(logs: impl Fn() -> String) -> bool {
    let before = logs();
    std::thread::sleep(Duration::from_millis(300));
    before == logs()
}

#[test]
fn under_dockerd() {
    if missing("/usr/sbin/dockerd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = runtime(folder.path());
    for default in [true, false] {
        let mut flags = vec![
            format!("--add-runtime=wharf={}", path.display()),
            "--bridge=none".to_owned(),
        ];
        if default {
            flags.push("--default-runtime=wharf".to_owned());
        }
        let options = Options {
            flags,
            ..Options::default()
        };
        let engine = Engine::start(Kind::Dockerd, options);
        engine.load_busybox();
        let more: &[&str] = if default {
            &[]
        } else {
            &["--runtime", "wharf"]
        };
        docker_containers(&engine, more);
        engine.stop_daemon();
    }
}

fn docker_containers(engine: &Engine, more: &[&str]) {
    let d = |head: &[&str], rest: &[&str]| engine.d(&[head, more, rest].concat());
    let told = d(
        &["run", "--rm"],
        &["-u", "app", "busybox", "sh", "-c", "id -u; exit 7"],
    );
    assert_eq!(told.fails_with(7).stdout, "1000\n");
    d(
        &["run", "-d", "--name", "drop", "-m", "64m"],
        &["busybox", "sh", "-c", COUNT],
    )
    .ok();
    let inspect = |what: &str| {
        engine
            .d(&["inspect", "-f", what, "drop"])
            .ok()
            .text()
            .to_owned()
    };
    assert_eq!(inspect("{{.HostConfig.Runtime}}"), "wharf");
    let exec = |words: &[&str]| engine.d(&[&["exec", "drop"], words].concat());
    let limit = || {
        let file = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
        exec(&["sh", "-c", file]).ok().text().to_owned()
    };
    assert_eq!(limit(), "67108864");
    engine
        .d(&["update", "-m", "32m", "--memory-swap", "64m", "drop"])
        .ok();
    assert_eq!(limit(), "33554432");
    assert_eq!(exec(&["sh", "-c", "exit 9"]).status, 9);
    let logs = || engine.d(&["logs", "drop"]).ok().stdout;
    engine.d(&["pause", "drop"]).ok();
    assert_eq!(inspect("{{.State.Status}}"), "paused");
    assert!(stands_still(logs));
    engine.d(&["unpause", "drop"]).ok();
    let lines = logs().lines().count();
    eventually("it goes on", Duration::from_secs(20), || {
        (logs().lines().count() > lines).then_some(())
    });
    let top = engine.d(&["top", "drop"]).ok();
    assert!(
        top.stdout.contains("sleep 0.02") || top.stdout.contains("sh -c"),
        "{}",
        top.stdout
    );
    engine.d(&["kill", "drop"]).ok();
    assert_eq!(engine.d(&["wait", "drop"]).ok().text(), "137");
    engine.d(&["rm", "drop"]).ok();
    let mut terminal =
        engine.terminal(&[&["run", "--rm", "-it"], more, &["busybox", "sh"]].concat());
    terminal.expect("/ # ");
    // The client tells the size when the program runs already.
    terminal.send("tty; until stty size 2>/dev/null | grep '30 100'; do sleep 0.1; done; exit 5\n");
    terminal.expect("/dev/pts/0\r\n30 100\r\n");
    assert_eq!(terminal.finish().0, 5);
    // What cannot be executed is told in the words that the daemon looks for.
    let refused = d(&["run", "--rm"], &["busybox", "/nope"]).fails_with(127);
    assert!(
        refused.stderr.contains("no such file or directory"),
        "{}",
        refused.stderr
    );
}

/// An engine's program in namespaces of its own.
struct Elsewhere {
    sandbox: Sandbox,
    folder: tempfile::TempDir,
    runtime: PathBuf,
}

impl Elsewhere {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime(folder.path());
        Self {
            sandbox: Sandbox::new(),
            folder,
            runtime,
        }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn runtime(&self) -> String {
        self.runtime.display().to_string()
    }

    /// Groups that stayed below the one around the containers, `parent`, which engines leave and which goes here.
    fn check_leaks(&self, parent: &str) {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap();
        let mut left = Vec::new();
        for hierarchy in hierarchies.map(|entry| entry.unwrap().path()) {
            let around = hierarchy.join(parent);
            // Podman's own process for each container.
            let _ = std::fs::remove_dir(around.join("conmon"));
            if around.exists() && std::fs::remove_dir(&around).is_err() {
                left.push(around);
            }
        }
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

#[test]
fn under_podman_and_buildah() {
    if missing("/usr/bin/podman") || missing("/usr/bin/buildah") {
        return;
    }
    let here = Elsewhere::new();
    let storage = [
        ("--root", here.at("root")),
        ("--runroot", here.at("run")),
        ("--storage-driver", "vfs".to_owned()),
    ];
    let command = |program: &str, args: &[&str]| {
        let mut command = here.sandbox.command(program);
        command.args(storage.iter().flat_map(|(flag, value)| [*flag, value]));
        if program == "podman" {
            let (runtime, tmp) = (here.runtime(), here.at("tmp"));
            command.args([
                "--runtime",
                &runtime,
                "--tmpdir",
                &tmp,
                "--events-backend",
                "file",
            ]);
            command.args(["--cgroup-manager", "cgroupfs"]);
        }
        command.args(args);
        command
    };
    let podman = |args: &[&str]| run(command("podman", args), b"");
    podman(&[
        "load",
        "-q",
        "-i",
        testkit::image::busybox().to_str().unwrap(),
    ])
    .ok();
    let parent = format!("/wharf-podman-{}", std::process::id());
    let alone = ["--network", "none", "--cgroup-parent", &parent];
    let told = podman(
        &[
            &["run", "--rm"],
            &alone[..],
            &[
                "-u",
                "app",
                "--read-only",
                "--tmpfs",
                "/t:size=1m",
                "busybox",
                "sh",
                "-c",
                "id -u; touch /x 2>/dev/null || touch /t/x && echo there; exit 7",
            ],
        ]
        .concat(),
    );
    assert_eq!(told.fails_with(7).stdout, "1000\nthere\n");
    podman(
        &[
            &["run", "-d", "--name", "drop", "-m", "64m"],
            &alone[..],
            &["busybox", "sh", "-c", COUNT],
        ]
        .concat(),
    )
    .ok();
    let logs = || podman(&["logs", "drop"]).ok().stdout;
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
    assert_eq!(
        podman(&["exec", "drop", "sh", "-c", limit]).ok().text(),
        "67108864"
    );
    assert_eq!(podman(&["exec", "drop", "sh", "-c", "exit 9"]).status, 9);
    podman(&["pause", "drop"]).ok();
    assert!(stands_still(logs));
    podman(&["unpause", "drop"]).ok();
    let lines = logs().lines().count();
    eventually("it goes on", Duration::from_secs(20), || {
        (logs().lines().count() > lines).then_some(())
    });
    let ours = podman(&["inspect", "-f", "{{.OCIRuntime}}", "drop"]).ok();
    assert_eq!(ours.text(), here.runtime());
    podman(&["kill", "drop"]).ok();
    assert_eq!(podman(&["wait", "drop"]).ok().text(), "137");
    podman(&["rm", "drop"]).ok();
    let mut terminal = Terminal::start(
        command(
            "podman",
            &[&["run", "--rm", "-it"], &alone[..], &["busybox", "sh"]].concat(),
        ),
        30,
        100,
    );
    terminal.expect("/ # ");
    terminal.send("tty; exit 5\n");
    terminal.expect("/dev/pts/0\r");
    assert_eq!(terminal.finish().0, 5);
    let buildah = |args: &[&str]| run(command("buildah", args), b"");
    let working = buildah(&["from", "--pull-never", "localhost/busybox"]).ok();
    let runtime = here.runtime();
    let within = |words: &[&str]| {
        let head = [
            "run",
            "--runtime",
            &runtime,
            "--isolation",
            "oci",
            working.text(),
        ];
        buildah(&[&head[..], words].concat())
    };
    within(&["sh", "-c", "echo built >/file"]).ok();
    assert_eq!(within(&["cat", "/file"]).ok().stdout, "built\n");
    within(&["sh", "-c", "exit 4"]).fails_with(4);
    buildah(&["rm", working.text()]).ok();
    podman(&["rmi", "-f", "busybox"]).ok();
    here.check_leaks(parent.trim_start_matches('/'));
}

/// The namespace of containerd's that is used, and the group around its containers.
fn namespace() -> String {
    format!("wharf-ctr-{}", std::process::id())
}

/// A containerd that ends with the value.
struct Containerd<'a> {
    here: &'a Elsewhere,
    daemon: Child,
}

impl<'a> Containerd<'a> {
    fn start(here: &'a Elsewhere) -> Self {
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\n  address = {:?}\n",
            here.at("root"),
            here.at("state"),
            here.at("socket")
        );
        std::fs::write(here.at("config.toml"), config).unwrap();
        let log = std::fs::File::create(here.at("log")).unwrap();
        let mut command = here.sandbox.command("containerd");
        command
            .args(["-c", &here.at("config.toml")])
            .stdin(Stdio::null());
        let daemon = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let containerd = Self { here, daemon };
        eventually("containerd answers", Duration::from_secs(30), || {
            (containerd.ctr(&["version"]).status == 0).then_some(())
        });
        containerd
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.here.sandbox.command("ctr");
        command
            .args(["-a", &self.here.at("socket"), "-n", &namespace()])
            .args(args);
        command
    }

    fn ctr(&self, args: &[&str]) -> Finished {
        run(self.command(args), b"")
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn under_containerd() {
    if missing("/usr/bin/containerd") || missing("/usr/bin/ctr") {
        return;
    }
    let here = Elsewhere::new();
    let containerd = Containerd::start(&here);
    let ctr = |args: &[&str]| containerd.ctr(args);
    let archive = testkit::image::busybox();
    ctr(&[
        "image",
        "import",
        "--snapshotter",
        "native",
        archive.to_str().unwrap(),
    ])
    .ok();
    let runtime = here.runtime();
    let with = ["--snapshotter", "native", "--runc-binary", &runtime];
    const IMAGE: &str = "docker.io/library/busybox:latest";
    let run_one =
        |more: &[&str], rest: &[&str]| ctr(&[&["run"], more, &with[..], &[IMAGE], rest].concat());
    let told = run_one(&["--rm"], &["wharf-one", "sh", "-c", "id -u; exit 7"]);
    assert_eq!(told.fails_with(7).stdout, "0\n");
    run_one(
        &["-d", "--memory-limit", "67108864"],
        &["wharf-two", "sleep", "1000"],
    )
    .ok();
    let exec = |words: &[&str]| {
        let head = ["task", "exec", "--exec-id", "e", "wharf-two"];
        ctr(&[&head[..], words].concat())
    };
    let group = "grep -o wharf-two /proc/self/cgroup | head -n 1; exit 4";
    assert_eq!(
        exec(&["sh", "-c", group]).fails_with(4).stdout,
        "wharf-two\n"
    );
    let status = || {
        let list = ctr(&["task", "ls"]).ok();
        let line = list
            .stdout
            .lines()
            .find(|line| line.starts_with("wharf-two"));
        line.and_then(|line| line.split_whitespace().nth(2))
            .unwrap_or_default()
            .to_owned()
    };
    ctr(&["task", "pause", "wharf-two"]).ok();
    assert_eq!(status(), "PAUSED");
    ctr(&["task", "resume", "wharf-two"]).ok();
    assert_eq!(status(), "RUNNING");
    let mut terminal = Terminal::start(
        containerd.command(&["task", "exec", "-t", "--exec-id", "t", "wharf-two", "sh"]),
        30,
        100,
    );
    terminal.expect("/ # ");
    terminal.send("tty; exit 5\n");
    terminal.expect("/dev/pts/0\r");
    assert_eq!(terminal.finish().0, 5);
    ctr(&["task", "kill", "-s", "KILL", "wharf-two"]).ok();
    eventually("it has stopped", Duration::from_secs(20), || {
        (status() == "STOPPED").then_some(())
    });
    let removed = ctr(&["task", "rm", "wharf-two"]);
    assert!(removed.stderr.contains("exit code 137"), "{removed:?}");
    ctr(&["container", "rm", "wharf-two"]).ok();
    here.check_leaks(&namespace());
}

#[test]
fn the_guards_cannot_be_turned_off() {
    let program = std::fs::read(Engine::program()).unwrap();
    let has = |text: &[u8]| program.windows(text.len()).any(|piece| piece == text);
    // The word is in builds for `crates/oci/tests/attacks` alone; another of the runtime's shows that it would be found.
    assert!(has(b"NOTIFY_SOCKET") && !has(b"WHARF_UNGUARDED"));
}

//! Under Debian's containerd, by its client.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Finished, Terminal, eventually, run};

use super::{Elsewhere, check_groups, missing};

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
    // Not `--uidmap`: with it ctr 1.6 forgets `--runc-binary`, and runs runc.
    let flags = [
        "--rm",
        "--seccomp",
        "--read-only",
        "--cap-add=CAP_SYS_TIME",
        "--cpu-quota=50000",
        "--cpu-period=100000",
        "--env=A=b",
        "--cwd=/tmp",
        "--device=/dev/kmsg",
        "--mount=type=bind,src=/proc/version,dst=/etc/version,options=rbind:ro",
    ];
    let script = "id -u; touch /tmp/x 2>/dev/null || echo fast; echo $A $PWD;
        grep -c Linux /etc/version; test -c /dev/kmsg && grep Seccomp: /proc/self/status";
    let told = run_one(&flags, &["wharf-flags", "sh", "-c", script]);
    assert_eq!(told.ok().stdout, "0\nfast\nb /tmp\n1\nSeccomp:\t2\n");
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
    let refused = exec(&["/etc"]).fails_with(1);
    assert!(refused.stderr.contains("permission denied"), "{refused:?}");
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
    check_groups(&namespace());
}

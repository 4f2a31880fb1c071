//! Under podman and buildah of an ordinary user, who has ids by newuidmap.

use std::path::Path;
use std::process::Command;

use testkit::{Engine, Finished, Terminal, run};

use super::{Elsewhere, missing};

/// Debian's user without files, who has a name as newuidmap(1) wants it.
const USER: &str = "65534";

/// A home of that user's, and what runs there.
struct Home {
    here: Elsewhere,
}

impl Home {
    fn new() -> Self {
        let here = Elsewhere::new();
        let home = Self { here };
        // Where the user may reach it.
        std::fs::copy(Engine::program(), home.here.at("bin")).unwrap();
        std::fs::rename(home.here.at("bin"), home.here.runtime()).unwrap();
        std::fs::write(home.here.at("subid"), "nobody:400000:65536\n").unwrap();
        std::fs::copy(testkit::image::busybox(), home.here.at("busybox.tar")).unwrap();
        std::fs::create_dir(home.here.at("run")).unwrap();
        let folder = home.here.folder.path().display().to_string();
        let script = format!(
            "chown -R {USER}:{USER} {folder} && chmod 755 {folder} && chmod 700 {folder}/run &&
            mount --bind {folder}/subid /etc/subuid && mount --bind {folder}/subid /etc/subgid"
        );
        let mut command = home.here.sandbox.command("sh");
        command.args(["-ec", &script]);
        run(command, b"").ok();
        home
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.here.sandbox.command("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
        command.args(["--inh-caps=-all", "env", "-C"]);
        command.arg(self.here.folder.path());
        command.arg(format!("HOME={}", self.here.folder.path().display()));
        command.arg(format!("XDG_RUNTIME_DIR={}", self.here.at("run")));
        command.args([program, "--storage-driver", "vfs"]);
        if program == "podman" {
            command.args(["--runtime", &self.here.runtime()]);
            command.args(["--events-backend", "file", "--cgroup-manager", "cgroupfs"]);
        }
        command.args(args);
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Finished {
        run(self.command(program, args), b"")
    }
}

#[test]
fn under_an_ordinary_users_podman_and_buildah() {
    let programs = ["/usr/bin/podman", "/usr/bin/buildah", "/usr/bin/newuidmap"];
    if programs.into_iter().any(missing) || !Path::new("/usr/bin/setpriv").exists() {
        return;
    }
    let home = Home::new();
    let podman = |args: &[&str]| home.run("podman", args);
    podman(&["load", "-q", "-i", "busybox.tar"]).ok();
    let alone = ["--network", "none"];
    let one = |flags: &[&str], rest: &[&str]| {
        let words = [&["run"], &alone[..], flags, &["busybox"], rest].concat();
        podman(&words)
    };
    let script = "id -u; cut -c1-32 /proc/self/uid_map; exit 7";
    let told = one(&["--rm"], &["sh", "-c", script]).fails_with(7);
    let line = |inside, outside, count| format!("{inside:>10} {outside:>10} {count:>10}\n");
    let maps = [line(0, 65534, 1), line(1, 400_000, 65536)].concat();
    assert_eq!(told.stdout, format!("0\n{maps}"));
    let flags = [
        "--rm",
        "--user=1000",
        "--tmpfs=/etc",
        "--read-only",
        "--sysctl=net.ipv4.ip_forward=1",
        "--ulimit=nofile=100:100000000",
    ];
    let script =
        "id -un; cat /proc/sys/net/ipv4/ip_forward; touch /var/tmp/x && echo wrote; ulimit -Sn";
    let told = one(&flags, &["sh", "-c", script]).ok();
    assert_eq!(told.stdout, "app\n1\nwrote\n100\n");
    // The groups that it stays in are shown, as systemd in a container needs it.
    let script = "grep -c ' /run/lock tmpfs' /proc/mounts; grep -q ' /sys/fs/cgroup' /proc/mounts && echo groups";
    let told = one(&["--rm", "--systemd=always"], &["sh", "-c", script]).ok();
    assert_eq!(told.stdout, "1\ngroups\n");
    one(
        &["-d", "--name", "box", "--log-driver", "k8s-file"],
        &["sh", "-c", "echo one; sleep 1000"],
    )
    .ok();
    let told = podman(&[
        "exec",
        "-u",
        "app",
        "-w",
        "/tmp",
        "box",
        "sh",
        "-c",
        "id -u; pwd; exit 9",
    ]);
    assert_eq!(told.fails_with(9).stdout, "1000\n/tmp\n");
    podman(&["exec", "box", "/etc"]).fails_with(126);
    let script =
        "for of in 1 self; do readlink /proc/$of/ns/net; done | sort -u | wc -l; cat /proc/1/comm";
    let shared = [
        "--rm",
        "--network=container:box",
        "--pid=container:box",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let told = podman(&[&["run"], &shared[..]].concat()).ok();
    assert_eq!(told.stdout, "1\nsleep\n");
    assert_eq!(podman(&["logs", "box"]).ok().stdout, "one\n");
    podman(&["rm", "-f", "-t", "0", "box"]).ok();
    let words = [&["run", "--rm", "-it"], &alone[..], &["busybox", "sh"]].concat();
    let mut terminal = Terminal::start(home.command("podman", &words), 30, 100);
    terminal.expect("/ # ");
    terminal.send("tty; exit 5\n");
    terminal.expect("/dev/pts/0\r");
    assert_eq!(terminal.finish().0, 5);
    let file = "FROM localhost/busybox\nRUN echo built >/b; id -u\nUSER app\nRUN id -un\n";
    std::fs::write(home.here.at("Containerfile"), file).unwrap();
    let runtime = home.here.runtime();
    for isolation in ["oci", "rootless"] {
        let flags = [
            "bud",
            "--runtime",
            &runtime,
            "--isolation",
            isolation,
            "--network=none",
        ];
        let words = [&flags[..], &["--pull-never", "-t", "built", "."]].concat();
        let told = home.run("buildah", &words).ok();
        assert!(
            told.stdout.contains("\n0\n") && told.stdout.contains("\napp\n"),
            "{told:?}"
        );
        // What the runtime has to say is not in the way of what is built.
        assert!(!told.stderr.contains("level=warning"), "{told:?}");
    }
    podman(&["rmi", "-af"]).ok();
}

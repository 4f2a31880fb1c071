//! Docker's own daemon on the same host: containers and ports of both at once.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Engine, Kind, Options, eventually, run};

const SOON: Duration = Duration::from_secs(30);
/// The address of the bridge that is given to Docker's daemon.
const THEIR_BRIDGE: &str = "10.199.0.1";

/// Docker's daemon within an engine's sandbox.
struct Neighbour<'a> {
    engine: &'a Engine,
    child: Child,
}

impl<'a> Neighbour<'a> {
    #[track_caller]
    fn start(engine: &'a Engine) -> Self {
        let add = format!(
            "ip link add dock1 type bridge && ip addr add {THEIR_BRIDGE}/24 dev dock1 && ip link set dock1 up"
        );
        let mut command = engine.sandbox().command("sh");
        command.args(["-c", &add]);
        run(command, b"").ok();
        let folder = engine.folder();
        let log = fs::File::create(folder.join("docker.log")).unwrap();
        let mut command = engine.sandbox().command("/usr/sbin/dockerd");
        command
            .arg("--bridge=dock1")
            .arg(format!(
                "--host=unix://{}",
                folder.join("docker.sock").display()
            ))
            .arg(format!(
                "--data-root={}",
                folder.join("docker-data").display()
            ))
            .arg(format!(
                "--exec-root={}",
                folder.join("docker-exec").display()
            ))
            .arg(format!("--pidfile={}", folder.join("docker.pid").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap();
        let neighbour = Neighbour { engine, child };
        eventually("Docker's daemon answers", SOON, || {
            (run(neighbour.docker(&["version"]), b"").status == 0).then_some(())
        });
        neighbour
    }

    fn docker(&self, args: &[&str]) -> Command {
        let mut command = self.engine.docker(args);
        let socket = self.engine.folder().join("docker.sock");
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        command
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    fn stop(mut self) {
        let pid = fs::read_to_string(self.engine.folder().join("docker.pid")).unwrap();
        self.engine
            .sandbox()
            .kill(pid.trim().parse().unwrap(), "TERM");
        eventually("Docker's daemon ends", SOON, || {
            self.child.try_wait().unwrap()
        });
    }
}

const SERVE: [&str; 7] = ["busybox", "nc", "-ll", "-p", "80", "-e", "hostname"];

/// What a server answers, asked by this command.
fn said(mut command: Command, address: &str, port: &str) -> String {
    command.args(["nc", "-w", "2", address, port]);
    run(command, b"").stdout.trim().to_owned()
}

#[test]
fn containers_and_ports_of_both_engines_live_side_by_side() {
    if Kind::from_environment() == Kind::Dockerd || !Path::new("/usr/sbin/dockerd").exists() {
        testkit::skip("Docker's daemon is not installed, or is what is tested");
        return;
    }
    let engine = Engine::start(Kind::Wharf, Options::default());
    engine.load_busybox();
    engine.stop_daemon();
    let neighbour = Neighbour::start(&engine);
    engine.start_daemon();
    let archive = engine.folder().join("busybox.tar");
    let archive = archive.to_str().unwrap();
    engine.d(&["save", "-o", archive, "busybox"]).ok();
    run(neighbour.docker(&["load", "-i", archive]), b"").ok();
    let theirs = [
        "run", "-d", "--name", "theirs", "-h", "theirs", "-p", "8090:80",
    ];
    run(neighbour.docker(&[&theirs[..], &SERVE].concat()), b"").ok();
    let ours = ["run", "-d", "--name", "ours", "-h", "ours", "-p", "8080:80"];
    engine.d(&[&ours[..], &SERVE].concat()).ok();
    let format = "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}}";
    let inspect = |name| ["inspect", "-f", format, name];
    let of_ours = engine.d(&inspect("ours")).ok();
    let (our_address, our_bridge) = of_ours.text().split_once(' ').unwrap();
    let of_theirs = run(neighbour.docker(&inspect("theirs")), b"").ok();
    let (their_address, _) = of_theirs.text().split_once(' ').unwrap();

    let from_host = || engine.sandbox().network_command("/bin/busybox");
    let from_ours = || engine.docker(&["exec", "ours"]);
    let from_theirs = || neighbour.docker(&["exec", "theirs"]);
    let reached = |when: &str| {
        eventually(&format!("both answer {when}"), SOON, || {
            let ours = said(from_host(), "127.0.0.1", "8080");
            let theirs = said(from_host(), "127.0.0.1", "8090");
            (ours == "ours" && theirs == "theirs").then_some(())
        });
    };
    // Each from the other's container, by the port that is published.
    let reach_each_other = || {
        assert_eq!(said(from_ours(), THEIR_BRIDGE, "8090"), "theirs");
        assert_eq!(said(from_theirs(), our_bridge, "8080"), "ours");
    };
    reached("at first");
    reach_each_other();
    // What is not published is apart.
    let unpublished = ["run", "-d", "--name", "shy", "-h", "shy"];
    engine.d(&[&unpublished[..], &SERVE].concat()).ok();
    let shy = engine.d(&inspect("shy")).ok();
    let (shy, _) = shy.text().split_once(' ').unwrap();
    assert_eq!(said(from_ours(), shy, "80"), "shy");
    assert_eq!(said(from_theirs(), shy, "80"), "");
    assert_ne!(our_address, their_address);
    // Both at once, again and again.
    for _ in 0..20 {
        let asked = [("8080", "ours"), ("8090", "theirs")].map(|(port, name)| {
            let mut command = from_host();
            command.args(["nc", "-w", "2", "127.0.0.1", port]);
            (command.stdout(Stdio::piped()).spawn().unwrap(), name)
        });
        for (child, name) in asked {
            let output = child.wait_with_output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), name);
        }
    }
    engine.kill_daemon();
    reached("without our daemon");
    engine.start_daemon();
    reached("with the next one");
    reach_each_other();
    run(neighbour.docker(&["rm", "-f", "theirs"]), b"").ok();
    neighbour.stop();
    assert_eq!(said(from_host(), "127.0.0.1", "8080"), "ours");
    engine.d(&["rm", "-f", "ours", "shy"]).ok();
    engine.stop_daemon();
}

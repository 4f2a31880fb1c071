//! A daemon.json of somebody who has used docker for years.

use std::time::Duration;

use testkit::{Engine, Kind, Options, eventually};

const SETTINGS: &str = r#"{
    "storage-driver": "overlay2",
    "exec-opts": ["native.cgroupdriver=cgroupfs"],
    "features": {"buildkit": true},
    "experimental": false,
    "iptables": true,
    "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 640, "Soft": 320}},
    "default-shm-size": "32M",
    "default-ipc-mode": "shareable",
    "default-cgroupns-mode": "host",
    "init": true,
    "no-new-privileges": true,
    "dns": ["10.1.2.3"],
    "dns-search": ["corp.example"],
    "dns-opts": ["timeout:2"],
    "host-gateway-ip": "10.9.8.7",
    "labels": ["rack=4"],
    "default-address-pools": [{"base": "10.77.0.0/22", "size": 24}],
    "ip": "127.0.0.1",
    "mtu": 1400,
    "max-concurrent-downloads": 6,
    "max-concurrent-uploads": 2,
    "live-restore": false
}"#;

fn with_settings(test: impl FnOnce(&mut Engine)) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("daemon.json");
    std::fs::write(&file, SETTINGS).unwrap();
    let options = Options {
        flags: vec![format!("--config-file={}", file.display())],
        ..Options::default()
    };
    Engine::run_with(options, test);
}

#[test]
fn containers_have_what_the_daemon_says() {
    with_settings(|engine| {
        engine.load_busybox();
        let inside = |flags: &[&str], script: &str| {
            let args = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
            engine.d(&args).ok().text().to_owned()
        };
        let script = "ulimit -Sn; ulimit -Hn; df -k /dev/shm | awk 'NR == 2 {print $2}'; \
            grep NoNewPrivs /proc/1/status; grep '^[a-z]' /etc/resolv.conf";
        let expected = "320\n640\n32768\nNoNewPrivs:\t1\nnameserver 10.1.2.3\nsearch corp.example\noptions timeout:2";
        assert_eq!(inside(&[], script), expected);
        let own = [
            "--ulimit",
            "nofile=99",
            "--shm-size",
            "1m",
            "--dns",
            "10.4.4.4",
        ];
        let more = [
            "--dns-search",
            ".",
            "--security-opt",
            "no-new-privileges=false",
        ];
        let shown = inside(&[&own[..], &more].concat(), script);
        assert!(
            shown.starts_with("99\n99\n1024\nNoNewPrivs:\t0\nnameserver 10.4.4.4\n"),
            "{shown}"
        );
        let modes = "{{.HostConfig.IpcMode}} {{.HostConfig.CgroupnsMode}}";
        engine.d(&["create", "--name", "made", "busybox"]).ok();
        let modes = engine.d(&["inspect", "-f", modes, "made"]).ok();
        assert_eq!(modes.text(), "shareable host");
        engine.d(&["rm", "made"]).ok();
        // An init in front, unless somebody does without.
        assert_ne!(inside(&[], "echo $$"), "1");
        assert_eq!(inside(&["--init=false"], "echo $$"), "1");
        let hosts = inside(&["--add-host", "up:host-gateway"], "grep up$ /etc/hosts");
        assert_eq!(hosts, "10.9.8.7\tup");
    });
}

#[test]
fn networks_and_ports_are_where_the_daemon_says() {
    with_settings(|engine| {
        engine.load_busybox();
        let subnet = "{{(index .IPAM.Config 0).Subnet}}";
        let of = |network: &str| {
            let args = ["network", "inspect", "-f", subnet, network];
            engine.d(&args).ok().text().to_owned()
        };
        for name in ["one", "two", "three"] {
            engine.d(&["network", "create", name]).ok();
        }
        let all = ["bridge", "one", "two", "three"].map(of);
        let wanted = [0, 1, 2, 3].map(|third| format!("10.77.{third}.0/24"));
        assert_eq!(all, wanted);
        let full = engine.d(&["network", "create", "four"]).fails_with(1);
        assert!(full.stderr.contains("address pool"), "{}", full.stderr);
        for name in ["one", "two", "three"] {
            engine.d(&["network", "rm", name]).ok();
        }
        let run = [
            "run", "-d", "--name", "web", "-p", "80", "busybox", "sleep", "1000",
        ];
        engine.d(&run).ok();
        let port = engine.d(&["port", "web"]).ok();
        assert!(
            port.text().starts_with("80/tcp -> 127.0.0.1:"),
            "{}",
            port.stdout
        );
        engine.d(&["rm", "-f", "web"]).ok();
        let link = ["run", "--rm", "busybox", "cat", "/sys/class/net/eth0/mtu"];
        assert_eq!(engine.d(&link).ok().text(), "1400");
        let mtu = r#"{{index .Options "com.docker.network.driver.mtu"}}"#;
        let shown = engine.d(&["network", "inspect", "-f", mtu, "bridge"]);
        assert_eq!(shown.ok().text(), "1400");
        let pools = ["info", "-f", "{{json .DefaultAddressPools}} {{.Labels}}"];
        let pools = engine.d(&pools).ok();
        assert_eq!(
            pools.text(),
            r#"[{"Base":"10.77.0.0/22","Size":24}] [rack=4]"#
        );
    });
}

#[test]
fn containers_end_with_a_daemon_that_is_told_so() {
    with_settings(|engine| {
        engine.load_busybox();
        if engine.kind() == Kind::Dockerd {
            // It is what dockerd does by default.
            return;
        }
        engine
            .d(&[
                "run", "-d", "--name", "box", "-t", "busybox", "sleep", "1000",
            ])
            .ok();
        engine.stop_daemon();
        engine.start_daemon();
        let state = ["inspect", "-f", "{{.State.Status}}", "box"];
        eventually("it has ended", Duration::from_secs(5), || {
            (engine.d(&state).ok().text() == "exited").then_some(())
        });
        engine.d(&["rm", "box"]).ok();
    });
}

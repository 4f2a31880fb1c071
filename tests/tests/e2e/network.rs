//! The bridge, published ports, names.

use std::time::Duration;

use testkit::image::ImageBuilder;
use testkit::{Engine, Options, eventually, run};

/// A server in a container that answers each connection with its host name.
fn serve(engine: &Engine, name: &str, flags: &[&str]) {
    let mut args = vec!["run", "-d", "--name", name, "-h", name];
    args.extend(flags);
    args.extend(["busybox", "nc", "-ll", "-p", "80", "-e", "hostname"]);
    engine.d(&args).ok();
}

/// What a server answers to a connection from the sandbox's own network.
fn ask(engine: &Engine, address: &str, port: &str) -> String {
    let mut command = engine.sandbox().network_command("/bin/busybox");
    command.args(["nc", "-w", "2", address, port]);
    run(command, b"").stdout.trim().to_owned()
}

#[track_caller]
fn answers(engine: &Engine, address: &str, port: &str, name: &str) {
    eventually(
        &format!("{name} answers at {address}:{port}"),
        Duration::from_secs(5),
        || (ask(engine, address, port) == name).then_some(()),
    );
}

#[test]
fn containers_reach_each_other_and_have_docker_s_addresses() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "one", &[]);
        let address = engine
            .d(&[
                "inspect",
                "-f",
                "{{.NetworkSettings.Networks.bridge.IPAddress}}",
                "one",
            ])
            .ok()
            .text()
            .to_owned();
        assert!(address.starts_with("172.17."), "{address}");
        answers(engine, &address, "80", "one");
        let done = engine
            .d(&["run", "--rm", "busybox", "nc", "-w", "2", &address, "80"])
            .ok();
        assert_eq!(done.text(), "one");
        let route = engine
            .d(&["run", "--rm", "busybox", "sh", "-c", "ip route | head -1"])
            .ok();
        assert_eq!(route.text(), "default via 172.17.0.1 dev eth0");
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "web", &["-p", "8080:80", "-p", "127.0.0.1:8081:80"]);
        answers(engine, "127.0.0.1", "8080", "web");
        answers(engine, "127.0.0.1", "8081", "web");
        answers(engine, "172.17.0.1", "8080", "web");
        // From another container by the host's address, and from itself.
        assert_eq!(
            engine
                .d(&[
                    "run",
                    "--rm",
                    "busybox",
                    "nc",
                    "-w",
                    "2",
                    "172.17.0.1",
                    "8080"
                ])
                .ok()
                .text(),
            "web"
        );
        assert_eq!(
            engine
                .d(&["exec", "web", "nc", "-w", "2", "172.17.0.1", "8080"])
                .ok()
                .text(),
            "web"
        );
        assert_eq!(ask(engine, "172.17.0.1", "8081"), "");
        for client in [Engine::d, Engine::w] {
            // Docker publishes on IPv6 as well.
            assert_eq!(
                client(engine, &["port", "web", "80"])
                    .ok()
                    .stdout
                    .lines()
                    .filter(|line| !line.starts_with('['))
                    .collect::<Vec<_>>(),
                ["0.0.0.0:8080", "127.0.0.1:8081"]
            );
        }
        engine.d(&["rm", "-f", "web"]).ok();
        assert_eq!(ask(engine, "127.0.0.1", "8080"), "");
    });
}

#[test]
fn who_shares_a_network_shares_its_name() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "web", &["--domainname", "example.org"]);
        let script = "hostname; cat /etc/hostname; hostname -d";
        let mut args = vec!["run", "--name", "beside", "--network", "container:web"];
        args.extend(["busybox", "sh", "-c", script]);
        let done = engine.d(&args).ok();
        assert_eq!(done.stdout, "web\nweb\nexample.org\n");
        let told = |format: &str, name: &str| {
            let done = engine.d(&["inspect", "-f", format, name]).ok();
            done.text().to_owned()
        };
        for format in [
            "{{.Config.Hostname}} {{.Config.Domainname}}",
            "{{.HostsPath}} {{.HostnamePath}} {{.ResolvConfPath}}",
        ] {
            assert_eq!(told(format, "beside"), told(format, "web"));
        }
        engine.d(&["rm", "-f", "web", "beside"]).ok();
    });
}

#[test]
fn an_image_that_exposes_ports_shares_a_network_with_another_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "web", &[]);
        let program = std::fs::read("/bin/busybox").unwrap();
        let image = ImageBuilder::new()
            .file("busybox", 0o755, &program)
            .config("ExposedPorts", serde_json::json!({"80/tcp": {}}));
        let archive = engine.folder().join("exposes.tar");
        std::fs::write(&archive, image.archive("exposes:latest")).unwrap();
        engine.load(&archive);
        for client in [Engine::d, Engine::w] {
            let run = |network: &str, flags: &[&str]| {
                let network = format!("container:{network}");
                let args = [&["run", "--rm", "--network", &network], flags].concat();
                client(
                    engine,
                    &[&args[..], &["exposes", "/busybox", "true"]].concat(),
                )
            };
            run("web", &[]).ok();
            let asked = run("web", &["--expose", "81"]).fails_with(125);
            let sentence = "port exposing and the container type network mode";
            assert!(asked.stderr.contains(sentence), "{}", asked.stderr);
            let nobody = run("nobody", &[]).fails_with(125);
            assert!(nobody.stderr.contains("No such container: nobody"));
        }
        engine.d(&["rm", "-f", "web"]).ok();
    });
}

#[test]
fn a_container_publishes_thousands_of_ports_and_others_start_beside_it() {
    Engine::run(|engine| {
        engine.load_busybox();
        // A media server's range, and what it is steered through.
        serve(
            engine,
            "media",
            &["-p", "20000-24999:20000-24999/udp", "-p", "8080:80"],
        );
        answers(engine, "127.0.0.1", "8080", "media");
        engine
            .d(&["run", "--rm", "-p", "8081:80", "busybox", "true"])
            .ok();
        let taken = engine
            .d(&["run", "--rm", "-p", "24999:1/udp", "busybox", "true"])
            .fails_with(125);
        assert!(
            taken.stderr.contains("port is already allocated"),
            "{}",
            taken.stderr
        );
        engine.d(&["rm", "-f", "media"]).ok();
        engine
            .d(&["run", "--rm", "-p", "24999:1/udp", "busybox", "true"])
            .ok();
    });
}

#[test]
fn a_port_in_use_is_refused_and_leaves_no_half_started_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "web", &["-p", "8080:80"]);
        for client in [Engine::d, Engine::w] {
            let taken = client(
                engine,
                &["run", "--name", "late", "-p", "8080:80", "busybox", "true"],
            )
            .fails_with(125);
            assert!(
                taken.stderr.contains("port is already allocated"),
                "{}",
                taken.stderr
            );
            assert_eq!(
                engine
                    .d(&["inspect", "-f", "{{.State.Status}}", "late"])
                    .ok()
                    .text(),
                "created"
            );
            client(engine, &["rm", "late"]).ok();
        }
        let mut foreign = engine
            .sandbox()
            .network_command("/bin/busybox")
            .args(["nc", "-ll", "-p", "9999", "-e", "true"])
            .spawn()
            .unwrap();
        eventually("it listens", Duration::from_secs(20), || {
            let mut list = engine.sandbox().network_command("/bin/busybox");
            list.args(["netstat", "-ltn"]);
            run(list, b"").ok().text().contains(":9999 ").then_some(())
        });
        let taken = engine
            .d(&["run", "--rm", "-p", "9999:80", "busybox", "true"])
            .fails_with(125);
        foreign.kill().unwrap();
        foreign.wait().unwrap();
        assert!(
            taken.stderr.contains("address already in use"),
            "{}",
            taken.stderr
        );
    });
}

#[test]
fn a_free_port_is_chosen_and_told() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "web", &["-p", "80", "-P"]);
        let shown = engine.w(&["port", "web", "80"]).ok().text().to_owned();
        let port = shown.rsplit(':').next().unwrap();
        answers(engine, "127.0.0.1", port, "web");
    });
}

#[test]
fn other_networks() {
    Engine::run(|engine| {
        engine.load_busybox();
        let links = |flags: &[&str]| {
            let mut args = vec!["run", "--rm"];
            args.extend(flags);
            args.extend(["busybox", "ls", "/sys/class/net"]);
            engine
                .w(&args)
                .ok()
                .stdout
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(links(&["--network", "none"]), ["lo"]);
        assert_eq!(links(&[]), ["eth0", "lo"]);
        assert!(
            links(&["--network", "host"])
                .iter()
                .any(|link| link == "docker0")
        );
        let missing = engine
            .d(&["run", "--rm", "--network", "nowhere", "busybox", "true"])
            .fails_with(125);
        assert!(
            missing.stderr.contains("network nowhere not found"),
            "{}",
            missing.stderr
        );
    });
}

#[test]
fn without_a_bridge_a_container_has_a_loopback_alone() {
    let options = Options {
        flags: vec!["--bridge=none".to_owned()],
        ..Options::default()
    };
    Engine::run_with(options, |engine| {
        engine.load_busybox();
        for network in ["default", "bridge", "none"] {
            let done = engine
                .d(&[
                    "run",
                    "--rm",
                    "--network",
                    network,
                    "busybox",
                    "ls",
                    "/sys/class/net",
                ])
                .ok();
            assert_eq!(done.text(), "lo", "{network}");
        }
    });
}

/// As the API's `NetworkDisabled` says, which no flag of a client asks for.
#[test]
fn a_container_without_a_network_has_a_loopback_alone() {
    Engine::run(|engine| {
        engine.load_busybox();
        let body = r#"{"Image": "busybox", "Cmd": ["ls", "/sys/class/net"], "NetworkDisabled": true,
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}"#;
        let made = engine.ask(
            "POST",
            "/containers/create?name=alone",
            "application/json",
            body.as_bytes(),
        );
        assert_eq!(made.unwrap().0, 201);
        let shown = engine.d(&["start", "-a", "alone"]).ok();
        assert_eq!(shown.text(), "lo");
        let networks = [
            "inspect",
            "-f",
            "{{len .NetworkSettings.Networks}}",
            "alone",
        ];
        assert_eq!(engine.d(&networks).ok().text(), "0");
        let refused = engine.d(&["network", "connect", "bridge", "alone"]);
        let refused = refused.fails_with(1);
        let sentence = "NetworkDisabled";
        assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
        // Nor has it the host's.
        let body = r#"{"Image": "busybox", "Cmd": ["ls", "/sys/class/net"], "NetworkDisabled": true,
            "HostConfig": {"NetworkMode": "host"}}"#;
        let path = "/containers/create?name=apart";
        let made = engine.ask("POST", path, "application/json", body.as_bytes());
        assert_eq!(made.unwrap().0, 201);
        assert_eq!(engine.d(&["start", "-a", "apart"]).ok().text(), "lo");
    });
}

//! User networks: made, joined and left by both clients, beside a daemon that dies.

use std::time::Duration;

use testkit::{Engine, eventually};

const SOON: Duration = Duration::from_secs(20);

type Client = fn(&Engine, &[&str]) -> testkit::Finished;
const CLIENTS: [Client; 2] = [Engine::d, Engine::w];

/// A server in a container that answers each connection with its host name.
fn serve(engine: &Engine, name: &str, flags: &[&str]) {
    let mut args = vec!["run", "-d", "--name", name, "-h", name];
    args.extend(flags);
    args.extend(["busybox", "nc", "-ll", "-p", "80", "-e", "hostname"]);
    engine.d(&args).ok();
}

/// What a container hears from a server.
fn hear(engine: &Engine, container: &str, address: &str) -> String {
    let done = engine.d(&["exec", container, "nc", "-w", "2", address, "80"]);
    done.stdout.trim().to_owned()
}

fn told(engine: &Engine, format: &str, name: &str) -> String {
    engine
        .d(&["inspect", "-f", format, name])
        .ok()
        .text()
        .to_owned()
}

fn address(engine: &Engine, name: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    told(engine, &format, name)
}

#[track_caller]
fn answers(engine: &Engine, container: &str, address: &str, name: &str) {
    let what = format!("{name} answers {container} at {address}");
    eventually(&what, SOON, || {
        (hear(engine, container, address) == name).then_some(())
    });
}

#[test]
fn a_network_is_made_shown_used_and_removed_by_both_clients() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in CLIENTS {
            let id = client(
                engine,
                &[
                    "network",
                    "create",
                    "--subnet",
                    "10.83.0.0/16",
                    "--gateway",
                    "10.83.0.9",
                    "--ip-range",
                    "10.83.4.0/24",
                    "--aux-address",
                    "router=10.83.4.1",
                    "--label",
                    "tier=back",
                    "-o",
                    "com.docker.network.driver.mtu=1400",
                    "-o",
                    "somebody.example=7",
                    "mine",
                ],
            )
            .ok();
            assert_eq!(id.text().len(), 64);
            let listed = client(engine, &["network", "ls", "--filter", "label=tier"]).ok();
            let line = listed.stdout.lines().nth(1).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words, [&id.text()[..12], "mine", "bridge", "local"]);
            let shown = client(
                engine,
                &[
                    "network",
                    "inspect",
                    "-f",
                    "{{.Internal}} {{.Labels}} {{.Options}} {{json .IPAM.Config}}",
                    "mine",
                ],
            )
            .ok();
            assert!(shown.text().starts_with(
                "false map[tier:back] map[com.docker.network.driver.mtu:1400 somebody.example:7]"
            ));
            for part in ["10.83.0.0/16", "10.83.4.0/24", "10.83.0.9", "router"] {
                assert!(shown.text().contains(part), "{}", shown.text());
            }
            serve(engine, "web", &["--network", "mine", "--ip", "10.83.0.77"]);
            let script = "ip -4 addr show eth0; ip link show eth0; ip route; cat /etc/hosts";
            let done = client(
                engine,
                &[
                    "run",
                    "--rm",
                    "-h",
                    "box",
                    "--network",
                    "mine",
                    "busybox",
                    "sh",
                    "-c",
                    script,
                ],
            )
            .ok();
            for part in [
                "inet 10.83.4.0/16",
                "mtu 1400",
                "default via 10.83.0.9",
                "10.83.4.0\tbox",
            ] {
                assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
            }
            assert_eq!(address(engine, "web", "mine"), "10.83.0.77");
            let inside = client(
                engine,
                &[
                    "network",
                    "inspect",
                    "-f",
                    "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}",
                    "mine",
                ],
            )
            .ok();
            assert_eq!(inside.text(), "web 10.83.0.77/16");
            let used = client(engine, &["network", "rm", "mine"]).fails_with(1);
            let sentence = "error while removing network: network mine has active endpoints (name:\"web\" id:\"";
            assert!(used.stderr.contains(sentence), "{}", used.stderr);
            let twice = client(engine, &["network", "create", "mine"]).fails_with(1);
            assert!(
                twice
                    .stderr
                    .contains("network with name mine already exists")
            );
            let overlap = client(
                engine,
                &["network", "create", "--subnet", "10.83.9.0/24", "x"],
            )
            .fails_with(1);
            assert!(
                overlap
                    .stderr
                    .contains("Pool overlaps with other one on this address space")
            );
            engine.d(&["rm", "-f", "web"]).ok();
            assert_eq!(
                client(engine, &["network", "rm", "mine"]).ok().text(),
                "mine"
            );
            let gone = client(engine, &["network", "inspect", "mine"]).fails_with(1);
            assert!(
                gone.stderr.contains("network mine not found"),
                "{}",
                gone.stderr
            );
        }
    });
}

#[test]
fn containers_reach_those_on_their_networks_alone() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "front"]).ok();
        engine.d(&["network", "create", "--internal", "back"]).ok();
        serve(engine, "web", &["--network", "front"]);
        serve(engine, "db", &["--network", "back"]);
        serve(engine, "home", &[]);
        serve(engine, "app", &["--network", "front", "--network", "back"]);
        let (web, db) = (
            address(engine, "web", "front"),
            address(engine, "db", "back"),
        );
        answers(engine, "app", &web, "web");
        answers(engine, "app", &db, "db");
        assert_eq!(hear(engine, "web", &db), "");
        assert_eq!(hear(engine, "home", &web), "");
        // The way out is by the network that has one.
        let route = engine.d(&["exec", "app", "ip", "route"]).ok();
        let gateway = told(engine, "{{.NetworkSettings.Networks.front.Gateway}}", "app");
        assert!(
            route.stdout.contains(&format!("default via {gateway}")),
            "{}",
            route.stdout
        );
        let inside = engine.d(&["exec", "db", "ip", "route"]).ok();
        assert!(!inside.stdout.contains("default"), "{}", inside.stdout);
    });
}

#[test]
fn a_running_container_joins_and_leaves_networks() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in CLIENTS {
            client(
                engine,
                &["network", "create", "--subnet", "10.84.0.0/24", "one"],
            )
            .ok();
            client(engine, &["network", "create", "two"]).ok();
            serve(engine, "web", &["--network", "one"]);
            serve(engine, "box", &["-p", "8080:80"]);
            client(
                engine,
                &["network", "connect", "--ip", "10.84.0.50", "one", "box"],
            )
            .ok();
            answers(engine, "box", &address(engine, "web", "one"), "web");
            answers(engine, "web", "10.84.0.50", "box");
            let hosts = engine.d(&["exec", "box", "cat", "/etc/hosts"]).ok();
            assert!(hosts.stdout.contains("10.84.0.50\tbox"), "{}", hosts.stdout);
            let again = client(engine, &["network", "connect", "one", "box"]).fails_with(1);
            let sentence = "endpoint with name box already exists in network one";
            assert!(again.stderr.contains(sentence), "{}", again.stderr);
            // The network that it was started on goes, and the port follows.
            client(engine, &["network", "disconnect", "bridge", "box"]).ok();
            let links = engine.d(&["exec", "box", "ls", "/sys/class/net"]).ok();
            assert_eq!(
                links.stdout.split_whitespace().collect::<Vec<_>>(),
                ["eth1", "lo"]
            );
            answers(engine, "web", "10.84.0.50", "box");
            let mut ask = engine.sandbox().network_command("/bin/busybox");
            ask.args(["nc", "-w", "2", "127.0.0.1", "8080"]);
            assert_eq!(testkit::run(ask, b"").stdout.trim(), "box");
            client(engine, &["network", "disconnect", "-f", "one", "box"]).ok();
            let routes = engine.d(&["exec", "box", "ip", "route"]).ok();
            assert_eq!(routes.text(), "");
            let away = client(engine, &["network", "disconnect", "one", "box"]).fails_with(1);
            assert!(
                away.stderr.contains("is not connected to network one"),
                "{}",
                away.stderr
            );
            client(engine, &["network", "connect", "two", "box"]).ok();
            let mut ask = engine.sandbox().network_command("/bin/busybox");
            ask.args(["nc", "-w", "2", "127.0.0.1", "8080"]);
            assert_eq!(
                testkit::run(ask, b"").stdout.trim(),
                "box",
                "the port is back"
            );
            // It begins again where it was put.
            client(engine, &["restart", "-t", "0", "box"]).ok();
            let keys = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
            assert_eq!(told(engine, keys, "box"), "two");
            let links = engine.d(&["exec", "box", "ls", "/sys/class/net"]).ok();
            assert_eq!(
                links.stdout.split_whitespace().collect::<Vec<_>>(),
                ["eth0", "lo"]
            );
            engine.d(&["rm", "-f", "web", "box"]).ok();
            let pruned = client(engine, &["network", "prune", "-f"]).ok();
            assert_eq!(pruned.stdout, "Deleted Networks:\none\ntwo\n\n");
        }
    });
}

#[test]
fn a_container_that_does_not_run_is_put_on_networks_for_its_start() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "one"]).ok();
        engine.d(&["network", "create", "two"]).ok();
        engine
            .d(&[
                "create",
                "--name",
                "box",
                "--network",
                "one",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        engine.d(&["network", "connect", "two", "box"]).ok();
        engine.w(&["network", "disconnect", "one", "box"]).ok();
        engine.d(&["start", "box"]).ok();
        let links = engine.d(&["exec", "box", "ls", "/sys/class/net"]).ok();
        assert_eq!(
            links.stdout.split_whitespace().collect::<Vec<_>>(),
            ["eth0", "lo"]
        );
        let names = told(engine, "{{.NetworkSettings.Networks.two.DNSNames}}", "box");
        assert!(names.starts_with("[box "), "{names}");
        let listed = engine
            .d(&[
                "ps",
                "--filter",
                "network=two",
                "--format",
                "{{.Names}} {{.Networks}}",
            ])
            .ok();
        assert_eq!(listed.text(), "box two");
        assert_eq!(
            engine
                .d(&["ps", "-q", "--filter", "network=one"])
                .ok()
                .text(),
            ""
        );
    });
}

#[test]
fn a_killed_daemon_finds_its_networks_again() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "one"]).ok();
        engine.d(&["network", "create", "two"]).ok();
        serve(engine, "web", &["--network", "one", "-p", "8080:80"]);
        serve(engine, "box", &["--network", "one"]);
        engine.d(&["network", "connect", "two", "box"]).ok();
        let before: Vec<String> = [("web", "one"), ("box", "one"), ("box", "two")]
            .map(|(name, on)| address(engine, name, on))
            .into();
        engine.kill_daemon();
        engine.start_daemon();
        let after: Vec<String> = [("web", "one"), ("box", "one"), ("box", "two")]
            .map(|(name, on)| address(engine, name, on))
            .into();
        assert_eq!(before, after);
        answers(engine, "box", &before[0], "web");
        let mut ask = engine.sandbox().network_command("/bin/busybox");
        ask.args(["nc", "-w", "2", "127.0.0.1", "8080"]);
        assert_eq!(testkit::run(ask, b"").stdout.trim(), "web");
        engine.d(&["network", "rm", "one"]).fails_with(1);
        engine.d(&["network", "disconnect", "two", "box"]).ok();
        engine.d(&["network", "rm", "two"]).ok();
        let next = engine
            .d(&[
                "run",
                "--rm",
                "--network",
                "one",
                "busybox",
                "hostname",
                "-i",
            ])
            .ok();
        assert!(!before.contains(&next.text().to_owned()), "{}", next.text());
        // An end that no daemon heard gives the address back.
        engine.kill_daemon();
        let words = "nc -ll -p 80 -e hostname";
        for process in engine.sandbox().processes() {
            if process.command.ends_with(words) {
                engine.sandbox().kill(process.pid, "KILL");
            }
        }
        eventually("they have ended", SOON, || {
            let all = engine.sandbox().processes();
            (!all.iter().any(|process| process.command.ends_with(words))).then_some(())
        });
        engine.start_daemon();
        engine.d(&["network", "rm", "one"]).ok();
    });
}

#[test]
fn a_restart_by_the_supervisor_keeps_the_networks() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "one"]).ok();
        engine.d(&["network", "create", "two"]).ok();
        serve(engine, "web", &["--network", "one"]);
        let args = [
            "run",
            "-d",
            "--name",
            "again",
            "--restart",
            "always",
            "--network",
            "one",
        ];
        engine
            .d(&[&args[..], &["busybox", "sleep", "4321"]].concat())
            .ok();
        engine.d(&["network", "connect", "two", "again"]).ok();
        let before = (
            address(engine, "again", "one"),
            address(engine, "again", "two"),
        );
        let processes = engine.sandbox().processes();
        let first = processes
            .iter()
            .find(|one| one.command.ends_with("sleep 4321"));
        engine.sandbox().kill(first.expect("it runs").pid, "KILL");
        eventually("it is started again", SOON, || {
            let state = told(engine, "{{.RestartCount}} {{.State.Status}}", "again");
            (!state.starts_with('0') && state.ends_with("running")).then_some(())
        });
        assert_eq!(
            before,
            (
                address(engine, "again", "one"),
                address(engine, "again", "two")
            )
        );
        answers(engine, "again", &address(engine, "web", "one"), "web");
    });
}

#[test]
fn what_networks_can_not_do_is_refused_in_docker_s_words() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "free"]).ok();
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "box",
                "--network",
                "free",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "none",
                "--network",
                "none",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        for client in CLIENTS {
            let refused = |args: &[&str], sentence: &str| {
                let done = client(engine, args);
                assert_ne!(done.status, 0, "{args:?}");
                assert!(done.stderr.contains(sentence), "{args:?}: {}", done.stderr);
            };
            refused(
                &["network", "create", "-d", "nonsense", "x"],
                "plugin \"nonsense\" not found",
            );
            refused(
                &["network", "create", "-d", "macvlan", "x"],
                "macvlan is not supported by wharf",
            );
            refused(
                &["network", "create", "--ipv4=false", "x"],
                "a network without IPv4 (EnableIPv4) is not supported",
            );
            refused(
                &["network", "create", "-o", "com.docker.network.x=b", "x"],
                "the network option com.docker.network.x (b) is not supported",
            );
            refused(
                &[
                    "network",
                    "create",
                    "--subnet",
                    "10.1.0.0/16",
                    "--gateway",
                    "10.2.0.1",
                    "x",
                ],
                "no matching subnet for gateway 10.2.0.1",
            );
            refused(
                &["network", "create", "--gateway", "10.2.0.1", "x"],
                "every ip-range or gateway must have a corresponding subnet",
            );
            refused(
                &["network", "create", "--subnet", "10.1.0.7/16", "x"],
                "it should be 10.1.0.0/16",
            );
            refused(
                &["run", "--rm", "--link", "a:b", "busybox", "true"],
                "could not get container for a: No such container: a",
            );
            refused(
                &["network", "connect", "host", "box"],
                "connected to host network",
            );
            refused(
                &["network", "connect", "free", "none"],
                "private (none) mode",
            );
            refused(
                &["network", "disconnect", "bridge", "box"],
                "is not connected to network bridge",
            );
            refused(
                &[
                    "run",
                    "--rm",
                    "--network",
                    "free",
                    "--ip",
                    "10.1.1.1",
                    "busybox",
                    "true",
                ],
                "only when connecting to networks with user configured subnets",
            );
            refused(
                &["run", "--rm", "--ip", "172.17.0.9", "busybox", "true"],
                "user specified IP address is supported on user defined networks only",
            );
        }
        assert_eq!(
            engine
                .d(&["network", "ls", "-q", "--filter", "type=custom"])
                .ok()
                .stdout
                .lines()
                .count(),
            1
        );
    });
}

/// A bridge of the host's administrator keeps what it has, and stays when the network goes.
#[test]
fn a_network_on_somebody_else_s_bridge_or_subnet() {
    Engine::run(|engine| {
        engine.load_busybox();
        let host = |script: &str| {
            let mut command = engine.sandbox().network_command("sh");
            command.args(["-c", script]);
            testkit::run(command, b"").ok().stdout
        };
        host(
            "ip link add brt type bridge; ip addr add 10.66.0.1/24 dev brt; ip addr add 10.67.0.1/24 dev brt",
        );
        let name = "com.docker.network.bridge.name=brt";
        let subnet = ["--subnet", "10.66.0.0/24", "--gateway", "10.66.0.1"];
        let create = [&["network", "create", "-o", name][..], &subnet].concat();
        engine.d(&[&create[..], &["theirs"]].concat()).ok();
        serve(engine, "web", &["--network", "theirs", "-p", "8080:80"]);
        assert_eq!(address(engine, "web", "theirs"), "10.66.0.2");
        serve(engine, "box", &["--network", "theirs"]);
        answers(engine, "box", "web", "web");
        let twice = [
            "network",
            "create",
            "-o",
            name,
            "--subnet",
            "10.68.0.0/24",
            "x",
        ];
        let refused = engine.d(&twice).fails_with(1);
        let sentence = "conflicts with network theirs: networks have same bridge name";
        assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
        engine.kill_daemon();
        engine.start_daemon();
        answers(engine, "box", "web", "web");
        engine.d(&["rm", "-f", "web", "box"]).ok();
        engine.d(&["network", "rm", "theirs"]).ok();
        let left = host("ip -o -4 addr show dev brt");
        assert!(
            left.contains("10.66.0.1/24") && left.contains("10.67.0.1/24"),
            "{left}"
        );
        // The host may have a way to the same addresses: whoever asks for them knows why.
        engine
            .d(&["network", "create", "--subnet", "10.66.0.0/24", "mine"])
            .ok();
        serve(engine, "web", &["--network", "mine"]);
        assert_eq!(address(engine, "web", "mine"), "10.66.0.2");
        assert!(engine.log().contains("brt"), "the log names the link");
        engine.d(&["rm", "-f", "web"]).ok();
        host("ip link del brt");
    });
}

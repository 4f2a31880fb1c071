//! User networks with IPv6 beside IPv4, as both clients make them.

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

fn hear(engine: &Engine, container: &str, address: &str) -> String {
    let done = engine.d(&["exec", container, "nc", "-w", "2", address, "80"]);
    done.stdout.trim().to_owned()
}

#[track_caller]
fn answers(engine: &Engine, container: &str, address: &str, name: &str) {
    let what = format!("{name} answers {container} at {address}");
    eventually(&what, SOON, || {
        (hear(engine, container, address) == name).then_some(())
    });
}

/// What a network shows of a container: address, length of the prefix, gateway.
fn place_of(engine: &Engine, name: &str, network: &str) -> String {
    let format = format!(
        "{{{{with index .NetworkSettings.Networks \"{network}\"}}}}{{{{.GlobalIPv6Address}}}} \
         {{{{.GlobalIPv6PrefixLen}}}} {{{{.IPv6Gateway}}}}{{{{end}}}}"
    );
    let shown = engine.d(&["inspect", "-f", &format, name]).ok();
    shown.text().to_owned()
}

fn routes(engine: &Engine, name: &str) -> String {
    let shown = engine.d(&["exec", name, "ip", "-6", "route"]).ok();
    let default = shown.stdout.lines().find(|line| line.contains("default"));
    default.unwrap_or_default().trim().to_owned()
}

#[test]
fn a_network_of_both_families_is_made_shown_and_used_by_both_clients() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in CLIENTS {
            let create = [
                "network",
                "create",
                "--ipv6",
                "--subnet",
                "fd83:1::/64",
                "--gateway",
                "fd83:1::9",
                "--aux-address",
                "router=fd83:1::2",
                "mine",
            ];
            client(engine, &create).ok();
            let shown = client(
                engine,
                &[
                    "network",
                    "inspect",
                    "-f",
                    "{{.EnableIPv6}} {{json .IPAM.Config}}",
                    "mine",
                ],
            );
            let shown = shown.ok();
            for part in ["true ", "fd83:1::/64", "fd83:1::9", "router", "172."] {
                assert!(shown.text().contains(part), "{}", shown.text());
            }
            let listed = client(
                engine,
                &["network", "ls", "--format", "{{.Name}} {{.IPv6}}"],
            );
            assert!(listed.ok().stdout.contains("mine true\n"));
            serve(engine, "web", &["--network", "mine", "--ip6", "fd83:1::77"]);
            serve(engine, "box", &["--network", "mine"]);
            assert_eq!(place_of(engine, "web", "mine"), "fd83:1::77 64 fd83:1::9");
            let address = place_of(engine, "box", "mine");
            let address = address.split(' ').next().unwrap();
            answers(engine, "box", "fd83:1::77", "web");
            answers(engine, "web", address, "box");
            answers(engine, "box", "web", "web");
            assert!(routes(engine, "box").starts_with("default via fd83:1::9 dev eth0"));
            let hosts = engine.d(&["exec", "web", "cat", "/etc/hosts"]).ok();
            assert!(
                hosts.stdout.contains("fd83:1::77\tweb\n"),
                "{}",
                hosts.stdout
            );
            for (name, answer) in [("web", "fd83:1::77"), ("web.mine", "fd83:1::77")] {
                let asked = engine.d(&["exec", "box", "nslookup", "-type=aaaa", name]);
                assert!(asked.ok().stdout.contains(answer));
            }
            let asked = engine.d(&["exec", "box", "nslookup", "fd83:1::77"]).ok();
            assert!(asked.stdout.contains("web.mine"), "{}", asked.stdout);
            let inside = client(
                engine,
                &[
                    "network",
                    "inspect",
                    "-f",
                    "{{range .Containers}}{{.IPv6Address}} {{end}}",
                    "mine",
                ],
            );
            assert!(inside.ok().text().contains("fd83:1::77/64"));
            for (address, sentence) in [
                ("fd83:1::77", "Address already in use"),
                (
                    "fd83:2::77",
                    "no configured subnet contains the IP address fd83:2::77",
                ),
                ("nonsense", "nonsense"),
            ] {
                let args = [
                    "run",
                    "--rm",
                    "--network",
                    "mine",
                    "--ip6",
                    address,
                    "busybox",
                    "true",
                ];
                let refused = client(engine, &args).fails_with(125);
                assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
            }
            let overlap = ["network", "create", "--ipv6", "--subnet", "fd83::/16", "x"];
            let refused = client(engine, &overlap).fails_with(1);
            assert!(
                refused.stderr.contains("Pool overlaps"),
                "{}",
                refused.stderr
            );
            engine.d(&["rm", "-f", "web", "box"]).ok();
            client(engine, &["network", "rm", "mine"]).ok();
        }
    });
}

#[test]
fn a_subnet_is_drawn_where_nobody_chose_one() {
    Engine::run(|engine| {
        engine.load_busybox();
        for name in ["one", "two"] {
            engine.d(&["network", "create", "--ipv6", name]).ok();
        }
        serve(engine, "web", &["--network", "one", "-p", "8080:80"]);
        let place = place_of(engine, "web", "one");
        assert!(
            place.starts_with("fd") && place.contains(" 64 fd"),
            "{place}"
        );
        let chosen = [
            "run",
            "--rm",
            "--network",
            "one",
            "--ip6",
            "fd00::7",
            "busybox",
            "true",
        ];
        let refused = engine.d(&chosen).fails_with(125);
        let sentence = "only when connecting to networks with user configured subnets";
        assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
        // Published ports are read at both of the host's families, as everywhere.
        for address in ["127.0.0.1", "::1"] {
            eventually("the port answers", SOON, || {
                let mut ask = engine.sandbox().network_command("/bin/busybox");
                ask.args(["nc", "-w", "2", address, "8080"]);
                (testkit::run(ask, b"").stdout.trim() == "web").then_some(())
            });
        }
        let other = [
            "run",
            "--rm",
            "--network",
            "two",
            "busybox",
            "nc",
            "-w",
            "1",
        ];
        let address = place.split(' ').next().unwrap();
        let apart = engine.d(&[&other[..], &[address, "80"]].concat());
        assert_eq!(apart.stdout, "", "networks are apart");
        serve(engine, "near", &["--network", "two"]);
        let near = place_of(engine, "near", "two");
        let near = near.split(' ').next().unwrap();
        eventually("who is on the same network answers", SOON, || {
            let done = engine.d(&[&other[..], &[near, "80"]].concat());
            (done.stdout.trim() == "near").then_some(())
        });
    });
}

#[test]
fn a_running_container_joins_and_leaves_a_network_of_both_families() {
    Engine::run(|engine| {
        engine.load_busybox();
        for (name, number) in [("one", 1), ("two", 2)] {
            let subnet = format!("fd84:{number}::/64");
            engine
                .d(&["network", "create", "--ipv6", "--subnet", &subnet, name])
                .ok();
        }
        engine.d(&["network", "create", "plain"]).ok();
        serve(engine, "web", &["--network", "two"]);
        serve(engine, "box", &["--network", "plain"]);
        assert_eq!(routes(engine, "box"), "");
        engine
            .d(&["network", "connect", "--ip6", "fd84:2::50", "two", "box"])
            .ok();
        answers(engine, "web", "fd84:2::50", "box");
        answers(engine, "web", "box", "box");
        assert!(routes(engine, "box").starts_with("default via fd84:2::1 dev eth1"));
        engine.d(&["network", "connect", "one", "box"]).ok();
        assert!(routes(engine, "box").starts_with("default via fd84:1::1 dev eth2"));
        engine.kill_daemon();
        answers_without_daemon(engine);
        engine.start_daemon();
        assert_eq!(place_of(engine, "box", "two"), "fd84:2::50 64 fd84:2::1");
        let taken = [
            "run",
            "--rm",
            "--network",
            "two",
            "--ip6",
            "fd84:2::50",
            "busybox",
            "true",
        ];
        engine.d(&taken).fails_with(125);
        engine.d(&["network", "disconnect", "one", "box"]).ok();
        assert!(routes(engine, "box").starts_with("default via fd84:2::1 dev eth1"));
        engine.d(&["network", "disconnect", "two", "box"]).ok();
        assert_eq!(routes(engine, "box"), "");
        let hosts = engine.d(&["exec", "box", "cat", "/etc/hosts"]).ok();
        assert!(!hosts.stdout.contains("fd84:"), "{}", hosts.stdout);
        // The address is free again.
        engine.d(&taken).ok();
    });
}

fn answers_without_daemon(engine: &Engine) {
    let mut ask = engine.sandbox().network_command("/bin/busybox");
    ask.args(["nc", "-w", "2", "fd84:2::50", "80"]);
    assert_eq!(testkit::run(ask, b"").stdout.trim(), "box");
}

/// What is asked for is done or refused: Docker passes such a subnet over without a word.
#[test]
fn a_subnet_of_ipv6_without_ipv6_is_refused() {
    Engine::run(|engine| {
        for client in CLIENTS {
            let args = ["network", "create", "--subnet", "fd85::/64", "mine"];
            let refused = client(engine, &args).fails_with(1);
            assert!(refused.stderr.contains("--ipv6"), "{}", refused.stderr);
        }
    });
}

/// Who turned IPv6 off has none of it, and joins and leaves networks as everybody does.
#[test]
fn a_container_without_ipv6_is_on_a_network_that_has_it() {
    Engine::run(|engine| {
        engine.load_busybox();
        let create = [
            "network",
            "create",
            "--ipv6",
            "--subnet",
            "fd86::/64",
            "mine",
        ];
        engine.d(&create).ok();
        engine.d(&["network", "create", "plain"]).ok();
        let off = "net.ipv6.conf.all.disable_ipv6=1";
        serve(engine, "box", &["--network", "mine", "--sysctl", off]);
        serve(engine, "web", &["--network", "mine"]);
        assert_eq!(place_of(engine, "box", "mine"), "0");
        answers(engine, "web", "box", "box");
        engine.d(&["network", "connect", "plain", "box"]).ok();
        engine.d(&["network", "disconnect", "plain", "box"]).ok();
        answers(engine, "web", "box", "box");
        let small = [
            "network",
            "create",
            "--ipv6",
            "-o",
            "com.docker.network.driver.mtu=1200",
            "x",
        ];
        let refused = engine.d(&small).fails_with(1);
        assert!(refused.stderr.contains("1280"), "{}", refused.stderr);
    });
}

/// What IPv6 alone hinders takes nobody's IPv4.
#[test]
fn a_host_that_lost_ipv6_keeps_its_networks() {
    Engine::run(|engine| {
        engine.load_busybox();
        let create = [
            "network",
            "create",
            "--ipv6",
            "--subnet",
            "fd87::/64",
            "mine",
        ];
        engine.d(&create).ok();
        serve(engine, "web", &["--network", "mine"]);
        engine.kill_daemon();
        // A link that carries no packets of IPv6's least length has none.
        let bridge = "b=$(ip -o link | grep -o 'br-[0-9a-f]*' | head -n 1); ip -6 addr flush dev $b; ip link set $b mtu 1200";
        let mut host = engine.sandbox().network_command("sh");
        host.args(["-c", bridge]);
        testkit::run(host, b"").ok();
        engine.start_daemon();
        serve(engine, "box", &["--network", "mine"]);
        answers(engine, "box", "web", "web");
    });
}

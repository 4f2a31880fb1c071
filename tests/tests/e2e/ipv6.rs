//! Published ports at the host's IPv6 addresses, which a helper of the engine reads.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use testkit::{Engine, enter_network, eventually, run};

const SOON: Duration = Duration::from_secs(20);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A server in a container that sends back what it gets.
fn serve(engine: &Engine, name: &str, flags: &[&str]) {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(flags);
    args.extend(["busybox", "nc", "-ll", "-p", "80", "-e", "cat"]);
    engine.d(&args).ok();
}

fn connect(engine: &Engine, address: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    let to = SocketAddr::new(address, port);
    let stream = engine
        .sandbox()
        .within_network(move || TcpStream::connect(to))?;
    stream.set_read_timeout(Some(SOON))?;
    Ok(stream)
}

/// Whether what is sent comes back.
fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"hello"
}

/// Waits for a server that has just been started.
#[track_caller]
fn answers(engine: &Engine, address: IpAddr, port: u16) -> TcpStream {
    eventually(&format!("{address} answers at {port}"), SOON, || {
        let mut stream = connect(engine, address, port).ok()?;
        echoes(&mut stream).then_some(stream)
    })
}

#[track_caller]
fn refuses(engine: &Engine, address: IpAddr, port: u16) {
    let refused = connect(engine, address, port).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

fn inspect(engine: &Engine, name: &str) -> String {
    let format = "{{json .NetworkSettings.Ports}}";
    engine
        .d(&["inspect", "-f", format, name])
        .ok()
        .text()
        .to_owned()
}

fn helpers(engine: &Engine) -> Vec<u32> {
    let all = engine.sandbox().processes().into_iter();
    let helpers = all.filter(|process| process.command == "wharf net");
    helpers.map(|process| process.pid).collect()
}

#[test]
fn a_port_without_an_address_is_of_both_families() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "web", &["-p", "8080:80"]);
        serve(
            engine,
            "one",
            &[
                "-p",
                "[::1]:8081:80",
                "-p",
                "127.0.0.1:8082:80",
                "-p",
                "0.0.0.0:8083:80",
            ],
        );
        serve(engine, "any", &["-p", "80", "-p", "8090-8095:81"]);
        assert_eq!(
            inspect(engine, "web"),
            r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#
        );
        for client in [Engine::d, Engine::w] {
            let port = client(engine, &["port", "web"]).ok();
            assert_eq!(port.stdout, "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n");
            let ps = client(
                engine,
                &["ps", "--format", "{{.Ports}}", "--filter", "name=web"],
            );
            assert_eq!(ps.ok().text(), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
            let ps = client(
                engine,
                &["ps", "--format", "{{.Ports}}", "--filter", "name=one"],
            );
            assert_eq!(
                ps.ok().text(),
                "0.0.0.0:8083->80/tcp, 127.0.0.1:8082->80/tcp, [::1]:8081->80/tcp"
            );
            // One number for both families, whether it was drawn or is of a range.
            for inside in ["80", "81"] {
                let port = client(engine, &["port", "any", inside]).ok();
                let numbers: Vec<_> = port
                    .stdout
                    .lines()
                    .filter_map(|line| line.rsplit_once(':'))
                    .collect();
                assert_eq!([numbers[0].0, numbers[1].0], ["0.0.0.0", "[::]"]);
                assert_eq!(numbers[0].1, numbers[1].1);
            }
        }
        for (address, port) in [(V4, 8080), (V6, 8080), (V6, 8081), (V4, 8082), (V4, 8083)] {
            answers(engine, address, port);
        }
        refuses(engine, V4, 8081);
        refuses(engine, V6, 8082);
        refuses(engine, V6, 8083);
        assert_eq!(helpers(engine).len(), 1, "one for all");
    });
}

#[test]
fn a_port_that_is_taken_on_either_family_is_refused() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "six", &["-p", "[::]:8080:80"]);
        serve(engine, "four", &["-p", "0.0.0.0:8081:80"]);
        for client in [Engine::d, Engine::w] {
            for (port, sentence) in [
                (
                    "8080:80",
                    "Bind for :::8080 failed: port is already allocated",
                ),
                (
                    "[::1]:8080:80",
                    "Bind for ::1:8080 failed: port is already allocated",
                ),
                (
                    "8081:80",
                    "Bind for 0.0.0.0:8081 failed: port is already allocated",
                ),
                ("[2001:db8::1]:8085:80", "cannot assign requested address"),
            ] {
                let args = ["run", "--rm", "-p", port, "busybox", "true"];
                let refused = client(engine, &args).fails_with(125);
                assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
            }
            // The other family is free.
            let args = ["run", "--rm", "-p", "[::]:8081:80", "busybox", "true"];
            client(engine, &args).ok();
        }
        let _foreign = engine
            .sandbox()
            .within_network(|| std::net::TcpListener::bind("[::1]:8086").unwrap());
        let args = ["run", "--rm", "-p", "8086:80", "busybox", "true"];
        let refused = engine.d(&args).fails_with(125);
        let sentence = "failed to bind host port [::]:8086/tcp: address already in use";
        assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
        refuses(engine, V4, 8086);
    });
}

#[test]
fn connections_go_on_without_a_daemon_and_the_next_one_closes_the_port() {
    Engine::run(|engine| {
        engine.load_busybox();
        serve(engine, "web", &["-p", "8080:80"]);
        let mut open = answers(engine, V6, 8080);
        let before = helpers(engine);
        engine.kill_daemon();
        assert!(echoes(&mut open), "an open connection goes on");
        answers(engine, V6, 8080);
        engine.start_daemon();
        assert!(echoes(&mut open));
        answers(engine, V6, 8080);
        assert_eq!(helpers(engine), before, "it is taken over");
        // As they lead to a container that was restarted.
        engine.d(&["restart", "-t", "0", "web"]).ok();
        answers(engine, V6, 8080);
        engine.d(&["rm", "-f", "web"]).ok();
        refuses(engine, V6, 8080);
        assert_eq!(
            open.read(&mut [0; 8]).unwrap_or(0),
            0,
            "they end with the container"
        );
        serve(engine, "next", &["-p", "8080:80"]);
        let _held = answers(engine, V6, 8080);
        // One that ends while no daemon lives.
        engine.kill_daemon();
        let processes = engine.sandbox().processes();
        let server = processes
            .iter()
            .find(|one| one.command.starts_with("nc -ll"));
        engine.sandbox().kill(server.unwrap().pid, "KILL");
        engine.start_daemon();
        eventually("the next daemon closes the port", SOON, || {
            connect(engine, V6, 8080).is_err().then_some(())
        });
        engine.d(&["rm", "next"]).ok();
    });
}

#[test]
fn a_helper_that_died_is_made_again_and_one_that_nobody_needs_ends() {
    Engine::run(|engine| {
        engine.load_busybox();
        let name = |number: usize| format!("web{number}");
        for number in 0..3 {
            let port = format!("{}:80", 8080 + number);
            serve(engine, &name(number), &["-p", &port]);
        }
        answers(engine, V6, 8082);
        let before = helpers(engine);
        engine.sandbox().kill(before[0], "KILL");
        for port in 8080..8083 {
            answers(engine, V6, port);
        }
        assert_ne!(helpers(engine), before);
        for number in 0..3 {
            engine.d(&["rm", "-f", &name(number)]).ok();
        }
        eventually("the helper ends", SOON, || {
            helpers(engine).is_empty().then_some(())
        });
        // It is there again once it is needed.
        serve(engine, "web", &["-p", "8080:80"]);
        answers(engine, V6, 8080);
        engine.kill_daemon();
        let last = helpers(engine);
        engine.sandbox().kill(last[0], "KILL");
        // The port at IPv6 was the helper's alone; that at IPv4 needs nobody.
        eventually("the helper's sockets are gone", SOON, || {
            connect(engine, V6, 8080).is_err().then_some(())
        });
        refuses(engine, V6, 8080);
        answers(engine, V4, 8080);
        engine.start_daemon();
        answers(engine, V6, 8080);
    });
}

#[test]
fn datagrams_find_the_container_and_back() {
    Engine::run(|engine| {
        engine.load_busybox();
        let publish = ["run", "-d", "--name", "dns", "-p", "5353:53/udp"];
        engine
            .d(&[&publish[..], &["busybox", "sleep", "1000"]].concat())
            .ok();
        let processes = engine.sandbox().processes();
        let inside = processes
            .iter()
            .find(|one| one.command == "sleep 1000")
            .unwrap();
        let net = std::fs::File::open(inside.folder.join("ns/net")).unwrap();
        let server = std::thread::spawn(move || {
            enter_network(&net);
            UdpSocket::bind("0.0.0.0:53").unwrap()
        });
        let server = server.join().unwrap();
        server.set_read_timeout(Some(SOON)).unwrap();
        let client = engine
            .sandbox()
            .within_network(|| UdpSocket::bind("[::]:0").unwrap());
        client.set_read_timeout(Some(SOON)).unwrap();
        client.connect((V6, 5353)).unwrap();
        let mut buffer = [0; 16];
        for question in [b"one", b"two"] {
            client.send(question).unwrap();
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], question);
            server.send_to(b"answer", from).unwrap();
            // From the address that was asked, or it would not be heard.
            assert_eq!(client.recv(&mut buffer).unwrap(), 6);
            engine.kill_daemon();
            engine.start_daemon();
        }
        drop(server);
        engine.d(&["rm", "-f", "dns"]).ok();
        engine
            .sandbox()
            .within_network(|| UdpSocket::bind("[::]:5353").map(drop))
            .unwrap();
    });
}

#[test]
fn ports_follow_a_container_from_network_to_network() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "mine"]).ok();
        serve(engine, "web", &["-p", "8080:80"]);
        answers(engine, V6, 8080);
        engine.d(&["network", "disconnect", "bridge", "web"]).ok();
        let mut nowhere = connect(engine, V6, 8080).unwrap();
        assert!(!echoes(&mut nowhere), "nobody gets through");
        engine.d(&["network", "connect", "mine", "web"]).ok();
        answers(engine, V6, 8080);
        engine.d(&["network", "disconnect", "mine", "web"]).ok();
        // An end closes what leads nowhere.
        engine.d(&["rm", "-f", "web"]).ok();
        refuses(engine, V6, 8080);
    });
}

/// Its ports are nobody's until it is connected to a network that leads out; from then on they are its own, whatever happens
/// to the daemon.
#[test]
fn ports_of_a_container_on_an_internal_network_wait_for_one_that_leads_out() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "--internal", "back"]).ok();
        engine.d(&["network", "create", "front"]).ok();
        serve(engine, "web", &["--network", "back", "-p", "8080:80"]);
        refuses(engine, V4, 8080);
        serve(engine, "other", &["-p", "8080:80"]);
        let taken = engine.d(&["network", "connect", "front", "web"]);
        let sentence = "Bind for 0.0.0.0:8080 failed: port is already allocated";
        let taken = taken.fails_with(1);
        assert!(taken.stderr.contains(sentence), "{}", taken.stderr);
        let links = engine.d(&["exec", "web", "ls", "/sys/class/net"]).ok();
        assert_eq!(links.text(), "eth0\nlo", "nothing of it is left");
        answers(engine, V4, 8080);
        engine.d(&["rm", "-f", "other"]).ok();
        engine.d(&["network", "connect", "front", "web"]).ok();
        let both = r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#;
        assert_eq!(inspect(engine, "web"), both);
        answers(engine, V4, 8080);
        answers(engine, V6, 8080);
        engine.kill_daemon();
        let bound = engine
            .sandbox()
            .within_network(|| std::net::TcpListener::bind("0.0.0.0:8080").map(drop));
        assert!(bound.is_err(), "the shim keeps the port from others");
        engine.start_daemon();
        answers(engine, V4, 8080);
        answers(engine, V6, 8080);
        engine.d(&["network", "disconnect", "front", "web"]).ok();
        refuses(engine, V4, 8080);
        engine.d(&["network", "connect", "front", "web"]).ok();
        answers(engine, V4, 8080);
        engine.d(&["rm", "-f", "web"]).ok();
        serve(engine, "next", &["-p", "8080:80"]);
        answers(engine, V4, 8080);
    });
}

#[test]
fn a_host_without_ipv6_has_ports_of_ipv4_alone() {
    Engine::run(|engine| {
        engine.load_busybox();
        let mut off = engine.sandbox().network_command("sh");
        off.args(["-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"]);
        run(off, b"").ok();
        serve(engine, "web", &["-p", "8080:80"]);
        assert_eq!(
            inspect(engine, "web"),
            r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}"#
        );
        answers(engine, V4, 8080);
        assert_eq!(helpers(engine), [0; 0]);
        let mut on = engine.sandbox().network_command("sh");
        on.args(["-c", "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6"]);
        run(on, b"").ok();
    });
}

/// As with Docker: without the process that reads them there are no ports at IPv6 addresses, and a port that is asked for
/// there alone is told in the log.
#[test]
fn without_the_proxy_ports_are_of_ipv4_alone() {
    let options = testkit::Options {
        flags: vec!["--userland-proxy=false".to_owned()],
        ..Default::default()
    };
    Engine::run_with(options, |engine| {
        engine.load_busybox();
        serve(engine, "web", &["-p", "8080:80", "-p", "[::1]:8081:80"]);
        answers(engine, V4, 8080);
        for port in [8080, 8081] {
            refuses(engine, V6, port);
        }
        assert_eq!(
            inspect(engine, "web"),
            r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}"#
        );
        assert!(
            engine
                .log()
                .contains("because the userland proxy is disabled")
        );
        assert_eq!(helpers(engine), [0; 0]);
        engine.d(&["rm", "-f", "web"]).ok();
    });
}

/// A helper that is stopped serves nobody: it goes, and starts and ends wait for it no longer than it takes to see that.
#[test]
fn a_stopped_helper_holds_up_neither_starts_nor_ends() {
    Engine::run(|engine| {
        engine.load_busybox();
        for restarted in [false, true] {
            serve(engine, "first", &["-p", "8080:80"]);
            answers(engine, V6, 8080);
            if restarted {
                // Its maker is another daemon.
                engine.kill_daemon();
                engine.start_daemon();
            }
            let stop = |engine: &Engine| {
                let before = helpers(engine);
                assert_eq!(before.len(), 1);
                engine.sandbox().kill(before[0], "STOP");
                before[0]
            };
            let quickly = |what: &str, work: &dyn Fn()| {
                let begun = std::time::Instant::now();
                work();
                let took = begun.elapsed();
                assert!(took < Duration::from_secs(8), "{what} took {took:?}");
            };
            let stopped = stop(engine);
            quickly("a start", &|| serve(engine, "second", &["-p", "8081:80"]));
            assert!(!helpers(engine).contains(&stopped));
            answers(engine, V6, 8081);
            answers(engine, V6, 8080);
            stop(engine);
            quickly("an end", &|| {
                engine.d(&["rm", "-f", "first"]).ok();
            });
            refuses(engine, V6, 8080);
            answers(engine, V6, 8081);
            engine.d(&["rm", "-f", "second"]).ok();
        }
    });
}

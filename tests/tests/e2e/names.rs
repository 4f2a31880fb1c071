//! Names on user networks: answered beside a daemon that lives, dies, or has lost its helper.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use testkit::{Engine, eventually, run};

const SOON: Duration = Duration::from_secs(20);

/// A container that stays.
fn stay(engine: &Engine, name: &str, flags: &[&str]) {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(flags);
    args.extend(["busybox", "sleep", "1000"]);
    engine.d(&args).ok();
}

/// The addresses that a program in a container gets for a name.
fn look_up(engine: &Engine, container: &str, name: &str) -> Vec<String> {
    let done = engine.d(&["exec", container, "nslookup", "-type=a", name]);
    answers(&done.stdout)
}

/// What nslookup(1) tells, but for the server's own address.
fn answers(told: &str) -> Vec<String> {
    let mut all: Vec<String> = told
        .lines()
        .skip_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("Address:"))
        .map(|address| address.trim().to_owned())
        .collect();
    all.sort();
    all
}

/// The same without a daemon: a program is put into the container's namespaces.
fn look_up_without_a_daemon(engine: &Engine, words: &str, name: &str) -> Vec<String> {
    let processes = engine.sandbox().processes();
    let process = processes
        .iter()
        .find(|process| process.command.ends_with(words));
    let pid = process.expect("it runs").pid.to_string();
    let mut command = engine.sandbox().command("nsenter");
    command.args([
        "-t",
        &pid,
        "-n",
        "-m",
        "/bin/busybox",
        "nslookup",
        "-type=a",
        name,
    ]);
    answers(&run(command, b"").stdout)
}

fn address(engine: &Engine, name: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    let done = engine.d(&["inspect", "-f", &format, name]).ok();
    done.text().to_owned()
}

#[test]
fn containers_are_found_by_names_aliases_ids_and_links() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "mine"]).ok();
        engine.d(&["network", "create", "other"]).ok();
        stay(
            engine,
            "db",
            &["--network", "mine", "--network-alias", "data"],
        );
        stay(engine, "db2", &["--network", "name=mine,alias=data"]);
        stay(
            engine,
            "web",
            &["--network", "mine", "--link", "db:database"],
        );
        stay(engine, "away", &["--network", "other"]);
        let (db, db2) = (
            address(engine, "db", "mine"),
            address(engine, "db2", "mine"),
        );
        let id = engine.d(&["inspect", "-f", "{{.Id}}", "db"]).ok();
        let short = &id.text()[..12];
        for name in ["db", "DB.", "db.mine", short, "database"] {
            assert_eq!(
                look_up(engine, "web", name),
                std::slice::from_ref(&db),
                "{name}"
            );
        }
        let mut both = vec![db.clone(), db2];
        both.sort();
        assert_eq!(look_up(engine, "web", "data"), both);
        assert_eq!(look_up(engine, "away", "db.mine"), [""; 0]);
        // A link is of the one that has it.
        assert_eq!(look_up(engine, "db2", "database"), [""; 0]);
        let back = engine.d(&["exec", "web", "nslookup", &db]);
        assert!(back.stdout.contains("name = db.mine"), "{}", back.stdout);
        let file = engine.d(&["exec", "web", "cat", "/etc/resolv.conf"]).ok();
        assert!(
            file.stdout.contains("nameserver 127.0.0.11\n"),
            "{}",
            file.stdout
        );
        assert!(file.stdout.contains("ndots:0"), "{}", file.stdout);

        engine
            .w(&["network", "connect", "--alias", "near", "mine", "away"])
            .ok();
        let near = address(engine, "away", "mine");
        assert_eq!(look_up(engine, "web", "near"), [near]);
        assert_eq!(look_up(engine, "away", "data"), both);
        engine.w(&["network", "disconnect", "mine", "away"]).ok();
        assert_eq!(look_up(engine, "web", "near"), [""; 0]);
        engine.d(&["rename", "db", "store"]).ok();
        assert_eq!(look_up(engine, "web", "store"), [db]);
        assert_eq!(look_up(engine, "web", "db"), [""; 0]);
        engine.d(&["rm", "-f", "db2"]).ok();
        assert_eq!(look_up(engine, "web", "data").len(), 1);
    });
}

#[test]
fn a_container_of_the_default_bridge_asks_once_it_joins_a_network() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "mine"]).ok();
        stay(engine, "db", &["--network", "mine"]);
        stay(engine, "home", &[]);
        engine.d(&["network", "connect", "mine", "home"]).ok();
        assert_eq!(
            look_up(engine, "home", "db"),
            [address(engine, "db", "mine")]
        );
        // Its own server on the usual port is its own business.
        let server = ["exec", "-d", "home", "nc", "-ll", "-p", "53", "-e", "true"];
        engine.d(&server).ok();
        assert_eq!(
            look_up(engine, "home", "db"),
            [address(engine, "db", "mine")]
        );
    });
}

#[test]
fn what_nobody_here_knows_is_asked_of_others() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "mine"]).ok();
        engine
            .d(&["network", "create", "--internal", "closed"])
            .ok();
        // A server on the host that has one answer for everything, and ends with the first question for "end".
        let socket = engine
            .sandbox()
            .within_network(|| UdpSocket::bind((Ipv4Addr::new(172, 17, 0, 1), 53)).unwrap());
        let server = std::thread::spawn(move || {
            let mut packet = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut packet).unwrap();
                let mut answer = packet[..length].to_vec();
                answer[2..4].copy_from_slice(&[0x81, 0x80]);
                answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 33]);
                socket.send_to(&answer, from).unwrap();
                if packet[..length].windows(4).any(|part| part == b"\x03end") {
                    return;
                }
            }
        });
        let dns = ["--dns", "172.17.0.1"];
        stay(engine, "web", &[&["--network", "mine"][..], &dns].concat());
        stay(
            engine,
            "shut",
            &[&["--network", "closed"][..], &dns].concat(),
        );
        assert_eq!(look_up(engine, "web", "example.org"), ["192.0.2.33"]);
        assert_eq!(
            look_up(engine, "web", "web"),
            [address(engine, "web", "mine")]
        );
        let shut = engine.d(&["exec", "shut", "nslookup", "-type=a", "example.org"]);
        assert!(shut.stdout.contains("SERVFAIL") || shut.stderr.contains("SERVFAIL"));
        assert_eq!(look_up(engine, "web", "end"), ["192.0.2.33"]);
        server.join().unwrap();
    });
}

#[test]
fn names_are_answered_while_no_daemon_lives_and_by_the_next_one() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "mine"]).ok();
        stay(engine, "db", &["--network", "mine"]);
        let args = [
            "run",
            "-d",
            "--name",
            "web",
            "--network",
            "mine",
            "busybox",
            "sleep",
            "2345",
        ];
        engine.d(&args).ok();
        let db = address(engine, "db", "mine");
        engine.kill_daemon();
        assert_eq!(
            look_up_without_a_daemon(engine, "sleep 2345", "db"),
            std::slice::from_ref(&db)
        );
        engine.start_daemon();
        assert_eq!(look_up(engine, "web", "db"), std::slice::from_ref(&db));
        stay(engine, "late", &["--network", "mine"]);
        assert_eq!(
            look_up(engine, "web", "late"),
            [address(engine, "late", "mine")]
        );
        engine.d(&["rm", "-f", "late"]).ok();
        assert_eq!(look_up(engine, "web", "late"), [""; 0]);

        // The helper dies, and is made again by the daemon, or by the next one.
        let helper = || {
            let all = engine.sandbox().processes();
            let found = all
                .iter()
                .find(|process| process.command.ends_with("wharf net"));
            found.map(|process| process.pid)
        };
        let first = helper().expect("it lives");
        engine.sandbox().kill(first, "KILL");
        eventually("another one answers", SOON, || {
            (look_up(engine, "web", "db") == std::slice::from_ref(&db)).then_some(())
        });
        let second = helper().expect("another one lives");
        assert_ne!(first, second);
        engine.kill_daemon();
        engine.sandbox().kill(second, "KILL");
        eventually("it ends", SOON, || helper().is_none().then_some(()));
        engine.start_daemon();
        assert_eq!(look_up(engine, "web", "db"), [db]);
        engine.d(&["rm", "-f", "web", "db"]).ok();
        engine.d(&["network", "rm", "mine"]).ok();
        eventually("it ends with the last network", SOON, || {
            helper().is_none().then_some(())
        });
    });
}

/// Debian's docker-compose, the last one in Python.
pub(super) fn compose(engine: &Engine, args: &[&str]) -> testkit::Finished {
    let file = engine.folder().join("docker-compose.yml");
    let mut command = engine.sandbox().network_command("docker-compose");
    command
        .args(["--ansi", "never", "-p", "proj", "-f"])
        .arg(file)
        .args(args)
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.socket().display()),
        )
        // With newer versions it does not get over what Docker left out of an image in 1.45.
        .env("COMPOSE_API_VERSION", "1.44");
    run(command, b"")
}

#[test]
fn compose_brings_up_services_that_find_each_other() {
    Engine::run(|engine| {
        engine.load_busybox();
        let file = "\
version: '3.8'
services:
  web:
    image: busybox
    command: nc -ll -p 80 -e hostname
    hostname: web
    depends_on: [db]
    links: ['db:linked']
    ports: ['8080:80']
    networks: [default, back]
  db:
    image: busybox
    command: nc -ll -p 80 -e hostname
    hostname: store
    networks:
      back:
        aliases: [database]
networks:
  back:
    internal: true
";
        std::fs::write(engine.folder().join("docker-compose.yml"), file).unwrap();
        compose(engine, &["up", "-d"]).ok();
        for name in ["db", "database", "linked", "proj_db_1"] {
            eventually(&format!("{name} answers"), SOON, || {
                let args = ["exec", "-T", "web", "nslookup", "-type=a", name];
                (answers(&compose(engine, &args).stdout).len() == 1).then_some(())
            });
        }
        let mut ask = engine.sandbox().network_command("/bin/busybox");
        ask.args(["nc", "-w", "2", "127.0.0.1", "8080"]);
        assert_eq!(run(ask, b"").stdout.trim(), "web");
        let shown = compose(engine, &["ps"]).ok();
        assert!(shown.stdout.contains("8080->80/tcp"), "{}", shown.stdout);
        // Again, as after a change of the file.
        compose(engine, &["up", "-d", "--force-recreate"]).ok();
        compose(engine, &["down"]).ok();
        let left = engine
            .d(&["network", "ls", "-q", "--filter", "type=custom"])
            .ok();
        assert_eq!(left.text(), "");
    });
}

//! Log drivers and their options: what a line carries, and logs that lie in several files.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Engine, Options, eventually, run};

const SOON: Duration = Duration::from_secs(30);

/// Flags that have every line carry something.
const CARRY: [&str; 22] = [
    "--label",
    "app=shop",
    "--label",
    "org.team=a b",
    "--label",
    "other=x",
    "-e",
    "STAGE=test/1",
    "-e",
    "KEPT=back",
    "--log-opt",
    "labels=app,missing",
    "--log-opt",
    "labels-regex=^org[.]",
    "--log-opt",
    "env=STAGE",
    "--log-opt",
    "env-regex=^NO",
    "--log-opt",
    "tag={{.Name}}/{{.ImageName}}/{{.Command}}",
    "--name",
    "carries",
];

#[test]
fn lines_carry_labels_variables_and_the_tag() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let mut args = vec!["run"];
            args.extend(CARRY);
            args.extend(["busybox", "echo", "hello"]);
            client(engine, &args).ok();
            let details = "STAGE=test%2F1,app=shop,org.team=a+b,tag=carries%2Fbusybox%2Fecho+hello";
            let logs = client(engine, &["logs", "--details", "carries"]).ok();
            assert_eq!(logs.stdout, format!("{details} hello\n"));
            let timed = client(engine, &["logs", "--details", "-t", "carries"]).ok();
            assert!(timed.stdout.ends_with(&format!("Z {details} hello\n")));
            assert_eq!(client(engine, &["logs", "carries"]).ok().stdout, "hello\n");
            let path = client(engine, &["inspect", "-f", "{{.LogPath}}", "carries"]).ok();
            let line = fs::read_to_string(path.text()).unwrap();
            let attrs = "\"attrs\":{\"STAGE\":\"test/1\",\"app\":\"shop\",\"org.team\":\"a b\",\"tag\":\"carries/busybox/echo hello\"}";
            assert!(
                line.starts_with(&format!(
                    "{{\"log\":\"hello\\n\",\"stream\":\"stdout\",{attrs},\"time\":\""
                )),
                "{line}"
            );
            client(engine, &["rm", "carries"]).ok();
            // Without any of it there is a blank alone.
            client(engine, &["run", "--name", "plain", "busybox", "echo", "x"]).ok();
            let logs = client(engine, &["logs", "--details", "plain"]).ok();
            assert_eq!(logs.stdout, " x\n");
            client(engine, &["rm", "plain"]).ok();
        }
    });
}

#[test]
fn options_that_make_no_sense_are_refused_and_leave_nothing_that_runs() {
    Engine::run(|engine| {
        engine.load_busybox();
        for (options, words) in [
            (
                &["nonsense=1"][..],
                "unknown log opt 'nonsense' for json-file log driver",
            ),
            (
                &["tag={{.Nope}}"],
                "can't evaluate field Nope in type *logger.Info",
            ),
            (&["labels-regex=("], "error parsing regexp"),
            (&["labels=a", "env-regex=["], "error parsing regexp"),
            (
                &["compress=perhaps"],
                "strconv.ParseBool: parsing \"perhaps\": invalid syntax",
            ),
            (
                &["max-buffer-size=1m"],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                &["mode=non-blocking", "max-buffer-size=x"],
                "error parsing option max-buffer-size: invalid size: 'x'",
            ),
        ] {
            for client in [Engine::d, Engine::w] {
                let mut args = vec!["run", "--label", "a=b", "--rm"];
                options
                    .iter()
                    .for_each(|option| args.extend(["--log-opt", option]));
                args.extend(["busybox", "true"]);
                let refused = client(engine, &args).fails_with(125);
                assert!(refused.stderr.contains(words), "{}", refused.stderr);
            }
        }
        let buffered = [
            "--log-opt",
            "mode=non-blocking",
            "--log-opt",
            "max-buffer-size=4m",
        ];
        let run = [&["run", "--name", "buffered"][..], &buffered].concat();
        engine
            .d(&[&run[..], &["busybox", "seq", "3"]].concat())
            .ok();
        assert_eq!(engine.d(&["logs", "buffered"]).ok().stdout, "1\n2\n3\n");
        engine.d(&["rm", "buffered"]).ok();
    });
}

#[test]
fn the_daemon_s_driver_and_options_are_those_of_its_containers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("daemon.json");
    let settings = r#"{"log-driver": "local", "log-opts": {"max-size": "1m", "max-file": "4"}}"#;
    fs::write(&file, settings).unwrap();
    let options = Options {
        flags: vec![format!("--config-file={}", file.display())],
        ..Options::default()
    };
    Engine::run_with(options, |engine| {
        engine.load_busybox();
        let shown = |flags: &[&str]| {
            let mut args = vec!["create", "--name", "made"];
            args.extend(flags);
            args.extend(["busybox", "true"]);
            engine.d(&args).ok();
            let log = ["inspect", "-f", "{{json .HostConfig.LogConfig}}", "made"];
            let log = engine.d(&log).ok().text().to_owned();
            engine.d(&["rm", "made"]).ok();
            log
        };
        assert_eq!(
            shown(&["--log-opt", "max-file=7"]),
            r#"{"Type":"local","Config":{"max-file":"7","max-size":"1m"}}"#
        );
        assert_eq!(
            shown(&["--log-driver", "json-file"]),
            r#"{"Type":"json-file","Config":{}}"#
        );
        for client in [Engine::d, Engine::w] {
            let info = client(engine, &["info"]).ok();
            assert!(
                info.stdout.contains("\n Logging Driver: local\n"),
                "{}",
                info.stdout
            );
        }
        let mut daemon = engine.sandbox().command(Engine::program());
        daemon
            .args(["daemon", "--log-opt", "nonsense=1", "--config-file"])
            .arg("/dev/null")
            .arg(format!("--data-root={}/d", folder.path().display()))
            .arg(format!("--exec-root={}/e", folder.path().display()))
            .arg(format!("--pidfile={}/pid", folder.path().display()));
        if engine.kind() == testkit::Kind::Wharf {
            let refused = run(daemon, b"").fails_with(1);
            let words =
                "failed to set log opts: unknown log opt 'nonsense' for json-file log driver";
            assert!(refused.stderr.contains(words), "{}", refused.stderr);
        }
    });
}

/// Numbers of lines that a command of the client shows.
fn numbers(text: &str) -> Vec<u32> {
    text.lines()
        .map(|line| line.split_whitespace().last().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn a_local_log_is_read_and_followed_from_file_to_file() {
    Engine::run(|engine| {
        engine.load_busybox();
        let bind = format!("{}:/out", engine.folder().display());
        let script = "seq 1 1500 | sed 's/^/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx /'
            until [ -e /out/go ]; do sleep 0.05; done
            seq 1501 3000 | sed 's/^/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx /'";
        let mut args = vec![
            "run",
            "-d",
            "--name",
            "long",
            "-v",
            &bind,
            "--log-driver",
            "local",
        ];
        args.extend(["--log-opt", "max-size=64k", "--log-opt", "max-file=12"]);
        args.extend(["busybox", "sh", "-c", script]);
        engine.d(&args).ok();
        for client in [Engine::d, Engine::w] {
            eventually("the first half is there", SOON, || {
                let seen = client(engine, &["logs", "--tail", "1", "long"]).ok();
                seen.stdout.ends_with(" 1500\n").then_some(())
            });
            let all = client(engine, &["logs", "long"]).ok();
            assert_eq!(numbers(&all.stdout), (1..=1500).collect::<Vec<_>>());
            let tail = client(engine, &["logs", "--tail", "1200", "long"]).ok();
            assert_eq!(numbers(&tail.stdout), (301..=1500).collect::<Vec<_>>());
            let timed = client(engine, &["logs", "-t", "long"]).ok().stdout;
            let since = timed.lines().nth(400).unwrap().split(' ').next().unwrap();
            let expected: Vec<u32> = timed
                .lines()
                .filter(|line| line.split(' ').next().unwrap() >= since)
                .flat_map(numbers)
                .collect();
            assert!(expected.len() >= 1100);
            let later = client(engine, &["logs", "--since", since, "long"]).ok();
            assert_eq!(numbers(&later.stdout), expected);
        }
        let follow = |mut command: std::process::Command| {
            command.stdout(Stdio::piped()).stdin(Stdio::null());
            command.spawn().unwrap()
        };
        let whole = follow(engine.docker(&["logs", "-f", "long"]));
        let end = follow(engine.wharf(&["logs", "-f", "--tail", "700", "long"]));
        fs::write(engine.folder().join("go"), "").unwrap();
        for (follower, first) in [(whole, 1), (end, 801)] {
            let output = follower.wait_with_output().unwrap();
            assert!(output.status.success());
            let seen = numbers(&String::from_utf8(output.stdout).unwrap());
            // Those that begin late see more of the second half as tail.
            if first == 1 {
                assert_eq!(seen, (1..=3000).collect::<Vec<_>>());
            } else {
                assert!(seen[0] >= first && seen.len() >= 700);
                assert_eq!(seen, (seen[0]..=3000).collect::<Vec<_>>());
            }
        }
        engine.d(&["rm", "long"]).ok();
    });
}

/// What a server that takes datagrams got next.
fn next(server: &impl Receiver) -> String {
    let mut buffer = [0; 4096];
    let length = server.take(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

trait Receiver {
    fn take(&self, buffer: &mut [u8]) -> std::io::Result<usize>;
}

impl Receiver for UnixDatagram {
    fn take(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.set_read_timeout(Some(SOON))?;
        self.recv(buffer)
    }
}

impl Receiver for UdpSocket {
    fn take(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.set_read_timeout(Some(SOON))?;
        self.recv(buffer)
    }
}

/// A message without its time and the number of the process that sends it.
fn masked(message: &str, marks: [char; 2]) -> String {
    let (before, rest) = message.split_once(marks[0]).unwrap();
    let (_, behind) = rest.split_once(marks[1]).unwrap();
    format!("{before}{}N{}{behind}", marks[0], marks[1])
}

#[test]
fn a_syslog_gets_every_line_and_logs_shows_them() {
    Engine::run(|engine| {
        engine.load_busybox();
        let path = engine.folder().join("log");
        let local = UnixDatagram::bind(&path).unwrap();
        let bind = || UdpSocket::bind("127.0.0.1:1514").unwrap();
        let udp = engine.sandbox().within_network(bind);
        let listen = || TcpListener::bind("127.0.0.1:1515").unwrap();
        let tcp = engine.sandbox().within_network(listen);
        let run = |options: &[&str]| {
            let mut args = vec!["run", "--name", "box", "--log-driver", "syslog"];
            options
                .iter()
                .for_each(|option| args.extend(["--log-opt", option]));
            args.extend(["busybox", "sh", "-c", "echo hello; sleep 0.2; echo bad >&2"]);
            engine.d(&args).ok();
            for client in [Engine::d, Engine::w] {
                let logs = client(engine, &["logs", "box"]).ok();
                assert_eq!((&*logs.stdout, &*logs.stderr), ("hello\n", "bad\n"));
            }
            engine.d(&["rm", "box"]).ok();
        };
        let address = format!("syslog-address=unixgram://{}", path.display());
        run(&[&address, "tag=a/{{.Name}}", "syslog-facility=local0"]);
        for (priority, text) in [(134, "hello"), (131, "bad")] {
            let message = next(&local);
            assert!(message.starts_with(&format!("<{priority}>")), "{message}");
            let words = format!(" a/box[N]: {text}\n");
            assert!(masked(&message, ['[', ']']).ends_with(&words), "{message}");
        }
        run(&[
            "syslog-address=udp://127.0.0.1:1514",
            "syslog-format=rfc3164",
            "tag=box",
        ]);
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let host = host.trim();
        for (priority, text) in [(30, "hello"), (27, "bad")] {
            let message = next(&udp);
            assert!(message.starts_with(&format!("<{priority}>")), "{message}");
            let words = format!(" {host} box[N]: {text}\n");
            assert!(masked(&message, ['[', ']']).ends_with(&words), "{message}");
        }
        let server = std::thread::spawn(move || {
            let (mut stream, _) = tcp.accept().unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            all
        });
        run(&[
            "syslog-address=tcp://127.0.0.1:1515",
            "syslog-format=rfc5424",
            "tag=box",
        ]);
        let all = server.join().unwrap();
        let lines: Vec<&str> = all.lines().collect();
        for (line, (priority, text)) in lines.iter().zip([(30, "hello"), (27, "bad")]) {
            let words: Vec<&str> = line.split(' ').collect();
            let [first, time, from, tag, _process, id, "-", said] = words[..] else {
                panic!("{line}");
            };
            assert_eq!(first, format!("<{priority}>1"));
            assert!(time.len() >= 20 && time.contains('T'), "{time}");
            assert_eq!([from, tag, id, said], [host, "box", "box", text]);
        }
        assert_eq!(lines.len(), 2, "{all}");
    });
}

#[test]
fn a_syslog_that_is_not_there_is_told_and_one_that_comes_back_is_found() {
    Engine::run(|engine| {
        engine.load_busybox();
        for (option, status, words) in [
            // The client takes these words for a missing program's.
            (
                "syslog-address=unixgram:///no/such",
                127,
                "stat /no/such: no such file or directory",
            ),
            ("syslog-address=http://x", 125, "unsupported scheme: 'http'"),
            (
                "syslog-address=tcp://127.0.0.1:1",
                125,
                "dial tcp 127.0.0.1:1: connect: connection refused",
            ),
            ("syslog-facility=loud", 125, "invalid syslog facility"),
            ("syslog-format=x", 125, "Invalid syslog format"),
            (
                "max-size=1m",
                125,
                "unknown log opt 'max-size' for syslog log driver",
            ),
        ] {
            let args = ["run", "--rm", "--log-driver", "syslog", "--log-opt", option];
            let args = [&args[..], &["busybox", "true"]].concat();
            for client in [Engine::d, Engine::w] {
                let refused = client(engine, &args).fails_with(status);
                assert!(refused.stderr.contains(words), "{}", refused.stderr);
            }
        }
        assert_eq!(engine.d(&["ps", "-aq"]).ok().text(), "");
        let path = engine.folder().join("log");
        let address = format!("syslog-address=unixgram://{}", path.display());
        let first = UnixDatagram::bind(&path).unwrap();
        let bind = format!("{}:/out", engine.folder().display());
        let mut args = vec!["run", "-d", "--name", "box", "-v", &bind];
        args.extend(["--log-driver", "syslog", "--log-opt", &address]);
        let script = "echo one; until [ -e /out/go ]; do sleep 0.05; done; echo two; sleep 1000";
        args.extend(["busybox", "sh", "-c", script]);
        engine.d(&args).ok();
        assert!(next(&first).ends_with("]: one\n"));
        engine.kill_daemon();
        drop(first);
        fs::remove_file(&path).unwrap();
        engine.start_daemon();
        // What is kept here can be read, whoever else is there.
        assert_eq!(engine.d(&["logs", "box"]).ok().stdout, "one\n");
        engine.kill_daemon();
        let second = UnixDatagram::bind(&path).unwrap();
        fs::write(engine.folder().join("go"), "").unwrap();
        assert!(next(&second).ends_with("]: two\n"));
        engine.start_daemon();
        assert_eq!(engine.d(&["logs", "box"]).ok().stdout, "one\ntwo\n");
        engine.d(&["rm", "-f", "box"]).ok();
    });
}

/// Nobody's output disappears in silence: the daemon's log says how much did.
#[test]
fn lines_that_a_syslog_does_not_take_are_told() {
    Engine::run(|engine| {
        engine.load_busybox();
        let path = engine.folder().join("log");
        let address = format!("syslog-address=unixgram://{}", path.display());
        let _reads_nothing = UnixDatagram::bind(&path).unwrap();
        let run = ["run", "--name", "box", "--log-driver", "syslog"];
        let mode = ["--log-opt", &address, "--log-opt", "mode=non-blocking"];
        let run = [&run[..], &mode, &["busybox", "seq", "100000"]].concat();
        assert!(engine.d(&run).ok().stdout.ends_with("100000\n"));
        eventually("the loss is told", Duration::from_secs(20), || {
            let log = engine.log();
            log.contains("lines of a container's output were lost")
                .then_some(())
        });
        // What is kept here is whole.
        assert!(
            engine
                .d(&["logs", "box"])
                .ok()
                .stdout
                .ends_with("\n100000\n")
        );
        engine.d(&["rm", "-f", "box"]).ok();
    });
}

#[test]
fn the_journal_gets_fields_of_the_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        let run = [
            "run",
            "--name",
            "box",
            "--label",
            "a.b=c",
            "--log-driver",
            "journald",
        ];
        let options = ["--log-opt", "labels=a.b", "--log-opt", "tag=t/{{.Name}}"];
        let command = [
            "busybox",
            "sh",
            "-c",
            "echo 'hel lo'; sleep 0.2; echo bad >&2",
        ];
        let args = [&run[..], &options, &command].concat();
        let refused = engine.d(&args).fails_with(125);
        assert!(
            refused
                .stderr
                .contains("journald is not enabled on this host")
        );
        engine.d(&["rm", "box"]).ok();
        let mut mount = engine.sandbox().command("sh");
        mount.args([
            "-c",
            "mount -t tmpfs none /run && mkdir -p /run/systemd/journal",
        ]);
        testkit::run(mount, b"").ok();
        let folder = engine.sandbox().root().join("run/systemd/journal");
        let server = UnixDatagram::bind(folder.join("socket")).unwrap();
        engine.d(&args).ok();
        let id = engine.d(&["inspect", "-f", "{{.Id}}", "box"]).ok();
        let id = id.text();
        for (priority, text) in [(6, "hel lo"), (3, "bad")] {
            let message = next(&server);
            for field in [
                "A_B=c",
                &format!("CONTAINER_ID={}", &id[..12]),
                &format!("CONTAINER_ID_FULL={id}"),
                "CONTAINER_NAME=box",
                "CONTAINER_TAG=t/box",
                "IMAGE_NAME=busybox",
                "SYSLOG_IDENTIFIER=t/box",
                &format!("PRIORITY={priority}"),
            ] {
                let has = message.lines().any(|line| line == field);
                assert!(has, "{field} in {message:?}");
            }
            let length = char::from(u8::try_from(text.len()).unwrap());
            let said = format!("\nMESSAGE\n{length}\0\0\0\0\0\0\0{text}\n");
            assert!(message.ends_with(&said), "{message:?}");
        }
        let logs = engine.d(&["logs", "box"]).ok();
        assert_eq!((&*logs.stdout, &*logs.stderr), ("hel lo\n", "bad\n"));
        engine.d(&["rm", "box"]).ok();
        drop(server);
        let mut unmount = engine.sandbox().command("umount");
        unmount.arg("/run");
        testkit::run(unmount, b"").ok();
    });
}

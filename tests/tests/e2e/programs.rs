//! Real programs: a Debian as debootstrap makes it, its package manager, its shell, its web server.

use std::time::Duration;

use testkit::{Engine, Terminal, eventually, run};

#[test]
fn a_debian_runs_its_own_programs() {
    Engine::run(|engine| {
        engine.load(&testkit::image::debian());
        for client in [Engine::d, Engine::w] {
            let done = client(engine, &["run", "--rm", "debian", "apt-get", "--version"]).ok();
            assert!(done.stdout.starts_with("apt 2."), "{}", done.stdout);
            let release = client(engine, &["run", "--rm", "debian", "cat", "/etc/os-release"]).ok();
            assert!(release.stdout.contains("ID=debian"), "{}", release.stdout);
        }
        // Package data bases are written, by programs that drop privileges and use many calls.
        let done = engine
            .w(&[
                "run",
                "--rm",
                "debian",
                "sh",
                "-ec",
                "dpkg --audit; useradd -m someone; su someone -c 'id -un'; \
                 dpkg -r --force-depends nginx-light >/dev/null; ! dpkg -s nginx-light 2>/dev/null; dpkg -s nginx | grep ^Status",
            ])
            .ok();
        assert_eq!(done.stdout, "someone\nStatus: install ok installed\n");
    });
}

/// Numbers of add_key(2) and keyctl(2).
const KEY_CALLS: (u32, u32) = if cfg!(target_arch = "x86_64") {
    (248, 250)
} else {
    (217, 219)
};

#[test]
fn keys_are_the_containers_own() {
    Engine::run(|engine| {
        engine.load(&testkit::image::debian());
        let (add_key, keyctl) = KEY_CALLS;
        let add = format!(
            "($t, $d, $v) = ('user', 'wharf-test', 'v'); $n = syscall({add_key}, $t, $d, $v, 1, -3); die $! if $n < 0; $| = 1; print \"$n\\n\"; sleep"
        );
        // The number of a key that the session's keyring leads to, or -1.
        let search = format!(
            "($t, $d) = ('user', 'wharf-test'); print syscall({keyctl}, 10, -3, $t, $d, 0)"
        );
        let open = ["--security-opt", "seccomp=unconfined"];
        for client in [Engine::d, Engine::w] {
            let begin = ["run", "-d", "--name", "keys"];
            let perl = ["debian", "perl", "-e"];
            client(engine, &[&begin[..], &open, &perl, &[&add]].concat()).ok();
            let serial = eventually("the key is there", Duration::from_secs(20), || {
                let told = client(engine, &["logs", "keys"]).ok();
                (!told.stdout.is_empty()).then(|| told.text().to_owned())
            });
            // Further processes have it, other containers and theirs have not.
            let found = client(engine, &["exec", "keys", "perl", "-e", &search]).ok();
            assert_eq!(found.stdout, serial);
            let other = client(
                engine,
                &[&["run", "--rm"], &open[..], &perl, &[&search]].concat(),
            );
            assert_eq!(other.ok().stdout, "-1");
            client(engine, &["rm", "-f", "keys"]).ok();
        }
    });
}

#[test]
fn a_shell_script_runs() {
    Engine::run(|engine| {
        engine.load(&testkit::image::debian());
        let script = engine.folder().join("script");
        std::fs::write(
            &script,
            "#!/bin/bash\nset -euo pipefail\ntotal=0\nfor n in \"$@\"; do total=$((total + n)); done\n\
             exec 3< <(seq 3)\nmapfile -t lines <&3\necho \"$total ${lines[*]}\" | tee /tmp/out >&2\n\
             trap 'echo bye; exit 4' EXIT\ncat /tmp/out\nfalse\n",
        )
        .unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let bind = format!("{}:/script:ro", script.display());
        for client in [Engine::d, Engine::w] {
            let done = client(
                engine,
                &["run", "--rm", "-v", &bind, "debian", "/script", "20", "22"],
            )
            .fails_with(4);
            assert_eq!(done.stdout, "42 1 2 3\nbye\n");
            assert_eq!(done.stderr, "42 1 2 3\n");
        }
    });
}

#[test]
fn a_bash_on_a_terminal() {
    Engine::run(|engine| {
        engine.load(&testkit::image::debian());
        for wharf in [false, true] {
            let args = ["run", "--rm", "-it", "-h", "box", "debian", "bash"];
            let command = if wharf {
                engine.wharf(&args)
            } else {
                engine.docker(&args)
            };
            let mut terminal = Terminal::start(command, 31, 97);
            terminal.expect("root@box:/# ");
            terminal.send("tput -T xterm cols; tty\n");
            terminal.expect("97\r\n/dev/pts/0");
            terminal.expect("root@box:/# ");
            // Job control: a job is stopped, listed, and brought back.
            terminal.send("cat -n\n");
            terminal.send("once\n");
            terminal.expect("1\tonce\r\n");
            terminal.send("\x1a");
            terminal.expect("Stopped");
            terminal.expect("cat -n\r\n");
            terminal.send("jobs; fg\n");
            // The list names the job, and `fg` names it again when it is in front.
            terminal.expect("cat -n\r\n");
            terminal.expect("cat -n\r\n");
            terminal.send("once more\n");
            terminal.expect("2\tonce more\r\n");
            terminal.send("\x03");
            terminal.expect("root@box:/# ");
            terminal.send("exit 9\n");
            let (status, _) = terminal.finish();
            assert_eq!(status, 9);
        }
    });
}

#[test]
fn a_web_server_is_reached_through_its_port() {
    Engine::run(|engine| {
        engine.load(&testkit::image::debian());
        let pages = engine.folder().join("www");
        std::fs::create_dir_all(&pages).unwrap();
        std::fs::write(pages.join("index.html"), "from the host\n").unwrap();
        std::fs::write(pages.join("large"), vec![b'x'; 3_000_000]).unwrap();
        let bind = format!("{}:/var/www/html:ro", pages.display());
        for client in [Engine::d, Engine::w] {
            client(
                engine,
                &[
                    "run",
                    "-d",
                    "--name",
                    "web",
                    "--restart",
                    "on-failure",
                    "-p",
                    "8080:80",
                    "-e",
                    "KEY=v",
                    "-v",
                    &bind,
                    "-m",
                    "256m",
                    "--cpus",
                    "1.5",
                    "--pids-limit",
                    "100",
                    "debian",
                    "nginx",
                    "-g",
                    "daemon off;",
                ],
            )
            .ok();
            let fetch = |path: &str| {
                let mut curl = engine.sandbox().network_command("curl");
                curl.args([
                    "-s",
                    "-S",
                    "-m",
                    "20",
                    &format!("http://127.0.0.1:8080/{path}"),
                ]);
                run(curl, b"")
            };
            let page = eventually("nginx answers", Duration::from_secs(20), || {
                let answer = fetch("");
                (answer.status == 0).then_some(answer)
            });
            assert_eq!(page.stdout, "from the host\n");
            assert_eq!(fetch("large").ok().stdout.len(), 3_000_000);
            assert!(fetch("missing").ok().stdout.contains("404 Not Found"));
            let workers = client(
                engine,
                &["exec", "web", "sh", "-c", "ls -d /proc/[0-9]* | wc -l"],
            );
            assert!(workers.ok().text().parse::<u32>().unwrap() >= 3);
            // The access log is written in the container, by a worker that is not root.
            let log = client(
                engine,
                &[
                    "exec",
                    "web",
                    "grep",
                    "-c",
                    "GET /large",
                    "/var/log/nginx/access.log",
                ],
            );
            assert_eq!(log.ok().text(), "1");
            client(engine, &["stop", "web"]).ok();
            let state = ["inspect", "-f", "{{.State.ExitCode}}", "web"];
            assert_eq!(client(engine, &state).ok().text(), "0");
            assert_eq!(fetch("").status, 7, "nobody listens any more");
            client(engine, &["start", "web"]).ok();
            eventually("nginx answers again", Duration::from_secs(20), || {
                (fetch("").status == 0).then_some(())
            });
            client(engine, &["rm", "-f", "web"]).ok();
        }
    });
}

//! `run`: the main job, from a command to its output.

use testkit::{Engine, Terminal};

#[test]
fn the_built_in_image_prints_its_report() {
    Engine::run(|engine| {
        let done = engine
            .d(&["run", "--rm", "--network", "none", "wharf/isolation"])
            .ok();
        assert!(
            done.stdout.starts_with("Hello from Wharf"),
            "{}",
            done.stdout
        );
        assert!(done.stdout.contains("pid 1 of 1"), "{}", done.stdout);
        assert!(done.stdout.contains("14 of"), "{}", done.stdout);
    });
}

#[test]
fn a_command_prints_and_its_status_comes_back() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let done = client(
                engine,
                &[
                    "run",
                    "--rm",
                    "busybox",
                    "sh",
                    "-c",
                    "echo out; echo err >&2; exit 7",
                ],
            )
            .fails_with(7);
            assert_eq!(
                (done.stdout.as_str(), done.stderr.as_str()),
                ("out\n", "err\n")
            );
            client(
                engine,
                &[
                    "run",
                    "--rm",
                    "busybox",
                    "sh",
                    "-c",
                    "sh -c 'kill -9 $$'; exit $?",
                ],
            )
            .fails_with(137);
        }
    });
}

#[test]
fn a_start_that_fails_has_docker_s_status_in_the_container_s_state() {
    Engine::run(|engine| {
        engine.load_busybox();
        let file = engine.folder().join("file");
        std::fs::write(&file, "").unwrap();
        let onto_folder = format!("{}:/etc", file.display());
        let names_it = format!("error mounting {file:?} to rootfs at \"/etc\": mount ");
        let cases: [(&[&str], &str, i32, &str); 5] = [
            (
                &["busybox", "nope"],
                "executable file not found in $PATH",
                127,
                "127",
            ),
            (
                &["busybox", "/bin/nope"],
                "no such file or directory",
                127,
                "127",
            ),
            (&["busybox", "/etc"], "permission denied", 126, "126"),
            (
                &["-v", &onto_folder, "busybox", "true"],
                &names_it,
                125,
                "127",
            ),
            // Clients make nothing of this one.
            (
                &["-v", &onto_folder, "busybox", "true"],
                "not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)?",
                125,
                "127",
            ),
        ];
        for (args, words, status, exit_code) in cases {
            let mut line = vec!["run", "--name", "cc"];
            line.extend(args);
            let failed = engine.d(&line).fails_with(status);
            assert!(failed.stderr.contains(words), "{args:?}: {}", failed.stderr);
            let state = engine
                .d(&["inspect", "-f", "{{.State.ExitCode}}", "cc"])
                .ok();
            assert_eq!(state.text(), exit_code, "{args:?}");
            engine.d(&["rm", "cc"]).ok();
        }
    });
}

#[test]
fn an_exec_that_fails_has_the_status_of_its_reason() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        for (program, status) in [("nope", 127), ("/nope", 127), ("/etc", 126)] {
            engine.d(&["exec", "cc", program]).fails_with(status);
        }
    });
}

#[test]
fn what_can_not_be_executed_has_docker_s_status_and_words() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let missing = client(engine, &["run", "--rm", "busybox", "nope"]).fails_with(127);
            assert!(
                missing
                    .stderr
                    .contains("executable file not found in $PATH"),
                "{}",
                missing.stderr
            );
            let folder = client(engine, &["run", "--rm", "busybox", "/etc"]).fails_with(126);
            assert!(
                folder.stderr.contains("permission denied")
                    || folder.stderr.contains("is a directory"),
                "{}",
                folder.stderr
            );
            let flag = client(engine, &["run", "--nonsense", "busybox"]).fails_with(125);
            assert!(
                flag.stderr.starts_with("unknown flag: --nonsense"),
                "{}",
                flag.stderr
            );
            let image = client(
                engine,
                &["run", "--pull", "never", "--rm", "localhost:1/none"],
            )
            .fails_with(125);
            assert!(
                image
                    .stderr
                    .contains("No such image: localhost:1/none:latest"),
                "{}",
                image.stderr
            );
        }
        assert_eq!(engine.d(&["ps", "-aq"]).ok().text(), "");
    });
}

#[test]
fn input_goes_in_and_its_end_too() {
    Engine::run(|engine| {
        engine.load_busybox();
        let args = [
            "run",
            "--rm",
            "-i",
            "busybox",
            "sh",
            "-c",
            "wc -c; echo end",
        ];
        let input = vec![b'x'; 3 << 20];
        for command in [engine.docker(&args), engine.wharf(&args)] {
            assert_eq!(testkit::run(command, &input).ok().stdout, "3145728\nend\n");
        }
    });
}

#[test]
fn a_large_output_comes_whole_and_in_order() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let done = client(engine, &["run", "--rm", "busybox", "seq", "1", "300000"]).ok();
            assert_eq!(done.stdout.lines().count(), 300_000);
            assert!(done.stdout.ends_with("\n299999\n300000\n"));
        }
    });
}

#[test]
fn a_terminal_has_job_control_its_size_and_detach_keys() {
    Engine::run(|engine| {
        engine.load_busybox();
        for wharf in [false, true] {
            let args = ["run", "-it", "--name", "term", "busybox", "sh"];
            let command = if wharf {
                engine.wharf(&args)
            } else {
                engine.docker(&args)
            };
            let mut terminal = Terminal::start(command, 31, 97);
            terminal.expect("/ #");
            terminal.send("stty size\n");
            terminal.expect("31 97");
            terminal.resize(40, 120);
            terminal.signal(28);
            terminal.send(
                "until [ \"$(stty size)\" = '40 120' ]; do sleep 0.05; done; echo re''sized\n",
            );
            terminal.expect("resized");
            // Ctrl-C ends the foreground program, not the shell.
            terminal.send("sh -c 'echo be''gun; exec sleep 100'\n");
            terminal.expect("begun");
            terminal.send("\x03");
            terminal.send("echo al''ive\n");
            terminal.expect("alive");
            terminal.send("\x10\x11");
            let (status, _) = terminal.finish();
            assert_eq!(status, 0);
            assert_eq!(
                engine
                    .d(&["inspect", "-f", "{{.State.Running}}", "term"])
                    .ok()
                    .text(),
                "true"
            );
            engine.d(&["rm", "-f", "term"]).ok();
        }
    });
}

#[test]
fn signals_are_passed_on_with_a_terminal_too() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "trap 'echo got; exit 9' TERM; echo rea''dy; while :; do sleep 0.1; done";
        // Docker's client loses the signal now and then.
        for typed in ["-t", "-it"] {
            let args = ["run", "--rm", typed, "busybox", "sh", "-c", script];
            let command = engine.wharf(&args);
            let mut terminal = Terminal::start(command, 24, 80);
            terminal.expect("ready");
            terminal.signal(15);
            let (status, _) = terminal.finish();
            assert_eq!(status, 9, "{typed}");
            assert_eq!(engine.d(&["ps", "-aq"]).ok().text(), "");
        }
    });
}

/// How often something is repeated that must never fail: an emulated machine has less time.
fn rounds() -> u32 {
    match std::env::var("WHARF_ROUNDS") {
        Ok(number) => number.parse().expect("WHARF_ROUNDS is a number"),
        Err(_) => 1000,
    }
}

/// Nobody verifies signatures here: who exported the wish for it is not served as if somebody did.
#[test]
fn content_trust_is_refused_and_archives_are_their_owner_s() {
    use std::os::unix::fs::PermissionsExt;
    Engine::run(|engine| {
        engine.load_busybox();
        let with_trust = |args: &[&str]| {
            let mut command = engine.wharf(args);
            command.env("DOCKER_CONTENT_TRUST", "1");
            testkit::run(command, b"")
        };
        for (args, status) in [
            (&["run", "--rm", "busybox", "true"][..], 125),
            (&["create", "busybox"], 1),
            (&["pull", "127.0.0.1:1/x"], 1),
            (&["push", "127.0.0.1:1/x"], 1),
        ] {
            let refused = with_trust(args).fails_with(status);
            assert!(
                refused.stderr.contains("verifies no signatures"),
                "{}",
                refused.stderr
            );
        }
        let anyway = ["run", "--rm", "--disable-content-trust", "busybox", "true"];
        with_trust(&anyway).ok();
        let file = engine.folder().join("saved.tar");
        engine
            .w(&["save", "-o", file.to_str().unwrap(), "busybox"])
            .ok();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn a_thousand_short_outputs_are_all_there() {
    Engine::run(|engine| {
        engine.load_busybox();
        for round in 0..rounds() {
            let done = engine
                .w(&["run", "--rm", "--network", "none", "busybox", "printf", "x"])
                .ok();
            assert_eq!(done.stdout, "x", "round {round}");
        }
    });
}

#[test]
fn a_name_and_a_port_are_free_at_once() {
    Engine::run(|engine| {
        engine.load_busybox();
        for round in 0..rounds() {
            let done = engine.w(&[
                "run", "--rm", "--name", "xx", "-p", "8080:80", "busybox", "true",
            ]);
            assert_eq!(done.status, 0, "round {round}: {}", done.stderr);
        }
    });
}

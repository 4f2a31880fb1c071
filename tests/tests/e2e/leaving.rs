//! How somebody leaves a client: by Ctrl-C where it waits, at a question, and where the container takes no notice.

use testkit::{Engine, Kind, Terminal};

const INTERRUPT: &str = "\x03";

fn wharf(engine: &Engine, args: &[&str]) -> Terminal {
    Terminal::start(engine.wharf(args), 30, 100)
}

#[test]
fn a_client_that_waits_has_a_status_of_its_own() {
    Engine::run(|engine| {
        engine.load_busybox();
        let run = ["run", "-d", "--name", "cc", "busybox", "sh", "-c"];
        engine
            .d(&[&run[..], &["echo up; exec sleep 1000"]].concat())
            .ok();
        for args in [
            &["logs", "-f", "cc"][..],
            &["exec", "cc", "sh", "-c", "echo up; sleep 1000"],
        ] {
            for (signal, status) in [(2, 130), (15, 143)] {
                if args[0] == "exec" && engine.kind() == Kind::Dockerd {
                    // Docker's client takes it for a success.
                    continue;
                }
                let mut terminal = wharf(engine, args);
                terminal.expect("up");
                terminal.signal(signal);
                assert_eq!(terminal.finish().0, status, "{args:?}");
            }
        }
        // A shell goes on, and a signal that the shell has its programs ignore is heard.
        let program = match engine.kind() {
            Kind::Wharf => Engine::program().display().to_string(),
            Kind::Dockerd => "docker".to_owned(),
        };
        let script = format!("trap '' INT; {program} logs -f cc; echo after $?");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]);
        // Where the engine is.
        let client = engine.wharf(&[]);
        let said = client.get_envs();
        command.envs(said.filter_map(|(name, value)| Some((name, value?))));
        let mut terminal = Terminal::start(command, 30, 100);
        terminal.expect("up");
        terminal.send(INTERRUPT);
        terminal.expect("after 130");
        assert_eq!(terminal.finish().0, 0);
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

#[test]
fn the_third_signal_is_the_client_s() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "trap 'echo heard' INT; echo up; while :; do sleep 0.1; done";
        let shell = ["busybox", "sh", "-c", script];
        let run = [&["run", "--name", "cc"][..], &shell].concat();
        for args in [&run[..], &["attach", "cc"]] {
            let mut terminal = wharf(engine, args);
            if args[0] == "run" {
                terminal.expect("up");
            } else {
                // It is heard once the streams are there.
                engine.d(&["kill", "-s", "INT", "cc"]).ok();
                terminal.expect("heard");
            }
            for _ in 0..2 {
                terminal.send(INTERRUPT);
                terminal.expect("heard");
            }
            terminal.send(INTERRUPT);
            terminal.expect("got 3 SIGTERM/SIGINTs, forcefully exiting");
            assert_eq!(terminal.finish().0, 1);
        }
        let running = engine
            .d(&["inspect", "-f", "{{.State.Running}}", "cc"])
            .ok();
        assert_eq!(running.text(), "true");
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

#[test]
fn a_question_may_be_left() {
    Engine::run(|engine| {
        for args in [
            &["volume", "prune"][..],
            &["login", "localhost:1"],
            &["login", "-u", "me", "localhost:1"],
        ] {
            let mut terminal = wharf(engine, args);
            terminal.expect(match args {
                ["volume", ..] => "[y/N] ",
                [_, "-u", ..] => "Password: ",
                _ => "Username: ",
            });
            terminal.send(INTERRUPT);
            terminal.expect("\n");
            assert!(terminal.shows_what_is_typed(), "{args:?}");
            assert_eq!(terminal.finish().0, 0, "{args:?}");
        }
    });
}

#[test]
fn attaching_has_the_program_draw_its_screen() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "trap 'echo drawn' WINCH; echo up; while :; do sleep 0.1; done";
        let run = ["run", "-dit", "--name", "cc", "busybox", "sh", "-c", script];
        engine.d(&run).ok();
        for _ in 0..2 {
            let mut terminal = wharf(engine, &["attach", "cc"]);
            terminal.expect("drawn");
            terminal.send("\x10\x11");
            terminal.finish();
        }
        let size = engine.d(&["exec", "cc", "stty", "-F", "/proc/1/fd/0", "size"]);
        assert_eq!(size.ok().text(), "30 100");
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

#[test]
fn credentials_that_can_not_be_read_are_told_of() {
    Engine::run(|engine| {
        let folder = engine.folder().join("broken");
        std::fs::create_dir(&folder).unwrap();
        for (auth, why) in [
            ("!!!", "illegal base64 data at input byte 0"),
            ("bm9jb2xvbg==", "Invalid auth configuration file"),
        ] {
            let config = format!(r#"{{"auths":{{"localhost:5000":{{"auth":"{auth}"}}}}}}"#);
            std::fs::write(folder.join("config.json"), config).unwrap();
            for client in [Engine::d, Engine::w] {
                let args = ["--config", folder.to_str().unwrap(), "ps", "-q"];
                let told = client(engine, &args).ok().stderr;
                let path = folder.join("config.json");
                let warning = format!(
                    "WARNING: Error parsing config file ({}): {why}\n",
                    path.display()
                );
                assert!(told.contains(&warning), "{told}");
            }
        }
    });
}

//! Checks of health that are asked for by flags, through both clients.

use std::time::Duration;

use testkit::{Engine, Kind, eventually};

const SOON: Duration = Duration::from_secs(30);

#[track_caller]
fn becomes(engine: &Engine, name: &str, wanted: &str) {
    eventually(wanted, SOON, || {
        let done = engine.d(&["inspect", "-f", "{{.State.Health.Status}}", name]);
        (done.ok().text() == wanted).then_some(())
    });
}

#[test]
fn checks_of_health_are_asked_for() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let mut args = vec!["run", "-d", "--name", "cc"];
            args.extend(["--health-cmd", "echo looked; test -e /good"]);
            args.extend(["--health-interval", "50ms", "--health-timeout=20s"]);
            args.extend(["--health-retries", "2", "--health-start-period", "1ms"]);
            // Docker 20.10 has no such flag.
            if engine.kind() == Kind::Wharf {
                args.extend(["--health-start-interval", "1ms"]);
            }
            args.extend(["busybox", "sleep", "1000"]);
            client(engine, &args).ok();
            let field = "{{.Test}} {{.Interval}} {{.Timeout}} {{.StartPeriod}} {{.Retries}}";
            let format = format!("{{{{with .Config.Healthcheck}}}}{field}{{{{end}}}}");
            let shown = client(engine, &["inspect", "-f", &format, "cc"]).ok();
            assert_eq!(
                shown.text(),
                "[CMD-SHELL echo looked; test -e /good] 50ms 20s 1ms 2"
            );
            becomes(engine, "cc", "unhealthy");
            let listed = client(engine, &["ps", "--filter", "health=unhealthy"]).ok();
            assert!(listed.stdout.contains("(unhealthy)"), "{}", listed.stdout);
            let format = "{{(index .State.Health.Log 0).Output}}";
            let output = client(engine, &["inspect", "-f", format, "cc"]).ok();
            assert_eq!(output.text(), "looked");
            client(engine, &["exec", "cc", "touch", "/good"]).ok();
            becomes(engine, "cc", "healthy");
            let listed = client(engine, &["ps", "--format", "{{.Status}}"]).ok();
            assert!(listed.stdout.contains("(healthy)"), "{}", listed.stdout);
            client(engine, &["rm", "-f", "cc"]).ok();
        }
    });
}

#[test]
fn a_check_that_takes_too_long_fails() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let mut args = vec!["create", "--name", "cc", "--health-cmd", "sleep 1000"];
            args.extend(["--health-interval", "10ms", "--health-timeout", "50ms"]);
            args.extend(["--health-retries", "1", "busybox", "sleep", "1000"]);
            client(engine, &args).ok();
            client(engine, &["start", "cc"]).ok();
            becomes(engine, "cc", "unhealthy");
            let format = "{{(index .State.Health.Log 0).Output}}";
            let output = client(engine, &["inspect", "-f", format, "cc"]).ok();
            assert!(
                output
                    .stdout
                    .contains("Health check exceeded timeout (50ms)"),
                "{}",
                output.stdout
            );
            client(engine, &["rm", "-f", "cc"]).ok();
        }
    });
}

#[test]
fn the_check_of_a_container_can_be_left_out() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let run = ["run", "-d", "--name", "cc", "--no-healthcheck", "busybox"];
            client(engine, &[&run[..], &["sleep", "1000"]].concat()).ok();
            let format = "{{if .State.Health}}some{{else}}none{{end}}";
            let health = client(engine, &["inspect", "-f", format, "cc"]).ok();
            assert_eq!(health.text(), "none");
            client(engine, &["rm", "-f", "cc"]).ok();
        }
    });
}

#[test]
fn a_container_that_has_ended_is_not_healthy() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let mut args = vec!["run", "-d", "--name", "cc", "--health-cmd", "true"];
            args.extend(["--health-interval", "50ms", "busybox", "sleep", "1000"]);
            client(engine, &args).ok();
            becomes(engine, "cc", "healthy");
            client(engine, &["kill", "cc"]).ok();
            client(engine, &["wait", "cc"]).ok();
            let format = "{{.State.Status}} {{.State.Health.Status}}";
            let ended = client(engine, &["inspect", "-f", format, "cc"]).ok();
            assert_eq!(ended.text(), "exited unhealthy");
            let listed = client(engine, &["ps", "-aqf", "health=healthy"]).ok();
            assert_eq!(listed.text(), "");
            // The first look is far away: it is killed while it starts.
            client(engine, &["rm", "cc"]).ok();
            let interval = args.iter().position(|one| *one == "50ms").unwrap();
            args[interval] = "1h";
            client(engine, &args).ok();
            client(engine, &["kill", "cc"]).ok();
            client(engine, &["wait", "cc"]).ok();
            let ended = client(engine, &["inspect", "-f", format, "cc"]).ok();
            assert_eq!(ended.text(), "exited unhealthy");
            client(engine, &["start", "cc"]).ok();
            let begun = client(engine, &["inspect", "-f", format, "cc"]).ok();
            assert_eq!(begun.text(), "running starting");
            client(engine, &["rm", "-f", "cc"]).ok();
        }
    });
}

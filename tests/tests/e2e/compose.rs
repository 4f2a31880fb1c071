//! Compose 2 as a plugin: a project of several services from its first start to its last word, and what it hears of their
//! ends. (`names` and `database` have Compose 1.29.)

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::{Engine, Finished, Program, eventually, run};

const SOON: Duration = Duration::from_secs(60);

/// One of the two clients.
type Client = fn(&Engine, &[&str]) -> Command;

const CLIENTS: [Client; 2] = [Engine::wharf, Engine::docker];

/// A folder with a project, and the plugin where clients find it.
struct Project<'a> {
    engine: &'a Engine,
    folder: PathBuf,
    client: Client,
}

impl<'a> Project<'a> {
    /// Writes the project's file; `None`, and a test that is skipped, where there is no Compose 2.
    fn new(engine: &'a Engine, client: Client, file: &str) -> Option<Project<'a>> {
        let path = "usr/libexec/docker/cli-plugins/docker-compose";
        let Some(program) = Program::find("docker-compose", path) else {
            testkit::skip("docker-compose 2");
            return None;
        };
        engine.load_busybox();
        let folder = engine.folder().join("shop");
        let plugins = engine.folder().join("config/cli-plugins");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(&plugins).unwrap();
        let _ = std::os::unix::fs::symlink(program.path, plugins.join("docker-compose"));
        fs::write(folder.join("compose.yaml"), file).unwrap();
        Some(Project {
            engine,
            folder,
            client,
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let all = [&["compose", "--ansi", "never"][..], args].concat();
        let mut command = (self.client)(self.engine, &all);
        command
            .current_dir(&self.folder)
            .env("DOCKER_CONFIG", self.engine.folder().join("config"));
        command
    }

    #[track_caller]
    fn compose(&self, args: &[&str]) -> Finished {
        run(self.command(args), b"")
    }

    /// What it prints, blanks at both ends left out; it must not fail.
    #[track_caller]
    fn text(&self, args: &[&str]) -> String {
        self.compose(args).ok().text().to_owned()
    }

    /// Starts one that stays, in a process group of its own.
    fn begin(&self, args: &[&str], name: &str) -> Staying {
        let output = self.engine.folder().join(name);
        let file = File::create(&output).unwrap();
        let child = self
            .command(args)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Staying { child, output }
    }

    /// State of a service's container, and with which status it ended.
    fn state(&self, service: &str) -> (String, i64) {
        let format = ["ps", "-a", "--format", "json", service];
        let shown = self.compose(&format).ok().json();
        let state = shown["State"].as_str().unwrap().to_owned();
        (state, shown["ExitCode"].as_i64().unwrap())
    }
}

/// A command that stays until something ends, and the file that it writes.
struct Staying {
    child: Child,
    output: PathBuf,
}

impl Staying {
    fn text(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    #[track_caller]
    fn shows(&self, what: &str) {
        eventually(&format!("{what:?} is shown"), SOON, || {
            self.text().contains(what).then_some(())
        });
    }

    /// What Ctrl-C does. Off a terminal the client passes it on: to both it would be two, and the second one forces.
    fn interrupt(&self) {
        let mut kill = Command::new("kill");
        kill.args(["-INT", &self.child.id().to_string()]);
        run(kill, b"").ok();
    }

    /// What it had shown when it ended, and its status.
    #[track_caller]
    fn ends(mut self) -> (i32, String) {
        let status = eventually("a command ends with its container", SOON, || {
            self.child.try_wait().unwrap()
        });
        (status.code().unwrap(), self.text())
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A web server, a database, and a worker that writes the page from what the database answers.
const SHOP: &str = r#"
name: shop
services:
  web:
    image: busybox
    command: httpd -f -p 80 -h /www
    stop_signal: SIGKILL
    ports: ["127.0.0.1:8080:80"]
    volumes: ["pages:/www:ro"]
    depends_on: [worker]
    networks: [front]
    healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1/", interval: 300ms, retries: 200}
  worker:
    image: busybox
    env_file: worker.env
    environment: {PLACE: "${PLACE:-here}"}
    command:
      - sh
      - -c
      - |
        trap 'echo ends; exit 3' TERM
        echo "begins with $$GREETING $$PLACE"
        n=0
        while :; do
          n=$$((n+1))
          echo "$$n $$(nc database 5000 </dev/null) $$(cat /run/secrets/password) $$(cat /etc/greeting)" >/pages/new.$$HOSTNAME
          mv /pages/new.$$HOSTNAME /pages/index.html
          sleep 0.1
        done
    volumes: ["pages:/pages"]
    networks: [front, back]
    secrets: [password]
    configs:
      - {source: greeting, target: /etc/greeting}
      - {source: written, target: /etc/written}
    depends_on:
      db: {condition: service_healthy}
      fill: {condition: service_completed_successfully}
    develop:
      watch:
        - {action: sync, path: ./src, target: /src}
  fill:
    image: busybox
    command: sh -c 'echo stored >/data/value'
    volumes: ["data:/data"]
    network_mode: none
  db:
    image: busybox
    command: nc -ll -p 5000 -e cat /data/value
    stop_signal: SIGKILL
    volumes: ["data:/data"]
    networks:
      back: {aliases: [database]}
    healthcheck: {test: [CMD, pidof, nc], interval: 300ms, retries: 200}
    restart: unless-stopped
  debug:
    image: busybox
    command: sleep 1000
    profiles: [debug]
    network_mode: none
    stop_signal: SIGKILL
networks:
  front:
  back: {internal: true}
volumes: {data: {}, pages: {}}
secrets:
  password: {file: ./password.txt}
configs:
  greeting: {file: ./greeting.txt}
  written: {content: "made of ${PLACE:-here}\n"}
"#;

fn shop(engine: &Engine, client: Client) -> Option<Project<'_>> {
    let project = Project::new(engine, client, SHOP)?;
    for (name, text) in [
        ("worker.env", "GREETING=hello\n"),
        ("password.txt", "secret\n"),
        ("greeting.txt", "welcome\n"),
        ("src/word", "first\n"),
    ] {
        let path = project.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Some(project)
}

/// The page and the number at its beginning, if there is one.
fn page(engine: &Engine) -> Option<(u64, String)> {
    let mut fetch = engine.sandbox().network_command("curl");
    fetch.args(["-s", "-f", "-m", "5", "http://127.0.0.1:8080/"]);
    let page = run(fetch, b"").stdout;
    let (number, rest) = page.trim().split_once(' ')?;
    Some((number.parse().ok()?, rest.to_owned()))
}

/// Waits until the worker has written another page.
#[track_caller]
fn goes_on(engine: &Engine) {
    let before = page(engine).map_or(0, |(number, _)| number);
    eventually("the worker writes another page", SOON, || {
        page(engine).filter(|(number, _)| *number != before)
    });
}

#[test]
fn a_project_is_brought_up_looked_at_and_taken_down() {
    Engine::run(|engine| {
        let Some(shop) = shop(engine, Engine::wharf) else {
            return;
        };
        let config = shop.compose(&["config", "--format", "json"]).ok().json();
        assert_eq!(config["services"]["worker"]["environment"]["PLACE"], "here");
        assert!(config["services"]["debug"].is_null(), "{config}");
        shop.compose(&["up", "-d", "--wait"]).ok();
        eventually("the page has what belongs together", SOON, || {
            page(engine).filter(|(_, rest)| rest == "stored secret welcome")
        });
        let shown = shop.text(&["ps", "-a"]);
        for (name, state) in [
            ("shop-web-1", "127.0.0.1:8080->80/tcp"),
            ("shop-db-1", "(healthy)"),
            ("shop-worker-1", "Up"),
            ("shop-fill-1", "Exited (0)"),
        ] {
            let has = |line: &str| line.starts_with(name) && line.contains(state);
            assert!(shown.lines().any(has), "{name}: {shown}");
        }
        let web = shop.compose(&["ps", "--format", "json", "web"]).ok().json();
        assert_eq!(
            (&web["Health"], &web["Publishers"][0]["PublishedPort"]),
            (&Value::from("healthy"), &Value::from(8080)),
            "{web}"
        );
        assert_eq!(shop.text(&["port", "web", "80"]), "127.0.0.1:8080");
        assert_eq!(
            shop.text(&["logs", "--no-log-prefix", "worker"]),
            "begins with hello here"
        );
        let files = [
            "exec",
            "-T",
            "worker",
            "cat",
            "/etc/written",
            "/run/secrets/password",
        ];
        assert_eq!(shop.text(&files), "made of here\nsecret");
        let once = [
            "run",
            "--rm",
            "-T",
            "-e",
            "PLACE=there",
            "worker",
            "sh",
            "-c",
        ];
        assert_eq!(
            shop.text(&[&once[..], &["echo $GREETING $PLACE"]].concat()),
            "hello there"
        );
        shop.compose(&["cp", "greeting.txt", "db:/data/copied"])
            .ok();
        shop.compose(&["cp", "db:/data/copied", "back.txt"]).ok();
        assert_eq!(
            fs::read(shop.folder.join("back.txt")).unwrap(),
            b"welcome\n"
        );
        assert!(shop.text(&["top", "db"]).contains("nc -ll -p 5000"));
        assert!(shop.text(&["images"]).contains("busybox"));
        assert!(shop.text(&["ls"]).contains("running(3)"));
        let figures = ["stats", "--no-stream", "--format", "json", "db"];
        assert_eq!(shop.compose(&figures).ok().json()["Name"], "shop-db-1");

        // Nothing has changed: nothing is made anew.
        let ids = || {
            let shown = shop.text(&["ps", "-aq"]);
            shown
                .lines()
                .map(str::to_owned)
                .collect::<std::collections::BTreeSet<_>>()
        };
        let before = ids();
        shop.compose(&["up", "-d"]).ok();
        assert_eq!(ids(), before);

        // Services that nobody asked for are not there; each has as many containers as are asked for.
        shop.compose(&["--profile", "debug", "up", "-d", "debug"])
            .ok();
        assert_eq!(shop.state("debug").0, "running");
        shop.compose(&["scale", "worker=3"]).ok();
        assert_eq!(shop.text(&["ps", "-q", "worker"]).lines().count(), 3);
        shop.compose(&["scale", "worker=1"]).ok();

        shop.compose(&["pause", "worker"]).ok();
        assert_eq!(shop.state("worker").0, "paused");
        shop.compose(&["unpause", "worker"]).ok();
        goes_on(engine);
        shop.compose(&["restart", "db"]).ok();
        shop.compose(&["kill", "-s", "TERM", "worker"]).ok();
        eventually("the worker ends by the signal", SOON, || {
            (shop.state("worker") == ("exited".to_owned(), 3)).then_some(())
        });
        shop.compose(&["stop"]).ok();
        assert_eq!(page(engine), None);
        shop.compose(&["start"]).ok();
        goes_on(engine);

        let told = ["events", "--json", "--since", "10m", "--until", "0s", "db"];
        // The end of what is told it takes for a fault.
        let told: Vec<Value> = shop
            .compose(&told)
            .fails_with(1)
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let died = told.iter().find(|event| event["action"] == "die").unwrap();
        assert_eq!(
            (&died["service"], &died["attributes"]["exitCode"]),
            (&Value::from("db"), &Value::from("137")),
            "{died}"
        );
        assert_eq!(died["attributes"]["name"], "shop-db-1");

        shop.compose(&["--profile", "debug", "down", "-v"]).ok();
        for left in [
            &["ps", "-aq"][..],
            &["volume", "ls", "-q"],
            &["network", "ls", "-q", "--filter", "type=custom"],
        ] {
            assert_eq!(engine.d(left).ok().text(), "", "{left:?}");
        }
    });
}

#[test]
fn files_that_are_watched_come_into_the_container() {
    Engine::run(|engine| {
        let Some(shop) = shop(engine, Engine::wharf) else {
            return;
        };
        shop.compose(&["up", "-d", "--wait"]).ok();
        let watching = shop.begin(&["watch", "--no-up", "worker"], "watch");
        watching.shows("Watch enabled");
        fs::write(shop.folder.join("src/word"), "second\n").unwrap();
        let read = ["exec", "-T", "worker", "cat", "/src/word"];
        eventually("the file is in the container", SOON, || {
            (shop.compose(&read).stdout == "second\n").then_some(())
        });
        fs::remove_file(shop.folder.join("src/word")).unwrap();
        eventually("it is removed again", SOON, || {
            (shop.compose(&read).status == 1).then_some(())
        });
        let told = watching.text();
        assert!(!told.contains("Error"), "{told}");
        drop(watching);
        shop.compose(&["down", "-v"]).ok();
    });
}

/// One that ends when it is told to, and one that does not.
const ENDS: &str = r#"
name: shop
services:
  a:
    image: busybox
    command: sh -c 'trap "echo ends; exit 3" TERM; while :; do echo lives; sleep 0.1; done'
  b:
    image: busybox
    command: sleep 1000
    stop_signal: SIGKILL
"#;

#[test]
fn whoever_follows_a_container_ends_with_it() {
    Engine::run(|engine| {
        for client in CLIENTS {
            let Some(shop) = Project::new(engine, client, ENDS) else {
                return;
            };
            shop.compose(&["up", "-d"]).ok();
            for _ in 0..3 {
                shop.compose(&["start", "a"]).ok();
                let logs = shop.begin(&["logs", "-f", "--tail", "1", "a"], "logs");
                let attach = ["attach", "--no-stdin", "--sig-proxy=false", "a"];
                let attached = shop.begin(&attach, "attach");
                logs.shows("a-1  | lives");
                attached.shows("lives");
                shop.compose(&["kill", "-s", "TERM", "a"]).ok();
                let (status, text) = logs.ends();
                assert_eq!(status, 0, "{text}");
                let last = "a-1  | ends";
                assert!(text.contains(last) && text.contains("code 3"), "{text}");
                let (status, text) = attached.ends();
                assert!(status == 3 && text.contains("\nends\n"), "{status}: {text}");
            }
            let waited = eventually("it is waited for", SOON, || {
                shop.compose(&["start", "a"]).ok();
                let waits = shop.begin(&["wait", "a"], "wait");
                // Nobody can see that it waits: another time it comes earlier.
                std::thread::sleep(Duration::from_millis(500));
                shop.compose(&["kill", "-s", "TERM", "a"]).ok();
                let (status, text) = waits.ends();
                (!text.contains("no containers")).then_some(status)
            });
            assert_eq!(waited, 3);
            shop.compose(&["down"]).ok();
        }
    });
}

#[test]
fn up_in_the_foreground_ends_by_a_signal_and_with_its_containers() {
    Engine::run(|engine| {
        for client in CLIENTS {
            let Some(shop) = Project::new(engine, client, ENDS) else {
                return;
            };
            let up = shop.begin(&["up"], "up");
            up.shows("a-1  | lives");
            up.interrupt();
            let (status, text) = up.ends();
            assert_eq!(status, 130, "{text}");
            assert_eq!(shop.state("a"), ("exited".to_owned(), 3), "{text}");
            let up = shop.begin(&["up", "--exit-code-from", "a"], "up");
            up.shows("a-1  | lives");
            shop.compose(&["kill", "-s", "TERM", "a"]).ok();
            let (status, text) = up.ends();
            assert_eq!(status, 3, "{text}");
            assert_eq!(shop.state("b").0, "exited");
            shop.compose(&["down"]).ok();
        }
    });
}

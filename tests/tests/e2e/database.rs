//! A database: PostgreSQL of Debian's packages, a day in small by itself and as one of several services.

use std::time::Duration;

use testkit::{Engine, Finished, eventually, run};

use super::names::compose;

const SOON: Duration = Duration::from_secs(60);

/// Starts the database on the volume `shop`, and waits until it is ready.
fn start(engine: &Engine, image: &str) {
    let flags = [
        "run",
        "-d",
        "--name",
        "db",
        "-v",
        "shop:/data",
        "--shm-size",
        "128m",
    ];
    let limits = [
        "-m",
        "512m",
        "--restart",
        "unless-stopped",
        "-p",
        "127.0.0.1:5432:5432",
    ];
    engine.w(&[&flags[..], &limits, &[image]].concat()).ok();
    ready(engine);
}

fn ready(engine: &Engine) {
    eventually("the database is ready", SOON, || {
        (engine
            .w(&["exec", "db", "pg_isready", "-h", "127.0.0.1"])
            .status
            == 0)
            .then_some(())
    });
}

fn sql(engine: &Engine, statement: &str) -> String {
    let words = [
        "exec",
        "db",
        "psql",
        "-v",
        "ON_ERROR_STOP=1",
        "-qtAc",
        statement,
    ];
    engine.w(&words).ok().text().to_owned()
}

const SUM: &str = "select count(*), sum(cents), md5(string_agg(name, ',' order by id)) from goods";

#[test]
fn a_database_lives_through_a_day() {
    Engine::run(|engine| {
        engine.load(&testkit::image::postgres());
        engine.w(&["volume", "create", "shop"]).ok();
        start(engine, "postgres:1");
        sql(
            engine,
            "create table goods (id serial primary key, name text not null, cents int check (cents > 0)); create index on goods (name)",
        );
        sql(
            engine,
            "insert into goods (name, cents) select 'thing ' || n, 1 + n % 997 from generate_series(1, 20000) n",
        );
        // What is wrong is refused, and its status is that of the client in the container.
        let wrong = [
            "exec",
            "db",
            "psql",
            "-c",
            "insert into goods (name, cents) values ('free', 0)",
        ];
        let refused = engine.w(&wrong).fails_with(1);
        assert!(
            refused.stderr.contains("violates check constraint"),
            "{}",
            refused.stderr
        );
        let before = sql(engine, SUM);
        assert!(before.starts_with("20000|"), "{before}");

        // A dump by exec, through both clients, is the same; so is what comes of it in another database.
        let dump = |client: fn(&Engine, &[&str]) -> Finished| {
            client(engine, &["exec", "db", "pg_dump", "--no-owner", "postgres"])
                .ok()
                .stdout
        };
        let (dumped, by_docker) = (dump(Engine::w), dump(Engine::d));
        let lines = |text: &str| {
            text.lines()
                .filter(|line| !line.starts_with('\\'))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&dumped), lines(&by_docker));
        engine.w(&["exec", "db", "createdb", "copy"]).ok();
        let restore = engine.wharf(&[
            "exec",
            "-i",
            "db",
            "psql",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "copy",
        ]);
        run(restore, dumped.as_bytes()).ok();
        let words = ["exec", "db", "psql", "-qtAc", SUM, "copy"];
        assert_eq!(engine.w(&words).ok().text(), before);

        // The daemon dies under it; nobody who uses it notices.
        engine.kill_daemon();
        engine.start_daemon();
        sql(engine, "update goods set cents = cents + 1 where id <= 100");
        let before = sql(engine, SUM);

        // Stopped as it likes to be, and taken down for a newer image.
        engine.w(&["stop", "-t", "60", "db"]).ok();
        let state = [
            "inspect",
            "-f",
            "{{.State.ExitCode}} {{.State.OOMKilled}}",
            "db",
        ];
        assert_eq!(engine.w(&state).ok().text(), "0 false");
        let logs = engine.w(&["logs", "db"]).ok();
        assert!(
            logs.stderr.contains("database system is shut down"),
            "{}",
            logs.stderr
        );
        engine.w(&["rm", "db"]).ok();
        start(engine, "postgres:2");
        assert_eq!(sql(engine, SUM), before);
        assert_eq!(sql(engine, "show work_mem"), "16MB");
        let logs = engine.w(&["logs", "db"]).ok();
        assert!(
            !logs.stderr.contains("was not properly shut down"),
            "{}",
            logs.stderr
        );

        // Killed, it comes back by its policy and repairs itself.
        let pid = engine.w(&["inspect", "-f", "{{.State.Pid}}", "db"]).ok();
        engine.sandbox().kill(pid.text().parse().unwrap(), "KILL");
        eventually("it is started again", SOON, || {
            let count = engine.w(&["inspect", "-f", "{{.RestartCount}}", "db"]).ok();
            (count.text() != "0").then_some(())
        });
        ready(engine);
        assert_eq!(sql(engine, SUM), before);
        engine.w(&["rm", "-f", "db"]).ok();
        engine.w(&["volume", "rm", "shop"]).ok();
    });
}

/// A web server, a database and a worker that counts in the database and writes the page.
const SHOP: &str = "\
version: '3.8'
services:
  web:
    image: debian
    command: [nginx, -g, daemon off;]
    ports: ['127.0.0.1:8080:80']
    volumes: ['pages:/var/www/html:ro']
    depends_on: [worker]
    restart: unless-stopped
  worker:
    image: postgres:1
    user: root
    environment: {PGHOST: db, PGUSER: postgres}
    command:
      - sh
      - -ec
      - |
        psql -qc 'create table if not exists jobs (id serial, at timestamptz default now())'
        while :; do
          psql -qtAc 'insert into jobs default values; select max(id) from jobs' >/pages/new.$$HOSTNAME
          mv /pages/new.$$HOSTNAME /pages/index.html
          echo done
          sleep 0.2
        done
    volumes: ['pages:/pages']
    depends_on:
      db: {condition: service_healthy}
    restart: on-failure
    stop_grace_period: 1s
  db:
    image: postgres:1
    volumes: ['data:/data']
    shm_size: 64m
    healthcheck:
      test: [CMD, pg_isready, -h, 127.0.0.1]
      interval: 500ms
      retries: 100
volumes: {data: {}, pages: {}}
";

/// The number on the page, if there is one.
fn page(engine: &Engine) -> Option<u64> {
    let mut fetch = engine.sandbox().network_command("curl");
    fetch.args(["-s", "-f", "-m", "5", "http://127.0.0.1:8080/"]);
    run(fetch, b"").stdout.trim().parse().ok()
}

/// Waits until the page has a larger number than this one.
fn goes_on(engine: &Engine, from: u64) -> u64 {
    eventually("the worker works and the page shows it", SOON, || {
        page(engine).filter(|number| *number > from)
    })
}

#[test]
fn compose_brings_up_a_web_server_a_database_and_a_worker() {
    Engine::run(|engine| {
        engine.load(&testkit::image::postgres());
        engine.load(&testkit::image::debian());
        std::fs::write(engine.folder().join("docker-compose.yml"), SHOP).unwrap();
        let compose = |args: &[&str]| compose(engine, args);
        compose(&["up", "-d"]).ok();
        let seen = goes_on(engine, 1);
        let shown = compose(&["ps"]).ok().stdout;
        let line = |name: &str| {
            shown
                .lines()
                .find(|line| line.contains(name))
                .unwrap_or_default()
                .to_owned()
        };
        assert!(line("proj_db_1").contains("Up (healthy)"), "{shown}");
        assert!(
            line("proj_web_1").contains("127.0.0.1:8080->80/tcp"),
            "{shown}"
        );
        assert!(line("proj_worker_1").contains("Up"), "{shown}");
        assert!(
            compose(&["logs", "--tail", "1", "worker"])
                .ok()
                .stdout
                .contains("done")
        );
        let asked = [
            "exec",
            "-T",
            "db",
            "psql",
            "-qtAc",
            "select count(*) > 0 from jobs",
        ];
        assert_eq!(compose(&asked).ok().text(), "t");
        // Nothing has changed: nothing is made anew.
        let ids = || compose(&["ps", "-q"]).ok().stdout;
        let before = ids();
        compose(&["up", "-d"]).ok();
        assert_eq!(ids(), before);
        compose(&["up", "-d", "--scale", "worker=3"]).ok();
        assert_eq!(
            compose(&["ps", "-q", "worker"]).ok().stdout.lines().count(),
            3
        );
        compose(&["up", "-d", "--scale", "worker=1"]).ok();
        // Neither a daemon that dies nor a database that is restarted ends it.
        engine.kill_daemon();
        let seen = goes_on(engine, seen);
        engine.start_daemon();
        compose(&["restart", "db"]).ok();
        let seen = goes_on(engine, seen);
        compose(&["stop"]).ok();
        assert_eq!(page(engine), None);
        compose(&["start"]).ok();
        let seen = goes_on(engine, seen);
        // The data stays until it is asked to go.
        compose(&["down"]).ok();
        let named = ["volume", "ls", "-q", "--filter", "name=proj_"];
        let volumes = || engine.d(&named).ok().stdout;
        assert_eq!(volumes(), "proj_data\nproj_pages\n");
        compose(&["up", "-d"]).ok();
        goes_on(engine, seen);
        compose(&["down", "-v"]).ok();
        assert_eq!(volumes(), "");
    });
}

//! What containers use, over the API and by both clients.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use testkit::{Engine, Kind, eventually};

fn asked(engine: &Engine, query: &str) -> Value {
    let path = format!("/v1.41/containers/cc/stats?{query}");
    let (status, body) = engine.ask("GET", &path, "text/plain", b"").unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn statistics_are_read_once() {
    Engine::run(|engine| {
        engine.load_busybox();
        let work = "head -c 2000000 /dev/zero > /f; while :; do :; done";
        let args = [
            "run", "-d", "--name", "cc", "-m", "64m", "busybox", "sh", "-c",
        ];
        engine.d(&[&args[..], &[work]].concat()).ok();
        let stats = asked(engine, "stream=0");
        assert_eq!(stats["name"], "/cc");
        let used = |part: &str| {
            stats[part]["cpu_usage"]["total_usage"]
                .as_u64()
                .unwrap_or(0)
        };
        assert!(used("cpu_stats") > used("precpu_stats"), "{stats}");
        assert!(stats["cpu_stats"]["system_cpu_usage"].as_u64() > Some(0));
        assert_eq!(stats["memory_stats"]["limit"], 64 << 20);
        assert!(stats["memory_stats"]["usage"].as_u64() > Some(0));
        assert!(stats["pids_stats"]["current"].as_u64() >= Some(1));
        assert!(stats["networks"]["eth0"]["rx_bytes"].is_u64(), "{stats}");
        if engine.kind() == Kind::Wharf {
            let stats = asked(engine, "stream=0&one-shot=1");
            assert_eq!(stats["precpu_stats"]["cpu_usage"]["total_usage"], 0);
        }
        engine.d(&["stop", "-t", "0", "cc"]).ok();
        let stats = asked(engine, "stream=0");
        assert_eq!(stats["read"], "0001-01-01T00:00:00Z");
        assert_eq!(stats["memory_stats"], serde_json::json!({}));
        engine.d(&["rm", "cc"]).ok();
    });
}

#[test]
fn both_clients_show_a_table() {
    Engine::run(|engine| {
        engine.load_busybox();
        let args = ["run", "-d", "--name", "cc", "-m", "64m", "busybox"];
        engine.d(&[&args[..], &["sleep", "1000"]].concat()).ok();
        engine.d(&["create", "--name", "idle", "busybox"]).ok();
        for client in [Engine::d, Engine::w] {
            let table = client(engine, &["stats", "--no-stream"]).ok();
            let lines: Vec<_> = table.stdout.lines().collect();
            assert_eq!(lines.len(), 2, "{}", table.stdout);
            let heading: Vec<_> = lines[0]
                .split("  ")
                .filter(|cell| !cell.is_empty())
                .collect();
            assert_eq!(
                heading.iter().map(|cell| cell.trim()).collect::<Vec<_>>(),
                [
                    "CONTAINER ID",
                    "NAME",
                    "CPU %",
                    "MEM USAGE / LIMIT",
                    "MEM %",
                    "NET I/O",
                    "BLOCK I/O",
                    "PIDS"
                ]
            );
            assert!(lines[1].contains(" / 64MiB "), "{}", lines[1]);
            assert!(lines[1].trim_end().ends_with('1'), "{}", lines[1]);
            let format = "{{.Name}} {{.PIDs}} {{.Container}}";
            let all = client(engine, &["stats", "-a", "--no-stream", "--format", format]).ok();
            assert_eq!(all.stdout.lines().count(), 2, "{}", all.stdout);
            assert!(all.stdout.contains("idle 0 "), "{}", all.stdout);
            let args = ["stats", "--no-stream", "--format", format, "cc", "idle"];
            assert_eq!(client(engine, &args).ok().stdout, "cc 1 cc\nidle 0 idle\n");
        }
        engine.d(&["rm", "-f", "cc", "idle"]).ok();
    });
}

#[test]
fn who_works_and_who_does_not_is_seen_at_once() {
    Engine::run(|engine| {
        engine.load_busybox();
        let start = |name: &str, script: &str| {
            engine
                .d(&["run", "-d", "--name", name, "busybox", "sh", "-c", script])
                .ok();
        };
        start("works", "while :; do :; done");
        start("waits", "sleep 1000");
        for client in [Engine::d, Engine::w] {
            // On a host that does much else, the one that works may not be given a tick in between.
            eventually("who works is seen", Duration::from_secs(30), || {
                let format = "{{.Name}} {{.CPUPerc}}";
                let table = client(engine, &["stats", "--no-stream", "--format", format]).ok();
                let share = |name: &str| -> f64 {
                    let line = table.stdout.lines().find(|line| line.starts_with(name));
                    let (_, share) = line.unwrap().split_once(' ').unwrap();
                    share.trim_end_matches('%').parse().unwrap()
                };
                (share("works") > 5.0 && share("waits") == 0.0).then_some(())
            });
        }
        // By the clock, not by ticks: the share of a tenth of a second is exact.
        if engine.kind() == Kind::Wharf {
            let body = engine
                .ask("GET", "/containers/works/stats?stream=0", "text/plain", b"")
                .unwrap()
                .1;
            let stats: Value = serde_json::from_str(&body).unwrap();
            let of = |part: &str| stats[part]["system_cpu_usage"].as_u64().unwrap();
            let passed = of("cpu_stats") - of("precpu_stats");
            let processors = stats["cpu_stats"]["online_cpus"].as_u64().unwrap();
            assert!(
                passed >= processors * 100_000_000,
                "{passed} of {processors}"
            );
            assert_ne!(passed % 10_000_000, 0);
        }
        engine.d(&["rm", "-f", "works", "waits"]).ok();
    });
}

#[test]
fn a_stream_of_statistics_ends_with_its_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        let args = ["run", "-d", "--name", "cc", "busybox", "sleep", "1000"];
        engine.d(&args).ok();
        let mut socket = UnixStream::connect(engine.socket()).unwrap();
        let request =
            "GET /v1.41/containers/cc/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut readings = BufReader::new(socket)
            .lines()
            .map(|line| line.expect("the stream goes on, or ends"))
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let (first, second) = (readings.next().unwrap(), readings.next().unwrap());
        let used = |stats: &Value| stats["cpu_usage"]["total_usage"].as_u64();
        assert_eq!(used(&second["precpu_stats"]), used(&first["cpu_stats"]));
        assert_eq!(second["preread"], first["read"]);
        engine.d(&["rm", "-f", "cc"]).ok();
        // The end of the answer: a timeout would be an error.
        readings.for_each(drop);
    });
}

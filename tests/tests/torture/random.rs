//! The daemon is killed at random while clients run, restart, exec, follow and pull, and while a
//! published port is asked all the time. Nobody is told anything that is not true, the port loses
//! no request, and nothing stays.
//!
//! The seed is printed; `WHARF_SEED` repeats it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::{Engine, Finished, Registry};

/// A small generator of numbers that repeats with its seed (Knuth's multiplier).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The image that is pulled.
const REMOTE: &str = "localhost:5000/three:latest";

/// Threads that ask the published port, and requests a second that they send together.
const ASKERS: u32 = 16;
const RATE: u32 = 500;

/// What the threads share.
struct Field<'a> {
    engine: &'a Engine,
    over: AtomicBool,
    done: AtomicU64,
}

impl Field<'_> {
    /// Calls until the killing is over; a moment between two calls, as between two of a person.
    fn until_over(&self, mut step: impl FnMut(&Engine, u64)) {
        let mut number = 0;
        while !self.over.load(Ordering::Relaxed) {
            step(self.engine, number);
            number += 1;
            self.done.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Repeats a command until a daemon has answered it.
    #[track_caller]
    fn answered(&self, args: &[&str]) -> Finished {
        testkit::eventually(&format!("{args:?}"), Duration::from_secs(60), || {
            let done = self.engine.w(args);
            (!went_away(&done)).then_some(done)
        })
    }
}

/// Whether a client failed because there was no daemon, or none any more.
fn went_away(done: &Finished) -> bool {
    let signs = [
        "Cannot connect to the Docker daemon",
        "cannot reach",
        "connection reset",
        "Connection reset",
        "broken pipe",
        "Broken pipe",
        "EOF",
        "unexpected end",
        "connection closed",
        "closed the connection",
        "went away",
        "before message completed",
    ];
    done.status != 0 && signs.iter().any(|sign| done.stderr.contains(sign))
}

/// Kills the daemon so many times, checks everything. `least` is how many of the [`RATE`] requests a second must have
/// been sent, on a machine as busy as this makes it, so that the port is seen to be asked.
pub fn kill_at_random(kills: u32, least: f64) {
    if testkit::Kind::from_environment() == testkit::Kind::Dockerd {
        testkit::skip("only this engine is killed");
        return;
    }
    let seed = std::env::var("WHARF_SEED").map_or_else(
        |_| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(now.unwrap().subsec_nanos())
        },
        |text| text.parse().expect("WHARF_SEED is a number"),
    );
    println!("WHARF_SEED={seed}");
    Engine::run(|engine| {
        let engine = &*engine;
        let registry = prepare(engine);
        let field = Field {
            engine,
            over: AtomicBool::new(false),
            done: AtomicU64::new(0),
        };
        let begin = Instant::now();
        let asked = std::thread::scope(|scope| {
            let field = &field;
            let clients = [
                scope.spawn(|| runs(field)),
                scope.spawn(|| restarts(field)),
                scope.spawn(|| execs(field)),
                scope.spawn(|| follows(field)),
                scope.spawn(|| pulls(field)),
            ];
            let askers: Vec<_> = (0..ASKERS).map(|_| scope.spawn(|| ask(field))).collect();
            let killing = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut dice = Dice(seed);
                for _ in 0..kills {
                    std::thread::sleep(Duration::from_millis(20 + dice.below(600)));
                    engine.kill_daemon();
                    std::thread::sleep(Duration::from_millis(dice.below(100)));
                    engine.start_daemon();
                }
            }));
            field.over.store(true, Ordering::Relaxed);
            for client in clients {
                client.join().unwrap();
            }
            let asked: u64 = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
            if let Err(panic) = killing {
                std::panic::resume_unwind(panic);
            }
            asked
        });
        let rate = asked as f64 / begin.elapsed().as_secs_f64();
        println!(
            "{kills} kills, {} client calls, {asked} requests to the port, {rate:.0} a second",
            field.done.load(Ordering::Relaxed)
        );
        assert!(rate >= least, "the port was asked {rate:.0} times a second");
        nothing_is_doubled(engine);
        disk_usage_is_true(engine);
        // A download that was cut is kept for the next pull, which takes it up.
        engine.w(&["pull", "-q", REMOTE]).ok();
        engine.check_leaks();
        little_is_left(engine);
        drop(registry);
    });
}

fn prepare(engine: &Engine) -> Registry {
    engine.load_busybox();
    let folder = engine.folder();
    let archive = folder.join("three.tar");
    std::fs::write(&archive, testkit::image::three_layers()).unwrap();
    let registry = Registry::start(engine.sandbox(), &folder);
    registry.push(engine.sandbox(), &archive, "three:latest");
    engine
        .w(&[
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "8080:80",
            "busybox",
            "sh",
            "-c",
            "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www",
        ])
        .ok();
    engine
        .w(&[
            "run",
            "-d",
            "--name",
            "base",
            "busybox",
            "sh",
            "-c",
            "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done",
        ])
        .ok();
    registry
}

/// `run --rm`: what ended with 0 has printed everything.
fn runs(field: &Field<'_>) {
    field.until_over(|engine, number| {
        let text = format!("number {number}");
        let done = engine.w(&["run", "--rm", "busybox", "echo", &text]);
        if done.status == 0 {
            assert_eq!(done.text(), text);
        } else {
            assert!(went_away(&done), "{}: {}", done.status, done.stderr);
        }
    });
}

/// `run -d --restart`: what was told to run is there; what was told to be removed is not.
fn restarts(field: &Field<'_>) {
    field.until_over(|engine, number| {
        let name = format!("again{number}");
        let done = engine.w(&[
            "run",
            "-d",
            "--restart",
            "always",
            "--name",
            &name,
            "busybox",
            "sleep",
            "0.1",
        ]);
        if done.status == 0 {
            let state = field.answered(&["inspect", "-f", "{{.Id}}", &name]).ok();
            assert_eq!(state.text(), done.text());
        } else {
            assert!(went_away(&done), "{}: {}", done.status, done.stderr);
        }
        let removed = field.answered(&["rm", "-f", &name]);
        if removed.status == 0 {
            field.answered(&["inspect", &name]).fails_with(1);
        } else {
            assert!(
                removed.stderr.contains("No such container"),
                "{}",
                removed.stderr
            );
        }
    });
}

fn execs(field: &Field<'_>) {
    field.until_over(|engine, number| {
        let text = format!("number {number}");
        let done = engine.w(&["exec", "base", "echo", &text]);
        if done.status == 0 {
            assert_eq!(done.text(), text);
        } else {
            assert!(went_away(&done), "{}: {}", done.status, done.stderr);
        }
    });
}

/// `logs -f`: each follower sees every line from the first to where it was cut.
fn follows(field: &Field<'_>) {
    field.until_over(|engine, _| {
        let mut command = engine.wharf(&["logs", "-f", "base"]);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut text = String::new();
        let mut output = child.stdout.take().unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| output.read_to_string(&mut text));
            let end = Instant::now() + Duration::from_secs(2);
            while Instant::now() < end && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
            reader.join().unwrap().unwrap();
        });
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in whole.lines().enumerate() {
            assert_eq!(line, number.to_string(), "a line of the log is missing");
        }
    });
}

fn pulls(field: &Field<'_>) {
    let name = REMOTE;
    field.until_over(|engine, _| {
        let done = engine.w(&["pull", "-q", name]);
        if done.status == 0 {
            field.answered(&["image", "inspect", name]).ok();
        } else {
            assert!(went_away(&done), "{}: {}", done.status, done.stderr);
        }
        let removed = field.answered(&["rmi", name]);
        if removed.status == 0 {
            field.answered(&["image", "inspect", name]).fails_with(1);
        } else {
            assert!(
                removed.stderr.contains("No such image"),
                "{}",
                removed.stderr
            );
        }
    });
}

/// One of those that ask a published port; how often it asked.
fn ask(field: &Field<'_>) -> u64 {
    let holder = field.engine.sandbox().holder();
    let net = std::fs::File::open(format!("/proc/{holder}/ns/net")).unwrap();
    testkit::enter_network(&net);
    let begin = Instant::now();
    let mut asked = 0;
    while !field.over.load(Ordering::Relaxed) {
        let answer = request();
        assert!(
            answer.as_ref().is_ok_and(|text| text.ends_with("hello\n")),
            "request {asked} was lost: {answer:?}"
        );
        asked += 1;
        let due = begin + Duration::from_secs(1) * ASKERS / RATE * u32::try_from(asked).unwrap();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    asked
}

fn request() -> std::io::Result<String> {
    let mut socket = TcpStream::connect("127.0.0.1:8080")?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    Ok(text)
}

/// As many supervised containers as rows that say so, and each once.
fn nothing_is_doubled(engine: &Engine) {
    let listed = engine.w(&["ps", "-aq", "--no-trunc"]).ok().stdout;
    let mut ids: Vec<_> = listed.lines().collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all);
    for (name, command) in [("web", "httpd -f -p 80"), ("base", "sh -c i=0;")] {
        let processes = engine.sandbox().processes();
        let number = processes
            .iter()
            .filter(|process| process.command.starts_with(command))
            // Not what the script forks.
            .filter(|process| {
                let supervised = |other: &&testkit::Process| {
                    other.pid == process.parent && other.command.starts_with(command)
                };
                !processes.iter().any(|other| supervised(&other))
            })
            .count();
        assert_eq!(number, 1, "{name}: {processes:#?}");
    }
}

/// `system df` says what is on the disk, within one per cent.
fn disk_usage_is_true(engine: &Engine) {
    let (status, text) = engine.ask("GET", "/v1.44/system/df", "", b"").unwrap();
    assert_eq!(status, 200, "{text}");
    let usage: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sum = |list: &str, size: &dyn Fn(&serde_json::Value) -> Option<u64>| -> u64 {
        let items = usage[list].as_array().into_iter().flatten();
        items.filter_map(size).sum()
    };
    let told = usage["LayersSize"].as_u64().unwrap()
        + sum("Containers", &|container| container["SizeRw"].as_u64())
        + sum("Volumes", &|volume| volume["UsageData"]["Size"].as_u64());
    let found: u64 = ["layers", "blobs", "ingest", "containers", "volumes"]
        .iter()
        .map(|folder| du(&engine.data_root().join("v1").join(folder)))
        .sum();
    assert!(
        told.abs_diff(found) <= found / 100,
        "system df says {told} bytes, du {found}: {usage:#}"
    );
}

fn little_is_left(engine: &Engine) {
    let built_in = engine
        .w(&["images", "-q", "--no-trunc", "wharf/isolation"])
        .ok();
    let id = built_in.text().lines().next().expect("the built-in image");
    engine.w(&["rmi", "-f", id]).ok();
    let left = du(&engine.data_root());
    assert!(left < 10 << 20, "{left} bytes are left");
}

/// What du(1) counts, in bytes.
fn du(folder: &Path) -> u64 {
    let mut command = std::process::Command::new("du");
    command.args(["-s", "-B1"]).arg(folder);
    let output = testkit::run(command, b"").ok();
    output
        .stdout
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

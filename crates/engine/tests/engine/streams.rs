//! Logs, attached clients, executed commands.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use engine::{AttachOptions, Engine, ExecStart, ExecStartOptions, LogsOptions, WaitCondition};

use crate::kit::{self, Roots, eventually, read_all, request, run_container};

pub(crate) const TESTS: [(&str, fn()); 5] = [
    ("logs_are_kept_and_followed", logs_are_kept_and_followed),
    ("input_reaches_the_program", input_reaches_the_program),
    ("commands_are_executed", commands_are_executed),
    ("events_are_told_in_order", events_are_told_in_order),
    (
        "a_slow_listener_misses_no_event",
        a_slow_listener_misses_no_event,
    ),
];

async fn log_text(engine: &Engine, id: &str, options: LogsOptions) -> String {
    let mut logs = engine.logs(id, options).await.expect("logs");
    let mut text = String::new();
    while let Some(chunk) = logs.chunks.recv().await {
        let chunk = chunk.expect("a chunk");
        text.push_str(&format!("{}", String::from_utf8_lossy(&chunk.bytes)));
    }
    text
}

fn logs_are_kept_and_followed() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let ran = run_container(&engine, request(&["both"])).await;
        let both = LogsOptions {
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let text = log_text(&engine, &ran.id, both.clone()).await;
        assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
        let errors = LogsOptions {
            stderr: true,
            ..Default::default()
        };
        assert_eq!(log_text(&engine, &ran.id, errors).await, "err\n");

        let id = engine
            .create(None, request(&["ticks"]), None)
            .await
            .expect("create")
            .id;
        engine.start(&id, None).await.expect("start");
        let mut logs = engine
            .logs(
                &id,
                LogsOptions {
                    follow: true,
                    ..both
                },
            )
            .await
            .expect("logs");
        for _ in 0..3 {
            assert!(
                logs.chunks
                    .recv()
                    .await
                    .expect("a tick")
                    .expect("readable")
                    .bytes
                    .starts_with(b"tick\n")
            );
        }
        engine.kill(&id, None).await.expect("kill");
        while logs.chunks.recv().await.is_some() {}
        kit::clean_up(engine).await;
    });
}

fn input_reaches_the_program() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let mut request = request(&["cat"]);
        request.config.open_stdin = true;
        request.config.stdin_once = true;
        let id = engine.create(None, request, None).await.expect("create").id;
        let options = AttachOptions {
            stdin: true,
            stdout: true,
            stream: true,
            raw: true,
            ..Default::default()
        };
        let ticket = engine.attach_intent(&id, options).await.expect("attach");
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        ticket
            .deliver(OwnedFd::from(theirs), b"left".to_vec())
            .await
            .expect("deliver");
        let wait = engine
            .wait(&id, WaitCondition::NextExit)
            .await
            .expect("wait");
        engine.start(&id, None).await.expect("start");
        ours.write_all(b"over").expect("write");
        ours.shutdown(std::net::Shutdown::Write)
            .expect("half-close");
        assert_eq!(read_all(ours).await, "leftover");
        assert_eq!(wait.await.expect("the end").status_code, 0);
        kit::clean_up(engine).await;
    });
}

fn commands_are_executed() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let id = engine
            .create(None, request(&["sleep"]), None)
            .await
            .expect("create")
            .id;
        engine.start(&id, None).await.expect("start");
        let exec = |words: &[&str]| api_types::ExecCreate {
            attach_stdout: true,
            attach_stderr: true,
            cmd: Some(
                words
                    .iter()
                    .map(|&word| word.to_owned())
                    .collect::<Vec<_>>()
                    .into(),
            ),
            ..Default::default()
        };
        let run = async |words: &[&str]| {
            let exec = engine
                .exec_create(&id, exec(words))
                .await
                .expect("exec create");
            let ExecStart::Attach(ticket) = engine
                .exec_start(&exec, ExecStartOptions::default())
                .await
                .expect("exec start")
            else {
                panic!("it was not detached");
            };
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            let delivered = ticket.deliver(OwnedFd::from(theirs), Vec::new()).await;
            let text = read_all(ours).await;
            eventually("the exec ends", async || {
                !engine.exec_inspect(&exec).await.expect("inspect").running
            })
            .await;
            (
                text,
                engine.exec_inspect(&exec).await.expect("inspect").exit_code,
                delivered.is_ok(),
            )
        };
        let (text, code, _) = run(&["/wharf", "inside", "echo", "in"]).await;
        assert!(text.ends_with("in\n"), "{text:?}");
        assert_eq!(code, Some(0));
        assert_eq!(run(&["/wharf", "inside", "exit", "5"]).await.1, Some(5));
        let (text, code, started) = run(&["nope"]).await;
        assert!(
            text.contains("exec: \"nope\": executable file not found in $PATH"),
            "{text:?}"
        );
        assert_eq!((code, started), (Some(127), false));
        kit::clean_up(engine).await;
    });
}

fn events_are_told_in_order() {
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let mut filters = engine::Filters::default();
        filters.add("type", "container");
        let options = engine::EventsOptions {
            since: Some(0),
            filters,
            ..Default::default()
        };
        let mut live = engine.events(options.clone()).await.expect("events");
        let mut request = request(&["exit", "3"]);
        request.host_config.auto_remove = true;
        let ran = run_container(&engine, request).await;
        let mut seen = Vec::new();
        while seen.last().map(String::as_str) != Some("destroy") {
            let event = live.recv().await.expect("an event");
            assert_eq!(event.actor.id, ran.id);
            seen.push(event.action);
        }
        assert_eq!(seen, ["create", "attach", "start", "die", "destroy"]);
        let mut again = engine.events(options).await.expect("events");
        for action in &seen {
            assert_eq!(again.recv().await.expect("an event").action, *action);
        }
        kit::clean_up(engine).await;
    });
}

/// More events than are told by the way to one who is slow, and than are read from the history at a time.
fn a_slow_listener_misses_no_event() {
    const MANY: usize = 1500;
    kit::run(async {
        let roots = Roots::new();
        let engine = Engine::open(roots.config()).await.expect("open");
        let mut request = request(&["sleep"]);
        request.config.tty = true;
        let ran = engine.create(None, request, None).await.expect("create");
        engine.start(&ran.id, None).await.expect("start");
        let mut filters = engine::Filters::default();
        filters.add("event", "resize");
        let options = engine::EventsOptions {
            since: Some(0),
            filters,
            ..Default::default()
        };
        let expect = async |events: &mut engine::EventStream| {
            for number in 0..MANY {
                let event = events.recv().await.expect("an event");
                assert_eq!(event.actor.attributes["height"], number.to_string());
            }
        };
        let mut live = engine.events(options.clone()).await.expect("events");
        for number in 0..MANY {
            let rows = u16::try_from(number).expect("a size");
            engine.resize(&ran.id, rows, 80).await.expect("resize");
        }
        expect(&mut live).await;
        let mut again = engine.events(options).await.expect("events");
        expect(&mut again).await;
        kit::clean_up(engine).await;
    });
}

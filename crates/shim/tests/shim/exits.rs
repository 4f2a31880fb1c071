//! Starts and exits.

use shim::protocol::{EventKind, Framing, Refusal, Request, RestartOutlook, StopRequest};

use crate::Case;
use crate::daemon::{Container, read_all, unframe};

pub(crate) const CASES: &[Case] = &[
    ("a program runs, and everybody is told", a_program_runs),
    ("a program that is not there", missing_program),
    ("an exit status and a signal", exit_statuses),
];

fn a_program_runs() {
    let mut container = Container::shell("echo out; echo err >&2; exit 3");
    let mut client = container.client(false, Framing::Multiplexed);
    let mut running = container.launch().unwrap();
    assert_eq!(unframe(&read_all(&mut client)), ("out\n".to_owned(), "err\n".to_owned()));
    drop(client);
    assert_eq!(running.exit(), 3);
    let log = running.log();
    assert!(log.contains(r#"{"log":"out\n","stream":"stdout","time":""#), "{log}");
    assert!(log.contains(r#"{"log":"err\n","stream":"stderr","time":""#), "{log}");
    let journal = running.journal();
    assert!(matches!(journal[0], EventKind::Started { pid, restarts: 0, start_ticks: 1.. } if pid == running.pid));
    let exited =
        EventKind::Exited { code: 3, signal: 0, oom: false, restart: RestartOutlook::None };
    assert_eq!(journal[1..], [exited]);
    running.release();
}

fn missing_program() {
    let mut container = Container::program(&["nope"]);
    let Err(refusal) = container.launch() else { panic!("it started") };
    let Refusal::Fault { text, exit_code: 127, .. } = refusal else { panic!("{refusal:?}") };
    assert_eq!(text, "exec: \"nope\": executable file not found in $PATH");
}

fn exit_statuses() {
    let mut container = Container::shell("sleep 1000");
    let mut running = container.launch().unwrap();
    running.ask(&Request::Signal { signal: 9, exec: None }).unwrap();
    let (code, signal) = running.event(|kind| match kind {
        EventKind::Exited { code, signal, .. } => Some((*code, *signal)),
        _ => None,
    });
    assert_eq!((code, signal), (137, 9));
    let refused = running.ask(&Request::Signal { signal: 9, exec: None });
    assert_eq!(refused, Err(Refusal::NotRunning));
    assert_eq!(running.ask(&Request::Stop(StopRequest::default())), Err(Refusal::NotRunning));
    running.release();
}

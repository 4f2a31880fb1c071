//! What clients see and send.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use shim::protocol::{EventKind, Framing, Refusal, Reply, Request, Slot};

use crate::Case;
use crate::daemon::{Container, PATIENCE, Running, client, read_all, read_until, send, unframe};

pub(crate) const CASES: &[Case] = &[
    ("input ends with the client's", input_ends),
    (
        "input outlives its clients unless told otherwise",
        input_outlives_clients,
    ),
    (
        "input that was read before the handover comes first",
        leftover_comes_first,
    ),
    ("without an input a client's words are dropped", no_input),
    ("several clients get the same", several_clients),
    ("a client gets the streams it asked for", chosen_streams),
    (
        "a client that does not read holds the program up",
        slow_reader,
    ),
    ("a client that leaves does not disturb", client_leaves),
    ("a megabyte each way loses nothing", much_data),
    ("the last output is not lost", last_output),
    ("a terminal has its size at the first read", terminal_size),
    ("a terminal is resized", terminal_resize),
    ("detach keys", detach_keys),
    (
        "the end of a terminal client's input detaches it",
        terminal_half_close,
    ),
    ("input is closed on request", close_input),
];

fn input_ends() {
    let mut container = Container::program(&["cat"]).with_input(true);
    let mut client = container.client(true, Framing::Multiplexed);
    let mut running = container.launch().unwrap();
    send(&mut client, "one\ntwo\n");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(unframe(&read_all(&mut client)).0, "one\ntwo\n");
    assert_eq!(running.exit(), 0);
    running.release();
}

fn input_outlives_clients() {
    let mut container = Container::program(&["cat"]).with_input(false);
    let mut first = container.client(true, Framing::Raw);
    let mut running = container.launch().unwrap();
    send(&mut first, "one\n");
    assert_eq!(read_until(&mut first, "one\n"), "one\n");
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut first), b"");
    drop(first);
    let mut second = attach(&mut running, true);
    send(&mut second, "two\n");
    assert_eq!(read_until(&mut second, "two\n"), "two\n");
    running.ask(&Request::CloseStdin { exec: None }).unwrap();
    assert_eq!(running.exit(), 0);
    drop(second);
    running.release();
}

fn leftover_comes_first() {
    let mut container = Container::program(&["cat"]).with_input(true);
    let mut client = container.client(true, Framing::Raw);
    container.launch.attachments[0].leftover = b"one ".to_vec();
    let mut running = container.launch().unwrap();
    send(&mut client, "two");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"one two");
    drop(client);
    assert_eq!(running.exit(), 0);
    running.release();
}

fn no_input() {
    let mut container = Container::shell("cat; echo done");
    let mut client = container.client(true, Framing::Raw);
    send(&mut client, "nobody reads this");
    client.shutdown(Shutdown::Write).unwrap();
    let mut running = container.launch().unwrap();
    assert_eq!(read_all(&mut client), b"done\n");
    drop(client);
    assert_eq!(running.exit(), 0);
    running.release();
}

/// Attaches to the container as a client that comes later.
fn attach(running: &mut Running, stdin: bool) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let request = Request::Attach(Box::new(client(Slot(0), stdin, Framing::Raw)));
    assert_eq!(
        running.ask_with(&request, &[theirs.as_fd()]),
        Ok(Reply::Done)
    );
    ours
}

fn several_clients() {
    let mut container = Container::shell("read line; seq 1 1000").with_input(true);
    let mut first = container.client(true, Framing::Raw);
    let mut second = container.client(false, Framing::Multiplexed);
    let mut running = container.launch().unwrap();
    let mut third = attach(&mut running, false);
    assert_eq!(running.status().attached, 3);
    send(&mut first, "go\n");
    let expected: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8(read_all(&mut first)).unwrap(), expected);
    assert_eq!(unframe(&read_all(&mut second)).0, expected);
    assert_eq!(String::from_utf8(read_all(&mut third)).unwrap(), expected);
    assert_eq!(running.exit(), 0);
    drop((first, second, third));
    running.release();
}

fn chosen_streams() {
    let mut container = Container::shell("echo out; echo err >&2");
    let mut out = container.client(false, Framing::Raw);
    let mut err = container.client(false, Framing::Raw);
    container.launch.attachments[0].stderr = false;
    container.launch.attachments[1].stdout = false;
    let mut running = container.launch().unwrap();
    assert_eq!(read_all(&mut out), b"out\n");
    assert_eq!(read_all(&mut err), b"err\n");
    running.exit();
    drop((out, err));
    running.release();
}

/// Memory of the shim that serves a container, in KiB.
fn shim_memory(running: &Running) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", running.shim())).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn slow_reader() {
    let mut container = Container::shell("yes 0123456789 | head -c 20000000; echo end >/tmp/end");
    container.launch.log = shim::protocol::LogConfig::None;
    let mut client = container.client(false, Framing::Raw);
    let mut running = container.launch().unwrap();
    let before = shim_memory(&running);
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        !container.in_root("tmp/end").exists(),
        "the program was not held up"
    );
    let grown = shim_memory(&running).saturating_sub(before);
    assert!(grown < 512, "the shim grew by {grown} KiB");
    // Another client and requests are served meanwhile.
    assert_eq!(running.status().attached, 1);
    let mut length = 0;
    let mut buffer = vec![0; 1 << 16];
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        match client.read(&mut buffer).unwrap() {
            0 => break,
            read => length += read,
        }
    }
    assert_eq!(length, 20_000_000);
    assert_eq!(running.exit(), 0);
    drop(client);
    running.release();
}

fn client_leaves() {
    let mut container =
        Container::shell("read line; seq 1 100000 | while read n; do echo $n; done; exit 5");
    let container_input = container.with_input(true);
    container = container_input;
    let leaving = container.client(false, Framing::Raw);
    let mut staying = container.client(true, Framing::Raw);
    let mut running = container.launch().unwrap();
    send(&mut staying, "go\n");
    drop(leaving);
    let all = String::from_utf8(read_all(&mut staying)).unwrap();
    assert_eq!(all.lines().count(), 100_000);
    assert_eq!(running.exit(), 5);
    drop(staying);
    running.release();
}

fn much_data() {
    let mut container = Container::program(&["cat"]).with_input(true);
    let mut client = container.client(true, Framing::Multiplexed);
    let mut running = container.launch().unwrap();
    let data: String = (0..150_000).map(|n| format!("{n:06}\n")).collect();
    let mut writer = client.try_clone().unwrap();
    let sent = data.clone();
    let sender = std::thread::spawn(move || {
        send(&mut writer, &sent);
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let (stdout, stderr) = unframe(&read_all(&mut client));
    sender.join().unwrap();
    assert!(stdout == data && stderr.is_empty());
    assert_eq!(running.exit(), 0);
    drop(client);
    running.release();
}

fn last_output() {
    for round in 0..50 {
        let mut container = Container::program(&["printf", "x"]);
        let mut client = container.client(false, Framing::Multiplexed);
        let mut running = container.launch().unwrap();
        assert_eq!(unframe(&read_all(&mut client)).0, "x", "in round {round}");
        drop(client);
        assert_eq!(running.exit(), 0);
        assert!(running.log().contains(r#"{"log":"x","stream":"stdout""#));
        running.release();
    }
}

fn terminal_size() {
    let mut container = Container::program(&["stty", "size"]).with_terminal();
    container.plan.console_size = Some((33, 101));
    let mut client = container.client(true, Framing::Raw);
    let mut running = container.launch().unwrap();
    assert_eq!(read_all(&mut client), b"33 101\r\n");
    assert_eq!(running.exit(), 0);
    assert!(
        running
            .log()
            .contains(r#"{"log":"33 101\r\n","stream":"stdout""#)
    );
    drop(client);
    running.release();
}

fn terminal_resize() {
    let mut container = Container::shell("read line; stty size").with_terminal();
    let mut client = container.client(true, Framing::Raw);
    let mut running = container.launch().unwrap();
    running
        .ask(&Request::Resize {
            exec: None,
            rows: 12,
            columns: 34,
        })
        .unwrap();
    send(&mut client, "\r");
    read_until(&mut client, "12 34\r\n");
    assert_eq!(running.exit(), 0);
    drop(client);
    running.release();
    let mut container = Container::shell("sleep 1000");
    let mut running = container.launch().unwrap();
    let refused = running.ask(&Request::Resize {
        exec: None,
        rows: 12,
        columns: 34,
    });
    assert_eq!(
        refused,
        Err(Refusal::Without {
            what: "terminal".to_owned()
        })
    );
    kill(running);
}

/// Ends a container that would run on.
pub(crate) fn kill(mut running: Running) {
    running
        .ask(&Request::Signal {
            signal: 9,
            exec: None,
        })
        .unwrap();
    running.exit();
    running.release();
}

fn detach_keys() {
    let mut container = Container::program(&["cat"]).with_terminal();
    let mut client = container.client(true, Framing::Raw);
    let mut running = container.launch().unwrap();
    send(&mut client, "a\u{10}b\r");
    read_until(&mut client, "b\r\n");
    send(&mut client, "c\u{10}\u{11}d");
    let rest = String::from_utf8(read_all(&mut client)).unwrap();
    assert!(!rest.contains('d'), "{rest:?}");
    drop(client);
    let token = running.event(|kind| match kind {
        EventKind::Detached { token, exec: None } => Some(*token),
        _ => None,
    });
    assert_eq!(token, 7);
    assert_eq!(running.status().attached, 0);
    kill(running);
}

fn terminal_half_close() {
    let mut container = Container::program(&["cat"]).with_terminal();
    let mut client = container.client(true, Framing::Raw);
    let running = container.launch().unwrap();
    send(&mut client, "x\r");
    read_until(&mut client, "x\r\n");
    client.shutdown(Shutdown::Write).unwrap();
    let begun = Instant::now();
    read_all(&mut client);
    assert!(begun.elapsed() < PATIENCE / 2);
    kill(running);
}

fn close_input() {
    let mut container = Container::program(&["cat"]).with_input(false);
    let mut running = container.launch().unwrap();
    assert_eq!(
        running.ask(&Request::CloseStdin { exec: None }),
        Ok(Reply::Done)
    );
    assert_eq!(running.exit(), 0);
    running.release();
}

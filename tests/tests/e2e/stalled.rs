//! Clients that stop in the middle of an archive: they hold up nobody else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use testkit::{Engine, eventually};

/// Who waits for a place gets it after ten seconds, on a machine with other things to do.
const TURN: Duration = Duration::from_secs(60);

/// A request that says what it sends and sends only this much of it.
fn stalled(engine: &Engine, sent: &[u8]) -> UnixStream {
    let mut client = UnixStream::connect(engine.socket()).unwrap();
    let head = "POST /images/load HTTP/1.1\r\nHost: wharf\r\nContent-Type: application/x-tar\r\nContent-Length: 1000000\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(sent).unwrap();
    client
}

/// What it is told, if it is told anything within a second.
fn answer(client: &mut UnixStream) -> Option<String> {
    client
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut buffer = [0; 4096];
    let count = client.read(&mut buffer).ok()?;
    let told = String::from_utf8_lossy(&buffer[..count]).into_owned();
    told.contains("\"error\":\"").then_some(told)
}

/// The beginning of a Zstandard stream with the largest window, as `zstd --long` writes it: a frame's header, and a block
/// of plain bytes.
fn long_window() -> Vec<u8> {
    let block = 200_u32 << 3;
    let mut start = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (27 - 10) << 3];
    start.extend(&block.to_le_bytes()[..3]);
    start.extend([0; 200]);
    start
}

#[test]
fn a_stalled_load_with_a_large_window_gives_way_to_another() {
    Engine::run(|engine| {
        let mut first = stalled(engine, &long_window());
        // Others come to their turn, and to their own end. Those that come before the first wait for nothing.
        let told = eventually("the first gives way", TURN, || {
            let (status, told) = engine
                .ask("POST", "/images/load", "application/x-tar", &long_window())
                .unwrap();
            assert_eq!(status, 200);
            assert!(told.contains("\"error\""), "{told}");
            assert!(!told.contains("others wait"), "{told}");
            answer(&mut first)
        });
        assert!(told.contains("others wait"), "{told}");
    });
}

#[test]
fn clients_that_do_not_send_leave_threads_to_others() {
    Engine::run(|engine| {
        let clients: Vec<_> = (0..600).map(|_| stalled(engine, b"abc")).collect();
        let begun = Instant::now();
        engine.d(&["run", "--rm", "wharf/isolation"]).ok();
        engine.d(&["ps"]).ok();
        assert!(begun.elapsed() < TURN / 2, "{:?}", begun.elapsed());
        drop(clients);
        engine.load_busybox();
    });
}

#[test]
fn a_load_comes_to_its_turn_though_others_stall() {
    Engine::run(|engine| {
        let clients: Vec<_> = (0..40).map(|_| stalled(engine, b"abc")).collect();
        let begun = Instant::now();
        engine.load_busybox();
        assert!(begun.elapsed() < TURN, "{:?}", begun.elapsed());
        drop(clients);
        engine.d(&["run", "--rm", "busybox", "true"]).ok();
    });
}

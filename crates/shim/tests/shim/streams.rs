//! What clients see and send.

use std::net::Shutdown;

use shim::protocol::Framing;

use crate::Case;
use crate::daemon::{Container, read_all, send, unframe};

pub(crate) const CASES: &[Case] = &[("input ends with the client's", input_ends)];

fn input_ends() {
    let mut container = Container::program(&["cat"]).with_input(true);
    let mut client = container.client(true, Framing::Multiplexed);
    let mut running = container.launch().unwrap();
    send(&mut client, "one\ntwo\n");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(unframe(&read_all(&mut client)).0, "one\ntwo\n");
    drop(client);
    assert_eq!(running.exit(), 0);
    running.release();
}

//! A proxy in front of a registry that counts what it hands on, and stops when it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use testkit::Engine;

/// Which bytes are counted, and held up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Those that clients get.
    Down,
    /// Those that they send.
    Up,
}

/// What happens to a connection when the budget is used up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is closed at both ends.
    Cut,
    /// It stays, and nothing comes any more.
    Hold,
}

struct State {
    budget: u64,
    then: Then,
}

struct Shared {
    handed_on: AtomicU64,
    connections: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

/// A proxy at a port of the engine's loopback; it goes with the engine's network.
pub(super) struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// From `port` to `target`, without a limit; what clients get is counted.
    pub(super) fn start(engine: &Engine, port: u16, target: u16) -> Self {
        Self::start_counting(Way::Down, engine, port, target)
    }

    /// [`Proxy::start`] for bytes of either way.
    pub(super) fn start_counting(way: Way, engine: &Engine, port: u16, target: u16) -> Self {
        let shared = Arc::new(Shared {
            handed_on: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            state: Mutex::new(State {
                budget: u64::MAX,
                then: Then::Cut,
            }),
            changed: Condvar::new(),
        });
        let listener = engine
            .sandbox()
            .within_network(move || TcpListener::bind(("127.0.0.1", port)).unwrap());
        engine.sandbox().network_thread({
            let shared = Arc::clone(&shared);
            move || serve(&listener, target, way, &shared)
        });
        Proxy { shared }
    }

    /// How many bytes went the counted way so far.
    pub(super) fn handed_on(&self) -> u64 {
        self.shared.handed_on.load(Ordering::SeqCst)
    }

    /// How many connections clients hold.
    pub(super) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection once so many bytes were handed on; later ones are served again
    /// after [`Proxy::open`].
    pub(super) fn cut_at(&self, bytes: u64) {
        self.limit(bytes, Then::Cut);
    }

    /// Hands on nothing more once so many bytes were handed on, and leaves connections open.
    pub(super) fn hold_at(&self, bytes: u64) {
        self.limit(bytes, Then::Hold);
    }

    /// Takes the limit away.
    pub(super) fn open(&self) {
        self.limit(u64::MAX, Then::Cut);
    }

    fn limit(&self, budget: u64, then: Then) {
        *self.shared.state.lock().unwrap() = State { budget, then };
        self.shared.changed.notify_all();
    }
}

fn serve(listener: &TcpListener, target: u16, way: Way, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
            continue;
        };
        let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let of = Arc::clone(shared);
        std::thread::spawn(move || {
            carry(from_client, to_server, |number| {
                way == Way::Down || of.admits(number)
            });
            of.connections.fetch_sub(1, Ordering::SeqCst);
        });
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            carry(server, client, |number| {
                way == Way::Up || shared.admits(number)
            });
        });
    }
}

impl Shared {
    /// Whether so many bytes may be handed on; waits while the proxy holds.
    fn admits(&self, number: u64) -> bool {
        let mut state = self.state.lock().unwrap();
        loop {
            if self.handed_on.load(Ordering::SeqCst) + number <= state.budget {
                self.handed_on.fetch_add(number, Ordering::SeqCst);
                return true;
            }
            if state.then == Then::Cut {
                return false;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_secs(60));
            state = waited.unwrap().0;
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut admits: impl FnMut(u64) -> bool) {
    let mut buffer = [0; 16 << 10];
    loop {
        let number = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(number) => number,
        };
        if !admits(number as u64) || to.write_all(&buffer[..number]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

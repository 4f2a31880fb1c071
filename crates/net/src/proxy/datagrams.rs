//! UDP: each sender has a flow, a socket of its own towards the container, by which answers find back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::SendFlags;
use sys::datagram::{self, Local};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::Target;
use super::budget::{Budget, Share};

/// How long a flow without a datagram is kept: one that was never answered, and one that was. As the kernel's connection
/// tracking has it, but for the second, which is Docker's.
const UNANSWERED: Duration = Duration::from_secs(30);
const ANSWERED: Duration = Duration::from_secs(90);
/// Before more is received after an error.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest datagram.
const LONGEST: usize = 1 << 16;

thread_local! {
    /// One for all: what is received is sent before the next one is.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; LONGEST]);
}

/// Who sends, and to which address of the host's.
type Key = (SocketAddrV6, Option<Local>);

/// One sender's way to the container.
#[derive(Debug)]
struct Flow {
    socket: UdpSocket,
    target: SocketAddrV4,
    born: Instant,
    /// Milliseconds from its birth to its last datagram.
    last: AtomicU64,
    answered: AtomicBool,
    over: AtomicBool,
}

impl Flow {
    fn open(target: SocketAddrV4) -> io::Result<Flow> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(target)?;
        socket.set_nonblocking(true)?;
        Ok(Flow {
            socket: UdpSocket::from_std(socket)?,
            target,
            born: Instant::now(),
            last: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    fn touch(&self) {
        let age = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(age, Ordering::Relaxed);
    }

    /// When it ends if nothing comes.
    fn end(&self) -> Instant {
        let kept = match self.answered.load(Ordering::Relaxed) {
            true => ANSWERED,
            false => UNANSWERED,
        };
        self.born + Duration::from_millis(self.last.load(Ordering::Relaxed)) + kept
    }
}

/// The flows of one door.
#[derive(Default)]
struct Flows {
    all: HashMap<Key, (Arc<Flow>, AbortHandle)>,
    tasks: JoinSet<Key>,
}

impl Flows {
    /// The sender's flow, or a new one; none when as many as may be are answered.
    fn of(
        &mut self,
        key: Key,
        target: SocketAddrV4,
        door: &Arc<UdpSocket>,
        budget: &Budget,
    ) -> Option<Arc<Flow>> {
        if let Some((flow, task)) = self.all.get(&key) {
            if !flow.over.load(Ordering::Relaxed) && flow.target == target {
                return Some(Arc::clone(flow));
            }
            task.abort();
            self.all.remove(&key);
        }
        let Some(share) = budget.try_take(1) else {
            self.make_room();
            return None;
        };
        let flow = Arc::new(Flow::open(target).ok()?);
        let answers = answer(Arc::clone(&flow), key, Arc::clone(door), share);
        let task = self.tasks.spawn(answers);
        self.all.insert(key, (Arc::clone(&flow), task));
        Some(flow)
    }

    /// Ends one that nobody answered: senders may be many, and may not be who they say.
    fn make_room(&mut self) {
        let idle = |(flow, _): &(Arc<Flow>, AbortHandle)| !flow.answered.load(Ordering::Relaxed);
        let found = self.all.iter().find(|(_, one)| idle(one));
        if let Some(key) = found.map(|(key, _)| *key)
            && let Some((_, task)) = self.all.remove(&key)
        {
            task.abort();
        }
    }

    /// Forgets a flow that has ended, unless its sender has another one by now.
    fn forget(&mut self, key: &Key) {
        let over = |(flow, _): &(Arc<Flow>, AbortHandle)| flow.over.load(Ordering::Relaxed);
        if self.all.get(key).is_some_and(over) {
            self.all.remove(key);
        }
    }
}

/// Receives until the door is closed, which ends its flows.
pub(super) async fn receive(
    socket: UdpSocket,
    target: Arc<Target>,
    port: u16,
    budget: Arc<Budget>,
) {
    let door = Arc::new(socket);
    let mut flows = Flows::default();
    loop {
        tokio::select! {
            Some(ended) = flows.tasks.join_next(), if !flows.tasks.is_empty() => {
                if let Ok(key) = ended {
                    flows.forget(&key);
                }
                continue;
            }
            ready = door.readable() => if ready.is_err() {
                return;
            },
        }
        let received = BUFFER.with_borrow_mut(|buffer| {
            let (length, from, local) = door.try_io(Interest::READABLE, || {
                datagram::receive(door.as_fd(), buffer)
            })?;
            let target = target.with(port);
            let flow = target.and_then(|target| flows.of((from, local), target, &door, &budget));
            if let Some(flow) = flow {
                flow.touch();
                // What does not go through is lost, as datagrams are.
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let _ = rustix::net::send(&flow.socket, taken(buffer, length), flags);
            }
            Ok::<_, io::Error>(())
        });
        match received {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                tokio::time::sleep(PAUSE).await;
            }
            _ => {}
        }
    }
}

fn taken(buffer: &[u8], length: usize) -> &[u8] {
    buffer.get(..length).unwrap_or_default()
}

/// Brings a flow's answers back until nothing has come for long enough.
async fn answer(flow: Arc<Flow>, (to, from): Key, door: Arc<UdpSocket>, share: Share) -> Key {
    loop {
        let end = flow.end();
        tokio::select! {
            ready = flow.socket.readable() => if ready.is_err() {
                break;
            },
            () = tokio::time::sleep_until(end) => {
                if flow.end() <= Instant::now() {
                    break;
                }
                continue;
            }
        }
        BUFFER.with_borrow_mut(|buffer| {
            // That nobody has the container's port is told as an error; somebody may have it soon.
            let Ok(length) = flow.socket.try_recv(buffer) else {
                return;
            };
            flow.answered.store(true, Ordering::Relaxed);
            flow.touch();
            let _ = datagram::send(door.as_fd(), taken(buffer, length), to, from);
        });
    }
    flow.over.store(true, Ordering::Relaxed);
    drop(share);
    (to, from)
}

//! What containers ask.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Shared;
use crate::dns::forward::{forward, own_servers, read_framed, write_framed};
use crate::dns::message::{PTR, Query, SERVER_FAILURE, refuse};
use crate::dns::table::Known;

/// Queries of one container that are forwarded at a time, and its connections.
const AT_A_TIME: usize = 128;
const CONNECTIONS: usize = 32;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest query in a datagram.
const DATAGRAM: usize = 4096;

thread_local! {
    /// One for all containers: a query is read out of it before the next one is.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; DATAGRAM]);
}

/// A container that asks.
#[derive(Clone)]
pub(super) struct Asker {
    id: Arc<str>,
    shared: Arc<Shared>,
    /// Forwarded queries; a container that asks for more waits for its own.
    forwards: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// What becomes of a query.
enum Outcome {
    /// This is the answer.
    Answer(Vec<u8>),
    /// Others may know.
    Forward(Vec<SocketAddr>),
}

impl Asker {
    pub(super) fn new(id: &str, shared: Arc<Shared>) -> Self {
        Asker {
            id: id.into(),
            shared,
            forwards: Arc::new(Semaphore::new(AT_A_TIME)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Answers from the table, or says whom to ask.
    fn look_up(&self, query: &Query<'_>, datagram: bool) -> Outcome {
        let table = self.shared.table();
        let Some(member) = table.member(&self.id) else {
            return Outcome::Answer(query.failure(SERVER_FAILURE));
        };
        if query.is_of_internet() {
            let address = query.reverse().filter(|_| query.kind == PTR);
            if let Some(name) = address.and_then(|address| table.name_of(member, address)) {
                return Outcome::Answer(query.names(name, datagram));
            }
            let known = query.name.as_deref().map(|name| table.find(member, name));
            if let Some(Known::Addresses(mut addresses)) = known {
                // There may be such a name, and nothing of the kind.
                addresses.retain(|address| query.asks_for(address));
                rotate(&mut addresses, query.id());
                return Outcome::Answer(query.addresses(&addresses, datagram));
            }
        }
        if !member.forwards {
            return Outcome::Answer(query.failure(SERVER_FAILURE));
        }
        Outcome::Forward(match member.servers.as_slice() {
            [] => self.shared.host.now(),
            own => own_servers(own),
        })
    }
}

/// Those who share a name get their turns.
fn rotate(addresses: &mut [IpAddr], id: [u8; 2]) {
    if let Some(by) = usize::from(u16::from_ne_bytes(id)).checked_rem(addresses.len()) {
        addresses.rotate_left(by);
    }
}

/// Answers datagrams until the container is forgotten.
pub(super) async fn datagrams(asker: Asker, socket: UdpSocket) {
    let socket = Arc::new(socket);
    // What goes on ends with this task, and with it the last hold on the container's namespace.
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        if socket.readable().await.is_err() {
            return;
        }
        let received = BUFFER.with_borrow_mut(|buffer| {
            let (length, from) = socket.try_recv_from(buffer).ok()?;
            Some((buffer.get(..length)?.to_vec(), from))
        });
        let Some((packet, from)) = received else {
            continue;
        };
        let Some(query) = Query::read(&packet) else {
            if let Some(refusal) = refuse(&packet) {
                // Who does not hear asks again.
                let _ = socket.try_send_to(&refusal, from);
            }
            continue;
        };
        match asker.look_up(&query, true) {
            Outcome::Answer(answer) => drop(socket.try_send_to(&answer, from)),
            Outcome::Forward(servers) => {
                let Ok(permit) = Arc::clone(&asker.forwards).acquire_owned().await else {
                    return;
                };
                let socket = Arc::clone(&socket);
                under_way.spawn(async move {
                    if let Some(query) = Query::read(&packet) {
                        let answer = forward(&query, &packet, &servers, true).await;
                        let _ = socket.send_to(&answer, from).await;
                    }
                    drop(permit);
                });
            }
        }
    }
}

/// Takes connections until the container is forgotten.
pub(super) async fn streams(asker: Asker, listener: TcpListener) {
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&asker.connections).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let asker = asker.clone();
                under_way.spawn(async move {
                    // Whatever goes wrong ends the connection.
                    let _ = converse(&asker, stream).await;
                    drop(permit);
                });
            }
            // No descriptor is left: one may be soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(asker: &Asker, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let packet = tokio::time::timeout(SILENCE, read_framed(&mut stream)).await??;
        let answer = match Query::read(&packet) {
            None => match refuse(&packet) {
                Some(refusal) => refusal,
                None => return Ok(()),
            },
            Some(query) => match asker.look_up(&query, false) {
                Outcome::Answer(answer) => answer,
                Outcome::Forward(servers) => forward(&query, &packet, &servers, false).await,
            },
        };
        tokio::time::timeout(SILENCE, write_framed(&mut stream, &answer)).await??;
    }
}

//! Published ports of IPv6 addresses: what arrives there is carried to the containers' IPv4 addresses.
//!
//! The daemon opens the sockets, and hands them over (module `protocol`): each is a door, at which one task stands. All
//! doors of a container end together, and with them what goes on through them.

mod budget;
mod streams;

mod datagrams;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinHandle;

use crate::protocol::{Door, Protocol, fingerprint};

pub(crate) use budget::Budget;

/// How much is read at a time. What the other side does not take at once is kept so long.
const PIECE: usize = 32 << 10;

/// Where a container's doors lead, which may change.
#[derive(Debug, Default)]
pub(crate) struct Target(AtomicU32);

impl Target {
    fn set(&self, address: Option<Ipv4Addr>) {
        let bits = address.map_or(0, Ipv4Addr::to_bits);
        self.0.store(bits, Ordering::Relaxed);
    }

    /// The container's address and this port of it; `None` while it has no address.
    pub(crate) fn with(&self, port: u16) -> Option<SocketAddrV4> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(SocketAddrV4::new(Ipv4Addr::from_bits(bits), port)),
        }
    }
}

/// A container's doors.
#[derive(Debug)]
struct House {
    generation: u64,
    target: Arc<Target>,
    budget: Arc<Budget>,
    print: u64,
    tasks: Vec<JoinHandle<()>>,
}

/// All doors.
#[derive(Debug)]
pub(crate) struct Doors {
    houses: HashMap<String, House>,
    budget: Arc<Budget>,
}

impl Doors {
    /// With this many descriptors for what goes on through all of them.
    pub(crate) fn new(descriptors: usize) -> Self {
        Doors {
            houses: HashMap::new(),
            budget: Arc::new(Budget::new(descriptors)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.houses.is_empty()
    }

    /// Stands at further doors of a container, one socket each.
    ///
    /// # Errors
    /// `InvalidInput` when sockets are missing; what hinders their use. Other doors of the container stay then.
    pub(crate) fn open(
        &mut self,
        (generation, id): (u64, &str),
        target: Option<Ipv4Addr>,
        doors: &[Door],
        sockets: Vec<OwnedFd>,
    ) -> io::Result<()> {
        if doors.len() != sockets.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is not one socket for each port",
            ));
        }
        let all = &self.budget;
        let house = self.houses.entry(id.to_owned()).or_insert_with(|| House {
            generation,
            target: Arc::default(),
            budget: Arc::new(all.half()),
            print: 0,
            tasks: Vec::new(),
        });
        house.generation = generation;
        house.target.set(target);
        house.tasks.reserve(doors.len());
        for (door, socket) in doors.iter().zip(sockets) {
            let task = stand(door, socket, &house.target, &house.budget)?;
            house.tasks.push(task);
            house.print ^= fingerprint([door]);
        }
        Ok(())
    }

    /// Has a container's doors lead elsewhere. Whether they are those of this fingerprint.
    pub(crate) fn lead(
        &mut self,
        (generation, id): (u64, &str),
        target: Option<Ipv4Addr>,
        print: u64,
    ) -> bool {
        match self.houses.get_mut(id) {
            Some(house) if house.print == print => {
                house.generation = generation;
                house.target.set(target);
                true
            }
            _ => false,
        }
    }

    /// Leaves a container's doors. They are closed once the tasks that are returned have ended.
    pub(crate) fn close(&mut self, id: &str) -> Vec<JoinHandle<()>> {
        let tasks = self.houses.remove(id).map(|house| house.tasks);
        let tasks = tasks.unwrap_or_default();
        tasks.iter().for_each(JoinHandle::abort);
        tasks
    }

    /// Leaves the doors of all that were not opened or led in this generation.
    pub(crate) fn sweep(&mut self, generation: u64) -> Vec<JoinHandle<()>> {
        let others = self.houses.iter();
        let others = others.filter(|(_, house)| house.generation != generation);
        let others: Vec<String> = others.map(|(id, _)| id.clone()).collect();
        others.iter().flat_map(|id| self.close(id)).collect()
    }
}

fn stand(
    door: &Door,
    socket: OwnedFd,
    target: &Arc<Target>,
    budget: &Arc<Budget>,
) -> io::Result<JoinHandle<()>> {
    let (target, budget, port) = (Arc::clone(target), Arc::clone(budget), door.port);
    Ok(match door.protocol {
        Protocol::Tcp => {
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(streams::accept(listener, target, port, budget))
        }
        Protocol::Udp => {
            let socket = UdpSocket::from(socket);
            socket.set_nonblocking(true)?;
            sys::datagram::ask_where(socket.as_fd())?;
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            tokio::spawn(datagrams::receive(socket, target, port, budget))
        }
    })
}

#[cfg(test)]
mod tests;

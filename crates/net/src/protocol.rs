//! What daemon and helper say to each other: one JSON document a message, on a SEQPACKET socket, with descriptors.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// Version of the protocol. A helper of another one is told to quit and made anew.
pub const VERSION: u32 = 1;

/// The longest message.
pub const LONGEST: usize = 128 << 10;

/// What a daemon asks for. `Hello` and `Quit` keep their form in every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// First of all.
    Hello {
        /// The daemon's version.
        version: u32,
    },
    /// A container is on these networks. With it come, if the helper is to listen, a UDP and a listening TCP socket.
    Put {
        /// Which listing of all containers this belongs to.
        generation: u64,
        /// The container.
        container: Member,
    },
    /// A container is on no network any more.
    Drop {
        /// Its id.
        id: String,
    },
    /// Containers that were not put in this generation are gone.
    Sweep {
        /// The generation.
        generation: u64,
    },
    /// The helper is not needed any more.
    Quit,
}

/// A container as others find it, and what it may find.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// 64 hex digits.
    pub id: String,
    /// Its places, in the order in which names are looked for.
    pub places: Vec<Place>,
    /// Who is asked what nobody here knows; the host's resolvers without any.
    pub servers: Vec<IpAddr>,
    /// Whether it may ask them at all.
    pub forwards: bool,
}

/// A container's place on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The network's id.
    pub network: String,
    /// The network's name.
    pub network_name: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// Its names, the first of which is told for its address.
    pub names: Vec<String>,
    /// Names that it alone knows others by.
    pub links: BTreeMap<String, String>,
}

/// What the helper answers, once to each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Hello`.
    Welcome {
        /// The helper's version.
        version: u32,
    },
    /// It is so.
    Done {
        /// Whether the helper has sockets of the container.
        listening: bool,
    },
    /// It can not be.
    Refused {
        /// Why.
        sentence: String,
    },
}

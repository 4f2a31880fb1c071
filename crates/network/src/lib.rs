//! Bridge networks, the engine's own and those that users make: a namespace and addresses for each container, published
//! ports, and the texts of the files by which containers find names.
//!
//! [`Network`] is the only actor. It speaks netlink and nothing else: no program is executed. Everything
//! happens in the network namespace of the thread that calls [`Network::open`]; later calls come from
//! threads in that namespace too. Packets are translated by one nftables table in which published ports
//! are elements of maps (module `nft`), and tracked connections are forgotten where a port or an address
//! changes its owner (module `conntrack`).
//!
//! Containers have IPv4 addresses, and those on user networks that ask for it IPv6 addresses as well (module `ipv6`). Ports
//! of the host's IPv6 addresses are reserved here and read by others ([`Binding::is_translated`]).

#![warn(missing_docs)]

mod address;
mod bridge;
mod conntrack;
mod endpoint;
mod error;
pub mod files;
mod ipv6;
mod link;
mod names;
mod network;
mod nft;
mod plug;
mod port;
mod publish;
mod recover;
mod reservation;
mod sandbox;
mod segment;
mod setting;
mod subnet;
mod way_out;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use bridge::BridgeInfo;
pub use endpoint::{Endpoint, HOME, MacAddr, NoMacAddr};
pub use error::{BRIDGE_PORTS, NetworkError};
pub use ipv6::{Config6, NoSubnet6, Place6, Subnet6};
pub use names::{RESOLVER, listen_for_names};
pub use network::{Attached, NetConfig, Network, Notes};
pub use nft::DroppingChain;
pub use plug::{Plug, Wish};
pub use port::{Binding, HostPort, PortMapping, Protocol, ProtocolError, Published};
pub use recover::{Live, Stranded};
pub use sandbox::{Sandbox, loopback_only};
pub use segment::SegmentConfig;
pub use subnet::{HostAddress, HostAddressError, Pool, Pools, Subnet};

/// Takes a lock. What is behind locks here is right after each statement, so a thread that panicked
/// elsewhere while it held one left nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

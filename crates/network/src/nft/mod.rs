//! The firewall's table of this engine, over nftables' netlink interface
//! (linux/netfilter/nf_tables.h).
//!
//! One table, `inet wharf-INSTANCE`, holds everything. Its rules never change while it stands: published
//! ports are elements of two maps and bridges are elements of sets, so a change costs the same with one port or network
//! and with a thousand.

mod forward;
mod neighbour;
mod rule;
mod table;

pub use forward::DroppingChain;
pub(crate) use forward::{dropping_chains, table_exists};
pub(crate) use neighbour::{accept, has_docker_chain};
pub(crate) use table::{
    Member, NAMES_TABLE, add_member, add_ports, install, names_table, remove, remove_member,
    remove_ports,
};

use sys::netlink::Writer;

/// `NFNL_SUBSYS_NFTABLES << 8`: goes with each message kind.
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;

/// Families of tables (`NFPROTO_*`).
const UNSPECIFIED: u8 = 0;
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// Hooks of a packet's way (`NF_INET_*`).
const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// Verdicts (`NF_DROP`, `NF_ACCEPT`, `NFT_JUMP`, `NFT_RETURN`).
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const JUMP: u32 = -3_i32 as u32;
const RETURN: u32 = -5_i32 as u32;

/// A rule goes behind the others of its chain.
const APPEND: u16 = libc::NLM_F_APPEND as u16;

/// `struct nfgenmsg` of a family.
fn header(writer: &mut Writer, family: u8) {
    writer.raw(&[family, 0, 0, 0]);
}

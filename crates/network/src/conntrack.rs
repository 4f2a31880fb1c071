//! Tracked connections, and how they are forgotten (ctnetlink; linux/netfilter/nfnetlink_conntrack.h).
//!
//! The kernel translates a flow as it did at its first packet for as long as it remembers the flow. A UDP
//! peer that keeps sending from one port would never reach a container that was published meanwhile, and
//! would go on to reach whoever has the address of one that is gone.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use sys::netlink::{Attributes, Batch, DumpError, Refused, Socket, Writer};

const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;

const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
const NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;

/// Bits of a filter that say which parts of the tuple count: destination, protocol, destination port.
const BY_TARGET: u32 = 1 << 1 | 1 << 3 | 1 << 5;

/// The kernel walks its whole table for each target (a third of a millisecond where it has 262,144
/// buckets); to list what is tracked takes as long as some forty such walks.
const TARGETS_ONE_BY_ONE: usize = 32;

/// So many deletions go in one message: the answers about flows that ended meanwhile, each with a copy of its request,
/// must fit into a receive buffer of the usual 208 KiB before the first is read.
const AT_ONCE: usize = 64;

/// What flows are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) protocol: u8,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// A tracked flow: what it was sent to, by whom, and who answers.
#[derive(Debug, Clone, Copy)]
struct Flow {
    source: Ipv4Addr,
    target: Target,
    answered_by: Ipv4Addr,
}

/// Why flows could not be forgotten.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForgetError {
    #[error(transparent)]
    List(#[from] DumpError),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Forgets the flows to these targets, so that each one's next packet is judged anew.
pub(crate) fn forget_flows_to(
    socket: &mut Socket,
    targets: &HashSet<Target>,
) -> Result<(), ForgetError> {
    if targets.len() <= TARGETS_ONE_BY_ONE {
        let mut batch = Batch::new();
        for target in targets {
            batch.push("forget flows to a port", DELETE, 0, |w| {
                header(w);
                only_to(w, *target);
            });
        }
        match socket.perform(batch) {
            // Before 6.11 the kernel can not pick by itself.
            Err(refused) if matches!(refused.errno(), libc::EOPNOTSUPP | libc::EINVAL) => {}
            done => return Ok(done?),
        }
    }
    sweep(socket, |flow| targets.contains(&flow.target))
}

/// Forgets every flow in which an address that `is_gone` takes part.
pub(crate) fn forget_flows_of(
    socket: &mut Socket,
    is_gone: impl Fn(Ipv4Addr) -> bool,
) -> Result<(), ForgetError> {
    sweep(socket, |flow| {
        is_gone(flow.source) || is_gone(flow.answered_by)
    })
}

/// Lists all flows and forgets those for which `which` holds.
fn sweep(socket: &mut Socket, which: impl Fn(&Flow) -> bool) -> Result<(), ForgetError> {
    let mut batches = vec![Batch::new()];
    let mut pushed = 0;
    socket.dump("tracked connections", GET, header, |_, body| {
        let Some(attributes) = body.get(4..).map(Attributes) else {
            return;
        };
        if !parse(attributes).is_some_and(|flow| which(&flow)) {
            return;
        }
        if pushed == AT_ONCE {
            batches.push(Batch::new());
            pushed = 0;
        }
        pushed += 1;
        if let Some(batch) = batches.last_mut() {
            batch.push("forget a connection", DELETE, 0, |w| {
                header(w);
                copy(w, attributes, ORIGINAL);
                copy(w, attributes, ID);
                copy(w, attributes, ZONE);
            });
        }
    })?;
    for batch in batches {
        match socket.perform(batch) {
            // It ended by itself meanwhile.
            Err(refused) if refused.errno() == libc::ENOENT => {}
            done => done?,
        }
    }
    Ok(())
}

fn header(writer: &mut Writer) {
    writer.raw(&[libc::AF_INET as u8, 0, 0, 0]);
}

fn copy(writer: &mut Writer, from: Attributes<'_>, kind: u16) {
    const NESTED: u16 = 1 << 15;
    if let Some(value) = from.get(kind) {
        let nest = if kind == ORIGINAL { NESTED } else { 0 };
        writer.attribute(kind | nest, value);
    }
}

/// Narrows a request down to flows to the target.
fn only_to(writer: &mut Writer, target: Target) {
    writer.nested(ORIGINAL, |w| {
        w.nested(TUPLE_IP, |w| {
            w.attribute(DESTINATION, &target.address.octets());
        });
        w.nested(TUPLE_PROTOCOL, |w| {
            w.attribute(NUMBER, &[target.protocol]);
            w.attribute(DESTINATION_PORT, &target.port.to_be_bytes());
        });
    });
    writer.nested(FILTER, |w| {
        w.native_u32(1, BY_TARGET);
        w.native_u32(2, 0);
    });
}

fn parse(attributes: Attributes<'_>) -> Option<Flow> {
    let original = attributes.nest(ORIGINAL);
    let protocol = original.nest(TUPLE_PROTOCOL);
    let port = protocol.get(DESTINATION_PORT);
    Some(Flow {
        source: address(original, SOURCE)?,
        target: Target {
            protocol: *protocol.get(NUMBER)?.first()?,
            address: address(original, DESTINATION)?,
            // Protocols without ports have none.
            port: port.map_or(Some(0), |port| {
                Some(u16::from_be_bytes(port.try_into().ok()?))
            })?,
        },
        answered_by: address(attributes.nest(REPLY), SOURCE)?,
    })
}

fn address(tuple: Attributes<'_>, kind: u16) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = tuple.nest(TUPLE_IP).get(kind)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

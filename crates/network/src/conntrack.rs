//! Tracked connections, and how they are forgotten (ctnetlink; linux/netfilter/nfnetlink_conntrack.h).
//!
//! The kernel translates a flow as it did at its first packet for as long as it remembers the flow. A UDP
//! peer that keeps sending from one port would never reach a container that was published meanwhile, and
//! would go on to reach whoever has the address of one that is gone.

use std::net::Ipv4Addr;

use crate::netlink::{Attributes, Batch, DumpError, Refused, Socket, Writer};

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
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// Bits of a filter that say which parts of the tuple count: source, protocol, destination port.
const BY_SOURCE: u32 = 1 << 0;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    /// 0 for protocols without ports.
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
}

/// A tracked flow as it began, and as its answers look: translated where the two do not mirror each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
}

impl Flow {
    /// Whether its destination was translated.
    pub(crate) fn is_translated(&self) -> bool {
        self.original.destination != self.reply.source
            || self.original.destination_port != self.reply.source_port
    }
}

/// Which flows the kernel shows; the others are not even copied.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Show {
    /// All of IPv4.
    All,
    /// Those of a protocol to a port.
    ToPort(u8, u16),
    /// Those that this address answers.
    AnsweredBy(Ipv4Addr),
}

/// Why flows could not be forgotten.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForgetError {
    #[error(transparent)]
    List(#[from] DumpError),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Forgets the shown flows for which `which` holds; returns how many.
pub(crate) fn forget(
    socket: &mut Socket,
    show: Show,
    which: impl Fn(&Flow) -> bool,
) -> Result<usize, ForgetError> {
    let mut batch = Batch::new();
    let mut count = 0;
    let request = |w: &mut Writer| {
        header(w);
        write_filter(w, show);
    };
    socket.dump("tracked connections", GET, request, |_, body| {
        let Some(attributes) = body.get(4..).map(Attributes) else {
            return;
        };
        if parse(attributes).is_some_and(|flow| which(&flow)) {
            count += 1;
            batch.push("forget a connection", DELETE, 0, |w| {
                header(w);
                copy(w, attributes, ORIGINAL);
                copy(w, attributes, ID);
                copy(w, attributes, ZONE);
            });
        }
    })?;
    match socket.perform(batch) {
        // It ended by itself meanwhile.
        Err(refused) if refused.errno() == libc::ENOENT => Ok(count),
        Err(refused) => Err(refused.into()),
        Ok(()) => Ok(count),
    }
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

fn write_filter(writer: &mut Writer, show: Show) {
    let (original, reply) = match show {
        Show::All => return,
        Show::ToPort(protocol, port) => {
            writer.nested(ORIGINAL, |w| {
                w.nested(TUPLE_PROTOCOL, |w| {
                    w.attribute(NUMBER, &[protocol]);
                    w.attribute(DESTINATION_PORT, &port.to_be_bytes());
                });
            });
            (BY_PROTOCOL | BY_DESTINATION_PORT, 0)
        }
        Show::AnsweredBy(address) => {
            writer.nested(REPLY, |w| {
                w.nested(TUPLE_IP, |w| w.attribute(SOURCE, &address.octets()));
            });
            (0, BY_SOURCE)
        }
    };
    writer.nested(FILTER, |w| {
        w.native_u32(1, original);
        w.native_u32(2, reply);
    });
}

fn parse(attributes: Attributes<'_>) -> Option<Flow> {
    Some(Flow {
        original: parse_tuple(attributes.nest(ORIGINAL))?,
        reply: parse_tuple(attributes.nest(REPLY))?,
    })
}

fn parse_tuple(tuple: Attributes<'_>) -> Option<Tuple> {
    let address = |kind| {
        let octets: [u8; 4] = tuple.nest(TUPLE_IP).get(kind)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let protocol = tuple.nest(TUPLE_PROTOCOL);
    let port = |kind| {
        let bytes = protocol.get(kind).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_be_bytes)
    };
    Some(Tuple {
        source: address(SOURCE)?,
        destination: address(DESTINATION)?,
        protocol: *protocol.get(NUMBER)?.first()?,
        source_port: port(SOURCE_PORT),
        destination_port: port(DESTINATION_PORT),
    })
}

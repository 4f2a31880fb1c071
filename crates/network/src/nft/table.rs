//! The table as a whole, and the elements that come and go in it.

use std::net::{IpAddr, Ipv4Addr};

use super::rule::{Rule, link_name};
use super::{
    ACCEPT, APPEND, DELETE_ELEMENT, DELETE_TABLE, FORWARD, INET, NEW_CHAIN, NEW_ELEMENT, NEW_RULE,
    NEW_SET, NEW_TABLE, OUTPUT, POSTROUTING, PREROUTING, header,
};
use crate::ipv6::Subnet6;
use crate::port::Binding;
use crate::subnet::Subnet;
use sys::netlink::{Batch, Writer};

const CREATE: u16 = libc::NLM_F_CREATE as u16;

/// Map of ports published on all of the host's addresses: protocol . port : address . port.
const BY_PORT: &str = "published";
/// Map of ports published on one address: address . protocol . port : address . port.
const BY_ADDRESS: &str = "published_at";
/// Names of all bridges.
const BRIDGES: &str = "bridges";
/// Names of the bridges whose containers reach nobody else.
const INTERNAL: &str = "internal";
/// Pairs of a bridge's name with itself: those whose containers reach each other.
const AMONG: &str = "among";
/// Subnets of all bridges.
const SUBNETS: &str = "subnets";
/// Subnets whose containers have the host's address beyond it.
const MASQUERADED: &str = "masqueraded";
/// The same of IPv6.
const MASQUERADED6: &str = "masqueraded6";

// Data types by which `nft list` shows the maps (nft's own numbers), six bits each when joined.
const TYPE_ADDRESS: u32 = 7;
const TYPE_ADDRESS6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_LINK: u32 = 41;
const SET_OF_INTERVALS: u32 = 4;
const SET_IS_MAP: u32 = 8;

/// `NFT_SET_ELEM_INTERVAL_END`: the first value behind an interval.
const INTERVAL_END: u32 = 1;

/// Elements in one message: it stays below the 32 KiB that an answer to it can have.
const ELEMENTS: usize = 256;

// Priorities of hooks, as nft names them: raw, dstnat, filter, srcnat.
const RAW: i32 = -300;
const DESTINATION: i32 = -100;
const FILTER: i32 = 0;
const SOURCE: i32 = 100;

/// What the table says of one bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The bridge's name.
    pub(crate) bridge: String,
    /// Its containers' subnet.
    pub(crate) subnet: Subnet,
    /// Whether its containers reach nobody beyond it.
    pub(crate) internal: bool,
    /// Whether its containers reach each other.
    pub(crate) among: bool,
    /// Whether its containers have the host's address beyond the host.
    pub(crate) masqueraded: bool,
    /// Its containers' subnet of IPv6, if they have one.
    pub(crate) subnet6: Option<Subnet6>,
}

/// Makes the table with these bridges and ports, in place of one that may be there: no packet sees it missing.
pub(crate) fn install<'a>(
    table: &str,
    members: &[Member],
    ports: impl Iterator<Item = (&'a Binding, Ipv4Addr)>,
) -> Batch {
    let mut batch = Batch::transaction();
    new_table(&mut batch, table);
    delete_table(&mut batch, table);
    new_table(&mut batch, table);
    let by_port = [TYPE_PROTOCOL, TYPE_PORT];
    let by_address = [TYPE_ADDRESS, TYPE_PROTOCOL, TYPE_PORT];
    new_map(&mut batch, table, (BY_PORT, 1), &by_port);
    new_map(&mut batch, table, (BY_ADDRESS, 2), &by_address);
    let link: &[u32] = &[TYPE_LINK];
    for (name, id, kind, flags) in [
        (BRIDGES, 3, link, 0),
        (INTERNAL, 4, link, 0),
        (AMONG, 5, &[TYPE_LINK, TYPE_LINK][..], 0),
        (SUBNETS, 6, &[TYPE_ADDRESS][..], SET_OF_INTERVALS),
        (MASQUERADED, 7, &[TYPE_ADDRESS][..], SET_OF_INTERVALS),
        (MASQUERADED6, 8, &[TYPE_ADDRESS6][..], SET_OF_INTERVALS),
    ] {
        new_set(&mut batch, table, (name, id), kind, flags);
    }
    add_guard(&mut batch, table);
    add_translation(&mut batch, table, "prerouting", PREROUTING);
    add_translation(&mut batch, table, "output", OUTPUT);
    add_masquerade(&mut batch, table);
    add_forward(&mut batch, table);
    for member in members {
        add_member(&mut batch, table, member);
    }
    add_ports(&mut batch, table, ports);
    batch
}

/// Adds a bridge.
pub(crate) fn add_member(batch: &mut Batch, table: &str, member: &Member) {
    change_member(batch, table, ("add a bridge", NEW_ELEMENT, CREATE), member);
}

/// Removes a bridge.
pub(crate) fn remove_member(batch: &mut Batch, table: &str, member: &Member) {
    change_member(batch, table, ("remove a bridge", DELETE_ELEMENT, 0), member);
}

fn change_member(
    batch: &mut Batch,
    table: &str,
    (what, kind, flags): (&'static str, u16, u16),
    member: &Member,
) {
    let link = link_name(&member.bridge);
    let pair = [link, link].concat();
    let behind = member.subnet.broadcast().to_bits().checked_add(1);
    let interval = interval(
        &member.subnet.base().octets(),
        behind.map(u32::to_be_bytes).as_ref().map(|end| &end[..]),
    );
    let interval6 = member.subnet6.map(|subnet| {
        let behind = subnet.last().to_bits().checked_add(1);
        let behind = behind.map(u128::to_be_bytes);
        self::interval(&subnet.base().octets(), behind.as_ref().map(|end| &end[..]))
    });
    let is_masqueraded6 = member.masqueraded && interval6.is_some();
    let name = vec![(link.to_vec(), 0)];
    for (set, holds, elements) in [
        (BRIDGES, true, name.clone()),
        (INTERNAL, member.internal, name),
        (AMONG, member.among, vec![(pair, 0)]),
        (SUBNETS, true, interval.clone()),
        (MASQUERADED, member.masqueraded, interval),
        (MASQUERADED6, is_masqueraded6, interval6.unwrap_or_default()),
    ] {
        if !holds {
            continue;
        }
        batch.push(what, kind, flags, |w| {
            header(w, INET);
            w.text(1, table);
            w.text(2, set);
            w.nested(3, |w| {
                for (key, flags) in &elements {
                    w.nested(1, |w| {
                        w.nested(1, |w| w.attribute(1, key));
                        if *flags != 0 {
                            w.network_u32(3, *flags);
                        }
                    });
                }
            });
        });
    }
}

/// The elements of a set for what begins here and ends before `behind`, if not with the last of all.
fn interval(first: &[u8], behind: Option<&[u8]>) -> Vec<(Vec<u8>, u32)> {
    let mut elements = vec![(first.to_vec(), 0)];
    elements.extend(behind.map(|behind| (behind.to_vec(), INTERVAL_END)));
    elements
}

/// Name of the table within a container's namespace.
pub(crate) const NAMES_TABLE: &str = "wharf-names";

/// Makes the table by which a namespace's packets for port 53 of `resolver` reach these ports of it, UDP and TCP. Where
/// there may be one it is replaced.
pub(crate) fn names_table(resolver: Ipv4Addr, (udp, tcp): (u16, u16), fresh: bool) -> Batch {
    let mut batch = Batch::transaction();
    let table = NAMES_TABLE;
    new_table(&mut batch, table);
    if !fresh {
        delete_table(&mut batch, table);
        new_table(&mut batch, table);
    }
    new_chain(&mut batch, table, "output", "nat", OUTPUT, DESTINATION);
    for (protocol, port) in [
        (libc::IPPROTO_UDP as u8, udp),
        (libc::IPPROTO_TCP as u8, tcp),
    ] {
        let chain = (table, "output");
        new_rule(&mut batch, "translate to the resolver", chain, |rule| {
            rule.ipv4()
                .destination_is(resolver, protocol, 53)
                .translate_to(resolver, port);
        });
    }
    batch
}

/// Removes the table.
pub(crate) fn remove(table: &str) -> Batch {
    let mut batch = Batch::transaction();
    delete_table(&mut batch, table);
    batch
}

/// Adds published ports and where each leads.
pub(crate) fn add_ports<'a>(
    batch: &mut Batch,
    table: &str,
    ports: impl Iterator<Item = (&'a Binding, Ipv4Addr)>,
) {
    change_ports(batch, table, ("publish a port", NEW_ELEMENT, CREATE), ports);
}

/// Removes published ports.
pub(crate) fn remove_ports<'a>(
    batch: &mut Batch,
    table: &str,
    ports: impl Iterator<Item = (&'a Binding, Ipv4Addr)>,
) {
    change_ports(batch, table, ("unpublish a port", DELETE_ELEMENT, 0), ports);
}

fn change_ports<'a>(
    batch: &mut Batch,
    table: &str,
    (what, kind, flags): (&'static str, u16, u16),
    ports: impl Iterator<Item = (&'a Binding, Ipv4Addr)>,
) {
    let (anywhere, at_one): (Vec<_>, Vec<_>) = ports
        .filter(|(binding, _)| binding.is_translated())
        .map(|(binding, container)| (key_of(binding), data_of(container, binding)))
        .partition(|(key, _)| key.len() == 8);
    for (map, elements) in [(BY_PORT, anywhere), (BY_ADDRESS, at_one)] {
        for some in elements.chunks(ELEMENTS) {
            batch.push(what, kind, flags, |w| {
                header(w, INET);
                w.text(1, table);
                w.text(2, map);
                w.nested(3, |w| {
                    some.iter().for_each(|(key, data)| element(w, key, data))
                });
            });
        }
    }
}

/// `NFTA_LIST_ELEM` with key and data.
fn element(writer: &mut Writer, key: &[u8], data: &[u8]) {
    writer.nested(1, |w| {
        w.nested(1, |w| w.attribute(1, key));
        w.nested(2, |w| w.attribute(1, data));
    });
}

/// Each part of a joined key fills four bytes.
fn key_of(binding: &Binding) -> Vec<u8> {
    let mut key = Vec::with_capacity(12);
    match binding.host_ip {
        IpAddr::V4(address) if !address.is_unspecified() => key.extend(address.octets()),
        _ => {}
    }
    key.extend([binding.protocol.number(), 0, 0, 0]);
    key.extend(binding.host_port.to_be_bytes());
    key.extend([0, 0]);
    key
}

fn data_of(container: Ipv4Addr, binding: &Binding) -> [u8; 8] {
    let [a, b, c, d] = container.octets();
    let [high, low] = binding.container_port.to_be_bytes();
    [a, b, c, d, high, low, 0, 0]
}

fn new_table(batch: &mut Batch, table: &str) {
    batch.push("make the table", NEW_TABLE, CREATE, |w| {
        header(w, INET);
        w.text(1, table);
    });
}

fn delete_table(batch: &mut Batch, table: &str) {
    batch.push("remove the table", DELETE_TABLE, 0, |w| {
        header(w, INET);
        w.text(1, table);
    });
}

/// A map from a joined key of these types to address . port. `id` tells it apart within the transaction.
fn new_map(batch: &mut Batch, table: &str, (name, id): (&str, u32), key: &[u32]) {
    let joined = |types: &[u32]| types.iter().fold(0, |sum, one| sum << 6 | one);
    batch.push("make a map of ports", NEW_SET, CREATE, |w| {
        header(w, INET);
        w.text(1, table);
        w.text(2, name);
        w.network_u32(3, SET_IS_MAP);
        w.network_u32(4, joined(key));
        w.network_u32(5, key.len() as u32 * 4);
        w.network_u32(6, joined(&[TYPE_ADDRESS, TYPE_PORT]));
        w.network_u32(7, 8);
        w.network_u32(10, id);
    });
}

/// A set of keys of these types.
fn new_set(batch: &mut Batch, table: &str, (name, id): (&str, u32), key: &[u32], flags: u32) {
    let length = |kind: &u32| match *kind {
        TYPE_LINK | TYPE_ADDRESS6 => 16,
        _ => 4,
    };
    batch.push("make a set", NEW_SET, CREATE, |w| {
        header(w, INET);
        w.text(1, table);
        w.text(2, name);
        w.network_u32(3, flags);
        w.network_u32(4, key.iter().fold(0, |sum, one| sum << 6 | one));
        w.network_u32(5, key.iter().map(length).sum());
        w.network_u32(10, id);
    });
}

fn new_chain(batch: &mut Batch, table: &str, name: &str, kind: &str, hook: u32, priority: i32) {
    batch.push("make a chain", NEW_CHAIN, CREATE, |w| {
        header(w, INET);
        w.text(1, table);
        w.text(3, name);
        w.nested(4, |w| {
            w.network_u32(1, hook);
            w.network_u32(2, priority as u32);
        });
        w.network_u32(5, ACCEPT);
        w.text(7, kind);
    });
}

fn new_rule(
    batch: &mut Batch,
    what: &'static str,
    (table, chain): (&str, &str),
    rule: impl FnOnce(&mut Rule<'_>),
) {
    batch.push(what, NEW_RULE, CREATE | APPEND, |w| {
        header(w, INET);
        w.text(1, table);
        w.text(2, chain);
        w.nested(4, |w| rule(&mut Rule(w)));
    });
}

/// `route_localnet` on the bridge lets packets for 127/8 in from there, and translation would do so from
/// everywhere: nobody but the host itself may use those addresses.
fn add_guard(batch: &mut Batch, table: &str) {
    let chain = (table, "guard");
    new_chain(batch, table, "guard", "filter", PREROUTING, RAW);
    new_rule(batch, "guard 127/8 as destination", chain, |rule| {
        rule.ipv4()
            .comes_not_from("lo")
            .destination_in(LOOPBACK)
            .discard();
    });
    new_rule(batch, "guard 127/8 as source", chain, |rule| {
        rule.ipv4()
            .comes_not_from("lo")
            .source_in(LOOPBACK)
            .discard();
    });
}

const LOOPBACK: Subnet = Subnet::LOOPBACK;

fn add_translation(batch: &mut Batch, table: &str, name: &str, hook: u32) {
    let chain = (table, name);
    new_chain(batch, table, name, "nat", hook, DESTINATION);
    new_rule(batch, "translate by address", chain, |rule| {
        rule.ipv4().translate_by_address(BY_ADDRESS);
    });
    new_rule(batch, "translate by port", chain, |rule| {
        rule.ipv4()
            .destination_is_local()
            .translate_by_port(BY_PORT);
    });
}

fn add_masquerade(batch: &mut Batch, table: &str) {
    let chain = (table, "postrouting");
    new_chain(batch, table, "postrouting", "nat", POSTROUTING, SOURCE);
    new_rule(batch, "masquerade what leaves the bridges", chain, |rule| {
        rule.ipv4()
            .source_in_any(MASQUERADED)
            .leaves_by_none(BRIDGES)
            .masquerade();
    });
    new_rule(batch, "masquerade what leaves by IPv6", chain, |rule| {
        rule.ipv6()
            .source6_in_any(MASQUERADED6)
            .leaves_by_none(BRIDGES)
            .masquerade();
    });
    new_rule(batch, "masquerade the host's loopback", chain, |rule| {
        rule.ipv4()
            .leaves_by_any(BRIDGES)
            .source_in(LOOPBACK)
            .masquerade();
    });
    // Without this a container would be answered by the other one's address, which it never spoke to.
    new_rule(batch, "masquerade among containers", chain, |rule| {
        rule.ipv4()
            .leaves_by_any(BRIDGES)
            .source_in_any(SUBNETS)
            .is_published()
            .masquerade();
    });
}

/// Containers reach those on the same bridge and the world; from elsewhere, other bridges included, only published
/// ports are reached, also when somebody has a route to the subnet.
fn add_forward(batch: &mut Batch, table: &str) {
    let chain = (table, "forward");
    new_chain(batch, table, "forward", "filter", FORWARD, FILTER);
    new_rule(batch, "accept what exists", chain, |rule| {
        rule.leaves_by_any(BRIDGES).is_established().accept();
    });
    new_rule(batch, "accept among containers", chain, |rule| {
        rule.passes_between(AMONG).accept();
    });
    new_rule(
        batch,
        "drop what leaves an internal network",
        chain,
        |rule| {
            rule.comes_from_any(INTERNAL).discard();
        },
    );
    new_rule(
        batch,
        "drop what enters an internal network",
        chain,
        |rule| {
            rule.leaves_by_any(INTERNAL).discard();
        },
    );
    new_rule(batch, "accept published ports", chain, |rule| {
        rule.leaves_by_any(BRIDGES).is_published().accept();
    });
    new_rule(batch, "drop the rest", chain, |rule| {
        rule.leaves_by_any(BRIDGES).discard();
    });
}

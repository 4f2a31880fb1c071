//! Requests about links, addresses and routes (rtnetlink; linux/rtnetlink.h, linux/if_link.h).
//!
//! Functions here append to a [`Batch`] or list; none decides anything.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::endpoint::MacAddr;
use crate::subnet::Subnet;
use sys::netlink::{Attributes, Batch, DumpError, Socket, Writer, text_of, u8_of, u32_of};

const CREATE_NEW: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const UP: u32 = libc::IFF_UP as u32;

// Attributes within IFLA_LINKINFO and of a veth's and a bridge port's data (linux/if_link.h, linux/veth.h).
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const VETH_PEER: u16 = 1;
const PORT_HAIRPIN: u16 = 4;
const PORT_ISOLATED: u16 = 33;

/// Leave out statistics in a list of links (`RTEXT_FILTER_SKIP_STATS`).
const SKIP_STATS: u32 = 1 << 3;

/// What a request changes on a link; `None` leaves it as it is.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) up: bool,
    pub(crate) mac: Option<MacAddr>,
    /// Index of the bridge to become a port of.
    pub(crate) master: Option<u32>,
    /// The longest packet, in bytes.
    pub(crate) mtu: Option<u32>,
}

/// A link as the kernel lists it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) is_bridge: bool,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) up: bool,
    /// Index of the bridge that it is a port of.
    pub(crate) master: Option<u32>,
}

/// `struct ifinfomsg`.
fn link_header(writer: &mut Writer, index: u32, up: bool) {
    let flags = if up { UP } else { 0 };
    writer.raw(&[libc::AF_UNSPEC as u8, 0, 0, 0]);
    writer.raw(&index.to_ne_bytes());
    writer.raw(&flags.to_ne_bytes());
    writer.raw(&flags.to_ne_bytes());
}

/// Makes a bridge that is up. A fixed address of its own keeps it from taking over its ports' addresses,
/// which would change under the containers' feet.
pub(crate) fn add_bridge(batch: &mut Batch, name: &str, mac: MacAddr) {
    batch.push("make the bridge", libc::RTM_NEWLINK, CREATE_NEW, |w| {
        link_header(w, 0, true);
        w.text(libc::IFLA_IFNAME, name);
        w.attribute(libc::IFLA_ADDRESS, &mac.0);
        w.nested(libc::IFLA_LINKINFO, |w| w.text(INFO_KIND, "bridge"));
    });
}

/// Makes a veth pair in one message: `name` stays here, its peer is `inside` in `netns`; both are down.
///
/// Setting the host's end up and into the bridge in the same message saves nothing (measured), and the
/// bridge would not forward at once: its port must come up after the peer.
pub(crate) fn add_veth(batch: &mut Batch, name: &str, inside: &str, netns: BorrowedFd<'_>) {
    batch.push("make the veth pair", libc::RTM_NEWLINK, CREATE_NEW, |w| {
        link_header(w, 0, false);
        w.text(libc::IFLA_IFNAME, name);
        w.nested(libc::IFLA_LINKINFO, |w| {
            w.text(INFO_KIND, "veth");
            w.nested(INFO_DATA, |w| {
                w.nested(VETH_PEER, |w| {
                    link_header(w, 0, false);
                    w.text(libc::IFLA_IFNAME, inside);
                    w.native_u32(libc::IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
                });
            });
        });
    });
}

/// Changes a link in one message.
pub(crate) fn change(batch: &mut Batch, what: &'static str, index: u32, change: &Change) {
    batch.push(what, libc::RTM_SETLINK, 0, |w| {
        link_header(w, index, change.up);
        if let Some(mac) = change.mac {
            w.attribute(libc::IFLA_ADDRESS, &mac.0);
        }
        if let Some(master) = change.master {
            w.native_u32(libc::IFLA_MASTER, master);
        }
        if let Some(mtu) = change.mtu {
            w.native_u32(libc::IFLA_MTU, mtu);
        }
    });
}

/// Makes the kernel act on a link's carrier now. It is otherwise a worker that notices, some time later,
/// that a link whose other end came up can carry packets; until then the link drops what it is given, and
/// a lost first packet is a second's delay. Asking for the state takes that worker's step (since 6.8).
pub(crate) fn catch_up(batch: &mut Batch, index: u32) {
    batch.push("read the link's state", libc::RTM_GETLINK, 0, |w| {
        link_header(w, index, false);
        w.native_u32(libc::IFLA_EXT_MASK, SKIP_STATS);
    });
}

/// Lets a bridge port send a frame back to where it came from: a container that reaches itself through
/// its published port, where bridged frames pass the host's firewall.
pub(crate) fn allow_hairpin(batch: &mut Batch, name: &str) {
    set_port(batch, "let the port reflect", name, PORT_HAIRPIN);
}

/// Keeps a bridge port from sending to others that are kept so: they all reach the host alone.
pub(crate) fn isolate(batch: &mut Batch, name: &str) {
    set_port(batch, "isolate the port", name, PORT_ISOLATED);
}

/// Sets a switch of a bridge port.
fn set_port(batch: &mut Batch, what: &'static str, name: &str, switch: u16) {
    batch.push(what, libc::RTM_NEWLINK, 0, |w| {
        link_header(w, 0, false);
        w.text(libc::IFLA_IFNAME, name);
        w.nested(libc::IFLA_LINKINFO, |w| {
            w.text(INFO_SLAVE_KIND, "bridge");
            w.nested(INFO_SLAVE_DATA, |w| w.attribute(switch, &[1]));
        });
    });
}

/// Deletes a link. Dear (24 ms and more for a veth): never on a path that somebody waits for.
pub(crate) fn delete(batch: &mut Batch, what: &'static str, index: u32) {
    batch.push(what, libc::RTM_DELLINK, 0, |w| link_header(w, index, false));
}

/// Gives a link an address with its subnet's prefix and broadcast address.
pub(crate) fn add_address(batch: &mut Batch, index: u32, address: Ipv4Addr, subnet: Subnet) {
    batch.push("set the address", libc::RTM_NEWADDR, CREATE_NEW, |w| {
        address_header(w, index, subnet.prefix());
        w.attribute(libc::IFA_LOCAL, &address.octets());
        w.attribute(libc::IFA_ADDRESS, &address.octets());
        w.attribute(libc::IFA_BROADCAST, &subnet.broadcast().octets());
    });
}

/// Takes an address from a link.
pub(crate) fn delete_address(batch: &mut Batch, index: u32, address: Ipv4Addr, prefix: u8) {
    batch.push("remove the address", libc::RTM_DELADDR, 0, |w| {
        address_header(w, index, prefix);
        w.attribute(libc::IFA_LOCAL, &address.octets());
    });
}

/// `struct ifaddrmsg`.
fn address_header(writer: &mut Writer, index: u32, prefix: u8) {
    writer.raw(&[libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE]);
    writer.raw(&index.to_ne_bytes());
}

/// Sets the default route of a namespace that has none.
pub(crate) fn add_default_route(batch: &mut Batch, index: u32, gateway: Ipv4Addr) {
    default_route(
        batch,
        libc::RTM_NEWROUTE,
        CREATE_NEW,
        Some((index, gateway)),
    );
}

/// Sets the default route, in place of the one that there may be.
pub(crate) fn replace_default_route(batch: &mut Batch, index: u32, gateway: Ipv4Addr) {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    default_route(batch, libc::RTM_NEWROUTE, flags, Some((index, gateway)));
}

/// Removes the default route.
pub(crate) fn delete_default_route(batch: &mut Batch) {
    default_route(batch, libc::RTM_DELROUTE, 0, None);
}

fn default_route(batch: &mut Batch, kind: u16, flags: u16, by: Option<(u32, Ipv4Addr)>) {
    batch.push("set the default route", kind, flags, |w| {
        let table = libc::RT_TABLE_MAIN;
        let (origin, scope) = (libc::RTPROT_BOOT, libc::RT_SCOPE_UNIVERSE);
        w.raw(&[
            libc::AF_INET as u8,
            0,
            0,
            0,
            table,
            origin,
            scope,
            libc::RTN_UNICAST,
        ]);
        w.raw(&[0; 4]);
        if let Some((index, gateway)) = by {
            w.attribute(libc::RTA_GATEWAY, &gateway.octets());
            w.native_u32(libc::RTA_OIF, index);
        }
    });
}

/// All links of the socket's namespace.
pub(crate) fn list(socket: &mut Socket) -> Result<Vec<Link>, DumpError> {
    let mut links = Vec::new();
    let request = |w: &mut Writer| {
        link_header(w, 0, false);
        w.native_u32(libc::IFLA_EXT_MASK, SKIP_STATS);
    };
    socket.dump("links", libc::RTM_GETLINK, request, |_, body| {
        links.extend(parse_link(body));
    })?;
    links.dedup_by(|one, other| one.index == other.index);
    Ok(links)
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let index = u32_of(body.get(4..)?)?;
    let flags = u32_of(body.get(8..)?)?;
    let attributes = Attributes(body.get(16..)?);
    let info = attributes.nest(libc::IFLA_LINKINFO);
    let mac = attributes.get(libc::IFLA_ADDRESS);
    Some(Link {
        index,
        name: text_of(attributes.get(libc::IFLA_IFNAME)?)?.to_owned(),
        is_bridge: info.get(INFO_KIND).and_then(text_of) == Some("bridge"),
        mac: mac.and_then(|mac| Some(MacAddr(mac.try_into().ok()?))),
        up: flags & UP != 0,
        master: attributes.get(libc::IFLA_MASTER).and_then(u32_of),
    })
}

/// All IPv4 addresses: index of the link, address and the subnet it belongs to.
pub(crate) fn list_addresses(
    socket: &mut Socket,
) -> Result<Vec<(u32, Ipv4Addr, Subnet)>, DumpError> {
    let mut addresses = Vec::new();
    let request = |w: &mut Writer| address_header(w, 0, 0);
    socket.dump("addresses", libc::RTM_GETADDR, request, |_, body| {
        addresses.extend(parse_address(body));
    })?;
    Ok(addresses)
}

fn parse_address(body: &[u8]) -> Option<(u32, Ipv4Addr, Subnet)> {
    if u8_of(body)? != libc::AF_INET as u8 {
        return None;
    }
    let prefix = *body.get(1)?;
    let index = u32_of(body.get(4..)?)?;
    let attributes = Attributes(body.get(8..)?);
    let local = ipv4_of(attributes.get(libc::IFA_LOCAL)?)?;
    let network = attributes.get(libc::IFA_ADDRESS).and_then(ipv4_of);
    let subnet = Subnet::containing(network.unwrap_or(local), prefix)?;
    Some((index, local, subnet))
}

/// Hands the destination of every IPv4 route to `found`, in all tables; default routes are left out.
pub(crate) fn list_routes(
    socket: &mut Socket,
    mut found: impl FnMut(Subnet),
) -> Result<(), DumpError> {
    let request = |w: &mut Writer| w.raw(&[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    socket.dump("routes", libc::RTM_GETROUTE, request, |_, body| {
        if let Some(destination) = parse_route(body) {
            found(destination);
        }
    })
}

fn parse_route(body: &[u8]) -> Option<Subnet> {
    let prefix = *body.get(1)?;
    if u8_of(body)? != libc::AF_INET as u8 || prefix == 0 {
        return None;
    }
    let destination = Attributes(body.get(12..)?).get(libc::RTA_DST)?;
    Subnet::containing(ipv4_of(destination)?, prefix)
}

fn ipv4_of(bytes: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

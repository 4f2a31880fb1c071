//! Requests about IPv6 addresses and routes, as those of IPv4 in the module `link`.

use std::net::Ipv6Addr;

use super::subnet::Subnet6;
use sys::netlink::{Attributes, Batch, DumpError, Socket, Writer, u8_of, u32_of};

const CREATE_NEW: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const REPLACE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
/// The kernel's own for routes that name none (`IP6_RT_PRIO_USER`).
const METRIC: u32 = 1024;

/// Gives a link an address that counts at once: nobody else can have it (`IFA_F_NODAD`).
pub(super) fn add_address(batch: &mut Batch, index: u32, address: Ipv6Addr, prefix: u8) {
    batch.push("set the IPv6 address", libc::RTM_NEWADDR, CREATE_NEW, |w| {
        address_header(w, index, prefix, libc::IFA_F_NODAD as u8);
        w.attribute(libc::IFA_LOCAL, &address.octets());
        w.attribute(libc::IFA_ADDRESS, &address.octets());
    });
}

/// Takes an address from a link.
pub(super) fn delete_address(batch: &mut Batch, index: u32, address: Ipv6Addr, prefix: u8) {
    batch.push("remove the IPv6 address", libc::RTM_DELADDR, 0, |w| {
        address_header(w, index, prefix, 0);
        w.attribute(libc::IFA_LOCAL, &address.octets());
    });
}

/// `struct ifaddrmsg`.
fn address_header(writer: &mut Writer, index: u32, prefix: u8, flags: u8) {
    let scope = libc::RT_SCOPE_UNIVERSE;
    writer.raw(&[libc::AF_INET6 as u8, prefix, flags, scope]);
    writer.raw(&index.to_ne_bytes());
}

/// Sets the default route, in place of the one that there may be.
pub(crate) fn default_route(batch: &mut Batch, index: u32, gateway: Ipv6Addr) {
    let what = "set the default route of IPv6";
    batch.push(what, libc::RTM_NEWROUTE, REPLACE, |w| {
        let (table, origin) = (libc::RT_TABLE_MAIN, libc::RTPROT_BOOT);
        let scope = libc::RT_SCOPE_UNIVERSE;
        let family = libc::AF_INET6 as u8;
        w.raw(&[family, 0, 0, 0, table, origin, scope, libc::RTN_UNICAST]);
        w.raw(&[0; 4]);
        w.native_u32(libc::RTA_PRIORITY, METRIC);
        w.attribute(libc::RTA_GATEWAY, &gateway.octets());
        w.native_u32(libc::RTA_OIF, index);
    });
}

/// All addresses but those of single links: index of the link, address and the subnet it belongs to.
pub(super) fn list_addresses(
    socket: &mut Socket,
) -> Result<Vec<(u32, Ipv6Addr, Subnet6)>, DumpError> {
    let mut addresses = Vec::new();
    let request = |w: &mut Writer| address_header(w, 0, 0, 0);
    socket.dump("IPv6 addresses", libc::RTM_GETADDR, request, |_, body| {
        addresses.extend(parse_address(body));
    })?;
    Ok(addresses)
}

fn parse_address(body: &[u8]) -> Option<(u32, Ipv6Addr, Subnet6)> {
    let of_all = body.get(3) == Some(&libc::RT_SCOPE_UNIVERSE);
    if u8_of(body)? != libc::AF_INET6 as u8 || !of_all {
        return None;
    }
    let prefix = *body.get(1)?;
    let index = u32_of(body.get(4..)?)?;
    let address = Attributes(body.get(8..)?).get(libc::IFA_ADDRESS)?;
    let octets: [u8; 16] = address.try_into().ok()?;
    let address = Ipv6Addr::from(octets);
    Some((index, address, Subnet6::containing(address, prefix)?))
}

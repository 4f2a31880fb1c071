//! The expressions of which rules are made: each loads a register, or looks at one and goes on or not.

use std::net::Ipv4Addr;

use super::{ACCEPT, DROP, IPV4, IPV6, JUMP};
use crate::subnet::Subnet;
use sys::netlink::Writer;

/// The verdict's register and the 4-byte registers in a row. `FIRST` is also the 16-byte register 1 that
/// starts at the same place (`NFT_REG_1`, `NFT_REG32_01`, `NFT_REG32_02`).
const VERDICT: u32 = 0;
const FIRST: u32 = 1;
/// The 16-byte register behind the first one (`NFT_REG_2`): both together hold two names of links.
const BEHIND: u32 = 2;
const SECOND: u32 = 9;
const THIRD: u32 = 10;

// Keys of `meta` and of `ct`, comparisons, bases of `payload` (linux/netfilter/nf_tables.h).
const META_IN_NAME: u32 = 6;
const META_OUT_NAME: u32 = 7;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
const PORT_OFFSET: u32 = 2;
/// Where the source stands in a header of IPv6 (RFC 8200, section 3).
const SOURCE6_OFFSET: u32 = 8;

/// Connection states established and related; status of a connection whose destination was translated.
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const DESTINATION_TRANSLATED: u32 = 1 << 5;
/// `struct xt_conntrack_mtinfo3` (linux/netfilter/xt_conntrack.h), padded as the kernel demands: its size, and where in it
/// the flags and the states are; the flag that states are looked at.
const CONNTRACK_MATCH: usize = 168;
const CONNTRACK_FLAGS: usize = 146;
const CONNTRACK_STATES: usize = 150;
const CONNTRACK_STATE: u16 = 1;
/// `RTN_LOCAL`: the address is one of the host's.
const LOCAL: u32 = 2;

/// A rule in the making: `NFTA_RULE_EXPRESSIONS`.
pub(super) struct Rule<'a>(pub(super) &'a mut Writer);

impl Rule<'_> {
    /// One expression of a name with its attributes.
    fn expression(&mut self, name: &str, content: impl FnOnce(&mut Writer)) -> &mut Self {
        self.0.nested(1, |w| {
            w.text(1, name);
            w.nested(2, content);
        });
        self
    }

    fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.expression("meta", |w| {
            w.network_u32(2, key);
            w.network_u32(1, register);
        })
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) -> &mut Self {
        self.expression("payload", |w| {
            w.network_u32(1, register);
            w.network_u32(2, base);
            w.network_u32(3, offset);
            w.network_u32(4, length);
        })
    }

    fn compare(&mut self, how: u32, value: &[u8]) -> &mut Self {
        self.expression("cmp", |w| {
            w.network_u32(1, FIRST);
            w.network_u32(2, how);
            w.nested(3, |w| w.attribute(1, value));
        })
    }

    /// Keeps the bits of `mask` in the first register.
    fn keep(&mut self, mask: [u8; 4]) -> &mut Self {
        self.expression("bitwise", |w| {
            w.network_u32(1, FIRST);
            w.network_u32(2, FIRST);
            w.network_u32(3, 4);
            w.nested(4, |w| w.attribute(1, &mask));
            w.nested(5, |w| w.attribute(1, &[0; 4]));
        })
    }

    /// Goes on for IPv4 packets.
    pub(super) fn ipv4(&mut self) -> &mut Self {
        self.meta(META_FAMILY, FIRST).compare(EQUAL, &[IPV4])
    }

    /// Goes on for IPv6 packets.
    pub(super) fn ipv6(&mut self) -> &mut Self {
        self.meta(META_FAMILY, FIRST).compare(EQUAL, &[IPV6])
    }

    pub(super) fn comes_not_from(&mut self, link: &str) -> &mut Self {
        self.meta(META_IN_NAME, FIRST)
            .compare(NOT_EQUAL, &link_name(link))
    }

    /// Goes on when the packet came by this link; as iptables writes it, so that it can read it.
    pub(super) fn comes_from_as_iptables(&mut self, link: &str) -> &mut Self {
        self.meta(META_IN_NAME, FIRST)
            .compare(EQUAL, &[link.as_bytes(), &[0]].concat())
    }

    /// Goes on when the packet leaves by this link; as iptables writes it.
    pub(super) fn leaves_by_as_iptables(&mut self, link: &str) -> &mut Self {
        self.meta(META_OUT_NAME, FIRST)
            .compare(EQUAL, &[link.as_bytes(), &[0]].concat())
    }

    /// As [`Rule::is_established`], as iptables writes it: it reads no other form, and then none of the table's rules.
    pub(super) fn is_established_as_iptables(&mut self) -> &mut Self {
        let mut wanted = [0; CONNTRACK_MATCH];
        wanted[CONNTRACK_FLAGS..][..2].copy_from_slice(&CONNTRACK_STATE.to_ne_bytes());
        wanted[CONNTRACK_STATES..][..2]
            .copy_from_slice(&(ESTABLISHED_OR_RELATED as u16).to_ne_bytes());
        self.expression("match", |w| {
            w.text(1, "conntrack");
            w.network_u32(2, 3); // revision
            w.attribute(3, &wanted);
        })
    }

    /// Counts packets; iptables expects it.
    pub(super) fn counter(&mut self) -> &mut Self {
        self.expression("counter", |_| {})
    }

    /// Goes on when the packet came by a link whose name is in the set.
    pub(super) fn comes_from_any(&mut self, set: &str) -> &mut Self {
        self.meta(META_IN_NAME, FIRST).is_in(set)
    }

    /// Goes on when the packet leaves by a link whose name is in the set.
    pub(super) fn leaves_by_any(&mut self, set: &str) -> &mut Self {
        self.meta(META_OUT_NAME, FIRST).is_in(set)
    }

    /// Goes on when the packet leaves by a link whose name is not in the set.
    pub(super) fn leaves_by_none(&mut self, set: &str) -> &mut Self {
        self.meta(META_OUT_NAME, FIRST).looked_up(set, true)
    }

    /// Goes on when the links by which the packet comes and leaves are a pair in the set.
    pub(super) fn passes_between(&mut self, set: &str) -> &mut Self {
        self.meta(META_IN_NAME, FIRST)
            .meta(META_OUT_NAME, BEHIND)
            .is_in(set)
    }

    /// Goes on when the source lies in a subnet of the set. After [`Rule::ipv4`].
    pub(super) fn source_in_any(&mut self, set: &str) -> &mut Self {
        self.payload(NETWORK_HEADER, SOURCE_OFFSET, 4, FIRST)
            .is_in(set)
    }

    /// The same after [`Rule::ipv6`].
    pub(super) fn source6_in_any(&mut self, set: &str) -> &mut Self {
        self.payload(NETWORK_HEADER, SOURCE6_OFFSET, 16, FIRST)
            .is_in(set)
    }

    fn is_in(&mut self, set: &str) -> &mut Self {
        self.looked_up(set, false)
    }

    fn looked_up(&mut self, set: &str, inverted: bool) -> &mut Self {
        self.expression("lookup", |w| {
            w.text(1, set);
            w.network_u32(2, FIRST);
            if inverted {
                w.network_u32(5, 1);
            }
        })
    }

    /// Goes on when the source lies in the subnet. After [`Rule::ipv4`].
    pub(super) fn source_in(&mut self, subnet: Subnet) -> &mut Self {
        self.address_in(SOURCE_OFFSET, subnet)
    }

    /// Goes on when the destination lies in the subnet. After [`Rule::ipv4`].
    pub(super) fn destination_in(&mut self, subnet: Subnet) -> &mut Self {
        self.address_in(DESTINATION_OFFSET, subnet)
    }

    fn address_in(&mut self, offset: u32, subnet: Subnet) -> &mut Self {
        self.payload(NETWORK_HEADER, offset, 4, FIRST)
            .keep(subnet.mask().octets())
            .compare(EQUAL, &Ipv4Addr::octets(&subnet.base()))
    }

    /// Goes on when the destination is one of the host's own addresses.
    pub(super) fn destination_is_local(&mut self) -> &mut Self {
        self.expression("fib", |w| {
            w.network_u32(1, FIRST);
            w.network_u32(2, 3); // the kind of the address
            w.network_u32(3, 1 << 1); // of the destination
        })
        .compare(EQUAL, &LOCAL.to_ne_bytes())
    }

    /// Goes on for packets of connections that exist, or that one which exists brought about.
    pub(super) fn is_established(&mut self) -> &mut Self {
        self.tracked(CT_STATE, ESTABLISHED_OR_RELATED)
    }

    /// Goes on for connections that came by a published port.
    pub(super) fn is_published(&mut self) -> &mut Self {
        self.tracked(CT_STATUS, DESTINATION_TRANSLATED)
    }

    fn tracked(&mut self, key: u32, bits: u32) -> &mut Self {
        self.expression("ct", |w| {
            w.network_u32(1, FIRST);
            w.network_u32(2, key);
        })
        .keep(bits.to_ne_bytes())
        .compare(NOT_EQUAL, &[0; 4])
    }

    /// Translates the destination to what `map` has for protocol and port; goes on when it has nothing.
    pub(super) fn translate_by_port(&mut self, map: &str) -> &mut Self {
        self.meta(META_PROTOCOL, FIRST)
            .payload(TRANSPORT_HEADER, PORT_OFFSET, 2, SECOND)
            .translate(map)
    }

    /// Translates the destination to what `map` has for address, protocol and port. After [`Rule::ipv4`].
    pub(super) fn translate_by_address(&mut self, map: &str) -> &mut Self {
        self.payload(NETWORK_HEADER, DESTINATION_OFFSET, 4, FIRST)
            .meta(META_PROTOCOL, SECOND)
            .payload(TRANSPORT_HEADER, PORT_OFFSET, 2, THIRD)
            .translate(map)
    }

    fn translate(&mut self, map: &str) -> &mut Self {
        self.expression("lookup", |w| {
            w.text(1, map);
            w.network_u32(2, FIRST);
            w.network_u32(3, FIRST);
        })
        .translation()
    }

    /// Translates the destination to what the first registers hold.
    fn translation(&mut self) -> &mut Self {
        self.expression("nat", |w| {
            w.network_u32(1, 1); // of the destination
            w.network_u32(2, u32::from(IPV4));
            w.network_u32(3, FIRST);
            w.network_u32(5, SECOND);
        })
    }

    /// Goes on for packets to this address, protocol and port. After [`Rule::ipv4`].
    pub(super) fn destination_is(
        &mut self,
        address: Ipv4Addr,
        protocol: u8,
        port: u16,
    ) -> &mut Self {
        self.payload(NETWORK_HEADER, DESTINATION_OFFSET, 4, FIRST)
            .compare(EQUAL, &address.octets())
            .meta(META_PROTOCOL, FIRST)
            .compare(EQUAL, &[protocol])
            .payload(TRANSPORT_HEADER, PORT_OFFSET, 2, FIRST)
            .compare(EQUAL, &port.to_be_bytes())
    }

    /// Translates the destination to this address and port.
    pub(super) fn translate_to(&mut self, address: Ipv4Addr, port: u16) -> &mut Self {
        self.load(FIRST, &address.octets())
            .load(SECOND, &port.to_be_bytes())
            .translation()
    }

    fn load(&mut self, register: u32, value: &[u8]) -> &mut Self {
        self.expression("immediate", |w| {
            w.network_u32(1, register);
            w.nested(2, |w| w.attribute(1, value));
        })
    }

    /// Gives the packet the address of the link that it leaves by.
    pub(super) fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }

    pub(super) fn accept(&mut self) {
        self.verdict(ACCEPT);
    }

    pub(super) fn discard(&mut self) {
        self.verdict(DROP);
    }

    /// Goes on in another chain, and comes back if that decides nothing.
    pub(super) fn jump(&mut self, chain: &str) {
        self.expression("immediate", |w| {
            w.network_u32(1, VERDICT);
            w.nested(2, |w| {
                w.nested(2, |w| {
                    w.network_u32(1, JUMP);
                    w.text(2, chain);
                });
            });
        });
    }

    fn verdict(&mut self, code: u32) {
        self.expression("immediate", |w| {
            w.network_u32(1, VERDICT);
            w.nested(2, |w| w.nested(2, |w| w.network_u32(1, code)));
        });
    }
}

/// A link's name as `meta` loads it: 16 bytes, filled with zeros.
pub(super) fn link_name(name: &str) -> [u8; 16] {
    let mut padded = [0; 16];
    for (to, from) in padded.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    padded
}

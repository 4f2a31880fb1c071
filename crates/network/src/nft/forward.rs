//! Other people's tables: which of them would drop what this engine forwards.

use std::fmt;

use super::{DROP, FORWARD, GET_CHAIN, GET_TABLE, INET, IPV4, IPV6, UNSPECIFIED, header};
use sys::netlink::{Attributes, DumpError, Socket, text_of, u8_of};

/// A chain at the forward hook whose policy is drop. A packet must be accepted by every table: what no
/// rule of that chain accepts does not reach a container, whatever this engine's table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppingChain {
    /// `ip`, `ip6` or `inet`.
    pub family: &'static str,
    /// The table, such as `filter`.
    pub table: String,
    /// The chain, such as `FORWARD`.
    pub chain: String,
}

impl DroppingChain {
    /// Whether it is the one in which Docker's daemon drops.
    pub(crate) fn is_of_docker(&self) -> bool {
        (self.family, self.table.as_str(), self.chain.as_str()) == ("ip", "filter", "FORWARD")
    }
}

impl fmt::Display for DroppingChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.chain)
    }
}

/// Lists such chains, of nft and of iptables over nft.
pub(crate) fn dropping_chains(socket: &mut Socket) -> Result<Vec<DroppingChain>, DumpError> {
    let mut found = Vec::new();
    socket.dump(
        "firewall chains",
        GET_CHAIN,
        |w| header(w, UNSPECIFIED),
        |_, body| found.extend(parse(body)),
    )?;
    found.dedup();
    Ok(found)
}

fn parse(body: &[u8]) -> Option<DroppingChain> {
    let family = match u8_of(body)? {
        IPV4 => "ip",
        IPV6 => "ip6",
        INET => "inet",
        _ => return None,
    };
    let attributes = Attributes(body.get(4..)?);
    let is = |value: Option<&[u8]>, wanted: u32| value == Some(&wanted.to_be_bytes()[..]);
    let at_forward = is(attributes.nest(4).get(1), FORWARD);
    let drops = is(attributes.get(5), DROP);
    (at_forward && drops).then_some(())?;
    Some(DroppingChain {
        family,
        table: text_of(attributes.get(1)?)?.to_owned(),
        chain: text_of(attributes.get(3)?)?.to_owned(),
    })
}

/// Whether a table of this name stands in the family `inet`.
pub(crate) fn table_exists(socket: &mut Socket, table: &str) -> Result<bool, DumpError> {
    let mut found = false;
    socket.dump(
        "firewall tables",
        GET_TABLE,
        |w| header(w, INET),
        |_, body| {
            let name = body.get(4..).and_then(|body| Attributes(body).get(1));
            found |= u8_of(body) == Some(INET) && name.and_then(text_of) == Some(table);
        },
    )?;
    Ok(found)
}

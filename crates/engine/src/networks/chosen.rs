//! The subnets that a request for a network names, one of each family.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use api_types::{Ipam, IpamConfig};
use network::{Subnet, Subnet6};

use crate::outcome::{EngineError, Result};

/// A block of addresses of either family.
pub(super) trait Block: Copy + Display + PartialEq {
    type Address: FromStr + Display + Copy + PartialEq;
    /// The family's name.
    const FAMILY: &'static str;
    /// The longest prefix that leaves room for a bridge and somebody else.
    const LONGEST: u8;

    fn containing(address: Self::Address, prefix: u8) -> Option<Self>;
    fn base(self) -> Self::Address;
    fn prefix(self) -> u8;
    fn contains(self, address: Self::Address) -> bool;
    /// Whether hosts can have addresses of it at all.
    fn is_fit(self) -> bool;
    /// Whether a link can have the address.
    fn is_usable(self, address: Self::Address) -> bool;
    /// All its addresses, the lowest first.
    fn addresses(self) -> impl Iterator<Item = Self::Address>;
}

impl Block for Subnet {
    type Address = Ipv4Addr;
    const FAMILY: &'static str = "IPv4";
    const LONGEST: u8 = 30;

    fn containing(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        Subnet::containing(address, prefix)
    }

    fn base(self) -> Ipv4Addr {
        Subnet::base(self)
    }

    fn prefix(self) -> u8 {
        Subnet::prefix(self)
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        Subnet::contains(self, address)
    }

    fn is_fit(self) -> bool {
        true
    }

    fn is_usable(self, address: Ipv4Addr) -> bool {
        address != Subnet::base(self) && address != self.broadcast()
    }

    fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        (Subnet::base(self).to_bits()..=self.broadcast().to_bits()).map(Ipv4Addr::from_bits)
    }
}

impl Block for Subnet6 {
    type Address = Ipv6Addr;
    const FAMILY: &'static str = "IPv6";
    const LONGEST: u8 = 126;

    fn containing(address: Ipv6Addr, prefix: u8) -> Option<Self> {
        Subnet6::containing(address, prefix)
    }

    fn base(self) -> Ipv6Addr {
        Subnet6::base(self)
    }

    fn prefix(self) -> u8 {
        Subnet6::prefix(self)
    }

    fn contains(self, address: Ipv6Addr) -> bool {
        Subnet6::contains(self, address)
    }

    /// Neither of a single link or site, nor of groups, nor such as stand for others (RFC 4291, section 2.4).
    fn is_fit(self) -> bool {
        let kind = |address: Ipv6Addr| address.octets()[0];
        kind(self.last()) < 0xfe && kind(Subnet6::base(self)) > 0
    }

    fn is_usable(self, address: Ipv6Addr) -> bool {
        address != Subnet6::base(self)
    }

    fn addresses(self) -> impl Iterator<Item = Ipv6Addr> {
        (Subnet6::base(self).to_bits()..=self.last().to_bits()).map(Ipv6Addr::from_bits)
    }
}

/// The subnet that a user chose, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen<B: Block> {
    pub(super) subnet: B,
    pub(super) gateway: Option<B::Address>,
    pub(super) range: Option<B>,
    pub(super) auxiliary: BTreeMap<String, B::Address>,
}

impl<B: Block> Chosen<B> {
    /// A subnet that nobody chose.
    pub(super) fn all_of(subnet: B) -> Self {
        Self {
            subnet,
            gateway: None,
            range: None,
            auxiliary: BTreeMap::new(),
        }
    }

    /// The bridge's address: the one that was asked for, or as in docker the first that is given out.
    ///
    /// # Errors
    /// Docker's sentences for one that is kept for somebody else, and for a range that is too small.
    pub(super) fn bridge_address(&self) -> Result<B::Address> {
        let is_kept = |address: &B::Address| self.auxiliary.values().any(|other| other == address);
        match self.gateway {
            Some(gateway) if is_kept(&gateway) => Err(EngineError::forbidden(format!(
                "failed to allocate gateway ({gateway}): Address already in use"
            ))),
            Some(gateway) => Ok(gateway),
            None => self
                .range
                .unwrap_or(self.subnet)
                .addresses()
                // More than that can not all be kept.
                .take(self.auxiliary.len() + 3)
                .find(|address| self.subnet.is_usable(*address) && !is_kept(address))
                .ok_or_else(|| {
                    EngineError::invalid(format!(
                        "no available {} addresses on this network's address pool {}",
                        B::FAMILY,
                        self.subnet
                    ))
                }),
        }
    }
}

/// What a request names; the engine chooses where there is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) ipv4: Option<Chosen<Subnet>>,
    pub(super) ipv6: Option<Chosen<Subnet6>>,
}

/// Reads the addresses that a request names.
///
/// # Errors
/// Docker's sentences, all that apply; and [`EngineError::Unsupported`] with a field's name in the API.
pub(super) fn blocks(ipam: Option<&Ipam>, ipv6: bool) -> Result<Blocks> {
    let mut blocks = Blocks::default();
    let Some(ipam) = ipam else { return Ok(blocks) };
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(EngineError::unsupported(format!(
            "the IPAM driver {}",
            ipam.driver
        )));
    }
    let options = ipam.options.as_ref();
    if options.is_some_and(|options| !options.is_empty()) {
        return Err(EngineError::unsupported("IPAM.Options"));
    }
    let mut wrong = Vec::new();
    let configs = ipam.config.iter().flatten();
    for config in configs.filter(|config| **config != IpamConfig::default()) {
        if config.subnet.is_empty() {
            return Err(EngineError::unsupported("IPAM.Config without a Subnet"));
        }
        let is_second = match config.subnet.contains(':') {
            true if !ipv6 => {
                return Err(EngineError::invalid(format!(
                    "subnet {} is one of IPv6, which was not asked for (EnableIPv6, --ipv6)",
                    config.subnet
                )));
            }
            true => put(&mut blocks.ipv6, config, &mut wrong),
            false => put(&mut blocks.ipv4, config, &mut wrong),
        };
        if is_second {
            return Err(EngineError::forbidden(
                "bridge driver doesn't support multiple subnets",
            ));
        }
    }
    match wrong.is_empty() {
        true => Ok(blocks),
        false => Err(EngineError::invalid(format!(
            "invalid network config:\n{}",
            wrong.join("\n")
        ))),
    }
}

/// Whether there was one already.
fn put<B: Block>(
    place: &mut Option<Chosen<B>>,
    config: &IpamConfig,
    wrong: &mut Vec<String>,
) -> bool {
    let is_second = place.is_some();
    match read(config) {
        Ok(chosen) => *place = Some(chosen),
        Err(why) => wrong.extend(why),
    }
    is_second
}

fn read<B: Block>(config: &IpamConfig) -> std::result::Result<Chosen<B>, Vec<String>> {
    let Some((subnet, is_base)) = block::<B>(&config.subnet) else {
        return Err(vec![format!(
            "invalid subnet {}: invalid CIDR block notation",
            config.subnet
        )]);
    };
    let mut wrong = Vec::new();
    if !is_base {
        wrong.push(format!(
            "invalid subnet {}: it should be {subnet}",
            config.subnet
        ));
    }
    if !subnet.is_fit() {
        wrong.push(format!(
            "invalid subnet {}: hosts have no such addresses",
            config.subnet
        ));
    }
    if !(1..=B::LONGEST).contains(&subnet.prefix()) {
        wrong.push(format!(
            "invalid subnet {}: a bridge needs room for somebody else",
            config.subnet
        ));
    }
    let mut address = |text: &str, what: &str| match text.parse::<B::Address>() {
        Ok(address) if subnet.contains(address) => Some(address),
        Ok(_) => {
            wrong.push(format!(
                "invalid {what}: parent subnet doesn't contain this address"
            ));
            None
        }
        Err(_) => {
            wrong.push(format!("invalid {what}: invalid address"));
            None
        }
    };
    let gateway = match config.gateway.as_str() {
        "" => None,
        text => address(text, &format!("gateway {text}")),
    };
    let auxiliary = config
        .auxiliary_addresses
        .iter()
        .filter_map(|(name, text)| {
            Some((
                name.clone(),
                address(text, &format!("auxiliary address {name}"))?,
            ))
        })
        .collect();
    let range = match config.ip_range.as_str() {
        "" => None,
        text => match ip_range(text, subnet) {
            Ok(range) => Some(range),
            Err(why) => {
                wrong.push(format!("invalid ip-range {text}: {why}"));
                None
            }
        },
    };
    if gateway.is_some_and(|gateway| !subnet.is_usable(gateway)) {
        wrong.push(format!(
            "invalid gateway {}: invalid address",
            config.gateway
        ));
    }
    match wrong.is_empty() {
        true => Ok(Chosen {
            subnet,
            gateway,
            range,
            auxiliary,
        }),
        false => Err(wrong),
    }
}

fn ip_range<B: Block>(text: &str, subnet: B) -> std::result::Result<B, String> {
    let (range, is_base) = block::<B>(text).ok_or("invalid CIDR block notation")?;
    if range.prefix() < subnet.prefix() {
        return Err(format!(
            "CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if !is_base {
        return Err(format!("it should be {range}"));
    }
    if !subnet.contains(range.base()) {
        return Err(format!("parent subnet {subnet} doesn't contain ip-range"));
    }
    Ok(range)
}

/// Reads `ADDRESS/PREFIX`; whether the address is that of the block itself.
fn block<B: Block>(text: &str) -> Option<(B, bool)> {
    let (address, prefix) = text.split_once('/')?;
    let address = address.parse().ok()?;
    let block = B::containing(address, prefix.parse().ok()?)?;
    Some((block, block.base() == address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipam(subnet: &str, gateway: &str, range: &str) -> Ipam {
        Ipam {
            config: Some(vec![IpamConfig {
                subnet: subnet.to_owned(),
                gateway: gateway.to_owned(),
                ip_range: range.to_owned(),
                ..Default::default()
            }]),
            ..Default::default()
        }
    }

    fn refused(subnet: &str, gateway: &str, range: &str) -> String {
        blocks(Some(&ipam(subnet, gateway, range)), true)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn addresses_are_read_and_checked() {
        assert_eq!(blocks(None, true).unwrap(), Blocks::default());
        let nothing = blocks(Some(&ipam("", "", "")), true).unwrap();
        assert_eq!(nothing, Blocks::default());
        let given = ipam("10.1.0.0/16", "10.1.0.9", "10.1.4.0/24");
        let read = blocks(Some(&given), false).unwrap().ipv4.unwrap();
        assert_eq!(read.subnet.to_string(), "10.1.0.0/16");
        assert_eq!(read.gateway, Some(Ipv4Addr::new(10, 1, 0, 9)));
        assert_eq!(read.range.unwrap().to_string(), "10.1.4.0/24");
        let head = "invalid network config:\n";
        assert_eq!(
            refused("10.1.0.5/16", "10.2.0.1", "10.1.0.0/8"),
            format!(
                "{head}invalid subnet 10.1.0.5/16: it should be 10.1.0.0/16\n\
                 invalid gateway 10.2.0.1: parent subnet doesn't contain this address\n\
                 invalid ip-range 10.1.0.0/8: CIDR block is bigger than its parent subnet 10.1.0.0/16"
            )
        );
        assert_eq!(
            refused("nonsense", "", ""),
            format!("{head}invalid subnet nonsense: invalid CIDR block notation")
        );
        assert!(refused("10.1.0.0/24", "", "10.2.0.0/25").contains("doesn't contain ip-range"));
        assert!(refused("10.1.0.0/31", "", "").contains("room"));
        assert!(refused("10.1.0.0/24", "10.1.0.0", "").contains("invalid gateway"));
    }

    #[test]
    fn each_family_has_one_subnet() {
        let mut both = ipam("10.1.0.0/16", "", "");
        let second = ipam("fd00:1::/64", "fd00:1::9", "fd00:1:0:0:8000::/65");
        both.config.as_mut().unwrap().extend(second.config.unwrap());
        let read = blocks(Some(&both), true).unwrap();
        assert_eq!(
            read.ipv4.unwrap().bridge_address().unwrap().to_string(),
            "10.1.0.1"
        );
        let ipv6 = read.ipv6.unwrap();
        assert_eq!(ipv6.bridge_address().unwrap().to_string(), "fd00:1::9");
        assert_eq!(ipv6.range.unwrap().to_string(), "fd00:1:0:0:8000::/65");
        let sentence = blocks(Some(&both), false).unwrap_err().to_string();
        assert!(sentence.contains("--ipv6"), "{sentence}");
        let again = ipam("fd00:2::/64", "", "");
        both.config.as_mut().unwrap().extend(again.config.unwrap());
        let sentence = blocks(Some(&both), true).unwrap_err().to_string();
        assert!(sentence.contains("multiple subnets"), "{sentence}");
        assert!(refused("fd00::5/64", "", "").ends_with("it should be fd00::/64"));
        assert!(refused("fd00::/64", "fd00::", "").contains("invalid gateway"));
        assert!(refused("fd00::/127", "", "").contains("room"));
        for subnet in [
            "fe80::/64",
            "fec0::/64",
            "ff02::/64",
            "::ffff:0:0/96",
            "::/64",
            "::/1",
        ] {
            assert!(
                refused(subnet, "", "").contains("no such addresses"),
                "{subnet}"
            );
        }
        blocks(Some(&ipam("2001:db8::/32", "", "")), true).unwrap();
    }

    #[test]
    fn the_bridge_has_the_first_address_that_nobody_else_is_to_have() {
        let mut chosen = Chosen::all_of(
            "fd00::/126"
                .parse::<Subnet6>()
                .unwrap_or_else(|_| unreachable!()),
        );
        chosen.auxiliary = [("one".to_owned(), "fd00::1".parse().unwrap())].into();
        assert_eq!(chosen.bridge_address().unwrap().to_string(), "fd00::2");
        chosen.gateway = Some("fd00::1".parse().unwrap());
        let sentence = chosen.bridge_address().unwrap_err().to_string();
        assert!(
            sentence.contains("failed to allocate gateway (fd00::1)"),
            "{sentence}"
        );
    }
}

//! What a user network has of IPv6: chosen, kept, shown.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use api_types::IpamConfig;
use network::{Config6, Network, Subnet6};
use serde::{Deserialize, Serialize};

use super::chosen::Chosen;
use crate::outcome::{EngineError, Result};

/// Subnets that are drawn before it is given up to find a free one.
const DRAWS: usize = 16;

/// What the store keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ipv6Doc {
    /// The subnet's own address, the length of its prefix, and the bridge's address.
    base: Ipv6Addr,
    prefix: u8,
    gateway: Ipv6Addr,
    /// The part of the subnet that is given out, if it is not all of it.
    range: Option<(Ipv6Addr, u8)>,
    /// Addresses that are not given out, by name.
    auxiliary: BTreeMap<String, Ipv6Addr>,
    /// Whether a user chose the subnet: only then may a container ask for an address in it.
    pub(crate) chosen: bool,
}

impl Ipv6Doc {
    /// Everything about it before it is made.
    pub(super) fn draft(network: &Network, chosen: Option<Chosen<Subnet6>>) -> Result<Ipv6Doc> {
        let is_chosen = chosen.is_some();
        let chosen = match chosen {
            Some(chosen) if network.overlaps_ipv6(chosen.subnet)? => {
                return Err(EngineError::forbidden(
                    "invalid pool request: Pool overlaps with other one on this address space",
                ));
            }
            Some(chosen) => chosen,
            None => Chosen::all_of(free_subnet(network)?),
        };
        Ok(Ipv6Doc {
            base: chosen.subnet.base(),
            prefix: chosen.subnet.prefix(),
            gateway: chosen.bridge_address()?,
            range: chosen.range.map(|range| (range.base(), range.prefix())),
            auxiliary: chosen.auxiliary,
            chosen: is_chosen,
        })
    }

    pub(crate) fn subnet(&self) -> Option<Subnet6> {
        Subnet6::containing(self.base, self.prefix)
    }

    /// As `network` knows it; `None` for a document that nobody wrote.
    pub(super) fn config(&self) -> Option<Config6> {
        let subnet = self.subnet()?;
        let range = match self.range {
            Some((base, prefix)) => Subnet6::containing(base, prefix)?,
            None => subnet,
        };
        Some(Config6 {
            subnet,
            gateway: self.gateway,
            range,
            reserved: self.auxiliary.values().copied().collect(),
        })
    }

    /// As the API shows it.
    pub(super) fn describe(&self) -> IpamConfig {
        let block = |(base, prefix)| Subnet6::containing(base, prefix);
        let text = |block: Option<Subnet6>| block.map(|one| one.to_string()).unwrap_or_default();
        IpamConfig {
            subnet: text(self.subnet()),
            ip_range: text(self.range.and_then(block)),
            gateway: self.gateway.to_string(),
            auxiliary_addresses: self
                .auxiliary
                .iter()
                .map(|(name, address)| (name.clone(), address.to_string()))
                .collect(),
        }
    }
}

fn free_subnet(network: &Network) -> Result<Subnet6> {
    for _ in 0..DRAWS {
        let subnet = Subnet6::random().map_err(EngineError::io("draw a subnet"))?;
        if !network.overlaps_ipv6(subnet)? {
            return Ok(subnet);
        }
    }
    Err(network::NetworkError::NoFreeSubnet.into())
}

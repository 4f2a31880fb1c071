//! `network create`, `connect` and `disconnect`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkConfigRef, NetworkConnect,
    NetworkCreate, NetworkDisconnect,
};
use serde_json::json;

use crate::container::{label, link};
use crate::failure::Failure;
use crate::flag::Flag;
use crate::number;
use crate::parse::Parsed;
use crate::query::encode;
use crate::session::{Session, tell};
use crate::verb::{Takes, Verb};

const CREATE_FLAGS: &[Flag] = &[
    Flag::switch("attachable", "Enable manual container attachment"),
    Flag::list(
        "aux-address",
        "map",
        "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])",
    ),
    Flag::one(
        "config-from",
        "string",
        "The network from which to copy the configuration",
    )
    .refused(),
    Flag::switch("config-only", "Create a configuration only network").refused(),
    Flag::one(
        "driver",
        "string",
        "Driver to manage the Network (default \"bridge\")",
    )
    .letter('d'),
    Flag::list(
        "gateway",
        "strings",
        "IPv4 or IPv6 Gateway for the master subnet",
    ),
    Flag::switch("ingress", "Create swarm routing-mesh network").refused(),
    Flag::switch("internal", "Restrict external access to the network"),
    Flag::list(
        "ip-range",
        "strings",
        "Allocate container ip from a sub-range",
    ),
    Flag::one(
        "ipam-driver",
        "string",
        "IP Address Management Driver (default \"default\")",
    ),
    Flag::list(
        "ipam-opt",
        "map",
        "Set IPAM driver specific options (default map[])",
    ),
    Flag::switch(
        "ipv4",
        "Enable or disable IPv4 address assignment (default true)",
    ),
    Flag::switch("ipv6", "Enable or disable IPv6 address assignment"),
    Flag::list("label", "list", "Set metadata on a network").checked(label),
    Flag::list("opt", "map", "Set driver specific options (default map[])").letter('o'),
    Flag::one("scope", "string", "Control the network's scope"),
    Flag::list(
        "subnet",
        "strings",
        "Subnet in CIDR format that represents a network segment",
    ),
];

pub(super) static CREATE: Verb = Verb {
    paths: &["network create"],
    usage: "[OPTIONS] NETWORK",
    about: "Create a network",
    flags: &[CREATE_FLAGS],
    interspersed: true,
    takes: Takes::Exactly(1),
    run: create,
};

fn create(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let given = |name: &str| parsed.one(name).map(|value| value == "true");
    let request = NetworkCreate {
        name: parsed.args.first().cloned().unwrap_or_default(),
        driver: parsed.one("driver").unwrap_or("bridge").to_owned(),
        scope: parsed.one("scope").unwrap_or_default().to_owned(),
        enable_ipv4: given("ipv4"),
        enable_ipv6: given("ipv6"),
        ipam: Some(Ipam {
            driver: parsed.one("ipam-driver").unwrap_or("default").to_owned(),
            options: Some(pairs(parsed, "ipam-opt")?),
            config: Some(subnets(parsed)?),
        }),
        internal: parsed.switch("internal"),
        attachable: parsed.switch("attachable"),
        config_from: Some(NetworkConfigRef::default()),
        options: Some(pairs(parsed, "opt")?),
        labels: Some(labels(parsed)),
        ..NetworkCreate::default()
    };
    let answer = session.post("/networks/create", Some(&json!(request)))?;
    if let Some(warning) = answer["Warning"].as_str().filter(|text| !text.is_empty()) {
        tell(&format!("WARNING: {warning}"));
    }
    println!("{}", answer["Id"].as_str().unwrap_or_default());
    Ok(0)
}

/// Values of a flag that may hold several, with commas between.
fn several(parsed: &Parsed, name: &str) -> Vec<String> {
    let values = parsed.list(name);
    values
        .iter()
        .flat_map(|value| value.split(','))
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `KEY=VALUE` values.
fn pairs(parsed: &Parsed, name: &str) -> Result<BTreeMap<String, String>, Failure> {
    let split = |text: String| {
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        (key.to_owned(), value.to_owned())
    };
    Ok(parsed.list(name).into_iter().map(split).collect())
}

fn labels(parsed: &Parsed) -> BTreeMap<String, String> {
    let split = |text: String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text, String::new()),
    };
    parsed.list("label").into_iter().map(split).collect()
}

/// A subnet as far as it is needed to tell whose an address is.
struct Block {
    address: IpAddr,
    prefix: u32,
}

impl Block {
    fn read(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let block = Block {
            address: address.parse().ok()?,
            prefix: prefix.parse().ok()?,
        };
        let most = if block.address.is_ipv4() { 32 } else { 128 };
        (block.prefix <= most).then_some(block)
    }

    fn contains(&self, other: IpAddr) -> bool {
        let kept = |bits: u128, width: u32| {
            let gone = width - self.prefix.min(width);
            bits.checked_shr(gone).unwrap_or(0)
        };
        match (self.address, other) {
            (IpAddr::V4(one), IpAddr::V4(two)) => {
                kept(one.to_bits().into(), 32) == kept(two.to_bits().into(), 32)
            }
            (IpAddr::V6(one), IpAddr::V6(two)) => {
                kept(one.to_bits(), 128) == kept(two.to_bits(), 128)
            }
            _ => false,
        }
    }
}

/// Puts ranges, gateways and auxiliary addresses to the subnets that hold them.
fn subnets(parsed: &Parsed) -> Result<Vec<IpamConfig>, Failure> {
    let refused = |why: String| Failure::Invalid(why);
    let [subnets, ranges, gateways] =
        ["subnet", "ip-range", "gateway"].map(|name| several(parsed, name));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err(refused(
            "every ip-range or gateway must have a corresponding subnet".to_owned(),
        ));
    }
    let mut found: Vec<(Block, IpamConfig)> = Vec::new();
    for subnet in subnets {
        let block = Block::read(&subnet)
            .ok_or_else(|| refused(format!("invalid CIDR address: {subnet}")))?;
        let overlaps = |(other, _): &(Block, IpamConfig)| {
            other.contains(block.address) || block.contains(other.address)
        };
        if found.iter().any(overlaps) {
            return Err(refused(
                "multiple overlapping subnet configuration is not supported".to_owned(),
            ));
        }
        let config = IpamConfig {
            subnet,
            ..IpamConfig::default()
        };
        found.push((block, config));
    }
    let place = |text: &str, address: &str, what: &str| {
        let address: IpAddr = address
            .parse()
            .map_err(|_| refused(format!("invalid {what} address: {text}")))?;
        found
            .iter()
            .position(|(block, _)| block.contains(address))
            .ok_or_else(|| refused(format!("no matching subnet for {what} {text}")))
    };
    let mut taken: Vec<(usize, &str, String, String)> = Vec::new();
    for range in ranges {
        let address = range.split('/').next().unwrap_or_default();
        taken.push((
            place(&range, address, "range")?,
            "range",
            String::new(),
            range,
        ));
    }
    for gateway in gateways {
        let at = place(&gateway, &gateway, "gateway")?;
        taken.push((at, "gateway", String::new(), gateway));
    }
    for (name, address) in pairs(parsed, "aux-address")? {
        let at = place(&address, &address, "aux-address")?;
        taken.push((at, "aux-address", name, address));
    }
    for (at, kind, name, value) in taken {
        let Some((_, config)) = found.get_mut(at) else {
            continue;
        };
        let twice = |field: &str| match kind {
            "range" => format!(
                "cannot configure multiple ranges ({value}, {field}) on the same subnet ({})",
                config.subnet
            ),
            _ => format!(
                "cannot configure multiple gateways ({value}, {field}) for the same subnet ({})",
                config.subnet
            ),
        };
        match kind {
            "range" if !config.ip_range.is_empty() => return Err(refused(twice(&config.ip_range))),
            "range" => config.ip_range = value,
            "gateway" if !config.gateway.is_empty() => return Err(refused(twice(&config.gateway))),
            "gateway" => config.gateway = value,
            _ => drop(config.auxiliary_addresses.insert(name, value)),
        }
    }
    Ok(found.into_iter().map(|(_, config)| config).collect())
}

const CONNECT_FLAGS: &[Flag] = &[
    Flag::list(
        "alias",
        "strings",
        "Add network-scoped alias for the container",
    ),
    Flag::list("driver-opt", "strings", "driver options for the network").refused(),
    Flag::one(
        "gw-priority",
        "int",
        "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
    ),
    Flag::one("ip", "string", "IPv4 address (e.g., \"172.30.100.104\")"),
    Flag::one("ip6", "string", "IPv6 address (e.g., \"2001:db8::33\")"),
    Flag::list("link", "list", "Add link to another container").checked(link),
    Flag::list(
        "link-local-ip",
        "strings",
        "Add a link-local address for the container",
    ),
];

pub(super) static CONNECT: Verb = Verb {
    paths: &["network connect"],
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a network",
    flags: &[CONNECT_FLAGS],
    interspersed: true,
    takes: Takes::Exactly(2),
    run: connect,
};

fn connect(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let (network, container) = names(parsed)?;
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let address = parsed.one("ip").unwrap_or_default();
    let priority = parsed.value("gw-priority", |text| {
        number::integer(text)
            .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
    })?;
    let request = NetworkConnect {
        container: container.to_owned(),
        endpoint_config: Some(EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: address.to_owned(),
                ipv6_address: parsed.one("ip6").unwrap_or_default().to_owned(),
                link_local_ips: several(parsed, "link-local-ip"),
            }),
            links: some(parsed.list("link")),
            aliases: some(several(parsed, "alias")),
            gw_priority: priority.unwrap_or(0),
            ..EndpointSettings::default()
        }),
    };
    let path = format!("/networks/{}/connect", encode(network));
    session.post(&path, Some(&json!(request)))?;
    Ok(0)
}

/// The network and the container, neither of which may be blank.
fn names(parsed: &Parsed) -> Result<(&str, &str), Failure> {
    let mut words = parsed.args.iter().map(|word| word.trim());
    let network = words.next().unwrap_or_default();
    let container = words.next().unwrap_or_default();
    for (word, what) in [(network, "network"), (container, "container")] {
        if word.is_empty() {
            return Err(Failure::Invalid(format!(
                "invalid {what} name or ID: value is empty"
            )));
        }
    }
    Ok((network, container))
}

const DISCONNECT_FLAGS: &[Flag] =
    &[Flag::switch("force", "Force the container to disconnect from a network").letter('f')];

pub(super) static DISCONNECT: Verb = Verb {
    paths: &["network disconnect"],
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Disconnect a container from a network",
    flags: &[DISCONNECT_FLAGS],
    interspersed: true,
    takes: Takes::Exactly(2),
    run: |session, parsed| {
        let (network, container) = names(parsed)?;
        let request = NetworkDisconnect {
            container: container.to_owned(),
            force: parsed.switch("force"),
        };
        let path = format!("/networks/{}/disconnect", encode(network));
        session.post(&path, Some(&json!(request)))?;
        Ok(0)
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_addresses() {
        let block = Block::read("10.1.0.0/16").unwrap();
        assert!(block.contains("10.1.255.255".parse().unwrap()));
        assert!(!block.contains("10.2.0.0".parse().unwrap()));
        assert!(!block.contains("::1".parse().unwrap()));
        assert!(
            Block::read("0.0.0.0/0")
                .unwrap()
                .contains("9.9.9.9".parse().unwrap())
        );
        let block = Block::read("fd00::/64").unwrap();
        assert!(block.contains("fd00::9".parse().unwrap()));
        assert!(Block::read("10.1.0.0/33").is_none() && Block::read("10.1.0.0").is_none());
    }
}

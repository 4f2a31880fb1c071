//! What a request for a network asks for: checked, and refused by name where it is not built.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use api_types::{Ipam, IpamConfig, NetworkCreate};
use network::Subnet;

use crate::outcome::{EngineError, Result};

/// The subnet that a user chose, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) subnet: Subnet,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) range: Option<Subnet>,
    pub(super) auxiliary: BTreeMap<String, Ipv4Addr>,
}

/// Options of the bridge driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) bridge: Option<String>,
    pub(super) among: bool,
    pub(super) masqueraded: bool,
    pub(super) mtu: Option<u32>,
    pub(super) host_ip: Ipv4Addr,
    pub(super) internal: bool,
}

/// Refuses what networks can not be here.
///
/// # Errors
/// Docker's sentences, and [`EngineError::Unsupported`] with a field's name in the API.
pub(super) fn check(request: &NetworkCreate) -> Result<()> {
    let unsupported = |what: &str| Err(EngineError::unsupported(what));
    match request.driver.as_str() {
        "" | "bridge" | "default" => {}
        "host" | "null" => {
            return Err(EngineError::forbidden(format!(
                "only one instance of \"{}\" network is allowed",
                request.driver
            )));
        }
        known @ ("macvlan" | "ipvlan" | "overlay") => {
            return unsupported(&format!("making networks with the driver {known}"));
        }
        other => {
            return Err(EngineError::NoSuchNetworkDriver {
                name: other.to_owned(),
            });
        }
    }
    if request.enable_ipv6 == Some(true) {
        return unsupported("EnableIPv6 of a network");
    }
    if request.enable_ipv4 == Some(false) {
        return unsupported("a network without IPv4 (EnableIPv4)");
    }
    match request.scope.as_str() {
        "" | "local" => {}
        "swarm" => return unsupported("Scope swarm of a network"),
        other => return Err(EngineError::invalid(format!("invalid scope: {other}"))),
    }
    let from = request.config_from.as_ref();
    for (name, asked) in [
        ("Ingress of a network", request.ingress),
        ("ConfigOnly of a network", request.config_only),
        (
            "ConfigFrom of a network",
            from.is_some_and(|from| !from.network.is_empty()),
        ),
    ] {
        if asked {
            return unsupported(name);
        }
    }
    Ok(())
}

/// Reads the addresses that a request names; `None` leaves them to the engine.
///
/// # Errors
/// Docker's sentences, all that apply.
pub(super) fn chosen(ipam: Option<&Ipam>) -> Result<Option<Chosen>> {
    let Some(ipam) = ipam else { return Ok(None) };
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(EngineError::unsupported(format!(
            "the IPAM driver {}",
            ipam.driver
        )));
    }
    if ipam
        .options
        .as_ref()
        .is_some_and(|options| !options.is_empty())
    {
        return Err(EngineError::unsupported("IPAM.Options"));
    }
    let configs: Vec<&IpamConfig> = ipam
        .config
        .iter()
        .flatten()
        .filter(|config| **config != IpamConfig::default())
        .collect();
    let config = match configs[..] {
        [] => return Ok(None),
        [config] => config,
        _ => {
            return Err(EngineError::unsupported(
                "more than one subnet of a network",
            ));
        }
    };
    if config.subnet.is_empty() {
        return Err(EngineError::unsupported("IPAM.Config without a Subnet"));
    }
    if config.subnet.contains(':') {
        return Err(EngineError::unsupported("an IPv6 subnet of a network"));
    }
    read(config).map(Some).map_err(|wrong| {
        EngineError::invalid(format!("invalid network config:\n{}", wrong.join("\n")))
    })
}

fn read(config: &IpamConfig) -> std::result::Result<Chosen, Vec<String>> {
    let Some((subnet, is_base)) = block(&config.subnet) else {
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
    if !(1..=30).contains(&subnet.prefix()) {
        wrong.push(format!(
            "invalid subnet {}: a bridge needs room for somebody else",
            config.subnet
        ));
    }
    let mut address = |text: &str, what: &str| match text.parse::<Ipv4Addr>() {
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
    if gateway.is_some_and(|gateway| gateway == subnet.base() || gateway == subnet.broadcast()) {
        wrong.push(format!(
            "invalid gateway {}: invalid address",
            config.gateway
        ));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Chosen {
        subnet,
        gateway,
        range,
        auxiliary,
    })
}

fn ip_range(text: &str, subnet: Subnet) -> std::result::Result<Subnet, String> {
    let (range, is_base) = block(text).ok_or("invalid CIDR block notation")?;
    if range.prefix() < subnet.prefix() {
        return Err(format!(
            "CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if !is_base {
        return Err(format!("it should be {range}"));
    }
    if !subnet.holds(range) {
        return Err(format!("parent subnet {subnet} doesn't contain ip-range"));
    }
    Ok(range)
}

/// Reads `ADDRESS/PREFIX`; whether the address is that of the block itself.
fn block(text: &str) -> Option<(Subnet, bool)> {
    let (address, prefix) = text.split_once('/')?;
    let address = address.parse().ok()?;
    let subnet = Subnet::containing(address, prefix.parse().ok()?)?;
    Some((subnet, subnet.base() == address))
}

/// Reads the driver's options; one that is not known is refused by its name.
///
/// # Errors
/// Docker's sentences for wrong values.
pub(super) fn options(request: &NetworkCreate) -> Result<Options> {
    let mut options = Options {
        bridge: None,
        among: true,
        masqueraded: true,
        mtu: None,
        host_ip: Ipv4Addr::UNSPECIFIED,
        internal: request.internal,
    };
    for (name, value) in request.options.iter().flatten() {
        let switch = || parse_bool(name, value);
        let wrong = |why: &str| {
            EngineError::invalid(format!("invalid value for option {name}: {value:?} {why}"))
        };
        match name.as_str() {
            "com.docker.network.bridge.name" => {
                let is_name = !value.is_empty()
                    && value.len() < 16
                    && !matches!(value.as_str(), "." | "..")
                    && !value.contains(['/', ':'])
                    && !value.contains(char::is_whitespace);
                if !is_name {
                    return Err(wrong("is no name of a link, which has 1 to 15 characters"));
                }
                options.bridge = Some(value.clone());
            }
            "com.docker.network.bridge.enable_icc" => options.among = switch()?,
            "com.docker.network.bridge.enable_ip_masquerade" => options.masqueraded = switch()?,
            "com.docker.network.bridge.host_binding_ipv4" => {
                options.host_ip = value.parse().map_err(|_| wrong("is no IPv4 address"))?;
            }
            "com.docker.network.driver.mtu" => {
                let mtu = value.parse().map_err(|_| wrong("is no number"))?;
                if mtu != 0 && !(68..=65535).contains(&mtu) {
                    return Err(wrong("is not between 68 and 65535"));
                }
                options.mtu = (mtu != 0).then_some(mtu);
            }
            "com.docker.network.internal" => options.internal |= switch()?,
            "com.docker.network.enable_ipv4" if switch()? => {}
            "com.docker.network.enable_ipv6" if !switch()? => {}
            // What is nobody's here is kept and shown: Docker's bridge passes it over, too.
            other if !other.starts_with("com.docker.network.") => {}
            other => {
                return Err(EngineError::unsupported(format!(
                    "the network option {other} ({value})"
                )));
            }
        }
    }
    Ok(options)
}

/// As Go's `strconv.ParseBool`.
fn parse_bool(name: &str, value: &str) -> Result<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(EngineError::invalid(format!(
            "failed to parse {name} value: {value} (strconv.ParseBool: parsing \"{value}\": invalid syntax)"
        ))),
    }
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
        chosen(Some(&ipam(subnet, gateway, range)))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn addresses_are_read_and_checked() {
        assert_eq!(chosen(None).unwrap(), None);
        assert_eq!(chosen(Some(&ipam("", "", ""))).unwrap(), None);
        let read = chosen(Some(&ipam("10.1.0.0/16", "10.1.0.9", "10.1.4.0/24")))
            .unwrap()
            .unwrap();
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
        assert!(refused("fd00::/64", "", "").contains("is not supported"));
    }

    #[test]
    fn options_are_honoured_or_refused_by_name() {
        let with = |name: &str, value: &str| {
            let request = NetworkCreate {
                options: Some([(name.to_owned(), value.to_owned())].into()),
                ..Default::default()
            };
            options(&request)
        };
        assert!(
            !with("com.docker.network.bridge.enable_icc", "false")
                .unwrap()
                .among
        );
        assert_eq!(
            with("com.docker.network.driver.mtu", "1400").unwrap().mtu,
            Some(1400)
        );
        let bridge = with("com.docker.network.bridge.name", "br0")
            .unwrap()
            .bridge;
        assert_eq!(bridge.as_deref(), Some("br0"));
        for (name, value) in [
            ("com.docker.network.bridge.enable_icc", "maybe"),
            ("com.docker.network.driver.mtu", "5"),
            ("com.docker.network.bridge.name", "a/b"),
            ("com.docker.network.bridge.name", "sixteen-letters-"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "nat"),
            ("com.docker.network.enable_ipv6", "true"),
        ] {
            let sentence = with(name, value).unwrap_err().to_string();
            assert!(sentence.contains(name), "{sentence}");
        }
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let refused = |request: NetworkCreate| check(&request).unwrap_err().to_string();
        let driver = |name: &str| NetworkCreate {
            driver: name.to_owned(),
            ..Default::default()
        };
        assert!(refused(driver("macvlan")).contains("macvlan is not supported"));
        assert_eq!(refused(driver("nope")), "plugin \"nope\" not found");
        assert!(refused(driver("host")).contains("only one instance"));
        let request = NetworkCreate {
            enable_ipv6: Some(true),
            ..Default::default()
        };
        assert!(refused(request).contains("EnableIPv6"));
        check(&driver("bridge")).unwrap();
    }
}

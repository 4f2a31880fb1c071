//! What a request for a network asks for: checked, and refused by name where it is not built.

use std::net::Ipv4Addr;

use api_types::NetworkCreate;

use crate::outcome::{EngineError, Result};

/// What every link that has IPv6 carries, in bytes (RFC 8200, section 5): the kernel takes IPv6 from others.
const LEAST_OF_IPV6: u32 = 1280;

/// Options of the bridge driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) bridge: Option<String>,
    pub(super) among: bool,
    pub(super) masqueraded: bool,
    pub(super) mtu: Option<u32>,
    pub(super) host_ip: Ipv4Addr,
    pub(super) internal: bool,
    /// Whether it has IPv6 as well.
    pub(super) ipv6: bool,
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
        ipv6: request.enable_ipv6.unwrap_or(false),
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
            // What it is without a word.
            "com.docker.network.bridge.gateway_mode_ipv4"
            | "com.docker.network.bridge.gateway_mode_ipv6"
                if value == "nat" => {}
            "com.docker.network.enable_ipv4" if switch()? => {}
            // What the request says itself goes first.
            "com.docker.network.enable_ipv6" => {
                options.ipv6 = request.enable_ipv6.unwrap_or(switch()?);
            }
            // What is nobody's here is kept and shown: Docker's bridge passes it over, too.
            other if !other.starts_with("com.docker.network.") => {}
            other => {
                return Err(EngineError::unsupported(format!(
                    "the network option {other} ({value})"
                )));
            }
        }
    }
    if options.ipv6 && options.mtu.is_some_and(|mtu| mtu < LEAST_OF_IPV6) {
        return Err(EngineError::invalid(format!(
            "a network with IPv6 needs packets of {LEAST_OF_IPV6} bytes (com.docker.network.driver.mtu)"
        )));
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
        assert!(with("com.docker.network.enable_ipv6", "1").unwrap().ipv6);
        let bridge = with("com.docker.network.bridge.name", "br0")
            .unwrap()
            .bridge;
        assert_eq!(bridge.as_deref(), Some("br0"));
        for (name, value) in [
            ("com.docker.network.bridge.enable_icc", "maybe"),
            ("com.docker.network.driver.mtu", "5"),
            ("com.docker.network.bridge.name", "a/b"),
            ("com.docker.network.bridge.name", "sixteen-letters-"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "routed"),
            ("com.docker.network.enable_ipv6", "maybe"),
        ] {
            let sentence = with(name, value).unwrap_err().to_string();
            assert!(sentence.contains(name), "{sentence}");
        }
    }

    #[test]
    fn packets_of_ipv6_have_their_room() {
        let with = |mtu: &str| {
            options(&NetworkCreate {
                enable_ipv6: Some(true),
                options: Some(
                    [("com.docker.network.driver.mtu".to_owned(), mtu.to_owned())].into(),
                ),
                ..Default::default()
            })
        };
        with("1280").unwrap();
        assert!(with("1279").unwrap_err().to_string().contains("1280"));
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
            enable_ipv4: Some(false),
            ..Default::default()
        };
        assert!(refused(request).contains("EnableIPv4"));
        check(&driver("bridge")).unwrap();
    }
}

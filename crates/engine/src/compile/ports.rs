//! Exposed and published ports: `80/tcp`, `127.0.0.1:8000-8010:80-90/udp` after the client has split it.

use std::net::IpAddr;

use api_types::{Config, HostConfig};

use crate::outcome::{EngineError, Result};

/// A transport protocol that can be published.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As docker writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// One port to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) protocol: Protocol,
    pub(crate) container_port: u16,
    /// The host's address; an unspecified one is all of its family, none is all of both.
    pub(crate) host_ip: Option<IpAddr>,
    /// The first port that may be taken; 0 for any free one.
    pub(crate) host_port: u16,
    /// The last one; equal to the first unless a range was given.
    pub(crate) host_port_last: u16,
}

impl Wanted {
    /// Docker's order: ports that are named before those that are chosen, so that these do not take them; those that are
    /// to be the same port of several addresses side by side.
    fn order(&self) -> impl Ord + use<> {
        let chosen = self.host_port == 0 || self.host_port != self.host_port_last;
        (
            chosen,
            self.container_port,
            self.protocol,
            self.host_port,
            self.host_port_last,
            self.host_ip,
        )
    }

    /// Whether the other one differs in nothing but the host's address: then it gets the same port.
    pub(crate) fn shares_port_with(&self, other: &Wanted) -> bool {
        let host_ip = self.host_ip;
        Wanted { host_ip, ..*other } == *self
    }
}

/// At most so many published ports a container: every port of a host in both protocols.
const LIMIT: usize = 2 * 65_536;

/// Port and protocol of a text; TCP where none is named. What stands behind a second slash counts for nothing.
fn split(text: &str) -> (&str, &str) {
    let mut parts = text.split('/');
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("", _) => ("", ""),
        (port, None | Some("")) => (port, "tcp"),
        (port, Some(protocol)) => (port, protocol),
    }
}

fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Reads `80/tcp`; a missing protocol is TCP. As in docker 0 is a port, though nobody can listen on it.
pub(crate) fn parse_port(text: &str) -> Result<(u16, Protocol)> {
    let (port, name) = split(text);
    let number = number(port)
        .ok_or_else(|| EngineError::invalid(format!("invalid port specification: \"{port}\"")))?;
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Ok((number, Protocol::Tcp)),
        "udp" => Ok((number, Protocol::Udp)),
        "sctp" => Err(EngineError::unsupported("publishing SCTP ports")),
        _ => Err(EngineError::invalid(format!("invalid proto: {name}"))),
    }
}

/// An exposed port with the name of its protocol. Docker looks at it when it is shown or published, not before: what is
/// no number is port 0, and a protocol that it does not know is called 0.
pub(crate) fn exposed(text: &str) -> (u16, &'static str) {
    let (port, name) = split(text);
    let protocol = ["tcp", "udp", "sctp", "icmp"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name));
    (number(port).unwrap_or(0), protocol.unwrap_or("0"))
}

/// The ports that a container publishes: the given bindings, and every exposed port with `--publish-all`.
pub(crate) fn wanted(config: &Config, host: &HostConfig) -> Result<Vec<Wanted>> {
    let mut all = Vec::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let (container_port, protocol) = parse_port(port)?;
        for binding in bindings.iter().flatten() {
            let (host_port, host_port_last) = host_range(&binding.host_port)?;
            let host_ip = host_address(&binding.host_ip)?;
            all.push(Wanted {
                protocol,
                container_port,
                host_ip,
                host_port,
                host_port_last,
            });
        }
    }
    if host.publish_all_ports {
        for port in config.exposed_ports.keys() {
            let (container_port, name) = exposed(port);
            let protocol = match name {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => return Err(EngineError::unsupported("publishing SCTP ports")),
                _ => return Err(EngineError::invalid("unknown protocol")),
            };
            if !all
                .iter()
                .any(|have| have.container_port == container_port && have.protocol == protocol)
            {
                all.push(Wanted {
                    protocol,
                    container_port,
                    host_ip: None,
                    host_port: 0,
                    host_port_last: 0,
                });
            }
        }
    }
    if all.len() > LIMIT {
        return Err(EngineError::invalid(format!(
            "{} published ports, at most {LIMIT} are possible",
            all.len()
        )));
    }
    all.sort_by_key(Wanted::order);
    Ok(all)
}

/// An empty port is any; `8000-8010` is the first free one of a range.
fn host_range(text: &str) -> Result<(u16, u16)> {
    let invalid = || EngineError::invalid(format!("invalid port specification: \"{text}\""));
    if text.is_empty() {
        return Ok((0, 0));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (
        number(first).ok_or_else(invalid)?,
        number(last).ok_or_else(invalid)?,
    );
    if first > last {
        return Err(invalid());
    }
    Ok((first, last))
}

fn host_address(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(Some(address.to_canonical())),
        Err(_) => Err(EngineError::invalid(format!("invalid IP address: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use api_types::PortBinding;

    use super::*;

    fn host(port: &str, host_ip: &str, host_port: &str) -> HostConfig {
        let binding = PortBinding {
            host_ip: host_ip.into(),
            host_port: host_port.into(),
        };
        HostConfig {
            port_bindings: Some([(port.to_owned(), Some(vec![binding]))].into()),
            ..Default::default()
        }
    }

    #[test]
    fn bindings_are_read() {
        let ports = wanted(
            &Config::default(),
            &host("80/udp", "127.0.0.1", "8080-8090"),
        )
        .unwrap();
        let expected = Wanted {
            protocol: Protocol::Udp,
            container_port: 80,
            host_ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            host_port: 8080,
            host_port_last: 8090,
        };
        assert_eq!(ports, [expected]);
    }

    #[test]
    fn publish_all_adds_what_is_exposed_and_not_bound() {
        let mut config = Config::default();
        config
            .exposed_ports
            .insert("80/tcp".into(), Default::default());
        config
            .exposed_ports
            .insert("81/tcp".into(), Default::default());
        let host = HostConfig {
            publish_all_ports: true,
            ..host("80/tcp", "", "80")
        };
        let ports: Vec<_> = wanted(&config, &host)
            .unwrap()
            .iter()
            .map(|port| (port.container_port, port.host_port))
            .collect();
        assert_eq!(ports, [(80, 80), (81, 0)]);
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        for (text, address) in [
            ("", None),
            ("0.0.0.0", Some("0.0.0.0")),
            ("::", Some("::")),
            ("::1", Some("::1")),
            ("::ffff:127.0.0.1", Some("127.0.0.1")),
        ] {
            let ports = wanted(&Config::default(), &host("80/tcp", text, "80")).unwrap();
            let found = ports[0].host_ip.map(|ip| ip.to_string());
            assert_eq!(found.as_deref(), address, "{text}");
        }
    }

    #[test]
    fn named_ports_go_first_and_those_of_one_port_side_by_side() {
        let binding = |host_ip: &str, host_port: &str| PortBinding {
            host_ip: host_ip.into(),
            host_port: host_port.into(),
        };
        let bindings = vec![
            binding("127.0.0.1", "80-90"),
            binding("::1", "85"),
            binding("::1", "80-90"),
            binding("127.0.0.1", ""),
        ];
        let host = HostConfig {
            port_bindings: Some([("80/tcp".to_owned(), Some(bindings))].into()),
            ..Default::default()
        };
        let ports = wanted(&Config::default(), &host).unwrap();
        let firsts: Vec<_> = ports.iter().map(|one| one.host_port).collect();
        assert_eq!(firsts, [85, 0, 80, 80]);
        assert!(ports[2].shares_port_with(&ports[3]));
        assert!(!ports[1].shares_port_with(&ports[2]));
    }

    #[test]
    fn nonsense_is_refused() {
        for (port, ip, host_port) in [
            ("x/tcp", "", "1"),
            ("80/xyz", "", "1"),
            ("80", "nowhere", "1"),
            ("80", "", "9-1"),
            ("+80", "", "1"),
            ("80-81", "", "1"),
            ("80", "", "+1"),
        ] {
            assert!(
                wanted(&Config::default(), &host(port, ip, host_port)).is_err(),
                "{port} {ip} {host_port}"
            );
        }
        assert_eq!(
            parse_port("x/tcp").unwrap_err().to_string(),
            "invalid port specification: \"x\""
        );
    }

    #[test]
    fn any_text_is_exposed() {
        for (text, port) in [
            ("80", (80, "tcp")),
            ("80/UDP", (80, "udp")),
            ("80/zz", (80, "0")),
            ("0", (0, "tcp")),
            ("x/tcp", (0, "tcp")),
            ("80-90/tcp", (0, "tcp")),
            ("", (0, "0")),
            ("80/tcp/x", (80, "tcp")),
        ] {
            assert_eq!(exposed(text), port, "{text}");
        }
        let mut config = Config::default();
        config
            .exposed_ports
            .insert("80/zz".into(), Default::default());
        assert_eq!(wanted(&config, &HostConfig::default()).unwrap(), []);
        let all = HostConfig {
            publish_all_ports: true,
            ..HostConfig::default()
        };
        let refused = wanted(&config, &all).unwrap_err();
        assert_eq!(refused.to_string(), "unknown protocol");
    }
}

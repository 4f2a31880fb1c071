//! /etc/hosts and /etc/hostname of a container.

use std::fmt::Write;
use std::net::IpAddr;

/// The line that every container's file begins with, and those where there is IPv6: as Docker's engine writes them, which
/// images expect.
const LOCAL: &str = "127.0.0.1\tlocalhost\n";
const LOCAL_IPV6: &str = "\
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// The name in `--add-host NAME:host-gateway` that stands for an address of the host.
pub const HOST_GATEWAY: &str = "host-gateway";

/// A name that `--add-host` adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// Why an `--add-host` value is none. The sentences are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtraHostError {
    /// Neither `NAME:ADDRESS` nor `NAME=ADDRESS`.
    #[error("bad format for add-host: {value:?}")]
    Form {
        /// What was given.
        value: String,
    },
    /// What should be an address is none.
    #[error("invalid IP address in add-host: {address:?}")]
    Address {
        /// What was given.
        address: String,
    },
    /// `host-gateway` was asked for, and no address of the host is known.
    #[error("unable to derive the IP value for host-gateway")]
    NoGateway,
}

impl ExtraHost {
    /// Reads `NAME:ADDRESS` or `NAME=ADDRESS`, an IPv6 address in brackets or not; `gateway` is what
    /// `host-gateway` stands for.
    ///
    /// # Errors
    /// One variant each for a wrong form, a wrong address, and a gateway that is not known.
    pub fn parse(value: &str, gateway: Option<IpAddr>) -> Result<Self, ExtraHostError> {
        let form = || ExtraHostError::Form {
            value: value.to_owned(),
        };
        let at = value.find(['=', ':']).ok_or_else(form)?;
        let (name, address) = (&value[..at], &value[at + 1..]);
        if name.is_empty() || address.is_empty() || name.contains(char::is_whitespace) {
            return Err(form());
        }
        if address == HOST_GATEWAY {
            let address = gateway.ok_or(ExtraHostError::NoGateway)?;
            return Ok(Self {
                name: name.to_owned(),
                address,
            });
        }
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(address);
        match bare.parse() {
            Ok(address) => Ok(Self {
                name: name.to_owned(),
                address,
            }),
            Err(_) => Err(ExtraHostError::Address {
                address: address.to_owned(),
            }),
        }
    }
}

/// The text of /etc/hosts: the standard names, those of `--add-host`, then the container's own at its
/// addresses, if it has any. Without `ipv6` none has an address of that kind.
pub fn hosts(
    host_name: &str,
    domain_name: &str,
    addresses: &[IpAddr],
    extra: &[ExtraHost],
    ipv6: bool,
) -> String {
    let mut text = LOCAL.to_owned();
    if ipv6 {
        text.push_str(LOCAL_IPV6);
    }
    let usable = |address: &IpAddr| ipv6 || address.is_ipv4();
    for ExtraHost { name, address } in extra.iter().filter(|host| usable(&host.address)) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    for address in addresses.iter().filter(|address| usable(address)) {
        own(&mut text, host_name, domain_name, address);
    }
    text
}

/// The text with one more line for the container's own name.
pub fn add_own(text: &str, host_name: &str, domain_name: &str, address: IpAddr) -> String {
    let mut text = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    own(&mut text, host_name, domain_name, &address);
    text
}

/// The text without the lines of an address.
pub fn remove_address(text: &str, address: IpAddr) -> String {
    let address = address.to_string();
    text.split_inclusive('\n')
        .filter(|line| line.split_whitespace().next() != Some(address.as_str()))
        .collect()
}

/// The line of the container's own name.
fn own(text: &mut String, host_name: &str, domain_name: &str, address: &IpAddr) {
    // A host name may be a full name itself.
    let full_name = match domain_name {
        "" => host_name.to_owned(),
        domain => format!("{host_name}.{domain}"),
    };
    // Writing to a String does not fail.
    let _ = match full_name.split_once('.') {
        None => writeln!(text, "{address}\t{full_name}"),
        Some((short, _)) => writeln!(text, "{address}\t{full_name} {short}"),
    };
}

/// The text of /etc/hostname.
pub fn hostname(host_name: &str) -> String {
    format!("{host_name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn own_name_comes_last() {
        let extra = [ExtraHost::parse("db:10.0.0.7", None).unwrap()];
        let text = hosts("c0ffee", "", &[ip("172.17.0.2")], &extra, true);
        let expected = format!("{LOCAL}{LOCAL_IPV6}10.0.0.7\tdb\n172.17.0.2\tc0ffee\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn addresses_come_and_go() {
        let text = hosts("web", "example.org", &[ip("172.18.0.2")], &[], false);
        let second = ip("172.19.0.2");
        let more = add_own(&text, "web", "example.org", second);
        assert_eq!(more, format!("{text}172.19.0.2\tweb.example.org web\n"));
        assert_eq!(remove_address(&more, second), text);
    }

    #[test]
    fn without_ipv6_no_name_has_such_an_address() {
        let extra = ["a:::2", "b:10.0.0.7"].map(|text| ExtraHost::parse(text, None).unwrap());
        assert_eq!(
            hosts("c", "", &[ip("::3"), ip("1.2.3.4")], &extra, false),
            "127.0.0.1\tlocalhost\n10.0.0.7\tb\n1.2.3.4\tc\n"
        );
    }

    #[test]
    fn a_domain_makes_the_full_name_the_first() {
        for (host_name, domain_name) in [("web", "example.org"), ("web.example.org", "")] {
            let text = hosts(host_name, domain_name, &[ip("172.17.0.2")], &[], true);
            assert!(
                text.ends_with("172.17.0.2\tweb.example.org web\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn added_hosts_are_read() {
        let gateway = Some(ip("172.17.0.1"));
        for (value, name, address) in [
            ("db:10.0.0.7", "db", "10.0.0.7"),
            ("db=10.0.0.7", "db", "10.0.0.7"),
            ("db:::1", "db", "::1"),
            ("db:[::1]", "db", "::1"),
            ("up:host-gateway", "up", "172.17.0.1"),
        ] {
            let parsed = ExtraHost::parse(value, gateway).unwrap();
            assert_eq!((parsed.name.as_str(), parsed.address), (name, ip(address)));
        }
    }

    #[test]
    fn what_is_no_added_host_is_refused_in_docker_s_words() {
        let refuse = |value| ExtraHost::parse(value, None).unwrap_err().to_string();
        assert_eq!(refuse("db"), "bad format for add-host: \"db\"");
        assert_eq!(refuse(":1.2.3.4"), "bad format for add-host: \":1.2.3.4\"");
        assert_eq!(
            refuse("a b:1.2.3.4"),
            "bad format for add-host: \"a b:1.2.3.4\""
        );
        assert_eq!(
            refuse("db:1.2.3"),
            "invalid IP address in add-host: \"1.2.3\""
        );
        assert!(refuse("db:host-gateway").contains("host-gateway"));
    }
}

//! `--network` and what belongs to it: `--add-host`, `--dns`, `--dns-search`; modes of namespaces; sysctls.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use api_types::{EndpointIpamConfig, EndpointSettings};

use super::mounts::fields;
use crate::failure::Failure;
use crate::number;
use crate::parse::Parsed;

/// One network that a container is connected to, and how.
pub(super) type Connection = (String, EndpointSettings);

/// Checks a `--network` value while the command line is taken apart.
///
/// # Errors
/// As [`network`].
pub(super) fn network_checked(text: &str) -> Result<String, String> {
    network(text).map(|_| text.to_owned())
}

/// Reads one `--network` value: a name, or `name=NAME,alias=…,ip=…`.
///
/// # Errors
/// Docker's words.
pub(super) fn network(text: &str) -> Result<Connection, String> {
    let mut settings = EndpointSettings::default();
    if !is_long(text) {
        return Ok((text.to_owned(), settings));
    }
    let mut name = String::new();
    let mut addresses = EndpointIpamConfig::default();
    for field in fields(text)? {
        let lower = field.to_lowercase();
        let (key, value) = lower
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        let (key, value) = (key.trim(), value.trim().to_owned());
        match key {
            "name" => name = value,
            "alias" => settings.aliases.get_or_insert_default().push(value),
            "ip" => addresses.ipv4_address = value,
            "ip6" => addresses.ipv6_address = value,
            "mac-address" => settings.mac_address = value,
            "link-local-ip" => addresses.link_local_ips.push(value),
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or("invalid key value pair format in driver options")?;
                settings
                    .driver_opts
                    .get_or_insert_default()
                    .insert(key.trim().to_owned(), value.trim().to_owned());
            }
            "gw-priority" => {
                settings.gw_priority = number::integer(&value)
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if name.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    if addresses != EndpointIpamConfig::default() {
        settings.ipam_config = Some(addresses);
    }
    Ok((name, settings))
}

/// Whether a value is made of `key=value` somewhere: then all of it has to be.
fn is_long(text: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.match_indices('=')
        .any(|(at, _)| text[..at].ends_with(is_word) && text[at + 1..].starts_with(is_word))
}

/// Every network of a container, the one that its mode names first.
///
/// # Errors
/// Docker's words for a network without a name, one that is named twice, and for what only networks of one's own can.
pub(super) fn connections(parsed: &Parsed) -> Result<Vec<Connection>, Failure> {
    let mut given = parsed.values("network", network)?;
    if given.is_empty() {
        given.push(("default".to_owned(), EndpointSettings::default()));
    }
    if let Some((name, settings)) = given.first_mut() {
        apply(parsed, name, settings)?;
    }
    let macs = given
        .iter()
        .map(|(_, settings)| settings.mac_address.trim());
    for mac in macs.filter(|mac| !mac.is_empty()) {
        if !is_mac(mac) {
            return Err(Failure::Invalid(format!(
                "{mac} is not a valid mac address"
            )));
        }
    }
    let mut names = Vec::new();
    for (name, settings) in &given {
        let refused = |why: &str| Err(Failure::Invalid(why.to_owned()));
        if name.trim().is_empty() {
            return refused("no name set for network");
        }
        if settings.aliases.is_some() && !is_of_user(name) {
            return refused("network-scoped aliases are only supported for user-defined networks");
        }
        if names.contains(name) {
            return Err(Failure::Invalid(format!(
                "network {name:?} is specified multiple times"
            )));
        }
        if names
            .iter()
            .any(|known| is_of_user(known) != is_of_user(name))
        {
            return refused(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            );
        }
        names.push(name.clone());
    }
    Ok(given)
}

/// Puts the flags that speak of no network by name to the first one.
fn apply(parsed: &Parsed, name: &str, settings: &mut EndpointSettings) -> Result<(), Failure> {
    let conflict = |flag: &str, other: &str| {
        Err(Failure::Invalid(format!(
            "conflicting options: cannot specify both --{flag} and per-network {other}"
        )))
    };
    let aliases = parsed.list("network-alias");
    if !aliases.is_empty() {
        if settings.aliases.is_some() {
            return conflict("network-alias", "alias");
        }
        settings.aliases = Some(aliases);
    }
    let links = parsed.list("link");
    // On the default bridge a link is another thing, which the host's side of the configuration has.
    if is_of_user(name) && !links.is_empty() {
        settings.links = Some(links);
    }
    if let Some(mac) = parsed.one("mac-address").filter(|mac| !mac.is_empty()) {
        if !settings.mac_address.is_empty() {
            return conflict("mac-address", "MAC address");
        }
        settings.mac_address = mac.to_owned();
    }
    let link_local = parsed.list("link-local-ip");
    if !link_local.is_empty() {
        let asked = settings.ipam_config.get_or_insert_default();
        if !asked.link_local_ips.is_empty() {
            return conflict("link-local-ip", "link-local IP addresses");
        }
        asked.link_local_ips = link_local;
    }
    if let Some(address) = parsed.one("ip").filter(|address| !address.is_empty()) {
        let asked = settings.ipam_config.get_or_insert_default();
        if !asked.ipv4_address.is_empty() {
            return conflict("ip", "IPv4 address");
        }
        asked.ipv4_address = address.to_owned();
    }
    if let Some(address) = parsed.one("ip6").filter(|address| !address.is_empty()) {
        let asked = settings.ipam_config.get_or_insert_default();
        if !asked.ipv6_address.is_empty() {
            return conflict("ip6", "IPv6 address");
        }
        asked.ipv6_address = address.to_owned();
    }
    Ok(())
}

/// Whether a text is an Ethernet address as Go reads one: six, eight or twenty bytes.
pub(super) fn is_mac(text: &str) -> bool {
    let separator = text.chars().find(|letter| !letter.is_ascii_hexdigit());
    let (digits, counts) = match separator {
        Some(':' | '-') => (2, [6, 8, 20]),
        Some('.') => (4, [3, 4, 10]),
        _ => return false,
    };
    let parts: Vec<&str> = text.split(separator.unwrap_or(':')).collect();
    let is_part = |part: &&str| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
    counts.contains(&parts.len()) && parts.iter().all(is_part)
}

/// Reads one `--link` value: `NAME` or `NAME:ALIAS`.
///
/// # Errors
/// Docker's words.
pub(crate) fn link(text: &str) -> Result<String, String> {
    match text.split(':').count() {
        _ if text.is_empty() => Err("empty string specified for links".to_owned()),
        1 | 2 => Ok(text.to_owned()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

fn is_of_user(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
}

/// The same as the request has them.
pub(super) fn endpoints(connections: Vec<Connection>) -> BTreeMap<String, EndpointSettings> {
    connections.into_iter().collect()
}

/// Reads one `--add-host` value: `name:address` or `name=address`, with an IPv6 address in brackets if one likes.
///
/// # Errors
/// Docker's words.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bad = || format!("bad format for add-host: {text:?}");
    let parts = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = parts.ok_or_else(bad)?;
    if name.is_empty() || name.contains(':') {
        return Err(bad());
    }
    let address = match address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inside) if !inside.is_empty() => inside,
        _ => address,
    };
    if address != "host-gateway" && address.trim().parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok(format!("{name}:{address}"))
}

/// Reads one `--dns` value.
///
/// # Errors
/// Docker's words.
pub(super) fn resolver(text: &str) -> Result<String, String> {
    let address = text.trim().parse::<IpAddr>();
    address
        .map(|address| address.to_string())
        .map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// What is to be told of a resolver that is the container itself.
pub(super) fn warning(resolvers: &[String]) -> Option<String> {
    let is_local = |text: &&String| match text.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => address == Ipv6Addr::LOCALHOST,
        Err(_) => false,
    };
    resolvers
        .iter()
        .find(is_local)
        .map(|address| format!("Localhost DNS ({address}) may fail in containers."))
}

/// Reads one `--dns-search` value: a domain, or a dot for none.
///
/// # Errors
/// Docker's words.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let text = text.trim_matches(' ');
    if text == "." {
        return Ok(text.to_owned());
    }
    let name = text.trim_end();
    let name = name.strip_suffix('.').unwrap_or(name);
    // Docker's expression lets a colon stand in front of each label.
    let is_label = |label: &str| {
        let label = label.strip_prefix(':').unwrap_or(label);
        let ends =
            |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        ends(label.chars().next())
            && ends(label.chars().next_back())
            && label
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    };
    let has_letter = name.contains(|letter: char| letter.is_ascii_alphabetic());
    if has_letter && name.len() < 255 && name.split('.').all(is_label) {
        Ok(name.to_owned())
    } else {
        Err(format!("{text} is not a valid domain"))
    }
}

/// Reads one `--sysctl` value: only those that a container can have of its own.
///
/// # Errors
/// Docker's words.
pub(super) fn sysctl(text: &str) -> Result<String, String> {
    const OF_IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match text.split_once('=') {
        Some((name, _))
            if OF_IPC.contains(&name)
                || name.starts_with("net.")
                || name.starts_with("fs.mqueue.") =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// Modes that docker's client refuses by itself.
///
/// # Errors
/// Docker's words.
pub(super) fn check_modes(parsed: &Parsed) -> Result<(), Failure> {
    let among = |flag: &str, name: &str, known: &[&str], container: bool| {
        let mode = parsed.one(flag).unwrap_or_default();
        let of_container = container
            && mode
                .strip_prefix("container:")
                .is_some_and(|name| !name.is_empty());
        if known.contains(&mode) || of_container {
            return Ok(());
        }
        Err(Failure::Invalid(format!("--{flag}: invalid {name} mode")))
    };
    among("pid", "PID", &["", "host"], true)?;
    among("uts", "UTS", &["", "host"], false)?;
    among("userns", "USER", &["", "host"], false)?;
    among("cgroupns", "CGROUP", &["", "host", "private"], false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_a_short_and_a_long_form() {
        assert_eq!(network("container:x").unwrap().0, "container:x");
        let (name, settings) = network("name=a,ip=1.2.3.4,alias=b").unwrap();
        assert_eq!(name, "a");
        assert_eq!(settings.ipam_config.unwrap().ipv4_address, "1.2.3.4");
        assert_eq!(settings.aliases.unwrap(), ["b"]);
        assert_eq!(network("foo=bar").unwrap_err(), "invalid field key foo");
        assert_eq!(
            network("alias=bar").unwrap_err(),
            "network name/id is not specified"
        );
    }

    #[test]
    fn names_addresses_and_domains() {
        assert_eq!(host("a=::1").unwrap(), "a:::1");
        assert_eq!(host("a:[::1]").unwrap(), "a:::1");
        assert_eq!(host("h:host-gateway").unwrap(), "h:host-gateway");
        assert_eq!(
            host("a:b:c").unwrap_err(),
            "invalid IP address in add-host: \"b:c\""
        );
        assert_eq!(
            host(":1.2.3.4").unwrap_err(),
            "bad format for add-host: \":1.2.3.4\""
        );
        assert_eq!(resolver(" 1.1.1.1").unwrap(), "1.1.1.1");
        assert_eq!(domain("a-b.c.").unwrap(), "a-b.c");
        assert_eq!(domain(".").unwrap(), ".");
        for text in ["", "a b", "-a", "a..b", "1.2"] {
            assert_eq!(
                domain(text).unwrap_err(),
                format!("{text} is not a valid domain")
            );
        }
        assert_eq!(
            warning(&["1.1.1.1".to_owned(), "127.0.0.9".to_owned()]).unwrap(),
            "Localhost DNS (127.0.0.9) may fail in containers."
        );
        assert!(sysctl("net.x=1").is_ok() && sysctl("kernel.nonsense=1").is_err());
    }
}

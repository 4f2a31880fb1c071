//! Registries that may be spoken to without encryption, and mirrors, as the administrator lists them.

use std::net::IpAddr;

/// Checks one entry: a network (`10.0.0.0/8`), or a host with or without a port. The scheme in front of it, which
/// people write there and which says nothing, is left out.
///
/// # Errors
/// Docker's sentence.
pub(crate) fn insecure(entry: &str) -> Result<String, String> {
    let entry = if entry == "index.docker.io" {
        "docker.io"
    } else {
        entry
    };
    if entry.starts_with('-') || entry.ends_with('-') {
        return Err(format!(
            "invalid index name ({entry}). Cannot begin or end with a hyphen"
        ));
    }
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        entry
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let entry = &entry[scheme.map_or(0, str::len)..];
    if entry.contains("://") {
        return Err(format!(
            "insecure registry {entry} should not contain '://'"
        ));
    }
    if is_network(entry) {
        return Ok(entry.to_owned());
    }
    check_host(entry).map_err(|why| format!("insecure registry {entry} is not valid: {why}"))?;
    Ok(entry.to_owned())
}

/// Checks the address of a mirror.
///
/// # Errors
/// Docker's sentence.
pub(crate) fn mirror(address: &str) -> Result<String, String> {
    let (scheme, rest) = address
        .split_once("://")
        .filter(|(scheme, _)| !scheme.is_empty())
        .ok_or_else(|| {
            format!(
                "invalid mirror: no scheme specified for {address:?}: must use either 'https://' or 'http://'"
            )
        })?;
    if !matches!(scheme, "http" | "https") {
        return Err(format!(
            "invalid mirror: unsupported scheme {scheme:?} in {address:?}: must use either 'https://' or 'http://'"
        ));
    }
    if rest.contains(['?', '#']) {
        return Err(format!(
            "invalid mirror: query or fragment at end of the URI {address:?}"
        ));
    }
    let host = rest.split('/').next().unwrap_or(rest);
    if let Some((user, host)) = host.rsplit_once('@') {
        let user = user.split(':').next().unwrap_or(user);
        let shown = format!("{scheme}://{user}:xxxxx@{host}");
        return Err(format!(
            "invalid mirror: username/password not allowed in URI {shown:?}"
        ));
    }
    check_host(host)
        .map_err(|why| format!("invalid mirror: {address:?} is not a valid URI: {why}"))?;
    Ok(format!("{}/", address.trim_end_matches('/')))
}

/// Checks the name of a registry that has mirrors: a host with or without a port.
///
/// # Errors
/// A sentence.
pub(crate) fn with_mirrors(name: &str) -> Result<String, String> {
    let name = if name == "index.docker.io" {
        "docker.io"
    } else {
        name
    };
    check_host(name)
        .map_err(|why| format!("mirrors of {name:?}: this is no registry's name: {why}"))?;
    Ok(name.to_owned())
}

fn is_network(text: &str) -> bool {
    let parts = text
        .split_once('/')
        .and_then(|(base, bits)| Some((base.parse().ok()?, bits.parse::<u8>().ok()?)));
    match parts {
        Some((IpAddr::V4(_), bits)) => bits <= 32,
        Some((IpAddr::V6(_), bits)) => bits <= 128,
        None => false,
    }
}

fn check_host(text: &str) -> Result<(), String> {
    let (host, port) = split_port(text);
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_address = bare.unwrap_or(host).parse::<IpAddr>().is_ok();
    let digits =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_name = digits && host.split('.').all(is_label);
    if !is_address && !is_name {
        return Err(format!("invalid host {:?}", bare.unwrap_or(host)));
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() => Err(format!("invalid port {port:?}")),
        _ => Ok(()),
    }
}

/// Splits the port off; an IPv6 address without brackets has none.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// One part of a host's name: letters and digits, hyphens within.
fn is_label(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(letters) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::{insecure, mirror, with_mirrors};

    #[test]
    fn hosts_and_networks_are_taken() {
        for entry in [
            "localhost",
            "registry.example.com",
            "reg-1:5000",
            "10.0.0.0/8",
            "fd00::/8",
            "10.1.2.3:80",
            "[::1]:5000",
            "::1",
        ] {
            assert_eq!(insecure(entry).unwrap(), entry);
        }
        assert_eq!(insecure("HTTP://reg:5000").unwrap(), "reg:5000");
        assert_eq!(insecure("https://reg").unwrap(), "reg");
        assert_eq!(insecure("index.docker.io").unwrap(), "docker.io");
    }

    #[test]
    fn what_is_neither_is_refused_in_docker_s_words() {
        for (entry, sentence) in [
            (
                "a b",
                "insecure registry a b is not valid: invalid host \"a b\"",
            ),
            ("", "insecure registry  is not valid: invalid host \"\""),
            (
                "x/y",
                "insecure registry x/y is not valid: invalid host \"x/y\"",
            ),
            (
                "10.0.0.0/33",
                "insecure registry 10.0.0.0/33 is not valid: invalid host \"10.0.0.0/33\"",
            ),
            (
                "a:b",
                "insecure registry a:b is not valid: invalid host \"a\"",
            ),
            (
                "a:99999",
                "insecure registry a:99999 is not valid: invalid port \"99999\"",
            ),
            (
                "ftp://x",
                "insecure registry ftp://x should not contain '://'",
            ),
            (
                "-a",
                "invalid index name (-a). Cannot begin or end with a hyphen",
            ),
            (
                "é.x",
                "insecure registry é.x is not valid: invalid host \"é.x\"",
            ),
        ] {
            assert_eq!(insecure(entry).unwrap_err(), sentence);
        }
    }

    #[test]
    fn mirrors_are_addresses() {
        assert_eq!(mirror("http://reg:5000").unwrap(), "http://reg:5000/");
        let with_path = "https://cache.example.com/hub/";
        assert_eq!(mirror(with_path).unwrap(), with_path);
        for (address, sentence) in [
            (
                "reg:5000",
                "no scheme specified for \"reg:5000\": must use either 'https://' or 'http://'",
            ),
            (
                "ftp://x",
                "unsupported scheme \"ftp\" in \"ftp://x\": must use either 'https://' or 'http://'",
            ),
            (
                "http://x?y",
                "query or fragment at end of the URI \"http://x?y\"",
            ),
            (
                "http://me:pw@x",
                "username/password not allowed in URI \"http://me:xxxxx@x\"",
            ),
            (
                "http://",
                "\"http://\" is not a valid URI: invalid host \"\"",
            ),
        ] {
            let told = mirror(address).unwrap_err();
            assert_eq!(told, format!("invalid mirror: {sentence}"));
        }
        assert_eq!(with_mirrors("index.docker.io").unwrap(), "docker.io");
        assert_eq!(
            with_mirrors("ghcr.example:444").unwrap(),
            "ghcr.example:444"
        );
        assert_eq!(
            with_mirrors("a/b").unwrap_err(),
            "mirrors of \"a/b\": this is no registry's name: invalid host \"a/b\""
        );
    }
}

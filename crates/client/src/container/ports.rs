//! `--publish` and `--expose`.

use std::collections::BTreeMap;

use api_types::{Empty, PortBinding, PortMap};

/// An inclusive range of ports.
type Range = (u16, u16);

/// Adds what one `--publish` value means: `[[ip:]hostport[-end]:]port[-end][/proto]`.
///
/// # Errors
/// Docker's words.
pub(crate) fn publish(
    text: &str,
    exposed: &mut BTreeMap<String, Empty>,
    bindings: &mut PortMap,
) -> Result<(), String> {
    let standard = standard(text)?;
    let text = standard.as_str();
    let (ip, host, container) = split(text);
    let (container, protocol) = port_and_protocol(container);
    let ip = address(&ip)?;
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let inside = range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let outside = if host.is_empty() {
        None
    } else {
        Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?)
    };
    let count = |(first, last): Range| u32::from(last) - u32::from(first) + 1;
    // One container port may be given a range of host ports, from which the engine chooses.
    let choice = outside.filter(|outside| count(*outside) != count(inside));
    if choice.is_some() && inside.0 != inside.1 {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    let lower = protocol.to_lowercase();
    if !["tcp", "udp", "sctp"].contains(&lower.as_str()) {
        return Err(format!("invalid proto: {protocol}"));
    }
    for offset in 0..=(inside.1 - inside.0) {
        let key = format!("{}/{lower}", inside.0 + offset);
        let host_port = match (choice, outside) {
            (Some((first, last)), _) => format!("{first}-{last}"),
            (None, Some((first, _))) => (first + offset).to_string(),
            (None, None) => String::new(),
        };
        exposed.insert(key.clone(), Empty);
        let binding = PortBinding {
            host_ip: ip.clone(),
            host_port,
        };
        bindings
            .entry(key)
            .or_default()
            .get_or_insert_with(Vec::new)
            .push(binding);
    }
    Ok(())
}

/// The short form of `target=80,published=8080,protocol=tcp`; other texts as they are.
fn standard(text: &str) -> Result<String, String> {
    if !text.contains('=') {
        return Ok(text.to_owned());
    }
    let (mut target, mut published, mut protocol) = ("", "", "tcp");
    for field in text.split(',') {
        match field.split_once('=').filter(|(key, _)| !key.is_empty()) {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol = value,
            // Docker takes any key, `mode` among them, and drops it.
            Some(_) => {}
            None => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{field}')"
                ));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// Adds what one `--expose` value means: `port[-end][/proto]`.
///
/// # Errors
/// Docker's words.
pub(crate) fn expose(text: &str, exposed: &mut BTreeMap<String, Empty>) -> Result<(), String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    // The engine checks the protocol.
    let (ports, protocol) = port_and_protocol(text);
    let (first, last) = range(ports)
        .map_err(|why| format!("invalid range format for --expose: {text}, error: {why}"))?;
    exposed.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty)));
    Ok(())
}

/// Address, host part and container part: what the last two colons separate.
fn split(text: &str) -> (String, &str, &str) {
    let mut parts = text.rsplitn(3, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (container, host, ip) = (part(), part(), part());
    (ip.to_owned(), host, container)
}

/// The address to publish on. One of IPv6 may stand in brackets; empty for all.
fn address(text: &str) -> Result<String, String> {
    let mut bare = text;
    if let Some(rest) = text.strip_prefix('[') {
        let wrong = |why: &str| Err(format!("invalid IP address {text}: address {text}:: {why}"));
        bare = match rest.split_once(']') {
            None => return wrong("missing ']' in address"),
            Some((bare, "")) => bare,
            Some((_, more)) if more.starts_with(':') => return wrong("too many colons in address"),
            Some(_) => return wrong("missing port in address"),
        };
        if bare.contains('[') {
            return wrong("unexpected '[' in address");
        }
    }
    if bare.is_empty() || bare.parse::<std::net::IpAddr>().is_ok() {
        Ok(bare.to_owned())
    } else {
        Err(format!("invalid IP address: {bare}"))
    }
}

/// Ports and protocol, TCP where none is named. What stands behind a second slash counts for nothing.
fn port_and_protocol(text: &str) -> (&str, &str) {
    let mut parts = text.split('/');
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("", _) => ("", ""),
        (port, None | Some("")) => (port, "tcp"),
        (port, Some(protocol)) => (port, protocol),
    }
}

/// One port or a range.
///
/// # Errors
/// The words of docker's reader of ports.
fn range(text: &str) -> Result<Range, String> {
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let why = match text.parse::<u16>() {
            Ok(port) if digits => return Ok(port),
            _ if digits => "value out of range",
            _ => "invalid syntax",
        };
        Err(format!("strconv.ParseUint: parsing {text:?}: {why}"))
    };
    // What stands behind a second dash counts for nothing.
    let mut parts = text.split('-');
    let first = port(parts.next().unwrap_or_default())?;
    let last = parts.next().map_or(Ok(first), port)?;
    if first <= last {
        Ok((first, last))
    } else {
        Err(format!("invalid range specified for port: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, String)>, String> {
        let (mut exposed, mut bindings) = (BTreeMap::new(), PortMap::new());
        publish(text, &mut exposed, &mut bindings)?;
        assert!(bindings.keys().all(|key| exposed.contains_key(key)));
        Ok(bindings
            .into_iter()
            .flat_map(|(key, list)| {
                list.unwrap()
                    .into_iter()
                    .map(move |one| (key.clone(), one.host_ip, one.host_port))
            })
            .collect())
    }

    fn one(key: &str, ip: &str, port: &str) -> (String, String, String) {
        (key.to_owned(), ip.to_owned(), port.to_owned())
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read("80"), Ok(vec![one("80/tcp", "", "")]));
        assert_eq!(read("8080:80"), Ok(vec![one("80/tcp", "", "8080")]));
        assert_eq!(
            read("127.0.0.1:8080:80/udp"),
            Ok(vec![one("80/udp", "127.0.0.1", "8080")])
        );
        assert_eq!(
            read("127.0.0.1::80"),
            Ok(vec![one("80/tcp", "127.0.0.1", "")])
        );
        for text in ["[::1]:8080:80", "::1:8080:80"] {
            assert_eq!(read(text), Ok(vec![one("80/tcp", "::1", "8080")]));
        }
        assert_eq!(
            read("8000-8001:80-81"),
            Ok(vec![one("80/tcp", "", "8000"), one("81/tcp", "", "8001")])
        );
        assert_eq!(
            read("8000-8009:80"),
            Ok(vec![one("80/tcp", "", "8000-8009")])
        );
    }

    #[test]
    fn faults_are_in_dockers_words() {
        assert_eq!(read("abc"), Err("invalid containerPort: abc".to_owned()));
        assert_eq!(read("abc:80"), Err("invalid hostPort: abc".to_owned()));
        assert_eq!(read("80/what"), Err("invalid proto: what".to_owned()));
        assert_eq!(
            read("300.0.0.1:1:2"),
            Err("invalid IP address: 300.0.0.1".to_owned())
        );
        assert_eq!(read("1:2:3:4"), Err("invalid IP address: 1:2".to_owned()));
        assert_eq!(
            read("[::1:80:80"),
            Err("invalid IP address [::1: address [::1:: missing ']' in address".to_owned())
        );
        assert_eq!(
            read("/tcp"),
            Err("no port specified: /tcp<empty>".to_owned())
        );
        assert_eq!(read("+80"), Err("invalid containerPort: +80".to_owned()));
        assert_eq!(read("65536:80"), Err("invalid hostPort: 65536".to_owned()));
        assert_eq!(
            read("80-70"),
            Err("invalid containerPort: 80-70".to_owned())
        );
        // The ports are looked at first.
        assert_eq!(read("x/what"), Err("invalid containerPort: x".to_owned()));
        assert_eq!(read("80/WHAT"), Err("invalid proto: WHAT".to_owned()));
        assert!(read("8000-8002:80-81").is_err());
        assert_eq!(
            read("[::1]:80"),
            Err("invalid IP address [:: address [::: missing ']' in address".to_owned())
        );
    }

    #[test]
    fn odd_forms_are_taken_as_docker_takes_them() {
        assert_eq!(read("0"), Ok(vec![one("0/tcp", "", "")]));
        assert_eq!(read("0:80"), Ok(vec![one("80/tcp", "", "0")]));
        assert_eq!(read(":80"), Ok(vec![one("80/tcp", "", "")]));
        for text in ["80/", "80/TCP", "80/tcp/udp", "80-80-90"] {
            assert_eq!(read(text), Ok(vec![one("80/tcp", "", "")]), "{text}");
        }
    }

    #[test]
    fn exposed_ports_are_read() {
        let read = |text: &str| {
            let mut exposed = BTreeMap::new();
            expose(text, &mut exposed).map(|()| exposed.into_keys().collect::<Vec<_>>())
        };
        let some = |ports: &[&str]| Ok(ports.iter().map(|port| (*port).to_owned()).collect());
        assert_eq!(read("80-81/udp"), some(&["80/udp", "81/udp"]));
        assert_eq!(read("80/zz"), some(&["80/zz"]));
        assert_eq!(read("0"), some(&["0/tcp"]));
        assert_eq!(read("80/"), some(&["80/tcp"]));
        assert_eq!(
            read("80:81"),
            Err("invalid port format for --expose: 80:81".to_owned())
        );
        assert_eq!(
            read("/udp"),
            Err(
                "invalid range format for --expose: /udp, error: empty string specified for ports"
                    .to_owned()
            )
        );
        assert_eq!(
            read("80-x"),
            Err("invalid range format for --expose: 80-x, error: strconv.ParseUint: parsing \"x\": invalid syntax".to_owned())
        );
    }
}

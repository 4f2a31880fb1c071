//! `--publish` and `--expose`.

use std::collections::BTreeMap;

use api_types::{Empty, PortBinding, PortMap};

/// More ports than this in one flag are not expanded.
const MOST: u32 = 65_536;

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
    let (ip, host, container) = split(text)?;
    let (container, protocol) = protocol(container)?;
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
    if count(inside) > MOST {
        return Err(format!("invalid range format for --publish: {text}"));
    }
    for offset in 0..=(inside.1 - inside.0) {
        let key = format!("{}/{protocol}", inside.0 + offset);
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
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range(ports)
        .map_err(|why| format!("invalid range format for --expose: {text}, error: {why}"))?;
    exposed.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty)));
    Ok(())
}

/// Address, host part and container part. An IPv6 address may stand in brackets.
fn split(text: &str) -> Result<(String, &str, &str), String> {
    let mut parts = text.rsplitn(3, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (container, host, ip) = (part(), part(), part());
    let bare = ip
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(ip);
    if !ip.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {ip}"));
    }
    Ok((bare.to_owned(), host, container))
}

fn protocol(text: &str) -> Result<(&str, String), String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if ["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        Ok((ports, protocol))
    } else {
        Err(format!("invalid proto: {protocol}"))
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
        text.parse::<u16>().map_err(|_| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let why = if digits {
                "value out of range"
            } else {
                "invalid syntax"
            };
            format!("strconv.ParseUint: parsing {text:?}: {why}")
        })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
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
        assert!(read("8000-8002:80-81").is_err() && read("[::1]:80").is_err());
    }
}

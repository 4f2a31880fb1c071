//! /etc/resolv.conf of a container (resolv.conf(5)).

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// Where the host's file is, and where systemd-resolved keeps the servers that it asks itself.
const HOST_FILE: &str = "etc/resolv.conf";
const RESOLVED_FILE: &str = "run/systemd/resolve/resolv.conf";
/// Address of systemd-resolved's own server, of no use in another network namespace.
const RESOLVED: &str = "127.0.0.53";

/// The servers for a host that has none which a container can reach, as Docker's engine has them.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// A host's file is a page of text; what is longer is not read on.
const LIMIT: usize = 64 << 10;

/// What was asked for by `--dns`, `--dns-search`, `--dns-option`; an empty list leaves the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Name servers.
    pub servers: Vec<IpAddr>,
    /// Search domains; a single `.` means none.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// The host's resolver file below `root` (`/`): /etc/resolv.conf, or systemd-resolved's list of real
/// servers when that file names its local server alone. A host without the file gives an empty text.
///
/// # Errors
/// What reading gave, other than that there is no file.
pub fn host_resolv_conf(root: &Path) -> io::Result<String> {
    let text = read(&root.join(HOST_FILE))?.unwrap_or_default();
    let servers: Vec<_> = values(&text, "nameserver").collect();
    if servers != [RESOLVED] {
        return Ok(text);
    }
    Ok(read(&root.join(RESOLVED_FILE))?.unwrap_or(text))
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(mut bytes) => {
            bytes.truncate(LIMIT);
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text of a container's file, from the host's and what was asked for.
///
/// Servers on the host's loopback are left out, since they are not there from inside; servers with IPv6
/// addresses too, as long as the bridge has no IPv6. When none is left there are Docker's two public
/// ones. Servers that were asked for stay whatever they are.
pub fn resolv_conf(host: &str, settings: &DnsSettings) -> String {
    let servers = match &settings.servers[..] {
        [] => reachable(host),
        given => given.iter().map(IpAddr::to_string).collect(),
    };
    let search = match &settings.search[..] {
        [] => host_search(host),
        [none] if none == "." => Vec::new(),
        given => given.to_vec(),
    };
    let options = match &settings.options[..] {
        [] => values(host, "options").flat_map(words).collect(),
        given => given.to_vec(),
    };
    let mut text = String::from("# Written by the container engine at the container's start.\n");
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (keyword, values) in [("search", search), ("options", options)] {
        if !values.is_empty() {
            text.push_str(&format!("{keyword} {}\n", values.join(" ")));
        }
    }
    text
}

/// The text for a container in the host's network: the host's own file, unless something was asked for.
/// Then loopback servers stay, for there they are reached.
pub fn resolv_conf_like_host(host: &str, settings: &DnsSettings) -> String {
    if *settings == DnsSettings::default() {
        return host.to_owned();
    }
    let mut settings = settings.clone();
    if settings.servers.is_empty() {
        settings.servers = values(host, "nameserver")
            .filter_map(|server| server.parse().ok())
            .collect();
    }
    resolv_conf(host, &settings)
}

fn reachable(host: &str) -> Vec<String> {
    let found: Vec<_> = values(host, "nameserver")
        .filter_map(|server| server.parse::<IpAddr>().ok())
        .filter(|server| server.is_ipv4() && !server.is_loopback())
        .map(|server| server.to_string())
        .collect();
    if found.is_empty() {
        return FALLBACK.map(str::to_owned).to_vec();
    }
    found
}

/// The last of `domain` and `search` counts.
fn host_search(host: &str) -> Vec<String> {
    let last = lines(host)
        .filter(|(keyword, _)| matches!(*keyword, "search" | "domain"))
        .last();
    last.map_or_else(Vec::new, |(_, value)| words(value).collect())
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

fn values<'a>(text: &'a str, wanted: &'a str) -> impl Iterator<Item = &'a str> {
    lines(text)
        .filter(move |(keyword, _)| *keyword == wanted)
        .map(|(_, value)| value)
}

/// The keyword and the rest of each line that is no comment.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter_map(|line| line.split(['#', ';']).next())
        .filter_map(|line| line.trim().split_once(char::is_whitespace))
        .map(|(keyword, value)| (keyword, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file without its first line, which says whose it is.
    fn body(host: &str, settings: &DnsSettings) -> String {
        let text = resolv_conf(host, settings);
        let (comment, body) = text.split_once('\n').unwrap();
        assert!(comment.starts_with('#'));
        body.to_owned()
    }

    #[test]
    fn servers_that_can_not_be_reached_are_left_out() {
        let host = "nameserver 127.0.0.1\nnameserver 192.0.2.1 # the office's\nnameserver ::1\n\
                    nameserver 2001:db8::1\nnameserver junk\n";
        assert_eq!(
            body(host, &DnsSettings::default()),
            "nameserver 192.0.2.1\n"
        );
    }

    #[test]
    fn without_any_the_public_ones_are_taken() {
        let expected = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";
        assert_eq!(body("", &DnsSettings::default()), expected);
        assert_eq!(
            body("nameserver 127.0.0.53", &DnsSettings::default()),
            expected
        );
    }

    #[test]
    fn search_and_options_follow_the_host() {
        let host =
            "domain old.org\nsearch a.org b.org\noptions ndots:2 rotate\nnameserver 192.0.2.1\n";
        assert_eq!(
            body(host, &DnsSettings::default()),
            "nameserver 192.0.2.1\nsearch a.org b.org\noptions ndots:2 rotate\n"
        );
    }

    #[test]
    fn what_was_asked_for_wins() {
        let host = "nameserver 192.0.2.1\nsearch a.org\noptions rotate\n";
        let settings = DnsSettings {
            servers: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            search: vec!["c.org".to_owned()],
            options: vec!["ndots:0".to_owned()],
        };
        assert_eq!(
            body(host, &settings),
            "nameserver 127.0.0.1\nnameserver ::1\nsearch c.org\noptions ndots:0\n"
        );
        let none = DnsSettings {
            search: vec![".".to_owned()],
            ..DnsSettings::default()
        };
        assert_eq!(body(host, &none), "nameserver 192.0.2.1\noptions rotate\n");
    }

    #[test]
    fn in_the_host_s_network_the_host_s_file_stays() {
        let host = "nameserver 127.0.0.53\nsearch a.org\n";
        assert_eq!(resolv_conf_like_host(host, &DnsSettings::default()), host);
        let settings = DnsSettings {
            options: vec!["ndots:0".to_owned()],
            ..DnsSettings::default()
        };
        let text = resolv_conf_like_host(host, &settings);
        assert!(
            text.contains("nameserver 127.0.0.53\nsearch a.org\noptions ndots:0\n"),
            "{text}"
        );
    }

    #[test]
    fn resolved_s_own_list_is_followed() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(host_resolv_conf(root.path()).unwrap(), "");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(HOST_FILE, "nameserver 127.0.0.53\noptions edns0\n");
        let alone = host_resolv_conf(root.path()).unwrap();
        assert!(alone.contains(RESOLVED));
        write(RESOLVED_FILE, "nameserver 192.0.2.7\n");
        assert_eq!(
            host_resolv_conf(root.path()).unwrap(),
            "nameserver 192.0.2.7\n"
        );
        write(HOST_FILE, "nameserver 127.0.0.53\nnameserver 192.0.2.1\n");
        assert!(host_resolv_conf(root.path()).unwrap().contains("192.0.2.1"));
    }
}

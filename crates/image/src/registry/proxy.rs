//! Which proxy a registry is reached through, by the rules of Go's programs, docker's daemon
//! among them (golang.org/x/net/http/httpproxy): `HTTP_PROXY` for http, `HTTPS_PROXY` for https,
//! `NO_PROXY` for the exceptions, and never for this host itself.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;

use super::error::TransportFault;
use super::url::{Origin, Scheme};

/// What stands for credentials wherever people see an address.
const MASK: &str = "xxxxx:xxxxx";

/// Proxies as they were configured; empty for none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For registries over http: an address such as `http://user:password@proxy:3128`.
    pub http: String,
    /// For registries over https.
    pub https: String,
    /// Hosts that are reached without: domains, addresses, networks (`10.0.0.0/8`), each perhaps
    /// with a port, separated by commas; `*` for all.
    pub none: String,
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Passwords never reach a log.
        f.debug_struct("Proxies")
            .field("http", &masked(&self.http))
            .field("https", &masked(&self.https))
            .field("none", &self.none)
            .finish()
    }
}

impl Proxies {
    /// What the environment says: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same in small letters.
    pub fn of_environment() -> Self {
        let named = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let said = |name: &str| named(name).or_else(|| named(&name.to_lowercase()));
        Proxies {
            http: said("HTTP_PROXY").unwrap_or_default(),
            https: said("HTTPS_PROXY").unwrap_or_default(),
            none: said("NO_PROXY").unwrap_or_default(),
        }
    }
}

/// A proxy's address without its credentials, as `info` shows it.
pub fn masked(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{MASK}@{host}{path}"),
        None => address.to_owned(),
    }
}

/// A proxy that can be spoken to.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    pub(super) origin: Origin,
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxies {
    /// The proxy for requests to this place, `None` for a connection without one.
    ///
    /// # Errors
    /// The proxy's address is of no use.
    pub(super) fn of(&self, origin: &Origin) -> Result<Option<Proxy>, TransportFault> {
        let address = match origin.scheme.is_encrypted() {
            true => &self.https,
            false => &self.http,
        };
        if address.is_empty() || !self.covers(origin.host(), origin.port()) {
            return Ok(None);
        }
        let proxy = Proxy::parse(address).ok_or_else(|| TransportFault::ProxyAddress {
            address: masked(address),
        });
        proxy.map(Some)
    }

    /// Whether requests to a host go through a proxy.
    fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.trim().to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return false;
        }
        let entries = self.none.split(',').map(str::trim);
        !entries.filter(|entry| !entry.is_empty()).any(|entry| {
            let entry = entry.to_ascii_lowercase();
            excepts(&entry, &host, address, port)
        })
    }
}

/// Whether an entry of `NO_PROXY` means this host and port.
fn excepts(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((base, bits)) = network(entry) {
        return address.is_some_and(|address| in_network(base, bits, address));
    }
    let (name, wanted) = split_port(entry);
    if wanted.is_some_and(|wanted| wanted != port.to_string()) {
        return false;
    }
    if let Ok(own) = name.parse::<IpAddr>() {
        return address == Some(own.to_canonical());
    }
    // `*.a.b` and `.a.b` are names below a.b; `a.b` is these and itself.
    let name = name
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(name);
    match name.strip_prefix('.') {
        Some("") => false,
        Some(_) => host.ends_with(name),
        None => {
            let below = host.strip_suffix(name).filter(|_| !name.is_empty());
            below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
        }
    }
}

/// `address/bits`.
pub(super) fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (base, bits) = text.split_once('/')?;
    let (base, bits) = (base.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?);
    let width = if base.is_ipv4() { 32 } else { 128 };
    (bits <= width).then_some((base, bits))
}

/// Whether a network holds the address.
pub(super) fn in_network(base: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            (u32::from(base) ^ u32::from(address)).leading_zeros() >= bits
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            (u128::from(base) ^ u128::from(address)).leading_zeros() >= bits
        }
        _ => false,
    }
}

/// `host:port` or `[address]:port`; an address alone has colons of its own.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some(bracketed) = entry.strip_prefix('[') {
        return match bracketed.split_once(']') {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => (entry, None),
        };
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

impl Proxy {
    /// `[http[s]://][user[:password]@]host[:port]`, with whatever behind it.
    fn parse(address: &str) -> Option<Proxy> {
        let (scheme, rest) = match address.split_once("://") {
            None => (Scheme::Http, address),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(_) => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let authorization = match user {
            Some(user) => Some(basic(user)?),
            None => None,
        };
        Some(Proxy {
            origin: Origin::new(scheme, host)?,
            authorization,
        })
    }
}

/// The header for `user:password` as it stands in an address.
fn basic(user: &str) -> Option<HeaderValue> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let pair = [&unescaped(name)[..], b":", &unescaped(password)].concat();
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Replaces `%41` by what it stands for; anything else stays.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| byte == b'%');
        let code = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(none: &str, host: &str, port: u16) -> bool {
        let none = none.to_owned();
        Proxies {
            none,
            ..Proxies::default()
        }
        .covers(host, port)
    }

    #[test]
    fn exceptions_are_those_of_go() {
        for (none, host, port, through) in [
            ("", "reg.example", 443, true),
            ("*", "reg.example", 443, false),
            ("other.example, reg.example", "reg.example", 443, false),
            ("reg.example", "a.reg.example", 443, false),
            ("reg.example", "myreg.example", 443, true),
            ("REG.example", "reg.EXAMPLE", 443, false),
            (".reg.example", "reg.example", 443, true),
            (".reg.example", "a.reg.example", 443, false),
            ("*.reg.example", "a.reg.example", 443, false),
            ("*.reg.example", "reg.example", 443, true),
            ("reg.example:5000", "reg.example", 5000, false),
            ("reg.example:5000", "reg.example", 443, true),
            ("10.0.0.0/8", "10.1.2.3", 443, false),
            ("10.0.0.0/8", "11.1.2.3", 443, true),
            ("10.0.0.0/8", "reg.example", 443, true),
            ("10.1.2.3", "10.1.2.3", 443, false),
            ("10.1.2.3:5000", "10.1.2.3", 443, true),
            ("fd00::/8", "fd00::1", 443, false),
            ("fd00::1", "fd00::1", 443, false),
            ("[fd00::1]:5000", "fd00::1", 5000, false),
            ("[fd00::1]:5000", "fd00::1", 443, true),
            ("10.1.2.3", "::ffff:10.1.2.3", 443, false),
            (",, ,.,*,", "reg.example", 443, false),
            (",, ,.,:80,", "reg.example", 80, true),
            // This host, always.
            ("", "localhost", 5000, false),
            ("", "127.0.0.1", 5000, false),
            ("", "127.9.9.9", 5000, false),
            ("", "::1", 5000, false),
            ("", "::ffff:127.0.0.1", 5000, false),
        ] {
            assert_eq!(covers(none, host, port), through, "{none:?} {host}:{port}");
        }
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let proxies = Proxies {
            http: "http://plain:3128".to_owned(),
            https: "me:p%40ss@secure".to_owned(),
            none: String::new(),
        };
        let of = |scheme, host| proxies.of(&Origin::new(scheme, host).unwrap()).unwrap();
        let plain = of(Scheme::Http, "reg.example:5000").unwrap();
        assert_eq!(plain.origin.to_string(), "http://plain:3128");
        assert!(plain.authorization.is_none());
        let secure = of(Scheme::Https, "reg.example").unwrap();
        assert_eq!(secure.origin.to_string(), "http://secure");
        assert_eq!(secure.origin.port(), 80);
        // me:p@ss
        assert_eq!(secure.authorization.unwrap(), "Basic bWU6cEBzcw==");
        assert!(of(Scheme::Https, "localhost:5000").is_none());
        let bad = Proxies {
            https: "socks5://u:p@x".to_owned(),
            ..Proxies::default()
        };
        let told = bad.of(&Origin::new(Scheme::Https, "reg.example").unwrap());
        assert_eq!(
            told.unwrap_err().to_string(),
            "proxyconnect tcp: \"socks5://xxxxx:xxxxx@x\" is no address of an http or https proxy"
        );
    }

    #[test]
    fn credentials_are_masked() {
        for (address, shown) in [
            ("", ""),
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://me:pw@proxy:3128/", "http://xxxxx:xxxxx@proxy:3128/"),
            ("http://me@proxy", "http://xxxxx:xxxxx@proxy"),
            ("me:p@w@proxy", "xxxxx:xxxxx@proxy"),
            ("http://proxy/a@b", "http://proxy/a@b"),
        ] {
            assert_eq!(masked(address), shown);
        }
        let proxies = Proxies {
            http: "http://me:secret@proxy".to_owned(),
            ..Proxies::default()
        };
        assert!(!format!("{proxies:?}").contains("secret"));
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(unescaped("a%41%4%zz%"), b"aA%4%zz%");
    }
}

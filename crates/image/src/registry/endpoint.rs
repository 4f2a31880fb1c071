//! Where a repository may be found: mirrors, then the registry itself.

use std::net::IpAddr;

use types::{DEFAULT_DOMAIN, Reference};

use super::ClientOptions;
use super::error::RegistryError;
use super::proxy;
use super::url::{Origin, Scheme, Url};

/// Where docker.io's registry really is.
const DEFAULT_REGISTRY: &str = "registry-1.docker.io";

/// A place where a repository may be found.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) origin: Origin,
    /// How else it may be spoken to: only for those that are called insecure.
    pub(super) otherwise: Option<Scheme>,
    /// What stands in front of the repository's name there.
    pub(super) prefix: String,
    /// Whether the user's credentials are meant for it.
    pub(super) trusted: bool,
}

/// The places for a reference, in the order in which they are asked; the registry itself is the last.
pub(super) fn endpoints(
    options: &ClientOptions,
    reference: &Reference,
) -> Result<Vec<Endpoint>, RegistryError> {
    let domain = reference.domain();
    let mut list = Vec::new();
    for address in options.mirrors.get(domain).into_iter().flatten() {
        list.push(mirror(options, address)?);
    }
    list.push(registry(options, domain)?);
    Ok(list)
}

fn unusable(registry: &str) -> RegistryError {
    RegistryError::Address {
        registry: registry.to_owned(),
    }
}

/// `http[s]://host[:port][/prefix]`. It gets no credentials: they are for the registry.
fn mirror(options: &ClientOptions, address: &str) -> Result<Endpoint, RegistryError> {
    let url = Url::parse(address).ok_or_else(|| unusable(address))?;
    let mut origin = url.origin;
    if origin.scheme == Scheme::Https && is_insecure(options, origin.authority()) {
        origin.scheme = Scheme::HttpsUnverified;
    }
    let prefix = url.path.trim_matches('/');
    Ok(Endpoint {
        origin,
        otherwise: None,
        prefix: match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        },
        trusted: false,
    })
}

/// The registry of this name itself.
pub(super) fn registry(options: &ClientOptions, domain: &str) -> Result<Endpoint, RegistryError> {
    let authority = if domain == DEFAULT_DOMAIN {
        DEFAULT_REGISTRY
    } else {
        domain
    };
    let secure = Origin::new(Scheme::Https, authority).ok_or_else(|| unusable(authority))?;
    let (scheme, otherwise) = match is_insecure(options, domain) {
        false => (Scheme::Https, None),
        // One port speaks one of the two. Plain http is asked first: it answers at once, whoever it is.
        true if secure.has_port() => (Scheme::Http, Some(Scheme::HttpsUnverified)),
        true => (Scheme::HttpsUnverified, Some(Scheme::Http)),
    };
    Ok(Endpoint {
        origin: secure.with(scheme),
        otherwise,
        prefix: String::new(),
        trusted: true,
    })
}

/// Whether plain http is allowed: for loopback addresses, and for what the administrator lists.
fn is_insecure(options: &ClientOptions, domain: &str) -> bool {
    let Some(origin) = Origin::new(Scheme::Http, domain) else {
        return false;
    };
    let host = origin.host();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    options.insecure.iter().any(|entry| {
        let listed = entry.trim_start_matches("http://").trim_end_matches('/');
        listed.eq_ignore_ascii_case(domain)
            || listed.eq_ignore_ascii_case(host)
            || address
                .zip(proxy::network(listed))
                .is_some_and(|(address, (base, bits))| proxy::in_network(base, bits, address))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insecure(domain: &str, listed: &[&str]) -> bool {
        let insecure = listed.iter().map(|s| (*s).to_owned()).collect();
        is_insecure(
            &ClientOptions {
                insecure,
                ..ClientOptions::default()
            },
            domain,
        )
    }

    #[test]
    fn loopback_and_listed_registries_are_insecure() {
        for domain in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert!(insecure(domain, &[]), "{domain}");
        }
        assert!(!insecure("docker.io", &[]));
        assert!(!insecure("10.0.0.1:5000", &[]));
        assert!(insecure("10.0.0.1:5000", &["10.0.0.0/8"]));
        assert!(!insecure("11.0.0.1:5000", &["10.0.0.0/8"]));
        assert!(insecure("1.2.3.4", &["0.0.0.0/0"]));
        assert!(insecure("reg.example:5000", &["reg.example:5000"]));
        assert!(insecure("reg.example:5000", &["reg.example"]));
        assert!(!insecure("reg.example:5001", &["reg.example:5000"]));
        assert!(insecure("[fd00::1]:5000", &["fd00::/8"]));
    }

    #[test]
    fn each_registry_has_its_own_mirrors_and_they_come_first() {
        let mirrors = [
            ("docker.io", vec!["http://mirror:5000"]),
            (
                "ghcr.example",
                vec!["https://cache.example/ghcr/", "https://lan.example"],
            ),
        ];
        let options = ClientOptions {
            mirrors: mirrors
                .into_iter()
                .map(|(name, list)| {
                    let list = list.into_iter().map(str::to_owned).collect();
                    (name.to_owned(), list)
                })
                .collect(),
            insecure: vec!["lan.example".to_owned()],
            ..ClientOptions::default()
        };
        let of = |name: &str| {
            let list = endpoints(&options, &name.parse().unwrap()).unwrap();
            list.iter()
                .map(|e| format!("{}/{} {}", e.origin, e.prefix, e.trusted))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("debian"),
            [
                "http://mirror:5000/ false",
                "https://registry-1.docker.io/ true"
            ]
        );
        assert_eq!(
            of("ghcr.example/x/y"),
            [
                "https://cache.example/ghcr/ false",
                "https://lan.example/ false",
                "https://ghcr.example/ true"
            ]
        );
        assert_eq!(of("localhost:5000/x"), ["http://localhost:5000/ true"]);
        let lan = mirror(&options, "https://lan.example").unwrap();
        assert_eq!(lan.origin.scheme, Scheme::HttpsUnverified);
        let own = registry(&options, "lan.example").unwrap();
        assert_eq!(own.origin.scheme, Scheme::HttpsUnverified);
        assert_eq!(own.otherwise, Some(Scheme::Http));
    }
}

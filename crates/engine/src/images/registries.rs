//! Registries: a client for them, and what is asked of one but for images.

use api_types::{
    AuthConfig, AuthResponse, Descriptor, DescriptorPlatform, DistributionInspect, SearchResult,
};
use image::registry::{Client, ClientOptions, Credentials};
use types::Reference;

use crate::engine::Engine;
use crate::filters::Filters;
use crate::outcome::{EngineError, Result};

const DEFAULT_REGISTRY: &str = "docker.io";
/// How many repositories a search finds, unless somebody says another number up to the second.
const SEARCH_RESULTS: i64 = 25;
const MOST_SEARCH_RESULTS: i64 = 100;

impl Engine {
    /// A client that behaves as the daemon's configuration says. It has no connection and has read nothing.
    pub(crate) fn registry_client(&self) -> Client {
        let usual = ClientOptions::default();
        let asked = self.config().transfers;
        let or = |asked: usize, usual: usize| if asked == 0 { usual } else { asked };
        Client::new(ClientOptions {
            parallel_layers: or(asked.downloads, usual.parallel_layers),
            parallel_uploads: or(asked.uploads, usual.parallel_uploads),
            attempts: if asked.attempts == 0 {
                usual.attempts
            } else {
                asked.attempts
            },
            insecure: self.config().insecure_registries.clone(),
            mirrors: self.config().mirrors.clone(),
            proxies: self.config().proxies.clone(),
            ..usual
        })
    }

    /// Asks a registry whether it knows somebody.
    pub async fn login(&self, auth: AuthConfig) -> Result<AuthResponse> {
        let registry = registry_of(&auth.server_address).to_owned();
        let credentials = credentials(auth).unwrap_or_default();
        let identity_token = self
            .registry_client()
            .login(&registry, &credentials)
            .await?;
        Ok(AuthResponse {
            status: "Login Succeeded".to_owned(),
            identity_token,
        })
    }

    /// Asks a registry, or a mirror of it, what it has under a name and for which platforms.
    ///
    /// # Errors
    /// In the registry's words and with its class.
    pub async fn distribution_inspect(
        &self,
        reference: &Reference,
        auth: Option<AuthConfig>,
    ) -> Result<DistributionInspect> {
        let client = self.registry_client();
        let found = client
            .inspect(reference, auth.and_then(credentials))
            .await?;
        let platforms = found.platforms.into_iter().map(|one| DescriptorPlatform {
            architecture: one.architecture,
            os: one.os,
            os_version: one.os_version,
            os_features: one.os_features,
            variant: one.variant.unwrap_or_default(),
        });
        let platforms: Vec<_> = platforms.collect();
        Ok(DistributionInspect {
            descriptor: Descriptor {
                media_type: found.target.media_type,
                digest: found.target.digest.to_string(),
                size: i64::try_from(found.target.size).unwrap_or(i64::MAX),
                ..Descriptor::default()
            },
            platforms: (!platforms.is_empty()).then_some(platforms),
        })
    }

    /// Finds repositories by words. `REGISTRY/WORDS` asks another registry than docker.io.
    pub async fn search(
        &self,
        term: &str,
        limit: Option<i64>,
        filters: Filters,
        auth: Option<AuthConfig>,
    ) -> Result<Vec<SearchResult>> {
        let limit = match limit.unwrap_or(0) {
            0 => SEARCH_RESULTS,
            limit @ 1..=MOST_SEARCH_RESULTS => limit,
            limit => {
                return Err(EngineError::invalid(format!(
                    "limit {limit} is outside the range of [1, {MOST_SEARCH_RESULTS}]"
                )));
            }
        };
        let wanted = Wanted::read(&filters)?;
        let (registry, words) = split_term(term)?;
        let found = self
            .registry_client()
            .search(
                registry,
                words,
                usize::try_from(limit).unwrap_or(0),
                auth.and_then(credentials),
            )
            .await?;
        Ok(found
            .into_iter()
            .map(|found| SearchResult {
                star_count: found.star_count,
                is_official: found.is_official,
                name: found.name,
                is_automated: found.is_automated,
                description: found.description,
            })
            .filter(|found| wanted.takes(found))
            .collect())
    }
}

/// What filters want of a result.
#[derive(Default)]
struct Wanted {
    official: Option<bool>,
    automated: Option<bool>,
    stars: i64,
}

impl Wanted {
    fn read(filters: &Filters) -> Result<Wanted> {
        filters.check(&["is-automated", "is-official", "stars"])?;
        let mut wanted = Wanted::default();
        for value in filters.get("stars") {
            let stars = value.parse().map_err(|_| invalid_filter("stars", value))?;
            wanted.stars = wanted.stars.max(stars);
        }
        wanted.official = filters.flag("is-official")?;
        wanted.automated = filters.flag("is-automated")?;
        Ok(wanted)
    }

    fn takes(&self, found: &SearchResult) -> bool {
        self.official
            .is_none_or(|official| official == found.is_official)
            && self
                .automated
                .is_none_or(|automated| automated == found.is_automated)
            && found.star_count >= self.stars
    }
}

fn invalid_filter(name: &str, value: &str) -> EngineError {
    EngineError::invalid(format!("invalid filter '{name}={value}'"))
}

/// The registry that an address means, as clients send it with credentials: a name, or a whole URL of old.
pub(super) fn registry_of(address: &str) -> &str {
    let bare = ["https://", "http://"]
        .iter()
        .find_map(|scheme| address.strip_prefix(scheme))
        .unwrap_or(address);
    match bare.split('/').next().unwrap_or(bare) {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
        host => host,
    }
}

/// Which registry is searched for which words.
fn split_term(term: &str) -> Result<(&str, &str)> {
    let is_host = |text: &str| text.contains(['.', ':']) || text == "localhost";
    if term.contains("://") {
        return Err(EngineError::invalid(format!(
            "invalid repository name ({term}): it names a scheme"
        )));
    }
    match term.split_once('/') {
        Some((host, words)) if is_host(host) => Ok((registry_of(host), words)),
        _ => Ok((
            DEFAULT_REGISTRY,
            term.strip_prefix("library/").unwrap_or(term),
        )),
    }
}

/// What a client sent; nothing if it is empty.
pub(super) fn credentials(auth: AuthConfig) -> Option<Credentials> {
    let known = Credentials {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
    };
    let parts = [
        &known.username,
        &known.password,
        &known.identity_token,
        &known.registry_token,
    ];
    parts.iter().any(|part| !part.is_empty()).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_registries_are_read_as_clients_write_them() {
        for (address, registry) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("http://reg:5000/v1/", "reg:5000"),
            ("reg.example", "reg.example"),
        ] {
            assert_eq!(registry_of(address), registry);
        }
        assert_eq!(split_term("debian").unwrap(), ("docker.io", "debian"));
        assert_eq!(split_term("library/x").unwrap(), ("docker.io", "x"));
        assert_eq!(split_term("some/x").unwrap(), ("docker.io", "some/x"));
        assert_eq!(split_term("reg:5000/a/b").unwrap(), ("reg:5000", "a/b"));
        split_term("http://x/y").unwrap_err();
    }
}

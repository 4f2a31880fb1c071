//! Finding repositories by words, where a registry has it (docker's index, version 1).

use std::sync::Arc;

use http::header::HeaderMap;
use http::{Method, StatusCode};
use serde::Deserialize;
use types::DEFAULT_DOMAIN;

use super::endpoint;
use super::error::RegistryError;
use super::payload::Payload;
use super::session::Session;
use super::url::{Origin, escape_query};
use super::{Client, Credentials};
use crate::manifest::or_default;

/// Who searches docker.io.
const DEFAULT_INDEX: &str = "index.docker.io";
const ANSWER_LIMIT: u64 = 4 << 20;

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// What it says of itself.
    #[serde(deserialize_with = "or_default")]
    pub description: String,
    /// How many people like it.
    #[serde(deserialize_with = "or_default")]
    pub star_count: i64,
    /// Whether the registry's owners make it.
    #[serde(deserialize_with = "or_default")]
    pub is_official: bool,
    /// Whether it is built by the registry.
    #[serde(deserialize_with = "or_default")]
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Page {
    results: Vec<SearchResult>,
}

/// Asks the registry of this name; at most `limit` are given.
pub(super) async fn search(
    client: &Client,
    registry: &str,
    term: &str,
    limit: usize,
    credentials: Option<Credentials>,
) -> Result<Vec<SearchResult>, RegistryError> {
    let endpoint = endpoint::registry(&client.inner.options, registry)?;
    let index = match registry {
        DEFAULT_DOMAIN => Origin::new(endpoint.origin.scheme, DEFAULT_INDEX),
        _ => Some(endpoint.origin),
    };
    let origin = index.ok_or_else(|| RegistryError::Address {
        registry: registry.to_owned(),
    })?;
    let path = format!("/v1/search?q={}&n={limit}", escape_query(term));
    let schemes = [Some(origin.scheme), endpoint.otherwise];
    let mut outcome = None;
    for scheme in schemes.into_iter().flatten() {
        let origin = origin.with(scheme);
        let session = Session::without_repository(client, origin, credentials.clone());
        let asked = ask(&session, &path, registry, limit).await;
        let is_last = !matches!(asked, Err(RegistryError::Transport { .. }));
        outcome = Some(asked);
        if is_last {
            break;
        }
    }
    outcome.unwrap_or_else(|| {
        Err(RegistryError::Address {
            registry: registry.to_owned(),
        })
    })
}

async fn ask(
    session: &Session,
    path: &str,
    registry: &str,
    limit: usize,
) -> Result<Vec<SearchResult>, RegistryError> {
    let (url, sent) = (session.url(path.to_owned()), Arc::default());
    let asked = session
        .request_with(Method::GET, &url, &HeaderMap::new(), &Payload::Empty, &sent)
        .await;
    let mut answer = match asked {
        Ok(answer) => answer,
        Err(RegistryError::Answer { status, .. } | RegistryError::Garbage { status, .. })
            if matches!(
                status,
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE
            ) =>
        {
            return Err(RegistryError::NoSearch {
                registry: registry.to_owned(),
                status,
            });
        }
        Err(error) => return Err(error),
    };
    let status = answer.status;
    let body = answer.read(ANSWER_LIMIT).await?;
    let page: Page = serde_json::from_slice(&body).map_err(|error| RegistryError::Garbage {
        status,
        reason: format!("{} sent no results: {error}", answer.url.origin),
        body: String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    })?;
    Ok(page.results.into_iter().take(limit).collect())
}

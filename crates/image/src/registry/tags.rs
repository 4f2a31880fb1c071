//! The tags of a repository.

use std::sync::Arc;

use http::Method;
use http::header::{self, HeaderMap};
use serde::Deserialize;
use types::Reference;

use super::auth::Scope;
use super::endpoint;
use super::error::{RegistryError, TransportFault};
use super::payload::Payload;
use super::session::Session;
use super::transport::Answer;
use super::url::Url;
use super::{Client, Credentials};
use crate::error::ImageError;

/// A page of the list.
const PAGE_LIMIT: u64 = 4 << 20;
/// Pages of one list, and tags in all: whoever has more is not meant to be fetched at once.
const MAX_PAGES: usize = 1000;
const MAX_TAGS: usize = 10_000;

/// A page as registries send it (OCI distribution specification, "Listing Tags").
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// Asks mirrors and registry in turn; the registry's own refusal is the one to tell.
pub(super) async fn tags(
    client: &Client,
    repository: &Reference,
    credentials: Option<Credentials>,
) -> Result<Vec<Reference>, ImageError> {
    let mut last = None;
    for endpoint in endpoint::endpoints(&client.inner.options, repository)? {
        let asked = async {
            let scope = Scope::Pull;
            let session =
                Session::open(client, endpoint, repository, scope, credentials.clone()).await?;
            list(&session, repository).await
        };
        match asked.await {
            Ok(tags) => return Ok(tags),
            Err(error) => {
                tracing::debug!(%error, "an endpoint did not help");
                last = Some(error);
            }
        }
    }
    Err(last.map_or(
        ImageError::Interrupted {
            what: "no endpoint",
        },
        ImageError::from,
    ))
}

/// All pages of the list.
async fn list(session: &Session, repository: &Reference) -> Result<Vec<Reference>, RegistryError> {
    let mut url = session.url(format!("/v2/{}/tags/list", session.repository()));
    let mut all = Vec::new();
    for _ in 0..MAX_PAGES {
        let mut answer = session
            .request_with(
                Method::GET,
                &url,
                &HeaderMap::new(),
                &Payload::Empty,
                &Arc::default(),
            )
            .await?;
        let next = next_page(&answer)?;
        for tag in read(&mut answer).await? {
            let tagged = repository.with_tag(&tag);
            all.push(tagged.map_err(|error| garbage(&answer, &error.to_string()))?);
        }
        if all.len() > MAX_TAGS {
            break;
        }
        match next {
            Some(next) => url = next,
            None => return Ok(all),
        }
    }
    Err(RegistryError::TooManyTags {
        repository: repository.familiar_name(),
        most: MAX_TAGS,
    })
}

async fn read(answer: &mut Answer) -> Result<Vec<String>, RegistryError> {
    if answer.is_page() {
        return Err(answer.page("a list of tags").await);
    }
    let body = answer.read(PAGE_LIMIT).await?;
    let page: Page =
        serde_json::from_slice(&body).map_err(|error| garbage(answer, &error.to_string()))?;
    Ok(page.tags.unwrap_or_default())
}

fn garbage(answer: &Answer, why: &str) -> RegistryError {
    RegistryError::Garbage {
        status: answer.status,
        reason: format!("{} sent no list of tags: {why}", answer.url.origin),
        body: String::new(),
    }
}

/// Where the list goes on, if it does: `Link: <PATH>; rel="next"`. It does so at the same registry.
fn next_page(answer: &Answer) -> Result<Option<Url>, RegistryError> {
    let Some(link) = answer.header(header::LINK).and_then(next_link) else {
        return Ok(None);
    };
    let next = answer.url.join(link).filter(|next| {
        // One behind a proxy may say http of itself where https is spoken.
        next.origin.authority() == answer.url.origin.authority()
    });
    match next {
        Some(next) => Ok(Some(Url {
            origin: answer.url.origin.clone(),
            path: next.path,
        })),
        None => Err(answer.fault(TransportFault::Location(link.to_owned()))),
    }
}

/// The target of the relation `next` in a `Link` header (RFC 8288).
fn next_link(text: &str) -> Option<&str> {
    text.split(',').find_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = rest.split(';').any(|parameter| {
            let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
            name.eq_ignore_ascii_case("rel") && value.trim_matches('"') == "next"
        });
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(
            next_link("</v2/a/tags/list?last=b&n=2>; rel=\"next\""),
            Some("/v2/a/tags/list?last=b&n=2")
        );
        assert_eq!(next_link("</x>; rel=prev, </y>;rel=next"), Some("/y"));
        assert_eq!(next_link("</x>; rel=\"last\""), None);
        assert_eq!(next_link("nothing"), None);
    }
}

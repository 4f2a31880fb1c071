//! Whether a registry knows somebody.

use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

use super::auth::{self, Challenge};
use super::endpoint;
use super::error::RegistryError;
use super::url::{Origin, Url};
use super::{Client, Credentials};

const ANSWER_LIMIT: u64 = 64 << 10;

/// Asks the registry of this name whether these credentials are good. Gives the token that stands for the password from
/// now on, empty if there is none.
pub(super) async fn login(
    client: &Client,
    registry: &str,
    credentials: &Credentials,
) -> Result<String, RegistryError> {
    let endpoint = endpoint::registry(&client.inner.options, registry)?;
    let mut outcome = attempt(client, &endpoint.origin, credentials).await;
    if let Some(other) = endpoint.otherwise
        && matches!(&outcome, Err(error) if speaks_otherwise(error))
    {
        let origin = endpoint.origin.with(other);
        let again = attempt(client, &origin, credentials).await;
        // Where nobody is there either, the first answer says more.
        if !matches!(again, Err(RegistryError::Transport { .. })) {
            outcome = again;
        }
    }
    client.inner.transport.forget();
    outcome
}

/// Whether the other of http and https may be spoken there.
fn speaks_otherwise(error: &RegistryError) -> bool {
    match error {
        RegistryError::Transport { .. } => true,
        RegistryError::Login { status, .. } => *status == StatusCode::BAD_REQUEST,
        _ => false,
    }
}

async fn attempt(
    client: &Client,
    origin: &Origin,
    credentials: &Credentials,
) -> Result<String, RegistryError> {
    let transport = &client.inner.transport;
    let url = Url {
        origin: origin.clone(),
        path: "/v2/".to_owned(),
    };
    let mut headers = HeaderMap::new();
    let mut answer = transport.send(Method::GET, &url, &headers).await?;
    let mut identity = String::new();
    if answer.status == StatusCode::UNAUTHORIZED
        && let Some(challenge) = Challenge::of(&answer.headers)
    {
        let known = Some(credentials);
        let header = match challenge {
            Challenge::Basic => auth::answer(transport, &answer, &challenge, "", known).await?,
            Challenge::Bearer { .. } => {
                let tokens = auth::tokens(transport, &answer, &challenge, "", known, true).await?;
                identity = tokens.identity;
                auth::bearer(&tokens.access).ok_or(RegistryError::Login {
                    url: url.to_string(),
                    status: answer.status,
                })?
            }
        };
        headers.insert(header::AUTHORIZATION, header);
        // Reading a short body leaves the connection fit for the next request.
        answer.read(ANSWER_LIMIT).await?;
        answer = transport.send(Method::GET, &url, &headers).await?;
    }
    match answer.status {
        StatusCode::OK if answer.is_page() => Err(answer.page("a registry's answer").await),
        StatusCode::OK => Ok(identity),
        status => Err(RegistryError::Login {
            url: url.to_string(),
            status,
        }),
    }
}

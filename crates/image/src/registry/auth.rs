//! Answering a registry's challenge.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::Credentials;
use super::error::RegistryError;
use super::transport::{Answer, Transport};
use super::url::{Url, escape_query};

const TOKEN_LIMIT: u64 = 1 << 20;
const MAX_PARAMETERS: usize = 32;

/// A `WWW-Authenticate` header that we understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
        error: Option<String>,
    },
}

impl Challenge {
    /// The strongest of an answer's challenges: a token is better than a password.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Challenge> {
        let all = headers.get_all(header::WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> = all
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .collect();
        let bearer = challenges
            .iter()
            .find(|c| matches!(c, Challenge::Bearer { .. }));
        bearer.or(challenges.first()).cloned()
    }

    fn parse(text: &str) -> Option<Challenge> {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let find = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.clone())
        };
        Some(Challenge::Bearer {
            realm: find("realm")?,
            service: find("service"),
            scope: find("scope"),
            error: find("error"),
        })
    }

    /// Whether the token that was sent is good but does not allow this.
    pub(crate) fn is_scope_refusal(&self) -> bool {
        matches!(self, Challenge::Bearer { error: Some(error), .. } if error == "insufficient_scope")
    }
}

/// `name="value", name=value`; backslashes escape within quotes.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut list = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let mut value = String::new();
        let rest = rest.trim_start();
        let end = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                value.push_str(rest[..end].trim_end());
                end
            }
            Some(quoted) => {
                let mut escaped = false;
                let close = quoted.char_indices().find(|(_, c)| {
                    let literal = escaped || !matches!(c, '"' | '\\');
                    if literal {
                        value.push(*c);
                    }
                    let ends = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                });
                close.map_or(rest.len(), |(at, _)| at + 2)
            }
        };
        list.push((name.trim().to_owned(), value));
        if list.len() == MAX_PARAMETERS {
            break;
        }
        text = rest[end..].trim_start().trim_start_matches(',');
    }
    list
}

fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let pair = format!("{}:{}", credentials.username, credentials.password);
    secret(&format!("Basic {}", BASE64.encode(pair)))
}

pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    secret(&format!("Bearer {token}"))
}

/// A header that debug output does not show.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The `Authorization` header that answers a challenge to `refused`.
pub(crate) async fn answer(
    transport: &Transport,
    refused: &Answer,
    challenge: &Challenge,
    repository: &str,
    credentials: Option<&Credentials>,
) -> Result<HeaderValue, RegistryError> {
    let unauthorized = |answer: &str| RegistryError::Unauthorized {
        method: refused.method,
        url: refused.url.to_string(),
        answer: answer.to_owned(),
    };
    let known = credentials.filter(|c| !c.username.is_empty());
    match challenge {
        Challenge::Basic => known
            .and_then(basic)
            .ok_or_else(|| RegistryError::NoCredentials {
                method: refused.method,
                url: refused.url.to_string(),
            }),
        Challenge::Bearer {
            realm,
            service,
            scope,
            ..
        } => {
            let realm_url = Url::parse(realm)
                .ok_or_else(|| unauthorized(&format!("invalid token server {realm:?}")))?
                .trusting_as(&refused.url.origin);
            // A registry over https must not send us and the password to a plain server.
            let downgrade =
                refused.url.origin.scheme.is_encrypted() && !realm_url.origin.scheme.is_encrypted();
            if downgrade {
                return Err(unauthorized(&format!(
                    "token server {realm:?} is not https"
                )));
            }
            let default_scope = format!("repository:{repository}:pull");
            let scope = scope.as_deref().unwrap_or(&default_scope);
            let url = token_url(realm_url, service.as_deref(), scope, known);
            let token = fetch_token(transport, &url, known).await?;
            bearer(&token).ok_or_else(|| unauthorized("the token server sent an unusable token"))
        }
    }
}

fn token_url(
    mut url: Url,
    service: Option<&str>,
    scope: &str,
    credentials: Option<&Credentials>,
) -> Url {
    let mut add = |name: &str, value: &str| {
        url.path
            .push(if url.path.contains('?') { '&' } else { '?' });
        url.path.push_str(name);
        url.path.push('=');
        url.path.push_str(&escape_query(value));
    };
    if let Some(credentials) = credentials {
        add("account", &credentials.username);
    }
    for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
        add("scope", scope);
    }
    if let Some(service) = service {
        add("service", service);
    }
    url
}

#[derive(Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
}

async fn fetch_token(
    transport: &Transport,
    url: &Url,
    credentials: Option<&Credentials>,
) -> Result<String, RegistryError> {
    let mut headers = HeaderMap::new();
    if let Some(value) = credentials.and_then(basic) {
        headers.insert(header::AUTHORIZATION, value);
    }
    let mut answer = transport.send(Method::GET, url, &headers).await?;
    let status = answer.status;
    let body = answer.read(TOKEN_LIMIT).await?;
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        return Err(RegistryError::Unauthorized {
            method: "Get",
            url: url.to_string(),
            answer: "unauthorized: incorrect username or password".to_owned(),
        });
    }
    if !status.is_success() {
        return Err(RegistryError::Status { status });
    }
    let garbage = |reason: String| RegistryError::Garbage {
        status,
        reason,
        body: String::new(),
    };
    let body: TokenBody = serde_json::from_slice(&body).map_err(|e| garbage(e.to_string()))?;
    let token = body
        .token
        .or(body.access_token)
        .filter(|token| !token.is_empty());
    token.ok_or_else(|| garbage("authorization server did not include a token".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let text = "Bearer realm=\"https://auth.example/token\",service=\"reg\", \
                    scope=\"repository:a/b:pull,push\",error=\"insufficient_scope\"";
        let challenge = Challenge::parse(text).unwrap();
        assert!(challenge.is_scope_refusal());
        let Challenge::Bearer {
            realm,
            service,
            scope,
            ..
        } = challenge
        else {
            panic!()
        };
        assert_eq!(realm, "https://auth.example/token");
        assert_eq!(service.as_deref(), Some("reg"));
        assert_eq!(scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(
            Challenge::parse("basic realm=\"x\""),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse("Bearer"), None);
        assert_eq!(
            Challenge::parse("Bearer realm="),
            Challenge::parse("Bearer realm=\"\"")
        );
    }

    #[test]
    fn parameters_survive_anything() {
        assert_eq!(
            parameters("a=\"x\\\"y\", b=c"),
            [
                ("a".to_owned(), "x\"y".to_owned()),
                ("b".to_owned(), "c".to_owned())
            ]
        );
        for text in ["=", "a=\"", "a=\"\\", ",,,=,", "a==b", "é=\"é\",", "a=\"é"] {
            parameters(text);
        }
        assert!(parameters(&"a=b,".repeat(1000)).len() <= MAX_PARAMETERS);
    }

    #[test]
    fn the_token_s_address_names_scope_and_service() {
        let realm = Url::parse("https://auth.example/token?x=1").unwrap();
        let url = token_url(realm, Some("reg 1"), "repository:a/b:pull", None);
        assert_eq!(
            url.to_string(),
            "https://auth.example/token?x=1&scope=repository%3Aa%2Fb%3Apull&service=reg%201"
        );
    }
}

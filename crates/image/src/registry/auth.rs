//! Answering a registry's challenge.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::Credentials;
use super::error::{RegistryError, refused_words};
use super::payload::Payload;
use super::transport::{Answer, Transport};
use super::url::{Url, escape_query};

const TOKEN_LIMIT: u64 = 1 << 20;
const MAX_PARAMETERS: usize = 32;
/// By this name docker's programs are known to token servers.
const CLIENT_ID: &str = "docker";

/// What a token is to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing: who logs in wants to know whether he may.
    None,
    /// To read a repository.
    Pull,
    /// To read a repository and to write to it.
    Push,
}

impl Scope {
    /// The words of a token server for this and a repository; empty for nothing.
    pub(crate) fn of(self, repository: &str) -> String {
        match self {
            Scope::None => String::new(),
            Scope::Pull => format!("repository:{repository}:pull"),
            Scope::Push => format!("repository:{repository}:pull,push"),
        }
    }
}

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

    /// What a token is to allow: what is wanted at least, and what the registry says that it wants, each part once.
    pub(crate) fn scopes(&self, wanted: &str) -> String {
        match self {
            Challenge::Bearer { scope, .. } => {
                joined(wanted, scope.as_deref().unwrap_or_default()).join(" ")
            }
            Challenge::Basic => wanted.to_owned(),
        }
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

/// The `Authorization` header that answers a challenge to `refused`. `scope` is what is wanted at least.
///
/// # Errors
/// There are no credentials, they are wrong, or the token server can not be used.
pub(crate) async fn answer(
    transport: &Transport,
    refused: &Answer,
    challenge: &Challenge,
    scope: &str,
    credentials: Option<&Credentials>,
) -> Result<HeaderValue, RegistryError> {
    match challenge {
        Challenge::Basic => credentials
            .filter(|known| !known.username.is_empty())
            .and_then(basic)
            .ok_or_else(|| RegistryError::NoCredentials {
                method: refused.method,
                url: refused.url.to_string(),
            }),
        Challenge::Bearer { .. } => {
            let tokens = tokens(transport, refused, challenge, scope, credentials, false).await?;
            bearer(&tokens.access).ok_or_else(|| {
                unauthorized(
                    refused,
                    "the token server sent an unusable token".to_owned(),
                )
            })
        }
    }
}

fn unauthorized(refused: &Answer, answer: String) -> RegistryError {
    RegistryError::Unauthorized {
        method: refused.method,
        url: refused.url.to_string(),
        answer,
    }
}

/// What a token server gives.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// Opens the registry for a while.
    pub(crate) access: String,
    /// Stands for the password from now on; empty if the server gives none.
    pub(crate) identity: String,
}

/// Asks the token server that a challenge names. Who logs in asks for an identity token as well.
pub(crate) async fn tokens(
    transport: &Transport,
    refused: &Answer,
    challenge: &Challenge,
    scope: &str,
    credentials: Option<&Credentials>,
    login: bool,
) -> Result<Tokens, RegistryError> {
    let Challenge::Bearer {
        realm,
        service,
        scope: asked,
        ..
    } = challenge
    else {
        return Err(unauthorized(
            refused,
            "the registry wants a password".to_owned(),
        ));
    };
    let url = Url::parse(realm)
        .ok_or_else(|| unauthorized(refused, format!("invalid token server {realm:?}")))?
        .trusting_as(&refused.url.origin);
    // A registry over https must not send us and the password to a plain server.
    if refused.url.origin.scheme.is_encrypted() && !url.origin.scheme.is_encrypted() {
        let told = format!("token server {realm:?} is not https");
        return Err(unauthorized(refused, told));
    }
    let scopes = joined(scope, asked.as_deref().unwrap_or_default());
    let service = service.as_deref();
    let asking = Asking {
        transport,
        refused,
        service,
        scopes: &scopes,
    };
    match credentials {
        Some(known) if !known.identity_token.is_empty() => asking.renewed(url, known).await,
        known => {
            let known = known.filter(|known| !known.username.is_empty());
            asking.with_password(url, known, login).await
        }
    }
}

/// Both, each part once: a token for the one only would be refused at the next step.
fn joined<'a>(wanted: &'a str, asked: &'a str) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for scope in wanted.split(' ').chain(asked.split(' ')) {
        if !scope.is_empty() && !all.contains(&scope) && all.len() < MAX_PARAMETERS {
            all.push(scope);
        }
    }
    all
}

/// A request for a token.
struct Asking<'a> {
    transport: &'a Transport,
    refused: &'a Answer,
    service: Option<&'a str>,
    scopes: &'a [&'a str],
}

impl Asking<'_> {
    /// As anybody, or with user and password.
    async fn with_password(
        &self,
        url: Url,
        known: Option<&Credentials>,
        login: bool,
    ) -> Result<Tokens, RegistryError> {
        let mut fields = Vec::new();
        fields.extend(known.map(|known| ("account", known.username.as_str())));
        fields.extend(self.scopes.iter().map(|scope| ("scope", *scope)));
        fields.extend(self.service.map(|service| ("service", service)));
        if login {
            fields.extend([("client_id", CLIENT_ID), ("offline_token", "true")]);
        }
        let url = with_query(url, &fields);
        let mut headers = HeaderMap::new();
        if let Some(value) = known.and_then(basic) {
            headers.insert(header::AUTHORIZATION, value);
        }
        let answer = self.transport.send(Method::GET, &url, &headers).await?;
        self.read(answer).await
    }

    /// With a token that stands for the password (OAuth 2.0, RFC 6749, section 6).
    async fn renewed(&self, url: Url, known: &Credentials) -> Result<Tokens, RegistryError> {
        let scopes = self.scopes.join(" ");
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT_ID),
            ("refresh_token", known.identity_token.as_str()),
        ];
        fields.extend(self.service.map(|service| ("service", service)));
        if !scopes.is_empty() {
            fields.push(("scope", &scopes));
        }
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        let payload = Payload::Whole(encoded(&fields).into());
        let sent = Arc::default();
        let answer = self
            .transport
            .send_with(Method::POST, &url, &headers, &payload, &sent)
            .await?;
        let tokens = self.read(answer).await?;
        Ok(Tokens {
            identity: match tokens.identity.is_empty() {
                true => known.identity_token.clone(),
                false => tokens.identity,
            },
            ..tokens
        })
    }

    async fn read(&self, mut answer: Answer) -> Result<Tokens, RegistryError> {
        let status = answer.status;
        let body = answer.read(TOKEN_LIMIT).await?;
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            let told = refused_words(&body)
                .unwrap_or_else(|| "unauthorized: incorrect username or password".to_owned());
            return Err(unauthorized(self.refused, told));
        }
        if !status.is_success() {
            return Err(RegistryError::Status { status });
        }
        let garbage = |reason: String| RegistryError::Garbage {
            status,
            reason: format!("{} sent no token: {reason}", answer.url.origin),
            body: String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
        };
        let read: TokenBody = serde_json::from_slice(&body).map_err(|e| garbage(e.to_string()))?;
        let token = read.token.or(read.access_token);
        let access = token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| garbage("authorization server did not include a token".to_owned()))?;
        Ok(Tokens {
            access,
            identity: read.refresh_token.unwrap_or_default(),
        })
    }
}

/// Names and values as a form sends them.
fn encoded(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter();
    let pairs = pairs.map(|(name, value)| format!("{name}={}", escape_query(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn with_query(mut url: Url, fields: &[(&str, &str)]) -> Url {
    if !fields.is_empty() {
        url.path
            .push(if url.path.contains('?') { '&' } else { '?' });
        url.path.push_str(&encoded(fields));
    }
    url
}

#[derive(Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
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
        let scopes = joined(
            "repository:a/b:pull",
            "repository:a/b:pull repository:c:pull",
        );
        assert_eq!(scopes, ["repository:a/b:pull", "repository:c:pull"]);
        let fields = [("scope", scopes[0]), ("service", "reg 1")];
        let url = with_query(realm.clone(), &fields);
        assert_eq!(
            url.to_string(),
            "https://auth.example/token?x=1&scope=repository%3Aa%2Fb%3Apull&service=reg%201"
        );
        assert_eq!(with_query(realm.clone(), &[]), realm);
    }
}

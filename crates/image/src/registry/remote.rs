//! A file from any web server, for `import`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

use super::Client;
use super::error::{RegistryError, TransportFault};
use super::payload::Payload;
use super::transport::Answer;
use super::url::Url;
use crate::error::ImageError;

/// As many redirections as Go's client follows.
const MAX_REDIRECTS: usize = 10;
/// How much of a refusal's body is told.
const QUOTED: u64 = 4 << 10;

/// A file on its way.
#[derive(Debug)]
pub struct Remote {
    answer: Answer,
}

impl Remote {
    /// Its length in bytes, where the server says it.
    pub fn length(&self) -> Option<u64> {
        self.answer
            .header(header::CONTENT_LENGTH)
            .and_then(|text| text.parse().ok())
    }

    /// Its next piece; `None` at its end.
    ///
    /// # Errors
    /// The server broke off, or sends less than anybody can wait for.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ImageError> {
        Ok(self.answer.chunk().await?)
    }
}

/// Begins to fetch what is at an address. Without a scheme it is http.
pub(super) async fn open(client: &Client, address: &str) -> Result<Remote, ImageError> {
    let address = match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}"),
    };
    let mut url = parse(&address)?;
    for _ in 0..MAX_REDIRECTS {
        let answer = client
            .inner
            .transport
            .send_with(
                Method::GET,
                &url,
                &HeaderMap::new(),
                &Payload::Empty,
                &Arc::default(),
            )
            .await?;
        if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
            return checked(&address, answer).await;
        }
        let location = answer.header(header::LOCATION).unwrap_or_default();
        url = match answer.url.join(location) {
            Some(next) => next,
            None => {
                let fault = TransportFault::Location(location.to_owned());
                return Err(answer.fault(fault).into());
            }
        };
    }
    Err(fault(&url.to_string(), TransportFault::Redirects(MAX_REDIRECTS)).into())
}

fn parse(address: &str) -> Result<Url, RegistryError> {
    if let Some(url) = Url::parse(address) {
        return Ok(url);
    }
    let scheme = address.split("://").next().unwrap_or_default();
    let what = match scheme {
        "http" | "https" => TransportFault::Location(address.to_owned()),
        other => TransportFault::Scheme(other.to_owned()),
    };
    Err(fault(address, what))
}

fn fault(url: &str, what: TransportFault) -> RegistryError {
    RegistryError::Transport {
        method: "Get",
        url: url.to_owned(),
        what,
    }
}

/// Only success is a file.
async fn checked(address: &str, mut answer: Answer) -> Result<Remote, ImageError> {
    if answer.status.is_success() {
        return Ok(Remote { answer });
    }
    // The status says more than a body that cannot be read.
    let body = answer.read(QUOTED).await.unwrap_or_default();
    Err(RegistryError::Download {
        url: address.to_owned(),
        status: answer.status,
        body: String::from_utf8_lossy(body.trim_ascii()).into_owned(),
    }
    .into())
}

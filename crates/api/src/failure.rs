//! Requests that fail: a status and one sentence.

use api_types::ErrorResponse;
use engine::{Class, EngineError};
use http::StatusCode;

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    /// A failure with a status and a sentence.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure {
            status,
            message: message.into(),
        }
    }

    /// The request can not be carried out as it is written.
    pub(crate) fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message)
    }

    /// What the request names is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, message)
    }

    /// What the request asks for is not built.
    pub(crate) fn not_built(what: &str) -> Failure {
        Failure::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("{what} is not supported by wharf"),
        )
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The body of the answer, as Docker writes it.
    pub(crate) fn body(&self) -> Vec<u8> {
        let body = ErrorResponse {
            message: self.message.clone(),
        };
        let mut text = serde_json::to_vec(&body).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        let status = match error.class() {
            Class::InvalidArgument => StatusCode::BAD_REQUEST,
            Class::NotFound => StatusCode::NOT_FOUND,
            Class::Conflict => StatusCode::CONFLICT,
            Class::NotModified => StatusCode::NOT_MODIFIED,
            Class::Forbidden => StatusCode::FORBIDDEN,
            Class::Unauthorized => StatusCode::UNAUTHORIZED,
            Class::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Class::Exhausted | Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure::new(status, error.sentence())
    }
}

//! Commands in containers that run.

use api_types::{ExecCreate, ExecStart, IdResponse};
use engine::{EngineError, ExecStartOptions};
use http::StatusCode;

use super::{Handled, console_size, terminal_size};
use crate::call::Call;
use crate::failure::Failure;
use crate::handlers::containers::stream_type;
use crate::reply::{self, Hijack, JSON, Reply};
use crate::version::Version;

/// `POST /containers/{id}/exec`
pub(crate) async fn create(mut call: Call) -> Handled {
    let mut request: ExecCreate = call.optional_json().await?;
    if request.cmd.as_deref().is_none_or(|words| words.is_empty()) {
        return Err(Failure::bad_request("No exec command specified"));
    }
    if call.version < Version(42) {
        request.console_size = None;
    }
    let id = call.engine().exec_create(call.name(), request).await?;
    reply::json(StatusCode::CREATED, &IdResponse { id })
}

/// `POST /exec/{id}/start`
pub(crate) async fn start(mut call: Call) -> Handled {
    let request: ExecStart = call.optional_json().await?;
    let options = ExecStartOptions {
        detach: request.detach,
        tty: request.tty,
        console_size: if call.version < Version(42) {
            None
        } else {
            console_size(request.console_size)
        },
    };
    let started = match call.engine().exec_start(call.name(), options).await {
        // Told as usual, since the stream has not begun; other faults are.
        Err(error @ EngineError::NoSuchExec { .. }) => {
            let body = Failure::from(error).body();
            return Ok(Reply::Http(reply::whole(StatusCode::NOT_FOUND, JSON, body)));
        }
        started => started?,
    };
    match started {
        engine::ExecStart::Detached => Ok(reply::empty(StatusCode::OK)),
        engine::ExecStart::Attach(ticket) => {
            let content_type = stream_type(call.version, ticket.tty);
            Ok(Reply::Hijack(Hijack {
                ticket,
                content_type,
            }))
        }
    }
}

/// `POST /exec/{id}/resize`
pub(crate) async fn resize(call: Call) -> Handled {
    let (rows, columns) = terminal_size(&call)?;
    call.engine()
        .exec_resize(call.name(), rows, columns)
        .await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /exec/{id}/json`
pub(crate) async fn inspect(call: Call) -> Handled {
    reply::json(
        StatusCode::OK,
        &call.engine().exec_inspect(call.name()).await?,
    )
}

//! Files in containers.

use std::sync::{Arc, OnceLock};

use api_types::PathStat;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::ExtractOptions;
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::Handled;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply::{self, Body, Reply};
use crate::transfer;

/// What is at a path: JSON in base 64.
const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// `HEAD /containers/{id}/archive`
pub(crate) async fn stat(call: Call) -> Handled {
    let path = path(&call)?;
    let stat = call.engine().path_stat(call.name(), path).await?;
    let mut response = Response::new(Body::whole(Vec::new()));
    add(&mut response, &stat)?;
    Ok(Reply::Http(response))
}

/// `GET /containers/{id}/archive`
pub(crate) async fn get(call: Call) -> Handled {
    let path = path(&call)?.to_owned();
    let (engine, name) = (call.engine().clone(), call.name().to_owned());
    let told = Arc::new(OnceLock::new());
    let slot = Arc::clone(&told);
    let reply = transfer::archive(|out| {
        Box::pin(async move { engine.copy_from(&name, &path, slot, out).await })
    });
    let mut reply = reply.await?;
    // It is told before the first piece.
    if let (Reply::Http(response), Some(stat)) = (&mut reply, told.get()) {
        add(response, stat)?;
    }
    Ok(reply)
}

/// `PUT /containers/{id}/archive`
pub(crate) async fn put(call: Call) -> Handled {
    let path = path(&call)?.to_owned();
    let options = ExtractOptions {
        no_overwrite_dir_non_dir: call.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: call.query.flag("copyUIDGID"),
    };
    let (engine, name) = (call.engine().clone(), call.name().to_owned());
    let body = Box::new(call.into_reader());
    engine.copy_to(&name, &path, options, body).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /containers/{id}/changes`
pub(crate) async fn changes(call: Call) -> Handled {
    let changes = call.engine().changes(call.name()).await?;
    // As Docker: no list at all where there is nothing in it.
    reply::json(
        StatusCode::OK,
        &Some(changes).filter(|changes| !changes.is_empty()),
    )
}

/// `GET /containers/{id}/export`
pub(crate) async fn export(call: Call) -> Handled {
    let (engine, name) = (call.engine().clone(), call.name().to_owned());
    transfer::archive(|out| Box::pin(async move { engine.export(&name, out).await })).await
}

/// The path that is asked for, in Docker's words without one.
fn path(call: &Call) -> Result<&str, Failure> {
    match call.query.get("path") {
        None | Some("") => Err(Failure::bad_request("bad parameter: pathcannot be empty")),
        Some(path) => Ok(path),
    }
}

fn add(response: &mut Response<Body>, stat: &PathStat) -> Result<(), Failure> {
    let internal = |error: String| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot write the answer: {error}"),
        )
    };
    let text = serde_json::to_vec(stat).map_err(|error| internal(error.to_string()))?;
    let value = HeaderValue::from_str(&STANDARD.encode(text));
    let value = value.map_err(|error| internal(error.to_string()))?;
    response.headers_mut().insert(PATH_STAT, value);
    Ok(())
}

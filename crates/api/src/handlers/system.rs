//! The engine and its host.

use std::task::Context;

use api_types::DiskUsage;
use engine::{EventStream, EventsOptions};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, PRAGMA};

use super::Handled;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply::{self, JSON, Reply};
use crate::shape::{self, Kind};
use crate::version::Version;

/// The builder that clients should use: the classic one, whose requests are answered with a sentence.
const BUILDER: &str = "1";

/// `GET /_ping`
pub(crate) async fn ping(call: Call) -> Handled {
    Ok(Reply::Http(pong(&call, "OK")))
}

/// `HEAD /_ping`
pub(crate) async fn ping_head(call: Call) -> Handled {
    Ok(Reply::Http(pong(&call, "")))
}

fn pong(_: &Call, body: &'static str) -> http::Response<reply::Body> {
    let mut response = reply::whole(StatusCode::OK, "text/plain; charset=utf-8", body);
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("builder-version"),
        HeaderValue::from_static(BUILDER),
    );
    headers.insert(
        HeaderName::from_static("swarm"),
        HeaderValue::from_static("inactive"),
    );
    response
}

/// `GET /version`
pub(crate) async fn version(call: Call) -> Handled {
    reply::json(StatusCode::OK, &call.engine().version().await?)
}

/// `GET /info`
pub(crate) async fn info(call: Call) -> Handled {
    let info = call.engine().info().await?;
    shape::json(StatusCode::OK, Kind::Info, call.version, &info)
}

/// `GET /system/df`
pub(crate) async fn df(call: Call) -> Handled {
    let mut usage = call.engine().df().await?;
    if call.version >= Version(42) {
        keep_kinds(
            &mut usage,
            &call
                .query
                .all("type")
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )?;
    }
    let verbose = call.query.flag("verbose");
    let body = shape::disk_usage(usage, call.version, verbose)?;
    reply::json(StatusCode::OK, &body)
}

/// Drops what was not asked for; no kinds at all ask for everything.
fn keep_kinds(usage: &mut DiskUsage, kinds: &[String]) -> Result<(), Failure> {
    if let Some(kind) = kinds
        .iter()
        .find(|kind| !["container", "image", "volume", "build-cache"].contains(&&***kind))
    {
        return Err(Failure::bad_request(format!("unknown object type: {kind}")));
    }
    let keep = |kind: &str| kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind);
    usage.container_usage = usage.container_usage.take().filter(|_| keep("container"));
    usage.image_usage = usage.image_usage.take().filter(|_| keep("image"));
    usage.volume_usage = usage.volume_usage.take().filter(|_| keep("volume"));
    usage.build_cache_usage = usage
        .build_cache_usage
        .take()
        .filter(|_| keep("build-cache"));
    Ok(())
}

/// `GET /events`
pub(crate) async fn events(call: Call) -> Handled {
    let options = EventsOptions {
        since: call.query.time("since")?,
        until: call.query.time("until")?,
        filters: call.filters()?,
    };
    if let (Some(since), Some(until)) = (options.since, options.until)
        && until < since
    {
        return Err(Failure::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            since / 1_000_000_000,
            until / 1_000_000_000
        )));
    }
    let mut events: EventStream = call.engine().events(options).await?;
    let version = call.version;
    Ok(reply::stream(
        Some(JSON),
        move |context: &mut Context<'_>| {
            events
                .poll_recv(context)
                .map(|event| event.map(|event| shape::line(Kind::Event, version, &event)))
        },
    ))
}

/// `POST /auth`
pub(crate) async fn auth(_: Call) -> Handled {
    Err(Failure::not_built("checking credentials (docker login)"))
}

/// `POST /build/prune`: there is no cache.
pub(crate) async fn build_prune(_: Call) -> Handled {
    reply::json(StatusCode::OK, &api_types::BuildPruneReport::default())
}

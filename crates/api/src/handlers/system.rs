//! The engine and its host.

use std::io;
use std::task::Context;

use api_types::DiskUsage;
use bytes::Bytes;
use engine::{EventStream, EventsOptions};
use http::StatusCode;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, PRAGMA};

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
    let mut response = pong(&call, "");
    // Of an answer to HEAD the length is not told by itself, and there are clients that wait for a body without it.
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(Reply::Http(response))
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
    let form = Form::wanted(&call);
    let mut events: EventStream = call.engine().events(options).await?;
    let version = call.version;
    Ok(reply::stream(
        Some(form.content_type()),
        move |context: &mut Context<'_>| {
            events.poll_recv(context).map(|event| {
                event.map(|event| form.write(shape::line(Kind::Event, version, &event)?))
            })
        },
    ))
}

/// How a stream of events is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// One value after the other.
    Json,
    /// The same under its newer names.
    Lines(&'static str),
    /// Each value after a record separator (RFC 7464).
    Sequence,
}

impl Form {
    /// What the client asks for, from 1.52 on.
    fn wanted(call: &Call) -> Form {
        let accept = call
            .headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        Form::of(accept, call.version)
    }

    fn of(accept: &str, version: Version) -> Form {
        if version < Version(52) {
            return Form::Json;
        }
        let known = |kind: &str| match kind {
            "application/x-ndjson" => Some(Form::Lines("application/x-ndjson")),
            "application/jsonl" if version >= Version(53) => Some(Form::Lines("application/jsonl")),
            "application/json-seq" => Some(Form::Sequence),
            "application/json" => Some(Form::Json),
            _ => None,
        };
        accept
            .split(',')
            .find_map(|kind| known(kind.split(';').next()?.trim()))
            .unwrap_or(Form::Json)
    }

    fn content_type(self) -> &'static str {
        match self {
            Form::Json => JSON,
            Form::Lines(name) => name,
            Form::Sequence => "application/json-seq",
        }
    }

    fn write(self, line: Bytes) -> io::Result<Bytes> {
        match self {
            Form::Sequence => Ok([b"\x1e".as_slice(), &line].concat().into()),
            Form::Json | Form::Lines(_) => Ok(line),
        }
    }
}

/// `POST /auth`
pub(crate) async fn auth(mut call: Call) -> Handled {
    let auth = call.json().await?;
    let known = call.engine().login(auth).await?;
    reply::json(StatusCode::OK, &known)
}

/// `POST /build/prune`: there is no cache.
pub(crate) async fn build_prune(_: Call) -> Handled {
    reply::json(StatusCode::OK, &api_types::BuildPruneReport::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_as_the_client_accepts_them() {
        for (accept, minor, form) in [
            ("application/x-ndjson", 51, Form::Json),
            (
                "application/x-ndjson",
                52,
                Form::Lines("application/x-ndjson"),
            ),
            ("application/jsonl", 52, Form::Json),
            (
                "text/html, application/jsonl;q=0.5",
                53,
                Form::Lines("application/jsonl"),
            ),
            ("application/json-seq", 55, Form::Sequence),
            ("*/*", 55, Form::Json),
        ] {
            assert_eq!(
                Form::of(accept, Version(minor)),
                form,
                "{accept} in 1.{minor}"
            );
        }
        assert_eq!(
            &Form::Sequence.write(Bytes::from_static(b"{}\n")).unwrap()[..],
            b"\x1e{}\n"
        );
    }

    #[test]
    fn kinds_of_disk_usage_are_chosen_or_refused() {
        let mut usage = DiskUsage {
            image_usage: Some(Default::default()),
            ..Default::default()
        };
        usage.volume_usage = Some(Default::default());
        keep_kinds(&mut usage, &["volume".to_owned()]).unwrap();
        assert!(usage.image_usage.is_none() && usage.volume_usage.is_some());
        let refused = keep_kinds(&mut usage, &["x".to_owned()]).unwrap_err();
        assert_eq!(refused.message(), "unknown object type: x");
    }
}

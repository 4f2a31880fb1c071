//! Containers.

use std::io;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api_types::{ContainerCreate, ContainerCreated, ContainerStats, HostConfig};
use bytes::{Bytes, BytesMut};
use engine::{
    AttachOptions, ListOptions, LogChunk, LogStream, LogsOptions, RemoveOptions, StreamKind,
    WaitCondition, WaitHandle,
};
use http::StatusCode;

use super::{Handled, terminal_size};
use crate::call::{Call, parse_object};
use crate::connection::is_careful;
use crate::failure::Failure;
use crate::reply::{self, Hijack, JSON, MULTIPLEXED_STREAM, RAW_STREAM, Reply};
use crate::shape::{self, Kind, request};
use crate::version::Version;

/// `GET /containers/json`
pub(crate) async fn list(call: Call) -> Handled {
    let options = ListOptions {
        all: call.query.flag("all"),
        limit: call
            .query
            .number("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|&limit| limit > 0),
        size: call.query.flag("size"),
        filters: call.filters()?,
    };
    let containers = call.engine().list(options).await?;
    shape::json(
        StatusCode::OK,
        Kind::ContainerList,
        call.version,
        &containers,
    )
}

/// `GET /containers/{id}/top`
pub(crate) async fn top(call: Call) -> Handled {
    let listed = call
        .engine()
        .top(call.name(), call.query.get("ps_args").unwrap_or_default())
        .await?;
    reply::json(StatusCode::OK, &listed)
}

/// Between two readings of a stream of statistics.
const ROUND: Duration = Duration::from_secs(1);
/// Between the two readings of one answer: long enough for the ticks, four milliseconds or ten, by which the kernel counts
/// what runs on and on.
const ONCE: Duration = Duration::from_millis(100);

/// `GET /containers/{id}/stats`: once, by one reading or by two between which processor time is told, or every second.
pub(crate) async fn stats(call: Call) -> Handled {
    let stream = call.query.flag_or("stream", true);
    let one_shot = call.query.flag("one-shot") && call.version >= Version(41);
    if stream && one_shot {
        return Err(Failure::bad_request("cannot have stream=1 and one-shot=1"));
    }
    let os_type = match call.version >= Version(52) {
        true => "linux",
        false => "",
    };
    let mut usage = call.engine().usage(call.name(), os_type)?;
    if !stream && !one_shot && usage.begin().await? {
        tokio::time::sleep(ONCE).await;
    }
    let now: ContainerStats = usage.read().await?;
    if !stream {
        return reply::json(StatusCode::OK, &now);
    }
    let (sender, mut readings) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
    // Ends with the container or with the client: then nobody takes what is sent.
    tokio::spawn(async move {
        let mut reading: engine::Result<ContainerStats> = Ok(now);
        loop {
            let line = reading
                .map_err(|error| io::Error::other(error.to_string()))
                .and_then(|stats| {
                    let mut line = serde_json::to_vec(&stats)?;
                    line.push(b'\n');
                    Ok(Bytes::from(line))
                });
            let is_last = line.is_err();
            if sender.send(line).await.is_err() || is_last {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(ROUND) => {}
                () = sender.closed() => return,
            }
            if !usage.is_there() {
                return;
            }
            reading = usage.read().await;
        }
    });
    Ok(reply::stream(
        Some(JSON),
        move |context: &mut Context<'_>| readings.poll_recv(context),
    ))
}

/// `POST /containers/{id}/update`
pub(crate) async fn update(mut call: Call) -> Handled {
    let mut asked: HostConfig = call.optional_json().await?;
    if call.version < Version(40) {
        asked.pids_limit = None;
    }
    // Nothing has it any more.
    asked.kernel_memory = 0;
    let answer = call.engine().update(call.name(), asked).await?;
    reply::json(StatusCode::OK, &answer)
}

/// `POST /containers/create`
pub(crate) async fn create(mut call: Call) -> Handled {
    let text = call.json_bytes().await?;
    let mut bare = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    let empty = bare.clone().eq(b"null") || bare.by_ref().eq(b"{}");
    if empty {
        return Err(Failure::bad_request(
            "config cannot be empty in order to create a container",
        ));
    }
    let mut body = parse_object(&text, ContainerCreate::from_json)?;
    request::adapt(&mut body, call.version)?;
    let platform = call
        .query
        .text("platform")
        .filter(|_| call.version >= Version(41));
    let created = call
        .engine()
        .create(call.query.text("name"), body, platform)
        .await?;
    reply::json(
        StatusCode::CREATED,
        &ContainerCreated {
            id: created.id,
            warnings: created.warnings,
        },
    )
}

/// `GET /containers/{id}/json`
pub(crate) async fn inspect(call: Call) -> Handled {
    let container = call
        .engine()
        .inspect(call.name(), call.query.flag("size"))
        .await?;
    shape::json(StatusCode::OK, Kind::Container, call.version, &container)
}

/// The longest body of a start that Docker takes for none: clients send `{}` or `null`.
const NO_BODY: usize = 7;

/// `POST /containers/{id}/start`
pub(crate) async fn start(mut call: Call) -> Handled {
    if call.small_body().await?.len() > NO_BODY {
        // Version 1.24 removed this; Docker says so too.
        return Err(Failure::bad_request(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    call.engine()
        .start(call.name(), call.query.text("detachKeys"))
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/stop`
pub(crate) async fn stop(call: Call) -> Handled {
    let (timeout, signal) = stop_options(&call)?;
    call.engine().stop(call.name(), timeout, signal).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/restart`
pub(crate) async fn restart(call: Call) -> Handled {
    let (timeout, signal) = stop_options(&call)?;
    call.engine().restart(call.name(), timeout, signal).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn stop_options(call: &Call) -> Result<(Option<i64>, Option<String>), Failure> {
    let signal = call
        .query
        .text("signal")
        .filter(|_| call.version >= Version(42));
    Ok((call.query.number("t")?, signal))
}

/// `POST /containers/{id}/kill`
pub(crate) async fn kill(call: Call) -> Handled {
    call.engine()
        .kill(call.name(), call.query.text("signal"))
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/pause`
pub(crate) async fn pause(call: Call) -> Handled {
    call.engine().pause(call.name()).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/unpause`
pub(crate) async fn unpause(call: Call) -> Handled {
    call.engine().unpause(call.name()).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/rename`
pub(crate) async fn rename(call: Call) -> Handled {
    call.engine()
        .rename(call.name(), call.query.get("name").unwrap_or(""))
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /containers/{id}`
pub(crate) async fn remove(call: Call) -> Handled {
    let options = RemoveOptions {
        force: call.query.flag("force"),
        volumes: call.query.flag("v"),
        link: call.query.flag("link"),
    };
    call.engine().remove(call.name(), options).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/prune`
pub(crate) async fn prune(call: Call) -> Handled {
    let report = call.engine().prune_containers(call.filters()?).await?;
    reply::json(StatusCode::OK, &report)
}

/// `POST /containers/{id}/resize`
pub(crate) async fn resize(call: Call) -> Handled {
    let (rows, columns) = terminal_size(&call)?;
    call.engine().resize(call.name(), rows, columns).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /containers/{id}/wait`
///
/// From 1.30 on the head of the answer is sent as soon as the wait is registered: clients start the container after
/// it, and do not miss its end.
pub(crate) async fn wait(call: Call) -> Handled {
    let condition = match call
        .query
        .get("condition")
        .filter(|_| call.version >= Version(30))
    {
        None | Some("" | "not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(_) if call.version < Version(42) => WaitCondition::NotRunning,
        Some(other) => {
            return Err(Failure::bad_request(format!(
                "invalid condition: {other:?}"
            )));
        }
    };
    let listened = call.engine().listened(call.name());
    let handle = call.engine().wait(call.name(), condition).await?;
    let handle: WaitHandle = match (is_careful(&call.headers), listened) {
        (false, Some(listened)) => Box::pin(async move {
            let ended = handle.await;
            if listened.load(Ordering::Relaxed) {
                tokio::time::sleep(LAST_WORDS).await;
            }
            ended
        }),
        _ => handle,
    };
    if call.version < Version(30) {
        return shape::json(StatusCode::OK, Kind::Wait, call.version, &handle.await?);
    }
    Ok(reply::stream(
        Some(JSON),
        Waiting {
            handle: Some(handle),
            version: call.version,
        },
    ))
}

/// Who reads output at one connection and waits at another gets the last output first, if he looks at both at once (as Node
/// does, in no order): so long after it comes the end to clients that are not known to sort that out.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// A wait whose answer has begun.
struct Waiting {
    handle: Option<WaitHandle>,
    version: Version,
}

impl reply::Pieces for Waiting {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let Some(handle) = &mut self.handle else {
            return Poll::Ready(None);
        };
        let waited = ready!(handle.as_mut().poll(context));
        self.handle = None;
        Poll::Ready(Some(match waited {
            Ok(response) => shape::line(Kind::Wait, self.version, &response),
            Err(error) => Err(io::Error::other(error)),
        }))
    }
}

/// `GET /containers/{id}/logs`
pub(crate) async fn logs(call: Call) -> Handled {
    let options = LogsOptions {
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
        follow: call.query.flag("follow"),
        timestamps: call.query.flag("timestamps"),
        details: call.query.flag("details"),
        // Whatever is no number means all, as in Docker.
        tail: call.query.get("tail").and_then(|text| text.parse().ok()),
        since: call.query.time("since")?.filter(|&time| time != 0),
        until: call.query.time("until")?.filter(|&time| time != 0),
    };
    if !options.stdout && !options.stderr {
        return Err(Failure::bad_request(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let LogStream { tty, mut chunks } = call.engine().logs(call.name(), options).await?;
    let content_type = (call.version >= Version(42)).then(|| stream_type(call.version, tty));
    Ok(reply::stream(
        content_type,
        move |context: &mut Context<'_>| {
            chunks
                .poll_recv(context)
                .map(|chunk| chunk.map(|chunk| Ok(log_piece(tty, chunk))))
        },
    ))
}

/// A piece of a log on the wire. That it can not be read further is told within the stream.
fn log_piece(tty: bool, chunk: engine::Result<LogChunk>) -> Bytes {
    let (stream, bytes) = match chunk {
        Ok(LogChunk { stream, bytes }) => (stream, bytes),
        Err(error) => (
            StreamKind::Stderr,
            format!("Error grabbing logs: {error}\n\n").into_bytes(),
        ),
    };
    if tty {
        return bytes.into();
    }
    let mut framed = BytesMut::with_capacity(bytes.len() + 8 * 4);
    // Clients that read frames expect one message in each.
    for message in bytes.split_inclusive(|&byte| byte == b'\n') {
        frame(stream, message, &mut framed);
    }
    framed.freeze()
}

/// One frame of a multiplexed stream: its stream, three zeros, the length as a big-endian number, the bytes.
fn frame(stream: StreamKind, bytes: &[u8], out: &mut BytesMut) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&[stream as u8, 0, 0, 0]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..bytes.len().min(length as usize)]);
}

/// What a stream is called: before 1.42 always the same.
pub(crate) fn stream_type(version: Version, tty: bool) -> &'static str {
    if tty || version < Version(42) {
        RAW_STREAM
    } else {
        MULTIPLEXED_STREAM
    }
}

/// `POST /containers/{id}/attach`
pub(crate) async fn attach(call: Call) -> Handled {
    let options = AttachOptions {
        stdin: call.query.flag("stdin"),
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
        logs: call.query.flag("logs"),
        stream: call.query.flag("stream"),
        detach_keys: call.query.text("detachKeys"),
        raw: false,
    };
    let ticket = call.engine().attach_intent(call.name(), options).await?;
    let content_type = stream_type(call.version, ticket.tty);
    Ok(Reply::Hijack(Hijack {
        ticket,
        content_type,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_a_log_has_a_frame_that_names_its_stream_and_length() {
        let chunk = |stream, text: &str| {
            let bytes = text.into();
            log_piece(false, Ok(LogChunk { stream, bytes }))
        };
        assert_eq!(
            &chunk(StreamKind::Stdout, "ab")[..],
            b"\x01\0\0\0\0\0\0\x02ab"
        );
        assert_eq!(
            &chunk(StreamKind::Stderr, "a\n\nbc")[..],
            b"\x02\0\0\0\0\0\0\x02a\n\x02\0\0\0\0\0\0\x01\n\x02\0\0\0\0\0\0\x02bc"
        );
    }

    #[test]
    fn a_terminals_log_is_raw_and_errors_are_told_within() {
        let chunk = |text: &str| {
            Ok(LogChunk {
                stream: StreamKind::Stdout,
                bytes: text.into(),
            })
        };
        assert_eq!(&log_piece(true, chunk("x\r\n"))[..], b"x\r\n");
        let error = engine::EngineError::NoSuchContainer { name: "a".into() };
        assert_eq!(
            &log_piece(true, Err(error))[..],
            b"Error grabbing logs: No such container: a\n\n"
        );
    }

    #[test]
    fn streams_have_a_name_of_their_own_from_1_42_on() {
        assert_eq!(stream_type(Version(41), false), RAW_STREAM);
        assert_eq!(stream_type(Version(42), false), MULTIPLEXED_STREAM);
        assert_eq!(stream_type(Version(55), true), RAW_STREAM);
    }
}

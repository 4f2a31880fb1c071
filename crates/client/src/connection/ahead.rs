//! Many small questions, sent before the first is answered (RFC 9112, section 9.3.2): neither side waits for the other
//! between two of them.

use std::io::{self, BufReader, Write};

use serde_json::Value;

use super::{Answer, Idle, READ_AT_ONCE, Request, Stream, doing, head, read_head};
use crate::failure::Failure;
use crate::host::Host;

/// So many bytes of requests are on their way at once, at most: they fit into any socket's buffer, so that they are sent
/// even while the other side waits for its answers to be read.
const AHEAD: usize = 8 << 10;

/// Sends requests without bodies, all of which only ask, and gives the answers in their order: JSON, or the daemon's
/// sentence. Where the other side closes the connection between two of them, the rest is asked for over another one.
///
/// # Errors
/// [`Failure::NoDaemon`], or [`Failure::Connection`] when a connection brings no answer at all or breaks off in one.
pub(crate) fn get_each(
    host: &Host,
    idle: &Idle,
    requests: &[Request<'_>],
) -> Result<Vec<Result<Value, Failure>>, Failure> {
    let mut answers = Vec::with_capacity(requests.len());
    while let Some(first) = requests.get(answers.len()) {
        let doing = doing(host, first);
        let stream = match idle.take() {
            Some(stream) => stream,
            None => Stream::connect(host, &doing)?,
        };
        let carrier = stream.carrier();
        let before = answers.len();
        let ended = over_one(stream, idle, requests, &mut answers);
        match ended {
            Ok(()) => {}
            Err(Ended::Head(_)) if answers.len() > before => {}
            Err(Ended::Head(source)) => {
                let why = carrier.as_ref().and_then(|carrier| carrier.explain());
                let source = why.map_or(source, io::Error::other);
                return Err(Failure::Connection { doing, source });
            }
            Err(Ended::Body(failure)) => return Err(failure),
        }
    }
    Ok(answers)
}

/// Why a connection brought no more answers.
enum Ended {
    /// In front of one.
    Head(io::Error),
    /// In the middle of one.
    Body(Failure),
}

/// As many answers as one connection brings.
fn over_one(
    stream: Stream,
    idle: &Idle,
    requests: &[Request<'_>],
    answers: &mut Vec<Result<Value, Failure>>,
) -> Result<(), Ended> {
    let mut reader = BufReader::with_capacity(READ_AT_ONCE, stream);
    let mut sent = answers.len();
    while answers.len() < requests.len() {
        if sent == answers.len() {
            sent += send(reader.get_mut(), &requests[sent..]).map_err(Ended::Head)?;
        }
        let answer = read_head(reader, Some(idle.clone())).map_err(Ended::Head)?;
        let (value, rest) = answer.json_and_rest().map_err(Ended::Body)?;
        answers.push(value);
        match rest {
            Some(rest) => reader = rest,
            None => return Ok(()),
        }
    }
    if reader.buffer().is_empty() {
        idle.0.replace(Some(reader.into_inner()));
    }
    Ok(())
}

/// Sends the first of these, and tells how many.
fn send(stream: &mut Stream, requests: &[Request<'_>]) -> io::Result<usize> {
    let mut bytes = Vec::new();
    let mut number = 0;
    for request in requests {
        let head = head(request);
        if number > 0 && bytes.len() + head.len() > AHEAD {
            break;
        }
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        number += 1;
    }
    stream.write_all(&bytes)?;
    Ok(number)
}

type Rest = Option<BufReader<Stream>>;

impl Answer {
    /// The body as JSON or the daemon's sentence, and the connection if it may bring a further answer.
    ///
    /// # Errors
    /// [`Failure::Connection`] when it breaks off.
    fn json_and_rest(mut self) -> Result<(Result<Value, Failure>, Rest), Failure> {
        let value = match self.status < 400 {
            true => Ok(self.read_json()?),
            false => Err(self.refusal()),
        };
        let lasts = self.idle.is_some() && self.is_read();
        Ok((value, lasts.then_some(self.reader)))
    }
}

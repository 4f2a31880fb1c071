//! `logs` and `events`.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde_json::{Value, json};

use super::each::not_empty;
use super::follow::Follower;
use crate::connection::{Answer, Body};
use crate::container::attachment::again;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::frames::Frames;
use crate::moment::timestamp;
use crate::parse::Parsed;
use crate::query::{Query, encode};
use crate::session::Session;
use crate::template::{self, Fault, Template, schema};
use crate::time;
use crate::verb::{Takes, Verb};

/// How much of a log is read at a time, in bytes.
const BUFFER: usize = 64 << 10;

const LOGS_FLAGS: &[Flag] = &[
    Flag::switch("details", "Show extra details provided to logs"),
    Flag::switch("follow", "Follow log output").letter('f'),
    Flag::one(
        "since",
        "string",
        "Show logs since a time (2013-01-02T13:23:37Z) or a span (42m)",
    ),
    Flag::one(
        "tail",
        "string",
        "Number of lines to show from the end of the logs",
    )
    .letter('n'),
    Flag::switch("timestamps", "Show timestamps").letter('t'),
    Flag::one(
        "until",
        "string",
        "Show logs before a time (2013-01-02T13:23:37Z) or a span (42m)",
    ),
];

pub(super) static LOGS: Verb = Verb {
    paths: &["logs", "container logs"],
    usage: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    flags: &[LOGS_FLAGS],
    interspersed: true,
    takes: Takes::Exactly(1),
    run: logs,
};

fn logs(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = encode(not_empty(&parsed.args[0])?);
    let about = session.get(&format!("/containers/{name}/json"))?;
    let log = Log {
        session,
        // Another container may have the name later.
        path: format!("/containers/{}/logs", about["Id"].as_str().unwrap_or(&name)),
        tty: about["Config"]["Tty"] == true,
        details: parsed.switch("details"),
        stamps: parsed.switch("timestamps"),
        since: moment(parsed, "since")?,
        until: moment(parsed, "until")?,
        tail: parsed.one("tail").unwrap_or("all"),
    };
    if parsed.switch("follow") {
        log.follow()
    } else {
        log.show()
    }
}

/// A log, and what of it is wanted.
struct Log<'a> {
    session: &'a Session,
    path: String,
    tty: bool,
    details: bool,
    stamps: bool,
    since: String,
    until: String,
    tail: &'a str,
}

impl Log<'_> {
    fn ask(&self, follow: bool, since: &str, tail: &str) -> Result<Answer, Failure> {
        let query = Query::new(self.path.clone())
            .with("stdout", "1")
            .with("stderr", "1")
            .with_switch("details", self.details)
            .with_switch("follow", follow)
            .with_switch("timestamps", follow || self.stamps)
            .with_some("since", since)
            .with_some("until", &self.until)
            .with("tail", tail);
        self.session
            .send("GET", query.text(), Body::Empty, Vec::new())?
            .successful()
    }

    fn show(&self) -> Result<u8, Failure> {
        let mut answer = self.ask(false, &self.since, self.tail)?;
        let mut buffer = vec![0; BUFFER];
        let mut frames = Frames::default();
        loop {
            let number = match answer.read(&mut buffer).map_err(cut)? {
                0 => return Ok(0),
                number => number,
            };
            let written = if self.tty {
                let mut out = io::stdout().lock();
                out.write_all(&buffer[..number]).and_then(|()| out.flush())
            } else {
                frames.write(
                    &buffer[..number],
                    &mut io::stdout().lock(),
                    &mut io::stderr().lock(),
                )
            };
            written.map_err(crate::output::failed)?;
        }
    }

    /// Shows what is written too, and goes on with the next daemon when one goes away.
    fn follow(&self) -> Result<u8, Failure> {
        let mut answer = self.ask(true, &self.since, self.tail)?;
        let mut buffer = vec![0; BUFFER];
        let mut follower = Follower::new(self.tty, self.stamps);
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        loop {
            match answer.read(&mut buffer) {
                Ok(0) => {
                    follower
                        .finish(&mut out, &mut err)
                        .map_err(crate::output::failed)?;
                    return Ok(0);
                }
                Ok(number) => follower
                    .write(&buffer[..number], &mut out, &mut err)
                    .map_err(crate::output::failed)?,
                Err(_) => {
                    answer = match follower.since() {
                        Some(since) => again(|| self.ask(true, &since, "all"))?,
                        None => again(|| self.ask(true, &self.since, self.tail))?,
                    };
                    follower.resume();
                }
            }
        }
    }
}

fn cut(source: io::Error) -> Failure {
    Failure::Connection {
        doing: "read the log".to_owned(),
        source,
    }
}

/// A flag's moment as the API takes it; empty without one.
///
/// # Errors
/// Docker's words for what is neither a time nor a span.
fn moment(parsed: &Parsed, flag: &str) -> Result<String, Failure> {
    match parsed.one(flag).filter(|text| !text.is_empty()) {
        None => Ok(String::new()),
        Some(text) => timestamp(text)
            .map_err(|why| Failure::Invalid(format!("invalid value for {flag:?}: {why}"))),
    }
}

const EVENTS_FLAGS: &[Flag] = &[
    Flag::list(
        "filter",
        "filter",
        "Filter output based on conditions provided",
    )
    .letter('f'),
    Flag::one("format", "string", "Format output: 'json' or a Go template"),
    Flag::one(
        "since",
        "string",
        "Show all events created since a time or a span",
    ),
    Flag::one("until", "string", "Stream events until a time or a span"),
];

pub(super) static EVENTS: Verb = Verb {
    paths: &["events", "system events"],
    usage: "[OPTIONS]",
    about: "Get real time events from the engine",
    flags: &[EVENTS_FLAGS],
    interspersed: true,
    takes: Takes::Nothing,
    run: events,
};

fn events(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let format = parsed.one("format").unwrap_or_default();
    let template = match format {
        "" | "json" => None,
        text => Some(Template::parse(text).map_err(unformatted)?),
    };
    if let Some(template) = &template {
        // Most faults show before anything has happened.
        template
            .render(&message(json!({})), false)
            .map_err(unformatted)?;
    }
    let moment = |flag: &str| match parsed.one(flag).filter(|text| !text.is_empty()) {
        None => Ok(String::new()),
        Some(text) => timestamp(text).map_err(Failure::Invalid),
    };
    let query = Query::new("/events")
        .with_some("since", &moment("since")?)
        .with_some("until", &moment("until")?)
        .with_some("filters", &super::filters(&parsed.list("filter"))?);
    let mut lines = BufReader::new(
        session
            .send("GET", query.text(), Body::Empty, Vec::new())?
            .successful()?,
    );
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines).take(1 << 20).read_until(b'\n', &mut line);
        let number = read.map_err(|source| Failure::Connection {
            doing: "read the events".to_owned(),
            source,
        })?;
        if number == 0 {
            return Ok(0);
        }
        let Ok(event) = serde_json::from_slice::<Value>(&line) else {
            continue;
        };
        let text = match &template {
            Some(template) => template
                .render(&message(event), false)
                .map_err(unformatted)?,
            None if format == "json" => message(event).to_json(),
            None => shown(&event),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(crate::output::failed)?;
    }
}

fn unformatted(fault: Fault) -> Failure {
    Failure::Template(format!("Error parsing format: {fault}"))
}

/// An event as docker's client knows it; members of former days are made from today's.
fn message(mut event: Value) -> template::Value {
    let has_older = matches!(event["Type"].as_str(), Some("container" | "image"));
    if has_older {
        event["status"] = event["Action"].clone();
        event["id"] = event["Actor"]["ID"].clone();
        if event["Type"] == "container" {
            event["from"] = event["Actor"]["Attributes"]["image"].clone();
        }
    }
    template::Value::read(&event, schema::events::MESSAGE)
}

/// `TIME TYPE ACTION ID (name=value, …)`
fn shown(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let moment = event["timeNano"].as_i64().unwrap_or(0);
    let mut line = format!(
        "{} {} {} {}",
        time::rfc3339_nano(moment),
        text(&event["Type"]),
        text(&event["Action"]),
        text(&event["Actor"]["ID"])
    );
    let mut attributes: Vec<_> = event["Actor"]["Attributes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", text(value)))
        .collect();
    attributes.sort();
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line
}

//! `run`: create, attach, start, carry, wait.

use api_types::texts;

use crate::container::attachment::{Streams, Waiting, carry_streams, resize};
use crate::container::{Attachments, create, flags};
use crate::failure::Failure;
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::{Session, tell};
use crate::stream::Ended;
use crate::terminal;
use crate::verb::{Takes, Verb};

pub(super) static RUN: Verb = Verb {
    paths: &["run", "container run"],
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image",
    flags: &[flags::CONTAINER, flags::RUN],
    interspersed: false,
    takes: Takes::AtLeast(1),
    run,
};

fn run(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let detached = parsed.switch("detach");
    check(parsed, detached)?;
    let attachments = Attachments::read(parsed);
    let id = create::create(session, parsed).map_err(|failure| match failure {
        Failure::Unfit(_) | Failure::Daemon { .. } => with_status(session, failure),
        failure => failure,
    })?;
    if detached {
        // The container is there, whether it starts or not: who asked for it has to know its name.
        println!("{id}");
        start(session, &id)?;
        return Ok(0);
    }
    let streams = streams(session, parsed, &attachments);
    let attached = session.hijack(&attach_path(&id, &attachments, &streams), None)?;
    let condition = if parsed.switch("rm") {
        "removed"
    } else {
        "next-exit"
    };
    let mut waiting = Waiting::begin(session, &id, condition)?;
    start(session, &id)?;
    let target = format!("/containers/{id}");
    if streams.tty && terminal::size().is_some() {
        // The size travelled with the request; the window may have changed since.
        let _ = resize(session, &target);
    }
    match carry_streams(session, attached, &streams, &target, Some(&mut waiting))? {
        Ended::Detached => Ok(0),
        Ended::ByServer => waiting.status(),
    }
}

fn check(parsed: &Parsed, detached: bool) -> Result<(), Failure> {
    if detached && !parsed.list("attach").is_empty() {
        return Err(Failure::Plain(
            "conflicting options: cannot specify both --attach and --detach".to_owned(),
        ));
    }
    let typed_at_terminal = parsed.switch("tty") && Attachments::read(parsed).stdin;
    if typed_at_terminal && !terminal::is_terminal(rustix::stdio::stdin()) {
        return Err(Failure::Plain("the input device is not a TTY".to_owned()));
    }
    Ok(())
}

fn streams(session: &Session, parsed: &Parsed, attachments: &Attachments) -> Streams {
    Streams {
        tty: parsed.switch("tty"),
        stdin: attachments.stdin,
        sig_proxy: parsed.one("sig-proxy") != Some("false"),
        detach_keys: detach_keys(session, parsed),
    }
}

/// `--detach-keys`, or those of the configuration file.
pub(super) fn detach_keys(session: &Session, parsed: &Parsed) -> String {
    let named = parsed.one("detach-keys").filter(|keys| !keys.is_empty());
    named
        .unwrap_or_else(|| session.setting("detachKeys"))
        .to_owned()
}

fn attach_path(id: &str, attachments: &Attachments, streams: &Streams) -> String {
    Query::new(format!("/containers/{id}/attach"))
        .with("stream", "1")
        .with_switch("stdin", attachments.stdin)
        .with_switch("stdout", attachments.stdout)
        .with_switch("stderr", attachments.stderr)
        .with_some("detachKeys", &streams.detach_keys)
        .text()
        .to_owned()
}

/// Starts the container. A program that is missing or can not be executed has statuses of its
/// own, as in a shell.
fn start(session: &Session, id: &str) -> Result<(), Failure> {
    session
        .post(&format!("/containers/{id}/start"), None)
        .map(drop)
        .map_err(|failure| with_status(session, failure))
}

/// Tells a failure that has a status of its own.
fn with_status(session: &Session, failure: Failure) -> Failure {
    match start_status(&failure.to_string()) {
        125 => failure,
        status => {
            tell(&format!(
                "{}: {failure}\n\nRun '{} run --help' for more information",
                session.program, session.program
            ));
            Failure::Status(status)
        }
    }
}

/// The exit status that the engine's sentence stands for: 127 for a program that is missing, 126
/// for one that can not be executed, 125 for everything else.
fn start_status(sentence: &str) -> u8 {
    let says = |texts: &[&str]| texts.iter().any(|text| sentence.contains(text));
    if says(&[texts::EXECUTABLE_NOT_FOUND, texts::NO_SUCH_FILE]) {
        127
    } else if says(&[texts::PERMISSION_DENIED, texts::IS_A_DIRECTORY]) {
        126
    } else {
        125
    }
}

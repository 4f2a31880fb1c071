//! `run`: create, attach, start, carry, wait.

use api_types::texts;

use crate::container::attachment::{Streams, Waiting, carry_streams, resize};
use crate::container::{create, flags};
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
    let id = create::create(session, parsed)?;
    if detached {
        start(session, &id)?;
        println!("{id}");
        return Ok(0);
    }
    let streams = streams(session, parsed)?;
    let attached = session.hijack(&attach_path(&id, parsed, &streams), None)?;
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
    let typed_at_terminal = parsed.switch("tty") && parsed.switch("interactive") && !detached;
    if typed_at_terminal && !terminal::is_terminal(rustix::stdio::stdin()) {
        return Err(Failure::Plain("the input device is not a TTY".to_owned()));
    }
    Ok(())
}

fn streams(session: &Session, parsed: &Parsed) -> Result<Streams, Failure> {
    let tty = parsed.switch("tty");
    let named = parsed.list("attach");
    let stdin = parsed.switch("interactive")
        && (named.is_empty() || named.iter().any(|name| name.eq_ignore_ascii_case("stdin")));
    let detach_keys = match parsed.one("detach-keys") {
        Some(keys) => keys.to_owned(),
        None => session.config()?["detachKeys"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    };
    Ok(Streams {
        tty,
        stdin,
        sig_proxy: !tty && parsed.one("sig-proxy") != Some("false"),
        detach_keys,
    })
}

fn attach_path(id: &str, parsed: &Parsed, streams: &Streams) -> String {
    let named = parsed.list("attach");
    let wanted = |name: &str| {
        named.is_empty() || named.iter().any(|stream| stream.eq_ignore_ascii_case(name))
    };
    Query::new(format!("/containers/{id}/attach"))
        .with("stream", "1")
        .with_switch("stdin", streams.stdin)
        .with_switch("stdout", wanted("stdout"))
        .with_switch("stderr", wanted("stderr"))
        .with_some("detachKeys", &streams.detach_keys)
        .text()
        .to_owned()
}

/// Starts the container. A program that is missing or can not be executed has statuses of its
/// own, as in a shell.
fn start(session: &Session, id: &str) -> Result<(), Failure> {
    let Err(failure) = session.post(&format!("/containers/{id}/start"), None) else {
        return Ok(());
    };
    match start_status(&failure.to_string()) {
        125 => Err(failure),
        status => {
            tell(&format!(
                "{}: {failure}\n\nRun '{} run --help' for more information",
                session.program, session.program
            ));
            Err(Failure::Status(status))
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

//! Verbs that do one thing to each container that is named: `stop`, `kill`, `rm`, `pause`, ….

use crate::container::attachment::Waiting;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode};
use crate::session::{Session, tell};
use crate::verb::{Takes, Verb};

const SIGNAL: Flag = Flag::one("signal", "string", "Signal to send to the container").letter('s');
const SIGNAL_AND_TIME: &[Flag] = &[
    SIGNAL,
    Flag::one(
        "time",
        "int",
        "Seconds to wait before killing the container",
    )
    .deprecated("use --timeout instead"),
    Flag::one(
        "timeout",
        "int",
        "Seconds to wait before killing the container",
    )
    .letter('t'),
];

pub(super) static STOP: Verb = verb(
    &["stop", "container stop"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop one or more running containers",
    &[SIGNAL_AND_TIME],
    |session, parsed| {
        check_time(parsed)?;
        each(session, parsed, |name| signalled(parsed, name, "stop"))
    },
);

pub(super) static RESTART: Verb = verb(
    &["restart", "container restart"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Restart one or more containers",
    &[SIGNAL_AND_TIME],
    |session, parsed| {
        check_time(parsed)?;
        each(session, parsed, |name| signalled(parsed, name, "restart"))
    },
);

pub(super) static KILL: Verb = verb(
    &["kill", "container kill"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Kill one or more running containers",
    &[&[SIGNAL]],
    |session, parsed| each(session, parsed, |name| signalled(parsed, name, "kill")),
);

pub(super) static PAUSE: Verb = verb(
    &["pause", "container pause"],
    "CONTAINER [CONTAINER...]",
    "Pause all processes within one or more containers",
    &[],
    |session, parsed| each(session, parsed, |name| Query::new(path(name, "pause"))),
);

pub(super) static UNPAUSE: Verb = verb(
    &["unpause", "container unpause"],
    "CONTAINER [CONTAINER...]",
    "Unpause all processes within one or more containers",
    &[],
    |session, parsed| each(session, parsed, |name| Query::new(path(name, "unpause"))),
);

const RM_FLAGS: &[Flag] = &[
    Flag::switch(
        "force",
        "Force the removal of a running container (uses SIGKILL)",
    )
    .letter('f'),
    Flag::switch("link", "Remove the specified link").letter('l'),
    Flag::switch(
        "volumes",
        "Remove anonymous volumes associated with the container",
    )
    .letter('v'),
];

pub(super) static RM: Verb = verb(
    &["rm", "container rm", "container remove"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Remove one or more containers",
    &[RM_FLAGS],
    remove,
);

pub(super) static WAIT: Verb = verb(
    &["wait", "container wait"],
    "CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    &[],
    wait,
);

pub(super) static RENAME: Verb = Verb {
    paths: &["rename", "container rename"],
    usage: "CONTAINER NEW_NAME",
    about: "Rename a container",
    flags: &[],
    interspersed: true,
    takes: Takes::Exactly(2),
    run: rename,
};

const fn verb(
    paths: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    flags: &'static [&'static [Flag]],
    run: fn(&Session, &Parsed) -> Result<u8, Failure>,
) -> Verb {
    Verb {
        paths,
        usage,
        about,
        flags,
        interspersed: true,
        takes: Takes::AtLeast(1),
        run,
    }
}

fn path(name: &str, action: &str) -> String {
    format!("/containers/{}/{action}", encode(name))
}

fn check_time(parsed: &Parsed) -> Result<(), Failure> {
    if parsed.one("time").is_some() && parsed.one("timeout").is_some() {
        return Err(Failure::Invalid(
            "conflicting options: cannot specify both --timeout and --time".to_owned(),
        ));
    }
    Ok(())
}

fn signalled(parsed: &Parsed, name: &str, action: &str) -> Query {
    let seconds = parsed
        .one("timeout")
        .or_else(|| parsed.one("time"))
        .unwrap_or_default();
    Query::new(path(name, action))
        .with_some("signal", parsed.one("signal").unwrap_or_default())
        .with_some("t", seconds)
}

/// Posts to each name in turn and prints the names for which it worked.
///
/// # Errors
/// Status 1 when one failed; each failure has been told by then.
fn each(session: &Session, parsed: &Parsed, query: impl Fn(&str) -> Query) -> Result<u8, Failure> {
    for_each(&parsed.args, |name| {
        session.post(query(not_empty(name)?).text(), None)?;
        println!("{name}");
        Ok(())
    })
}

/// A container's name as a path may have it.
///
/// # Errors
/// Docker's words for an empty one.
pub(super) fn not_empty(name: &str) -> Result<&str, Failure> {
    if name.trim().is_empty() {
        return Err(Failure::Invalid(
            "invalid container name or ID: value is empty".to_owned(),
        ));
    }
    Ok(name)
}

/// Does something for every name, whatever became of the others; what went wrong is told when all is done.
///
/// # Errors
/// The last one, when the others have been told.
pub(super) fn for_each(
    names: &[String],
    mut act: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut failures = Vec::new();
    for name in names {
        match act(name) {
            Ok(()) => {}
            Err(failure @ (Failure::Endpoint(_) | Failure::Plain(_))) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    let last = failures.pop();
    failures
        .iter()
        .for_each(|failure| tell(&failure.to_string()));
    last.map_or(Ok(0), Err)
}

fn remove(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let force = parsed.switch("force");
    for_each(&parsed.args, |name| {
        let trimmed = name.trim_matches('/');
        if trimmed.is_empty() {
            return Err(Failure::Invalid(
                "container name cannot be empty".to_owned(),
            ));
        }
        let query = Query::new(format!("/containers/{}", encode(trimmed)))
            .with_switch("force", force)
            .with_switch("link", parsed.switch("link"))
            .with_switch("v", parsed.switch("volumes"));
        match session.delete(query.text()) {
            // What is gone already is what --force asks for; docker tells it and goes on.
            Err(failure) if force && failure.status() == Some(404) => {
                tell(&failure.to_string());
                Ok(())
            }
            Err(failure) => Err(failure),
            Ok(_) => {
                println!("{name}");
                Ok(())
            }
        }
    })
}

fn wait(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    for_each(&parsed.args, |name| {
        let code = Waiting::begin(session, &encode(not_empty(name)?), "not-running")?.code()?;
        println!("{code}");
        Ok(())
    })
}

fn rename(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let [old, new] = parsed.args.as_slice() else {
        return Ok(1);
    };
    if old.trim().is_empty() || new.trim().is_empty() {
        return Err(Failure::Invalid(
            "Error: Neither old nor new names may be empty".to_owned(),
        ));
    }
    let query = Query::new(path(old, "rename")).with("name", new);
    match session.post(query.text(), None) {
        Ok(_) => Ok(0),
        Err(failure @ Failure::NoDaemon { .. }) => Err(failure),
        Err(failure) => {
            tell(&failure.to_string());
            Err(Failure::Invalid(format!(
                "Error: failed to rename container named {old}"
            )))
        }
    }
}

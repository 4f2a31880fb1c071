//! `pull`, and the progress of everything that transfers layers.

use std::io::{BufRead, BufReader, Write};

use serde_json::Value;

use crate::connection::Body;
use crate::credentials;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::progress::Progress;
use crate::query::Query;
use crate::session::Session;
use crate::terminal;
use crate::trust;
use crate::verb::{Takes, Verb};

const FLAGS: &[Flag] = &[
    Flag::switch("all-tags", "Download all tagged images in the repository").letter('a'),
    Flag::switch(
        "disable-content-trust",
        "Skip image verification: there is none",
    ),
    Flag::one(
        "platform",
        "string",
        "Set platform if server is multi-platform capable",
    ),
    Flag::switch("quiet", "Suppress verbose output").letter('q'),
];

pub(super) static PULL: Verb = Verb {
    paths: &["pull", "image pull"],
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    flags: &[FLAGS],
    interspersed: true,
    takes: Takes::Exactly(1),
    run,
};

fn run(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let (all, quiet) = (parsed.switch("all-tags"), parsed.switch("quiet"));
    let mut reference = types::Reference::parse_normalized(&parsed.args[0])
        .map_err(|error| Failure::Invalid(error.to_string()))?;
    let bare = reference.tag().is_none() && reference.digest().is_none();
    if all && !bare {
        return Err(Failure::Plain(
            "tag can't be used with --all-tags/-a".to_owned(),
        ));
    }
    if !all && bare {
        reference = reference.with_default_tag();
        if !quiet {
            println!("Using default tag: {}", types::DEFAULT_TAG);
        }
    }
    trust::refuse(parsed, &reference, Failure::Plain)?;
    fetch(
        session,
        &reference,
        &crate::container::create::platform(parsed),
        quiet,
        (
            &mut std::io::stdout(),
            terminal::columns(rustix::stdio::stdout()),
        ),
    )?;
    println!("{reference}");
    Ok(0)
}

/// Where progress goes to, and how many columns it has if it is a terminal.
pub(crate) type Screen<'a> = (&'a mut dyn Write, Option<usize>);

/// Pulls an image and tells its progress to `out`.
///
/// # Errors
/// What the name, the engine or the registry said.
pub(crate) fn pull(
    session: &Session,
    name: &str,
    platform: &str,
    quiet: bool,
    out: Screen<'_>,
) -> Result<(), Failure> {
    let reference = types::Reference::parse_normalized(name)
        .map_err(|error| Failure::Invalid(error.to_string()))?;
    fetch(session, &reference.with_default_tag(), platform, quiet, out)
}

/// Pulls what a reference names; without tag and digest, all tags.
fn fetch(
    session: &Session,
    reference: &types::Reference,
    platform: &str,
    quiet: bool,
    out: Screen<'_>,
) -> Result<(), Failure> {
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    };
    let query = Query::new("/images/create")
        .with("fromImage", &reference.without_tag().to_string())
        .with_some("tag", &tag)
        .with_some("platform", platform);
    let headers = credentials::header(session.config(), reference.domain())
        .map(|value| ("X-Registry-Auth".to_owned(), value))
        .into_iter()
        .collect();
    let answer = session
        .send("POST", query.text(), Body::Empty, headers)?
        .successful()?;
    messages(BufReader::new(answer), quiet, out)
}

/// Shows a stream of progress messages, one JSON document a line, to its end.
///
/// # Errors
/// The message of the first error among them, or a stream that breaks off.
pub(crate) fn messages(
    mut lines: impl BufRead,
    quiet: bool,
    (out, columns): Screen<'_>,
) -> Result<(), Failure> {
    const LINE_LIMIT: u64 = 1 << 20;
    let mut progress = Progress::new(columns);
    let mut line = Vec::new();
    loop {
        line.clear();
        let broken = |source| Failure::Connection {
            doing: "read the progress".to_owned(),
            source,
        };
        let number = std::io::Read::take(&mut lines, LINE_LIMIT)
            .read_until(b'\n', &mut line)
            .map_err(broken)?;
        if number == 0 {
            return Ok(());
        }
        let Ok(message) = serde_json::from_slice::<Value>(&line) else {
            continue;
        };
        if let Some(error) = message["errorDetail"]["message"]
            .as_str()
            .or(message["error"].as_str())
        {
            return Err(Failure::Invalid(error.to_owned()));
        }
        // What is for programs is shown to nobody.
        if !quiet && message["aux"].is_null() {
            progress
                .show(&message, out)
                .map_err(Failure::local("cannot write the progress"))?;
        }
    }
}

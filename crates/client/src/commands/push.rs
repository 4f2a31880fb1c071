//! `push`.

use std::io::{self, BufReader, Write};

use serde_json::json;
use types::Reference;

use super::pull;
use crate::connection::Body;
use crate::credentials;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode_path};
use crate::session::Session;
use crate::terminal;
use crate::trust;
use crate::verb::{Takes, Verb};

const FLAGS: &[Flag] = &[
    Flag::switch("all-tags", "Push all tags of an image to the repository").letter('a'),
    Flag::switch("disable-content-trust", "Skip image signing: there is none"),
    Flag::one(
        "platform",
        "string",
        "Push the image only if it is for this platform",
    ),
    Flag::switch("quiet", "Suppress verbose output").letter('q'),
];

pub(super) static PUSH: Verb = Verb {
    paths: &["push", "image push"],
    usage: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    flags: &[FLAGS],
    interspersed: true,
    takes: Takes::Exactly(1),
    run,
};

fn run(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let (all, quiet) = (parsed.switch("all-tags"), parsed.switch("quiet"));
    let mut reference = Reference::parse_normalized(&parsed.args[0])
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
    if reference.digest().is_some() {
        return Err(Failure::Plain("cannot push a digest reference".to_owned()));
    }
    trust::refuse(parsed, &reference, Failure::Plain)?;
    let name = encode_path(&reference.familiar_name());
    let query = Query::new(format!("/images/{name}/push"))
        .with_some("tag", reference.tag().unwrap_or_default())
        .with_some("platform", &platform(parsed)?);
    let headers = credentials::header(session.config(), reference.domain())
        .map(|value| ("X-Registry-Auth".to_owned(), value))
        .into_iter()
        .collect();
    let answer = session
        .send("POST", query.text(), Body::Empty, headers)?
        .successful()?;
    let columns = terminal::columns(rustix::stdio::stdout());
    let out: &mut dyn Write = &mut io::stdout();
    pull::messages(BufReader::new(answer), quiet, (out, columns))?;
    if quiet {
        println!("{reference}");
    }
    Ok(0)
}

/// The platform as the API takes it; empty for none.
fn platform(parsed: &Parsed) -> Result<String, Failure> {
    let Some(text) = parsed.one("platform").filter(|text| !text.is_empty()) else {
        return Ok(String::new());
    };
    let platform: types::Platform = text
        .parse()
        .map_err(|error| Failure::Plain(format!("invalid platform: {error}")))?;
    let mut document = json!({"architecture": platform.architecture(), "os": platform.os()});
    if let Some(variant) = platform.variant() {
        document["variant"] = variant.into();
    }
    Ok(document.to_string())
}

//! `diff`.

use crate::failure::Failure;
use crate::parse::Parsed;
use crate::query::encode;
use crate::session::Session;
use crate::verb::{Takes, Verb};

pub(super) static DIFF: Verb = Verb {
    paths: &["container diff", "diff"],
    usage: "CONTAINER",
    about: "Inspect changes to files or directories on a container's filesystem",
    flags: &[],
    interspersed: true,
    takes: Takes::Exactly(1),
    run: diff,
};

fn diff(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = parsed.args[0].as_str();
    if name.is_empty() {
        return Err(Failure::Plain("Container name cannot be empty".to_owned()));
    }
    let changes = session.get(&format!("/containers/{}/changes", encode(name)))?;
    let mut text = String::new();
    for change in changes.as_array().into_iter().flatten() {
        let kind = match change["Kind"].as_u64() {
            Some(1) => 'A',
            Some(2) => 'D',
            _ => 'C',
        };
        let path = change["Path"].as_str().unwrap_or_default();
        text.push_str(&format!("{kind} {path}\n"));
    }
    print!("{text}");
    Ok(0)
}

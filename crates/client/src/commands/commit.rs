//! `commit` and `import`.

use std::fs::File;
use std::io::{self, BufReader, Read};

use serde_json::Value;
use types::Reference;

use super::archive::Named;
use crate::connection::Body;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::Session;
use crate::terminal;
use crate::verb::{Takes, Verb};

const COMMIT_FLAGS: &[Flag] = &[
    Flag::one(
        "author",
        "string",
        "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")",
    )
    .letter('a'),
    Flag::list(
        "change",
        "list",
        "Apply Dockerfile instruction to the created image",
    )
    .letter('c'),
    Flag::one("message", "string", "Commit message").letter('m'),
    Flag::switch("pause", "Pause container during commit (default true)").letter('p'),
];

pub(super) static COMMIT: Verb = Verb {
    paths: &["container commit", "commit"],
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    flags: &[COMMIT_FLAGS],
    interspersed: true,
    takes: Takes::Between(1, 2),
    run: commit,
};

fn commit(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let (repo, tag) = match parsed.args.get(1).filter(|name| !name.is_empty()) {
        None => (String::new(), String::new()),
        Some(name) => {
            let reference = reference(name)?;
            if reference.digest().is_some() {
                return Err(Failure::Plain(
                    "refusing to create a tag with a digest reference".to_owned(),
                ));
            }
            let tag = reference.clone().with_default_tag();
            let tag = tag.tag().unwrap_or_default().to_owned();
            (reference.familiar_name(), tag)
        }
    };
    let query = Query::new("/commit")
        .with("container", &parsed.args[0])
        .with_some("repo", &repo)
        .with_some("tag", &tag)
        .with_some("comment", parsed.one("message").unwrap_or_default())
        .with_some("author", parsed.one("author").unwrap_or_default());
    let query = match parsed.one("pause") {
        Some("false") => query.with("pause", "0"),
        _ => query.with("pause", "1"),
    };
    let query = with_changes(query, parsed);
    let made = session.post(query.text(), Some(&Value::Null))?;
    println!("{}", made["Id"].as_str().unwrap_or_default());
    Ok(0)
}

const IMPORT_FLAGS: &[Flag] = &[
    Flag::list(
        "change",
        "list",
        "Apply Dockerfile instruction to the created image",
    )
    .letter('c'),
    Flag::one("message", "string", "Set commit message for imported image").letter('m'),
    Flag::one(
        "platform",
        "string",
        "Set platform if server is multi-platform capable",
    ),
];

pub(super) static IMPORT: Verb = Verb {
    paths: &["image import", "import"],
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    flags: &[IMPORT_FLAGS],
    interspersed: true,
    takes: Takes::AtLeast(1),
    run: import,
};

fn import(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let source = parsed.args[0].as_str();
    let mut input: Option<Box<dyn Read>> = match source {
        "-" => Some(Box::new(io::stdin().lock())),
        url if is_url(url) => None,
        path => {
            let file = File::open(path).map_err(Failure::local(format!("open {path}")))?;
            Some(Box::new(Named { path, file }))
        }
    };
    let name = parsed.args.get(1).map_or("", String::as_str);
    if !name.is_empty() {
        reference(name)?;
    }
    let query = Query::new("/images/create")
        .with("fromSrc", if input.is_some() { "-" } else { source })
        .with_some("repo", name)
        .with_some("message", parsed.one("message").unwrap_or_default())
        .with_some("platform", parsed.one("platform").unwrap_or_default());
    let query = with_changes(query, parsed);
    let body = match &mut input {
        Some(input) => Body::Stream(input),
        None => Body::Empty,
    };
    let answer = session
        .send("POST", query.text(), body, Vec::new())?
        .successful()?;
    let columns = terminal::columns(rustix::stdio::stdout());
    super::pull::messages(BufReader::new(answer), false, (&mut io::stdout(), columns))?;
    Ok(0)
}

fn with_changes(query: Query, parsed: &Parsed) -> Query {
    let changes = parsed.list("change");
    changes
        .iter()
        .fold(query, |query, change| query.with("changes", change))
}

fn reference(name: &str) -> Result<Reference, Failure> {
    Reference::parse_normalized(name).map_err(|error| Failure::Plain(error.to_string()))
}

/// What docker takes for the place of an archive elsewhere.
fn is_url(text: &str) -> bool {
    ["http://", "https://", "git://", "git@", "github.com/"]
        .iter()
        .any(|start| text.starts_with(start))
}

//! `load`, `save` and `export`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use crate::connection::{Answer, Body};
use crate::failure::{Failure, plain};
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode};
use crate::session::Session;
use crate::terminal;
use crate::verb::{Takes, Verb};

const LOAD_FLAGS: &[Flag] = &[
    Flag::one(
        "input",
        "string",
        "Read from tar archive file, instead of STDIN",
    )
    .letter('i'),
    Flag::list("platform", "strings", "Load only the given platform"),
    Flag::switch("quiet", "Suppress the load output").letter('q'),
];

pub(super) static LOAD: Verb = Verb {
    paths: &["load", "image load"],
    usage: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    flags: &[LOAD_FLAGS],
    interspersed: true,
    takes: Takes::Nothing,
    run: load,
};

fn load(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let platforms = super::platform_documents(parsed)?;
    let mut input: Box<dyn Read> = match parsed.one("input").filter(|path| !path.is_empty()) {
        Some(path) => {
            let file = File::open(path).map_err(Failure::local(format!("open {path}")))?;
            Box::new(Named { path, file })
        }
        None if terminal::is_terminal(rustix::stdio::stdin()) => {
            return Err(Failure::Invalid(
                "requested load from stdin, but stdin is empty".to_owned(),
            ));
        }
        None => Box::new(io::stdin().lock()),
    };
    let quiet = parsed.switch("quiet") || !terminal::is_terminal(rustix::stdio::stdout());
    let query = Query::new("/images/load").with("quiet", if quiet { "1" } else { "0" });
    let query = platforms
        .iter()
        .fold(query, |query, platform| query.with("platform", platform));
    let answer = session
        .send("POST", query.text(), Body::Stream(&mut input), Vec::new())?
        .successful()?;
    let columns = terminal::columns(rustix::stdio::stdout());
    super::pull::messages(BufReader::new(answer), false, (&mut io::stdout(), columns))?;
    Ok(0)
}

/// A file whose faults name it, since they are told as those of the request whose body it is.
pub(super) struct Named<'a> {
    pub(super) path: &'a str,
    pub(super) file: File,
}

impl Read for Named<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::other(format!("read {}: {}", self.path, plain(&error))),
        })
    }
}

const SAVE_FLAGS: &[Flag] = &[
    Flag::one("output", "string", "Write to a file, instead of STDOUT").letter('o'),
    Flag::list("platform", "strings", "Save only the given platform"),
];

pub(super) static SAVE: Verb = Verb {
    paths: &["save", "image save"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    flags: &[SAVE_FLAGS],
    interspersed: true,
    takes: Takes::AtLeast(1),
    run: save,
};

fn save(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let platforms = super::platform_documents(parsed)?;
    let output = parsed.one("output").filter(|path| !path.is_empty());
    if output.is_none() && terminal::is_terminal(rustix::stdio::stdout()) {
        return Err(Failure::Invalid(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect".to_owned(),
        ));
    }
    if let Some(path) = output {
        check_output(path, "save image")?;
    }
    let query = parsed
        .args
        .iter()
        .fold(Query::new("/images/get"), |query, name| {
            query.with("names", name)
        });
    let query = platforms
        .iter()
        .fold(query, |query, platform| query.with("platform", platform));
    let answer = session
        .send("GET", query.text(), Body::Empty, Vec::new())?
        .successful()?;
    put(answer, output, "save image")
}

const EXPORT_FLAGS: &[Flag] =
    &[Flag::one("output", "string", "Write to a file, instead of STDOUT").letter('o')];

pub(super) static EXPORT: Verb = Verb {
    paths: &["container export", "export"],
    usage: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    flags: &[EXPORT_FLAGS],
    interspersed: true,
    takes: Takes::Exactly(1),
    run: export,
};

fn export(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let output = parsed.one("output").filter(|path| !path.is_empty());
    if output.is_none() && terminal::is_terminal(rustix::stdio::stdout()) {
        return Err(Failure::Invalid(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect".to_owned(),
        ));
    }
    if let Some(path) = output {
        check_output(path, "export container")?;
    }
    let path = format!("/containers/{}/export", encode(&parsed.args[0]));
    let answer = session
        .send("GET", &path, Body::Empty, Vec::new())?
        .successful()?;
    put(answer, output, "export container")
}

/// Writes an archive to standard output or to a file, which has it whole or not at all.
fn put(mut answer: Answer, output: Option<&str>, doing: &str) -> Result<u8, Failure> {
    let Some(path) = output else {
        copy(&mut answer, &mut io::stdout().lock())
            .map_err(Failure::local("cannot write the archive"))?;
        return Ok(0);
    };
    // What is there stays until the archive is whole.
    let part = format!("{path}.wharf-part");
    // Keys and passwords may be in it.
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| copy(&mut answer, &mut file))
        .and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written.map_err(Failure::local(format!("failed to {doing} to {path}")))?;
    Ok(0)
}

/// Whether an archive may take this path's place: its folder is there, and no device, socket or
/// the like stands there.
fn check_output(path: &str, doing: &str) -> Result<(), Failure> {
    let folder = match Path::new(path).parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    std::fs::metadata(folder).map_err(Failure::local(format!(
        "failed to {doing}: invalid output path: stat {}",
        folder.display()
    )))?;
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(Failure::Invalid(format!(
            "failed to {doing}: cannot write to a directory"
        ))),
        Ok(meta) if meta.file_type().is_char_device() => Err(Failure::Invalid(format!(
            "failed to {doing}: cannot write to a character device file"
        ))),
        Ok(meta) if !meta.is_file() => Err(Failure::Invalid(format!(
            "failed to {doing}: invalid output path: {path:?} must be a directory or a regular file"
        ))),
        _ => Ok(()),
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return to.flush(),
            number => to.write_all(&buffer[..number])?,
        }
    }
}

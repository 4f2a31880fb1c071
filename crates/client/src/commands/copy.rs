//! `cp`.

mod local;
mod progress;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use api_types::PathStat;
use archive::extract::{self, Options, Owner, Place};
use archive::pack;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::local::{Source, Target, split};
use self::progress::Progress;
use crate::connection::{Answer, Body};
use crate::failure::{Failure, plain};
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode};
use crate::session::Session;
use crate::terminal;
use crate::units;
use crate::verb::{Takes, Verb};

/// Bytes of an archive that are read at a time.
const BUFFER: usize = 256 << 10;

const FLAGS: &[Flag] = &[
    Flag::switch("archive", "Archive mode (copy all uid/gid information)").letter('a'),
    Flag::switch("follow-link", "Always follow symbol link in SRC_PATH").letter('L'),
    Flag::switch(
        "quiet",
        "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
    )
    .letter('q'),
];

pub(super) static COPY: Verb = Verb {
    paths: &["container cp", "cp"],
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\t{program} cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files/folders between a container and the local filesystem",
    flags: &[FLAGS],
    interspersed: true,
    takes: Takes::Exactly(2),
    run: copy,
};

fn refused(text: impl Into<String>) -> Failure {
    Failure::Plain(text.into())
}

fn copy(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let (source, destination) = (parsed.args[0].as_str(), parsed.args[1].as_str());
    for (what, text) in [("source", source), ("destination", destination)] {
        if text.is_empty() {
            return Err(refused(format!("{what} can not be empty")));
        }
    }
    let how = How {
        session,
        follow: parsed.switch("follow-link"),
        archive: parsed.switch("archive"),
        quiet: match parsed.one("quiet") {
            Some(quiet) => quiet == "true",
            None => !terminal::is_terminal(rustix::stdio::stdout()),
        },
    };
    match (of_container(source), of_container(destination)) {
        (Some(_), Some(_)) => Err(refused("copying between containers is not supported")),
        (None, None) => Err(refused("must specify at least one container source")),
        (Some((container, path)), None) => how.out_of_container(container, path, destination),
        (None, Some((container, path))) => how.to_container(source, container, path),
    }
}

/// The container and the path in it, for `NAME:PATH`. `./a:b` and `/a:b` are paths of this host.
fn of_container(text: &str) -> Option<(&str, &str)> {
    let (container, path) = text.split_once(':')?;
    let here = text.starts_with('/') || container.starts_with('.') || container.is_empty();
    (!here).then_some((container, path))
}

/// What was asked for beside source and destination.
struct How<'a> {
    session: &'a Session,
    follow: bool,
    archive: bool,
    quiet: bool,
}

impl How<'_> {
    fn url(container: &str, path: &str) -> Query {
        Query::new(format!("/containers/{}/archive", encode(container))).with("path", path)
    }

    /// What is at a path in a container.
    fn stat(&self, container: &str, path: &str) -> Result<PathStat, Failure> {
        let url = Self::url(container, path);
        let answer = self
            .session
            .send("HEAD", url.text(), Body::Empty, Vec::new())?
            .successful()?;
        let stat = stat_of(&answer)?;
        answer.keep();
        Ok(stat)
    }

    fn out_of_container(
        &self,
        container: &str,
        path: &str,
        destination: &str,
    ) -> Result<u8, Failure> {
        let to_stream = destination == "-";
        let shown = match to_stream {
            true => destination.to_owned(),
            false => local::absolute(destination)?,
        };
        if !to_stream {
            local::check_output(&shown)?;
        }
        let (mut path, mut rebase) = (path.to_owned(), None);
        if self.follow
            && let Ok(stat) = self.stat(container, &path)
            && stat.mode & PathStat::LINK != 0
        {
            (path, rebase) = local::rebase(&path, &stat.link_target);
        }
        let url = Self::url(container, &path);
        let mut answer = self
            .session
            .send("GET", url.text(), Body::Empty, Vec::new())?
            .successful()?;
        if to_stream {
            let mut out = io::stdout().lock();
            return pass(&mut answer, &mut out).map(|()| 0);
        }
        let stat = stat_of(&answer)?;
        let folder = stat.mode & PathStat::FOLDER != 0;
        let target = match Target::find(&shown)? {
            // A link takes the place of a link, and not of what that leads to: that would become a link to itself.
            found if stat.mode & PathStat::LINK != 0 && found.folder != Some(true) => Target {
                path: shown.clone(),
                ..found
            },
            found => found,
        };
        let base = split(&path).1;
        let named = rebase.unwrap_or_else(|| base.clone());
        let (into, name) = target.place(folder, &named)?;
        let from = if base == "/" { String::new() } else { base };
        let rename = (from != name).then_some((from.as_bytes(), name.as_bytes()));
        let mut counted = Progress::new(answer, "Copying from container - ", self.quiet);
        let opened = File::open(&into).map_err(Failure::local(format!("open {into}")))?;
        let place = Place {
            folder: opened.as_fd(),
            root: None,
            shown: Path::new(&into),
        };
        let options = Options {
            owner: Owner::Caller,
            keeps_kind: true,
            rename,
        };
        let copied = BufReader::with_capacity(BUFFER, &mut counted);
        extract::extract(&place, copied, &options).map_err(|fault| refused(fault.to_string()))?;
        // What follows the archive's end is counted, too.
        let rest = io::copy(&mut counted, &mut io::sink());
        rest.map_err(Failure::local("read the archive"))?;
        self.tell(counted.done(), &shown);
        Ok(0)
    }

    fn to_container(&self, source: &str, container: &str, path: &str) -> Result<u8, Failure> {
        let shown = match source {
            "-" => source.to_owned(),
            source => local::absolute(source)?,
        };
        let mut target = Target {
            path: path.to_owned(),
            folder: None,
        };
        let mut found = self.stat(container, path).ok();
        if let Some(link) = found
            .as_ref()
            .filter(|stat| stat.mode & PathStat::LINK != 0)
        {
            target.path = match link.link_target.as_str() {
                absolute if absolute.starts_with('/') => absolute.to_owned(),
                relative => local::join(&split(path).0, relative),
            };
            found = self.stat(container, &target.path).ok();
        }
        if let Some(stat) = &found {
            if stat.mode & PathStat::DEVICE != 0 {
                return Err(refused(format!(
                    "destination \"{container}:{path}\" must be a directory or a regular file: got a device"
                )));
            }
            target.folder = Some(stat.mode & PathStat::FOLDER != 0);
        }
        if source == "-" {
            if target.folder != Some(true) {
                return Err(refused(format!(
                    "destination \"{container}:{path}\" must be a directory"
                )));
            }
            let mut input = io::stdin().lock();
            self.put(container, &target.path, Body::Stream(&mut input))?;
            return Ok(0);
        }
        let source = Source::find(&shown, self.follow)?;
        let (into, name) = target.place(source.folder, &source.name)?;
        let (mut count, mut fault) = (0, None);
        let mut write = |out: &mut dyn Write| {
            let mut counted = Progress::new(out, "Copying to container - ", self.quiet);
            let written = source.pack(name.as_bytes(), &mut counted);
            count = counted.done();
            written.map_err(|error| match error {
                pack::PackError::Write(error) => error,
                other => {
                    fault = Some(refused(other.to_string()));
                    io::ErrorKind::Other.into()
                }
            })
        };
        let sent = self.put(container, &into, Body::Written(&mut write));
        if let Some(fault) = fault {
            return Err(fault);
        }
        sent?;
        self.tell(count, &format!("{container}:{}", target.path));
        Ok(0)
    }

    fn put(&self, container: &str, path: &str, body: Body<'_>) -> Result<(), Failure> {
        let url = Self::url(container, path).with("noOverwriteDirNonDir", "true");
        let url = match self.archive {
            true => url.with("copyUIDGID", "true"),
            false => url,
        };
        self.session
            .send("PUT", url.text(), body, Vec::new())?
            .successful()
            .map(drop)
    }

    /// Tells how much was copied to where.
    fn tell(&self, bytes: u64, to: &str) {
        if !self.quiet {
            let size = units::size_with(bytes as f64, 3);
            crate::session::tell(&format!("Successfully copied {size} to {to}"));
        }
    }
}

impl Source {
    /// Writes the source as an archive under this name.
    fn pack(&self, name: &[u8], out: &mut dyn Write) -> Result<(), pack::PackError> {
        let fault = |path: &str| {
            let entry = path.into();
            move |source| pack::PackError::Read {
                action: "open",
                entry,
                source,
            }
        };
        if self.folder {
            let folder = File::open(&self.path).map_err(fault(&self.path))?;
            return pack::folder(folder.as_fd(), name, &|_, _| false, out);
        }
        let (dir, base) = split(&self.path);
        let dir = File::open(&dir).map_err(fault(&dir))?;
        let base = CString::new(base).map_err(|error| fault(&self.path)(error.into()))?;
        pack::entry(dir.as_fd(), &base, name, out)
    }
}

/// What an answer tells of the path that was asked for.
fn stat_of(answer: &Answer) -> Result<PathStat, Failure> {
    let text = answer.header("x-docker-container-path-stat").unwrap_or("");
    let stat = STANDARD.decode(text).ok();
    stat.and_then(|stat| serde_json::from_slice(&stat).ok())
        .ok_or_else(|| refused("unable to decode container path stat header"))
}

fn pass(from: &mut Answer, to: &mut impl Write) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return to.flush().map_err(crate::output::failed),
            Ok(count) => count,
            Err(error) => return Err(refused(plain(&error))),
        };
        to.write_all(&buffer[..count])
            .map_err(crate::output::failed)?;
    }
}

#[cfg(test)]
mod tests {
    use super::local::asserts_folder;
    use super::*;

    #[test]
    fn a_colon_names_a_container_unless_a_path_comes_before_it() {
        assert_eq!(of_container("web:/x"), Some(("web", "/x")));
        assert_eq!(of_container("web:"), Some(("web", "")));
        assert_eq!(of_container("a:b:c"), Some(("a", "b:c")));
        for here in ["/a:b", "./a:b", "../a:b", "a", "-", ":x"] {
            assert_eq!(of_container(here), None, "{here}");
        }
    }

    #[test]
    fn sources_and_destinations_go_together_as_in_docker() {
        let place = |path: &str, exists, folder: bool| {
            let target = Target {
                path: path.to_owned(),
                folder: exists,
            };
            match target.place(folder, "src") {
                Ok((into, name)) => format!("{into} {name}"),
                Err(failure) => failure.to_string(),
            }
        };
        assert_eq!(place("/d", Some(true), true), "/d src");
        assert_eq!(place("/d/", Some(true), false), "/d/ src");
        assert_eq!(place("/d/f", Some(false), false), "/d f");
        assert_eq!(place("/d/f", Some(false), true), "cannot copy directory");
        assert_eq!(place("/d/new", None, true), "/d new");
        assert_eq!(place("/d/new/", None, true), "/d new");
        assert_eq!(place("/d/new", None, false), "/d new");
        assert_eq!(place("/d/new/", None, false), "no such directory");
        assert_eq!(place("", None, false), "no such directory");
        assert_eq!(place("new", None, false), ". new");
        assert!(asserts_folder("a/.") && !asserts_folder("a"));
    }
}

//! Names of files in a container, as `cp` takes them: the engine has no list of a folder but the archive of it, which is
//! read until that is long enough.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::time::{Duration, Instant};

use archive::tar::{Archive, Kind};

use super::Candidates;
use crate::connection::Body;
use crate::query::{Query, encode};
use crate::session::Session;

/// As long is read of a folder that holds much; what was found until then is offered.
const PATIENCE: Duration = Duration::from_millis(1500);
/// More names than this help nobody.
const MOST: usize = 4096;

/// A container and a path in it, as `cp` tells them from a path here.
pub(super) fn split(typed: &str) -> Option<(&str, &str)> {
    let (container, path) = typed.split_once(':')?;
    let is_name = !container.is_empty() && !container.starts_with('.') && !container.contains('/');
    is_name.then_some((container, path))
}

/// What may follow `CONTAINER:PATH`, in whole.
pub(super) fn ask(session: &Session, typed: &str) -> Candidates {
    let Some((container, path)) = split(typed) else {
        return Candidates::new();
    };
    let (folder, _) = path.split_at(path.rfind('/').map_or(0, |at| at + 1));
    let url = Query::new(format!("/containers/{}/archive", encode(container)))
        .with("path", &format!("/{}", folder.trim_start_matches('/')));
    let answer = session.send("GET", url.text(), Body::Empty, Vec::new());
    let Ok(answer) = answer.and_then(|answer| answer.successful()) else {
        return Candidates::new();
    };
    let names = names(BufReader::with_capacity(1 << 16, answer), PATIENCE);
    let before = match path {
        "" => format!("{container}:/"),
        _ => format!("{container}:{folder}"),
    };
    let whole = |(name, is_folder): (String, bool)| {
        let end = if is_folder { "/" } else { "" };
        (format!("{before}{name}{end}"), String::new())
    };
    names.into_iter().map(whole).collect()
}

/// The names in the folder that an archive begins with, and which of them are folders.
fn names(stream: impl std::io::BufRead, patience: Duration) -> BTreeMap<String, bool> {
    let end = Instant::now() + patience;
    let mut archive = Archive::new(stream);
    let mut top = None;
    let mut found = BTreeMap::new();
    while found.len() < MOST
        && Instant::now() < end
        && let Ok(Some(entry)) = archive.next_entry()
    {
        let Ok(path) = String::from_utf8(entry.path) else {
            continue;
        };
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        let depth = *top.get_or_insert(parts.len());
        if let [_, ..] = parts[..]
            && parts.len() == depth + 1
        {
            found.insert(parts[depth].to_owned(), entry.kind == Kind::Directory);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use archive::tar::{Content, Device, Entry, Time, Writer};

    use super::*;

    #[test]
    fn names_are_those_of_the_first_folder() {
        let archive = |top: &str| {
            let mut writer = Writer::new(Vec::new());
            for (name, kind) in [
                ("", Kind::Directory),
                ("deep", Kind::Directory),
                ("deep/er", Kind::Directory),
                ("deep/er/x", Kind::File),
                ("file", Kind::File),
            ] {
                let entry = Entry {
                    at: 0,
                    kind,
                    path: format!("{top}/{name}").into_bytes(),
                    link: Vec::new(),
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                    mtime: Time::default(),
                    size: 0,
                    content: Content::Plain,
                    device: Device::default(),
                    xattrs: Vec::new(),
                };
                writer.entry(&entry).unwrap();
            }
            writer.finish().unwrap()
        };
        for top in [".", "etc", "etc/x", ""] {
            let found = names(&archive(top)[..], PATIENCE);
            let expected = BTreeMap::from([("deep".to_owned(), true), ("file".to_owned(), false)]);
            assert_eq!(found, expected, "{top}");
        }
        assert!(names(&archive("etc")[..], Duration::ZERO).is_empty());
        assert!(names(&b"not an archive"[..], PATIENCE).is_empty());
    }

    #[test]
    fn a_path_here_is_no_container_s() {
        assert_eq!(split("web:/etc"), Some(("web", "/etc")));
        assert_eq!(split("web:"), Some(("web", "")));
        for typed in ["web", "./web:x", "a/b:c", ":x", ""] {
            assert_eq!(split(typed), None, "{typed}");
        }
    }
}

//! Paths of this host as `cp` takes them, and which name goes where.
//!
//! What a slash or a `/.` behind a path and a link in it mean is as in docker: behind a slash a link is followed, and what
//! it leads to keeps the link's name; `FOLDER/.` is what is in the folder.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use super::refused;
use crate::failure::Failure;

/// Links that lead to links.
const MAX_LINKS: usize = 10;

/// What is copied to a container.
pub(super) struct Source {
    /// Where it is.
    pub(super) path: String,
    /// What it is called in the archive, unless the destination gives it another name.
    pub(super) name: String,
    /// Whether it is a folder.
    pub(super) folder: bool,
}

impl Source {
    /// Finds an absolute path. Links on the way are followed, the last one if `follow` or a slash follows it.
    ///
    /// # Errors
    /// Docker's words for what is missing.
    pub(super) fn find(path: &str, follow: bool) -> Result<Source, Failure> {
        let (resolved, rebase) = if follow {
            rebase(path, &evaluate(path)?)
        } else {
            let slash = path.rfind('/').map_or(0, |slash| slash + 1);
            let (dir, base) = path.split_at(slash);
            let resolved = format!("{}/{base}", evaluate(dir)?.trim_end_matches('/'));
            let renamed = path.ends_with('/') && last(path) != last(&resolved);
            let rebase = renamed.then(|| last(path).to_owned());
            (resolved, rebase)
        };
        let found = std::fs::symlink_metadata(&resolved)
            .map_err(Failure::local(format!("lstat {resolved}")))?;
        Ok(Source {
            name: rebase.unwrap_or_else(|| split(&resolved).1),
            folder: found.is_dir(),
            path: resolved,
        })
    }
}

/// Where something is copied to.
pub(super) struct Target {
    /// Its path, links followed.
    pub(super) path: String,
    /// Whether it is a folder, if it is there.
    pub(super) folder: Option<bool>,
}

impl Target {
    /// Finds an absolute path on this host.
    ///
    /// # Errors
    /// Docker's words where not even its folder is there.
    pub(super) fn find(path: &str) -> Result<Target, Failure> {
        let mut path = path.to_owned();
        for _ in 0..=MAX_LINKS {
            let found = match std::fs::symlink_metadata(&path) {
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
                    let above = split(&path).0;
                    let stat = std::fs::metadata(&above);
                    let stat = stat.map_err(Failure::local(format!("stat {above}")))?;
                    return match stat.is_dir() {
                        true => Ok(Target { path, folder: None }),
                        false => Err(refused("not a directory")),
                    };
                }
                other => other.map_err(Failure::local(format!("lstat {path}")))?,
            };
            if !found.is_symlink() {
                let folder = Some(found.is_dir());
                return Ok(Target { path, folder });
            }
            let target =
                std::fs::read_link(&path).map_err(Failure::local(format!("readlink {path}")))?;
            path = join(&split(&path).0, &target.to_string_lossy());
        }
        Err(refused(format!("too many symlinks in {path}")))
    }

    /// The folder into which an archive of `name` goes, and what `name` is called there.
    ///
    /// # Errors
    /// Docker's words for what does not go together.
    pub(super) fn place(&self, folder: bool, name: &str) -> Result<(String, String), Failure> {
        let (above, base) = split(&self.path);
        match (self.folder, folder) {
            (Some(true), _) => Ok((self.path.clone(), name.to_owned())),
            (Some(false), true) => Err(refused("cannot copy directory")),
            (None, false) if asserts_folder(&self.path) => Err(refused("no such directory")),
            _ => Ok((above, base)),
        }
    }
}

/// Whether a path can only mean a folder.
pub(super) fn asserts_folder(path: &str) -> bool {
    path.ends_with('/') || last(path) == "."
}

/// The last name of a path; `.` for an empty one.
fn last(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        path => path.rsplit('/').next().unwrap_or(path),
    }
}

/// The folder of a path and the last name in it; of `FOLDER/.` that is the folder and `.`.
pub(super) fn split(path: &str) -> (String, String) {
    let clean = clean(path);
    if last(path) == "." {
        return (clean, ".".to_owned());
    }
    let base = last(&clean).to_owned();
    let above = match clean.rfind('/') {
        Some(0) => "/".to_owned(),
        Some(slash) => clean[..slash].to_owned(),
        None => ".".to_owned(),
    };
    (above, base)
}

/// A path without what means nothing in it.
fn clean(path: &str) -> String {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match (component, clean.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(clean.pop()),
            (component, _) => clean.push(component),
        }
    }
    match clean.to_string_lossy() {
        empty if empty.is_empty() => ".".to_owned(),
        path => path.into_owned(),
    }
}

/// A path seen from a folder.
pub(super) fn join(folder: &str, path: &str) -> String {
    clean(&Path::new(folder).join(path).to_string_lossy())
}

/// The absolute path, with the slash or `/.` behind it.
///
/// # Errors
/// When the working folder is gone.
pub(super) fn absolute(path: &str) -> Result<String, Failure> {
    let here = std::env::current_dir().map_err(Failure::local("getwd"))?;
    let mut absolute = join(&here.to_string_lossy(), path);
    let dotted = last(path) == ".";
    if dotted || path.ends_with('/') {
        if !absolute.ends_with('/') {
            absolute.push('/');
        }
        if dotted {
            absolute.push('.');
        }
    }
    Ok(absolute)
}

/// A path whose last link was followed, with the end of the path as it was given, and the name that it had before, if
/// that was another.
pub(super) fn rebase(path: &str, followed: &str) -> (String, Option<String>) {
    let mut followed = followed.to_owned();
    if last(path) == "." && last(&followed) != "." {
        followed.push_str("/.");
    }
    if path.ends_with('/') && !followed.ends_with('/') {
        followed.push('/');
    }
    let name = last(path);
    let renamed = (name != last(&followed)).then(|| name.to_owned());
    (followed, renamed)
}

/// The path with all links followed.
fn evaluate(path: &str) -> Result<String, Failure> {
    match std::fs::canonicalize(path) {
        Ok(path) => Ok(path.to_string_lossy().into_owned()),
        Err(fault) if fault.kind() == io::ErrorKind::NotADirectory => {
            Err(refused("not a directory"))
        }
        Err(fault) => {
            let missing = missing(Path::new(path));
            Err(Failure::local(format!("lstat {}", missing.display()))(
                fault,
            ))
        }
    }
}

/// The first part of a path that is not there, behind links too.
fn missing(path: &Path) -> PathBuf {
    let mut path = PathBuf::from(clean(&path.to_string_lossy()));
    for _ in 0..MAX_LINKS {
        let mut parts: Vec<&Path> = path.ancestors().collect();
        parts.reverse();
        let gone = parts
            .into_iter()
            .find(|part| std::fs::metadata(part).is_err());
        let Some(gone) = gone else { break };
        let Ok(target) = std::fs::read_link(gone) else {
            return gone.to_owned();
        };
        let above = gone.parent().unwrap_or(Path::new("/"));
        path = join(&above.to_string_lossy(), &target.to_string_lossy()).into();
    }
    path
}

/// Refuses a destination on this host that nothing can be copied to.
///
/// # Errors
/// Docker's words.
pub(super) fn check_output(path: &str) -> Result<(), Failure> {
    let above = match Path::new(&clean(path)).parent() {
        Some(above) => above.to_owned(),
        None => PathBuf::from("/"),
    };
    if std::fs::metadata(&above).is_err_and(|fault| fault.kind() == io::ErrorKind::NotFound) {
        return Err(refused(format!(
            "invalid output path: directory {above:?} does not exist"
        )));
    }
    match std::fs::metadata(path) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(fault) => Err(Failure::local(format!("stat {path}"))(fault)),
        Ok(found) => {
            let kind = found.file_type();
            match kind.is_char_device() || kind.is_block_device() {
                true => Err(refused(format!(
                    "invalid output path: {path:?} must be a directory or a regular file: got a device"
                ))),
                false => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_docker_splits_them() {
        for (path, above, base) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/a", "/", "a"),
            ("a", ".", "a"),
            ("/", "/", "/"),
            ("a/../b", ".", "b"),
            ("", ".", "."),
        ] {
            assert_eq!(split(path), (above.to_owned(), base.to_owned()), "{path}");
        }
    }

    #[test]
    fn a_link_that_is_followed_keeps_its_name_and_end() {
        let of = |path: &str, followed: &str| rebase(path, followed);
        assert_eq!(of("/l", "/t"), ("/t".into(), Some("l".into())));
        assert_eq!(of("/l/", "/t"), ("/t/".into(), Some("l".into())));
        assert_eq!(of("/l/.", "/t"), ("/t/.".into(), None));
        assert_eq!(of("/x/l", "/y/l"), ("/y/l".into(), None));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("gone", top.join("link")).unwrap();
        std::fs::write(top.join("file"), "").unwrap();
        let told = |path: &str, follow| {
            let path = top.join(path).display().to_string();
            let failure = Source::find(&path, follow).err().unwrap().to_string();
            failure.replace(&top.display().to_string(), "TOP")
        };
        assert_eq!(told("a", false), "lstat TOP/a: no such file or directory");
        assert_eq!(told("a/b", false), "lstat TOP/a: no such file or directory");
        assert_eq!(
            told("link", true),
            "lstat TOP/gone: no such file or directory"
        );
        assert_eq!(told("file/", false), "not a directory");
    }
}

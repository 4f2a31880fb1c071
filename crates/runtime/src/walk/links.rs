//! Places that links lead to and that do not exist yet, found without the kernel's help and without an allocation.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::place::{find_without_links, make_one};
use crate::plan::TargetKind;

/// The longest path, with its end (`PATH_MAX`).
const LONGEST: usize = 4096;
/// Links that are followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// A path in a place of fixed size.
struct Text {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Text {
    const fn new() -> Self {
        Self {
            bytes: [0; LONGEST],
            length: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
        let end = self.length + more.len();
        // A byte is left for the end.
        if end >= LONGEST {
            return Err(Errno::NAMETOOLONG);
        }
        let place = self.bytes.get_mut(self.length..end);
        place.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(more);
        self.length = end;
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.length = length;
    }

    /// Runs `work` with the first `length` bytes as a path.
    fn with<T>(
        &mut self,
        length: usize,
        work: impl FnOnce(&CStr) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let end = self.bytes.get_mut(length).ok_or(Errno::NAMETOOLONG)?;
        let kept = std::mem::replace(end, 0);
        let path = self.bytes.get(..=length).unwrap_or_default();
        let done = CStr::from_bytes_with_nul(path)
            .map_err(|_| Errno::INVAL)
            .and_then(work);
        if let Some(end) = self.bytes.get_mut(length) {
            *end = kept;
        }
        done
    }
}

/// Makes what is missing of `path`, links followed within `root`, and opens its end.
pub(super) fn make(root: BorrowedFd<'_>, path: &CStr, kind: TargetKind) -> Result<OwnedFd, Errno> {
    let mut real = Text::new();
    resolve(root, path, &mut real)?;
    let mut reached: Option<OwnedFd> = None;
    let mut start = 0;
    while start < real.length {
        // Each component has its slash in front.
        let rest = real.bytes().get(start + 1..).unwrap_or_default();
        let name = rest.iter().position(|byte| *byte == b'/');
        let end = name.map_or(real.length, |length| start + 1 + length);
        let found = real.with(end, |path| find_without_links(root, path))?;
        reached = Some(match found {
            Some(found) => found,
            None => {
                let folder = reached.as_ref().map_or(root, AsFd::as_fd);
                let kind = if end == real.length {
                    kind
                } else {
                    TargetKind::Dir
                };
                real.with(end, |path| {
                    let name = path.to_bytes_with_nul().get(start + 1..);
                    let name = CStr::from_bytes_with_nul(name.unwrap_or_default());
                    make_one(folder, name.map_err(|_| Errno::INVAL)?, kind)
                })?
            }
        });
        start = end;
    }
    reached.ok_or(Errno::NOENT)
}

/// Writes to `real` where `path` leads: no links and no `..` are left in it. What is missing is taken as it is written.
fn resolve(root: BorrowedFd<'_>, path: &CStr, real: &mut Text) -> Result<(), Errno> {
    let (mut rest, mut next) = (Text::new(), Text::new());
    rest.push(path.to_bytes())?;
    let (mut at, mut followed) = (0, 0);
    while at < rest.length {
        let left = rest.bytes().get(at..).unwrap_or_default();
        let length = left.iter().position(|byte| *byte == b'/');
        let length = length.unwrap_or(left.len());
        let name = left.get(..length).unwrap_or_default();
        at += length + 1;
        match name {
            b"" | b"." => continue,
            b".." => {
                let above = real.bytes().iter().rposition(|byte| *byte == b'/');
                real.truncate(above.unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let before = real.length;
        real.push(b"/")?;
        real.push(name)?;
        let mut target = [MaybeUninit::uninit(); LONGEST];
        let Some(target) = read_link(root, real, &mut target)? else {
            continue;
        };
        followed += 1;
        if followed > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        real.truncate(if target.starts_with(b"/") { 0 } else { before });
        next.truncate(0);
        next.push(target)?;
        next.push(b"/")?;
        next.push(rest.bytes().get(at..).unwrap_or_default())?;
        std::mem::swap(&mut rest, &mut next);
        at = 0;
    }
    Ok(())
}

/// What a link says; `None` for what is missing or no link.
fn read_link<'b>(
    root: BorrowedFd<'_>,
    path: &mut Text,
    target: &'b mut [MaybeUninit<u8>; LONGEST],
) -> Result<Option<&'b [u8]>, Errno> {
    let length = path.length;
    let place = path.with(length, |path| {
        match sys::mount::place_in(root, path, OFlags::NOFOLLOW) {
            Ok(place) => Ok(Some(place)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    })?;
    let Some(place) = place else {
        return Ok(None);
    };
    // An empty path reads the link that is open; EINVAL and ENOENT tell that it is none.
    match rustix::fs::readlinkat_raw(&place, c"", &mut target[..]) {
        Ok((text, _)) if text.len() == LONGEST => Err(Errno::NAMETOOLONG),
        Ok((text, _)) => Ok(Some(text)),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Where `path` leads, as [`make`] reads it.
#[cfg(any(test, fuzzing))]
pub(crate) fn real(root: BorrowedFd<'_>, path: &CStr) -> Result<Vec<u8>, Errno> {
    let mut real = Text::new();
    resolve(root, path, &mut real)?;
    Ok(real.bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_within_the_root() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("a/b")).unwrap();
        for (says, path) in [
            ("/run", "var-run"),
            ("../../../../over", "a/b/up"),
            ("/a/./b/up/x", "chain"),
            ("loop", "loop"),
        ] {
            symlink(says, at(path)).unwrap();
        }
        let opened = std::fs::File::open(root.path()).unwrap();
        let real =
            |path: &CStr| real(opened.as_fd(), path).map(|real| String::from_utf8(real).unwrap());
        assert_eq!(real(c"/var-run/x/y").unwrap(), "/run/x/y");
        assert_eq!(real(c"/a/b/up").unwrap(), "/over");
        assert_eq!(real(c"/chain/../z").unwrap(), "/over/z");
        assert_eq!(real(c"/missing/../..//a/").unwrap(), "/a");
        assert_eq!(real(c"/loop/x"), Err(Errno::LOOP));
        make(opened.as_fd(), c"/chain", TargetKind::File).unwrap();
        assert!(at("over/x").is_file());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 5);
    }
}

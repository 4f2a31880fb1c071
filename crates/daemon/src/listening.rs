//! Who listens on a unix socket, found out without a connection: one would wake a daemon that its service manager starts
//! for the first caller.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The kernel's list of the unix sockets of this network namespace, one a line.
const SOCKETS: &str = "/proc/net/unix";
/// The list is read up to this size: some hundred thousand sockets.
const LIMIT: u64 = 64 << 20;
/// The flag of a socket that listens: the kernel's `__SO_ACCEPTCON`.
const LISTENS: u32 = 1 << 16;

/// Whether a socket of this network namespace listens at `path`, a link to its file included. False says nothing: it may
/// be a socket of another namespace, or one whose file was renamed. One whose file was replaced by another still counts.
///
/// # Errors
/// When the kernel's list can not be read, or `path` leads nowhere.
pub(crate) fn is_listening(path: &Path) -> io::Result<bool> {
    let path = fs::canonicalize(path)?;
    let wanted = fs::metadata(&path)?;
    let list = BufReader::new(fs::File::open(SOCKETS)?.take(LIMIT));
    for line in list.split(b'\n') {
        let line = line?;
        // A relative one belongs to a folder that nobody knows.
        let Some(name) = listening_name(&line).filter(|name| name.is_absolute()) else {
            continue;
        };
        let is_same =
            |found: fs::Metadata| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino());
        if name.file_name() == path.file_name() && fs::metadata(name).is_ok_and(is_same) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The path of a line's socket, if that is one that listens: `Num RefCount Protocol Flags Type St Inode Path`.
fn listening_name(line: &[u8]) -> Option<&Path> {
    let mut rest = line;
    let mut flags = 0;
    for place in 0..7 {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|&byte| byte == b' ')?;
        if place == 3 {
            let word = std::str::from_utf8(&rest[..end]).ok()?;
            flags = u32::from_str_radix(word, 16).ok()?;
        }
        rest = &rest[end..];
    }
    // One blank, and what follows is the name, with whatever blanks it has.
    let name = rest.strip_prefix(b" ")?;
    (flags & LISTENS != 0).then(|| Path::new(std::ffi::OsStr::from_bytes(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn lines_are_read() {
        let read = |line: &str| listening_name(line.as_bytes()).map(Path::to_owned);
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 29315 /run/a b.sock";
        assert_eq!(read(line).unwrap(), Path::new("/run/a b.sock"));
        assert_eq!(read(&line.replace("00010000", "00000000")), None);
        for short in [
            "",
            "Num       RefCount Protocol Flags    Type St Inode Path",
            "1: 2 3 00010000 1 1 9",
        ] {
            assert_eq!(read(short), None, "{short}");
        }
    }

    #[test]
    fn a_listener_is_found_by_any_of_its_names_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("s"), folder.path().join("deep"));
        let listener = UnixListener::bind(&path).unwrap();
        std::os::unix::fs::symlink(folder.path(), &other).unwrap();
        assert!(is_listening(&path).unwrap());
        assert!(is_listening(&other.join("s")).unwrap());
        // Not one that speaks over it, nor another of the same name elsewhere.
        let _caller = UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!is_listening(&path).unwrap());
        let elsewhere = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(elsewhere.path().join("s")).unwrap();
        assert!(!is_listening(&path).unwrap());
        fs::remove_file(&path).unwrap();
        is_listening(&path).unwrap_err();
    }
}

//! Files of the client's configuration: read up to a limit, and put in the place of the old one when they are whole.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Configuration files larger than this are not read.
const LIMIT: u64 = 4 << 20;

/// A file's content.
///
/// # Errors
/// That it is not there, larger than 4 MiB, or what the kernel says.
pub(crate) fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?
        .take(LIMIT + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 4 MiB",
        ));
    }
    Ok(text)
}

/// The same; nothing when there is no such file.
///
/// # Errors
/// As [`content`], but for a file that is not there.
pub(crate) fn content_if_there(path: &Path) -> io::Result<Vec<u8>> {
    match content(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// Writes a file anew beside the old one, and puts it in its place when it is whole. A link is followed; the mode of a
/// file that is there stays.
///
/// # Errors
/// What the kernel says; what was there before still is.
pub(crate) fn replace(named: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let path = fs::canonicalize(named).unwrap_or_else(|_| named.to_owned());
    let mode = fs::metadata(&path).map_or(mode, |meta| meta.permissions().mode() & 0o777);
    let beside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

//! What an entry holds: bytes and extended attributes.

use std::ffi::{CStr, CString};
use std::io::{self, BufRead};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs;
use rustix::io::Errno;

use super::folders::DEFAULT_ACL;
use super::path::c_name;
use crate::error::path_of;
use crate::tar::{Archive, Content, Entry, TarError};
use crate::whiteout;

/// Content is read from the archive; everything else is a matter of the file system.
pub(super) enum Fault {
    Archive(TarError),
    Io(io::Error),
    /// More than this many bytes of the layers below would have been copied.
    Copied(u64),
}

impl From<io::Error> for Fault {
    fn from(fault: io::Error) -> Self {
        Self::Io(fault)
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<TarError> for Fault {
    fn from(fault: TarError) -> Self {
        Self::Archive(fault)
    }
}

/// Writes the bytes of a regular file, which is empty and open; holes stay holes.
pub(super) fn write_content(
    file: &OwnedFd,
    entry: &Entry,
    archive: &mut Archive<impl BufRead>,
) -> Result<(), Fault> {
    let pieces = match &entry.content {
        Content::Plain => &[(0, u64::MAX)][..],
        Content::Pieces(pieces) => &pieces[..],
    };
    for &(offset, mut left) in pieces {
        let mut at = offset;
        while left > 0 {
            let chunk = archive.chunk(left)?;
            if chunk.is_empty() {
                break;
            }
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, chunk, at))?;
            if written == 0 {
                return Err(Errno::IO.into());
            }
            archive.consume(written);
            at += written as u64;
            left -= written as u64;
        }
    }
    if matches!(entry.content, Content::Pieces(_)) {
        // A hole at the end has nothing that would be written.
        fs::ftruncate(file, entry.size)?;
    }
    Ok(())
}

/// Attributes that could not be set: told once a layer, since an image decides how many there are.
#[derive(Default)]
pub(super) struct Unkept {
    count: u64,
    /// The first one's entry and name.
    first: Option<(PathBuf, CString)>,
}

impl Unkept {
    fn note(&mut self, entry: &Entry, name: &CStr) {
        self.count += 1;
        self.first
            .get_or_insert_with(|| (path_of(&entry.path), name.to_owned()));
    }

    /// Warns if there were any.
    pub(super) fn tell(&self, layer: u64) {
        if let Some((entry, name)) = &self.first {
            tracing::warn!(
                layer,
                count = self.count,
                ?entry,
                ?name,
                "extended attributes cannot be kept here; the first is named"
            );
        }
    }
}

/// Sets the attributes of an entry, except overlayfs's own (they would change what the layer means) and inherited
/// lists, which come last. What this file system or kind of file cannot hold is left out and noted, as other
/// engines do: images carry attributes of the machines where they were built.
pub(super) fn set_xattrs(
    entry: &Entry,
    unkept: &mut Unkept,
    set: impl Fn(&CStr, &[u8]) -> io::Result<()>,
) -> Result<(), Fault> {
    for (name, value) in &entry.xattrs {
        if whiteout::is_overlay_xattr(name) || name == DEFAULT_ACL {
            continue;
        }
        let name = c_name(name)?;
        match set(&name, value) {
            Err(fault)
                if matches!(
                    Errno::from_io_error(&fault),
                    Some(Errno::OPNOTSUPP | Errno::PERM)
                ) =>
            {
                unkept.note(entry, &name);
            }
            other => other?,
        }
    }
    Ok(())
}

//! Extended attributes, by descriptor of the folder and name of the entry.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs;
use rustix::io::Errno;

use super::entry_path;

/// The longest value that the kernel takes (XATTR_SIZE_MAX).
pub const MAX_XATTR_VALUE: usize = 65536;
/// The longest list of names that the kernel gives (XATTR_LIST_MAX).
pub const MAX_XATTR_LIST: usize = 65536;

/// The extended attributes of one entry of an open folder; a symbolic link is not followed.
///
/// The name is one component. It goes through `/proc/self/fd/N/NAME`, since the kernel got calls with a folder's
/// descriptor only in 6.13.
#[derive(Debug)]
pub struct Xattrs {
    path: CString,
}

impl Xattrs {
    /// Those of `name` in `dir`; an empty name is the folder itself.
    pub fn of(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Self> {
        if name.to_bytes().contains(&b'/') {
            return Err(Errno::INVAL.into());
        }
        let mut path = entry_path(dir, name);
        if name.is_empty() {
            // Without the dot the last component would be the magic link itself.
            path.push(b'.');
        }
        Ok(Self {
            path: CString::new(path)?,
        })
    }

    /// The names, sorted. A file system without extended attributes has none.
    pub fn names(&self) -> io::Result<Vec<CString>> {
        let mut list = [0u8; 1024];
        let owned;
        let bytes = match fs::llistxattr(&*self.path, &mut list[..]) {
            Ok(length) => &list[..length],
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(Errno::RANGE) => {
                let mut long = vec![0u8; MAX_XATTR_LIST];
                let length = fs::llistxattr(&*self.path, &mut long[..])?;
                long.truncate(length);
                owned = long;
                &owned[..]
            }
            Err(errno) => return Err(errno.into()),
        };
        let mut names: Vec<CString> = bytes
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .map(CString::new)
            .collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    }

    /// The value, or nothing when there is no such attribute.
    pub fn get(&self, name: &CStr) -> io::Result<Option<Vec<u8>>> {
        let mut value = vec![0u8; 256];
        loop {
            match fs::lgetxattr(&*self.path, name, &mut value[..]) {
                Ok(length) => {
                    value.truncate(length);
                    return Ok(Some(value));
                }
                Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
                Err(Errno::RANGE) if value.len() < MAX_XATTR_VALUE => {
                    value.resize(MAX_XATTR_VALUE, 0)
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sets or replaces an attribute.
    pub fn set(&self, name: &CStr, value: &[u8]) -> io::Result<()> {
        Ok(fs::lsetxattr(
            &*self.path,
            name,
            value,
            fs::XattrFlags::empty(),
        )?)
    }

    /// Removes an attribute; that there is none is no error.
    pub fn remove(&self, name: &CStr) -> io::Result<()> {
        match fs::lremovexattr(&*self.path, name) {
            Err(Errno::NODATA) => Ok(()),
            other => Ok(other?),
        }
    }
}

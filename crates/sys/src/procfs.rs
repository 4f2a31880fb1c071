//! Files of procfs, which have no size.
//!
//! The standard library asks for the size, and goes on with the 32 bytes that a file without one might have, doubled
//! until the end: eight calls for what the kernel gives in two, and it makes some of these texts anew for each.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What the kernel gives at a time, at most, of the files that are lists.
const PIECE: usize = 4096;

/// The whole of a file, a piece at a time.
///
/// # Errors
/// As open(2) and read(2).
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_open(File::open(path)?)
}

/// As [`read`], of a file that is open.
///
/// # Errors
/// As read(2).
pub fn read_open(mut file: File) -> io::Result<Vec<u8>> {
    let mut text = vec![0; PIECE];
    let mut length = 0;
    loop {
        if text.len() - length < PIECE {
            text.resize(length + PIECE, 0);
        }
        match file.read(text.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(length);
    Ok(text)
}

/// As [`read`], of a file that is text.
///
/// # Errors
/// As [`read`], and `InvalidData` for what is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_read_whole() {
        // This program is longer than a few pieces, and no text.
        let path = std::env::current_exe().unwrap();
        assert!(read(&path).unwrap() == std::fs::read(&path).unwrap());
        assert_eq!(
            read_text(&path).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert!(read("/dev/null").unwrap().is_empty());
        let text = read_text("/proc/self/status").unwrap();
        assert!(text.starts_with("Name:") && text.ends_with('\n'));
        assert_eq!(
            read("/proc/self/nothing").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}

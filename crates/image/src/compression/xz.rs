//! Streams of xz: how large a window they ask for, and what their decoder says in our words.
//!
//! The format: <https://tukaani.org/xz/xz-file-format.txt>.

use std::io::{self, BufRead, Read};

use lzma_rust2::XzReader;

use super::window::{self, Claim, PacedBy};

/// The stream's header, behind which the first block begins.
const STREAM_HEADER: usize = 12;
/// What a decoder needs beside its window, in KiB: far less than the next larger window would
/// take.
const OVERHEAD_KIB: u32 = 1024;
const LZMA2: u64 = 0x21;

/// A decoder of an xz stream.
pub(super) struct Decoder<R: Read> {
    inner: XzReader<R>,
    limit_mib: u32,
    _claim: Option<Claim>,
}

/// The largest window of a stream which begins like this, and the claim that goes with it. May
/// wait for another stream.
///
/// # Errors
/// The stream needs more than any may have.
pub(super) fn claim(start: &[u8], paced_by: PacedBy) -> io::Result<(u32, Option<Claim>)> {
    window::claim_for("xz", first_window(start).unwrap_or(0), paced_by)
}

impl<R: BufRead> Decoder<R> {
    /// None of the stream's blocks gets a larger window than this.
    pub(super) fn new(inner: R, window_log: u32, claim: Option<Claim>) -> Decoder<R> {
        let limit_kib = (1 << (window_log - 10)) + OVERHEAD_KIB;
        Decoder {
            inner: XzReader::new_mem_limit(inner, true, limit_kib),
            limit_mib: 1 << (window_log - 20),
            _claim: claim,
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            if error.kind() != io::ErrorKind::OutOfMemory {
                return error;
            }
            let told = format!(
                "a block of the xz stream needs a window of more than {} MiB",
                self.limit_mib
            );
            io::Error::new(io::ErrorKind::InvalidData, told)
        })
    }
}

/// The window in bytes that a stream's first block asks for; `None` if the beginning does not
/// tell.
fn first_window(start: &[u8]) -> Option<u64> {
    let block = start.get(STREAM_HEADER..)?;
    let (&length, rest) = block.split_first()?;
    if length == 0 {
        return None;
    }
    let (&flags, mut rest) = rest.split_first()?;
    // Lengths of the content, packed and not, may stand in front of the filters.
    for present in [0x40, 0x80] {
        if flags & present != 0 {
            (_, rest) = number(rest)?;
        }
    }
    for _ in 0..=(flags & 3) {
        let (filter, after) = number(rest)?;
        let (length, after) = number(after)?;
        let properties = after.get(..usize::try_from(length).ok()?)?;
        if filter == LZMA2 {
            return Some(dictionary(*properties.first()?));
        }
        rest = &after[properties.len()..];
    }
    None
}

/// The size that the one byte of LZMA2's properties means.
fn dictionary(code: u8) -> u64 {
    match code & 0x3f {
        bits @ 0..40 => (2 | u64::from(bits & 1)) << (bits / 2 + 11),
        _ => u64::from(u32::MAX),
    }
}

/// A number of variable length, seven bits a byte, the lowest first; and what follows.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// Packs by Debian's own program.
    pub(in super::super) fn packed(program: &str, flags: &[&str], content: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(flags)
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let content = content.to_vec();
        let writing = std::thread::spawn(move || stdin.write_all(&content).unwrap());
        let done = child.wait_with_output().unwrap();
        writing.join().unwrap();
        assert!(done.status.success());
        done.stdout
    }

    #[test]
    fn windows_are_read_as_they_are_written() {
        for (flags, mib) in [
            (&["-0"][..], 0),
            (&["-6"], 8),
            (&["-9"], 64),
            (&["--x86", "--lzma2=dict=16MiB"], 16),
            (&["--delta", "--x86", "--lzma2=dict=1536MiB"], 1536),
        ] {
            let packed = packed("xz", flags, b"content");
            assert_eq!(first_window(&packed).unwrap() >> 20, mib, "{flags:?}");
        }
        let packed = packed("xz", &["-6"], b"content");
        for cut in 0..STREAM_HEADER + 4 {
            assert_eq!(first_window(&packed[..cut]), None);
        }
        assert_eq!(first_window(&super::tests::packed("xz", &[], b"")), None);
        assert_eq!(first_window(&[0xff; 64]), None);
    }

    #[test]
    fn no_block_has_a_larger_window_than_the_first_may() {
        let large = packed("xz", &["--lzma2=dict=256MiB"], b"content");
        let told = claim(&large, PacedBy::Disk).err().unwrap().to_string();
        assert_eq!(
            told,
            "the xz stream needs a window of 268435456 bytes, at most 134217728 are given"
        );
        let growing = [
            packed("xz", &["-6"], b"one "),
            packed("xz", &["-9"], b"two"),
        ]
        .concat();
        let mut out = Vec::new();
        let mut decoder = Decoder::new(&growing[..], 23, None);
        let error = decoder.read_to_end(&mut out).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a block of the xz stream needs a window of more than 8 MiB"
        );
    }
}

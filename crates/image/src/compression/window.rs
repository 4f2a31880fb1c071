//! How much memory a Zstandard or xz stream needs to be read, and who may have much of it.
//!
//! A decoder keeps a window of what it has decoded, whose size the stream chooses. Most choose
//! 8 MiB or less, and that every stream may have. Up to 128 MiB, which `zstd --ultra`, its
//! `--long` and `xz -9` choose, are given to one stream at a time; others wait for it. So all streams that
//! are read together take at most 8 MiB each, and twice 128 MiB. A client that does not send, or
//! take, what such a stream is about gives way to others ([`crate::pace`]).

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// 8 MiB: what every decoder should support (RFC 8878, section 3.1.1.1.2), and what levels up
/// to 19 need.
const SMALL_LOG: u32 = 23;
/// 128 MiB: what zstd's own program reads without being told to.
const LARGE_LOG: u32 = 27;

/// Who decides how fast a stream is read. Streams that clients hold up do not hold up others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacedBy {
    /// We do: it comes from the disk and goes to the disk.
    Disk,
    /// A client sends or takes it, and may stop.
    Client,
}

/// A large window's worth of memory.
pub(crate) struct Room {
    state: Mutex<State>,
    free: Condvar,
}

struct State {
    taken: bool,
    waiting: usize,
}

impl Room {
    const fn new() -> Room {
        Room {
            state: Mutex::new(State {
                taken: false,
                waiting: 0,
            }),
            free: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().waiting > 0
    }

    /// Waits until nobody else has it. Blocks.
    fn take(&'static self) -> Claim {
        let mut state = self.lock();
        state.waiting += 1;
        let free = self.free.wait_while(state, |state| state.taken);
        state = free.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.taken = true;
        Claim(self)
    }
}

static DISK: Room = Room::new();
static CLIENT: Room = Room::new();

/// The right to a large window; given back when it is dropped.
pub(super) struct Claim(&'static Room);

impl Claim {
    pub(super) fn room(&self) -> &'static Room {
        self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.lock().taken = false;
        self.0.free.notify_one();
    }
}

/// The largest window that a Zstandard stream which begins like this may have, as its binary
/// logarithm, and the claim that goes with it. Its later frames have no more either. May wait for
/// another stream.
///
/// # Errors
/// The stream needs more than any may have.
pub(super) fn claim(start: &[u8], paced_by: PacedBy) -> io::Result<(u32, Option<Claim>)> {
    claim_for("Zstandard", first_window(start).unwrap_or(0), paced_by)
}

/// [`claim`] for a stream of any kind whose first window is known.
pub(super) fn claim_for(
    kind: &str,
    window: u64,
    paced_by: PacedBy,
) -> io::Result<(u32, Option<Claim>)> {
    if window <= 1 << SMALL_LOG {
        return Ok((SMALL_LOG, None));
    }
    if window > 1 << LARGE_LOG {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the {kind} stream needs a window of {window} bytes, at most {} are given",
                1 << LARGE_LOG
            ),
        ));
    }
    let room = match paced_by {
        PacedBy::Disk => &DISK,
        PacedBy::Client => &CLIENT,
    };
    Ok((LARGE_LOG, Some(room.take())))
}

/// The window in bytes that a stream's first frame with content asks for (RFC 8878, section
/// 3.1.1.1); `None` if the beginning does not tell.
fn first_window(start: &[u8]) -> Option<u64> {
    let mut rest = start;
    loop {
        let (magic, after) = rest.split_first_chunk::<4>()?;
        match magic {
            [0x28, 0xb5, 0x2f, 0xfd] => return window(after),
            [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                let (length, after) = after.split_first_chunk::<4>()?;
                rest = after.get(usize::try_from(u32::from_le_bytes(*length)).ok()?..)?;
            }
            _ => return None,
        }
    }
}

/// The window of the frame whose header follows.
fn window(header: &[u8]) -> Option<u64> {
    let (&descriptor, rest) = header.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let &window = rest.first()?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // The window is the content, whose length stands behind the dictionary's number.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let rest = rest.get(dictionary..)?;
    Some(match descriptor >> 6 {
        0 => u64::from(*rest.first()?),
        1 => u64::from(u16::from_le_bytes(*rest.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*rest.first_chunk()?)),
        _ => u64::from_le_bytes(*rest.first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(window_log: u32, pledged: Option<u64>) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.set_pledged_src_size(pledged).unwrap();
        let content = vec![0; pledged.unwrap_or(10) as usize];
        encoder.write_all(&content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn windows_are_read_as_they_are_written() {
        for log in [10, 17, 23, 24, 27] {
            assert_eq!(first_window(&packed(log, None)), Some(1 << log));
        }
        // With a known length the content is its own window.
        for length in [20, 300, 70_000, 9 << 20] {
            assert_eq!(first_window(&packed(27, Some(length))), Some(length));
        }
        let behind = [
            &[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..],
            &packed(25, None),
        ]
        .concat();
        assert_eq!(first_window(&behind), Some(1 << 25));
        for cut in 0..6 {
            assert_eq!(first_window(&packed(25, None)[..cut]), None);
        }
        assert_eq!(first_window(b"plain text"), None);
    }

    #[test]
    fn large_windows_wait_for_each_other_and_small_ones_for_nobody() {
        let (small, large) = (packed(23, None), packed(27, None));
        let (log, first) = claim(&large, PacedBy::Disk).unwrap();
        assert_eq!(log, 27);
        assert!(claim(&small, PacedBy::Disk).unwrap().1.is_none());
        assert!(claim(&large, PacedBy::Client).unwrap().1.is_some());
        let (told, hears) = std::sync::mpsc::channel();
        let second = std::thread::spawn(move || {
            let claimed = claim(&large, PacedBy::Disk).unwrap();
            told.send(()).unwrap();
            drop(claimed);
        });
        let waited = std::time::Duration::from_millis(50);
        hears.recv_timeout(waited).unwrap_err();
        assert!(first.as_ref().unwrap().room().is_wanted());
        drop(first);
        hears.recv().unwrap();
        second.join().unwrap();
    }

    #[test]
    fn a_window_beyond_all_bounds_is_refused() {
        let mut start = packed(27, None);
        // The descriptor of 256 MiB.
        start[5] = (28 - 10) << 3;
        let told = claim(&start, PacedBy::Disk).err().unwrap().to_string();
        assert_eq!(
            told,
            "the Zstandard stream needs a window of 268435456 bytes, at most 134217728 are given"
        );
    }
}

//! The least pace of a client that holds something for which others wait.
//!
//! An archive comes from a client, or goes to one, which may stop in the middle of it: a terminal that was stopped, a
//! pipe whose other end does something else. That is no fault, until somebody waits for what its archive holds, a
//! thread or much memory. Then who moves nothing gives way.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// The time in which the least must be moved, spent in waiting for the client.
const PERIOD: Duration = Duration::from_secs(10);
/// The least, in bytes.
const LEAST: u64 = 64 << 10;

/// A stream whose other end is a client. Where that does not move for a moment, reading and writing may answer
/// [`io::ErrorKind::WouldBlock`] instead of waiting on, with nothing moved; then whoever holds something looks whether
/// somebody waits for it, and asks again.
#[derive(Debug)]
pub struct Paced<T, W> {
    inner: T,
    wanted: W,
    period: Duration,
    waited: Duration,
    moved: u64,
}

impl<T, W: Fn() -> bool> Paced<T, W> {
    /// `wanted` says whether somebody waits for what is held. Reading and writing then fail with
    /// [`io::ErrorKind::TimedOut`] once less than 64 KiB were moved in ten seconds.
    pub fn new(inner: T, wanted: W) -> Paced<T, W> {
        Paced {
            inner,
            wanted,
            period: PERIOD,
            waited: Duration::ZERO,
            moved: 0,
        }
    }

    fn watch(&mut self, act: impl FnOnce(&mut T) -> io::Result<usize>) -> io::Result<usize> {
        let begun = Instant::now();
        let outcome = act(&mut self.inner);
        self.waited += begun.elapsed();
        self.moved += outcome.as_ref().map_or(0, |&count| count as u64);
        if self.waited >= self.period {
            let behind = self.moved < LEAST;
            if behind && (self.wanted)() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "less than {} KiB came through in {} seconds, and others wait for their turn",
                        LEAST >> 10,
                        self.period.as_secs()
                    ),
                ));
            }
            // Who is behind stays so until it moves: the next who wants it need not wait for a whole period.
            if !behind {
                (self.waited, self.moved) = (Duration::ZERO, 0);
            }
        }
        outcome
    }
}

impl<T: Read, W: Fn() -> bool> Read for Paced<T, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch(|inner| inner.read(buffer))
    }
}

impl<T: Write, W: Fn() -> bool> Write for Paced<T, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watch(|inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.watch(|inner| inner.flush().map(|()| 0)).map(drop)
    }
}

/// Asks again for as long as a stream answers that it would block.
#[derive(Debug)]
pub struct Patient<T>(pub T);

impl<T> Patient<T> {
    fn repeat<R>(&mut self, mut act: impl FnMut(&mut T) -> io::Result<R>) -> io::Result<R> {
        loop {
            match act(&mut self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }
}

impl<T: Read> Read for Patient<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.repeat(|inner| inner.read(buffer))
    }
}

impl<T: Write> Write for Patient<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.repeat(|inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.repeat(T::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(2);

    /// Waits a moment, then gives as much as it has for one piece.
    struct Slow(usize);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(MOMENT);
            match self.0 {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                count => Ok(count.min(buffer.len())),
            }
        }
    }

    fn paced<W: Fn() -> bool>(piece: usize, wanted: W) -> Paced<Slow, W> {
        Paced {
            period: MOMENT * 4,
            ..Paced::new(Slow(piece), wanted)
        }
    }

    #[test]
    fn who_stalls_gives_way_when_somebody_waits_and_not_before() {
        let wanted = Cell::new(false);
        let mut stream = paced(0, || wanted.get());
        for _ in 0..20 {
            let error = stream.read(&mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        wanted.set(true);
        let error = Patient(stream).read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn who_moves_enough_keeps_what_it_holds_and_who_drips_does_not() {
        let mut fast = paced(LEAST as usize, || true);
        let mut buffer = vec![0; LEAST as usize];
        for _ in 0..20 {
            assert_eq!(fast.read(&mut buffer).unwrap(), buffer.len());
        }
        let mut drips = paced(1, || true);
        let failed = (0..20).find_map(|_| drips.read(&mut buffer).err());
        assert_eq!(failed.unwrap().kind(), io::ErrorKind::TimedOut);
    }
}

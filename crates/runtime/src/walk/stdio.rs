//! Standard input, output and error.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, Uid};
use rustix::io::Errno;

use super::{At, Walk};
use crate::fault::{Fault, Step};
use crate::spawn::Stream;

/// Numbers of the null device.
const NULL_DEVICE: u64 = libc::makedev(1, 3);

impl Walk<'_> {
    /// Puts the program's streams where it looks for them. The terminal, where there is one, is all three.
    pub(super) fn place_streams(&self) -> Result<(), Fault> {
        if let Some(terminal) = &self.terminal {
            sys::process::set_controlling_terminal(terminal.as_fd()).at(Step::Terminal)?;
            for target in 0..3 {
                place(terminal.as_fd(), target).at_index(Step::Stdio, target as usize)?;
            }
            return self.give_streams();
        }
        let stdio = &self.supply.stdio;
        let streams = [stdio.stdin, stdio.stdout, stdio.stderr];
        // A stream whose number is the place of another would be lost: such ones move out of the way first.
        let mut moved: [Option<OwnedFd>; 3] = [None, None, None];
        for (target, (stream, place)) in streams.iter().zip(&mut moved).enumerate() {
            *place = match stream {
                Stream::Inherit => None,
                Stream::Null => Some(self.open_null().at_index(Step::Stdio, target)?),
                Stream::Fd(fd) if fd.as_raw_fd() < 3 && fd.as_raw_fd() as usize != target => {
                    Some(above(*fd).at_index(Step::Stdio, target)?)
                }
                Stream::Fd(_) => None,
            };
        }
        for (target, (stream, moved)) in streams.iter().zip(&moved).enumerate() {
            let fd = match (moved, stream) {
                (Some(moved), _) => moved.as_fd(),
                (None, Stream::Fd(fd)) => *fd,
                (None, _) => continue,
            };
            place(fd, target as i32).at_index(Step::Stdio, target)?;
        }
        self.give_streams()
    }

    /// Opens the container's null device, which has to be one.
    fn open_null(&self) -> Result<OwnedFd, Errno> {
        let null = sys::mount::open_in(self.root()?, c"/dev/null", OFlags::RDWR)?;
        let null = if null.as_raw_fd() < 3 {
            above(null.as_fd())?
        } else {
            null
        };
        let stat = rustix::fs::fstat(&null)?;
        if is_null_device(&stat) {
            Ok(null)
        } else {
            Err(Errno::NXIO)
        }
    }

    /// Gives pipes and the container's own terminal to the user, who could not open them again by /proc/self/fd otherwise.
    /// Files and terminals of whoever called stay theirs.
    fn give_streams(&self) -> Result<(), Fault> {
        if self.process.uid == 0 {
            return Ok(());
        }
        for number in 0..3 {
            // SAFETY: the numbers are the program's streams, which nothing closes before execve; one that is not open
            // only makes the calls fail.
            let stream = unsafe { BorrowedFd::borrow_raw(number) };
            let Ok(stat) = rustix::fs::fstat(stream) else {
                continue;
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_given = self.terminal.is_some() || kind == FileType::Fifo;
            if !is_given || is_null_device(&stat) || stat.st_uid == self.process.uid {
                continue;
            }
            match rustix::fs::fchown(stream, Some(Uid::from_raw(self.process.uid)), None) {
                // What has no owner that could change stays as it is: read-only file systems, foreign users.
                Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(Fault::indexed(Step::Stdio, number as u32, errno)),
            }
        }
        Ok(())
    }
}

pub(super) fn is_null_device(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == NULL_DEVICE
}

fn above(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

fn place(fd: BorrowedFd<'_>, target: i32) -> Result<(), Errno> {
    // SAFETY: the walk's own descriptors are above 2 (the channel by its making, the others are used up by now or were
    // moved), so nothing that is still needed has the target's number.
    unsafe { sys::process::place_descriptor(fd, target) }
}

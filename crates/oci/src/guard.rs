//! The program's own file, which no container may write to.
//!
//! A process of a container is this program until its execve, and a container can make it execute this program's file
//! once more (`#!/proc/self/exe`). Through /proc/PID/exe others of the container would reach the file. So the commands that
//! make processes run from a read-only mount of the file that is attached nowhere, or from a sealed copy. With the right to,
//! they take that mount's file for their program as they are; else they execute it, which costs a start more.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use runtime::caps::{CapSet, Capability};
use runtime::guards::{Guard, is_off};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use sys::mount::{self, attr};

use crate::error::{Error, Result};

const OWN: &str = "/proc/self/exe";

/// The mount that this process's program is taken from: attached nowhere, it is unmounted when this is dropped, which changes
/// nothing for the program, and waits for a grace period of the kernel. So whoever has it drops it when nobody waits, or lets
/// it go with other mounts ([`runtime::Prepared::dismiss`]).
pub(crate) type Program = Option<OwnedFd>;

/// Makes sure that this process's program is out of reach; where it has to, it executes itself again. The process has one
/// thread.
///
/// # Errors
/// Neither way works: nothing is started then.
pub(crate) fn ensure(args: &[OsString]) -> Result<Program> {
    if is_out_of_reach() || is_off(Guard::Program) {
        return Ok(None);
    }
    let failed = |source| Error::Io {
        action: "protecting the program",
        path: OWN.into(),
        source,
    };
    let program = match read_only() {
        Ok(program) if take_up(program.as_fd()).is_ok() => return Ok(Some(program)),
        Ok(program) => program,
        Err(_) => copy().map_err(failed)?,
    };
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let (name, rest) = args
        .split_first()
        .map_or((None, args), |(name, rest)| (Some(name), rest));
    let mut command = Command::new(path);
    command.args(rest);
    if let Some(name) = name {
        command.arg0(name);
    }
    Err(failed(command.exec()))
}

fn is_out_of_reach() -> bool {
    let read_only = rustix::fs::statvfs(OWN)
        .is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    read_only
        || std::fs::read_link(OWN).is_ok_and(|path| path.to_string_lossy().starts_with("/memfd:"))
}

fn read_only() -> io::Result<OwnedFd> {
    let file = mount::clone_tree(CWD, c"/proc/self/exe", false)?;
    let change = mount::Change {
        set: attr::READ_ONLY,
        ..mount::Change::default()
    };
    mount::set_attributes(file.as_fd(), c"", &change)?;
    Ok(file)
}

/// Goes on as if the process had been executed from there.
fn take_up(program: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let own = CapSet::from_bits(sys::process::capabilities()?.effective);
    // It is known before anything is done in vain.
    if !own.contains(Capability::SYS_ADMIN) {
        return Err(Errno::PERM);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    sys::program::take_up(file.as_fd())
}

fn copy() -> io::Result<OwnedFd> {
    let mut source = std::fs::File::open(OWN)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = std::fs::File::from(rustix::fs::memfd_create("wharf-runtime", flags)?);
    io::copy(&mut source, &mut copy)?;
    sys::fdpass::seal(copy.as_fd())?;
    Ok(copy.into())
}

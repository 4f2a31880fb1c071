//! Kernel parameters, hidden paths, read-only paths.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sys::mount::{self, Change};

use super::{At, Walk, place, stdio};
use crate::fault::{Fault, Step};
use crate::guards::{Guard, is_off};
use crate::plan::attr;
use crate::prepared::Prepared;

/// What hides paths: the null device for files, one empty folder for all folders.
#[derive(Default)]
struct Masks {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Walk<'_> {
    /// The procfs that the walk mounted, or one that is mounted nowhere; the caller's, where it was kept and a user namespace
    /// may make none since the processes are not its own.
    fn procfs(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        let procfs = match self.procfs.take() {
            Some(procfs) => procfs,
            None => mount::private_procfs().or_else(|errno| {
                let callers = self.callers_procfs.take().filter(|_| errno == Errno::PERM);
                callers.ok_or(errno)
            })?,
        };
        let procfs: &OwnedFd = self.procfs.insert(procfs);
        Ok(procfs.as_fd())
    }

    pub(super) fn write_sysctls(&mut self, prepared: &Prepared) -> Result<(), Fault> {
        let values = prepared.plan.sysctls.iter().map(|(_, value)| value);
        for (index, (name, value)) in prepared.sysctls.iter().zip(values).enumerate() {
            if is_off(Guard::Procfs) {
                self.write_unguarded(name, value.as_bytes())
                    .at_index(Step::Sysctl, index)?;
                continue;
            }
            let procfs = self.procfs().at_index(Step::Sysctl, index)?;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat2(procfs, name, flags, Mode::empty(), resolve)
                .and_then(|file| rustix::io::write(file, value.as_bytes()))
                .at_index(Step::Sysctl, index)?;
        }
        Ok(())
    }

    /// Writes to whatever is at /proc.
    fn write_unguarded(&self, name: &std::ffi::CStr, value: &[u8]) -> Result<(), Errno> {
        let proc = mount::place_in(self.root()?, c"/proc", OFlags::DIRECTORY)?;
        let file = rustix::fs::openat(proc, name, OFlags::WRONLY, Mode::empty())?;
        rustix::io::write(file, value).map(drop)
    }

    /// Sets the process's inclination to be killed. A default of ours that is below what the caller may set stays.
    pub(super) fn prefer_to_be_killed(&mut self) -> Result<(), Fault> {
        let Some((value, explicit)) = self.process.oom_score_adj else {
            return Ok(());
        };
        let mut digits = [0; 12];
        let text = decimal(value, &mut digits);
        let procfs = self.procfs().at(Step::OomScore)?;
        // Nothing that is mounted within the procfs counts: `self` is a link of the procfs itself.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let path = c"self/oom_score_adj";
        let written = rustix::fs::openat2(procfs, path, flags, Mode::empty(), resolve)
            .and_then(|file| rustix::io::write(file, text));
        match written {
            Ok(_) => Ok(()),
            Err(Errno::ACCESS | Errno::PERM) if !explicit => Ok(()),
            Err(errno) => Err(Fault::new(Step::OomScore, errno)),
        }
    }

    /// Tells security modules what the process is to be from its execve on.
    pub(super) fn write_labels(&mut self) -> Result<(), Fault> {
        let program = self.program;
        for (index, (file, label)) in program.labels.iter().enumerate() {
            let procfs = self.procfs().at_index(Step::Label, index)?;
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat2(procfs, file, flags, Mode::empty(), resolve)
                .and_then(|file| rustix::io::write(file, label.to_bytes()))
                .at_index(Step::Label, index)?;
        }
        Ok(())
    }

    pub(super) fn mask_paths(&self, prepared: &Prepared) -> Result<(), Fault> {
        let mut masks = Masks::default();
        for (index, path) in prepared.masked.iter().enumerate() {
            self.root()
                .and_then(|root| match place::find(root, path)? {
                    Some(target) => masks.hide(root, target.as_fd()),
                    None => Ok(()),
                })
                .at_index(Step::Mask, index)?;
        }
        Ok(())
    }

    pub(super) fn protect_paths(&self, prepared: &Prepared) -> Result<(), Fault> {
        let read_only = Change {
            set: attr::READ_ONLY,
            recursive: true,
            ..Default::default()
        };
        for (index, path) in prepared.readonly.iter().enumerate() {
            let protect = |root| {
                let Some(target) = place::find(root, path)? else {
                    return Ok(());
                };
                let clone = mount::clone_tree(target.as_fd(), c"", true)?;
                mount::set_attributes(clone.as_fd(), c"", &read_only)?;
                mount::attach(clone.as_fd(), target.as_fd())
            };
            self.root()
                .and_then(protect)
                .at_index(Step::ReadOnlyPath, index)?;
        }
        Ok(())
    }
}

impl Masks {
    fn hide(&mut self, root: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(target)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return match &self.empty {
                Some(empty) => mount::attach(
                    mount::clone_tree(empty.as_fd(), c"", false)?.as_fd(),
                    target,
                ),
                None => {
                    // The first is mounted itself; clones need a mount that is in the tree.
                    let attributes = attr::READ_ONLY | attr::NO_SUID | attr::NO_DEV | attr::NO_EXEC;
                    let empty = mount::detached(c"tmpfs", &[(c"mode", Some(c"0555"))], attributes)?;
                    mount::attach(self.empty.insert(empty).as_fd(), target)
                }
            };
        }
        let null = match &self.null {
            Some(null) => null,
            None => self.null.insert(find_null(root)?),
        };
        mount::attach(mount::clone_tree(null.as_fd(), c"", false)?.as_fd(), target)
    }
}

/// The container's null device, which has to be one.
fn find_null(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    if is_off(Guard::NullDevice) {
        return mount::place_in(root, c"/dev/null", OFlags::empty());
    }
    let null = mount::place_in(root, c"/dev/null", OFlags::NOFOLLOW)?;
    if stdio::is_null_device(&rustix::fs::fstat(&null)?) {
        Ok(null)
    } else {
        Err(Errno::NXIO)
    }
}

/// A number's decimal digits, without a formatter.
fn decimal(value: i32, digits: &mut [u8; 12]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut start = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        start = place;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        start -= 1;
        if let Some(sign) = digits.get_mut(start) {
            *sign = b'-';
        }
    }
    digits.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_formatter_does() {
        for value in [0, 7, -1, 10, -1000, 1000, i32::MAX, i32::MIN] {
            assert_eq!(decimal(value, &mut [0; 12]), value.to_string().as_bytes());
        }
    }
}

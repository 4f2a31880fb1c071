//! The working folder and the program.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{Access, AtFlags, CWD, FileType, OFlags};
use rustix::io::Errno;

use super::{At, Never, Walk, place};
use crate::fault::{Fault, Step};
use crate::guards::{Guard, is_off};
use crate::plan::TargetKind;

impl Walk<'_> {
    /// Enters the working folder, resolved within the root: a path of procfs that leads to a descriptor of the caller
    /// does not lead there.
    pub(super) fn enter_working_folder(&self) -> Result<(), Fault> {
        let root = self.root().at(Step::WorkingFolder)?;
        let place = &self.program.cwd;
        if is_off(Guard::WorkingFolder) {
            return rustix::process::chdir(&place.path).at(Step::WorkingFolder);
        }
        let folder = if self.process.create_cwd {
            place::find_or_make(root, place, TargetKind::Dir)
        } else {
            sys::mount::place_in(root, &place.path, OFlags::DIRECTORY)
        };
        folder
            .and_then(|folder| rustix::process::fchdir(folder.as_fd()))
            .at(Step::WorkingFolder)
    }

    /// Executes the program: the first of its possible places where there is one.
    pub(super) fn execute(&self) -> Result<Never, Fault> {
        let program = self.program;
        let mut denied = None;
        for (index, path) in program.candidates.iter().enumerate() {
            let errno = sys::process::execute(path, &program.arguments, &program.environment);
            let elsewhere = matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS);
            if !program.searched || !elsewhere {
                return Err(explain(path, index, errno, program.searched));
            }
            if errno == Errno::ACCESS && denied.is_none() && look_at(path).is_ok() {
                // By more than its mode: Landlock, or another security module.
                denied = Some(index);
            }
        }
        if let Some(index) = denied {
            return Err(Fault::indexed(Step::Execute, index as u32, Errno::ACCESS));
        }
        // None was executed. A program that is there, but whose interpreter is not, is no missing program.
        for (index, path) in program.candidates.iter().enumerate() {
            if look_at(path).is_ok() {
                return Err(Fault::indexed(Step::Execute, index as u32, Errno::NOENT));
            }
        }
        Err(Fault::new(Step::Lookup, Errno::NOENT))
    }
}

impl Walk<'_> {
    /// Whether there is a program to execute; the words are those of [`Walk::execute`].
    pub(super) fn look_for_program(&self) -> Result<(), Fault> {
        let program = self.program;
        for path in &program.candidates {
            match look_at(path) {
                Ok(()) => return Ok(()),
                Err(fault) if !program.searched => return Err(fault),
                Err(_) => {}
            }
        }
        Err(Fault::new(Step::Lookup, Errno::NOENT))
    }
}

/// Finds the words for a program that the kernel refused.
fn explain(path: &CStr, index: usize, errno: Errno, searched: bool) -> Fault {
    match look_at(path) {
        Err(fault) if !searched => fault,
        _ => Fault::indexed(Step::Execute, index as u32, errno),
    }
}

/// Whether there is something at `path` that this user may execute. Where a filter of system calls keeps this from being
/// seen, there is: the kernel's own answer comes when it is executed.
fn look_at(path: &CStr) -> Result<(), Fault> {
    let stat = match rustix::fs::statat(CWD, path, AtFlags::empty()) {
        Err(errno) if is_filters(errno) => return Ok(()),
        other => other.at(Step::Stat)?,
    };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Fault::new(Step::IsDirectory, Errno::ISDIR));
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Err(errno) if !is_filters(errno) => Err(Fault::new(Step::NotExecutable, Errno::ACCESS)),
        _ => Ok(()),
    }
}

/// What filters answer for calls that they do not allow, and the kernel does not for these.
fn is_filters(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::NOSYS)
}

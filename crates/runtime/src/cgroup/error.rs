//! Why work on a control group failed.

use std::io;
use std::path::PathBuf;

use super::controller::Controller;

/// Why a control group could not be made, changed, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The host has no control groups mounted.
    #[error("no cgroup hierarchy is mounted on this host")]
    NotMounted,
    /// The table of mounts could not be read, or a hierarchy in it not opened.
    #[error("cgroups: cannot open {path:?}: {source}")]
    Layout {
        /// The table, or the hierarchy's mount point.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A limit was asked for, and the host lacks the controller that keeps it.
    #[error(
        "cgroups: {setting} cannot be set: no mounted hierarchy has the {controller} controller"
    )]
    NoController {
        /// The setting by its usual name.
        setting: &'static str,
        /// The controller.
        controller: Controller,
    },
    /// The controller exists but cannot do this.
    #[error("cgroups: {setting} is not supported by this kernel's cgroups")]
    Unsupported {
        /// The setting by its usual name.
        setting: &'static str,
    },
    /// A path or name that leads out of the parent, or is empty.
    #[error("cgroups: {path:?} is not a valid cgroup path")]
    BadPath {
        /// The path as given.
        path: String,
    },
    /// A group that is to be changed is not there any more.
    #[error("cgroups: the group {path:?} is gone")]
    Gone {
        /// Its path in each hierarchy.
        path: String,
    },
    /// Threads are made in a group as fast as they are moved.
    #[error("cgroups: the threads of {path:?} cannot be moved: new ones do not cease to appear")]
    Restless {
        /// Its path in each hierarchy.
        path: String,
    },
    /// A folder could not be made.
    #[error("cgroups: cannot create {path:?}: {source}")]
    Make {
        /// Folder in the hierarchy.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A group that was to be made is there, and has processes that do not end. The words are runc's.
    #[error("container's cgroup is not empty: {count} process(es) found")]
    Populated {
        /// How many processes.
        count: usize,
    },
    /// A group that was to be made is there, and frozen. The words are runc's.
    #[error("container's cgroup unexpectedly frozen")]
    Held,
    /// A file or folder could not be opened.
    #[error("cgroups: cannot open {path:?}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A value was not taken.
    #[error("cgroups: cannot write {value:?} to {path:?}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// There are no huge pages of this size.
    #[error("cgroups: this kernel has no huge pages of {size:?}, only of {known}")]
    NoPageSize {
        /// The size as given.
        size: String,
        /// The sizes that there are.
        known: String,
    },
    /// A name that no file of a group has.
    #[error("unified resource {key:?} must be {form}")]
    BadUnified {
        /// The name as given.
        key: String,
        /// What it must be.
        form: &'static str,
    },
    /// A file of the unified tree whose controller groups there do not have.
    #[error(
        "invalid configuration: unified resource {key:?} can't be set: controller {controller:?} not available"
    )]
    NoUnified {
        /// The file.
        key: String,
        /// The name's beginning.
        controller: String,
    },
    /// The limit is below what is used, and would kill.
    #[error("rejecting {what} limit {limit} <= usage {usage}")]
    BelowUse {
        /// `memory`, or `memory+swap`.
        what: &'static str,
        /// The limit in bytes.
        limit: i64,
        /// What is used, in bytes.
        usage: u64,
    },
    /// The kernel could not free as much as the limit asks for; the old limit holds.
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})")]
    InUse {
        /// The limit in bytes.
        limit: String,
        /// What is used, in bytes.
        usage: u64,
        /// The most that was ever used, in bytes.
        peak: u64,
    },
    /// Real time is handed down from group to group, and there is none to hand down.
    #[error(
        "cgroups: {path:?} cannot have {value} us of real time in each period: the groups above it leave {above}"
    )]
    NoRealtime {
        /// The file.
        path: PathBuf,
        /// Microseconds that were asked for.
        value: i64,
        /// Microseconds of the group above.
        above: String,
    },
    /// A file could not be read.
    #[error("cgroups: cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file's content has not the form that the kernel documents.
    #[error("cgroups: {path:?} contains {content:?}, which is not understood")]
    Content {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        content: String,
    },
    /// A folder could not be removed.
    #[error("cgroups: cannot remove {path:?}: {source}")]
    Remove {
        /// The folder.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The group did not become frozen, thawed or empty in the time given.
    #[error("cgroups: {path:?} did not become {state} within {seconds} s")]
    Timeout {
        /// The group's folder.
        path: PathBuf,
        /// Which state was waited for.
        state: &'static str,
        /// How long.
        seconds: u64,
    },
    /// A process of the group could not be signalled.
    #[error("cgroups: cannot kill process {pid}: {source}")]
    Signal {
        /// The process.
        pid: i32,
        /// What the kernel says.
        source: io::Error,
    },
    /// The program that decides about devices was not taken.
    #[error("cgroups: cannot {action} the device rules of {path:?}: {source}")]
    DeviceProgram {
        /// `load`, `attach`, `list`.
        action: &'static str,
        /// The group's folder.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl CgroupError {
    /// Whether a file was not read because it, or its group, is gone: before it was opened, or after.
    pub(super) fn is_of_gone(&self) -> bool {
        match self {
            CgroupError::Open { source, .. } => source.kind() == io::ErrorKind::NotFound,
            CgroupError::Read { source, .. } => source.raw_os_error() == Some(libc::ENODEV),
            _ => false,
        }
    }

    /// Whether the kernel refused a value for this reason.
    pub(super) fn refused_with(&self, errno: i32) -> bool {
        matches!(self, CgroupError::Write { source, .. } if source.raw_os_error() == Some(errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_can_go_before_and_after_its_file_is_opened() {
        let (path, source) = (PathBuf::new(), io::Error::from_raw_os_error);
        let open = |errno| CgroupError::Open {
            path: path.clone(),
            source: source(errno),
        };
        let read = |errno| CgroupError::Read {
            path: path.clone(),
            source: source(errno),
        };
        assert!(open(libc::ENOENT).is_of_gone() && read(libc::ENODEV).is_of_gone());
        assert!(!open(libc::EACCES).is_of_gone() && !read(libc::EIO).is_of_gone());
    }
}

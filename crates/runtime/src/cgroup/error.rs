//! Why work on a control group failed.

use std::io;
use std::path::PathBuf;

use super::layout::Controller;

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
    #[error("cgroups: {setting} cannot be set: the kernel lacks the {controller} controller")]
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
    /// A folder could not be made.
    #[error("cgroups: cannot create {path:?}: {source}")]
    Make {
        /// Folder in the hierarchy.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
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

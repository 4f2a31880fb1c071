//! Files in containers.

use serde::{Deserialize, Serialize};

/// One entry of a container's files, as the header `X-Docker-Container-Path-Stat` has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PathStat {
    /// Its last name, as it was asked for.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Kind and permissions, in the bits of Go's `fs.FileMode`.
    pub mode: u32,
    /// When its content was changed last.
    pub mtime: String,
    /// Where a symbolic link leads in the container, all links followed; empty for everything else.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

impl PathStat {
    /// The bit of a folder.
    pub const FOLDER: u32 = 1 << 31;
    /// The bit of a symbolic link.
    pub const LINK: u32 = 1 << 27;
    /// The bit of a device.
    pub const DEVICE: u32 = 1 << 26;
    /// The bit of a fifo.
    pub const FIFO: u32 = 1 << 25;
    /// The bit of a socket.
    pub const SOCKET: u32 = 1 << 24;
    /// The setuid bit.
    pub const SETUID: u32 = 1 << 23;
    /// The setgid bit.
    pub const SETGID: u32 = 1 << 22;
    /// The bit of a character device, beside that of a device.
    pub const CHARACTER: u32 = 1 << 21;
    /// The sticky bit.
    pub const STICKY: u32 = 1 << 20;
}

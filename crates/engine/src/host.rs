//! Facts about the host that do not change while the engine is open.

use std::fs;

use crate::outcome::{EngineError, Result};

/// What the engine knows about its host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) processors: usize,
    /// As the kernel writes it: `0-3`.
    pub(crate) online: String,
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) name: String,
    pub(crate) kernel: String,
    pub(crate) machine: String,
    /// `PRETTY_NAME` of os-release.
    pub(crate) system: String,
    /// `VERSION_ID` of os-release.
    pub(crate) system_version: String,
    pub(crate) boot_id: String,
}

impl Host {
    /// Reads them; what can not be read is empty or zero.
    pub(crate) fn read() -> Host {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let online = read("/sys/devices/system/cpu/online");
        let memory = read("/proc/meminfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("MemTotal:")?
                    .trim()
                    .strip_suffix("kB")?
                    .trim()
                    .parse::<u64>()
                    .ok()
            })
            .unwrap_or(0)
            * 1024;
        let release = [read("/etc/os-release"), read("/usr/lib/os-release")]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default();
        let value = |key: &str| {
            release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim_matches('"').to_owned())
                .unwrap_or_default()
        };
        let processors = crate::compile::limits::parse_list(&online).map_or(1, |list| list.len());
        Host {
            processors,
            online: if online.is_empty() {
                "0".to_owned()
            } else {
                online
            },
            memory,
            name: text(uname.nodename()),
            kernel: text(uname.release()),
            machine: text(uname.machine()),
            system: value("PRETTY_NAME"),
            system_version: value("VERSION_ID"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
        }
    }
}

/// The first kernel that changes attributes of mounts, which each start does (mount_setattr(2)).
const OLDEST: (u32, u32) = (5, 12);

/// Refuses a kernel on which nothing could be started.
///
/// # Errors
/// [`EngineError::OldKernel`]. A release that is no number passes: what it lacks is told when it is missed.
pub(crate) fn check_kernel(release: &str) -> Result<()> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next()?.parse::<u32>().ok();
    match (next(), next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => Err(EngineError::OldKernel {
            release: release.to_owned(),
            oldest: format!("{}.{}", OLDEST.0, OLDEST.1),
        }),
        _ => Ok(()),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_can_start_nothing_are_refused() {
        for old in ["5.10.0-30-amd64", "4.19.0", "5.11", "2.6.32-754.el6"] {
            let error = check_kernel(old).unwrap_err().to_string();
            assert!(error.contains(old) && error.contains("5.12"), "{error}");
        }
        for new in [
            "5.12.0",
            "5.15.0-91-generic",
            "6.1.0-13-amd64",
            "6.18.5",
            "next",
        ] {
            check_kernel(new).unwrap();
        }
    }
}

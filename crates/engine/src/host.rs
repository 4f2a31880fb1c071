//! Facts about the host that do not change while the engine is open.

use std::fs;

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

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

//! Kernel settings below /proc/sys/net: those of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::NetworkError;

/// Sets a switch to 1. Tells whether it was off before.
pub(crate) fn switch_on(path: &str) -> Result<bool, NetworkError> {
    let set = || -> io::Result<bool> {
        if fs::read_to_string(path)?.trim() == "1" {
            return Ok(false);
        }
        fs::write(path, "1")?;
        Ok(true)
    };
    set().map_err(|source| NetworkError::Setting {
        path: path.to_owned(),
        source,
    })
}

/// Keeps a link from taking part in IPv6. Otherwise a container's router advertisement could make it the default route
/// of a host that does not forward IPv6 (CVE-2020-13401).
pub(crate) fn without_ipv6(link: &str) -> Result<(), NetworkError> {
    for (name, value) in [("accept_ra", "0"), ("disable_ipv6", "1")] {
        let path = format!("/proc/sys/net/ipv6/conf/{link}/{name}");
        match fs::write(&path, value) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(NetworkError::Setting { path, source });
            }
            _ => {} // written, or a kernel without IPv6
        }
    }
    Ok(())
}

/// The range of ports that the kernel gives out by itself; Docker's habit where it can not be read.
pub(crate) fn ephemeral_ports() -> (u16, u16) {
    read_range(Path::new("/proc/sys/net/ipv4/ip_local_port_range")).unwrap_or((49153, 65535))
}

fn read_range(path: &Path) -> Option<(u16, u16)> {
    let text = fs::read_to_string(path).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (0 < first && first <= last).then_some((first, last))
}

//! Kernel settings of IPv6: those of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::NetworkError;

const CONF: &str = "/proc/sys/net/ipv6/conf";

/// Has a link take part in IPv6 with the addresses that it is given, and none that a router or a neighbour tells it of.
pub(super) fn with_ipv6(link: &str) -> Result<(), NetworkError> {
    for (name, value) in [
        ("accept_ra", "0"),
        ("accept_dad", "0"),
        ("disable_ipv6", "0"),
    ] {
        set(&format!("{CONF}/{link}/{name}"), value)?;
    }
    Ok(())
}

/// Has the host forward IPv6. Tells whether it did not before.
///
/// A host that forwards takes no address from a router any more, unless told so (`accept_ra` of 2, ip-sysctl.rst): of these
/// links, those that take theirs from one go on to do so. Links may go meanwhile.
pub(super) fn forward<'a>(links: impl Iterator<Item = &'a str>) -> Result<bool, NetworkError> {
    let all = format!("{CONF}/all/forwarding");
    if read(Path::new(&all)).is_some_and(|value| value != "0") {
        return Ok(false);
    }
    for link in links {
        let path = format!("{CONF}/{link}/accept_ra");
        if read(Path::new(&path)).is_some_and(|value| value == "1") {
            match fs::write(&path, "2") {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(NetworkError::Setting { path, source });
                }
                _ => {}
            }
        }
    }
    set(&all, "1")?;
    Ok(true)
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn set(path: &str, value: &str) -> Result<(), NetworkError> {
    match fs::write(path, value) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::NotFound && !Path::new(CONF).exists() => {
            Err(NetworkError::MissingFeature {
                feature: "CONFIG_IPV6",
                source,
            })
        }
        Err(source) => Err(NetworkError::Setting {
            path: path.to_owned(),
            source,
        }),
    }
}

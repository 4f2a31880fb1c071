//! Where a user's own manager is reached.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};

/// Addresses that are tried.
const MOST: usize = 16;

/// A socket, and whether a bus is behind it or the manager itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) name: Name,
    pub(super) is_bus: bool,
}

/// A socket's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Address {
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        match &self.name {
            Name::Path(path) => UnixStream::connect(path),
            Name::Abstract(name) => {
                UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
            }
        }
    }

    /// For the eye.
    pub(super) fn path(&self) -> PathBuf {
        match &self.name {
            Name::Path(path) => path.clone(),
            Name::Abstract(name) => {
                let mut shown = OsString::from("@");
                shown.push(OsStr::from_bytes(name));
                shown.into()
            }
        }
    }
}

/// Where to try, the best first, by what the environment says: the bus of the session (`DBUS_SESSION_BUS_ADDRESS`), or in
/// the session's folder (`XDG_RUNTIME_DIR`) a bus and the manager's own socket.
pub(super) fn of_user(bus: Option<&OsStr>, folder: Option<&OsStr>) -> Vec<Address> {
    let given = bus.map(|text| parse(text.as_bytes())).unwrap_or_default();
    if !given.is_empty() {
        return given;
    }
    let folder = Path::new(folder.unwrap_or_default());
    if !folder.is_absolute() {
        return Vec::new();
    }
    [("bus", true), ("systemd/private", false)]
        .map(|(below, is_bus)| Address {
            name: Name::Path(folder.join(below)),
            is_bus,
        })
        .to_vec()
}

/// Reads addresses in D-Bus's form: `unix:path=/run/user/1000/bus,guid=…;unix:abstract=…`. Others than unix sockets are
/// passed over.
fn parse(text: &[u8]) -> Vec<Address> {
    let all = text.split(|byte| *byte == b';').filter_map(|one| {
        let keys = one.strip_prefix(b"unix:")?;
        let mut keys = keys.split(|byte| *byte == b',');
        let name = keys.find_map(|pair| {
            let (key, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
            let value = plain(&value[1..])?;
            match key {
                b"path" => Some(Name::Path(OsString::from_vec(value).into())),
                b"abstract" => Some(Name::Abstract(value)),
                _ => None,
            }
        })?;
        Some(Address { name, is_bus: true })
    });
    all.take(MOST).collect()
}

/// Undoes `%2F`.
fn plain(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = [*rest.next()?, *rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_tells_where_a_users_manager_is() {
        let path = |path: &str, is_bus| Address {
            name: Name::Path(path.into()),
            is_bus,
        };
        let of = |bus: Option<&str>, folder: Option<&str>| {
            of_user(bus.map(OsStr::new), folder.map(OsStr::new))
        };
        let in_folder = [
            path("/run/user/7/bus", true),
            path("/run/user/7/systemd/private", false),
        ];
        assert_eq!(of(None, Some("/run/user/7")), in_folder);
        assert_eq!(of(Some(""), Some("/run/user/7")), in_folder);
        assert_eq!(of(None, None), []);
        assert_eq!(of(None, Some("run")), []);
        let told = "tcp:host=a;unix:guid=1,path=/a%20b%2fc;unix:abstract=/x,guid=1;unix:path=%zz";
        let abstracted = Address {
            name: Name::Abstract(b"/x".to_vec()),
            is_bus: true,
        };
        assert_eq!(abstracted.path(), Path::new("@/x"));
        assert_eq!(
            of(Some(told), Some("/run/user/7")),
            [path("/a b/c", true), abstracted]
        );
    }
}

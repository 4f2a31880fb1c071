//! Device nodes and the links beside them.

use runtime::defaults;
use runtime::plan::{Device, DeviceKind};

use crate::error::{Error, Result};
use crate::spec::{self, Spec};

type Links = Vec<(String, String)>;

/// Those that every container has, and those that the configuration names. Where the caller's /dev is mounted, it has its
/// own.
pub(super) fn compile(spec: &Spec) -> Result<(Vec<Device>, Links)> {
    let bound = spec.mounts.iter().flatten().any(|mount| {
        let at_dev = super::mounts::clean(mount.destination.as_deref().unwrap_or_default());
        at_dev == "/dev" && super::mounts::is_bind(mount)
    });
    if bound {
        return Ok((Vec::new(), Vec::new()));
    }
    let listed = spec.linux().devices.iter().flatten().enumerate();
    let listed = listed
        .map(|(index, device)| node(index, device))
        .collect::<Result<Vec<_>>>()?;
    let mut devices = defaults::devices();
    devices.retain(|device| listed.iter().all(|other| other.path != device.path));
    devices.extend(listed);
    Ok((devices, defaults::links()))
}

fn node(index: usize, device: &spec::Device) -> Result<Device> {
    let field = |name: &str| format!("linux.devices[{index}].{name}");
    let asked = device.path.as_deref().unwrap_or_default();
    // Whatever it says is below the root, as for runc.
    let path = super::mounts::clean(asked);
    if path == "/" {
        let why = format!("{asked:?} is not a place below the root");
        return Err(Error::field(field("path"), why));
    }
    let kind = match device.kind.as_deref().unwrap_or_default() {
        "c" | "u" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        "p" => DeviceKind::Fifo,
        other => {
            let why = format!("{other:?} is no kind of device");
            return Err(Error::field(field("type"), why));
        }
    };
    let number = |name: &str, value: Option<i64>| {
        let value = value.unwrap_or_default();
        u32::try_from(value)
            .map_err(|_| Error::field(field(name), format!("{value} is no device number")))
    };
    Ok(Device {
        major: number("major", device.major)?,
        minor: number("minor", device.minor)?,
        path,
        kind,
        mode: device.file_mode.unwrap_or(0o666),
        uid: device.uid.unwrap_or_default(),
        gid: device.gid.unwrap_or_default(),
        bind: None,
    })
}

//! Devices of the host in a container: the nodes, and the rules that allow them.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use api_types::HostConfig;
use runtime::cgroup::{Access, DeviceRule};
use runtime::plan::{Device, DeviceKind};

use crate::outcome::{EngineError, Result};

/// A device of the host with the rule that allows it.
pub(crate) struct HostDevice {
    pub(crate) node: Device,
    pub(crate) rule: DeviceRule,
}

/// Checks the form of the device requests.
pub(crate) fn check_devices(host: &HostConfig) -> Result<()> {
    for device in host.devices.iter().flatten() {
        if !device.cgroup_permissions.is_empty()
            && Access::parse(&device.cgroup_permissions).is_none()
        {
            return Err(EngineError::invalid(format!(
                "invalid device mode: {}",
                device.cgroup_permissions
            )));
        }
        if device.path_on_host.is_empty() {
            return Err(EngineError::invalid("bad format for path: "));
        }
    }
    for rule in host.device_cgroup_rules.iter().flatten() {
        if DeviceRule::parse(rule).is_none() {
            return Err(EngineError::invalid(format!(
                "invalid device cgroup rule format: '{rule}'"
            )));
        }
    }
    Ok(())
}

/// Looks the requested devices up: a node, or a folder with all nodes in it.
///
/// # Errors
/// Docker's sentence when one does not exist or is no device.
pub(crate) fn devices(host: &HostConfig) -> Result<Vec<HostDevice>> {
    let mut all = Vec::new();
    for device in host.devices.iter().flatten() {
        let target = if device.path_in_container.is_empty() {
            &device.path_on_host
        } else {
            &device.path_in_container
        };
        let access = Access::parse(&device.cgroup_permissions).unwrap_or(Access::ALL);
        let path = Path::new(&device.path_on_host);
        let failed = |why: &str| {
            EngineError::invalid(format!(
                "error gathering device information while adding custom device \"{}\": {why}",
                device.path_on_host
            ))
        };
        let path = path
            .canonicalize()
            .map_err(|error| failed(&crate::outcome::words(&error)))?;
        let mut found = Vec::new();
        gather(&path, target, access, 0, &mut found)
            .map_err(|error| failed(&crate::outcome::words(&error)))?;
        if found.is_empty() {
            return Err(failed("not a device node"));
        }
        all.append(&mut found);
    }
    Ok(all)
}

/// Folders of devices are followed so deep, and so many nodes are taken.
const DEPTH: usize = 8;
const NODES: usize = 4096;

fn gather(
    path: &Path,
    target: &str,
    access: Access,
    depth: usize,
    found: &mut Vec<HostDevice>,
) -> std::io::Result<()> {
    let metadata = path.symlink_metadata()?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        if depth == DEPTH {
            return Ok(());
        }
        for entry in path.read_dir()? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if depth == 0
                && matches!(
                    name,
                    "pts" | "shm" | "fd" | "mqueue" | "console" | "hugepages"
                )
            {
                continue;
            }
            if found.len() < NODES {
                gather(
                    &path.join(name),
                    &format!("{}/{name}", target.trim_end_matches('/')),
                    access,
                    depth + 1,
                    found,
                )?;
            }
        }
        return Ok(());
    }
    if !kind.is_char_device() && !kind.is_block_device() {
        return Ok(());
    }
    let number = metadata.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let (node_kind, rule_kind) = if kind.is_char_device() {
        (DeviceKind::Char, runtime::cgroup::DeviceKind::Char)
    } else {
        (DeviceKind::Block, runtime::cgroup::DeviceKind::Block)
    };
    found.push(HostDevice {
        node: Device {
            path: super::mounts::normal(target),
            kind: node_kind,
            major,
            minor,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            bind: None,
        },
        rule: DeviceRule {
            allow: true,
            kind: rule_kind,
            major: Some(major),
            minor: Some(minor),
            access,
        },
    });
    Ok(())
}

/// All devices of the host, for a privileged container.
pub(crate) fn host_devices() -> Vec<HostDevice> {
    let mut found = Vec::new();
    if let Err(error) = gather(Path::new("/dev"), "/dev", Access::ALL, 0, &mut found) {
        tracing::warn!(%error, "not all devices of the host could be listed");
    }
    found
}

/// All nodes that a container gets: docker's default ones, and those that were asked for.
pub(crate) fn nodes(host: &HostConfig) -> Result<Vec<Device>> {
    let mut nodes = runtime::defaults::devices();
    let asked = if host.privileged {
        host_devices()
    } else {
        devices(host)?
    };
    for device in asked {
        if !nodes.iter().any(|known| known.path == device.node.path)
            && !matches!(device.node.path.as_str(), "/dev/ptmx")
        {
            nodes.push(device.node);
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_refused_in_dockers_words() {
        let device = api_types::Device {
            path_on_host: "/dev/none".into(),
            ..Default::default()
        };
        let refused = devices(&HostConfig {
            devices: Some(vec![device]),
            ..Default::default()
        })
        .err()
        .unwrap();
        assert_eq!(
            refused.to_string(),
            "error gathering device information while adding custom device \"/dev/none\": no such file or directory"
        );
    }
}

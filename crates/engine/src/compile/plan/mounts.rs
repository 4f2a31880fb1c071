//! Entries of a plan's list of mounts.

use std::path::Path;

use api_types::HostConfig;
use runtime::defaults;
use runtime::plan::{FdSlot, MountAttrs, MountEntry, MountKind, Propagation, TargetKind, attr};

use super::{Descriptors, OpenMount};
use crate::compile::modes::{IpcMode, Modes};
use crate::compile::mounts::{MountSpec, Source};

/// What every container has mounted, as far as its modes leave it.
pub(super) fn base_mounts(host: &HostConfig, modes: &Modes) -> Vec<MountEntry> {
    let mut mounts = defaults::mounts();
    mounts.retain(|mount| {
        !matches!(
            (mount.target.as_str(), &modes.ipc),
            (
                "/dev/shm",
                IpcMode::None | IpcMode::Host | IpcMode::Container(_)
            ) | ("/dev/mqueue", IpcMode::Host | IpcMode::None)
        )
    });
    for mount in &mut mounts {
        match mount.target.as_str() {
            "/dev/shm" => {
                *mount = defaults::shm(u64::try_from(host.shm_size).unwrap_or(defaults::SHM_SIZE))
            }
            "/sys" if host.privileged => mount.attrs.set &= !attr::READ_ONLY,
            _ => {}
        }
    }
    mounts
}

/// Something of the engine's at a target within the container.
pub(super) fn detached(target: &str, slot: FdSlot, folder: bool) -> MountEntry {
    MountEntry {
        target: target.to_owned(),
        kind: MountKind::own(slot),
        attrs: MountAttrs::default(),
        propagation: Some(Propagation::Private),
        create_target: if folder {
            TargetKind::Dir
        } else {
            TargetKind::File
        },
    }
}

/// /etc/hosts and the like.
pub(super) fn own_file(target: &str, slot: FdSlot, host: &HostConfig) -> MountEntry {
    let mut mount = detached(target, slot, false);
    if host.readonly_rootfs {
        mount.attrs.set |= attr::READ_ONLY;
    }
    mount
}

/// Whether what a user mounts goes on top of one of these files. It does when it is in the file's own place. A folder
/// around it lies below, as in docker, unless what is mounted on that appears on the host too.
pub(super) fn lies_over(user: &MountSpec, file: &str) -> bool {
    let is_shared = matches!(user.propagation.as_str(), "shared" | "rshared");
    user.target == file || is_shared && Path::new(file).starts_with(&user.target)
}

/// What a user asked for.
pub(super) fn user_mount(mount: OpenMount<'_>, descriptors: &mut Descriptors) -> MountEntry {
    let spec = mount.spec;
    if let Source::Tmpfs { options } = &spec.source {
        return tmpfs(&spec.target, options);
    }
    let propagation = match spec.propagation.as_str() {
        "shared" | "rshared" => Propagation::Shared,
        "slave" | "rslave" => Propagation::Slave,
        _ => Propagation::Private,
    };
    let kind = match mount.tree {
        Some(tree) => MountKind::Detached {
            slot: descriptors.slot(tree),
            source: mount.path,
        },
        None => MountKind::Bind {
            source: String::new(),
            recursive: true,
            idmap: None,
        },
    };
    let attrs = match (spec.read_only, spec.only_top_read_only) {
        (false, _) => MountAttrs::default(),
        (true, true) => MountAttrs::of(attr::READ_ONLY),
        (true, false) => MountAttrs {
            below_set: attr::READ_ONLY,
            ..MountAttrs::default()
        },
    };
    let create_target = if mount.folder {
        TargetKind::Dir
    } else {
        TargetKind::File
    };
    MountEntry {
        target: spec.target.clone(),
        kind,
        attrs,
        propagation: Some(propagation),
        create_target,
    }
}

/// A tmpfs with docker's default flags and the given options on top.
fn tmpfs(target: &str, options: &str) -> MountEntry {
    let mut set = attr::NO_SUID | attr::NO_DEV | attr::NO_EXEC;
    let mut values = Vec::new();
    let mut propagation = Propagation::Private;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => set |= attr::READ_ONLY,
            "rw" => set &= !attr::READ_ONLY,
            "suid" => set &= !attr::NO_SUID,
            "nosuid" => set |= attr::NO_SUID,
            "dev" => set &= !attr::NO_DEV,
            "nodev" => set |= attr::NO_DEV,
            "exec" => set &= !attr::NO_EXEC,
            "noexec" => set |= attr::NO_EXEC,
            "noatime" => set = set & !attr::ATIME_MASK | attr::NO_ATIME,
            "nodiratime" => set |= attr::NO_DIR_ATIME,
            "diratime" => set &= !attr::NO_DIR_ATIME,
            "shared" | "rshared" => propagation = Propagation::Shared,
            "slave" | "rslave" => propagation = Propagation::Slave,
            "private" | "rprivate" => propagation = Propagation::Private,
            "strictatime" => set = set & !attr::ATIME_MASK | attr::STRICT_ATIME,
            _ => {
                if let Some((name, value)) = option.split_once('=') {
                    values.push((name.to_owned(), Some(value.to_owned())));
                }
            }
        }
    }
    MountEntry {
        target: target.to_owned(),
        kind: MountKind::Fs {
            fstype: "tmpfs".to_owned(),
            source: String::new(),
            options: values,
        },
        attrs: MountAttrs::of(set),
        propagation: Some(propagation),
        create_target: TargetKind::Dir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_options_are_split_into_flags_and_values() {
        let entry = tmpfs("/t", "exec,size=64k,mode=700");
        assert_eq!(entry.attrs.set, attr::NO_SUID | attr::NO_DEV);
        let MountKind::Fs { options, .. } = entry.kind else {
            panic!()
        };
        assert_eq!(
            options,
            [
                ("size".to_owned(), Some("64k".to_owned())),
                ("mode".to_owned(), Some("700".to_owned()))
            ]
        );
    }
}

//! Control groups as a container sees them.

use std::fs;
use std::path::PathBuf;

use runtime::defaults;
use runtime::plan::{MountAttrs, MountEntry, MountKind, Propagation, TargetKind};

use crate::compile::plan::Descriptors;
use crate::compile::security;
use crate::containers::files::clone_path;
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::Result;

/// Where a container finds its groups.
const TARGET: &str = "/sys/fs/cgroup";

/// A mounted hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Its mount point.
    path: PathBuf,
    /// The last part of it: `memory`, or `cpu,cpuacct` for two that share one.
    name: String,
}

/// The hierarchies of version 1 that this process sees, each once.
pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    read_hierarchies(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn read_hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        // Mount point, then optional fields up to a dash, then the type.
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let Some(path) = before.split(' ').nth(4).map(PathBuf::from) else {
            continue;
        };
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str())
            .map(str::to_owned)
        else {
            continue;
        };
        if after.starts_with("cgroup ") && !found.iter().any(|known| known.name == name) {
            found.push(Hierarchy { path, name });
        }
    }
    found
}

/// What is mounted at /sys/fs/cgroup, and links there.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) mounts: Vec<MountEntry>,
    /// What each says, and where it is.
    pub(crate) links: Vec<(String, String)>,
}

impl Engine {
    /// The container's own groups, read-only unless it is privileged or asks for them: the unified tree where it is the only one, else
    /// a folder for each hierarchy in which the container has a group, or shares (`shared`) that of all.
    ///
    /// The unified tree is mounted anew only for a cgroup namespace of the container's own (`private`). In the
    /// host's, a new mount would set its options, such as none, on the host's mount as well: there it is a clone.
    pub(crate) fn cgroup_view(
        &self,
        container: &Container,
        private: bool,
        shared: &[PathBuf],
        descriptors: &mut Descriptors,
    ) -> Result<View> {
        let attrs = MountAttrs::NO_SUID_NO_DEV_NO_EXEC;
        let host = &container.spec.host;
        let writable = security::options(host)?.writable_cgroups;
        let attrs = match writable.unwrap_or(host.privileged) {
            true => attrs,
            false => attrs.read_only(),
        };
        let layout = self.inner().groups.layout();
        if layout.version() == 2 {
            let mount = match layout.unified_path() {
                Some(path) if !private => MountEntry {
                    target: TARGET.to_owned(),
                    kind: MountKind::own(descriptors.slot(clone_path(path, false)?)),
                    attrs,
                    propagation: Some(Propagation::Private),
                    create_target: TargetKind::Dir,
                },
                _ => defaults::file_system(TARGET, "cgroup2", attrs, &[]),
            };
            return Ok(View {
                mounts: vec![mount],
                links: Vec::new(),
            });
        }
        let mut view = View {
            mounts: vec![defaults::file_system(
                TARGET,
                "tmpfs",
                attrs,
                &[("mode", "755")],
            )],
            links: Vec::new(),
        };
        for hierarchy in &self.inner().hierarchies {
            let parent = match self.group_parent(container).as_str() {
                "" => hierarchy.path.join(self.inner().groups.path()),
                parent => hierarchy.path.join(parent),
            };
            let own = parent.join(container.id().as_str());
            let group = if own.is_dir() {
                own
            } else if shared.contains(&parent) {
                parent
            } else {
                continue;
            };
            view.mounts.push(MountEntry {
                target: format!("{TARGET}/{}", hierarchy.name),
                kind: MountKind::own(descriptors.slot(clone_path(&group, false)?)),
                attrs,
                propagation: Some(Propagation::Private),
                create_target: TargetKind::Dir,
            });
            if hierarchy.name.contains(',') {
                view.links.extend(
                    hierarchy.name.split(',').map(|controller| {
                        (hierarchy.name.clone(), format!("{TARGET}/{controller}"))
                    }),
                );
            }
        }
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_version_1_are_found() {
        let text = "30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro\n\
                    31 30 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:5 - cgroup cgroup rw,memory\n\
                    32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                    33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let names: Vec<String> = read_hierarchies(text)
            .into_iter()
            .map(|hierarchy| hierarchy.name)
            .collect();
        assert_eq!(names, ["memory", "cpu,cpuacct"]);
    }
}

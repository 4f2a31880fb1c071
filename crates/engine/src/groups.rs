//! Control groups as a container sees them.

use runtime::defaults;
use runtime::plan::{MountAttrs, MountEntry};

use crate::compile::modes::Modes;
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::Result;

impl Engine {
    /// What is mounted at /sys/fs/cgroup: the unified tree where it is the only one.
    pub(crate) fn cgroup_mounts(
        &self,
        container: &Container,
        _modes: &Modes,
    ) -> Result<Vec<MountEntry>> {
        if self.inner().groups.layout().version() != 2 {
            return Ok(Vec::new());
        }
        let attrs = MountAttrs::NO_SUID_NO_DEV_NO_EXEC;
        let attrs = if container.spec.host.privileged {
            attrs
        } else {
            attrs.read_only()
        };
        Ok(vec![defaults::file_system(
            "/sys/fs/cgroup",
            "cgroup2",
            attrs,
            &[],
        )])
    }
}

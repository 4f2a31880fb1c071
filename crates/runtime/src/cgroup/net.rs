//! Marks and priorities of network packets, which version 1 alone has.

use super::directory::Folder;
use super::driver::Driver;
use super::{CgroupError, Controller, Resources};

const CLASS_FILE: &str = "net_cls.classid";
const PRIORITY_FILE: &str = "net_prio.ifpriomap";

const CLASS_SETTING: &str = "a network class, which cgroup version 1 alone has,";
const PRIORITY_SETTING: &str = "network priorities, which cgroup version 1 alone has,";

/// Marks: what a filter sees of a packet's group.
pub(super) const CLASS: Driver = Driver {
    controller: Controller::NetCls,
    wanted: |resources| resources.net_class.map(|_| CLASS_SETTING),
    apply_v1: apply_class,
    apply_v2: refuse_class,
    read_v1: |_, _| Ok(()),
    read_v2: |_, _| Ok(()),
};

/// Priorities by interface.
pub(super) const PRIORITY: Driver = Driver {
    controller: Controller::NetPrio,
    wanted: |resources| (!resources.net_priorities.is_empty()).then_some(PRIORITY_SETTING),
    apply_v1: apply_priorities,
    apply_v2: refuse_priorities,
    read_v1: |_, _| Ok(()),
    read_v2: |_, _| Ok(()),
};

fn apply_class(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    match resources.net_class {
        Some(class) => folder.write(CLASS_FILE, &class.to_string()),
        None => Ok(()),
    }
}

fn apply_priorities(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    if resources.net_priorities.is_empty() {
        return Ok(());
    }
    let lines = resources.net_priorities.iter();
    folder.write_all(
        PRIORITY_FILE,
        lines.map(|(interface, priority)| format!("{interface} {priority}")),
    )
}

fn refuse_class(_: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    refuse(resources.net_class.is_some(), CLASS_SETTING)
}

fn refuse_priorities(_: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    refuse(!resources.net_priorities.is_empty(), PRIORITY_SETTING)
}

fn refuse(asked: bool, setting: &'static str) -> Result<(), CgroupError> {
    if asked {
        Err(CgroupError::Unsupported { setting })
    } else {
        Ok(())
    }
}

//! Which processors and memory nodes may be used.

use super::directory::Folder;
use super::driver::Driver;
use super::{CgroupError, Controller, Resources, Stats};

const CPUS: &str = "cpuset.cpus";
const MEMS: &str = "cpuset.mems";

pub(super) const DRIVER: Driver = Driver {
    controller: Controller::Cpuset,
    wanted,
    apply_v1,
    apply_v2,
    read_v1: |_, _: &mut Stats| Ok(()),
    read_v2: |_, _: &mut Stats| Ok(()),
};

fn wanted(resources: &Resources) -> Option<&'static str> {
    let asked = |list: &Option<String>| list.as_ref().is_some_and(|list| !list.is_empty());
    (asked(&resources.cpuset_cpus) || asked(&resources.cpuset_mems))
        .then_some("a list of processors or memory nodes")
}

fn apply_v1(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    for (file, list) in lists(resources) {
        match list {
            "" => folder.write(file, folder.read(&format!("../{file}"))?.trim())?,
            list => folder.write(file, list)?,
        }
    }
    inherit_v1(folder)
}

fn apply_v2(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    for (file, list) in lists(resources) {
        match list {
            // Where it is empty or not there, it is the one above already.
            "" => match folder.read_if_exists(file)? {
                Some(list) if !list.trim().is_empty() => folder.write(file, "\n")?,
                _ => {}
            },
            list => folder.write(file, list)?,
        }
    }
    Ok(())
}

/// The lists that are asked for. An empty one stands for that of the group above.
fn lists(resources: &Resources) -> impl Iterator<Item = (&'static str, &str)> {
    [
        (CPUS, &resources.cpuset_cpus),
        (MEMS, &resources.cpuset_mems),
    ]
    .into_iter()
    .filter_map(|(file, list)| Some((file, list.as_deref()?)))
}

/// Fills what is empty from the group above: version 1 lets no process into a group without processors or nodes.
pub(super) fn inherit_v1(folder: &Folder<'_>) -> Result<(), CgroupError> {
    for file in [CPUS, MEMS] {
        if folder.read(file)?.trim().is_empty() {
            let above = folder.read(&format!("../{file}"))?;
            folder.write(file, above.trim())?;
        }
    }
    Ok(())
}

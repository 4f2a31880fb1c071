//! The number of processes and threads.

use super::directory::Folder;
use super::driver::Driver;
use super::{CgroupError, Controller, Resources, Stats};

const MAX: &str = "pids.max";
const CURRENT: &str = "pids.current";

pub(super) const DRIVER: Driver = Driver {
    controller: Controller::Pids,
    wanted,
    apply_v1: apply,
    apply_v2: apply,
    read_v1: read,
    read_v2: read,
};

fn wanted(resources: &Resources) -> Option<&'static str> {
    resources
        .pids_max
        .filter(|max| *max > 0)
        .map(|_| "a limit of processes")
}

fn apply(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    match resources.pids_max {
        None => Ok(()),
        Some(max) if max > 0 => folder.write(MAX, &max.to_string()),
        Some(_) => folder.write(MAX, "max"),
    }
}

fn read(folder: &Folder<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    stats.pids = folder.read_number(CURRENT)?;
    stats.pids_limit = match folder.read(MAX)?.trim() {
        "max" => None,
        number => Some(number.parse().map_err(|_| folder.content(MAX, number))?),
    };
    Ok(())
}

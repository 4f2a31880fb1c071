//! Which device files may be used.

use std::os::fd::AsFd;

use crate::device_bpf;

use super::directory::Folder;
use super::group::Driver;
use super::{CgroupError, Controller, DeviceKind, DeviceRule, Resources, Stats};

const V1_DENY: &str = "devices.deny";
const V1_ALLOW: &str = "devices.allow";

pub(super) const DRIVER: Driver = Driver {
    controller: Controller::Devices,
    wanted,
    apply_v1,
    apply_v2,
    read_v1: |_, _: &mut Stats| Ok(()),
    read_v2: |_, _: &mut Stats| Ok(()),
};

fn wanted(resources: &Resources) -> Option<&'static str> {
    resources.devices.as_ref().map(|_| "device rules")
}

fn apply_v1(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    let Some(rules) = &resources.devices else {
        return Ok(());
    };
    folder.write(V1_DENY, "a")?;
    for run in rules.chunk_by(|one, other| one.allow == other.allow) {
        let file = if run[0].allow { V1_ALLOW } else { V1_DENY };
        folder.write_all(file, run.iter().flat_map(lines))?;
    }
    Ok(())
}

/// What version 1 is told. A line of kind `a` there means everything, whatever else it says, so a rule for both
/// kinds that is narrower becomes two.
fn lines(rule: &DeviceRule) -> Vec<String> {
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let line = |kind| format!("{kind} {}:{} {}", number(rule.major), number(rule.minor), rule.access.letters());
    match rule.kind {
        DeviceKind::Char => vec![line('c')],
        DeviceKind::Block => vec![line('b')],
        DeviceKind::All => vec![line('c'), line('b')],
    }
}

fn apply_v2(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    let Some(rules) = &resources.devices else {
        return Ok(());
    };
    let group = folder.open_folder()?;
    device_bpf::apply(group.as_fd(), rules)
        .map_err(|(action, source)| CgroupError::DeviceProgram { action, path: folder.full(""), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_lines() {
        let rule = |text: &str| lines(&DeviceRule::parse(text).unwrap());
        assert_eq!(rule("c 1:3 rwm"), ["c 1:3 rwm"]);
        assert_eq!(rule("b *:* m"), ["b *:* m"]);
        assert_eq!(rule("a 8:* rw"), ["c 8:* rw", "b 8:* rw"]);
    }
}

//! Which device files may be used.

use std::os::fd::AsFd;

use crate::device_bpf;

use super::directory::Folder;
use super::driver::Driver;
use super::{Access, CgroupError, Controller, DeviceKind, DeviceRule, Resources, Stats};

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
    let rules = simplified(rules);
    if rules.iter().all(|rule| rule.allow) {
        folder.write(V1_DENY, "a")?;
        return folder.write_all(V1_ALLOW, rules.iter().map(line));
    }
    // Version 1 keeps a list of what is allowed or one of what is denied, and takes only whole entries from it.
    let denials = all_but(&rules).ok_or(CgroupError::Unsupported {
        setting: "a device rule that denies a part of what another allows",
    })?;
    folder.write(V1_ALLOW, "a")?;
    folder.write_all(V1_DENY, denials.iter().map(line))
}

/// The rules as a list of what is allowed, each for one kind of device; `None` where such a list cannot say it.
pub(crate) fn allowed(rules: &[DeviceRule]) -> Option<Vec<DeviceRule>> {
    let rules = simplified(rules);
    rules.iter().all(|rule| rule.allow).then_some(rules)
}

/// What simplified rules deny, where that is all that they do not allow; `None` where a list of denials cannot say it.
fn all_but(rules: &[DeviceRule]) -> Option<Vec<DeviceRule>> {
    let mut all = Vec::new();
    for kind in [DeviceKind::Char, DeviceKind::Block] {
        let of_kind: Vec<&DeviceRule> = rules.iter().filter(|rule| rule.kind == kind).collect();
        let everything = |rule: &&DeviceRule| {
            rule.allow && rule.major.is_none() && rule.minor.is_none() && rule.access == Access::ALL
        };
        let last = of_kind.iter().rposition(everything)?;
        let mut denials: Vec<DeviceRule> = Vec::new();
        for rule in of_kind.into_iter().skip(last + 1) {
            if !rule.allow {
                denials.push(rule.clone());
                continue;
            }
            for denial in &mut denials {
                if covers(rule, denial) {
                    denial.access = denial.access.difference(rule.access);
                } else if meets(rule, denial)
                    && denial.access.difference(rule.access) != denial.access
                {
                    return None;
                }
            }
        }
        denials.retain(|denial| denial.access != Access::default());
        all.append(&mut denials);
    }
    Some(all)
}

/// Whether `all` concerns every device that `one` does.
fn covers(all: &DeviceRule, one: &DeviceRule) -> bool {
    let covers = |all: Option<u32>, one: Option<u32>| all.is_none() || all == one;
    covers(all.major, one.major) && covers(all.minor, one.minor)
}

/// Whether there can be a device that both concern.
fn meets(one: &DeviceRule, other: &DeviceRule) -> bool {
    let meets =
        |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
    meets(one.major, other.major) && meets(one.minor, other.minor)
}

fn apply_v2(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    let Some(rules) = &resources.devices else {
        return Ok(());
    };
    let group = folder.open_folder()?;
    device_bpf::apply(group.as_fd(), &simplified(rules)).map_err(|(action, source)| {
        CgroupError::DeviceProgram {
            action,
            path: folder.full(""),
            source,
        }
    })
}

/// What version 1 is told of a rule that concerns one kind of device.
fn line(rule: &DeviceRule) -> String {
    let number =
        |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let kind = if rule.kind == DeviceKind::Block {
        'b'
    } else {
        'c'
    };
    format!(
        "{kind} {}:{} {}",
        number(rule.major),
        number(rule.minor),
        rule.access.letters()
    )
}

/// The same rules in the fewest words, each for one kind of device: accesses to the same devices are joined, and
/// what a later rule denies whole is gone. A denial remains where it takes a part of something allowed.
fn simplified(rules: &[DeviceRule]) -> Vec<DeviceRule> {
    let mut simple: Vec<DeviceRule> = Vec::new();
    for rule in rules {
        let kinds: &[DeviceKind] = match rule.kind {
            // Version 1 reads kind `a` as everything, whatever numbers and accesses follow.
            DeviceKind::All => &[DeviceKind::Char, DeviceKind::Block],
            DeviceKind::Char => &[DeviceKind::Char],
            DeviceKind::Block => &[DeviceKind::Block],
        };
        for kind in kinds {
            let rule = DeviceRule {
                kind: *kind,
                ..rule.clone()
            };
            if rule.allow {
                allow(&mut simple, rule)
            } else {
                deny(&mut simple, rule)
            }
        }
    }
    simple
}

fn allow(simple: &mut Vec<DeviceRule>, rule: DeviceRule) {
    let denials_end = simple
        .iter()
        .rposition(|other| !other.allow)
        .map_or(0, |at| at + 1);
    let same = |other: &&mut DeviceRule| {
        (other.kind, other.major, other.minor) == (rule.kind, rule.major, rule.minor)
    };
    match simple[denials_end..].iter_mut().find(same) {
        Some(other) => other.access = other.access.union(rule.access),
        None => simple.push(rule),
    }
}

fn deny(simple: &mut Vec<DeviceRule>, rule: DeviceRule) {
    for other in simple
        .iter_mut()
        .filter(|other| other.allow && other.kind == rule.kind)
    {
        if covers(&rule, other) {
            other.access = other.access.difference(rule.access);
        }
    }
    simple.retain(|other| other.access != Access::default());
    let in_part = simple.iter().any(|other| {
        other.allow
            && other.kind == rule.kind
            && meets(&rule, other)
            && other.access.difference(rule.access) != other.access
    });
    if in_part {
        simple.push(rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rules: &[(&str, bool)]) -> Vec<String> {
        let rules: Vec<DeviceRule> = rules
            .iter()
            .map(|(text, allow)| DeviceRule {
                allow: *allow,
                ..DeviceRule::parse(text).unwrap()
            })
            .collect();
        simplified(&rules)
            .iter()
            .map(|rule| format!("{}{}", if rule.allow { "" } else { "not " }, line(rule)))
            .collect()
    }

    /// What a list of denials says, or that none can.
    fn denied(rules: &[(&str, bool)]) -> Option<Vec<String>> {
        let rules: Vec<DeviceRule> = rules
            .iter()
            .map(|(text, allow)| DeviceRule {
                allow: *allow,
                ..DeviceRule::parse(text).unwrap()
            })
            .collect();
        Some(all_but(&simplified(&rules))?.iter().map(line).collect())
    }

    #[test]
    fn all_but_some_devices() {
        let all = ("a *:* rwm", true);
        assert_eq!(
            denied(&[
                all,
                ("c 1:11 rwm", false),
                ("c *:* m", true),
                ("c 1:3 rwm", true)
            ]),
            Some(vec!["c 1:11 rw".to_owned()])
        );
        assert_eq!(
            denied(&[all, ("b 8:* w", false), ("c 1:3 w", false)]),
            Some(vec!["c 1:3 w".to_owned(), "b 8:* w".to_owned()])
        );
        assert_eq!(
            denied(&[("c 1:3 rwm", false), all, ("c 1:5 r", false), all]),
            Some(vec![])
        );
        assert_eq!(denied(&[all, ("c 1:* w", false), ("c 1:3 w", true)]), None);
        assert_eq!(
            denied(&[("c *:* rwm", true), ("c 1:3 w", false)]),
            None,
            "no disks"
        );
    }

    #[test]
    fn rules_become_lines() {
        assert_eq!(
            told(&[("c 1:3 rwm", true), ("b *:* m", true)]),
            ["c 1:3 rwm", "b *:* m"]
        );
        assert_eq!(told(&[("a 8:* rw", true)]), ["c 8:* rw", "b 8:* rw"]);
    }

    #[test]
    fn accesses_to_the_same_devices_are_joined() {
        assert_eq!(
            told(&[("c 1:3 r", true), ("c 1:5 r", true), ("c 1:3 w", true)]),
            ["c 1:3 rw", "c 1:5 r"]
        );
    }

    #[test]
    fn denials_take_away_what_came_before() {
        assert_eq!(told(&[("c 1:3 rw", true), ("c 1:* w", false)]), ["c 1:3 r"]);
        assert_eq!(
            told(&[("c 1:3 rw", true), ("a *:* rwm", false), ("c 1:5 r", true)]),
            ["c 1:5 r"]
        );
        assert_eq!(
            told(&[
                ("c 1:3 rw", true),
                ("c 1:5 rwm", false),
                ("b 1:3 rwm", false)
            ]),
            ["c 1:3 rw"]
        );
        assert_eq!(
            told(&[("c 1:* rw", true), ("c 1:3 w", false)]),
            ["c 1:* rw", "not c 1:3 w"]
        );
        assert_eq!(
            told(&[("c 1:* r", true), ("c 1:3 r", false), ("c 1:* r", true)]),
            ["c 1:* r", "not c 1:3 r", "c 1:* r"]
        );
    }
}

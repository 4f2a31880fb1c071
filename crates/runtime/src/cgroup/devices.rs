//! Which device files may be used.

use std::os::fd::AsFd;

use crate::device_bpf;

use super::directory::Folder;
use super::group::Driver;
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
    if rules.iter().any(|rule| !rule.allow) {
        // Version 1 keeps a list of what is allowed and takes only whole entries from it.
        return Err(CgroupError::Unsupported {
            setting: "a device rule that denies a part of what another allows",
        });
    }
    folder.write(V1_DENY, "a")?;
    folder.write_all(V1_ALLOW, rules.iter().map(line))
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
    let covers = |all: Option<u32>, one: Option<u32>| all.is_none() || all == one;
    let meets = |one: Option<u32>, other: Option<u32>| covers(one, other) || covers(other, one);
    for other in simple
        .iter_mut()
        .filter(|other| other.allow && other.kind == rule.kind)
    {
        if covers(rule.major, other.major) && covers(rule.minor, other.minor) {
            other.access = other.access.difference(rule.access);
        }
    }
    simple.retain(|other| other.access != Access::default());
    let in_part = simple.iter().any(|other| {
        other.allow
            && other.kind == rule.kind
            && meets(rule.major, other.major)
            && meets(rule.minor, other.minor)
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

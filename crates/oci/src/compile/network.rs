//! Network devices that the container gets from its caller.

use std::collections::BTreeMap;

use runtime::netdevice::NetDevice;
use runtime::plan::{Namespaces, NsMode};

use crate::cli::is_unprivileged;
use crate::error::{Error, Result};
use crate::spec;

/// The longest name, without its end (`IFNAMSIZ`).
const LONGEST: usize = 15;

pub(super) fn devices(
    asked: Option<&BTreeMap<String, spec::NetDevice>>,
    namespaces: &Namespaces,
) -> Result<Vec<NetDevice>> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(Vec::new());
    };
    let wrong = |why: &str| Err(Error::field("linux.netDevices", why));
    if namespaces.net == NsMode::Host {
        return wrong("they need a network namespace of the container's");
    }
    if is_unprivileged() {
        return wrong("moving them needs rights over the host");
    }
    let one = |(name, device): (&String, &spec::NetDevice)| {
        let field = |more: &str| format!("linux.netDevices.{name:?}{more}");
        let inside = device.name.as_deref().filter(|name| !name.is_empty());
        let inside = inside.unwrap_or(name);
        if !is_name(name) || name.contains('%') {
            let why = "this is no name of a network device";
            return Err(Error::field(field(""), why));
        }
        if !is_name(&inside.replace("%d", "0")) {
            let why = format!("{inside:?} is no name of a network device");
            return Err(Error::field(field(".name"), why));
        }
        Ok(NetDevice {
            name: name.clone(),
            inside: inside.to_owned(),
        })
    };
    let devices = asked.iter().map(one).collect::<Result<Vec<_>>>()?;
    for (index, device) in devices.iter().enumerate() {
        let former = devices.iter().take(index);
        if !device.is_template() && { former }.any(|other| other.inside == device.inside) {
            return wrong(&format!("two of them are called {:?}", device.inside));
        }
    }
    Ok(devices)
}

/// What the kernel takes as a device's name.
fn is_name(name: &str) -> bool {
    let sound = |letter: char| !letter.is_whitespace() && !matches!(letter, '/' | ':' | '%' | '\0');
    !matches!(name, "" | "." | "..") && name.len() <= LONGEST && name.chars().all(sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let asked = pairs.iter().map(|(name, inside)| {
            let name_inside = Some((*inside).to_owned());
            ((*name).to_owned(), spec::NetDevice { name: name_inside })
        });
        let namespaces = Namespaces {
            net: NsMode::New,
            ..Namespaces::default()
        };
        let devices = devices(Some(&asked.collect()), &namespaces)?;
        let pair = |device: NetDevice| (device.name, device.inside);
        Ok(devices.into_iter().map(pair).collect())
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        let pair = |name: &str, inside: &str| (name.to_owned(), inside.to_owned());
        assert_eq!(
            names(&[("a", ""), ("b", "eth%d"), ("c", "eth%d")]).unwrap(),
            [pair("a", "a"), pair("b", "eth%d"), pair("c", "eth%d")]
        );
        for (name, inside) in [
            ("", ""),
            ("a", ".."),
            ("a/b", "c"),
            ("a", "b c"),
            ("a", "sixteen-letters-"),
            ("a%d", ""),
            ("a", "b%s"),
            ("a", "b:0"),
        ] {
            assert!(names(&[(name, inside)]).is_err(), "{name} {inside}");
        }
        assert!(names(&[("a", "c"), ("b", "c")]).is_err());
    }

    #[test]
    fn the_hosts_namespace_is_left_alone() {
        let asked = BTreeMap::from([("a".to_owned(), spec::NetDevice::default())]);
        assert!(devices(Some(&asked), &Namespaces::default()).is_err());
        assert!(devices(None, &Namespaces::default()).unwrap().is_empty());
    }
}

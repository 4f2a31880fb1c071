//! Where a container's group is, and who makes it.

use std::collections::BTreeMap;
use std::path::Path;

use runtime::cgroup::{CgroupError, Group, Layout, Parent, Resources};
use runtime::systemd::{Keeper, Property, Scope};
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::compile::clean;
use crate::error::{Error, Result};

/// Annotations that begin so are properties of the scope.
const PROPERTY: &str = "org.systemd.property.";

/// A group by its path, and what that path begins at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct GroupPlace {
    /// In each hierarchy, without a leading slash.
    #[serde(rename = "cgroup")]
    path: String,
    /// Where it does not begin at the tops: /proc/PID/cgroup of the command that made it, below whose groups it is.
    #[serde(
        default,
        rename = "cgroupBase",
        skip_serializing_if = "Option::is_none"
    )]
    base: Option<String>,
    /// The unit, of a group that systemd has made.
    #[serde(
        default,
        rename = "cgroupScope",
        skip_serializing_if = "Option::is_none"
    )]
    scope: Option<Scope>,
    /// What the unit gets beside its limits. Whoever comes later asks systemd.
    #[serde(skip)]
    properties: Vec<Property>,
}

impl GroupPlace {
    /// Reads `linux.cgroupsPath`. A relative path, and none, begins at this command's own groups; systemd has names of
    /// its own, and takes properties from the annotations.
    pub(crate) fn compile(
        path: Option<&str>,
        id: &str,
        systemd: bool,
        annotations: Option<&BTreeMap<String, String>>,
    ) -> Result<Self> {
        let path = path.unwrap_or_default();
        if systemd {
            let properties = properties(annotations)?;
            let scope = match cli::has_own_manager() {
                false => Scope::parse(path, id)?,
                true => Scope::parse_for_user(path, id, &Layout::detect()?)?,
            };
            let manager = scope.below.as_deref();
            return Ok(Self {
                path: scope.path(),
                // Where the manager itself is.
                base: manager
                    .map(|group| format!("0::{}/init.scope\n", group.trim_end_matches('/'))),
                scope: Some(scope),
                properties,
            });
        }
        let relative = !path.starts_with('/');
        Ok(Self {
            path: path_or_id(path, id)?,
            base: relative.then(own_groups).transpose()?,
            ..Self::default()
        })
    }

    /// Brings this command to where it may put processes into the group.
    pub(crate) fn approach(&self) -> Result<()> {
        Ok(self.scope.as_ref().map_or(Ok(()), Scope::approach)?)
    }

    /// Makes the group with its limits. The answer's second part stands in it until the container's process does. With
    /// `lenient` a group that may not be made is done without: the processes stay where they are.
    pub(crate) fn make(
        &self,
        id: &str,
        resources: &Resources,
        lenient: bool,
    ) -> Result<(Option<Group>, Option<Keeper>)> {
        match self.made(id, resources) {
            Ok((group, keeper)) => Ok((Some(group), keeper)),
            // It is there, and another's.
            Err(error @ Error::Cgroup(CgroupError::Populated { .. } | CgroupError::Held)) => {
                Err(error)
            }
            Err(Error::Cgroup(_) | Error::Systemd(_)) if lenient => Ok((None, None)),
            Err(error) => Err(error),
        }
    }

    fn made(&self, id: &str, resources: &Resources) -> Result<(Group, Option<Keeper>)> {
        let layout = self.layout()?;
        if let Some(scope) = &self.scope {
            scope.approach()?;
            let description = format!("container {id}");
            let keeper = scope.start(&description, resources, &self.properties, &layout)?;
            return match scope.group(&layout, resources) {
                Ok(group) => Ok((group, Some(keeper))),
                Err(error) => {
                    // The first failure is the one to tell.
                    drop(keeper);
                    let _ = scope.stop();
                    Err(error.into())
                }
            };
        }
        let (parent, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let group = Parent::open(&layout, parent)?.create_unheld(name, resources)?;
        Ok((group, None))
    }

    /// The group, which need not exist any more.
    pub(crate) fn group(&self) -> Result<Group> {
        Ok(Group::open(&self.layout()?, &format!("/{}", self.path))?)
    }

    /// Changes limits.
    pub(crate) fn set(&self, group: &Group, resources: &Resources) -> Result<()> {
        group.set(resources)?;
        // After the kernel, which may refuse: systemd only has to know.
        match &self.scope {
            Some(scope) => Ok(scope.set(resources, &self.layout()?)?),
            None => Ok(()),
        }
    }

    /// Ends whatever is in the group, and removes it.
    pub(crate) fn end(&self, group: &Group) -> Result<()> {
        group.kill()?;
        if let Some(scope) = &self.scope {
            scope.stop()?;
        }
        Ok(group.remove()?)
    }

    fn layout(&self) -> Result<Layout> {
        Ok(match &self.base {
            None => Layout::detect()?,
            Some(membership) => Layout::detect_below(membership)?,
        })
    }
}

/// Reads the annotations that are properties of a unit, as for runc.
///
/// # Errors
/// One whose name or value is none.
pub(crate) fn properties(annotations: Option<&BTreeMap<String, String>>) -> Result<Vec<Property>> {
    let mut all = Vec::new();
    for (key, text) in annotations.into_iter().flatten() {
        let Some(name) = key.strip_prefix(PROPERTY) else {
            continue;
        };
        let field = || format!("annotations.{key}");
        all.push(Property::parse(name, text).map_err(|why| Error::field(field(), why))?);
    }
    Ok(all)
}

fn path_or_id(path: &str, id: &str) -> Result<String> {
    if path.contains(':') {
        return Err(Error::field(
            "linux.cgroupsPath",
            format!("{path:?} is of the form that systemd's driver takes (--systemd-cgroup)"),
        ));
    }
    let clean = clean(path);
    let trimmed = clean.trim_matches('/');
    Ok(if trimmed.is_empty() { id } else { trimmed }.to_owned())
}

/// In which groups this command is.
pub(crate) fn own_groups() -> Result<String> {
    let path = Path::new("/proc/self/cgroup");
    sys::procfs::read_text(path).map_err(|source| Error::io("reading", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_groups_begin_at_the_top_or_at_the_callers() {
        let place = |path| {
            let place = GroupPlace::compile(path, "box", false, None).unwrap();
            (place.path, place.base.is_some())
        };
        let told = |path: &str, relative| (path.to_owned(), relative);
        assert_eq!(place(None), told("box", true));
        assert_eq!(place(Some("")), told("box", true));
        assert_eq!(place(Some("/")), told("box", false));
        assert_eq!(place(Some("/docker/x")), told("docker/x", false));
        assert_eq!(place(Some("a/b/")), told("a/b", true));
        assert_eq!(place(Some("../b")), told("b", true));
        assert_eq!(place(Some("/a/../../b")), told("b", false));
        assert!(GroupPlace::compile(Some("system.slice:wharf:x"), "box", false, None).is_err());
    }

    #[test]
    fn systemds_paths_name_scopes() {
        let place = GroupPlace::compile(Some("a-b.slice:wharf:x"), "box", true, None).unwrap();
        assert_eq!(place.path, "a.slice/a-b.slice/wharf-x.scope");
        assert!(GroupPlace::compile(Some("/docker/x"), "box", true, None).is_err());
        // What is written down is read again.
        let text = serde_json::to_string(&place).unwrap();
        let again: GroupPlace = serde_json::from_str(&text).unwrap();
        assert_eq!(again.scope, place.scope);
    }
}

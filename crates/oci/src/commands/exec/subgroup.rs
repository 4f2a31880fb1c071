//! `exec --cgroup`: a group below the container's, which somebody in it has made.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use runtime::cgroup::{HierarchyView, View};
use rustix::fs::{Mode, OFlags};

use crate::compile::{self, Entry};
use crate::error::{Error, Result};
use crate::state::Container;

/// Version 1's file through which a process enters.
const TASKS: &str = "tasks";

/// One value of the flag: `PATH`, or `CONTROLLER,…:PATH` for these hierarchies of version 1.
struct Asked<'a> {
    controllers: Vec<&'a str>,
    path: PathBuf,
}

impl<'a> Asked<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let (controllers, path) = match text.split_once(':') {
            Some((controllers, path)) => (controllers.split(',').collect(), path),
            None => (Vec::new(), text),
        };
        if leads_out(path) {
            let text = format!("exec --cgroup: {path} is not a sub cgroup path");
            return Err(Error::Usage(text));
        }
        let path = compile::clean(path);
        Ok(Self {
            controllers,
            path: PathBuf::from(path.trim_start_matches('/')),
        })
    }

    fn is_of(&self, view: &HierarchyView) -> bool {
        let named = |name: &&str| view.options.iter().any(|own| own == name) || view.name == **name;
        self.controllers.is_empty() || self.controllers.iter().any(named)
    }
}

/// Opens the groups that are asked for; the container's own where none is.
pub(super) fn entry(container: &Container, asked: &[&str]) -> Result<Entry> {
    let asked: Vec<Asked<'_>> = asked
        .iter()
        .map(|text| Asked::parse(text))
        .collect::<Result<_>>()?;
    let group = container.group()?;
    let mut entry = compile::entry(Some(group))?;
    match (group.views(), asked.as_slice()) {
        (View::Unified(folder), [one]) if one.controllers.is_empty() => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = open(&folder.join(&one.path), "", flags)?;
            if let Some(place) = entry.cgroup.unified {
                entry.fds[usize::from(place.0)] = opened;
            }
        }
        (View::Unified(_), _) => {
            let why = "exec --cgroup: version 2 has one tree, and so one path without a controller";
            return Err(Error::Usage(why.to_owned()));
        }
        (View::Hierarchies(views), asked) => {
            check_controllers(asked, &views)?;
            for (view, fd) in views.iter().zip(&mut entry.fds) {
                if let Some(one) = asked.iter().rfind(|one| one.is_of(view)) {
                    let folder = view.folder.join(&one.path);
                    *fd = open(&folder, TASKS, OFlags::WRONLY | OFlags::CLOEXEC)?;
                }
            }
        }
    }
    Ok(entry)
}

/// Whether a path leads above where it begins, be it on the way to elsewhere.
fn leads_out(path: &str) -> bool {
    let mut depth = 0_usize;
    path.split('/').any(|part| match part {
        "" | "." => false,
        ".." => match depth.checked_sub(1) {
            Some(above) => {
                depth = above;
                false
            }
            None => true,
        },
        _ => {
            depth += 1;
            false
        }
    })
}

fn check_controllers(asked: &[Asked<'_>], views: &[HierarchyView]) -> Result<()> {
    let known = |name: &&&str| {
        let mut views = views.iter();
        views.any(|view| view.name == **name || view.options.iter().any(|own| own == **name))
    };
    let mut names = asked.iter().flat_map(|one| &one.controllers);
    match names.find(|name| !known(name)) {
        Some(name) => Err(Error::Usage(format!(
            "exec --cgroup: unknown controller {name:?}: the container has no group of it"
        ))),
        None => Ok(()),
    }
}

/// Opens what a process enters `folder` by. Errors name the file that runc writes to.
fn open(folder: &Path, file: &str, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(folder.join(file), flags, Mode::empty()).map_err(|errno| {
        let path = folder.join("cgroup.procs");
        Error::io("exec --cgroup: adding pid to", &path, errno)
    })
}

#[cfg(test)]
mod tests {
    use super::leads_out;

    #[test]
    fn paths_stay_below_where_they_begin() {
        for path in ["", "/", "a", "/a/b", "a/..", "a/./b/../.."] {
            assert!(!leads_out(path), "{path}");
        }
        for path in ["..", "/..", "a/../..", "a/../../a", "../container"] {
            assert!(leads_out(path), "{path}");
        }
    }
}

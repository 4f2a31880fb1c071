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
    fn parse(text: &'a str) -> Self {
        let (controllers, path) = match text.split_once(':') {
            Some((controllers, path)) => (controllers.split(',').collect(), path),
            None => (Vec::new(), text),
        };
        // `..` leads no further than the container's own group.
        let path = compile::clean(path);
        Self {
            controllers,
            path: PathBuf::from(path.trim_start_matches('/')),
        }
    }

    fn is_of(&self, view: &HierarchyView) -> bool {
        let named = |name: &&str| view.options.iter().any(|own| own == name) || view.name == **name;
        self.controllers.is_empty() || self.controllers.iter().any(named)
    }
}

/// Opens the groups that are asked for; the container's own where none is.
pub(super) fn entry(container: &Container, asked: &[&str]) -> Result<Entry> {
    let asked: Vec<Asked<'_>> = asked.iter().map(|text| Asked::parse(text)).collect();
    let group = container.group()?;
    let mut entry = compile::entry(Some(&group))?;
    match (group.views(), asked.as_slice()) {
        (View::Unified(folder), [one]) if one.controllers.is_empty() => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = open(&folder.join(&one.path), flags)?;
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
                    let path = view.folder.join(&one.path).join(TASKS);
                    *fd = open(&path, OFlags::WRONLY | OFlags::CLOEXEC)?;
                }
            }
        }
    }
    Ok(entry)
}

fn check_controllers(asked: &[Asked<'_>], views: &[HierarchyView]) -> Result<()> {
    let known = |name: &&&str| {
        let mut views = views.iter();
        views.any(|view| view.name == **name || view.options.iter().any(|own| own == **name))
    };
    let mut names = asked.iter().flat_map(|one| &one.controllers);
    match names.find(|name| !known(name)) {
        Some(name) => Err(Error::Usage(format!(
            "exec --cgroup: the container has no group of the controller {name:?}"
        ))),
        None => Ok(()),
    }
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::io("opening the group", path, errno))
}

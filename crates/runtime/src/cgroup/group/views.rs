//! Where a group's folders are, for a container that is to see them.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::Group;
use crate::cgroup::controller::Controller;
use crate::cgroup::directory::Folder;
use crate::cgroup::layout::{Hierarchy, Layout};

/// Where a group's folders are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Version 2 alone: the one folder.
    Unified(PathBuf),
    /// Version 1: a folder in each hierarchy in which the group exists.
    Hierarchies(Vec<HierarchyView>),
}

/// A group's folder in one hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HierarchyView {
    /// The last part of the hierarchy's mount point, such as `cpu,cpuacct`.
    pub name: String,
    /// The group's folder.
    pub folder: PathBuf,
    /// What a mount of the hierarchy is given: its controllers that this program knows, or `name=` and its name.
    pub options: Vec<String>,
}

/// Where a group that needs none of its own is in its parent's. The Java virtual machine takes a host without all of cpu,
/// cpuacct, cpuset and memory for one without groups, and overlooks the container's memory limit; a folder more for each
/// container would cost a start as much as three mounts.
const SHARED: [Controller; 2] = [Controller::Cpuacct, Controller::Cpuset];

impl HierarchyView {
    fn of(hierarchy: &Hierarchy, path: &str) -> Self {
        let controllers = hierarchy.controllers.iter();
        let name = hierarchy.name.iter().map(|name| format!("name={name}"));
        Self {
            name: hierarchy.label.clone(),
            folder: hierarchy.path.join(path),
            options: controllers
                .map(|one| one.name().to_owned())
                .chain(name)
                .collect(),
        }
    }
}

impl Layout {
    /// Where the tops are, for a container that stays in its maker's groups ([`Layout::detect_own`]).
    pub fn views(&self) -> View {
        let hierarchies = self.hierarchies();
        match &hierarchies.unified {
            Some(unified) if hierarchies.v1.is_empty() => View::Unified(unified.path.clone()),
            _ => {
                let all = hierarchies.v1.iter();
                View::Hierarchies(all.map(|one| HierarchyView::of(one, "")).collect())
            }
        }
    }
}

impl Group {
    /// Folders of the parent in version 1 hierarchies that the group shares with its siblings, as the hierarchies that
    /// `SHARED` names where it needs no limits there. Empty where the parent can not be made: nothing is missed then but a
    /// program's idea of its surroundings.
    pub fn shared(&self) -> Vec<PathBuf> {
        let shared = self.shared_folders();
        shared.map(|folder| folder.full("")).collect()
    }

    /// Where the group's folders are, for a container that is shown its own groups.
    pub fn views(&self) -> View {
        let hierarchies = self.parent.layout().hierarchies();
        if self.parent.layout().version() == 2 {
            let folder = self.unified().map(|folder| folder.full(""));
            return View::Unified(folder.unwrap_or_default());
        }
        let own = self
            .v1_indexes()
            .map(|index| HierarchyView::of(&hierarchies.v1[index], &self.path()));
        View::Hierarchies(own.collect())
    }

    /// The group's folder in the unified tree, where one is mounted beside hierarchies of version 1 or alone.
    pub fn unified_view(&self) -> Option<PathBuf> {
        self.unified().map(|folder| folder.full(""))
    }

    pub(super) fn shared_folders(&self) -> impl Iterator<Item = Folder<'_>> {
        let present = self.v1.load(Ordering::Acquire);
        let hierarchies = self.parent.layout().hierarchies().v1.iter().enumerate();
        hierarchies
            .filter(move |(index, hierarchy)| {
                let own = present & (1 << index) != 0;
                !own && hierarchy.controllers.iter().any(|one| SHARED.contains(one))
            })
            .filter_map(|(index, _)| self.parent.v1(index, "").ok())
    }
}

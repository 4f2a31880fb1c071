//! Control groups of containers below a parent that somebody named (`--cgroup-parent`) instead of the engine's own.
//!
//! The parent is others' as well: what is there stays, and what was made for a container goes with the last one. Which
//! folders were made is written down before they are, in `EXEC_ROOT/v1/groups`, so that a later daemon knows it too.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use runtime::cgroup::{CgroupError, Group, Parent, Resources};
use types::Digest;

use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// How long processes that were killed may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// Where a container's group is.
pub(crate) struct GroupPlace {
    /// Empty for the engine's own.
    parent: String,
    id: String,
}

/// A parent without slashes at its ends; empty for the engine's own.
///
/// # Errors
/// A path that leads anywhere but downwards, and one below the engine's own group.
pub(crate) fn checked(path: &str, own: &str) -> Result<String> {
    let path = path.trim_matches('/');
    if path.is_empty() || path == own {
        return Ok(String::new());
    }
    let below = |_| {
        EngineError::invalid(format!(
            "invalid cgroup parent {path:?}: a path below the top of the hierarchies is expected"
        ))
    };
    let path = Parent::checked(path).map_err(below)?;
    match path.split('/').next() == Some(own) {
        true => Err(EngineError::invalid(format!(
            "invalid cgroup parent {path:?}: {own} is the engine's own"
        ))),
        false => Ok(path),
    }
}

impl Engine {
    /// One at a time makes or removes parents.
    fn parents_turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.inner().parents.lock();
        turn.unwrap_or_else(PoisonError::into_inner)
    }

    /// The container's group as it is. It need not exist any more.
    pub(crate) fn group_of(&self, container: &Container) -> Result<Group> {
        self.group_at(&self.group_place(container))
    }

    /// Where the container's group is, for a thread that may wait.
    pub(crate) fn group_place(&self, container: &Container) -> GroupPlace {
        GroupPlace {
            parent: self.group_parent(container),
            id: container.id().to_string(),
        }
    }

    /// The parent of the container's group; empty for the engine's own.
    pub(crate) fn group_parent(&self, container: &Container) -> String {
        // What can not be was refused at the creation.
        checked(
            &container.spec.host.cgroup_parent,
            self.inner().groups.path(),
        )
        .unwrap_or_default()
    }

    /// The same by where it is.
    pub(crate) fn group_at(&self, place: &GroupPlace) -> Result<Group> {
        self.group_below(&place.parent, &place.id)
    }

    fn group_below(&self, parent: &str, id: &str) -> Result<Group> {
        let groups = &self.inner().groups;
        if !parent.is_empty() {
            let _turn = self.parents_turn();
            let path = format!("{parent}/{id}");
            // To open what is gone would make its parent again: a group that is gone is as good at home.
            if groups.layout().has(&path) {
                return Ok(Group::open(groups.layout(), &path)?);
            }
        }
        Ok(groups.group(id)?)
    }

    /// Makes the container's group.
    pub(crate) fn create_group(
        &self,
        container: &Container,
        resources: &Resources,
    ) -> Result<std::result::Result<Group, CgroupError>> {
        let (groups, id) = (&self.inner().groups, container.id().as_str());
        let path = self.group_parent(container);
        let path = path.as_str();
        if path.is_empty() {
            return Ok(groups.create(id, resources));
        }
        let turn = self.parents_turn();
        let missing = groups.layout().missing(path);
        if !missing.is_empty() {
            self.note_parent(path, &missing)?;
        }
        let made =
            Parent::open(groups.layout(), path).and_then(|parent| parent.create(id, resources));
        drop(turn);
        if made.is_err() {
            self.forget_parent(path)?;
        }
        Ok(made)
    }

    /// Removes a container's control group with everything in it, and the parent that was made for it if it is empty.
    pub(crate) fn remove_group(&self, id: &str) -> Result<()> {
        let known = self.registry().find(id).ok();
        let known = known.filter(|container| container.id().as_str() == id);
        let parents = match known {
            Some(container) => vec![self.group_parent(&container)],
            // Of one that is gone nobody knows it.
            None => {
                let mut all = self.noted_parents()?;
                all.push(String::new());
                all
            }
        };
        for parent in parents {
            let group = self.group_below(&parent, id)?;
            if !group.is_empty()? {
                group.kill()?;
                group.wait_empty(ENDING)?;
            }
            group.remove()?;
            if !parent.is_empty() {
                self.forget_parent(&parent)?;
            }
        }
        Ok(())
    }

    /// What parents that were made for containers still have of containers that do not run, and those that are empty: of
    /// a daemon that was killed.
    pub(crate) fn remove_left_groups(&self, dead: impl Fn(&str) -> bool) -> Result<()> {
        for parent in self.used_parents()? {
            let layout = self.inner().groups.layout();
            if layout.has(&parent) {
                let mut left = Parent::names_below(layout, &parent)?;
                left.retain(|name| dead(name));
                for name in left {
                    self.remove_group(&name)?;
                }
            }
            self.forget_parent(&parent)?;
        }
        Ok(())
    }

    /// Parents that containers name, or that were made for some.
    fn used_parents(&self) -> Result<Vec<String>> {
        let mut all = self.noted_parents()?;
        let containers = self.registry().all();
        let named = containers
            .iter()
            .map(|container| self.group_parent(container));
        all.extend(named.filter(|parent| !parent.is_empty()));
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Writes down which folders are about to be made for a parent.
    fn note_parent(&self, path: &str, missing: &[PathBuf]) -> Result<()> {
        let folder = self.paths().groups();
        let note = note(&folder, path);
        let write = || {
            fs::create_dir_all(&folder)?;
            let known = fs::read_to_string(&note).unwrap_or_default();
            let mut file = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&note)?;
            if known.is_empty() {
                writeln!(file, "{path}")?;
            }
            // Not every hierarchy has a container's group: what is missing there was written down before.
            let mut fresh = missing
                .iter()
                .map(|folder| folder.display().to_string())
                .filter(|folder| !known.lines().any(|line| line == folder));
            fresh.try_for_each(|folder| writeln!(file, "{folder}"))
        };
        write().map_err(EngineError::io(format!("write {}", note.display())))
    }

    /// Parents of which something was made.
    fn noted_parents(&self) -> Result<Vec<String>> {
        let folder = self.paths().groups();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(EngineError::io(format!("read {}", folder.display()))(error));
            }
        };
        let notes = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
        Ok(notes
            .filter_map(|note| note.lines().next().map(str::to_owned))
            .collect())
    }

    /// Removes what was made of a parent, as far as it is empty.
    fn forget_parent(&self, path: &str) -> Result<()> {
        let _turn = self.parents_turn();
        let note = note(&self.paths().groups(), path);
        let Ok(text) = fs::read_to_string(&note) else {
            return Ok(());
        };
        let mut made: Vec<&str> = text.lines().skip(1).collect();
        // The deepest first.
        made.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
        let mut stays = false;
        for folder in made {
            match fs::remove_dir(folder) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // Others' groups or processes are there by now.
                Err(_) => stays = true,
            }
        }
        if stays {
            return Ok(());
        }
        fs::remove_file(&note).map_err(EngineError::io(format!("remove {}", note.display())))?;
        // As long as others are noted it stays.
        let _ = fs::remove_dir(self.paths().groups());
        Ok(())
    }
}

/// The file in which it stands what was made of a parent.
fn note(folder: &Path, path: &str) -> PathBuf {
    folder.join(Digest::sha256(path.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn parents_lead_downwards_and_are_not_the_engine_s() {
        let own = "wharf-0a1b";
        assert_eq!(checked("/a/b/", own).unwrap(), "a/b");
        assert_eq!(checked("x.slice", own).unwrap(), "x.slice");
        assert_eq!(checked("/wharf-0a1b", own).unwrap(), "");
        assert_eq!(checked("", own).unwrap(), "");
        for path in ["../a", "a/../b", "a//b", "wharf-0a1b/c"] {
            let told = checked(path, own).unwrap_err().to_string();
            assert!(told.starts_with("invalid cgroup parent"), "{told}");
        }
    }
}

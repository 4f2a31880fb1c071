//! New limits for a group that has processes already.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::{Group, TASKS};
use crate::cgroup::controller::Controller;
use crate::cgroup::directory::Folder;
use crate::cgroup::removal::{make_fresh, remove};
use crate::cgroup::resources::Resources;
use crate::cgroup::{CgroupError, kill};

/// How often a group whose threads are moved is looked through for new ones.
const MOVE_ROUNDS: u32 = 16;
/// Version 2 file that lists a group's threads.
const V2_THREADS: &str = "cgroup.threads";

/// Where a group's threads are listed.
struct Members {
    folder: OwnedFd,
    file: &'static str,
}

impl Group {
    /// Changes limits. In a version 1 hierarchy in which the group is not yet it is made, and its threads move; where
    /// that fails it is taken out of it again. Limits that the kernel has taken before a failure stay.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group is in no hierarchy: nothing is made of it.
    pub fn set(&self, resources: &Resources) -> Result<(), CgroupError> {
        self.request(resources)?;
        let members = self.listed()?;
        let present: BTreeSet<usize> = self.v1_indexes().collect();
        let needed = self.needed(resources);
        let mut added = Vec::new();
        let done = self.set_and_fill(resources, &members, &needed, &present, &mut added);
        if done.is_err() {
            for index in added {
                self.leave(index);
            }
        }
        done
    }

    fn set_and_fill(
        &self,
        resources: &Resources,
        members: &Members,
        needed: &BTreeSet<usize>,
        present: &BTreeSet<usize>,
        added: &mut Vec<usize>,
    ) -> Result<(), CgroupError> {
        let mut empty = Vec::new();
        for &index in needed {
            let folder = self.v1(index)?;
            if !present.contains(&index) {
                make_fresh(&folder)?;
                added.push(index);
                self.v1.fetch_or(1 << index, Ordering::AcqRel);
                empty.push(index);
            } else if folder
                .read_if_exists(TASKS)?
                .is_none_or(|text| text.is_empty())
            {
                // Made by somebody who did not come to move the threads.
                empty.push(index);
            }
        }
        self.apply(resources)?;
        empty
            .into_iter()
            .try_for_each(|index| self.move_threads(members, &self.v1(index)?))
    }

    /// Takes the group out of a version 1 hierarchy: its threads are the parent's there.
    fn leave(&self, index: usize) {
        self.v1.fetch_and(!(1 << index), Ordering::AcqRel);
        // The failure that led here is the one to tell, and a folder that stays is found by the next change.
        let Ok(folder) = self.v1(index) else { return };
        if let (Ok(parent), Ok(Some(threads))) =
            (self.parent.v1(index, ""), folder.read_if_exists(TASKS))
        {
            for thread in threads.lines() {
                let _ = parent.write(TASKS, thread);
            }
        }
        let _ = remove(&folder);
    }

    /// Where all threads of the group are listed: the unified tree, or the hierarchy of the freezer, or another.
    fn listed(&self) -> Result<Members, CgroupError> {
        let gone = || CgroupError::Gone { path: self.path() };
        let freezer = match self.place(Controller::Freezer)? {
            Some((folder, true)) => Some(folder),
            _ => None,
        };
        let v1 = match freezer {
            Some(folder) => Some(folder),
            None => self
                .v1_indexes()
                .next()
                .map(|index| self.v1(index))
                .transpose()?,
        };
        let unified = self.unified().map(|folder| (folder, V2_THREADS));
        let all = unified.into_iter().chain(v1.map(|folder| (folder, TASKS)));
        for (folder, file) in all {
            match folder.open_folder() {
                Ok(folder) => return Ok(Members { folder, file }),
                Err(CgroupError::Open { source, .. })
                    if source.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
        }
        Err(gone())
    }

    /// Moves every thread of the group to `target`, until a look finds no new one.
    fn move_threads(&self, members: &Members, target: &Folder<'_>) -> Result<(), CgroupError> {
        let mut moved = BTreeSet::new();
        for _ in 0..MOVE_ROUNDS {
            let mut threads = BTreeSet::new();
            kill::numbers(members.folder.as_fd(), members.file, &mut threads).map_err(
                |source| CgroupError::Read {
                    path: format!("{}/{}", self.path(), members.file).into(),
                    source,
                },
            )?;
            let fresh: Vec<i32> = threads.difference(&moved).copied().collect();
            if fresh.is_empty() {
                return Ok(());
            }
            for thread in &fresh {
                match target.write(TASKS, &thread.to_string()) {
                    // The thread has ended.
                    Err(CgroupError::Write { source, .. })
                        if source.raw_os_error() == Some(libc::ESRCH) => {}
                    other => other?,
                }
            }
            moved.extend(fresh);
        }
        Err(CgroupError::Restless { path: self.path() })
    }
}

//! A container's group in all hierarchies.

mod changes;
mod views;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::controller::Controller;
use super::directory::Folder;
use super::doors::Doors;
use super::driver::DRIVERS;
use super::layout::{Home, Layout};
use super::notice::{self, Pressure, Watch};
use super::parent::{Parent, check_name};
use super::removal::{make_fresh, make_unheld, remove};
use super::resources::Resources;
use super::stats::Stats;
use super::{CgroupError, freezer, hugetlb, kill, memory, unified};

pub use views::{HierarchyView, View};

/// Version 1 file through which a thread moves itself.
const TASKS: &str = "tasks";

/// A container's group: a name beneath a [`Parent`] in each hierarchy that the container needs. It holds no
/// descriptor of its own, and dropping it leaves the group in place.
#[derive(Debug)]
pub struct Group {
    parent: Parent,
    name: String,
    /// Bit n: the group exists in the version 1 hierarchy with index n.
    v1: AtomicU32,
}

impl Group {
    /// Makes the group `path` and sets its limits. Prefer [`Parent::create`] for more than one group.
    pub fn create(
        layout: &Layout,
        path: &str,
        resources: &Resources,
    ) -> Result<Group, CgroupError> {
        let (parent, name) = split(path)?;
        Parent::open(layout, parent)?.create(name, resources)
    }

    /// The group `path` as it is. It need not exist any more.
    pub fn open(layout: &Layout, path: &str) -> Result<Group, CgroupError> {
        let (parent, name) = split(path)?;
        Parent::existing(layout, parent)?.group(name)
    }

    /// Path in each hierarchy, without a leading slash.
    pub fn path(&self) -> String {
        below(self.parent.path(), &self.name)
    }

    pub(super) fn parent(&self) -> &Parent {
        &self.parent
    }

    fn unified(&self) -> Option<Folder<'_>> {
        self.parent.unified(&self.name)
    }

    pub(super) fn v1(&self, index: usize) -> Result<Folder<'_>, CgroupError> {
        self.parent.v1(index, &self.name)
    }

    /// Whether the group exists in the version 1 hierarchy `index`.
    pub(super) fn is_in(&self, index: usize) -> bool {
        self.v1.load(Ordering::Acquire) & (1 << index) != 0
    }

    fn v1_indexes(&self) -> impl Iterator<Item = usize> + use<> {
        let present = self.v1.load(Ordering::Acquire);
        (0..u32::BITS)
            .filter(move |index| present & (1 << index) != 0)
            .map(|index| index as usize)
    }

    /// The group's folder for `controller`, and whether it is a version 1 one; `None` where the group has none.
    pub(super) fn place(
        &self,
        controller: Controller,
    ) -> Result<Option<(Folder<'_>, bool)>, CgroupError> {
        match self.parent.home(controller) {
            Some(Home::Unified) => Ok(self.unified().map(|folder| (folder, false))),
            Some(Home::V1(index)) if self.is_in(index) => Ok(Some((self.v1(index)?, true))),
            _ => Ok(None),
        }
    }

    /// Version 1 hierarchies that a group with `resources` must be in: those that set it apart from others in any
    /// case, and those that a limit asks for.
    fn needed(&self, resources: &Resources) -> BTreeSet<usize> {
        if resources.apart {
            return (0..self.parent.layout().hierarchies().v1.len()).collect();
        }
        let always = [
            Controller::Memory,
            Controller::Cpu,
            Controller::Cpuacct,
            Controller::Pids,
            Controller::Freezer,
        ];
        let homes = always
            .into_iter()
            .chain(asked(resources))
            .filter_map(|controller| self.parent.home(controller));
        homes
            .filter_map(|home| {
                if let Home::V1(index) = home {
                    Some(index)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Has controllers of the unified tree handed down that `resources` ask for.
    fn request(&self, resources: &Resources) -> Result<(), CgroupError> {
        hugetlb::check(resources)?;
        let mut controllers: Vec<Controller> = asked(resources).collect();
        controllers.extend(unified::controllers(&resources.unified));
        // On a hybrid host it is a controller that nobody else may have wanted.
        if resources.apart && self.parent.layout().version() == 2 {
            controllers.extend(Controller::ON_REQUEST);
        }
        controllers.retain(|one| Controller::ON_REQUEST.contains(one));
        self.parent.request(&controllers)
    }

    /// Finds out which of the controllers that are had on request the group has in the unified tree.
    pub(super) fn recognise(&self) -> Result<(), CgroupError> {
        if let Some(folder) = self.unified()
            && let Some(text) = folder.read_if_exists("cgroup.controllers")?
        {
            let names = text.split_ascii_whitespace();
            self.parent
                .recognise(names.filter_map(Controller::from_unified_name));
        }
        Ok(())
    }

    /// Makes the folders with `make`, and sets the limits.
    fn make(
        &self,
        resources: &Resources,
        make: fn(&Folder<'_>) -> Result<(), CgroupError>,
    ) -> Result<(), CgroupError> {
        self.request(resources)?;
        for index in self.needed(resources) {
            make(&self.v1(index)?)?;
            self.v1.fetch_or(1 << index, Ordering::AcqRel);
        }
        if let Some(unified) = self.unified() {
            make(&unified)?;
        }
        self.apply(resources)
    }

    fn apply(&self, resources: &Resources) -> Result<(), CgroupError> {
        for driver in &DRIVERS {
            match self.place(driver.controller)? {
                Some((folder, true)) => (driver.apply_v1)(&folder, resources)?,
                Some((folder, false)) => (driver.apply_v2)(&folder, resources)?,
                None => {
                    if let Some(setting) = (driver.wanted)(resources) {
                        return Err(CgroupError::NoController {
                            setting,
                            controller: driver.controller,
                        });
                    }
                }
            }
        }
        if resources.unified.is_empty() {
            return Ok(());
        }
        let has = |controller| self.parent.home(controller) == Some(Home::Unified);
        unified::apply(self.unified().as_ref(), &resources.unified, &has)
    }

    /// Descriptors through which a process enters: of each version 1 hierarchy the file `tasks`, to which the
    /// process itself writes `0` while it has one thread, and of the unified tree the folder, to clone into.
    pub fn entry_fds(&self) -> Result<(Vec<OwnedFd>, Option<OwnedFd>), CgroupError> {
        let tasks = self
            .entered()
            .map(|folder| folder?.open(TASKS, OFlags::WRONLY))
            .collect::<Result<Vec<OwnedFd>, _>>()?;
        let unified = self
            .unified()
            .map(|folder| folder.open_folder())
            .transpose()?;
        Ok((tasks, unified))
    }

    /// The same by paths, and where the group tells whether it is frozen.
    pub fn doors(&self) -> Result<Doors, CgroupError> {
        let tasks = self.entered().map(|folder| Ok(folder?.full(TASKS)));
        let freezer = self.place(Controller::Freezer)?;
        Ok(Doors {
            tasks: tasks.collect::<Result<_, CgroupError>>()?,
            unified: self.unified().map(|folder| folder.full("")),
            freezer: freezer.map(|(folder, v1)| folder.full(freezer::teller(v1))),
        })
    }

    /// The version 1 folders that the group's processes are in.
    fn entered(&self) -> impl Iterator<Item = Result<Folder<'_>, CgroupError>> {
        let own = self.v1_indexes().map(|index| self.v1(index));
        own.chain(self.shared_folders().map(Ok))
    }

    /// A folder for [`super::kill_by_descriptor`] and [`super::clear_by_descriptor`].
    pub fn kill_fd(&self) -> Result<OwnedFd, CgroupError> {
        self.members()?.open_folder()
    }

    /// A descriptor for [`super::oom_kills_by_descriptor`]; `None` where memory is not counted.
    pub fn oom_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        Ok(match self.place(Controller::Memory)? {
            Some((folder, v1)) => Some(folder.open(
                if v1 {
                    memory::V1_OOM
                } else {
                    memory::V2_EVENTS
                },
                OFlags::RDONLY,
            )?),
            None => None,
        })
    }

    /// Watches the group run out of memory; `None` where memory is not counted.
    pub fn watch_oom(&self) -> Result<Option<Watch>, CgroupError> {
        Ok(match self.place(Controller::Memory)? {
            Some((folder, true)) => Some(notice::oom_v1(&folder)?),
            Some((folder, false)) => Some(notice::oom_v2(&folder)?),
            None => None,
        })
    }

    /// Watches the group be short of memory.
    pub fn watch_pressure(&self, level: Pressure) -> Result<Watch, CgroupError> {
        match self.place(Controller::Memory)? {
            Some((folder, true)) => notice::pressure_v1(&folder, level),
            Some((folder, false)) => notice::pressure_v2(&folder, level),
            None => Err(CgroupError::NoController {
                setting: "notice of memory pressure",
                controller: Controller::Memory,
            }),
        }
    }

    /// The folder that tells the members: the unified one, or that of the freezer, or any.
    fn members(&self) -> Result<Folder<'_>, CgroupError> {
        if let Some(folder) = self.unified() {
            return Ok(folder);
        }
        if let Some((folder, _)) = self.place(Controller::Freezer)? {
            return Ok(folder);
        }
        match self.v1_indexes().next() {
            Some(index) => self.v1(index),
            None => Err(CgroupError::BadPath { path: self.path() }),
        }
    }

    /// Stops or resumes all processes, and returns once they are.
    pub fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        match self.place(Controller::Freezer)? {
            Some((folder, true)) => freezer::freeze_v1(&folder, frozen),
            Some((folder, false)) => freezer::freeze_v2(&folder, frozen),
            None => Err(CgroupError::NoController {
                setting: "pausing",
                controller: Controller::Freezer,
            }),
        }
    }

    /// Whether the group is stopped.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        match self.place(Controller::Freezer)? {
            Some((folder, v1)) => Ok(freezer::tells_frozen(&folder.read(freezer::teller(v1))?)),
            None => Ok(false),
        }
    }

    /// Kills every process of the group and of groups beneath it. Exits may still be under way at the return (see
    /// [`Group::wait_empty`]), and the group must not be entered again (see [`kill_by_descriptor`](kill::kill_by_descriptor)).
    ///
    /// A group that is gone has no processes.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match self.kill_fd() {
            Err(CgroupError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(())
            }
            other => kill::kill_by_descriptor(other?.as_fd()),
        }
    }

    /// Processes of the group and of groups beneath it.
    pub fn pids(&self) -> Result<BTreeSet<i32>, CgroupError> {
        kill::pids(&self.members()?)
    }

    /// Whether no process is left. A group that is gone is empty.
    pub fn is_empty(&self) -> Result<bool, CgroupError> {
        match self.unified() {
            Some(folder) => {
                let events = folder.read_if_exists("cgroup.events")?;
                Ok(events
                    .is_none_or(|text| super::directory::keyed(&text, "populated") == Some("0")))
            }
            None => Ok(self.pids()?.is_empty()),
        }
    }

    /// Waits until no process is left; `false` when `patience` ended first. A group that is gone, or goes meanwhile, is empty.
    pub fn wait_empty(&self, patience: Duration) -> Result<bool, CgroupError> {
        if let Some(folder) = self.unified() {
            return match freezer::wait_v2(&folder, "populated", "0", patience) {
                Err(error) if error.is_of_gone() => Ok(true),
                other => other,
            };
        }
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(200);
        while !self.is_empty()? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// Removes the group and the groups beneath it from every hierarchy. What is gone already counts as removed; a
    /// group that processes are leaving is tried for two seconds.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut done = self.remove_made();
        if let Some(folder) = self.unified() {
            done = done.and(remove(&folder));
        }
        done
    }

    /// Removes it from the version 1 hierarchies that it is known to be in.
    fn remove_made(&self) -> Result<(), CgroupError> {
        let mut done = Ok(());
        for index in self.v1_indexes() {
            let removed = self.v1(index).and_then(|folder| remove(&folder));
            done = done.and(removed);
        }
        done
    }

    /// What the group counts.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        self.stats_of(|_| true)
    }

    /// What those controllers count that are `wanted`.
    pub(super) fn stats_of(&self, wanted: fn(Controller) -> bool) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        for driver in DRIVERS.iter().filter(|one| wanted(one.controller)) {
            match self.place(driver.controller)? {
                Some((folder, true)) => (driver.read_v1)(&folder, &mut stats)?,
                Some((folder, false)) => (driver.read_v2)(&folder, &mut stats)?,
                None => {}
            }
        }
        Ok(stats)
    }

    /// How many processes the kernel killed at the memory limit.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        match self.place(Controller::Memory)? {
            Some((folder, true)) => folder.read_keyed(memory::V1_OOM, "oom_kill"),
            Some((folder, false)) => folder.read_keyed(memory::V2_EVENTS, "oom_kill"),
            None => Ok(0),
        }
    }
}

impl Parent {
    /// Makes the group `name` and sets its limits. On failure nothing of it remains.
    pub fn create(&self, name: &str, resources: &Resources) -> Result<Group, CgroupError> {
        self.make(name, resources, make_fresh)
    }

    /// As [`Parent::create`], of a group whose name others may have chosen: one that is there and frozen stays so.
    pub fn create_unheld(&self, name: &str, resources: &Resources) -> Result<Group, CgroupError> {
        self.make(name, resources, make_unheld)
    }

    /// As [`Parent::create`], of a group that somebody else has made in some hierarchies, and whose processes stay.
    pub fn adopt(&self, name: &str, resources: &Resources) -> Result<Group, CgroupError> {
        self.make(name, resources, |folder| folder.make().map(|_| ()))
    }

    fn make(
        &self,
        name: &str,
        resources: &Resources,
        make: fn(&Folder<'_>) -> Result<(), CgroupError>,
    ) -> Result<Group, CgroupError> {
        check_name(name)?;
        let group = Group {
            parent: self.clone(),
            name: name.to_owned(),
            v1: AtomicU32::new(0),
        };
        match group.make(resources, make) {
            Ok(()) => Ok(group),
            Err(error) => {
                // The first failure is the one to tell; an empty folder that stays is found by the recovery.
                let _ = match error {
                    // What is there is another's; only what was made before is ours.
                    CgroupError::Populated { .. } | CgroupError::Held => group.remove_made(),
                    _ => group.remove(),
                };
                Err(error)
            }
        }
    }

    /// The group `name` as it is. It need not exist any more.
    pub fn group(&self, name: &str) -> Result<Group, CgroupError> {
        check_name(name)?;
        let hierarchies = &self.layout().hierarchies().v1;
        let path = below(self.path(), name);
        let exists = |index: &usize| hierarchies[*index].folder().has(&path);
        let v1 = (0..hierarchies.len())
            .filter(exists)
            .fold(0, |bits, index| bits | 1 << index);
        Ok(Group {
            parent: self.clone(),
            name: name.to_owned(),
            v1: AtomicU32::new(v1),
        })
    }
}

/// Controllers of which `resources` ask something.
fn asked(resources: &Resources) -> impl Iterator<Item = Controller> {
    let asked = DRIVERS
        .iter()
        .filter(|driver| (driver.wanted)(resources).is_some());
    asked.map(|driver| driver.controller)
}

/// The path of `name` beneath the group `parent`, which is empty for the top.
fn below(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}

fn split(path: &str) -> Result<(&str, &str), CgroupError> {
    path.trim_end_matches('/')
        .rsplit_once('/')
        .ok_or_else(|| CgroupError::BadPath {
            path: path.to_owned(),
        })
}

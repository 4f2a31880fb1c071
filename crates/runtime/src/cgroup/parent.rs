//! The group that a daemon's containers have in common.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory::{Folder, visit_nested};
use super::layout::{Hierarchy, Home, Layout};
use super::{CgroupError, Controller, cpuset};

/// Which controllers groups beneath one have.
const SUBTREE: &str = "cgroup.subtree_control";

/// A parent's folders, made when they are first needed and held open. A handle: clones share them.
#[derive(Clone, Debug)]
pub struct Parent(Arc<Folders>);

#[derive(Debug)]
struct Folders {
    layout: Layout,
    /// Path in each hierarchy, without a leading slash.
    path: String,
    v1: Vec<OnceLock<Place>>,
    unified: Option<Place>,
    /// Controllers that groups beneath have in the unified tree, each a bit.
    enabled: AtomicU32,
}

#[derive(Debug)]
struct Place {
    folder: OwnedFd,
    path: std::path::PathBuf,
}

impl Place {
    fn child<'a>(&'a self, name: &'a str) -> Folder<'a> {
        Folder {
            at: self.folder.as_fd(),
            name,
            path: &self.path,
        }
    }
}

impl Parent {
    /// Opens the parent at `path`, relative to the top of each hierarchy (empty: the top itself). In the unified tree it
    /// is made now and its controllers are enabled down the path, but for those that are so on request; in others when a
    /// container first needs it.
    pub fn open(layout: &Layout, path: &str) -> Result<Parent, CgroupError> {
        Self::open_by(layout, path, hand_down)
    }

    /// Opens the parent of a group that is there: what groups beneath it have is looked at and not changed. The folders
    /// may be another's to manage, such as systemd's.
    pub(super) fn existing(layout: &Layout, path: &str) -> Result<Parent, CgroupError> {
        Self::open_by(layout, path, look_up)
    }

    fn open_by(layout: &Layout, path: &str, find: Find) -> Result<Parent, CgroupError> {
        let path = match path.trim_matches('/') {
            "" => String::new(),
            below => checked(below)?,
        };
        let hierarchies = layout.hierarchies();
        let mut enabled = 0;
        let unified = match &hierarchies.unified {
            Some(hierarchy) => {
                let wanted: Vec<Controller> = hierarchy
                    .controllers
                    .iter()
                    .copied()
                    .filter(|controller| layout.home(*controller) == Some(Home::Unified))
                    .filter(|controller| !Controller::ON_REQUEST.contains(controller))
                    .collect();
                let active = find(hierarchy, &path, wanted)?;
                enabled = active.into_iter().fold(0, |bits, one| bits | bit(one));
                Some(open_place(hierarchy, &path)?)
            }
            None => None,
        };
        let v1 = hierarchies.v1.iter().map(|_| OnceLock::new()).collect();
        Ok(Parent(Arc::new(Folders {
            layout: layout.clone(),
            path,
            v1,
            unified,
            enabled: AtomicU32::new(enabled),
        })))
    }

    /// A path without slashes at its ends whose parts lead downwards only.
    ///
    /// # Errors
    /// [`CgroupError::BadPath`].
    pub fn checked(path: &str) -> Result<String, CgroupError> {
        checked(path)
    }

    /// Names of the groups below the one at `path`, in any hierarchy; nothing is made.
    pub fn names_below(layout: &Layout, path: &str) -> Result<Vec<String>, CgroupError> {
        let v1 = layout.hierarchies().v1.iter().map(|_| OnceLock::new());
        let parent = Parent(Arc::new(Folders {
            layout: layout.clone(),
            path: checked(path)?,
            v1: v1.collect(),
            unified: None,
            enabled: AtomicU32::new(0),
        }));
        parent.children()
    }

    /// The host's hierarchies.
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// Path in each hierarchy, without a leading slash.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Where groups of this parent have `controller`; `None` also where the parent could not enable it.
    pub(super) fn home(&self, controller: Controller) -> Option<Home> {
        let home = self.0.layout.home(controller)?;
        let core = matches!(
            controller,
            Controller::Devices | Controller::Freezer | Controller::Cpuacct
        );
        let enabled = || self.0.enabled.load(Ordering::Acquire) & bit(controller) != 0;
        (core || home != Home::Unified || enabled()).then_some(home)
    }

    /// Lets groups beneath this parent have controllers of the unified tree that they have only on request. Those that
    /// cannot be had are not at [`Parent::home`] afterwards either.
    pub(super) fn request(&self, controllers: &[Controller]) -> Result<(), CgroupError> {
        let Some(hierarchy) = &self.0.layout.hierarchies().unified else {
            return Ok(());
        };
        let had = self.0.enabled.load(Ordering::Acquire);
        let missing: Vec<Controller> = controllers
            .iter()
            .copied()
            .filter(|one| self.0.layout.home(*one) == Some(Home::Unified) && had & bit(*one) == 0)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let active = hand_down(hierarchy, &self.0.path, missing)?;
        self.recognise(active.into_iter());
        Ok(())
    }

    /// Takes note of controllers that groups beneath have in the unified tree.
    pub(super) fn recognise(&self, controllers: impl Iterator<Item = Controller>) {
        let bits = controllers.fold(0, |bits, one| bits | bit(one));
        self.0.enabled.fetch_or(bits, Ordering::AcqRel);
    }

    /// The group `name` beneath this parent in the version 1 hierarchy `index`.
    pub(super) fn v1<'a>(&'a self, index: usize, name: &'a str) -> Result<Folder<'a>, CgroupError> {
        let slot = &self.0.v1[index];
        if let Some(place) = slot.get() {
            return Ok(place.child(name));
        }
        let place = open_v1(&self.0.layout.hierarchies().v1[index], &self.0.path)?;
        // Another thread may have been faster; either descriptor will do.
        Ok(slot.get_or_init(|| place).child(name))
    }

    /// The group `name` beneath this parent in the unified tree.
    pub(super) fn unified<'a>(&'a self, name: &'a str) -> Option<Folder<'a>> {
        self.0.unified.as_ref().map(|place| place.child(name))
    }

    /// Names of the groups beneath this parent, in any hierarchy.
    pub fn children(&self) -> Result<Vec<String>, CgroupError> {
        let mut names = Vec::new();
        self.for_each_existing(&mut |hierarchy, folder| {
            let read = |errno: Errno| CgroupError::Read {
                path: hierarchy.path.join(&self.0.path),
                source: errno.into(),
            };
            for entry in rustix::fs::Dir::read_from(folder.as_fd()).map_err(read)? {
                let entry = entry.map_err(read)?;
                let Ok(name) = entry.file_name().to_str() else {
                    continue;
                };
                let folder = entry.file_type() == rustix::fs::FileType::Directory
                    && name != "."
                    && name != "..";
                if folder && !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
            Ok(())
        })?;
        Ok(names)
    }

    /// Removes the parent from every hierarchy, and the folders above it that are empty then. What still has groups
    /// or processes stays; whether any did is the answer's opposite.
    pub fn remove(self) -> Result<bool, CgroupError> {
        let mut gone = true;
        let hierarchies = self.0.layout.hierarchies();
        for hierarchy in hierarchies.v1.iter().chain(&hierarchies.unified) {
            gone &= remove_upwards(hierarchy, &self.0.path)?;
        }
        Ok(gone)
    }

    /// Calls `each` with the parent's folder in each hierarchy where it exists.
    fn for_each_existing(
        &self,
        each: &mut dyn FnMut(&Hierarchy, OwnedFd) -> Result<(), CgroupError>,
    ) -> Result<(), CgroupError> {
        let hierarchies = self.0.layout.hierarchies();
        for hierarchy in hierarchies.v1.iter().chain(&hierarchies.unified) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let path = match &*self.0.path {
                "" => ".",
                below => below,
            };
            match rustix::fs::openat(&hierarchy.root, path, flags, Mode::empty()) {
                Ok(folder) => each(hierarchy, folder)?,
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    let path = hierarchy.path.join(&self.0.path);
                    return Err(CgroupError::Open {
                        path,
                        source: errno.into(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// A path without a leading slash whose parts lead downwards only.
fn checked(path: &str) -> Result<String, CgroupError> {
    let trimmed = path.trim_matches('/');
    let bad = |part: &str| {
        part.is_empty() || part == "." || part == ".." || part.len() > 255 || part.contains('\0')
    };
    if trimmed.len() > 2048 || trimmed.split('/').any(bad) {
        return Err(CgroupError::BadPath {
            path: path.to_owned(),
        });
    }
    Ok(trimmed.to_owned())
}

/// Whether `name` can be a group beneath a parent.
pub(super) fn check_name(name: &str) -> Result<(), CgroupError> {
    match checked(name) {
        Ok(same) if same == name && !name.contains('/') => Ok(()),
        _ => Err(CgroupError::BadPath {
            path: name.to_owned(),
        }),
    }
}

/// Each prefix of `path` that ends at a slash or at its end, shortest first. The top has none.
pub(super) fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/')
        .map(|(at, _)| &path[..at])
        .chain([path])
        .filter(|prefix| !prefix.is_empty())
}

fn open_place(hierarchy: &Hierarchy, path: &str) -> Result<Place, CgroupError> {
    let folder = Folder {
        name: path,
        ..hierarchy.folder()
    };
    Ok(Place {
        folder: folder.open_folder()?,
        path: hierarchy.path.join(path),
    })
}

fn open_v1(hierarchy: &Hierarchy, path: &str) -> Result<Place, CgroupError> {
    for prefix in prefixes(path) {
        let folder = Folder {
            name: prefix,
            ..hierarchy.folder()
        };
        folder.make()?;
        if hierarchy.controllers.contains(&Controller::Cpuset) {
            cpuset::inherit_v1(&folder)?;
        }
    }
    open_place(hierarchy, path)
}

/// A controller's place in a set of them.
fn bit(controller: Controller) -> u32 {
    1 << controller as u32
}

/// Finds out which controllers, of those that are wanted, groups beneath a path have.
type Find = fn(&Hierarchy, &str, Vec<Controller>) -> Result<Vec<Controller>, CgroupError>;

/// Which of `wanted` groups beneath the path have. A path that is gone is made, and has none.
fn look_up(
    hierarchy: &Hierarchy,
    path: &str,
    mut wanted: Vec<Controller>,
) -> Result<Vec<Controller>, CgroupError> {
    let at = |name| Folder {
        name,
        ..hierarchy.folder()
    };
    let parent = if path.is_empty() {
        hierarchy.folder()
    } else {
        at(path)
    };
    let Some(text) = parent.read_if_exists(SUBTREE)? else {
        prefixes(path).try_for_each(|prefix| at(prefix).make().map(drop))?;
        return Ok(Vec::new());
    };
    wanted.retain(|controller| listed(&text, controller));
    Ok(wanted)
}

/// Makes the path and enables `wanted` at each step. Returns what groups beneath it then have of these.
fn hand_down(
    hierarchy: &Hierarchy,
    path: &str,
    mut wanted: Vec<Controller>,
) -> Result<Vec<Controller>, CgroupError> {
    enable(&hierarchy.folder(), &mut wanted)?;
    for prefix in prefixes(path) {
        let folder = Folder {
            name: prefix,
            ..hierarchy.folder()
        };
        folder.make()?;
        enable(&folder, &mut wanted)?;
    }
    Ok(wanted)
}

/// Hands controllers down to the groups beneath `folder`. Those that cannot be are taken from the list: a limit
/// that needs one is then refused by name, and containers without such limits still run.
fn enable(folder: &Folder<'_>, wanted: &mut Vec<Controller>) -> Result<(), CgroupError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let before = folder.read(SUBTREE)?;
    let missing: Vec<Controller> = wanted
        .iter()
        .copied()
        .filter(|controller| !listed(&before, controller))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = missing
        .iter()
        .map(|controller| format!("+{}", controller.unified_name()))
        .collect();
    if folder.write(SUBTREE, &all.join(" ")).is_err() {
        for one in &all {
            // Whether it worked is read below.
            let _ = folder.write(SUBTREE, one);
        }
    }
    let after = folder.read(SUBTREE)?;
    wanted.retain(|controller| listed(&after, controller));
    Ok(())
}

/// Whether a file that lists controllers names this one.
fn listed(text: &str, controller: &Controller) -> bool {
    text.split_ascii_whitespace()
        .any(|word| word == controller.unified_name())
}

/// Removes `path` and its empty ancestors. Returns whether `path` itself is gone.
fn remove_upwards(hierarchy: &Hierarchy, path: &str) -> Result<bool, CgroupError> {
    let mut all: Vec<&str> = prefixes(path).collect();
    all.reverse();
    for prefix in all {
        let folder = Folder {
            name: prefix,
            ..hierarchy.folder()
        };
        match folder.unlink() {
            Ok(()) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => return Ok(prefix.len() < path.len()),
            Err(errno) => {
                return Err(CgroupError::Remove {
                    path: folder.full(""),
                    source: errno.into(),
                });
            }
        }
    }
    Ok(true)
}

/// Removes every group beneath `folder`, deepest first.
pub(super) fn remove_nested(folder: &Folder<'_>) -> Result<(), CgroupError> {
    let open = match folder.open_folder() {
        Err(CgroupError::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(());
        }
        other => other?,
    };
    visit_nested(open.as_fd(), &mut |at, name| {
        let Some(name) = name.to_str() else {
            return Ok(());
        };
        Folder {
            at,
            name,
            path: Path::new(""),
        }
        .unlink()
        .map_err(Into::into)
    })
    .map_err(|source| CgroupError::Remove {
        path: folder.full(""),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_downwards() {
        assert_eq!(checked("/a/b/").unwrap(), "a/b");
        for path in ["", "/", "a//b", "../a", "a/../b", "a/.", "a\0"] {
            assert!(checked(path).is_err(), "{path:?}");
        }
        assert!(check_name("0123abc").is_ok());
        for name in ["a/b", "/a", "..", ""] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert_eq!(prefixes("a/b/c").collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
        assert_eq!(prefixes("").count(), 0);
    }
}

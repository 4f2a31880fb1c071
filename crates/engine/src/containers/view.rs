//! A container's files as it sees them itself, for those who copy or look.
//!
//! Of one that runs they are found by way of its first process, with all that is mounted there. Of one that does not run
//! they are mounted for the occasion: its root and, on that, its volumes, binds and files of the engine, as a tree of
//! mounts that is attached nowhere and ends with its descriptor. What is in memory is gone with the last run.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use sys::beneath::Root;
use sys::mount::{self, Change, Propagation, attr};

use super::files::{FILES, clone_path};
use super::record::Status;
use super::registry::Container;
use super::underway::START;
use crate::engine::Engine;
use crate::neighbour::Neighbour;
use crate::outcome::{EngineError, Result};
use crate::paths;
use crate::places::Kind;

/// What is to be done with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To read them: nothing needs to reach the disk afterwards.
    Read,
    /// To change them.
    Write,
    /// To read the root alone, without anything that is mounted on it.
    Root,
}

/// A container's files.
pub(crate) struct View {
    root: OwnedFd,
}

impl View {
    /// The root.
    pub(crate) fn root(&self) -> Root<'_> {
        Root::new(self.root.as_fd())
    }
}

/// One mount of a view.
struct Part {
    target: String,
    tree: OwnedFd,
    folder: bool,
}

impl Engine {
    /// Gives `work` the files of a container, on a thread that may block, and something that tells whether others wait
    /// for what it holds: a place of this kind or, of a container that does not run, its turn.
    pub(crate) async fn with_view<T: Send + 'static>(
        &self,
        container: &Arc<Container>,
        purpose: Purpose,
        kind: &Kind,
        work: impl FnOnce(&Engine, &View, Box<dyn Fn() -> bool + Send>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = kind.take().await;
        container.settled_within(START).await;
        if is_running(container)? {
            let target = Arc::clone(container);
            return self
                .blocking("copy", move |engine| {
                    let root = running_view(&target, purpose)?;
                    let wanted = Box::new(move || place.is_wanted());
                    work(engine, &View { root }, wanted)
                })
                .await;
        }
        // Nobody starts or removes it meanwhile.
        let _turn = container.turn.lock().await;
        if container.progress.borrow().removed {
            return Err(EngineError::NoSuchContainer {
                name: container.id().to_string(),
            });
        }
        container.retired().await;
        let running = is_running(container)?;
        let target = Arc::clone(container);
        self.blocking("copy", move |engine| {
            if running {
                // It was started meanwhile. It may end while its files are copied, and not start again.
                let root = running_view(&target, purpose)?;
                let wanted = Box::new(move || place.is_wanted() || target.turn.is_wanted());
                return work(engine, &View { root }, wanted);
            }
            let _volumes = Volumes(engine, &target);
            let root = engine.mounted_view(&target, purpose)?;
            let waited = Arc::clone(&target);
            let wanted = Box::new(move || place.is_wanted() || waited.turn.is_wanted());
            work(engine, &View { root }, wanted)
        })
        .await
    }

    /// The tree of mounts of a container that does not run; the caller has its turn.
    fn mounted_view(&self, container: &Container, purpose: Purpose) -> Result<OwnedFd> {
        let spec = &container.spec;
        let folder = paths::open_folder(&self.paths().container(container.id()))?;
        let root = match container.swap_prepared_root(None) {
            Some(root) => root,
            None => {
                let layers = &self.inner().layers;
                layers.prepare_upper(folder.as_fd(), &spec.layers)?;
                let options = snapshot::MountOptions {
                    volatile: spec.host.auto_remove || purpose != Purpose::Write,
                    read_only: false,
                    init: true,
                };
                layers.mount(&spec.layers, Some(folder.as_fd()), &options)?
            }
        };
        if purpose == Purpose::Root {
            return Ok(root);
        }
        let mut parts = Vec::new();
        for opened in self.open_mounts(container, &root, &mut Vec::new())? {
            let Some(tree) = opened.tree else { continue };
            let read_only = opened.spec.read_only;
            let change = Change {
                set: if read_only { attr::READ_ONLY } else { 0 },
                propagation: Some(Propagation::Private),
                recursive: !opened.spec.only_top_read_only,
                ..Change::default()
            };
            mount::set_attributes(tree.as_fd(), c"", &change).map_err(mounting)?;
            parts.push(Part {
                target: opened.spec.target.clone(),
                tree,
                folder: opened.folder,
            });
        }
        for (target, name) in FILES {
            let path = self.paths().container(container.id()).join(name);
            let hidden = parts.iter().any(|part| part.target == target);
            // Before the first start they are not written.
            if !hidden && std::fs::metadata(&path).is_ok_and(|meta| meta.len() > 0) {
                let tree = clone_path(&path, false)?;
                parts.push(Part {
                    target: target.to_owned(),
                    tree,
                    folder: false,
                });
            }
        }
        let read_only = spec.host.readonly_rootfs;
        let thread = std::thread::Builder::new().name("view".to_owned());
        let thread = thread.spawn(move || assemble(&root, &parts, read_only));
        let thread = thread.map_err(EngineError::io("start a thread"))?;
        thread
            .join()
            .map_err(|_| EngineError::Panicked { operation: "copy" })?
            .map_err(EngineError::io("mount a container's files"))
    }
}

/// Volumes of a container that does not run, which are used while this lives.
struct Volumes<'a>(&'a Engine, &'a Container);

impl Drop for Volumes<'_> {
    fn drop(&mut self) {
        self.0.release_volumes(self.1);
    }
}

fn mounting(errno: rustix::io::Errno) -> EngineError {
    EngineError::io("mount a container's files")(errno.into())
}

/// Whether a container has a process by which its files are found.
///
/// # Errors
/// It is between two runs: its supervisor has its root.
fn is_running(container: &Container) -> Result<bool> {
    match container.run().status {
        Status::Running | Status::Paused => Ok(true),
        Status::Created | Status::Exited => Ok(false),
        Status::Restarting => container.must_run().map(|_| true),
    }
}

/// The root of a container that runs, with all that is mounted on it or alone.
fn running_view(container: &Container, purpose: Purpose) -> Result<OwnedFd> {
    let gone = || EngineError::NotRunning {
        id: container.id().to_string(),
    };
    let neighbour = Neighbour::of(&container.run()).ok_or_else(gone)?;
    let opened = match purpose {
        Purpose::Root => neighbour.root_alone(),
        Purpose::Read | Purpose::Write => neighbour.root(),
    };
    opened.map_err(|_| gone())
}

/// Mounts the parts on the root and gives the whole as a tree that is attached nowhere. It is put together in a mount
/// namespace of this thread's own, which ends with the thread.
fn assemble(root: &OwnedFd, parts: &[Part], read_only: bool) -> io::Result<OwnedFd> {
    sys::process::unshare(libc::CLONE_NEWNS)?;
    let private = Change {
        propagation: Some(Propagation::Private),
        recursive: true,
        ..Change::default()
    };
    mount::set_attributes(rustix::fs::CWD, c"/", &private)?;
    mount::attach_at(root.as_fd(), rustix::fs::CWD, c"/")?;
    for part in parts {
        make_target(root.as_fd(), part)?;
        let target = CString::new(part.target.as_str())?;
        let place = mount::place_in(root.as_fd(), &target, OFlags::empty())?;
        mount::attach(part.tree.as_fd(), place.as_fd())?;
    }
    if read_only {
        let change = Change {
            set: attr::READ_ONLY,
            ..Change::default()
        };
        mount::set_attributes(root.as_fd(), c"", &change)?;
    }
    Ok(mount::clone_tree(root.as_fd(), c"", true)?)
}

/// Makes the place of a mount, where the container was never started.
fn make_target(root: BorrowedFd<'_>, part: &Part) -> io::Result<()> {
    let root = Root::new(root);
    let mode = Mode::from_raw_mode(0o755);
    match root.open_path(&part.target) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
        other => return other.map(drop),
    }
    if part.folder {
        return root.mkdir_all(&part.target, mode).map(drop);
    }
    let above = Path::new(&part.target).parent().unwrap_or(Path::new("/"));
    root.mkdir_all(above, mode)?;
    root.create_new(&part.target, mode).map(drop)
}

//! `restore`: makes a container's processes again of what `checkpoint` wrote down.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::cgroup::Group;
use runtime::plan::{FdSlot, MountKind, NsMode, Plan, TargetKind};
use runtime::spawn::Spawned;
use rustix::fs::{CWD, Mode, OFlags};
use sys::beneath::Root;
use sys::mount::{self, Change, Propagation};

use super::checkpoint::NETWORK;
use super::run::{remove, status};
use crate::cli::{Flag, Given, Global, is_unprivileged, switch, value};
use crate::compile::{self, Compiled};
use crate::console;
use crate::create::{Made, bundle, record};
use crate::criu::{Criu, External, FLAGS, Image, Options, Outcome, Request};
use crate::error::{Error, Result};
use crate::hooks::{self, Place};
use crate::process::{self, Guard};
use crate::spec::Spec;
use crate::state::{Folder, Record, SHOWN, Status};

/// criu's log.
const LOG: &str = "restore.log";

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let mut known: Vec<Flag> = FLAGS.to_vec();
    known.extend([
        value("bundle").or("b"),
        value("console-socket"),
        value("pid-file"),
        switch("detach").or("d"),
        // Of no account: criu changes the root in its own way, and orphans are init's.
        switch("no-pivot"),
        switch("no-subreaper"),
        value("lsm-profile"),
        value("lsm-mount-context"),
    ]);
    let given = Given::parse(&known, words)?;
    let id = given.id("restore")?;
    if is_unprivileged() {
        let text = "restore needs rights over the host".to_owned();
        return Err(Error::State(text));
    }
    // Before anything is made that would have to be removed without it.
    Criu::check(global, "restore")?;
    let image = Image::open(&given, false)?;
    let external = image.read()?;
    let attached = !given.is_on("detach");
    let signals = attached.then(console::passed_signals).transpose()?;
    let work = Work {
        global,
        given: &given,
        image: &image,
        external: &external,
    };
    let made = make(&work, id)?;
    let Some(signals) = signals else {
        return Ok(0);
    };
    made.folder.unlock()?;
    let pidfd = made.spawned.pidfd.as_fd();
    console::attend(pidfd, made.spawned.console.as_ref(), &signals)?;
    let exit = sys::process::wait(pidfd, true)
        .map_err(Error::call("waiting for the process"))?
        .ok_or(Error::NoContainer)?;
    remove(global, &made)?;
    Ok(status(exit))
}

/// Makes the container. Where that fails nothing of it is left.
fn make(work: &Work<'_>, id: &str) -> Result<Made> {
    let global = work.global;
    let bundle = bundle(work.given)?;
    let spec = Spec::load(&bundle)?;
    let compiled = compile::container(&spec, &bundle, id, global)?;
    if compiled.plan.namespaces.mount == NsMode::Host {
        let text = "a container without a mount namespace cannot be restored";
        return Err(Error::State(text.to_owned()));
    }
    let folder = Folder::claim(&global.root, id)?;
    let mut record = record(id, &bundle, &spec, &compiled)?;
    let made = folder.write(&record).and_then(|()| {
        let (group, keeper) = compiled.place.make(id, &compiled.resources, false)?;
        let group_of = group.as_ref();
        let restored = work.restore(compiled, group_of, &folder, &mut record);
        drop(keeper);
        match (restored, group) {
            (Ok(spawned), group) => Ok((spawned, group)),
            (Err(error), Some(group)) => {
                // The first failure is the one to tell.
                let _ = record.end(Some(&group));
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    });
    match made {
        Ok((spawned, group)) => Ok(Made {
            waits: false,
            folder,
            record,
            spawned,
            group,
            hooks: spec.hooks.unwrap_or_default(),
        }),
        Err(error) => {
            let _ = folder.remove();
            Err(error)
        }
    }
}

/// What a restore is made of.
struct Work<'a> {
    global: &'a Global,
    given: &'a Given,
    image: &'a Image,
    external: &'a External,
}

impl Work<'_> {
    fn restore(
        &self,
        mut compiled: Compiled,
        group: Option<&Group>,
        folder: &Folder,
        record: &mut Record,
    ) -> Result<Spawned> {
        compiled.enter(group)?;
        prepare_places(&compiled)?;
        let root = Shown::make(&folder.path().join(SHOWN), &compiled.rootfs)?;
        let network = self.network(&compiled)?;
        let options = self.options(&compiled, &root, network.as_ref())?;
        let criu = Criu::start(self.global)?;
        if let Some(group) = group {
            enter(group, criu.pid())?;
        }
        if let (Some(rdt), Some(assigned)) = (&compiled.rdt, &record.resctrl) {
            if let Err(error) = assigned.make(&rdt.service) {
                // Nothing of it is the container's.
                record.resctrl = None;
                return Err(error.into());
            }
            // What criu makes is in its class.
            let failed = Error::call("moving criu into the container's class of service");
            write_all(assigned.entry_fds()?, criu.pid()).map_err(failed)?;
        }
        let Outcome { pid, console } =
            criu.ask(Request::Restore, &options, &self.image.log(LOG))?;
        drop(root);
        let pidfd = sys::process::pidfd_open(pid)
            .map_err(Error::call("opening the container's process"))?;
        let spawned = Guard(Some(Spawned {
            pid,
            pidfd,
            console,
        }));
        record.pid = pid;
        record.start = process::start(pid).unwrap_or_default().0;
        folder.write(record)?;
        if let Some(path) = self.given.path("pid-file") {
            process::write_pid(&path, pid)?;
        }
        let console = spawned.0.as_ref().and_then(|made| made.console.as_ref());
        if let (Some(socket), Some(console)) = (self.given.path("console-socket"), console) {
            console::send(&socket, console)?;
        }
        let hooks = record.hooks.clone().unwrap_or_default();
        let hooks = hooks.poststart.as_ref();
        hooks::run("poststart", hooks, record, Status::Running, Place::Runtime)?;
        spawned.keep()
    }

    fn options(
        &self,
        compiled: &Compiled,
        root: &Shown,
        network: Option<&OwnedFd>,
    ) -> Result<Options> {
        let mut options = Options::new(self.given, self.image, LOG)?;
        options.text(13, &root.path.to_string_lossy());
        options.switch(6, true);
        // The container's process becomes a child of this one, and criu goes.
        options.switch(26, true);
        options.switch(50, true);
        for (field, flag) in [(53, "lsm-profile"), (63, "lsm-mount-context")] {
            if let Some(value) = self.given.value(flag).filter(|value| !value.is_empty()) {
                options.text(field, value);
            }
        }
        for place in &self.external.mounts {
            let source = source(&compiled.plan, place).ok_or_else(|| {
                let text = format!("the configuration has no mount that {place} is a part of");
                Error::State(text)
            })?;
            options.mount(place, &source);
        }
        let streams = self.external.descriptors.iter().zip(0..);
        for (key, number) in streams.filter_map(|(key, number)| Some((key.as_ref()?, number))) {
            options.inherit(key, number);
        }
        if let Some(network) = network {
            options.inherit(NETWORK, std::os::fd::AsRawFd::as_raw_fd(network) as u64);
        }
        Ok(options)
    }

    /// The network namespace that the configuration names, such as criu inherits it.
    fn network(&self, compiled: &Compiled) -> Result<Option<OwnedFd>> {
        let NsMode::Join(FdSlot(slot)) = compiled.plan.namespaces.net else {
            return Ok(None);
        };
        let fd = compiled
            .fds
            .get(usize::from(slot))
            .ok_or(Error::NoContainer)?;
        let inherited = rustix::io::dup(fd);
        inherited
            .map(Some)
            .map_err(Error::call("opening the network namespace"))
    }
}

/// Where a mount that is also somebody else's comes from: as the configuration has it, with what is below.
fn source(plan: &Plan, place: &str) -> Option<String> {
    let place = Path::new(place);
    let around = plan.mounts.iter().rev().find_map(|mount| {
        let below = place.strip_prefix(&mount.target).ok()?;
        match &mount.kind {
            MountKind::Bind { source, .. } => Some(Path::new(source).join(below)),
            _ => None,
        }
    });
    // A trailing slash is what joining with nothing leaves.
    let path: PathBuf = around?.components().collect();
    Some(path.to_string_lossy().into_owned())
}

/// Makes the places of mounts that are missing.
fn prepare_places(compiled: &Compiled) -> Result<()> {
    let failed =
        |source: std::io::Error| Error::io("opening the root folder", &compiled.rootfs, source);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, &compiled.rootfs, flags, Mode::empty())
        .map_err(|errno| failed(errno.into()))?;
    let root = Root::new(folder.as_fd());
    for mount in &compiled.plan.mounts {
        // Within another mount the image has it.
        if root.open_path(&mount.target).is_err() {
            let failed = |source| {
                let place = compiled.rootfs.join(mount.target.trim_start_matches('/'));
                Error::io("making the place of a mount at", &place, source)
            };
            make_place(&root, &mount.target, mount.create_target).map_err(failed)?;
        }
    }
    Ok(())
}

fn make_place(root: &Root<'_>, target: &str, kind: TargetKind) -> std::io::Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    match (kind, target.rsplit_once('/')) {
        (TargetKind::File, Some((above, _))) => {
            if !above.is_empty() {
                root.mkdir_all(above, mode)?;
            }
            root.create_new(target, mode).map(drop)
        }
        _ => root.mkdir_all(target, mode).map(drop),
    }
}

/// Moves criu into the container's groups, in which what it makes begins.
fn enter(group: &Group, pid: u32) -> Result<()> {
    let (tasks, unified) = group.entry_fds()?;
    let unified = unified.map(|folder| {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(folder, "cgroup.procs", flags, Mode::empty())
    });
    unified
        .transpose()
        .and_then(|unified| write_all(tasks.into_iter().chain(unified), pid))
        .map_err(Error::call("moving criu into the container's groups"))
}

/// Writes a process's number to each file.
fn write_all(files: impl IntoIterator<Item = OwnedFd>, pid: u32) -> rustix::io::Result<()> {
    let text = pid.to_string();
    let mut files = files.into_iter();
    files.try_for_each(|file| rustix::io::write(file, text.as_bytes()).map(drop))
}

/// The root, mounted where criu finds it; not any more when this is gone. It shares with the mount that it is of: a container's
/// root that was that one's slave becomes it again by way of this one, and could not by way of a private one.
struct Shown {
    path: PathBuf,
}

impl Shown {
    fn make(path: &Path, rootfs: &Path) -> Result<Self> {
        let failed = |source: std::io::Error| Error::io("mounting the root at", path, source);
        std::fs::create_dir(path).map_err(failed)?;
        // From here on the folder goes whatever fails.
        let shown = Self {
            path: path.to_owned(),
        };
        let text = |path: &Path| {
            CString::new(path.as_os_str().as_encoded_bytes()).map_err(std::io::Error::from)
        };
        let place = text(path).map_err(failed)?;
        let rootfs = text(rootfs).map_err(failed)?;
        let made = mount::clone_tree(CWD, &rootfs, true)
            .and_then(|root| mount::attach_at(root.as_fd(), CWD, &place));
        made.map_err(|errno| failed(errno.into()))?;
        Ok(shown)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Ok(place) = CString::new(self.path.as_os_str().as_encoded_bytes()) {
            // What lies within goes alone, and not where it came from as well.
            let private = Change {
                propagation: Some(Propagation::Private),
                recursive: true,
                ..Change::default()
            };
            let _ = mount::set_attributes(CWD, &place, &private);
            let _ = mount::detach(&place);
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::plan::{MountAttrs, MountEntry};

    #[test]
    fn mounts_from_outside_are_found_again() {
        let bind = |target: &str, source: &str| MountEntry {
            target: target.to_owned(),
            kind: MountKind::Bind {
                source: source.to_owned(),
                recursive: true,
                idmap: None,
            },
            attrs: MountAttrs::default(),
            propagation: None,
            create_target: TargetKind::Dir,
        };
        let plan = Plan {
            mounts: vec![bind("/data", "/srv"), bind("/data/x", "/other/file")],
            ..Plan::default()
        };
        let from = |place| source(&plan, place);
        assert_eq!(from("/data").as_deref(), Some("/srv"));
        assert_eq!(from("/data/y/z").as_deref(), Some("/srv/y/z"));
        assert_eq!(from("/data/x").as_deref(), Some("/other/file"));
        assert_eq!(from("/elsewhere"), None);
    }
}

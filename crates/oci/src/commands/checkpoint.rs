//! `checkpoint`: writes a container's processes down and ends them, so that `restore` can make them again.

use runtime::cgroup::View;

use crate::cli::{Flag, Given, Global, switch, value};
use crate::create::run_poststop;
use crate::criu::{Criu, External, FLAGS, Image, Options, Request};
use crate::error::{Error, Result};
use crate::spec::Spec;
use crate::state::{Container, Status};

/// criu's log.
const LOG: &str = "dump.log";

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let mut known: Vec<Flag> = FLAGS.to_vec();
    known.extend([
        value("parent-path"),
        switch("leave-running"),
        switch("pre-dump"),
        switch("tcp-skip-in-flight"),
        value("page-server"),
        value("status-fd"),
    ]);
    let given = Given::parse(&known, words)?;
    let container = Container::open_locked(&global.root, given.id("checkpoint")?)?;
    let status = container.status();
    if !matches!(status, Status::Running | Status::Paused) {
        let text = format!(
            "Container cannot be checkpointed in {} state",
            status.word()
        );
        return Err(Error::State(text));
    }
    if container.record.host_mounts {
        let text = "a container without a mount namespace cannot be checkpointed";
        return Err(Error::State(text.to_owned()));
    }
    Criu::check(global, "checkpoint")?;
    let image = Image::open(&given, true)?;
    let external = External::of(container.record.pid)?;
    let (options, request) = options(&given, &container, &image, &external)?;
    // Before criu, which may stay until somebody else has made the processes again (`--lazy-pages`).
    image.write(&external)?;
    Criu::start(global)?.ask(request, &options, &image.log(LOG))?;
    if request == Request::Dump && !given.is_on("leave-running") {
        remove(global, &container)?;
    }
    Ok(0)
}

fn options(
    given: &Given,
    container: &Container,
    image: &Image,
    external: &External,
) -> Result<(Options, Request)> {
    let record = &container.record;
    let mut options = Options::new(given, image, LOG)?;
    options.number(2, record.pid as u64);
    // Devices of the container have another number of their own file system.
    options.switch(6, true);
    options.text(13, &record.rootfs.to_string_lossy());
    options.switch(50, true);
    options.switch(3, given.is_on("leave-running"));
    options.switch(46, given.is_on("tcp-skip-in-flight"));
    options.external(external);
    if let Some(parent) = given.value("parent-path").filter(|path| !path.is_empty()) {
        options.text(14, parent);
        options.switch(15, true);
    }
    if let Some(place) = given.value("page-server").filter(|place| !place.is_empty()) {
        options.page_server(place)?;
    }
    if let Some(number) = given.number::<u32>("status-fd")? {
        options.number(49, number.into());
    }
    if let Some(inode) = joined_network(container)? {
        options.text(37, &format!("net[{inode}]:{NETWORK}"));
    }
    if let Some(freezer) = freezer(container)? {
        options.text(44, &freezer);
    }
    if given.is_on("pre-dump") {
        options.switch(15, true);
        return Ok((options, Request::PreDump));
    }
    Ok((options, Request::Dump))
}

/// What a network namespace is called that the container has joined.
pub(super) const NETWORK: &str = "extRootNetNS";

/// The number of the network namespace that the configuration names.
fn joined_network(container: &Container) -> Result<Option<u64>> {
    use std::os::unix::fs::MetadataExt;
    let spec = Spec::load(&container.record.bundle)?;
    let joined = spec.linux().namespaces.iter().flatten().any(|one| {
        one.kind.as_deref() == Some("network")
            && one.path.as_ref().is_some_and(|path| !path.is_empty())
    });
    let path = format!("/proc/{}/ns/net", container.record.pid);
    let found = joined.then(|| std::fs::metadata(&path)).transpose();
    let found = found.map_err(|source| Error::io("reading", path.as_ref(), source))?;
    Ok(found.map(|found| found.ino()))
}

/// The folder by which criu holds all of the container's processes at once.
fn freezer(container: &Container) -> Result<Option<String>> {
    let Some(group) = container.own_group()? else {
        return Ok(None);
    };
    let folder = match group.views() {
        View::Unified(folder) => Some(folder),
        View::Hierarchies(all) => {
            let mut all = all.into_iter();
            all.find(|one| one.name == "freezer").map(|one| one.folder)
        }
    };
    Ok(folder.map(|folder| folder.to_string_lossy().into_owned()))
}

fn remove(global: &Global, container: &Container) -> Result<()> {
    if let Some(pidfd) = container.pidfd()? {
        // criu has killed it, and does not wait for it.
        let gone = Error::State("criu has left the container's process alive".to_owned());
        let mut polled = [rustix::event::PollFd::new(
            &pidfd,
            rustix::event::PollFlags::IN,
        )];
        let patience = rustix::event::Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let ended = rustix::event::poll(&mut polled, Some(&patience));
        if !matches!(ended, Ok(1..)) {
            return Err(gone);
        }
    }
    container.record.end(container.own_group()?)?;
    container.folder.remove()?;
    let hooks = container.record.hooks.clone().unwrap_or_default();
    run_poststop(&hooks, &container.record, &global.log);
    Ok(())
}

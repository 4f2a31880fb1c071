//! A root folder with busybox, and plans that run in it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod groups;

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use runtime::plan::{
    CapSets, MountAttrs, MountEntry, MountKind, Namespaces, NsMode, Plan, ProcessPlan, RootSource,
    TargetKind,
};
use runtime::spawn::{Spawned, Stdio, Stream, spawn};
use runtime::{Fault, Prepared};
use sys::process::Exit;

/// All capabilities that this process has.
pub fn all_caps() -> CapSets {
    let own = sys::process::capabilities().unwrap().permitted;
    CapSets {
        bounding: own,
        effective: own,
        permitted: own,
        inheritable: 0,
        ambient: 0,
    }
}

/// A root folder with a static busybox and the folders that a container needs.
pub fn root() -> tempfile::TempDir {
    let root = tempfile::Builder::new()
        .prefix("wharf-runtime-")
        .tempdir()
        .unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir(at(folder)).unwrap();
    }
    // A link rather than a copy: a copy's writer, inherited by a process that another test starts meanwhile, would make
    // the program's file busy.
    if fs::hard_link("/usr/bin/busybox", at("bin/busybox")).is_err() {
        fs::copy("/usr/bin/busybox", at("bin/busybox")).unwrap();
    }
    for name in [
        "sh", "cat", "ls", "stat", "id", "touch", "mount", "sleep", "hostname", "grep", "true",
        "tty", "stty",
    ] {
        symlink("busybox", at("bin").join(name)).unwrap();
    }
    fs::write(at("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    root
}

pub fn fs_mount(
    target: &str,
    fstype: &str,
    attrs: MountAttrs,
    options: &[(&str, &str)],
) -> MountEntry {
    let options = options.iter().map(|(key, value)| {
        let value = if value.is_empty() {
            None
        } else {
            Some((*value).to_owned())
        };
        ((*key).to_owned(), value)
    });
    MountEntry {
        target: target.into(),
        kind: MountKind::Fs {
            fstype: fstype.into(),
            source: String::new(),
            options: options.collect(),
        },
        attrs,
        propagation: None,
        create_target: TargetKind::Dir,
    }
}

/// A plan for `sh -c SCRIPT` with namespaces of its own and Docker's mounts.
pub fn plan(root: &Path, script: &str) -> Plan {
    Plan {
        namespaces: Namespaces {
            pid: NsMode::New,
            net: NsMode::New,
            ipc: NsMode::New,
            uts: NsMode::New,
            mount: NsMode::New,
            ..Default::default()
        },
        root: Some(RootSource::Path(root.to_str().unwrap().to_owned())),
        mounts: runtime::defaults::mounts(),
        devices: runtime::defaults::devices(),
        links: runtime::defaults::links(),
        masked: runtime::defaults::masked_paths(),
        readonly: runtime::defaults::readonly_paths(),
        hostname: Some("box".into()),
        process: ProcessPlan {
            args: ["sh", "-c", script]
                .map(|arg| arg.as_bytes().to_vec())
                .to_vec(),
            env: vec![b"PATH=/bin".to_vec()],
            caps: all_caps(),
            ..Default::default()
        },
        ..Default::default()
    }
}

/// How a run ended: what was written to standard output and error, and the status.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub output: String,
    pub exit: Exit,
}

/// Runs a plan with its output in a pipe.
pub fn run(plan: Plan) -> Result<Ended, Fault> {
    run_with(plan, &[])
}

pub fn run_with(plan: Plan, fds: &[OwnedFd]) -> Result<Ended, Fault> {
    let prepared = Prepared::new(plan).expect("a plan that can be carried out");
    let (reader, writer) = std::io::pipe().unwrap();
    let out = Stream::Fd(writer.as_fd());
    let spawned = spawn(
        &prepared,
        fds,
        Stdio {
            stdin: Stream::Null,
            stdout: out,
            stderr: out,
        },
    )?;
    drop(writer);
    Ok(end(spawned, reader))
}

/// Reads all that a process writes and waits for it.
pub fn end(spawned: Spawned, mut reader: impl Read) -> Ended {
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    let exit = sys::process::wait(spawned.pidfd.as_fd(), true)
        .unwrap()
        .unwrap();
    Ended { output, exit }
}

/// A mount namespace with nothing but an empty read-only root, as a caller makes it once.
pub fn birthplace() -> OwnedFd {
    std::thread::spawn(|| {
        sys::process::unshare(libc::CLONE_NEWNS).unwrap();
        let private = sys::mount::Change {
            propagation: Some(runtime::plan::Propagation::Private),
            recursive: true,
            ..Default::default()
        };
        sys::mount::set_attributes(rustix::fs::CWD, c"/", &private).unwrap();
        let root = sys::mount::detached(c"tmpfs", &[], runtime::plan::attr::READ_ONLY).unwrap();
        sys::mount::attach_at(root.as_fd(), rustix::fs::CWD, c"/").unwrap();
        rustix::process::fchdir(&root).unwrap();
        sys::mount::pivot_to_working_folder().unwrap();
        sys::mount::detach(c".").unwrap();
        let procfs = sys::mount::private_procfs().unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::openat(
            procfs,
            "thread-self/ns/mnt",
            flags,
            rustix::fs::Mode::empty(),
        )
        .unwrap()
    })
    .join()
    .unwrap()
}

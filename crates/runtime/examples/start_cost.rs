//! What a container's start costs in this crate alone: from the call until the program has ended, with Docker's mounts,
//! filter and capabilities. `start_cost [ROUNDS] [PAUSE_MS] [born] [hold]`; `born`: from an empty mount namespace, `hold`:
//! the mount namespace outlives the process.

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use runtime::Prepared;
use runtime::plan::{CapSets, FdSlot, Namespaces, NsMode, Plan, ProcessPlan, RootSource, Seccomp};
use runtime::seccomp::{CompileEnv, compile, default_profile};
use runtime::spawn::{Stdio, spawn};
use rustix::fs::{CWD, Mode, OFlags};
use sys::mount::{self, Change, Propagation};
use sys::process::Namespace;

/// Docker's 14 capabilities.
const CAPABILITIES: u64 = 0xa804_25fb;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let pause = Duration::from_millis(arguments.next().map_or(Ok(25), |text| text.parse())?);
    let folder = tempfile::tempdir()?;
    for name in [
        "root/proc",
        "root/dev",
        "root/sys",
        "root/bin",
        "upper",
        "work",
    ] {
        std::fs::create_dir_all(folder.path().join(name))?;
    }
    std::fs::copy("/bin/busybox", folder.path().join("root/bin/true"))?;
    let mut prepared = Prepared::new(plan()?)?;
    let hold = std::env::args().any(|word| word == "hold");
    if std::env::args().any(|word| word == "born") {
        prepared.set_birthplace(birthplace()?);
    }
    let mut started = Vec::with_capacity(rounds);
    let mut ended = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        std::thread::sleep(pause);
        let root = overlay(folder.path())?;
        let namespace = network()?;
        let begin = Instant::now();
        let spawned = spawn(&prepared, &[root, namespace], Stdio::default())?;
        started.push(begin.elapsed());
        // Whoever holds the mount namespace spares the end of the process its undoing.
        let held = hold.then(|| {
            sys::process::namespace_of(spawned.pidfd.as_fd(), spawned.pid, Namespace::Mount)
        });
        sys::process::wait(spawned.pidfd.as_fd(), true)?;
        ended.push(begin.elapsed());
        drop(held);
    }
    for (name, times) in [
        ("program runs", &mut started),
        ("program ended", &mut ended),
    ] {
        times.sort();
        let at = |part: usize| {
            times
                .get(rounds * part / 100)
                .map_or(0, Duration::as_micros)
        };
        println!(
            "{name}: p10 {} µs, median {} µs, p90 {} µs",
            at(10),
            at(50),
            at(90)
        );
    }
    Ok(())
}

fn plan() -> Result<Plan, Box<dyn Error>> {
    let capabilities = runtime::caps::CapSet::from_bits(CAPABILITIES);
    let filter = compile(&default_profile(), &CompileEnv::host(capabilities))?;
    let program = filter
        .iter()
        .map(|part| (part.code, part.jt, part.jf, part.k))
        .collect();
    Ok(Plan {
        namespaces: Namespaces {
            pid: NsMode::New,
            net: NsMode::Join(FdSlot(1)),
            ipc: NsMode::New,
            uts: NsMode::New,
            mount: NsMode::New,
            ..Default::default()
        },
        root: Some(RootSource::Mount(FdSlot(0))),
        mounts: runtime::defaults::mounts(),
        devices: runtime::defaults::devices(),
        links: runtime::defaults::links(),
        masked: runtime::defaults::masked_paths(),
        readonly: runtime::defaults::readonly_paths(),
        hostname: Some("box".into()),
        process: ProcessPlan {
            args: vec![b"/bin/true".to_vec()],
            caps: CapSets {
                bounding: CAPABILITIES,
                effective: CAPABILITIES,
                permitted: CAPABILITIES,
                ..Default::default()
            },
            seccomp: Some(Seccomp { program, flags: 0 }),
            ..Default::default()
        },
        ..Default::default()
    })
}

fn overlay(folder: &std::path::Path) -> Result<OwnedFd, Box<dyn Error>> {
    let text = |name: &str| std::ffi::CString::new(format!("{}/{name}", folder.display()));
    let (lower, upper, work) = (text("root")?, text("upper")?, text("work")?);
    let options = [
        (c"lowerdir", Some(lower.as_c_str())),
        (c"upperdir", Some(upper.as_c_str())),
        (c"workdir", Some(work.as_c_str())),
        (c"volatile", None),
    ];
    // A volatile overlay is used once; its mark is what says so.
    let _ = std::fs::remove_dir_all(folder.join("work/work"));
    Ok(sys::mount::detached(c"overlay", &options, 0)?)
}

/// A mount namespace with nothing but an empty read-only root.
fn birthplace() -> Result<OwnedFd, Box<dyn Error>> {
    let made = std::thread::spawn(|| {
        sys::process::unshare(libc::CLONE_NEWNS)?;
        let private = Change {
            propagation: Some(Propagation::Private),
            recursive: true,
            ..Default::default()
        };
        mount::set_attributes(CWD, c"/", &private)?;
        let root = mount::detached(c"tmpfs", &[], mount::attr::READ_ONLY)?;
        mount::attach_at(root.as_fd(), CWD, c"/")?;
        rustix::process::fchdir(&root)?;
        mount::pivot_to_working_folder()?;
        mount::detach(c".")?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(
            mount::private_procfs()?,
            "thread-self/ns/mnt",
            flags,
            Mode::empty(),
        )
    });
    Ok(made
        .join()
        .map_err(|_| "the thread that makes a mount namespace panicked")??)
}

fn network() -> Result<OwnedFd, Box<dyn Error>> {
    let made = std::thread::spawn(|| {
        sys::process::unshare(libc::CLONE_NEWNET)?;
        Ok::<_, rustix::io::Errno>(
            std::fs::File::open("/proc/thread-self/ns/net").map(OwnedFd::from),
        )
    });
    Ok(made
        .join()
        .map_err(|_| "the thread that makes a network namespace panicked")???)
}

//! A container's start in this process, by the crate that the engine's launcher starts them with: what `wharf-floor` makes,
//! plus the default seccomp profile and capabilities, from nothing to the program's end.
//!
//! `wharf-bench-start LOWER PROGRAM RUNS PAUSE_MS` prints one time in microseconds a line, as the floor does.

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use runtime::Prepared;
use runtime::cgroup::{Layout, Parent, Resources};
use runtime::plan::{
    CapSets, CgroupEntry, FdSlot, Namespaces, NsMode, Plan, ProcessPlan, RootSource, Seccomp,
};
use runtime::seccomp::{CompileEnv, compile, default_profile};
use runtime::spawn::{Stdio, spawn};
use rustix::fs::{CWD, Mode, OFlags};
use sys::mount::{self, Change, Propagation};

/// Docker's 14 capabilities.
const CAPABILITIES: u64 = 0xa804_25fb;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, lower, program, runs, pause] = args.as_slice() else {
        return Err("usage: wharf-bench-start LOWER PROGRAM RUNS PAUSE_MS".into());
    };
    let (runs, pause) = (runs.parse::<u32>()?, pause.parse::<u64>()?);
    let folder = tempfile::tempdir()?;
    let layout = Layout::detect()?;
    let parent = Parent::open(
        &layout,
        &format!("wharf-bench-start-{}", std::process::id()),
    )?;
    let birthplace = birthplace()?;
    // As the engine does, once.
    let filter = filter()?;
    let result = (0..runs).try_for_each(|number| {
        std::thread::sleep(Duration::from_millis(pause));
        let place = folder.path().join(number.to_string());
        let begin = Instant::now();
        let mut plan = plan(program, filter.clone())?;
        let group = parent.create(&number.to_string(), &Resources::default())?;
        let (tasks, unified) = group.entry_fds()?;
        let after = u16::try_from(tasks.len() + 1)?;
        plan.cgroup = CgroupEntry {
            dirs: (1..after).map(FdSlot).collect(),
            unified: unified.is_some().then_some(FdSlot(after)),
        };
        let mut fds = vec![overlay(Path::new(lower), &place)?];
        fds.extend(tasks);
        fds.extend(unified);
        let mut prepared = Prepared::new(plan)?;
        prepared.set_birthplace(birthplace.try_clone()?);
        let spawned = spawn(&prepared, &fds, Stdio::default())?;
        let exit = sys::process::wait(spawned.pidfd.as_fd(), true)?;
        println!("{}", begin.elapsed().as_micros());
        drop((spawned, fds));
        group.remove()?;
        match exit {
            Some(sys::process::Exit::Code(0)) => Ok(()),
            other => Err(format!("the program ended with {other:?}").into()),
        }
    });
    parent.remove()?;
    result
}

fn filter() -> Result<Seccomp, Box<dyn Error>> {
    let capabilities = runtime::caps::CapSet::from_bits(CAPABILITIES);
    let filter = compile(&default_profile(), &CompileEnv::host(capabilities))?;
    let parts = filter.iter();
    Ok(Seccomp {
        program: parts
            .map(|part| (part.code, part.jt, part.jf, part.k))
            .collect(),
        flags: 0,
    })
}

fn plan(program: &str, filter: Seccomp) -> Result<Plan, Box<dyn Error>> {
    Ok(Plan {
        namespaces: Namespaces {
            pid: NsMode::New,
            net: NsMode::New,
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
            args: vec![program.as_bytes().to_vec()],
            caps: CapSets {
                bounding: CAPABILITIES,
                effective: CAPABILITIES,
                permitted: CAPABILITIES,
                ..Default::default()
            },
            seccomp: Some(filter),
            ..Default::default()
        },
        ..Default::default()
    })
}

fn overlay(lower: &Path, place: &Path) -> Result<OwnedFd, Box<dyn Error>> {
    for folder in [place, &place.join("upper"), &place.join("work")] {
        std::fs::create_dir(folder)?;
    }
    let text = |path: &Path| std::ffi::CString::new(path.display().to_string());
    let (lower, upper, work) = (
        text(lower)?,
        text(&place.join("upper"))?,
        text(&place.join("work"))?,
    );
    let options = [
        (c"lowerdir", Some(lower.as_c_str())),
        (c"upperdir", Some(upper.as_c_str())),
        (c"workdir", Some(work.as_c_str())),
        (c"volatile", None),
    ];
    Ok(mount::detached(c"overlay", &options, 0)?)
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

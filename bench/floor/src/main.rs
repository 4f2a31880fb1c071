//! The floor: the least that a container can cost on this machine.
//!
//! Makes the same namespaces, mounts, masks, devices and cgroups as a container with default
//! settings, by the cheapest known way for each step, executes a static program, and waits for
//! it. There is no engine, no store, no log, no client: whoever starts containers can be compared
//! with it, and can not be faster.
//!
//! `wharf-floor LOWER PROGRAM RUNS PAUSE_MS` prints one time in microseconds a line: LOWER is a
//! folder that serves as the image, PROGRAM a static program inside it. Needs root.

mod child;
mod kernel;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kernel::Fd;

/// What one run needs and nobody has to make again.
struct Setting {
    lower: CString,
    program: CString,
    scratch: PathBuf,
    /// The folder of each mounted v1 hierarchy in which groups are made.
    hierarchies: Vec<PathBuf>,
    /// The same for the unified tree, if there is one.
    unified: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    let [_, lower, program, runs, pause] = args.as_slice() else {
        eprintln!("usage: wharf-floor LOWER PROGRAM RUNS PAUSE_MS");
        return ExitCode::from(2);
    };
    let (Ok(runs), Ok(pause)) = (runs.parse::<u32>(), pause.parse::<u64>()) else {
        eprintln!("RUNS and PAUSE_MS are numbers");
        return ExitCode::from(2);
    };
    match measure(lower, program, runs, Duration::from_millis(pause)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wharf-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(lower: &str, program: &str, runs: u32, pause: Duration) -> Result<(), String> {
    let scratch = std::env::temp_dir().join(format!("wharf-floor-{}", std::process::id()));
    std::fs::create_dir(&scratch).map_err(|error| format!("{scratch:?}: {error}"))?;
    let (hierarchies, unified) = groups(&format!("wharf-floor-{}", std::process::id()));
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let setting = Setting {
        lower: text(lower)?,
        program: text(program)?,
        scratch,
        hierarchies,
        unified,
    };
    // As the launcher does: a container's mount namespace is a copy of an almost empty one.
    kernel::empty_mount_namespace(&setting.scratch)?;
    let mut result = Ok(());
    for number in 0..runs {
        std::thread::sleep(pause);
        match run(&setting, number) {
            Ok(time) => println!("{}", time.as_micros()),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    for group in setting.hierarchies.iter().chain(&setting.unified) {
        let _ = std::fs::remove_dir(inside(group));
    }
    kernel::leave_scratch(&setting.scratch);
    result
}

/// A group of our own in every hierarchy that is mounted one level below /sys/fs/cgroup.
fn groups(name: &str) -> (Vec<PathBuf>, Option<PathBuf>) {
    let mut v1 = Vec::new();
    let mut unified = None;
    let top = Path::new("/sys/fs/cgroup");
    let folders = std::fs::read_dir(top)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for folder in folders.chain([top.to_owned()]) {
        let is_link = std::fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_symlink());
        let group = folder.join(name);
        if is_link || std::fs::create_dir(&group).is_err() {
            continue;
        }
        if group.join("tasks").exists() {
            if folder.ends_with("cpuset") {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let parent = std::fs::read(folder.join(file)).unwrap_or_default();
                    let _ = std::fs::write(group.join(file), parent);
                }
                let _ = std::fs::write(group.join("cgroup.clone_children"), "1");
            }
            // systemd's named hierarchy controls nothing.
            if folder.ends_with("systemd") {
                let _ = std::fs::remove_dir(&group);
            } else {
                v1.push(group);
            }
        } else if group.join("cgroup.procs").exists() {
            unified = Some(group);
        } else {
            let _ = std::fs::remove_dir(&group);
        }
    }
    (v1, unified)
}

/// One container from nothing to its end; the time excludes the clearing away.
fn run(setting: &Setting, number: u32) -> Result<Duration, String> {
    let name = format!("c{number}");
    let folder = Path::new("/scratch").join(&name);
    let begin = Instant::now();
    let made = make(setting, &folder, &name)?;
    let pid = kernel::clone(&made, setting)?;
    let status = kernel::wait(pid)?;
    let time = begin.elapsed();
    drop(made);
    for group in &setting.hierarchies {
        let _ = std::fs::remove_dir(inside(&group.join(&name)));
    }
    if let Some(unified) = &setting.unified {
        let _ = std::fs::remove_dir(inside(&unified.join(&name)));
    }
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{folder:?}: {error}"))?;
    if status == 0 {
        Ok(time)
    } else {
        Err(format!("the program ended with wait status {status:#x}"))
    }
}

/// A group of the host's as the emptied mount namespace sees it.
fn inside(path: &Path) -> PathBuf {
    Path::new("/groups").join(path.strip_prefix("/sys/fs/cgroup").unwrap_or(path))
}

/// What is made before the clone.
struct Made {
    root: Fd,
    tasks: Vec<Fd>,
    unified: Option<Fd>,
}

fn make(setting: &Setting, folder: &Path, name: &str) -> Result<Made, String> {
    let failed = |path: &Path, error: std::io::Error| format!("{path:?}: {error}");
    for part in [folder.to_owned(), folder.join("upper"), folder.join("work")] {
        std::fs::create_dir(&part).map_err(|error| failed(&part, error))?;
    }
    let mut tasks = Vec::with_capacity(setting.hierarchies.len());
    for group in &setting.hierarchies {
        let group = inside(&group.join(name));
        std::fs::create_dir(&group).map_err(|error| failed(&group, error))?;
        tasks.push(kernel::open_for_writing(&c_path(&group.join("tasks"))?)?);
    }
    let unified = match &setting.unified {
        Some(group) => {
            let group = inside(&group.join(name));
            std::fs::create_dir(&group).map_err(|error| failed(&group, error))?;
            Some(kernel::open_folder(&c_path(&group)?)?)
        }
        None => None,
    };
    let root = kernel::overlay(
        &setting.lower,
        &c_path(&folder.join("upper"))?,
        &c_path(&folder.join("work"))?,
    )?;
    Ok(Made {
        root,
        tasks,
        unified,
    })
}

fn c_path(path: &Path) -> Result<CString, String> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())
}

//! Doors to what only this crate knows, for the fuzz targets in `fuzz/`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::Mode;
use sys::beneath::{Root, fd_path};

use crate::plan::TargetKind;
use crate::prepared;
use crate::walk::paths;

/// Lines of a script that are carried out.
const MAX_LINES: usize = 64;
/// The folder within which paths are resolved.
const INSIDE: &str = "inside";
/// What lies beside it, and must not change.
const BESIDE: &str = "beside";

/// Carries a script out in `folder`, which is empty or was used so before: each line is a letter, a blank, and a path.
/// `d` makes a folder, `f` a file, `l` a symbolic link (the path, a blank, what it says): hostile images' part. `t`, `u`,
/// `m`, `n` resolve the path as a container's is, for a folder or a file that is made where it is missing, and as the
/// target of a mount.
///
/// # Panics
/// A path leads out of the folder within which it is resolved, or the ways to resolve it do not agree.
pub fn paths(folder: &Path, script: &[u8]) {
    let inside = folder.join(INSIDE);
    let beside = folder.join(BESIDE);
    let _ = fs::remove_dir_all(&inside);
    for path in [&inside, &beside] {
        let _ = fs::create_dir(path);
    }
    let Ok(opened) = File::open(&inside) else {
        return;
    };
    for line in script.split(|byte| *byte == b'\n').take(MAX_LINES) {
        if let [letter, b' ', path @ ..] = line {
            step(&opened, &inside, *letter, path);
        }
    }
    let names = fs::read_dir(folder).into_iter().flatten().count();
    let there = fs::read_dir(&beside).into_iter().flatten().count();
    assert_eq!((names, there), (2, 0), "something was made outside");
}

fn step(opened: &File, inside: &Path, letter: u8, path: &[u8]) {
    let root = Root::new(opened.as_fd());
    let mode = Mode::from_raw_mode(0o755);
    let as_path = Path::new(OsStr::from_bytes(path));
    match letter {
        b'd' => {
            if let Ok(made) = root.mkdir_all(as_path, mode) {
                assert_within(&made, inside, path);
            }
        }
        b'f' => drop(root.create_new(as_path, mode)),
        b'l' => {
            let mut words = path.splitn(2, |byte| *byte == b' ');
            if let (Some(at), Some(says)) = (words.next(), words.next()) {
                let at = Path::new(OsStr::from_bytes(at));
                let _ = root.symlink(OsStr::from_bytes(says), at);
            }
        }
        b't' => resolve(opened, inside, path, TargetKind::Dir, false),
        b'u' => resolve(opened, inside, path, TargetKind::File, false),
        b'm' => resolve(opened, inside, path, TargetKind::Dir, true),
        b'n' => resolve(opened, inside, path, TargetKind::File, true),
        _ => {}
    }
}

/// Finds or makes a place in all ways that there are, and compares where they lead.
fn resolve(opened: &File, inside: &Path, path: &[u8], kind: TargetKind, mount: bool) {
    let Some(place) = std::str::from_utf8(path)
        .ok()
        .and_then(|path| prepared::place_below("path", path).ok())
    else {
        return;
    };
    let root = opened.as_fd();
    // Where it leads by our own reading of links, before anything is made.
    let read = paths::real(root, &place.path);
    let found = match mount {
        true => paths::target(root, &place, kind).map(|target| target.place),
        false => paths::find_or_make(root, &place, kind),
    };
    let Ok(found) = found else {
        return;
    };
    let at = assert_within(&found, inside, path);
    if let Ok(read) = read {
        assert_eq!(at, read, "{:?}", OsStr::from_bytes(path));
    }
    // And where the kernel finds it again.
    if let Ok(again) = sys::mount::place_in(root, &place.path, rustix::fs::OFlags::empty()) {
        assert_eq!(assert_within(&again, inside, path), at);
    }
}

/// Where within the folder an open place is.
fn assert_within(place: &OwnedFd, inside: &Path, path: &[u8]) -> Vec<u8> {
    let at = fs::read_link(fd_path(place)).unwrap_or_default();
    let at = at.into_os_string().into_vec();
    let rest = at.strip_prefix(inside.as_os_str().as_bytes());
    let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
    match rest {
        Some(rest) => rest.to_vec(),
        None => panic!(
            "{:?} leads to {:?}",
            OsStr::from_bytes(path),
            OsStr::from_bytes(&at)
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::caps::CapSet;
    use crate::plan::{ExecPlan, Plan};
    use crate::seccomp::{Arch, CompileEnv, KernelVersion, Profile, compile};

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
        let files = fs::read_dir(folder.join(target)).unwrap();
        let paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
        assert!(!paths.is_empty(), "{target}");
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    #[test]
    fn paths_that_were_found_before_stay_within() {
        let folder = tempfile::tempdir().unwrap();
        for script in seeds("runtime_paths") {
            paths(folder.path(), &script);
        }
    }

    #[test]
    #[should_panic(expected = "something was made outside")]
    fn what_is_made_outside_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        paths(folder.path(), b"");
        fs::write(folder.path().join(BESIDE).join("x"), "").unwrap();
        paths(folder.path(), b"");
    }

    #[test]
    fn profiles_and_plans_that_were_found_before_are_read() {
        for seed in seeds("seccomp_profile") {
            let text = String::from_utf8_lossy(&seed);
            if let Ok(profile) = Profile::from_json(&text) {
                let env = CompileEnv {
                    caps: CapSet::EMPTY,
                    arch: Arch::NATIVE,
                    kernel: KernelVersion::parse("6.1"),
                };
                assert!(compile(&profile, &env).is_ok_and(|program| program.len() <= 4096));
            }
        }
        for seed in seeds("plan") {
            let _ = Plan::decode(&seed);
            let _ = ExecPlan::decode(&seed);
        }
    }
}

//! The runtime under other engines: Debian's dockerd, containerd, podman and buildah.

mod containerd;
mod dockerd;
mod podman;
mod rootless;

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::{Engine, Sandbox};

/// What counts up and can be seen to stand still.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";

fn missing(program: &str) -> bool {
    let found = Path::new(program).exists();
    if !found {
        testkit::skip(&format!("{program} is not installed"));
    }
    !found
}

/// The runtime as other engines call it.
fn runtime(folder: &Path) -> PathBuf {
    let path = folder.join("wharf-runtime");
    std::os::unix::fs::symlink(Engine::program(), &path).unwrap();
    path
}

/// Whether what a container tells stands still: two looks, and time for several words between.
fn stands_still(logs: impl Fn() -> String) -> bool {
    let before = logs();
    std::thread::sleep(Duration::from_millis(300));
    before == logs()
}

/// An engine's program in namespaces of its own.
struct Elsewhere {
    sandbox: Sandbox,
    folder: tempfile::TempDir,
    runtime: PathBuf,
}

impl Elsewhere {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime(folder.path());
        Self {
            sandbox: Sandbox::new(),
            folder,
            runtime,
        }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn runtime(&self) -> String {
        self.runtime.display().to_string()
    }
}

/// Looks for groups that stayed below the one around the containers, `parent`, which engines leave and which goes here.
fn check_groups(parent: &str) {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap();
    let mut left = Vec::new();
    for hierarchy in hierarchies.map(|entry| entry.unwrap().path()) {
        let around = hierarchy.join(parent);
        // Podman's own process for each container.
        let _ = std::fs::remove_dir(around.join("conmon"));
        if around.exists() && std::fs::remove_dir(&around).is_err() {
            left.push(around);
        }
    }
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn the_guards_cannot_be_turned_off() {
    let program = std::fs::read(Engine::program()).unwrap();
    let has = |text: &[u8]| program.windows(text.len()).any(|piece| piece == text);
    // The word is in builds for `crates/oci/tests/attacks` alone; another of the runtime's shows that it would be found.
    assert!(has(b"NOTIFY_SOCKET") && !has(b"WHARF_UNGUARDED"));
}

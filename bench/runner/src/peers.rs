//! OCI runtimes on bundles: Wharf's, crun and runc, on the same folders and in the same namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::Engine;

use crate::setup::{PROGRAM, beside};

/// What containers' engines hand to runtimes as the profile for everybody; Debian's package
/// golang-github-containers-common has it.
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// One runtime.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The program, and what stands before the verb.
    words: Vec<String>,
}

/// The runtimes that are installed, and bundles for them.
///
/// crun refuses to run while the unified tree of a host with both kinds of control groups is
/// mounted: all run in a mount namespace without it, which is that of the thread that they are
/// started from, so that nothing but the runtime is measured.
pub(crate) struct Peers {
    folder: tempfile::TempDir,
    pub(crate) all: Vec<Peer>,
    /// Whether there is a bundle with a seccomp profile.
    pub(crate) seccomp: bool,
}

/// Gives this thread, and those that it starts, mounts of their own: without the unified tree, and with a tmpfs at /run as
/// hosts have it, where runtimes keep what they know of containers.
fn set_apart() {
    // SAFETY: the thread gets its own working folder, root and mounts, and shares them with nobody else.
    let done = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    assert_eq!(done, 0, "unshare: {}", std::io::Error::last_os_error());
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    let (root, none) = (c"/".as_ptr(), std::ptr::null());
    // SAFETY: the strings end with a NUL.
    let done = unsafe { libc::mount(none, root, none, flags, none.cast()) };
    assert_eq!(done, 0, "mount: {}", std::io::Error::last_os_error());
    // SAFETY: as above. Where there is none, nothing has to go.
    unsafe { libc::umount2(c"/sys/fs/cgroup/unified".as_ptr(), 0) };
    let (tmpfs, run) = (c"tmpfs".as_ptr(), c"/run".as_ptr());
    // SAFETY: as above.
    let done = unsafe { libc::mount(tmpfs, run, tmpfs, libc::MS_NOSUID, none.cast()) };
    assert_eq!(done, 0, "mount: {}", std::io::Error::last_os_error());
}

impl Peers {
    /// For a thread that runs nothing else; see [`Peers`].
    ///
    /// # Panics
    /// When not even Wharf's runtime runs a bundle.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("wharf-bench-")
            .tempdir()
            .unwrap();
        let plain = spec();
        bundle(&folder.path().join("plain"), &plain);
        let mut sleeping = plain.clone();
        sleeping["process"]["args"] = json!([PROGRAM, "sleep"]);
        bundle(&folder.path().join("sleep"), &sleeping);
        let profile = profile();
        if let Some(profile) = &profile {
            let mut filtered = plain.clone();
            filtered["linux"]["seccomp"] = profile.clone();
            bundle(&folder.path().join("seccomp"), &filtered);
        }
        set_apart();
        let own = Engine::program().display().to_string();
        let mut peers = Peers {
            folder,
            all: vec![
                peer("wharf-runtime", vec![own, "runtime".to_owned()]),
                peer("crun", vec!["crun".to_owned()]),
                peer("runc", vec!["runc".to_owned()]),
            ],
            seccomp: profile.is_some(),
        };
        let able: Vec<bool> = peers.all.iter().map(|peer| peers.works(peer)).collect();
        assert!(able[0], "wharf-runtime does not run the bundle");
        let mut able = able.into_iter();
        peers.all.retain(|_| able.next() == Some(true));
        peers
    }

    fn works(&self, peer: &Peer) -> bool {
        let mut command = self.command(peer, "run", &["--bundle", "plain", "wharf-bench"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// A verb of a runtime, in the folder that the bundles are in.
    pub(crate) fn command(&self, peer: &Peer, verb: &str, args: &[&str]) -> Command {
        let (program, before) = peer.words.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(before).arg(verb).args(args);
        command.current_dir(self.folder.path());
        command
    }
}

fn peer(name: &'static str, words: Vec<String>) -> Peer {
    Peer { name, words }
}

/// The configuration that crun writes for a start, without a terminal; Wharf's where there is no crun.
fn spec() -> Value {
    let folder = tempfile::tempdir().unwrap();
    let own = Engine::program().display().to_string();
    let made = [["crun"].as_slice(), &[&own, "runtime"]]
        .iter()
        .any(|words| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg("spec");
            let status = command.current_dir(folder.path()).status();
            status.is_ok_and(|status| status.success())
        });
    assert!(made, "nobody writes a configuration");
    let text = fs::read(folder.path().join("config.json")).unwrap();
    let mut spec: Value = serde_json::from_slice(&text).unwrap();
    spec["process"]["terminal"] = false.into();
    // crun's own asks for ambient capabilities that it then can not raise; others warn of it.
    spec["process"]["capabilities"]["ambient"] = json!([]);
    spec["process"]["args"] = json!([PROGRAM]);
    spec
}

fn bundle(folder: &Path, spec: &Value) -> PathBuf {
    let root = folder.join("rootfs");
    for name in ["bin", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(beside("wharf-bench-program"), root.join("bin/true")).unwrap();
    let path = folder.join("config.json");
    fs::write(&path, spec.to_string()).unwrap();
    path
}

/// The profile for everybody in the runtimes' form: what it says of calls for a container without
/// special capabilities.
fn profile() -> Option<Value> {
    let text = fs::read(PROFILE).ok()?;
    let whole: Value = serde_json::from_slice(&text).ok()?;
    let is_for_all = |rule: &&Value| {
        let fits = |(name, of): (&String, &Value)| match name.as_str() {
            "arches" => of.as_array().is_some_and(|of| of.contains(&json!("amd64"))),
            "caps" => of.as_array().is_none_or(Vec::is_empty),
            _ => true,
        };
        let includes = rule["includes"].as_object();
        includes.is_none_or(|of| of.iter().all(fits))
            && rule["args"].as_array().is_none_or(Vec::is_empty)
    };
    let rules: Vec<Value> = whole["syscalls"]
        .as_array()?
        .iter()
        .filter(is_for_all)
        .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW")
        .map(|rule| json!({"names": rule["names"], "action": rule["action"]}))
        .collect();
    Some(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }))
}

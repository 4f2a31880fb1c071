//! `spec`: a sample configuration, ready for a root folder with a shell.

use std::path::PathBuf;

use runtime::defaults;
use serde_json::{Value, json};

use crate::cli::{Given, NAME, switch, value};
use crate::error::{Error, Result};
use crate::spec::{FILE, VERSION};

pub(super) fn run(words: &[String]) -> Result<u8> {
    let given = Given::parse(&[value("bundle").or("b"), switch("rootless")], words)?;
    if given.is_on("rootless") {
        return Err(Error::Usage(format!(
            "{NAME} spec --rootless is not supported"
        )));
    }
    let path = given
        .path("bundle")
        .unwrap_or_else(|| PathBuf::from("."))
        .join(FILE);
    let text =
        serde_json::to_string_pretty(&sample()).map_err(|error| Error::Output(error.into()))?;
    let mut file = match std::fs::File::create_new(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::State(format!("File {FILE} exists. Remove it first")));
        }
        other => other.map_err(|source| Error::io("writing", &path, source))?,
    };
    std::io::Write::write_all(&mut file, text.as_bytes())
        .map_err(|source| Error::io("writing", &path, source))?;
    Ok(0)
}

fn sample() -> Value {
    let caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let mut mount = json!({ "destination": destination, "type": kind, "source": source });
        if !options.is_empty() {
            mount["options"] = json!(options);
        }
        mount
    };
    let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [defaults::PATH, "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "wharf",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &[
                "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
            ]),
            mount("/dev/shm", "tmpfs", "shm", &[
                "nosuid", "noexec", "nodev", "mode=1777", "size=65536k",
            ]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &[
                "nosuid", "noexec", "nodev", "relatime", "ro",
            ]),
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": namespaces,
            "maskedPaths": defaults::masked_paths(),
            "readonlyPaths": defaults::readonly_paths(),
        },
    })
}

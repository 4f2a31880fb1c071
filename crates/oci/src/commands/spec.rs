//! `spec`: a sample configuration, ready for a root folder with a shell.

use std::path::PathBuf;

use runtime::defaults;
use serde_json::{Value, json};

use crate::cli::{Given, switch, value};
use crate::error::{Error, Result};
use crate::spec::{FILE, VERSION};

pub(super) fn run(words: &[String]) -> Result<u8> {
    let given = Given::parse(&[value("bundle").or("b"), switch("rootless")], words)?;
    let path = given
        .path("bundle")
        .unwrap_or_else(|| PathBuf::from("."))
        .join(FILE);
    let mut sample = sample();
    if given.is_on("rootless") {
        for_own_user(&mut sample);
    }
    let text =
        serde_json::to_string_pretty(&sample).map_err(|error| Error::Output(error.into()))?;
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

/// Changes the sample to what a user without rights over the host may run: a user namespace with that user as its root, the
/// host's network, no groups.
fn for_own_user(sample: &mut Value) {
    let map = |own: u32| json!([{ "containerID": 0, "hostID": own, "size": 1 }]);
    let kinds = ["pid", "ipc", "uts", "mount", "user"];
    sample["linux"] = json!({
        "namespaces": kinds.map(|kind| json!({ "type": kind })),
        "uidMappings": map(rustix::process::geteuid().as_raw()),
        "gidMappings": map(rustix::process::getegid().as_raw()),
        "maskedPaths": sample["linux"]["maskedPaths"],
        "readonlyPaths": sample["linux"]["readonlyPaths"],
    });
    let Some(mounts) = sample["mounts"].as_array_mut() else {
        return;
    };
    let is_groups = |mount: &Value| mount["type"] == "cgroup";
    let groups: Vec<Value> = mounts
        .iter()
        .filter(|mount| is_groups(mount))
        .cloned()
        .collect();
    // Another network's devices cannot be shown; the terminals' group is not in the map.
    mounts.retain(|mount| {
        !mount["destination"]
            .as_str()
            .unwrap_or_default()
            .starts_with("/sys")
    });
    for mount in mounts.iter_mut() {
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|option| !option.as_str().unwrap_or_default().starts_with("gid="));
        }
    }
    mounts.push(json!({
        "destination": "/sys", "type": "none", "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
    }));
    mounts.extend(groups);
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

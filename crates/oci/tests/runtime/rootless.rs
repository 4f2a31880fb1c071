//! An ordinary user's containers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Debian's user without files, who has a name as newuidmap(1) wants it.
pub(crate) const USER: u32 = 65534;
/// The first of the ids that /etc/subuid gives that user while a test runs.
const FIRST: u32 = 700_000;

/// A folder of that user's with a root folder, the command, and a name for a container.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    /// Variables of the command's environment.
    pub(crate) env: Vec<(&'static str, PathBuf)>,
    /// Groups that the user has, in each hierarchy.
    groups: Vec<PathBuf>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let home = Self {
            folder,
            env: Vec::new(),
            groups: Vec::new(),
        };
        for name in ["", "root", "bundle", "bundle/rootfs"] {
            let path = home.at(name);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir(home.at("bundle/rootfs").join(name)).unwrap();
        }
        let bin = home.at("bundle/rootfs/bin");
        fs::copy("/usr/bin/busybox", bin.join("busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", bin.join("sh")).unwrap();
        // Where the user may reach it.
        fs::copy(crate::support::program(), home.at("wharf-runtime")).unwrap();
        fs::write(home.at("subid"), format!("nobody:{FIRST}:65536\n")).unwrap();
        home.own("");
        home
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes groups for the user in all hierarchies, in which commands run then.
    fn delegate(&mut self) {
        let name = format!("wharf-oci-user-{}", std::process::id());
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap();
        let folders = hierarchies.map(|entry| entry.unwrap().path());
        for hierarchy in
            folders.filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists())
        {
            let group = hierarchy.join(&name);
            fs::create_dir(&group).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"] {
                // Empty ones of version 1 take no process.
                if group.join("tasks").exists() && group.join(file).exists() {
                    fs::write(group.join(file), fs::read(hierarchy.join(file)).unwrap()).unwrap();
                }
            }
            if !group.join("tasks").exists() {
                // Of version 2, a group is made beside the caller's, and not within.
                fs::create_dir(group.join("caller")).unwrap();
            }
            give(&group);
            self.groups.push(group);
        }
    }

    /// The files by which a process enters them.
    fn entries(&self) -> String {
        let file = |group: &PathBuf| {
            let tasks = group.join("tasks");
            let caller = group.join("caller/cgroup.procs");
            let entry = if tasks.exists() { tasks } else { caller };
            entry.to_string_lossy().into_owned()
        };
        self.groups.iter().map(file).collect::<Vec<_>>().join(" ")
    }

    /// The group of one controller.
    fn group(&self, controller: &str) -> PathBuf {
        let found = self.groups.iter().find(|group| {
            group
                .components()
                .any(|part| part.as_os_str() == controller)
        });
        found.unwrap().clone()
    }

    /// Gives a folder and all in it to the user.
    fn own(&self, name: &str) {
        give(&self.at(name));
    }

    /// Runs the command as the user, in a mount namespace where /etc/subuid and /etc/subgid give it more ids.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let line = "for g in $GROUPS; do echo $$ >$g; done; mount --bind \"$0/subid\" /etc/subuid; mount --bind \"$0/subid\" /etc/subgid; cd \"$0/bundle\";
            exec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups \"$0/wharf-runtime\" --root \"$0/root\" \"$@\"";
        Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-ec", line])
            .env("GROUPS", self.entries())
            .envs(self.env.iter().cloned())
            .arg(self.folder.path())
            .args(words)
            .output()
            .unwrap()
    }

    #[track_caller]
    pub(crate) fn good(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs a command whose container outlives it, and so must not hold a pipe of ours: it writes to `out`.
    #[track_caller]
    pub(crate) fn quiet(&self, words: &[&str]) {
        let line = "for g in $GROUPS; do echo $$ >$g; done; mount --bind \"$0/subid\" /etc/subuid; cd \"$0/bundle\";
            exec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups \"$0/wharf-runtime\" --root \"$0/root\" \"$@\" >\"$0/out\" 2>&1";
        let status = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-ec", line])
            .env("GROUPS", self.entries())
            .envs(self.env.iter().cloned())
            .arg(self.folder.path())
            .args(words)
            .status()
            .unwrap();
        let told = || fs::read_to_string(self.at("out")).unwrap();
        assert!(status.success(), "{}", told());
    }

    /// Writes the sample configuration, changed, for a line of the shell.
    pub(crate) fn configure(&self, script: &str, change: impl FnOnce(&mut Value)) {
        let path = self.at("bundle/config.json");
        let _ = fs::remove_file(&path);
        self.good(&["spec", "--rootless"]);
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
        change(&mut config);
        fs::write(&path, config.to_string()).unwrap();
    }
}

fn give(path: &Path) {
    if !path.is_symlink() {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for group in &self.groups {
            let _ = fs::remove_dir(group.join("caller"));
            let removed = fs::remove_dir(group);
            assert!(
                std::thread::panicking() || removed.is_ok(),
                "{group:?}: {removed:?}"
            );
        }
        if !std::thread::panicking() {
            let left: Vec<_> = fs::read_dir(self.at("root")).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

#[test]
fn a_bundle_runs_as_an_ordinary_user() {
    let home = Home::new();
    let script = "id -u; cat /proc/sys/kernel/hostname; busybox cut -c1-40 /proc/self/uid_map; echo $$; touch /tmp/mine /dev/null;
        ls /sys/class/net | busybox wc -l; echo x >/dev/full || echo full; busybox mount | grep -c ' / '";
    let script = script
        .replace("id -u", "busybox id -u")
        .replace("cat /proc", "busybox cat /proc");
    let script = script
        .replace("touch", "busybox touch")
        .replace("ls /sys", "busybox ls /sys")
        .replace("grep", "busybox grep");
    home.configure(&script, |config| config["root"]["readonly"] = json!(false));
    let told = home.good(&["run", "box"]);
    let links = fs::read_dir("/sys/class/net").unwrap().count();
    let map = format!("{:>10} {USER:>10} {:>10}", 0, 1);
    assert_eq!(told, format!("0\nwharf\n{map}\n1\n{links}\nfull\n1\n"));
    let made = fs::metadata(home.at("bundle/rootfs/tmp/mine")).unwrap();
    assert_eq!((made.uid(), made.gid()), (USER, USER));
}

#[test]
fn several_ranges_of_ids_are_mapped_by_the_helpers() {
    let home = Home::new();
    let script = "busybox chown 5:7 /tmp/own; busybox stat -c '%u %g' /tmp/own; busybox wc -l </proc/self/uid_map; busybox id -G";
    fs::write(home.at("bundle/rootfs/tmp/own"), "").unwrap();
    home.own("bundle/rootfs/tmp");
    let ranges = |first: u32| {
        json!([
            {"containerID": 0, "hostID": USER, "size": 1},
            {"containerID": 1, "hostID": first, "size": 100},
            {"containerID": 500, "hostID": first + 500, "size": 10},
        ])
    };
    home.configure(script, |config| {
        config["root"]["readonly"] = json!(false);
        config["linux"]["uidMappings"] = ranges(FIRST);
        config["linux"]["gidMappings"] = ranges(FIRST);
        config["process"]["capabilities"]["bounding"] = json!(["CAP_CHOWN"]);
        config["process"]["capabilities"]["effective"] = json!(["CAP_CHOWN"]);
        config["process"]["capabilities"]["permitted"] = json!(["CAP_CHOWN"]);
        config["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [3]});
    });
    assert_eq!(home.good(&["run", "box"]), "5 7\n3\n0 3\n");
    let made = fs::metadata(home.at("bundle/rootfs/tmp/own")).unwrap();
    assert_eq!((made.uid(), made.gid()), (FIRST + 4, FIRST + 6));
    // Ids of somebody else.
    home.configure("true", |config| {
        config["linux"]["uidMappings"] = ranges(FIRST - 1);
        config["linux"]["gidMappings"] = ranges(FIRST);
    });
    let done = home.run(&["run", "box"]);
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        !done.status.success() && told.contains("by newuidmap, which asks /etc/subuid"),
        "{told}"
    );
}

#[test]
fn a_tmpfs_of_an_ordinary_user_begins_with_what_it_hides() {
    let home = Home::new();
    let etc = home.at("bundle/rootfs/etc");
    fs::create_dir_all(etc.join("below/deep")).unwrap();
    fs::write(etc.join("below/deep/file"), "x".repeat(100_000)).unwrap();
    fs::write(etc.join("run"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("below/deep/file", etc.join("link")).unwrap();
    home.own("bundle/rootfs/etc");
    chown(etc.join("run"), Some(FIRST + 4), Some(FIRST + 6)).unwrap();
    fs::set_permissions(etc.join("run"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(etc.join("below"), fs::Permissions::from_mode(0o751)).unwrap();
    let before = fs::metadata(etc.join("run")).unwrap().mtime();
    let ranges = json!([
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": FIRST, "size": 100},
    ]);
    let script = "busybox grep -c ' /etc tmpfs' /proc/mounts; busybox wc -c </etc/link; busybox stat -c '%a %u %g %Y' /etc/run;
        busybox stat -c %a /etc/below /etc; busybox touch /etc/more; busybox stat -c %a /tmp/new; busybox ls /tmp/new";
    fs::set_permissions(&etc, fs::Permissions::from_mode(0o711)).unwrap();
    home.configure(script, |config| {
        config["root"]["readonly"] = json!(false);
        config["linux"]["uidMappings"] = ranges.clone();
        config["linux"]["gidMappings"] = ranges;
        let tmpfs = |place: &str, option: &str| json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", option]});
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(tmpfs("/etc", "size=1m"));
        mounts.push(tmpfs("/tmp/new", "mode=711"));
    });
    let told = home.good(&["run", "box"]);
    assert_eq!(
        told,
        format!("1\n100000\n4755 5 7 {before}\n751\n711\n711\n")
    );
    assert!(!etc.join("more").exists());
    // What does not fit is told, and nothing is left.
    let path = home.at("bundle/config.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("size=1m", "size=8k")).unwrap();
    let done = home.run(&["run", "box"]);
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        !done.status.success() && told.contains("no space left on device"),
        "{told}"
    );
}

#[test]
fn an_ordinary_users_container_has_a_life() {
    let home = Home::new();
    home.configure("busybox sleep 1000", |config| {
        config["process"]["oomScoreAdj"] = json!(300);
        let log = home.at("root/../hook");
        config["hooks"] = json!({"createContainer": [{
            "path": "/bin/sh", "args": ["sh", "-c", format!("id -u >{}", log.display())],
        }]});
    });
    home.quiet(&["create", "box"]);
    assert_eq!(fs::read_to_string(home.at("hook")).unwrap(), "0\n");
    home.quiet(&["start", "box"]);
    let state: Value = serde_json::from_str(&home.good(&["state", "box"])).unwrap();
    assert_eq!(state["status"], json!("running"));
    let pid = state["pid"].as_u64().unwrap();
    let told = home.good(&[
        "exec",
        "box",
        "/bin/busybox",
        "sh",
        "-c",
        "busybox id -u; busybox readlink /proc/self/ns/user; exit 0",
    ]);
    let namespace = fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_eq!(told, format!("0\n{}\n", namespace.display()));
    assert_eq!(
        home.run(&["exec", "box", "/bin/busybox", "sh", "-c", "exit 9"])
            .status
            .code(),
        Some(9)
    );
    home.good(&["kill", "box", "KILL"]);
    home.good(&["delete", "--force", "box"]);
    assert!(home.good(&["list", "-q"]).is_empty());
}

#[test]
fn clocks_of_an_ordinary_users_container_may_differ() {
    let home = Home::new();
    home.configure("busybox cat /proc/uptime; busybox sleep 1000", |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "time"}));
        config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    });
    home.quiet(&["run", "-d", "box"]);
    let later =
        |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap() > 1_000_000_000;
    let joined = home.good(&["exec", "box", "/bin/busybox", "cat", "/proc/uptime"]);
    assert!(later(&joined), "{joined}");
    let first = fs::read_to_string(home.at("out")).unwrap();
    assert!(later(&first), "{first}");
    home.good(&["delete", "--force", "box"]);
}

#[test]
fn an_ordinary_user_limits_and_holds_containers_in_groups_of_its_own() {
    if fs::metadata("/sys/fs/cgroup/pids").is_err() {
        testkit::skip("there is no version 1 hierarchy of pids");
        return;
    }
    let mut home = Home::new();
    home.delegate();
    home.configure("busybox sleep 1000", |config| {
        config["linux"]["resources"] =
            json!({"pids": {"limit": 11}, "memory": {"limit": 67_108_864}});
    });
    home.quiet(&["run", "-d", "box"]);
    let own = home.group("pids").join("box");
    let limit = || fs::read_to_string(own.join("pids.max")).unwrap();
    assert_eq!(limit(), "11\n");
    home.good(&["update", "--pids-limit", "12", "box"]);
    assert_eq!(limit(), "12\n");
    let status = || {
        let state: Value = serde_json::from_str(&home.good(&["state", "box"])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    home.good(&["pause", "box"]);
    assert_eq!(status(), "paused");
    home.good(&["resume", "box"]);
    assert_eq!(status(), "running");
    let groups = home.good(&["exec", "box", "/bin/busybox", "cat", "/proc/self/cgroup"]);
    assert!(
        groups.lines().filter(|line| line.ends_with("/box")).count() > 3,
        "{groups}"
    );
    let told = home.good(&["ps", "--format", "json", "box"]);
    assert!(told.starts_with('['), "{told}");
    home.good(&["delete", "--force", "box"]);
    assert!(!own.exists());
}

#[test]
fn what_needs_rights_is_refused() {
    let home = Home::new();
    for (pointer, value, words) in [
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "pid"}]),
            "a container without a user namespace needs rights over the host",
        ),
        ("/linux/resources", json!({"pids": {"limit": 5}}), "cgroup"),
    ] {
        home.configure("true", |config| {
            config["hostname"] = Value::Null;
            let linux = config["linux"].as_object_mut().unwrap();
            if pointer.ends_with("namespaces") {
                // They would be refused first.
                linux.remove("uidMappings");
                linux.remove("gidMappings");
            }
            *linux
                .entry(pointer.rsplit('/').next().unwrap())
                .or_insert(Value::Null) = value;
        });
        let done = home.run(&["run", "box"]);
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && told.contains(words), "{told}");
    }
}

/// As engines of ordinary users do it: they become root of a user namespace, and call the command there.
#[test]
fn root_of_a_users_namespace_has_containers() {
    let home = Home::new();
    fs::write(home.at("bundle/rootfs/etc/kept"), "").unwrap();
    home.own("bundle/rootfs/etc");
    let path = home.at("bundle/config.json");
    let script = "busybox id -u; busybox ls /etc; busybox grep -q ' /sys/fs/cgroup' /proc/mounts && echo groups; busybox touch /etc/more /dev/null; busybox test -c /dev/zero && busybox sleep $T";
    let mut config: Value = {
        home.good(&["spec"]);
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
    };
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", script]);
    config["process"]["env"] = json!(["T=0"]);
    let mounts = config["mounts"].as_array_mut().unwrap();
    for mount in mounts.iter_mut().filter(|mount| mount["type"] == "devpts") {
        // There is no such group.
        let options = mount["options"].as_array_mut().unwrap();
        options.retain(|option| option != "gid=5");
    }
    mounts.push(json!({
        "destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"],
    }));
    fs::write(&path, config.to_string()).unwrap();
    config["process"]["env"] = json!(["T=1000"]);
    fs::create_dir(home.at("long")).unwrap();
    config["root"]["path"] = json!(home.at("bundle/rootfs"));
    fs::write(home.at("long/config.json"), config.to_string()).unwrap();
    // Namespaces of its own in that namespace, and one of the other container's.
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|one| one["type"] != "pid");
    namespaces.push(json!({"type": "pid", "path": "PIDS"}));
    config["process"]["args"] = json!(["sh", "-c", "[ $$ != 1 ] && echo joined"]);
    fs::create_dir(home.at("joins")).unwrap();
    fs::write(home.at("joins/config.json"), config.to_string()).unwrap();
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|one| one["type"] != "pid");
    namespaces.extend([json!({"type": "pid"}), json!({"type": "user"})]);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["process"]["args"] = json!(["sh", "-c", "busybox id -u"]);
    fs::create_dir(home.at("users")).unwrap();
    fs::write(home.at("users/config.json"), config.to_string()).unwrap();
    for name in ["long", "joins", "users"] {
        home.own(name);
    }
    let lines = r#"
        cd "$0/bundle"; "$0/wharf-runtime" run box
        "$0/wharf-runtime" run -d -b "$0/long" --pid-file "$0/pid" long >"$0/out" 2>&1
        trap '"$0/wharf-runtime" delete -f long 2>"$0/out"' EXIT
        ls "$XDG_RUNTIME_DIR/wharf-runtime"
        "$0/wharf-runtime" exec long /bin/busybox sh -c 'busybox ls /etc/kept; exit 9' || echo $?
        sed -i "s|PIDS|/proc/$(cat "$0/pid")/ns/pid|" "$0/joins/config.json"
        "$0/wharf-runtime" run -b "$0/joins" joins
        "$0/wharf-runtime" run -b "$0/users" users
        "$0/wharf-runtime" delete -f long
        ls "$XDG_RUNTIME_DIR/wharf-runtime""#;
    let done = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args([
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-ec",
            lines,
        ])
        .arg(home.folder.path())
        .env("XDG_RUNTIME_DIR", home.at("root"))
        .env_remove("USER")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.stderr.is_empty() && done.status.success(), "{done:?}");
    assert_eq!(
        told, "0\nkept\ngroups\nlong\n/etc/kept\n9\njoined\n0\n",
        "{done:?}"
    );
    fs::remove_dir(home.at("root/wharf-runtime")).unwrap();
}

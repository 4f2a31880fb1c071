//! Mounts of all kinds, seen from within the container.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::Bundle;

/// A bundle whose root can be written to.
pub(crate) fn bundle(script: &str, mounts: &[Value]) -> Bundle {
    let mut bundle = Bundle::new(script);
    bundle.config["root"]["readonly"] = json!(false);
    for mount in mounts {
        bundle.push("/mounts", mount.clone());
    }
    bundle
}

/// The attributes of a mount by the container's /proc/self/mounts.
pub(crate) fn attributes(table: &str, place: &str) -> Vec<String> {
    let line = table
        .lines()
        .rfind(|line| line.split(' ').nth(1) == Some(place));
    let line = line.unwrap_or_else(|| panic!("{place}: {table}"));
    let words = line.split(' ').nth(3).unwrap().split(',');
    words.map(str::to_owned).collect()
}

fn has(table: &str, place: &str, word: &str) -> bool {
    attributes(table, place).iter().any(|one| one == word)
}

/// A user namespace of its own, with these ids outside.
pub(crate) fn with_users(bundle: &mut Bundle, outside: u32) {
    bundle.push("/linux/namespaces", json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": outside, "size": 1000}]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
}

#[test]
fn a_tmpfs_begins_with_what_it_hides() {
    let tmpfs = |place: &str, options: &[&str]| json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options});
    let bound = tempfile::tempdir().unwrap();
    fs::create_dir(bound.path().join("in")).unwrap();
    fs::write(bound.path().join("in/file"), "bound\n").unwrap();
    chown(bound.path().join("in/file"), Some(7), Some(8)).unwrap();
    fs::set_permissions(bound.path().join("in"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("file", bound.path().join("in/link")).unwrap();
    let script = "grep -c seven /etc/passwd; echo more >/etc/passwd; grep -c ' /etc tmpfs' /proc/self/mounts;
        cat /data/in/link; stat -c '%u %g' /data/in/file; stat -c %a /data/in; stat -c %a /data/in/none; ls /data/new | wc -l";
    let script = script
        .replace("stat", "busybox stat")
        .replace("| wc", "| busybox wc");
    let bundle = bundle(
        &script,
        &[
            tmpfs("/etc", &["tmpcopyup", "size=1m"]),
            json!({"destination": "/data", "type": "bind", "source": bound.path(), "options": ["bind"]}),
            tmpfs("/data/in", &["tmpcopyup", "rprivate"]),
            tmpfs("/data/in/none", &["tmpcopyup", "mode=711"]),
            tmpfs("/data/new", &["tmpcopyup"]),
        ],
    );
    let root = bundle.config["root"]["path"].as_str().unwrap().to_owned();
    let before = fs::read(Path::new(&root).join("etc/passwd")).unwrap();
    let out = bundle.run(&["run", "ID"]).good();
    assert_eq!(out, "1\n1\nbound\n7 8\n751\n711\n0\n");
    assert_eq!(
        fs::read(Path::new(&root).join("etc/passwd")).unwrap(),
        before
    );
}

#[test]
fn attributes_of_mounts_below_stand_beside_the_mounts_own() {
    let bind = |place: &str, options: &[&str]| json!({"destination": place, "type": "bind", "source": "/sys", "options": options});
    let bundle = bundle(
        "cat /proc/self/mounts",
        &[
            bind("/mnt/a", &["rbind", "rnosymfollow", "nodiratime"]),
            bind(
                "/mnt/b",
                &["rbind", "nosymfollow", "rnodiratime", "rrelatime"],
            ),
            bind("/mnt/c", &["rbind", "rro", "rnoatime"]),
            bind("/mnt/d", &["rbind", "ro", "rrw"]),
        ],
    );
    let table = bundle.run(&["run", "ID"]).good();
    let below = |place: &str| format!("{place}/fs/cgroup");
    for (place, all, own) in [
        ("/mnt/a", "nosymfollow", "nodiratime"),
        ("/mnt/b", "nodiratime", "nosymfollow"),
    ] {
        assert!(
            has(&table, place, all) && has(&table, place, own),
            "{table}"
        );
        assert!(has(&table, &below(place), all), "{table}");
        assert!(!has(&table, &below(place), own), "{table}");
    }
    for place in ["/mnt/c".to_owned(), below("/mnt/c")] {
        assert!(
            has(&table, &place, "ro") && has(&table, &place, "noatime"),
            "{table}"
        );
    }
    assert!(has(&table, "/mnt/d", "rw"), "{table}");
}

#[test]
fn mounts_that_are_there_are_changed() {
    let tmpfs =
        json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]});
    let again = |options: &[&str]| json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options});
    let changed = bundle(
        "cat /proc/self/mounts; touch /mnt/x",
        &[
            tmpfs.clone(),
            again(&["remount", "bind", "ro", "nosuid"]),
            again(&["remount", "size=128k"]),
            json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["remount", "noexec"]}),
        ],
    );
    let ended = changed.run(&["run", "ID"]);
    assert!(ended.err.contains("Read-only file system"), "{ended:?}");
    for word in ["ro", "nosuid", "size=128k"] {
        assert!(has(&ended.out, "/mnt", word), "{word}: {ended:?}");
    }
    assert!(has(&ended.out, "/proc", "noexec"), "{ended:?}");
    // Not a mount, and not there at all.
    let cases = [("/tmp", "invalid argument"), ("/nowhere", "no such file")];
    for (place, words) in cases {
        let mount = json!({"destination": place, "options": ["remount", "ro"]});
        let sentence = bundle("true", &[mount]).run(&["run", "ID"]).sentence();
        assert!(sentence.contains(words), "{place}: {sentence}");
    }
}

/// A folder on a file system whose mounts can be mapped, with a file of each of these users.
pub(crate) fn files(users: &[u32]) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    for user in users {
        let path = folder.path().join(user.to_string());
        fs::write(&path, "").unwrap();
        chown(&path, Some(*user), Some(*user)).unwrap();
    }
    folder
}

#[test]
fn files_are_shown_as_other_users() {
    let folder = files(&[7, 30]);
    let map = json!([
        {"containerID": 0, "hostID": 5000, "size": 10},
        {"containerID": 30, "hostID": 6000, "size": 1},
    ]);
    let mount = json!({
        "destination": "/mnt", "type": "bind", "source": folder.path(), "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map,
    });
    let script =
        "busybox stat -c '%u %g' /mnt/7 /mnt/30; touch /mnt/new 2>&1 | busybox sed 's/.*: //'";
    let out = bundle(script, std::slice::from_ref(&mount))
        .run(&["run", "ID"])
        .good();
    // The writer has no place in the map.
    assert_eq!(
        out,
        "5007 5007\n6000 6000\nValue too large for defined data type\n"
    );
    // Without the word, and by a user who has one.
    let mut plain = mount;
    plain["options"] = json!(["bind"]);
    let mut own = bundle("touch /mnt/new", &[plain]);
    own.config["process"]["user"] = json!({"uid": 5003, "gid": 5004});
    own.run(&["run", "ID"]).good();
    let made = fs::metadata(folder.path().join("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (3, 4));
}

#[test]
fn the_containers_own_users_are_shown() {
    let folder = files(&[0, 7]);
    let mount = json!({
        "destination": "/mnt", "type": "bind", "source": folder.path(), "options": ["rbind", "ridmap"],
    });
    let script = "busybox stat -c %u /mnt/0 /mnt/7; touch /mnt/new; busybox stat -c %u /mnt/new";
    let mut bundle = bundle(script, std::slice::from_ref(&mount));
    bundle.config["root"]["readonly"] = json!(true);
    with_users(&mut bundle, 100_000);
    assert_eq!(bundle.run(&["run", "ID"]).good(), "0\n7\n0\n");
    assert_eq!(fs::metadata(folder.path().join("new")).unwrap().uid(), 0);
    for (changed, words) in [
        (
            json!({"type": "tmpfs", "options": ["idmap"]}),
            "only bind mounts",
        ),
        (
            json!({"options": ["bind", "idmap"]}),
            "idmap needs uidMappings",
        ),
        (
            json!({"uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}),
            "mounts[7].gidMappings: a mapped mount needs some",
        ),
    ] {
        let mut mount = mount.clone();
        mount
            .as_object_mut()
            .unwrap()
            .extend(changed.as_object().unwrap().clone());
        let sentence = self::bundle("true", &[mount])
            .run(&["run", "ID"])
            .sentence();
        assert!(sentence.contains(words), "{sentence}");
    }
}

#[test]
fn targets_may_be_links_and_lead_upwards() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in ["bin", "dev", "proc", "sys", "etc", "tmp"] {
        fs::create_dir(at(folder)).unwrap();
    }
    fs::copy("/usr/bin/busybox", at("bin/busybox")).unwrap();
    symlink("busybox", at("bin/sh")).unwrap();
    symlink("/run", at("var-run")).unwrap();
    symlink("../../../../../run/resolve/conf", at("etc/resolv.conf")).unwrap();
    let file = root.path().join("source");
    fs::write(&file, "bound\n").unwrap();
    let bind = |place: &str| json!({"destination": place, "type": "bind", "source": file, "options": ["bind"]});
    let mut bundle = bundle(
        "busybox cat /run/resolve/conf /run/x/y /tmp/up /etc/resolv.conf",
        &[
            bind("/etc/resolv.conf"),
            bind("/var-run/x/y"),
            bind("/etc/../tmp/../../tmp/up"),
        ],
    );
    bundle.config["root"]["path"] = json!(root.path());
    assert_eq!(bundle.run(&["run", "ID"]).good(), "bound\n".repeat(4));
    assert!(at("run/resolve/conf").is_file() && !Path::new("/run/resolve/conf").exists());
}

#[test]
fn the_kernels_file_systems_are_mounted_on_folders_alone() {
    for (name, kind) in [("sys", "sysfs"), ("proc", "proc")] {
        for target in ["/elsewhere", "/tmp"] {
            let root = tempfile::tempdir().unwrap();
            for folder in ["bin", "dev", "proc", "sys", "tmp"] {
                fs::create_dir(root.path().join(folder)).unwrap();
            }
            fs::remove_dir(root.path().join(name)).unwrap();
            symlink(target, root.path().join(name)).unwrap();
            let mut bundle = bundle("true", &[]);
            bundle.config["root"]["path"] = json!(root.path());
            let sentence = bundle.run(&["run", "ID"]).sentence();
            let words = format!("filesystem \"{kind}\" must be mounted on ordinary directory");
            assert!(sentence.contains(&words), "{sentence}");
        }
    }
}

#[test]
fn the_folder_of_hierarchies_is_as_writable_as_its_mount_is_asked_for() {
    for (word, may) in [("ro", false), ("rw", true)] {
        let mut bundle = bundle("cat /proc/self/mounts", &[]);
        let mounts = bundle.config["mounts"].as_array_mut().unwrap();
        let groups = mounts.iter_mut().find(|one| one["type"] == "cgroup");
        groups.unwrap()["options"] = json!(["nosuid", word]);
        let table = bundle.run(&["run", "ID"]).good();
        assert_eq!(has(&table, "/sys/fs/cgroup", "ro"), !may, "{table}");
    }
}

#[test]
fn queues_and_kernel_objects_are_there() {
    let script = "touch /dev/mqueue/queue && ls /dev/mqueue; ls -d /sys/class/net/*; grep ' /sys ' /proc/self/mounts";
    let out = Bundle::new(script).run(&["run", "ID"]).good();
    assert!(
        out.starts_with("queue\n/sys/class/net/lo\nsysfs /sys sysfs ro"),
        "{out}"
    );
    // Of the host's network, which a user namespace of its own may not show anew.
    for users in [false, true] {
        let mut bundle =
            Bundle::new("ls /sys/class/net | busybox wc -l; touch /sys/x 2>/dev/null || echo no");
        let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != "network");
        if users {
            with_users(&mut bundle, 0);
        }
        let links = fs::read_dir("/sys/class/net").unwrap().count();
        assert_eq!(
            bundle.run(&["run", "ID"]).good(),
            format!("{links}\nno\n"),
            "{users}"
        );
    }
}

#[test]
fn options_of_other_file_systems_are_passed_on() {
    let layers = tempfile::tempdir().unwrap();
    for name in ["low", "up", "work"] {
        fs::create_dir(layers.path().join(name)).unwrap();
    }
    fs::write(layers.path().join("low/file"), "low\n").unwrap();
    let option = |key: &str, name: &str| format!("{key}={}", layers.path().join(name).display());
    let overlay = json!({"destination": "/mnt", "type": "overlay", "source": "overlay", "options": [
        option("lowerdir", "low"), option("upperdir", "up"), option("workdir", "work"), "volatile", "nosuid",
    ]});
    let ended = bundle(
        "cat /mnt/file; touch /mnt/new; grep -o 'nosuid.*volatile' /proc/self/mounts",
        &[overlay],
    )
    .run(&["run", "ID"])
    .good();
    assert!(ended.starts_with("low\nnosuid"), "{ended}");
    assert!(layers.path().join("up/new").exists());
    let wrong = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["nonsense=1"]});
    let sentence = bundle("true", &[wrong]).run(&["run", "ID"]).sentence();
    assert!(
        sentence.contains("mount tmpfs:/mnt, data: nonsense=1: invalid argument"),
        "{sentence}"
    );
}

#[test]
fn a_file_system_of_a_server_gets_its_descriptor() {
    if fs::File::open("/dev/fuse").is_err() {
        testkit::skip("there is no /dev/fuse");
        return;
    }
    let fuse = json!({"destination": "/mnt", "type": "fuse.test", "source": "served", "options": [
        "fd=3", "rootmode=40000", "user_id=0", "group_id=0", "allow_other", "nosuid", "nodev",
    ]});
    let bundle = bundle("grep ' /mnt ' /proc/self/mounts", &[fuse]);
    let command = bundle.command(&["run", "--preserve-fds", "1", "ID"]);
    let done = Command::new("/bin/sh")
        .args(["-c", "exec 3<>/dev/fuse; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(
        out.starts_with("served /mnt fuse.test rw,nosuid,nodev"),
        "{done:?}"
    );
    assert!(out.contains("allow_other"), "{out}");
}

#[test]
fn mounts_are_listed_in_the_order_of_the_configuration() {
    let mut bundle = Bundle::new("busybox awk '{print $5}' /proc/self/mountinfo");
    let source = tempfile::tempdir().unwrap();
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    let bind = |place: &str| json!({"destination": place, "type": "bind", "source": source.path(), "options": ["rbind"]});
    mounts.insert(1, bind("/mnt/one"));
    mounts.push(json!({"destination": "/mnt/two", "type": "tmpfs", "source": "tmpfs"}));
    mounts.push(bind("/mnt/three"));
    // Made of more mounts than one, each in its turn; and those of masked paths come after all.
    mounts.retain(|mount| mount["type"] != "cgroup");
    let asked: Vec<String> = mounts
        .iter()
        .map(|mount| mount["destination"].as_str().unwrap().to_owned())
        .collect();
    let listed = bundle.run(&["run", "ID"]).good();
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(listed[0], "/");
    assert_eq!(listed[1..=asked.len()], asked, "{listed:?}");
    // A user's procfs and sysfs are made before all else. What is bound was opened by whoever asks.
    bundle.push("/linux/namespaces", json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    let listed = bundle.run(&["run", "ID"]).good();
    let asked: Vec<String> = asked
        .into_iter()
        .filter(|place| place != "/mnt/one" && place != "/mnt/three")
        .collect();
    let is_asked = |place: &&str| asked.iter().any(|one| one == place);
    let listed: Vec<&str> = listed.lines().filter(is_asked).collect();
    assert_eq!(listed, asked);
}

#[test]
fn a_tmpfs_takes_the_mode_of_what_it_hides() {
    let root = tempfile::tempdir().unwrap();
    for (folder, mode) in [("bin", 0o755), ("hidden", 0o710), ("around/in", 0o751)] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(root.path().join(folder), mode).unwrap();
    }
    for name in ["busybox", "sh"] {
        fs::copy("/usr/bin/busybox", root.path().join("bin").join(name)).unwrap();
    }
    let bound = tempfile::tempdir().unwrap();
    fs::create_dir(bound.path().join("in")).unwrap();
    let mode = fs::Permissions::from_mode(0o1711);
    fs::set_permissions(bound.path().join("in"), mode).unwrap();
    let mut bundle = Bundle::new(
        "busybox stat -c %a /hidden /around/in /new; busybox grep -c '^tmpfs /hidden tmpfs .*mode=710' /proc/mounts",
    );
    bundle.config["root"]["path"] = json!(root.path());
    bundle.config["root"]["readonly"] = json!(false);
    let tmpfs = |place: &str| json!({"destination": place, "type": "tmpfs", "source": "tmpfs"});
    for mount in [
        tmpfs("/hidden"),
        json!({"destination": "/around", "type": "bind", "source": bound.path(), "options": ["bind"]}),
        tmpfs("/around/in"),
        tmpfs("/new"),
    ] {
        bundle.push("/mounts", mount);
    }
    let told = bundle.run(&["run", "ID"]).good();
    assert_eq!(told, "710\n1711\n1777\n1\n");
}

#[test]
fn options_in_one_word_and_those_of_older_kernels_are_taken() {
    let tmpfs = |options: &[&str]| json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options});
    let bundle_of = |options: &[&str]| bundle("cat /proc/self/mounts", &[tmpfs(options)]);
    let table = bundle_of(&["size=64k,mode=700", "nosuid"])
        .run(&["run", "ID"])
        .good();
    for word in ["size=64k", "mode=700", "nosuid"] {
        assert!(has(&table, "/tmp", word), "{word}: {table}");
    }
    for word in [
        "async",
        "dirsync",
        "sync",
        "lazytime",
        "nolazytime",
        "mand",
        "nomand",
        "iversion",
        "noiversion",
    ] {
        bundle_of(&[word]).run(&["run", "ID"]).good();
    }
}

#[test]
fn an_option_that_is_refused_is_named() {
    let fresh = |kind: &str, options: &[&str]| json!({"destination": "/tmp", "type": kind, "source": kind, "options": options});
    for (mounts, words) in [
        (
            vec![fresh("tmpfs", &["mode=700", "bogusopt"])],
            "error mounting \"tmpfs\" to rootfs at \"/tmp\": mount tmpfs:/tmp, data: bogusopt: invalid argument",
        ),
        (
            vec![fresh("tmpfs", &["mode=700,size=much"])],
            "mount tmpfs:/tmp, data: size=much: invalid argument",
        ),
        (
            vec![
                fresh("tmpfs", &[]),
                json!({"destination": "/tmp", "options": ["remount", "bogusopt"]}),
            ],
            "mount /tmp:/tmp, data: bogusopt: invalid argument",
        ),
    ] {
        bundle("true", &mounts).refused("run", &[words], words);
    }
    for options in [
        &["remount"][..],
        &["remount", "ro"],
        &["remount", "bind", "ro"],
        &["remount", "size=1m"],
    ] {
        let mount = json!({"destination": "/tmp", "type": "tmpfs", "options": options});
        let words =
            "error mounting \"/tmp\" to rootfs at \"/tmp\": remount /tmp: nothing is mounted there";
        bundle("true", &[mount]).refused("run", &[words], &format!("{options:?}"));
    }
}

//! Bind mounts: their attributes, what they show, and whose they are.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::mounts::{attributes, bundle, files, with_users};
use crate::support::Bundle;

/// A tmpfs of this test's own, whose mount has these attributes; gone with the value.
struct Shown(tempfile::TempDir);

impl Shown {
    fn with(attributes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = |options: &str| {
            let mut command = Command::new("mount");
            command.args(["-o", options]);
            command
        };
        let made = mount("strictatime")
            .args(["-t", "tmpfs", "tmpfs"])
            .arg(folder.path())
            .status();
        assert!(made.unwrap().success());
        let shown = Self(folder);
        let changed = mount(&format!("remount,bind,{attributes}"))
            .arg(shown.0.path())
            .status();
        assert!(changed.unwrap().success());
        shown
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_bind_mount_that_names_attributes_has_these_and_no_others() {
    let told = |host: &str, options: &[&str], users: bool| {
        let shown = Shown::with(host);
        let bind = json!({"destination": "/mnt", "type": "bind", "source": shown.0.path(), "options": options});
        let mut bundle = bundle("cat /proc/self/mounts", &[bind]);
        if users {
            with_users(&mut bundle, 0);
        }
        bundle.run(&["run", "ID"])
    };
    let words = |host: &str, options: &[&str], users: bool| {
        let mut words = attributes(&told(host, options, users).good(), "/mnt");
        // What the file system itself says follows.
        words.retain(|word| !word.contains('=') && word != "inode64");
        words.join(",")
    };
    let host = "ro,nosuid,nodev,noexec,noatime,nosymfollow";
    for (options, alone, with_users) in [
        (&["bind"][..], host, host),
        (
            &["bind", "nosuid"],
            "rw,nosuid,noatime",
            "ro,nosuid,nodev,noexec,noatime",
        ),
        (
            &["bind", "atime"],
            "rw,noatime",
            "ro,nosuid,nodev,noexec,noatime",
        ),
        (
            &["bind", "symfollow", "ro"],
            "ro,noatime",
            "ro,nosuid,nodev,noexec,noatime",
        ),
    ] {
        let sorted = |words: &str| {
            let mut words: Vec<&str> = words.split(',').collect();
            words.sort_unstable();
            words.join(",")
        };
        for (users, expected) in [(false, alone), (true, with_users)] {
            assert_eq!(
                sorted(&words(host, options, users)),
                sorted(expected),
                "{options:?} {users}"
            );
        }
    }
    assert_eq!(
        words("noatime", &["bind", "nodiratime"], false),
        "rw,nodiratime,relatime"
    );
    assert_eq!(words("nodiratime", &["bind", "strictatime"], false), "rw");
    // What a user namespace would be kept from may not be asked for in one.
    for (host, options) in [
        ("ro", ["bind", "rw"]),
        ("nosuid", ["bind", "suid"]),
        ("noatime", ["bind", "relatime"]),
        ("relatime", ["bind", "nodiratime"]),
    ] {
        let sentence = told(host, &options, true).sentence();
        assert!(
            sentence.ends_with("operation not permitted"),
            "{options:?}: {sentence}"
        );
        told(host, &options, false).good();
    }
}

/// Mounts that show again, by their places on the host, what mounts before them have made.
#[test]
fn what_is_mounted_before_can_be_shown_again() {
    for (users, mapped) in [(false, false), (true, false), (false, true), (true, true)] {
        let files = files(&[0]);
        fs::create_dir_all(files.path().join("deep/place")).unwrap();
        fs::write(files.path().join("deep/place/file"), "found\n").unwrap();
        let mut bundle = bundle("cat /last/deep/place/file; ls -n /last/deep/place", &[]);
        let root = bundle.config["root"]["path"].as_str().unwrap().to_owned();
        let mut options = vec!["rbind", "rprivate"];
        bundle.push("/mounts", json!({"destination": "/mnt/a", "type": "bind", "source": files.path(), "options": options}));
        if mapped {
            options.push("idmap");
        }
        let map = json!([{"containerID": 0, "hostID": if users { 0 } else { 7 }, "size": 10}]);
        let mut again = |from: &str, to: String| {
            let mut mount = json!({"destination": to, "type": "bind", "source": format!("{root}/{from}"), "options": options});
            if mapped {
                mount["uidMappings"] = map.clone();
                mount["gidMappings"] = map.clone();
            }
            bundle.push("/mounts", mount);
        };
        again("mnt/a/deep", format!("{root}/mnt/b"));
        if mapped {
            again("mnt/a", "/last".to_owned());
        } else {
            again("mnt", "/other".to_owned());
            again("other/a", "/last".to_owned());
        }
        if users {
            with_users(&mut bundle, 0);
        }
        let told = bundle.run(&["run", "ID"]).good();
        assert!(told.starts_with("found\n"), "{users} {mapped}: {told}");
        let owner = if mapped && !users { " 7 " } else { " 0 " };
        assert!(told.contains(owner), "{users} {mapped}: {told}");
    }
}

/// Each line of `script` runs in a mount namespace of the script's own; `RUNTIME` is the command.
pub(crate) fn apart(bundle: &Bundle, script: &str) -> (Option<i32>, String) {
    let command = bundle.command(&[]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let script = script
        .replace("RUNTIME", &words.join(" "))
        .replace("ID", &bundle.id);
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .current_dir(command.get_current_dir().unwrap())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&told).into_owned(),
    )
}

#[test]
fn mounts_may_be_the_callers() {
    let mut bundle = bundle("echo first; ls -d /usr || sleep 1000", &[]);
    let root = bundle.config["root"]["path"].as_str().unwrap().to_owned();
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "mount");
    let refused = bundle.run(&["run", "ID"]).sentence();
    assert!(
        refused.ends_with("without a private MNT namespace"),
        "{refused}"
    );
    for list in ["maskedPaths", "readonlyPaths"] {
        bundle.config["linux"][list] = json!([]);
    }
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "ls -d /usr >found"]});
    bundle.config["hooks"] = json!({"createRuntime": [hook], "startContainer": [
        {"path": "/bin/sh", "args": ["sh", "-c", "ls -d /usr || echo started >/dev/shm/hook"]},
    ]});
    // All that runs has the container's root and sees its mounts, which stay as the caller's.
    let script = "RUNTIME run -d ID >out 2>&1 && cat found &&
        RUNTIME exec ID cat /dev/shm/hook && RUNTIME exec ID ls -d /usr; RUNTIME delete -f ID &&
        awk '{print $5}' /proc/self/mountinfo";
    let (status, told) = apart(&bundle, script);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(&lines[..2], ["/usr", "started"], "{told}");
    assert!(
        lines.contains(&"ls: /usr: No such file or directory"),
        "{told}"
    );
    for place in ["", "/proc", "/dev/pts"] {
        let place = format!("{root}{place}");
        assert!(lines.contains(&place.as_str()), "{place}: {told}");
    }
    // One that fails leaves none there.
    bundle.config["process"]["args"] = json!(["/nowhere"]);
    let script = "RUNTIME run ID; awk '{print $5}' /proc/self/mountinfo";
    let (_, told) = apart(&bundle, script);
    assert!(told.contains("stat /nowhere"), "{told}");
    assert!(!told.lines().any(|line| line.starts_with(&root)), "{told}");
    with_users(&mut bundle, 0);
    let refused = bundle.run(&["run", "ID"]).sentence();
    assert!(refused.contains("linux.namespaces"), "{refused}");
}

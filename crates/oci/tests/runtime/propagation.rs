//! `linux.rootfsPropagation` where the caller's root is shared, as systemd makes it.

use std::fs;

use serde_json::json;

use crate::binds::apart;
use crate::mounts::bundle;
use crate::support::Bundle;

/// Some mounts of the container, each with what it is to others: `shared`, `master`, `unbindable`.
const LIST: &str = r#"busybox awk '$5 ~ "^/(proc|mnt/[a-z]+)?$" {
    told = $5; for (i = 7; $i != "-"; i++) { sub(":.*", "", $i); told = told " " $i }; print told }' /proc/self/mountinfo"#;

/// What a script tells that runs where `/` and all below are shared, in a mount namespace of its own.
#[track_caller]
fn among_shared(bundle: &Bundle, script: &str) -> Vec<String> {
    let (status, told) = apart(bundle, &format!("mount --make-rshared / && {script}"));
    assert_eq!(status, Some(0), "{told}");
    let mut lines: Vec<_> = told.lines().map(str::to_owned).collect();
    // In the order of the mounts' making, which is not that of the configuration where hooks look at them.
    lines.sort_unstable();
    lines
}

fn with(word: Option<&str>, script: &str) -> (tempfile::TempDir, Bundle) {
    let volume = tempfile::tempdir().unwrap();
    let bind = |name: &str, options: &[&str]| {
        json!({
            "destination": format!("/mnt/{name}"), "type": "bind", "source": volume.path(),
            "options": options,
        })
    };
    let mounts = [
        bind("alone", &["rbind", "rprivate"]),
        bind("own", &["rbind"]),
        bind("with", &["rbind", "rshared"]),
    ];
    let mut bundle = bundle(script, &mounts);
    match word {
        Some(word) => bundle.config["linux"]["rootfsPropagation"] = json!(word),
        None => {
            let linux = bundle.config["linux"].as_object_mut().unwrap();
            linux.remove("rootfsPropagation");
        }
    }
    (volume, bundle)
}

#[test]
fn the_root_is_to_others_what_is_asked_for() {
    let each = ["/", "/mnt/alone", "/mnt/own", "/mnt/with", "/proc"];
    for (word, expected) in [
        (None, ["", "", " master", " shared", ""]),
        (Some("private"), ["", "", " master", " shared", ""]),
        (Some("rprivate"), ["", "", " master", " shared", ""]),
        (Some("slave"), [" master", "", " master", " shared", ""]),
        (Some("rslave"), [" master", "", " master", " master", ""]),
        (Some("shared"), [" shared", "", " master", " shared", ""]),
        (
            Some("rshared"),
            [" shared", " shared", " shared master", " shared", " shared"],
        ),
        (
            Some("unbindable"),
            [" unbindable", "", " master", " shared", ""],
        ),
    ] {
        let (_volume, mut bundle) = with(word, LIST);
        let expected: Vec<String> = each
            .iter()
            .zip(expected)
            .map(|(place, kind)| format!("{place}{kind}"))
            .collect();
        assert_eq!(
            among_shared(&bundle, "RUNTIME run ID"),
            expected,
            "{word:?}"
        );
        // The same where others look at the container before its root is put in place.
        let hook = json!({"path": "/bin/true"});
        bundle.config["hooks"] = json!({"createRuntime": [hook]});
        assert_eq!(
            among_shared(&bundle, "RUNTIME run ID"),
            expected,
            "{word:?} with a hook"
        );
    }
}

#[test]
fn what_a_container_mounts_in_its_root_stays_there() {
    for word in [None, Some("private"), Some("slave"), Some("shared")] {
        let (_volume, mut bundle) = with(
            word,
            "mount -t tmpfs tmpfs /tmp && touch /tmp/there && echo up && sleep 1000",
        );
        for set in ["bounding", "effective", "permitted"] {
            bundle.push(
                &format!("/process/capabilities/{set}"),
                json!("CAP_SYS_ADMIN"),
            );
        }
        let root = bundle.config["root"]["path"].as_str().unwrap().to_owned();
        let script = format!(
            "RUNTIME run -d ID >out 2>err && until grep -q up out; do sleep 0.01; done;
            grep -c ' {root}' /proc/self/mountinfo; RUNTIME delete -f ID"
        );
        assert_eq!(among_shared(&bundle, &script), ["0"], "{word:?}");
        assert!(!fs::exists(format!("{root}/tmp/there")).unwrap());
    }
}

#[test]
fn what_is_mounted_in_the_root_folder_reaches_a_slave_alone() {
    for (word, reaches) in [
        (None, false),
        (Some("private"), false),
        (Some("shared"), false),
        (Some("slave"), true),
    ] {
        let (_volume, mut bundle) = with(word, "sleep 1000");
        let root = tempfile::tempdir().unwrap();
        for folder in ["bin", "dev", "proc", "sys", "late"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for name in ["sleep", "ls"] {
            fs::copy("/usr/bin/busybox", root.path().join("bin").join(name)).unwrap();
        }
        bundle.config["root"]["path"] = json!(root.path());
        bundle.config["process"]["args"] = json!(["sleep", "1000"]);
        let script = format!(
            "RUNTIME run -d ID >out 2>&1 && mount -t tmpfs tmpfs {root}/late &&
            touch {root}/late/seen && RUNTIME exec ID ls /late; RUNTIME delete -f ID; umount {root}/late",
            root = root.path().display()
        );
        let expected: &[&str] = if reaches { &["seen"] } else { &[] };
        assert_eq!(among_shared(&bundle, &script), expected, "{word:?}");
    }
}

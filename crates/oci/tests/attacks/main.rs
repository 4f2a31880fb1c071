//! What hostile images and containers try. Each attack succeeds with its guard off, which shows that it is one, and fails
//! with it. Built with the feature `unguarded`, without which there is nothing here; the variable chooses the guard.
#![cfg(feature = "unguarded")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "../runtime/support.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use serde_json::json;
use support::Bundle;

const VARIABLE: &str = "WHARF_UNGUARDED";

/// Runs a command with a guard off, or with all.
fn run(bundle: &Bundle, words: &[&str], off: Option<&str>) -> Output {
    let mut command = bundle.command(words);
    if let Some(guard) = off {
        command.env(VARIABLE, guard);
    }
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A root folder of the test's own, which an attacker has made.
fn hostile(bundle: &mut Bundle) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["bin", "dev", "etc", "sys", "tmp", "mnt"] {
        fs::create_dir(root.path().join(folder)).unwrap();
    }
    fs::copy("/usr/bin/busybox", root.path().join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "ls"] {
        symlink("busybox", root.path().join("bin").join(name)).unwrap();
    }
    bundle.config["root"] = json!({"path": root.path()});
    root
}

/// Leaves the mounts whose places do not begin so.
fn without(bundle: &mut Bundle, place: &str) {
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with(place));
}

#[test]
fn a_descriptor_of_the_host_is_used() {
    let bundle = Bundle::new("cat /proc/self/fd/7/secret");
    fs::write(bundle.path("secret"), "of the host").unwrap();
    for (off, told) in [(Some("descriptors"), "of the host"), (None, "")] {
        let command = bundle.command(&["run", "ID"]);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "exec 7<.; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().unwrap());
        if let Some(guard) = off {
            shell.env(VARIABLE, guard);
        }
        assert_eq!(out(&shell.output().unwrap()), told, "{off:?}");
    }
}

#[test]
fn the_working_folder_is_a_descriptor_of_the_runtime() {
    let mut bundle = Bundle::new("cat state.*");
    let mut reached = |off: Option<&str>| {
        (3..32).any(|number| {
            bundle.config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
            out(&run(&bundle, &["run", "ID"], off)).contains("ociVersion")
        })
    };
    assert!(reached(Some("working-folder")));
    assert!(!reached(None));
}

#[test]
fn a_target_leads_out_of_the_root() {
    let mut bundle = Bundle::new("true");
    let root = hostile(&mut bundle);
    fs::create_dir(root.path().join("proc")).unwrap();
    let victim = tempfile::tempdir().unwrap();
    symlink(victim.path(), root.path().join("mnt/link")).unwrap();
    bundle.push(
        "/mounts",
        json!({"destination": "/mnt/link/made", "type": "tmpfs", "source": "tmpfs"}),
    );
    // The host's tree is there meanwhile.
    bundle.config["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]});
    assert!(run(&bundle, &["run", "ID"], None).status.success());
    assert!(!victim.path().join("made").exists());
    let inside = root.path().join(victim.path().strip_prefix("/").unwrap());
    assert!(inside.join("made").is_dir());
    run(&bundle, &["run", "ID"], Some("targets"));
    assert!(victim.path().join("made").is_dir());
}

#[test]
fn a_masked_path_shows_what_the_images_null_device_leads_to() {
    let mut bundle = Bundle::new("cat /etc/masked");
    let root = hostile(&mut bundle);
    fs::create_dir(root.path().join("proc")).unwrap();
    without(&mut bundle, "/dev");
    symlink("/etc/other", root.path().join("dev/null")).unwrap();
    fs::write(root.path().join("etc/other"), "another file").unwrap();
    fs::write(root.path().join("etc/masked"), "masked").unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/etc/masked"]);
    assert_eq!(
        out(&run(&bundle, &["run", "ID"], Some("null-device"))),
        "another file"
    );
    let kept = run(&bundle, &["run", "ID"], None);
    assert!(
        out(&kept).is_empty() && err(&kept).contains("can't mask path"),
        "{kept:?}"
    );
}

#[test]
fn kernel_parameters_are_written_to_the_images_files() {
    let mut bundle = Bundle::new("true");
    let root = hostile(&mut bundle);
    without(&mut bundle, "/proc");
    let victim = tempfile::tempdir().unwrap();
    fs::write(victim.path().join("file"), "before").unwrap();
    fs::create_dir_all(root.path().join("proc/sys/net")).unwrap();
    symlink("/mnt/file", root.path().join("proc/sys/net/attacked")).unwrap();
    bundle.push("/mounts", json!({"destination": "/mnt", "type": "bind", "source": victim.path(), "options": ["bind"]}));
    bundle.config["linux"]["sysctl"] = json!({"net.attacked": "BEFORE"});
    bundle.config["linux"]["maskedPaths"] = json!([]);
    bundle.config["linux"]["readonlyPaths"] = json!([]);
    let content = || fs::read_to_string(victim.path().join("file")).unwrap();
    let kept = run(&bundle, &["run", "ID"], None);
    assert!(err(&kept).contains("sysctl key net.attacked"), "{kept:?}");
    assert_eq!(content(), "before");
    run(&bundle, &["run", "ID"], Some("procfs"));
    assert_eq!(content(), "BEFORE");
}

#[test]
fn the_procfs_is_led_elsewhere() {
    let mut bundle = Bundle::new("ls -d /tmp/1");
    let root = hostile(&mut bundle);
    symlink("tmp", root.path().join("proc")).unwrap();
    bundle.config["linux"]["maskedPaths"] = json!([]);
    bundle.config["linux"]["readonlyPaths"] = json!([]);
    assert_eq!(
        out(&run(&bundle, &["run", "ID"], Some("proc-place"))),
        "/tmp/1\n"
    );
    let kept = run(&bundle, &["run", "ID"], None);
    assert!(
        err(&kept).contains("must be mounted on ordinary directory"),
        "{kept:?}"
    );
}

#[test]
fn the_console_hides_another_file() {
    let mut bundle = Bundle::new("busybox test -c /etc/hidden && echo terminal");
    let root = hostile(&mut bundle);
    fs::create_dir(root.path().join("proc")).unwrap();
    // The image's /dev is kept, with a devpts as ever.
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev");
    fs::write(root.path().join("etc/hidden"), "a file").unwrap();
    symlink("/etc/hidden", root.path().join("dev/console")).unwrap();
    bundle.config["process"]["terminal"] = json!(true);
    assert_eq!(
        out(&run(&bundle, &["run", "ID"], Some("console"))),
        "terminal\n"
    );
    let kept = run(&bundle, &["run", "ID"], None);
    assert!(
        err(&kept).contains("error creating /dev/console"),
        "{kept:?}"
    );
}

#[test]
fn a_process_that_waits_is_looked_into() {
    for off in [Some("hiding"), None] {
        let bundle = Bundle::new("true");
        let log = fs::File::create(bundle.path("out")).unwrap();
        let mut create = bundle.command(&["create", "ID"]);
        if let Some(guard) = off {
            create.env(VARIABLE, guard);
        }
        create.stdout(log.try_clone().unwrap()).stderr(log);
        assert!(create.status().unwrap().success(), "{}", bundle.out());
        let look = run(
            &bundle,
            &[
                "exec",
                "ID",
                "sh",
                "-c",
                "busybox readlink /proc/1/exe; for f in /proc/1/fd/*; do busybox readlink $f; done",
            ],
            None,
        );
        assert_eq!(out(&look).is_empty(), off.is_none(), "{look:?}");
        run(&bundle, &["delete", "--force", "ID"], None);
    }
}

#[test]
fn the_runtimes_program_is_overwritten() {
    for off in [Some("program"), None] {
        // The runtime, made to execute itself in the container, waits for who reads its log: time to open its program.
        let script = "busybox mkfifo /tmp/log; echo ready; n=0;
            while [ $n -lt 6000 ]; do n=$((n+1));
                for p in /proc/[0-9]*; do
                    case \"$(busybox tr '\\0' ' ' <$p/cmdline 2>/dev/null)\" in /proc/self/exe*) exec 9<$p/exe && break 2;; esac;
                done; busybox usleep 5000;
            done;
            exec 8<>/tmp/log; n=0;
            while [ $n -lt 200 ]; do n=$((n+1)); (echo overwritten >/proc/self/fd/9) 2>/dev/null && break; busybox usleep 5000; done;
            echo done; sleep 1000";
        let mut bundle = Bundle::new(script);
        let root = hostile(&mut bundle);
        fs::create_dir(root.path().join("proc")).unwrap();
        symlink("busybox", root.path().join("bin/sleep")).unwrap();
        let attack = root.path().join("attack");
        fs::write(&attack, "#!/proc/self/exe --log=/tmp/log\n").unwrap();
        fs::set_permissions(&attack, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        bundle.push(
            "/mounts",
            json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
        );
        bundle.quietly(&["run", "-d", "ID"]);
        let wait_for = |word: &str| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while !bundle.out().lines().any(|line| line == word) {
                assert!(std::time::Instant::now() < deadline, "{}", bundle.out());
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        };
        wait_for("ready");
        let victim = bundle.path("victim");
        fs::copy(support::program(), &victim).unwrap();
        let before = fs::read(&victim).unwrap();
        let exec = bundle.command(&["exec", "ID", "/attack"]);
        let mut exec_by_victim = Command::new(&victim);
        exec_by_victim
            .args(exec.get_args())
            .current_dir(exec.get_current_dir().unwrap());
        if let Some(guard) = off {
            exec_by_victim.env(VARIABLE, guard);
        }
        exec_by_victim.output().unwrap();
        wait_for("done");
        assert_eq!(
            fs::read(&victim).unwrap() == before,
            off.is_none(),
            "{off:?}"
        );
        run(&bundle, &["delete", "--force", "ID"], None);
    }
}

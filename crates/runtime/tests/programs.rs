//! Which program is executed, and what is said when none is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use runtime::plan::Plan;
use support::{plan, root, run};
use sys::process::Exit;

fn with_args(root: &std::path::Path, args: &[&str]) -> Plan {
    let mut plan = plan(root, "");
    plan.process.args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    plan.process.env = vec![b"PATH=/missing:/etc:/bin".to_vec()];
    plan
}

fn write(root: &std::path::Path, path: &str, text: &str, mode: u32) {
    let path = root.join(path);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_search_goes_past_what_cannot_be_executed() {
    let root = root();
    write(root.path(), "etc/sh", "not this one", 0o644);
    let ended = run(with_args(root.path(), &["sh", "-c", "echo found"])).unwrap();
    assert_eq!(
        (ended.output.as_str(), ended.exit),
        ("found\n", Exit::Code(0))
    );
}

#[test]
fn each_fault_has_dockers_words_and_status() {
    let root = root();
    write(root.path(), "bin/lost", "#!/no/such/shell\n", 0o755);
    write(root.path(), "bin/text", "just words\n", 0o755);
    write(root.path(), "bin/wrong", "\x7fELF and no more", 0o755);
    let cases = [
        (
            "nope",
            "exec: \"nope\": executable file not found in $PATH",
            127,
        ),
        ("", "exec: \"\": executable file not found in $PATH", 127),
        (
            "/nope",
            "exec: \"/nope\": stat /nope: no such file or directory",
            127,
        ),
        ("/etc", "exec: \"/etc\": is a directory", 126),
        (
            "/etc/passwd",
            "exec: \"/etc/passwd\": permission denied",
            126,
        ),
        (
            "passwd",
            "exec: \"passwd\": executable file not found in $PATH",
            127,
        ),
        ("/bin/text", "exec /bin/text: exec format error", 128),
        ("wrong", "exec wrong: exec format error", 128),
        (
            "/bin/lost",
            "exec /bin/lost: no such file or directory",
            127,
        ),
        ("lost", "exec lost: no such file or directory", 127),
    ];
    for (name, sentence, code) in cases {
        let plan = with_args(root.path(), &[name]);
        let fault = run(plan.clone()).unwrap_err();
        assert_eq!(
            (fault.describe(&plan).as_str(), fault.exit_code()),
            (sentence, code)
        );
    }
}

#[test]
fn a_user_who_may_not_execute_is_told_so() {
    let root = root();
    write(root.path(), "bin/secret", "#!/bin/sh\n", 0o700);
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut plan = with_args(root.path(), &["/bin/secret"]);
    plan.process.uid = 1000;
    plan.process.caps = Default::default();
    let fault = run(plan.clone()).unwrap_err();
    assert_eq!(
        fault.describe(&plan),
        "exec: \"/bin/secret\": permission denied"
    );
}

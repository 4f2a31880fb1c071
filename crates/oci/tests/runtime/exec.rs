//! Further processes in a container, and terminals.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use crate::support::Bundle;

fn running() -> Bundle {
    let bundle = Bundle::new("sleep 1000");
    bundle.quietly(&["run", "-d", "ID"]);
    bundle
}

#[test]
fn a_process_joins_the_container() {
    let bundle = running();
    let exec = |words: &[&str]| bundle.run(&[&["exec"], words].concat());
    assert_eq!(
        exec(&["ID", "cat", "/proc/sys/kernel/hostname"]).good(),
        "wharf\n"
    );
    assert_eq!(exec(&["ID", "sh", "-c", "exit 9"]).status, Some(9));
    let groups = exec(&["ID", "cat", "/proc/self/cgroup"]).good();
    assert!(groups.contains(&format!(":/{}", bundle.id)), "{groups}");
    let script = "id -u; id -g; id -G; echo $A $HOME; ls -d .; grep CapEff /proc/self/status";
    let line = [
        "--user",
        "7:8",
        "-g",
        "9",
        "--env",
        "A=b",
        "--cwd",
        "/tmp",
        "--cap",
        "CAP_NET_ADMIN",
        "ID",
        "sh",
        "-c",
        script,
    ];
    let out = exec(&line).good();
    assert_eq!(out, "7\n8\n8 9\nb /seven\n.\nCapEff:\t0000000000001000\n");
    assert_eq!(exec(&["ID", "nope"]).status, Some(255));
    let sentence = exec(&["--cwd", "/nope", "ID", "true"]).sentence();
    assert!(sentence.contains("chdir to cwd"), "{sentence}");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn roots_added_capabilities_are_not_handed_down() {
    let bundle = running();
    let script = "grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status";
    let exec = ["exec", "--cap", "CAP_NET_ADMIN", "ID", "sh", "-c", script];
    let told = bundle.run(&exec).good();
    let sets: Vec<u64> = told
        .lines()
        .map(|line| u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap())
        .map(|set| set >> 12 & 1)
        .collect();
    assert_eq!(sets, [0, 1, 1, 0], "{told}");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn roots_added_capabilities_are_handed_down_where_the_configuration_lets_them() {
    let mut bundle = Bundle::new("sleep 1000");
    let caps = &mut bundle.config["process"]["capabilities"];
    caps["inheritable"] = json!(["CAP_SYSLOG"]);
    caps["bounding"] = json!(["CAP_SYSLOG"]);
    bundle.quietly(&["run", "-d", "ID"]);
    let ambient = |cap: &str| {
        let script = "grep CapAmb /proc/self/status";
        bundle
            .run(&["exec", "--cap", cap, "ID", "sh", "-c", script])
            .good()
    };
    assert_eq!(ambient("CAP_SYSLOG"), "CapAmb:\t0000000400000000\n");
    assert_eq!(ambient("CAP_NET_ADMIN"), "CapAmb:\t0000000000000000\n");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn further_processes_have_the_execution_domain_of_the_first() {
    let mut bundle = Bundle::new("sleep 1000");
    bundle.config["linux"]["personality"] = json!({"domain": "LINUX32"});
    bundle.quietly(&["run", "-d", "ID"]);
    let script = "busybox uname -m";
    let told = bundle.run(&["exec", "ID", "sh", "-c", script]).good();
    assert_eq!(told, "i686\n");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_processs_descriptor_is_handed_over_a_socket() {
    let bundle = Bundle::new("sleep 1000");
    let listener = UnixListener::bind(bundle.path("socket")).unwrap();
    let pid_of = |descriptor: &fs::File| {
        let number = descriptor.as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("Pid:\t"));
        line.unwrap().parse::<i64>().unwrap()
    };
    bundle.create(&["--pidfd-socket", "socket"]);
    let first = pid_of(&receive(&listener));
    assert_eq!(bundle.state()["pid"], first);
    bundle.run(&["start", "ID"]).good();
    let flags = ["--pidfd-socket", "socket", "--pid-file", "pid"];
    bundle.quietly(&[&["exec", "-d"], &flags[..], &["ID", "sleep", "1000"]].concat());
    let told = fs::read_to_string(bundle.path("pid")).unwrap();
    assert_eq!(told, pid_of(&receive(&listener)).to_string());
    bundle.run(&["delete", "--force", "ID"]).good();
    let refused = bundle.run(&["run", "--pidfd-socket", "nobody", "ID"]);
    assert!(
        refused
            .sentence()
            .contains("sending the process's descriptor"),
        "nobody listens"
    );
}

#[test]
fn debug_lines_tell_of_each_step() {
    let bundle = running();
    let lines = |words: &[&str]| {
        let ended = bundle.run(words);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        ended.err
    };
    let process = json!({
        "args": ["true"], "cwd": "/", "env": ["PATH=/bin"],
        "execCPUAffinity": {"initial": "0"},
    });
    fs::write(bundle.path("process.json"), process.to_string()).unwrap();
    let exec = ["--debug", "exec", "--process", "process.json", "ID"];
    let told = lines(&exec);
    for words in [
        "level=debug",
        "nsexec: affinity: 0x1",
        "child process in init()",
        "setns_init: about to exec",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    bundle.run(&["delete", "--force", "ID"]).good();
    let told = Bundle::new("true").run(&["--debug", "run", "ID"]);
    let steps = [
        "nsexec container setup",
        "child process in init()",
        "closing the pipe",
    ];
    let places = steps.map(|words| told.err.find(words));
    assert!(places.is_sorted() && places[0].is_some(), "{told:?}");
}

#[test]
fn where_the_caller_is_kept_says_nothing_of_the_container() {
    let script = "grep Cpus_allowed: /proc/self/status";
    let kept = |bundle: &Bundle, words: &[&str]| {
        let command = bundle.command(words);
        let mut line = Command::new("taskset");
        line.args(["-c", "0"]).arg(command.get_program());
        line.args(command.get_args());
        line.current_dir(command.get_current_dir().unwrap());
        let output = line.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let bundle = Bundle::new(script);
    let free = bundle.run(&["run", "ID"]).good();
    assert_eq!(kept(&bundle, &["run", "ID"]), free);
    let bundle = running();
    assert_eq!(kept(&bundle, &["exec", "ID", "sh", "-c", script]), free);
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_process_of_a_file_is_detached_with_its_number_told() {
    let bundle = running();
    let process =
        json!({"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 7}});
    fs::write(bundle.path("process.json"), process.to_string()).unwrap();
    bundle.quietly(&[
        "exec",
        "-d",
        "--process",
        "process.json",
        "--pid-file",
        "pid",
        "ID",
    ]);
    let pid: i64 = fs::read_to_string(bundle.path("pid"))
        .unwrap()
        .parse()
        .unwrap();
    let pids = bundle.run(&["ps", "--format", "json", "ID"]).good();
    assert!(pids.contains(&pid.to_string()), "{pids}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t7\t7\t7\t7"), "{status}");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_held_container_takes_no_process() {
    let bundle = running();
    bundle.run(&["pause", "ID"]).good();
    let sentence = bundle.run(&["exec", "ID", "true"]).sentence();
    assert!(
        sentence.contains("cannot exec in a paused container"),
        "{sentence}"
    );
    bundle.run(&["delete", "--force", "ID"]).good();
}

/// Takes the terminal that is sent to a socket.
fn receive(listener: &UnixListener) -> fs::File {
    let (connection, _) = listener.accept().unwrap();
    let mut name = [0; 64];
    let received =
        sys::fdpass::recv(connection.as_fd(), &mut name, sys::fdpass::Wait::Block).unwrap();
    fs::File::from(received.descriptors.into_iter().next().unwrap())
}

fn read_until_end(mut terminal: fs::File) -> String {
    let (mut text, mut piece) = (Vec::new(), [0; 1024]);
    // A terminal whose processes are gone answers EIO.
    while let Ok(count @ 1..) = terminal.read(&mut piece) {
        text.extend_from_slice(&piece[..count]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_terminal_is_handed_over_a_socket() {
    let mut bundle = Bundle::new("tty; stty size; ls -l /dev/console >/dev/null && echo console");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({"height": 11, "width": 22});
    let socket = bundle.path("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let refused = bundle.run(&["create", "ID"]).sentence();
    assert!(refused.contains("cannot allocate tty"), "{refused}");
    bundle.create(&["--console-socket", "socket"]);
    let terminal = receive(&listener);
    bundle.run(&["start", "ID"]).good();
    assert_eq!(
        read_until_end(terminal),
        "/dev/pts/0\r\n11 22\r\nconsole\r\n"
    );
    bundle.await_status("stopped");
    bundle.run(&["delete", "ID"]).good();
}

#[test]
fn a_process_that_joins_has_a_terminal_too() {
    let bundle = running();
    let listener = UnixListener::bind(bundle.path("socket")).unwrap();
    bundle.quietly(&[
        "exec",
        "-d",
        "-t",
        "--console-socket",
        "socket",
        "ID",
        "tty",
    ]);
    assert_eq!(read_until_end(receive(&listener)), "/dev/pts/0\r\n");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_waiting_run_lends_its_own_streams_to_a_terminal() {
    let mut bundle = Bundle::new("tty; exit 3");
    bundle.config["process"]["terminal"] = json!(true);
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!(
        (ended.status, ended.out.as_str()),
        (Some(3), "/dev/pts/0\n"),
        "{ended:?}"
    );
    // Line ends are left to this command's own terminal.
    let bundle = running();
    assert_eq!(
        bundle.run(&["exec", "-t", "ID", "tty"]).good(),
        "/dev/pts/0\n"
    );
    bundle.run(&["delete", "--force", "ID"]).good();
}

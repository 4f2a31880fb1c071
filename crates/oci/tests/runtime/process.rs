//! What a process is beside its program: labels, scheduling, filters that ask, descriptors and sockets of a service manager.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::Bundle;

fn running(change: impl FnOnce(&mut Bundle)) -> Bundle {
    let mut bundle = Bundle::new("sleep 1000");
    change(&mut bundle);
    bundle.quietly(&["run", "-d", "ID"]);
    bundle
}

#[test]
fn ambient_capabilities_that_cannot_be_had_are_told() {
    let mut bundle = Bundle::new("grep CapAmb /proc/self/status");
    for set in ["bounding", "effective", "permitted", "ambient"] {
        bundle.config["process"]["capabilities"][set] = json!(["CAP_CHOWN", "CAP_KILL"]);
    }
    bundle.config["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!(ended.out, "CapAmb:\t0000000000000020\n");
    let words = "level=warning msg=\"can't raise ambient capability CAP_CHOWN: ";
    assert!(ended.err.contains(words), "{ended:?}");
}

#[test]
fn capabilities_that_nobody_knows_are_told_as_runc_tells_them() {
    let mut bundle = Bundle::new("true");
    for set in ["bounding", "effective", "permitted"] {
        bundle.config["process"]["capabilities"][set] = json!(["CAP_KILL", "CAP_TWO", "CAP_ONE"]);
    }
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let words = "\"ignoring unknown or unavailable capabilities: [CAP_ONE CAP_TWO]\"";
    assert!(ended.err.contains(words), "{ended:?}");
}

/// Whether a file can be written to by way of a descriptor that was opened for reading.
fn can_be_written_by(reading: &fs::File) -> bool {
    let path = format!("/proc/self/fd/{}", reading.as_raw_fd());
    match fs::OpenOptions::new().write(true).open(path) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{error}");
            false
        }
    }
}

#[test]
fn the_program_is_out_of_reach_while_it_makes_processes_and_keeps_its_name() {
    let bundle = Bundle::new("echo up; sleep 1000");
    let own = bundle.path("wharf-runtime");
    // By another process: what this one has open for writing, children of other tests may have for a moment.
    let copied = Command::new("cp")
        .arg(crate::support::program())
        .arg(&own)
        .status();
    assert!(copied.unwrap().success());
    let by = |words: &[&str]| {
        let model = bundle.command(words);
        let mut command = Command::new(&own);
        command
            .args(model.get_args())
            .current_dir(model.get_current_dir().unwrap())
            .stdout(std::process::Stdio::piped());
        command
    };
    let mut run = by(&["run", "ID"]).spawn().unwrap();
    let mut word = [0; 3];
    run.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    // The program may be ahead of what is written down of it.
    bundle.await_status("running");
    let mut exec = by(&["exec", "ID", "sh", "-c", "echo up; sleep 1000"])
        .spawn()
        .unwrap();
    exec.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    let mut programs = Vec::new();
    for process in [&run, &exec] {
        programs.push(fs::File::open(format!("/proc/{}/exe", process.id())).unwrap());
        let told = |file: &str| fs::read(format!("/proc/{}/{file}", process.id())).unwrap();
        assert_eq!(told("comm"), b"wharf-runtime\n");
        let arguments = told("cmdline");
        let first = arguments.split(|byte| *byte == 0).next();
        assert_eq!(first, Some(own.as_os_str().as_encoded_bytes()));
    }
    // `run` removes what it has made.
    bundle.run(&["kill", "ID", "KILL"]).good();
    for mut ended in [run, exec] {
        ended.wait().unwrap();
    }
    // While it was executed nobody could write to it in any case.
    for program in programs {
        assert!(!can_be_written_by(&program));
    }
    assert!(can_be_written_by(&fs::File::open(&own).unwrap()));
}

#[test]
fn labels_need_their_modules() {
    let bundle = running(|_| ());
    let has = |path: &str| fs::metadata(path).is_ok();
    for (field, flag, there) in [
        (
            "apparmorProfile",
            "--apparmor",
            has("/sys/module/apparmor/parameters/enabled"),
        ),
        (
            "selinuxLabel",
            "--process-label",
            has("/sys/fs/selinux/enforce"),
        ),
    ] {
        if there {
            continue;
        }
        let words = format!(
            "config.json: process.{field}: \"some-label\" cannot be applied: this kernel has no"
        );
        let sentence = bundle
            .run(&["exec", flag, "some-label", "ID", "true"])
            .sentence();
        assert!(sentence.contains(&words), "{sentence}");
        let mut labelled = Bundle::new("true");
        labelled.config["process"][field] = json!("some-label");
        let sentence = labelled.run(&["run", "ID"]).sentence();
        assert!(sentence.contains(&words), "{sentence}");
        // None is asked for.
        labelled.config["process"][field] = json!("");
        labelled.run(&["run", "ID"]).good();
    }
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn further_processes_run_where_they_are_told() {
    let bundle = running(|bundle| {
        bundle.config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    });
    let allowed = "busybox sed -n 's/Cpus_allowed_list:.//p' /proc/self/status";
    assert_eq!(
        bundle.run(&["exec", "ID", "sh", "-c", allowed]).good(),
        "0\n"
    );
    for (affinity, expected) in [
        (json!({"initial": "0"}), "0\n"),
        (json!({"final": "0"}), "0\n"),
    ] {
        let process = json!({"args": ["sh", "-c", allowed], "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": affinity});
        fs::write(bundle.path("process.json"), process.to_string()).unwrap();
        let out = bundle
            .run(&["exec", "--process", "process.json", "ID"])
            .good();
        assert_eq!(out, expected, "{affinity}");
    }
    for (list, words) in [
        (
            "0-x",
            "config.json: process.execCPUAffinity.final: \"0-x\" is no list of processors",
        ),
        ("8000", "error setting the CPU affinity: invalid argument"),
    ] {
        let process = json!({"args": ["true"], "cwd": "/", "execCPUAffinity": {"final": list}});
        fs::write(bundle.path("process.json"), process.to_string()).unwrap();
        let sentence = bundle
            .run(&["exec", "--process", "process.json", "ID"])
            .sentence();
        assert!(sentence.contains(words), "{sentence}");
    }
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn an_execution_domain_has_its_flags() {
    let mut bundle = Bundle::new("cat /proc/self/personality; grep stack /proc/self/maps");
    let personality = json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE", "STICKY_TIMEOUTS"]});
    bundle.config["linux"]["personality"] = personality;
    let first = bundle.run(&["run", "ID"]).good();
    assert!(first.starts_with("04040000\n"), "{first}");
    assert!(first.contains("[stack]"), "{first}");
    // Nothing is put elsewhere the next time.
    assert_eq!(bundle.run(&["run", "ID"]).good(), first);
    bundle.config["linux"]["personality"]["flags"] = json!(["NO_SUCH"]);
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.err.contains("unknown personality flag"), "{ended:?}");
    assert!(ended.out.starts_with("00000000\n"), "{ended:?}");
}

#[test]
fn scheduling_and_priorities_are_set() {
    let mut bundle = Bundle::new("busybox ionice -p $$; busybox cut -d' ' -f19,41 /proc/self/stat");
    bundle.config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    bundle.config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    let out = bundle.run(&["run", "ID"]).good();
    assert!(out.contains("best-effort: prio 6"), "{out}");
    // The nice value, and the policy: SCHED_BATCH.
    assert!(out.ends_with("\n5 3\n"), "{out}");
    bundle.config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE"});
    let out = bundle.run(&["run", "ID"]).good();
    assert!(out.contains("idle"), "{out}");
}

/// Rules that let a program of busybox run, and read /etc and write below /tmp.
#[test]
fn a_policy_that_needs_all_processors_says_so_where_some_are_named() {
    let mut bundle = Bundle::new("true");
    bundle.config["linux"]["resources"]["cpu"] = json!({"cpus": "0"});
    bundle.config["process"]["scheduler"] = json!({
        "policy": "SCHED_DEADLINE", "runtime": 42_000, "deadline": 1_000_000, "period": 1_000_000,
    });
    bundle.refused(
        "run",
        &["can't be used together", "linux.resources.cpu.cpus"],
        "one processor of several",
    );
}

fn rules() -> Value {
    json!({
        "ruleset": {"handledAccessFS": [
            "execute", "read_file", "read_dir", "write_file", "make_reg", "make_dir", "truncate",
        ]},
        "rules": {"pathBeneath": [
            {"paths": ["/bin"], "allowedAccess": ["execute", "read_file"]},
            {"paths": ["/etc", "/proc"], "allowedAccess": ["read_file", "read_dir"]},
            {"paths": ["/tmp"], "allowedAccess": ["read_file", "write_file", "make_reg", "truncate"]},
            // A file has no more than files have.
            {"paths": ["/dev/null"], "allowedAccess": ["read_file", "write_file", "read_dir"]},
        ]},
    })
}

const TRIES: &str = "cat /etc/passwd >/dev/null && echo read; ls /etc >/dev/null && echo listed; echo x >/tmp/x && echo wrote;
    cat /sys/kernel/notes 2>/dev/null || echo unread; ls / 2>/dev/null || echo unlisted;
    busybox mkdir /tmp/y 2>/dev/null || echo unmade; echo x 2>/dev/null >/etc/x || echo unwritten";
const OUTCOME: &str = "read\nlisted\nwrote\nunread\nunlisted\nunmade\nunwritten\n";

fn with_rules(rules: Value) -> Bundle {
    let mut bundle = Bundle::new(&format!("{TRIES}; sleep 1000"));
    bundle.push(
        "/mounts",
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
    );
    bundle.config["process"]["landlock"] = rules;
    bundle
}

#[test]
fn landlock_takes_rights_from_all_processes() {
    if sys::process::landlock_version() < 3 {
        let bundle = with_rules(rules());
        bundle.refused(
            "run",
            &["Landlock"],
            "a kernel without it, or with an old one",
        );
        return;
    }
    let bundle = with_rules(rules());
    bundle.quietly(&["run", "-d", "ID"]);
    // A further process has them taken, too.
    assert_eq!(bundle.run(&["exec", "ID", "sh", "-c", TRIES]).out, OUTCOME);
    bundle.await_out(OUTCOME);
    bundle.run(&["delete", "--force", "ID"]).good();
    // Created first, by a process that keeps its capabilities, and by an engine that knows annotations alone.
    let mut bundle = with_rules(Value::Null);
    bundle.config["process"]["noNewPrivileges"] = json!(false);
    bundle.config["annotations"] = json!({"org.wharf.landlock": rules().to_string()});
    bundle.create(&[]);
    bundle.run(&["start", "ID"]).good();
    assert_eq!(bundle.run(&["exec", "ID", "sh", "-c", TRIES]).out, OUTCOME);
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn landlock_has_to_make_sense() {
    if sys::process::landlock_version() < 3 {
        testkit::skip("the kernel has no Landlock of version 3");
        return;
    }
    let mut other = rules();
    other["rules"]["pathBeneath"][1]["paths"] = json!(["/no/such/path"]);
    with_rules(other).refused(
        "create",
        &["Landlock", "/no/such/path"],
        "a path that is not there",
    );
    let mut other = rules();
    other["ruleset"]["handledAccessFS"][0] = json!("fly");
    with_rules(other).refused("run", &["handledAccessFS: \"fly\" is no right"], "a word");
    let mut other = rules();
    other["rules"]["pathBeneath"] = json!([]);
    with_rules(other).refused(
        "run",
        &["permission denied"],
        "no right to execute the program",
    );
    let mut bundle = with_rules(Value::Null);
    bundle.config["annotations"] = json!({"org.wharf.landlock": "{"});
    bundle.refused("run", &["org.wharf.landlock"], "a text that is none");
}

#[test]
fn memory_comes_from_the_nodes_that_are_named() {
    if fs::metadata("/proc/self/numa_maps").is_err() {
        let bundle = &mut Bundle::new("true");
        bundle.config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_LOCAL"});
        bundle.refused("run", &["memory policy"], "a kernel without nodes");
        return;
    }
    let told = "busybox head -n 1 /proc/self/numa_maps | busybox cut -d' ' -f2";
    for (policy, words) in [
        (json!({"mode": "MPOL_DEFAULT"}), "default\n"),
        (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0\n"),
        (
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "interleave=static:0\n",
        ),
        (
            json!({"mode": "MPOL_PREFERRED", "nodes": "0"}),
            "prefer:0\n",
        ),
        (json!({"mode": "MPOL_LOCAL", "nodes": ""}), "local\n"),
    ] {
        let mut bundle = Bundle::new("sleep 1000");
        bundle.config["linux"]["memoryPolicy"] = policy.clone();
        bundle.quietly(&["run", "-d", "ID"]);
        // A further process has the container's, and hands it down.
        let out = bundle.run(&["exec", "ID", "sh", "-c", told]).good();
        assert_eq!(out, words, "{policy}");
        bundle.run(&["delete", "--force", "ID"]).good();
        bundle.config["process"]["args"] = json!(["sh", "-c", told]);
        assert_eq!(bundle.run(&["run", "ID"]).good(), words, "{policy}");
    }
}

#[test]
fn a_process_enters_a_group_below_the_containers() {
    let bundle = running(|_| ());
    let groups: Vec<String> = fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .map(|entry| entry.unwrap().path().join(&bundle.id))
        .chain([std::path::Path::new("/sys/fs/cgroup").join(&bundle.id)])
        .filter(|path| path.is_dir())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    for group in &groups {
        let sub = format!("{group}/sub");
        fs::create_dir(&sub).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // Empty ones of version 1 take no process.
            let (own, below) = (format!("{group}/{file}"), format!("{sub}/{file}"));
            if fs::metadata(&below).is_ok() {
                fs::write(below, fs::read(own).unwrap()).unwrap();
            }
        }
    }
    let exec =
        |group: &str| bundle.run(&["exec", "--cgroup", group, "ID", "cat", "/proc/self/cgroup"]);
    let below = format!("{}/sub", bundle.id);
    let told = exec("sub").good();
    assert!(
        told.lines().filter(|line| line.ends_with(&below)).count() >= groups.len().min(3),
        "{told}"
    );
    // No further up than the container's own.
    let told = exec("/sub/..").good();
    assert!(
        !told.contains(&below) && told.contains(&format!(":/{}\n", bundle.id)),
        "{told}"
    );
    for above in ["..", "sub/../../.."] {
        let sentence = exec(above).sentence();
        let words = format!(" {above} is not a sub cgroup path");
        assert!(sentence.ends_with(&words), "{sentence}");
    }
    if fs::metadata("/sys/fs/cgroup/pids").is_ok() {
        let told = exec("pids:sub").good();
        let with = |name: &str| {
            told.lines()
                .find(|line| line.contains(name))
                .unwrap()
                .to_owned()
        };
        assert!(
            with(":pids:").ends_with(&below) && !with(":memory:").ends_with(&below),
            "{told}"
        );
        let sentence = exec("nonsense:sub").sentence();
        assert!(
            sentence.contains("unknown controller \"nonsense\""),
            "{sentence}"
        );
    }
    let sentence = exec("nowhere").sentence();
    assert!(
        sentence.contains(" adding pid to ")
            && sentence.contains("/nowhere/cgroup.procs: no such file"),
        "{sentence}"
    );
    bundle.run(&["delete", "--force", "ID"]).good();
}

/// What a supervisor is sent: the words and the descriptor.
fn supervisor(listener: &UnixListener) -> (Value, OwnedFd) {
    let (mut connection, _) = listener.accept().unwrap();
    let mut text = vec![0; 1 << 16];
    let received =
        sys::fdpass::recv(connection.as_fd(), &mut text, sys::fdpass::Wait::Block).unwrap();
    let fd = received.descriptors.into_iter().next().unwrap();
    text.truncate(received.length);
    connection.read_to_end(&mut text).unwrap();
    (serde_json::from_slice(&text).unwrap(), fd)
}

/// Answers one question of a filter with an error number.
#[allow(unsafe_code)]
fn answer(listener: &OwnedFd, errno: i32) -> u32 {
    // `struct seccomp_notif` has 80 bytes: id, pid, flags, data (call, architecture, …). The answer has 24.
    let mut question = [0u64; 10];
    const RECEIVE: u64 = 0xc050_2100;
    const SEND: u64 = 0xc018_2101;
    // SAFETY: both structures outlive the calls and have the sizes that the numbers say.
    unsafe {
        assert_eq!(
            libc::ioctl(listener.as_raw_fd(), RECEIVE, question.as_mut_ptr()),
            0
        );
        let answer = [question[0], 0, u64::from((-errno) as u32)];
        assert_eq!(libc::ioctl(listener.as_raw_fd(), SEND, answer.as_ptr()), 0);
    }
    question[1] as u32
}

#[test]
fn a_filter_asks_its_supervisor() {
    for gated in [false, true] {
        let mut bundle = Bundle::new("busybox mkdir /tmp/x 2>&1; sleep 1000");
        let socket = bundle.path("agent");
        bundle.config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "of the test",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        });
        bundle.config["annotations"] = json!({"a": "b"});
        let listener = UnixListener::bind(&socket).unwrap();
        let fd = std::thread::scope(|scope| {
            let agent = scope.spawn(|| supervisor(&listener));
            if gated {
                bundle.create(&[]);
            } else {
                bundle.quietly(&["run", "-d", "ID"]);
            }
            let pid = bundle.state()["pid"].clone();
            let (process, fd) = agent.join().unwrap();
            assert_eq!(process["fds"], json!(["seccompFd"]));
            assert_eq!(process["metadata"], json!("of the test"));
            assert_eq!(process["pid"], pid);
            let state = &process["state"];
            assert_eq!(
                (
                    &state["id"],
                    &state["status"],
                    &state["pid"],
                    &state["annotations"]["a"]
                ),
                (&json!(bundle.id), &json!("creating"), &pid, &json!("b"))
            );
            fd
        });
        if gated {
            bundle.run(&["start", "ID"]).good();
        }
        let asker = answer(&fd, libc::EXDEV);
        assert_ne!(asker, 0);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !bundle.out().contains("Invalid cross-device link") {
            assert!(std::time::Instant::now() < deadline, "{}", bundle.out());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // A further process has a filter of its own.
        std::thread::scope(|scope| {
            let agent = scope.spawn(|| {
                let (process, fd) = supervisor(&listener);
                answer(&fd, libc::ENOSPC);
                process
            });
            let told = bundle
                .run(&[
                    "exec",
                    "ID",
                    "sh",
                    "-c",
                    "busybox mkdir /tmp/x 2>&1 | grep -o No.*",
                ])
                .good();
            assert_eq!(told, "No space left on device\n");
            let process = agent.join().unwrap();
            assert_eq!(process["state"]["status"], json!("running"));
            assert_ne!(process["pid"], process["state"]["pid"]);
        });
        bundle.run(&["delete", "--force", "ID"]).good();
    }
}

#[test]
fn a_supervisor_that_is_not_there_ends_the_start() {
    let mut bundle = Bundle::new("true");
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere/agent",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(
        sentence.contains("failed to connect with seccomp agent: sending the listener to /nowhere/agent: no such file"),
        "{sentence}"
    );
    bundle.config["linux"]["seccomp"]["listenerPath"] = json!("");
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(
        sentence.contains("SCMP_ACT_NOTIFY needs a listenerPath"),
        "{sentence}"
    );
}

#[test]
fn sockets_of_a_service_manager_come_first() {
    let bundle = Bundle::new(
        "cat <&3; cat <&4; echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; ls /proc/self/fd | busybox wc -l",
    );
    fs::write(bundle.path("three"), "three\n").unwrap();
    fs::write(bundle.path("four"), "four\n").unwrap();
    let command = bundle.command(&["run", "--preserve-fds", "1", "ID"]);
    let run = |pid: &str| {
        let script = format!(
            "exec 3<three 4<four; export LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID={pid}; exec \"$@\""
        );
        let done = Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().unwrap())
            .output()
            .unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    // Beside the three streams and those two, the listing's own.
    assert_eq!(run("$$"), "three\nfour\n1 1 web\n6\n");
    // Meant for somebody else.
    let others = run("1");
    assert!(
        others.starts_with("three\n") && !others.contains("four"),
        "{others}"
    );
}

/// A bundle with the host's perl, which can speak to sockets.
fn with_perl(script: &str) -> (tempfile::TempDir, Bundle) {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in ["usr", "dev", "proc", "sys", "run"] {
        fs::create_dir(at(folder)).unwrap();
    }
    for link in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), at(link)).unwrap();
    }
    let mut bundle = Bundle::new("true");
    bundle.push("/mounts", json!({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}));
    bundle.config["root"] = json!({"path": root.path()});
    bundle.config["process"]["args"] = json!(["/usr/bin/perl", "-MSocket", "-e", script]);
    (root, bundle)
}

const SAY: &str = "socket(S, AF_UNIX, SOCK_DGRAM, 0); $to = pack_sockaddr_un($ENV{NOTIFY_SOCKET});
    send(S, \"STATUS=warm\\nMAINPID=1\\n\", 0, $to) or die $!; send(S, \"READY=1\\n\", 0, $to) or die $!;";

#[test]
fn a_service_tells_its_manager_that_it_is_ready() {
    for gated in [false, true] {
        let (_root, bundle) = with_perl(&format!("{SAY} sleep 1000"));
        let path = bundle.path("manager");
        let manager = UnixDatagram::bind(&path).unwrap();
        let with = |words: &[&str]| {
            let out = fs::File::create(bundle.path("out")).unwrap();
            let mut command = bundle.command(words);
            command.env("NOTIFY_SOCKET", &path);
            let status = command
                .stdout(out.try_clone().unwrap())
                .stderr(out)
                .status()
                .unwrap();
            assert!(status.success(), "{}", bundle.out());
        };
        if gated {
            with(&["create", "ID"]);
            with(&["start", "ID"]);
        } else {
            with(&["run", "-d", "ID"]);
        }
        let pid = bundle.state()["pid"].clone();
        let told = || {
            let mut text = [0; 256];
            let length = manager.recv(&mut text).unwrap();
            String::from_utf8(text[..length].to_vec()).unwrap()
        };
        assert_eq!(told(), "STATUS=warm\n");
        assert_eq!(told(), format!("MAINPID={pid}\nREADY=1\n"));
        bundle.run(&["delete", "--force", "ID"]).good();
    }
    // In the foreground words are passed on to the end, and the end is no failure.
    let (_root, bundle) = with_perl(&format!("{SAY} send(S, \"STOPPING=1\\n\", 0, $to); exit 3"));
    let path = bundle.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut command = bundle.command(&["run", "ID"]);
    assert_eq!(
        command.env("NOTIFY_SOCKET", &path).status().unwrap().code(),
        Some(3)
    );
    let told: String = (0..3)
        .map(|_| {
            let mut text = [0; 256];
            let length = manager.recv(&mut text).unwrap();
            String::from_utf8_lossy(&text[..length]).into_owned()
        })
        .collect();
    assert_eq!(told, "STATUS=warm\nREADY=1\nSTOPPING=1\n");
}

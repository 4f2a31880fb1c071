//! What the engine does on the way to a container, seen by strace(1).

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use testkit::{Engine, Kind, eventually};

/// strace on every process of an engine: daemon, launcher and shims, and what they make.
struct Strace {
    child: Child,
    output: PathBuf,
}

impl Strace {
    #[track_caller]
    fn attach(engine: &Engine, calls: &str) -> Strace {
        let output = engine.folder().join("strace");
        let processes: Vec<u32> = engine
            .sandbox()
            .processes()
            .iter()
            .filter_map(|process| engine.sandbox().host_pid(process.pid))
            .collect();
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-o"]);
        command.arg(&output);
        for process in &processes {
            command.arg("-p").arg(process.to_string());
        }
        let child = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's package strace is needed");
        eventually("strace attaches", Duration::from_secs(10), || {
            processes
                .iter()
                .all(|process| is_traced(*process))
                .then_some(())
        });
        Strace { child, output }
    }

    /// Detaches, and gives the calls that were seen.
    #[track_caller]
    fn finish(mut self) -> Vec<String> {
        // SIGINT: strace lets its processes go and ends.
        let status = std::process::Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
        let _ = self.child.wait();
        fs::read_to_string(&self.output)
            .unwrap()
            .lines()
            .filter(|line| line.contains('(') && !line.contains(" resumed>"))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether all threads of a process are traced.
fn is_traced(process: u32) -> bool {
    fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .all(|thread| {
            fs::read_to_string(thread.path().join("status")).is_ok_and(|status| {
                status
                    .lines()
                    .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
            })
        })
}

fn is_wharf() -> bool {
    let wharf = Kind::from_environment() == Kind::Wharf;
    if !wharf {
        testkit::skip("docker's processes are not these");
    }
    wharf
}

#[test]
fn a_run_with_everything_on_executes_the_users_program_alone() {
    if !is_wharf() {
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        // The engine's helper for ports is executed once, ahead of the first start that needs it, and stays for this one.
        let beside = ["run", "-d", "--name", "beside", "-p", "8081:80"];
        engine
            .d(&[&beside[..], &["busybox", "sleep", "1000"]].concat())
            .ok();
        for extra in [
            &[][..],
            &["--init"],
            &["--security-opt", "no-new-privileges"],
        ] {
            let strace = Strace::attach(engine, "execve,execveat");
            let mut args = vec!["run", "--rm", "-it", "-v", "data:/data", "-u", "app:extra"];
            args.extend(["-p", "8080:80", "-m", "64m", "--tmpfs", "/scratch"]);
            args.extend(["--cap-add", "NET_ADMIN", "--ulimit", "nofile=512:512"]);
            args.extend(extra);
            args.extend(["busybox", "/bin/echo", "here"]);
            let mut terminal = engine.terminal(&args);
            terminal.expect("here");
            assert_eq!(terminal.finish().0, 0);
            let seen = strace.finish();
            assert_eq!(seen.len(), 1, "{seen:#?}");
            assert!(seen[0].contains(r#""/bin/echo""#), "{seen:#?}");
        }
    });
}

#[test]
fn an_exec_executes_the_users_program_alone() {
    if !is_wharf() {
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])
            .ok();
        let strace = Strace::attach(engine, "execve,execveat");
        engine.d(&["exec", "web", "/bin/echo", "here"]).ok();
        let seen = strace.finish();
        assert_eq!(seen.len(), 1, "{seen:#?}");
    });
}

#[test]
fn nobody_waits_for_the_disk_in_a_hundred_runs() {
    if !is_wharf() {
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let calls = "fsync,fdatasync,sync,syncfs,msync,sync_file_range";
        let strace = Strace::attach(engine, calls);
        for _ in 0..100 {
            engine.w(&["run", "--rm", "busybox", "true"]).ok();
        }
        let seen = strace.finish();
        assert!(seen.is_empty(), "{seen:#?}");
        // The tracer sees what it should: a load does wait.
        let strace = Strace::attach(engine, calls);
        engine.load(&testkit::image::busybox());
        engine.w(&["create", "--name", "kept", "busybox"]).ok();
        assert!(!strace.finish().is_empty());
    });
}

#[test]
fn what_fills_a_volume_is_on_the_disk_before_it_counts() {
    if !is_wharf() {
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let calls = |volume: &str| {
            let strace = Strace::attach(engine, "fsync,syncfs,renameat2");
            engine
                .d(&["run", "--rm", "-v", volume, "busybox", "true"])
                .ok();
            let seen = strace.finish();
            let fill = |line: &String| line.contains("\"_fill\"");
            let at = seen.iter().position(fill);
            let at = at.unwrap_or_else(|| panic!("nothing was filled: {seen:#?}"));
            let thread = seen[at].split(' ').next();
            let next = seen[at + 1..]
                .iter()
                .find(|line| line.split(' ').next() == thread);
            (
                seen[..at].iter().any(|line| line.contains("syncfs(")),
                next.is_some_and(|line| line.contains(" fsync(")),
            )
        };
        assert_eq!(calls("data:/bin"), (true, true));
        // It goes with its container.
        assert_eq!(calls("/bin"), (false, false));
    });
}

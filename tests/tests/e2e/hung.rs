//! File systems that hang: a FUSE mount whose server does not answer.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::{Engine, eventually, run};

/// Numbers of requests in linux/fuse.h.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const STATX: u32 = 52;

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Nothing at all: the kernel itself waits for it, so that whoever waits can be killed.
    Absent,
    /// It takes requests and does not answer them.
    Silent,
    /// It tells what its root is, and does not answer other requests.
    Root,
}

/// Of open(2), on every architecture that Wharf is for.
const O_NONBLOCK: i32 = 0o4000;

/// How long what must not wait for the file system may take, on a machine with other things to do.
const SOON: Duration = Duration::from_secs(10);

/// A mount in the engine's sandbox that hangs.
struct Hung<'a> {
    engine: &'a Engine,
    folder: PathBuf,
    unanswered: Arc<AtomicUsize>,
}

impl<'a> Hung<'a> {
    fn mount(engine: &'a Engine, manner: Manner) -> Self {
        let folder = engine.folder().join("hung");
        std::fs::create_dir_all(&folder).unwrap();
        let mut options = File::options();
        let server = options.read(true).write(true).open("/dev/fuse").unwrap();
        let mut mount = engine.sandbox().command("mount");
        // The server's descriptor is mount(8)'s standard input.
        let flags = "fd=0,rootmode=40000,user_id=0,group_id=0";
        mount
            .args(["-i", "-t", "fuse", "-o", flags, "hung"])
            .arg(&folder)
            .stdin(Stdio::from(server.try_clone().unwrap()));
        assert!(mount.status().unwrap().success(), "mount(8) of FUSE");
        let unanswered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&unanswered);
        // Ends with the mount.
        std::thread::spawn(move || serve(server, manner, &counter));
        Hung {
            engine,
            folder,
            unanswered,
        }
    }

    fn path(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    /// Waits until somebody hangs in it.
    fn has_caught(&self, number: usize) {
        eventually("the start hangs", Duration::from_secs(30), || {
            (self.unanswered.load(Ordering::SeqCst) >= number).then_some(())
        });
    }

    /// Aborts everything that waits; the folder below is seen again.
    fn release(&self) {
        let mut umount = self.engine.sandbox().command("umount");
        umount.args(["-i", "-f", "-l"]).arg(&self.folder);
        run(umount, b"").ok();
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Reads requests until the mount is gone.
fn serve(mut device: File, manner: Manner, unanswered: &AtomicUsize) {
    let mut request = vec![0; 1 << 20];
    while let Ok(length) = device.read(&mut request) {
        let request = &request[..length];
        let mut error = 0;
        let body: Vec<u8> = match number(request, 4) {
            _ if manner == Manner::Absent => continue,
            // Version 7.31, read ahead, nothing special, limits.
            INIT => [7, 31, 1 << 16, 0, 12 | 9 << 16, 1 << 16, 1]
                .into_iter()
                .chain([0; 9])
                .flat_map(u32::to_le_bytes)
                .collect(),
            // Not remembered; a folder of root's.
            GETATTR if manner == Manner::Root => {
                let mut attributes = [0_u32; 26];
                attributes[4] = 1;
                attributes[4 + 15] = 0o40755;
                attributes[4 + 16] = 2;
                attributes.into_iter().flat_map(u32::to_le_bytes).collect()
            }
            STATX => {
                error = -38; // ENOSYS: the kernel asks in the old way.
                Vec::new()
            }
            FORGET | INTERRUPT => continue,
            asked => {
                assert!(
                    manner == Manner::Silent || asked == LOOKUP,
                    "request {asked}"
                );
                unanswered.fetch_add(1, Ordering::SeqCst);
                continue;
            }
        };
        let mut answer = Vec::new();
        answer.extend(u32::try_from(16 + body.len()).unwrap().to_le_bytes());
        answer.extend(i32::to_le_bytes(error));
        answer.extend(&request[8..16]);
        answer.extend(body);
        device.write_all(&answer).unwrap();
    }
}

fn start(engine: &Engine, name: &str) -> Child {
    let mut command = engine.docker(&["start", name]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

fn create(engine: &Engine, hung: &Hung<'_>, name: &str, program: &str) {
    let bind = format!("{}:/hung", hung.path());
    let args = ["create", "--name", name, "--network", "none", "-v", &bind];
    let mut args = args.to_vec();
    args.extend(["busybox", program]);
    engine.d(&args).ok();
}

fn given_up(mut start: Child) {
    let mut words = String::new();
    let mut stderr = start.stderr.take().unwrap();
    stderr.read_to_string(&mut words).unwrap();
    assert!(!start.wait().unwrap().success());
    assert!(words.contains("the start was given up"), "{words}");
}

fn soon<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let outcome = act();
    assert!(begin.elapsed() < SOON, "{what} takes {:?}", begin.elapsed());
    outcome
}

#[test]
fn a_start_whose_source_hangs_can_be_stopped_and_removed() {
    if !Path::new("/dev/fuse").exists() {
        testkit::skip("the kernel has no FUSE");
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let hung = Hung::mount(engine, Manner::Silent);
        create(engine, &hung, "removed", "true");
        let start_of_removed = start(engine, "removed");
        hung.has_caught(1);
        soon("rm -f", || engine.d(&["rm", "-f", "removed"]).ok());
        given_up(start_of_removed);
        assert_eq!(engine.d(&["ps", "-aq"]).ok().text(), "");

        create(engine, &hung, "stopped", "true");
        let start_of_stopped = start(engine, "stopped");
        hung.has_caught(2);
        soon("stop", || engine.d(&["stop", "-t", "1", "stopped"]).ok());
        given_up(start_of_stopped);
        // The former start has not let go of anything: the next one waits for it, and is given up as well.
        let again = start(engine, "stopped");
        soon("others", || {
            engine.d(&["run", "--rm", "busybox", "true"]).ok()
        });
        soon("stop", || {
            eventually("the second start is given up", SOON, || {
                engine.d(&["stop", "-t", "0", "stopped"]).ok();
                let state = ["inspect", "-f", "{{.State.Error}}", "stopped"];
                engine
                    .d(&state)
                    .ok()
                    .text()
                    .contains("given up")
                    .then_some(())
            });
        });
        hung.release();
        given_up(again);
        engine.d(&["start", "-a", "stopped"]).ok();
        engine.d(&["rm", "stopped"]).ok();
    });
}

#[test]
fn a_start_whose_program_hangs_is_removed_by_force() {
    if !Path::new("/dev/fuse").exists() {
        testkit::skip("the kernel has no FUSE");
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let hung = Hung::mount(engine, Manner::Root);
        create(engine, &hung, "hung", "/hung/program");
        let start = start(engine, "hung");
        hung.has_caught(1);
        soon("rm -f", || engine.d(&["rm", "-f", "hung"]).ok());
        given_up(start);
        assert_eq!(engine.d(&["ps", "-aq"]).ok().text(), "");
        // The kernel itself waits for an answer: only now can the process end, and the leak check finds nothing.
        hung.release();
    });
}

/// Waits until a thread of the daemon sleeps and can only be killed, again and again.
fn thread_hangs(engine: &Engine) {
    let daemon = engine.sandbox().host_pid(engine.daemon().pid).unwrap();
    let mut seen = 0;
    eventually("the start hangs", Duration::from_secs(30), || {
        let threads = std::fs::read_dir(format!("/proc/{daemon}/task")).unwrap();
        let sleeps = threads.flatten().any(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(')')
                .next()
                .unwrap_or_default()
                .starts_with(" D")
        });
        seen = if sleeps { seen + 1 } else { 0 };
        (seen > 10).then_some(())
    });
}

#[test]
fn a_daemon_ends_while_a_start_hangs() {
    if !Path::new("/dev/fuse").exists() {
        testkit::skip("the kernel has no FUSE");
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let hung = Hung::mount(engine, Manner::Absent);
        create(engine, &hung, "hung", "true");
        let mut start = start(engine, "hung");
        thread_hangs(engine);
        engine.stop_daemon();
        start.wait().unwrap();
        hung.release();
        engine.start_daemon();
        engine.d(&["start", "-a", "hung"]).ok();
    });
}

#[test]
fn a_create_whose_source_hangs_holds_up_nobody() {
    if !Path::new("/dev/fuse").exists() {
        testkit::skip("the kernel has no FUSE");
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let hung = Hung::mount(engine, Manner::Silent);
        let mount = format!("type=bind,source={},target=/hung", hung.path());
        let create = || {
            let mut command = engine.docker(&["create", "--mount", &mount, "busybox"]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::null()).spawn().unwrap()
        };
        let mut creates = [create(), create(), create()];
        hung.has_caught(creates.len());
        soon("others", || {
            engine.d(&["run", "--rm", "busybox", "true"]).ok()
        });
        soon("rmi", || {
            engine.d(&["tag", "busybox", "other"]).ok();
            engine.d(&["rmi", "other"]).ok()
        });
        hung.release();
        for create in &mut creates {
            create.wait().unwrap();
        }
    });
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    Engine::run(|engine| {
        engine.stop_daemon();
        let path = engine.folder().join("log");
        let fifo = path.to_str().unwrap();
        let made = std::process::Command::new("mkfifo").arg(fifo).status();
        assert!(made.unwrap().success());
        // It has a reader that does not read, and is full.
        let mut options = File::options();
        options.read(true).write(true);
        options.custom_flags(O_NONBLOCK);
        let mut log = options.open(&path).unwrap();
        while log.write(b".").is_ok() {}
        let into_it = "exec \"$@\" --debug 2>\"$0\"";
        engine.start_daemon_by(&["sh", "-c", into_it, fifo]);
        engine.wait_until_it_answers();
        for _ in 0..20 {
            soon("ps", || engine.d(&["ps", "-a"]).ok());
        }
        soon("the end", || engine.stop_daemon());
        drop(log);
        engine.start_daemon();
    });
}

#[test]
fn starts_that_hang_hold_up_no_other_start_however_many_they_are() {
    if !Path::new("/dev/fuse").exists() {
        testkit::skip("the kernel has no FUSE");
        return;
    }
    // More than may go on at the same time.
    const HANGING: usize = 140;
    Engine::run(|engine| {
        engine.load_busybox();
        let hung = Hung::mount(engine, Manner::Silent);
        let names: Vec<String> = (0..HANGING).map(|number| format!("h{number}")).collect();
        for name in &names {
            let body = format!(
                r#"{{"Image":"busybox","Cmd":["true"],"HostConfig":{{"NetworkMode":"none","Binds":["{}:/hung"]}}}}"#,
                hung.path()
            );
            let path = format!("/containers/create?name={name}");
            let (status, body) = engine
                .ask("POST", &path, "application/json", body.as_bytes())
                .unwrap();
            assert_eq!(status, 201, "{body}");
        }
        let engine = &*engine;
        std::thread::scope(|scope| {
            for name in &names {
                let path = format!("/containers/{name}/start");
                scope.spawn(move || engine.ask("POST", &path, "application/json", b""));
            }
            hung.has_caught(HANGING);
            for _ in 0..3 {
                soon("others", || {
                    engine.d(&["run", "--rm", "busybox", "true"]).ok()
                });
            }
            hung.release();
        });
        let all: Vec<_> = names.iter().map(String::as_str).collect();
        engine.d(&[&["rm", "-f"], &all[..]].concat()).ok();
    });
}

#[test]
fn a_daemon_starts_while_a_process_hangs_that_it_knows_nothing_of() {
    if !Path::new("/dev/fuse").exists() {
        testkit::skip("the kernel has no FUSE");
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let hung = Hung::mount(engine, Manner::Root);
        create(engine, &hung, "hung", "/hung/program");
        let mut start = start(engine, "hung");
        hung.has_caught(1);
        engine.kill_daemon();
        start.wait().unwrap();
        // The process can not end before the file system answers, and is nobody's.
        soon("the next daemon", || engine.start_daemon());
        soon("others", || {
            engine.d(&["run", "--rm", "busybox", "true"]).ok()
        });
        hung.release();
        engine.d(&["rm", "-f", "hung"]).ok();
    });
}

/// A volume that is what a path of the host is.
fn create_volume(engine: &Engine, path: &Path) {
    let device = format!("device={}", path.display());
    let args = ["volume", "create", "-o", "type=none", "-o", "o=bind", "-o"];
    engine.d(&[&args[..], &[&device, "vol"]].concat()).ok();
}

#[test]
fn a_volume_whose_mount_hangs_holds_up_nobody() {
    if !Path::new("/dev/fuse").exists() {
        testkit::skip("the kernel has no FUSE");
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let hung = Hung::mount(engine, Manner::Silent);
        create_volume(engine, &hung.folder.join("below"));
        let args = ["create", "--name", "cc", "-v", "vol:/v", "busybox", "true"];
        engine.d(&args).ok();
        let start = start(engine, "cc");
        hung.has_caught(1);
        soon("rm -f", || engine.d(&["rm", "-f", "cc"]).ok());
        given_up(start);
        let engine = &*engine;
        std::thread::scope(|scope| {
            let removal = scope.spawn(|| engine.d(&["volume", "rm", "vol"]).fails_with(1));
            for _ in 0..3 {
                soon("others", || {
                    engine.d(&["run", "--rm", "busybox", "true"]).ok()
                });
                soon("others", || engine.d(&["volume", "create", "other"]).ok());
                soon("others", || engine.d(&["volume", "rm", "other"]).ok());
            }
            let told = removal.join().unwrap().stderr;
            assert!(told.contains("being mounted"), "{told}");
        });
        hung.release();
        eventually("the volume can be removed", SOON, || {
            let done = engine.d(&["volume", "rm", "vol"]);
            (done.status == 0).then_some(())
        });
    });
}

#[test]
fn a_start_that_is_given_up_leaves_no_volume_mounted() {
    if !Path::new("/dev/fuse").exists() {
        testkit::skip("the kernel has no FUSE");
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        let hung = Hung::mount(engine, Manner::Silent);
        let folder = engine.folder().join("whole");
        std::fs::create_dir(&folder).unwrap();
        create_volume(engine, &folder);
        let bind = format!("{}:/w", hung.path());
        let args = ["create", "--name", "cc", "-v", "vol:/v", "-v", &bind];
        engine.d(&[&args[..], &["busybox", "true"]].concat()).ok();
        let start = start(engine, "cc");
        hung.has_caught(1);
        let mounted = || {
            let mut command = engine.sandbox().command("cat");
            command.arg("/proc/self/mountinfo");
            run(command, b"")
                .ok()
                .stdout
                .contains("/volumes/vol/_data ")
        };
        assert!(mounted(), "the volume is mounted before the other source");
        soon("rm -f", || engine.d(&["rm", "-f", "cc"]).ok());
        given_up(start);
        soon("volume rm", || engine.d(&["volume", "rm", "vol"]).ok());
        assert!(!mounted());
        hung.release();
        engine.stop_daemon();
        engine.start_daemon();
        assert_eq!(engine.d(&["volume", "ls", "-q"]).ok().text(), "");
    });
}

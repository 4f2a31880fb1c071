//! Starts, exits, restarts, and daemons that come and go.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use runtime::plan::NsMode;
use shim::launcher::Launcher;
use shim::protocol::{
    EventKind, Framing, Phase, Refusal, Reply, Request, RestartKind, RestartOutlook, RestartPolicy,
    StopRequest,
};

use crate::Case;
use crate::daemon::{Container, PATIENCE, Running, read_all, unframe};
use crate::streams::kill;

pub(crate) const CASES: &[Case] = &[
    ("a program runs, and everybody is told", a_program_runs),
    ("a program that is not there", missing_program),
    ("an exit status and a signal", exit_statuses),
    (
        "a plan of any length and any number of descriptors",
        large_launch,
    ),
    ("a stop ends by killing", stop_kills),
    ("a start in two phases", two_phases),
    ("a launcher that died is replaced", launcher_dies),
    (
        "the launcher's namespace is almost empty",
        launcher_is_alone,
    ),
    ("a spare that is killed is replaced", spare_dies),
    (
        "what is held for a container is let go before its end is told",
        lets_go,
    ),
    ("a daemon goes and another comes", daemons_change),
    ("a shim that is killed takes its container along", shim_dies),
    ("no daemon: the shim ends after the exit", ends_alone),
    ("on-failure restarts as often as told", restarts_on_failure),
    ("always restarts until a stop is wanted", restarts_always),
    ("restarts go on without a daemon", restarts_alone),
    ("a policy that comes later is told", late_policy),
    (
        "a grandchild that holds the output is not waited for",
        grandchild,
    ),
];

fn a_program_runs() {
    let mut container = Container::shell("echo out; echo err >&2; exit 3");
    let mut client = container.client(false, Framing::Multiplexed);
    let mut running = container.launch().unwrap();
    assert_eq!(
        unframe(&read_all(&mut client)),
        ("out\n".to_owned(), "err\n".to_owned())
    );
    drop(client);
    assert_eq!(running.exit(), 3);
    let log = running.log();
    assert!(
        log.contains(r#"{"log":"out\n","stream":"stdout","time":""#),
        "{log}"
    );
    assert!(
        log.contains(r#"{"log":"err\n","stream":"stderr","time":""#),
        "{log}"
    );
    let journal = running.journal();
    let EventKind::Started {
        pid,
        restarts: 0,
        start_ticks: 1..,
        supervisor: 2..,
    } = journal[0]
    else {
        panic!("{journal:?}")
    };
    assert_eq!(pid, running.pid);
    assert_eq!(journal[1..], [exited(3, RestartOutlook::None)]);
    running.release();
}

fn exited(code: u8, restart: RestartOutlook) -> EventKind {
    EventKind::Exited {
        code,
        signal: 0,
        oom: false,
        restart,
    }
}

fn missing_program() {
    let mut container = Container::program(&["nope"]);
    let Err(refusal) = container.launch() else {
        panic!("it started")
    };
    let Refusal::Fault {
        text,
        exit_code: 127,
        ..
    } = refusal
    else {
        panic!("{refusal:?}")
    };
    assert_eq!(text, "exec: \"nope\": executable file not found in $PATH");
}

fn exit_statuses() {
    let mut container = Container::shell("sleep 1000");
    let mut running = container.launch().unwrap();
    running
        .ask(&Request::Signal {
            signal: 9,
            exec: None,
        })
        .unwrap();
    let (code, signal) = running.event(|kind| match kind {
        EventKind::Exited { code, signal, .. } => Some((*code, *signal)),
        _ => None,
    });
    assert_eq!((code, signal), (137, 9));
    let refused = running.ask(&Request::Signal {
        signal: 9,
        exec: None,
    });
    assert_eq!(refused, Err(Refusal::NotRunning));
    assert_eq!(
        running.ask(&Request::Stop(StopRequest::default())),
        Err(Refusal::NotRunning)
    );
    running.release();
}

fn large_launch() {
    let mut container = Container::shell("echo ${#LONG}; exit 0");
    let long = [b"LONG=".as_slice(), &vec![b'x'; 120_000]].concat();
    container.plan.process.env.push(long);
    for _ in 0..400 {
        container.descriptor(std::fs::File::open("/dev/null").unwrap().into());
    }
    // It comes after the first message's descriptors.
    let mut client = container.client(false, Framing::Raw);
    let mut running = container.launch().unwrap();
    assert_eq!(read_all(&mut client), b"120000\n");
    drop(client);
    assert_eq!(running.exit(), 0);
    running.release();
}

fn stop_kills() {
    // Process 1 of a namespace gets only signals that it handles.
    let mut container =
        Container::shell("trap 'echo stopping' TERM; echo ready; while true; do sleep 0.05; done");
    container.launch.restart = RestartPolicy {
        kind: RestartKind::Always,
        max_retries: 0,
    };
    let mut client = container.client(false, Framing::Raw);
    let mut running = container.launch().unwrap();
    let mut ready = [0; 6];
    client.read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    let begun = Instant::now();
    running
        .ask(&Request::Stop(StopRequest {
            signal: None,
            grace: Some(400),
        }))
        .unwrap();
    assert_eq!(running.exit(), 137);
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(400) && took < PATIENCE,
        "{took:?}"
    );
    assert_eq!(read_all(&mut client), b"stopping\n");
    drop(client);
    assert_eq!(running.status().phase, Phase::Exited);
    running.release();
}

fn two_phases() {
    let mut container = Container::program(&["echo", "gone on"]);
    container.launch.two_phase = true;
    let mut client = container.client(false, Framing::Raw);
    let mut running = container.launch().unwrap();
    assert_eq!(running.status().phase, Phase::Prepared);
    let Ok(Reply::Started { pid, .. }) = running.ask(&Request::Proceed) else {
        panic!("not started")
    };
    assert_eq!(pid, running.pid);
    assert_eq!(read_all(&mut client), b"gone on\n");
    drop(client);
    assert_eq!(running.exit(), 0);
    assert!(running.ask(&Request::Proceed).is_err());
    running.release();
}

fn launcher_dies() {
    let launcher = Launcher::spawn_as(&["shim-test", "launcher"]).unwrap();
    let mut container = Container::shell("sleep 1000");
    let survivor = container.launch_with(&launcher).unwrap();
    let dead = launcher.pid();
    let pidfd = sys::process::pidfd_open(dead.cast_signed()).unwrap();
    sys::process::pidfd_send_signal(pidfd.as_fd(), 9).unwrap();
    crate::daemon::wait_readable(pidfd.as_fd(), Instant::now() + PATIENCE);
    // The spare that it left takes the first; for the second there is a new launcher.
    for _ in 0..2 {
        let mut container = Container::shell("exit 4");
        let mut running = container.launch_with(&launcher).unwrap();
        assert_eq!(running.exit(), 4);
        running.release();
    }
    assert_ne!(launcher.pid(), dead);
    kill(survivor);
}

fn launcher_is_alone() {
    let launcher = Launcher::spawn_as(&["shim-test", "launcher"]).unwrap();
    let pid = launcher.pid();
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let mut places: Vec<&str> = mounts
        .lines()
        .map(|line| line.split(' ').nth(4).unwrap())
        .collect();
    places.sort_unstable();
    assert_eq!(places, ["/", "/proc"]);
    assert!(
        mounts.lines().any(|line| line.contains(" / / ro,")),
        "{mounts}"
    );
    let program = rustix::fs::statvfs(format!("/proc/{pid}/exe")).unwrap();
    assert!(
        program
            .f_flag
            .contains(rustix::fs::StatVfsMountFlags::RDONLY)
    );
    // Nothing but the room for the names of processes that are not executed.
    let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let room = environ.trim_end_matches('\0').split_once('=').unwrap();
    assert_eq!((room.0, room.1.trim()), ("WHARF_ROOM", ""), "{environ:?}");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    // The standard streams, the socket, the birthplace, and the spare's pipe, of which there are two ends for a moment.
    assert!((5..=7).contains(&open), "{open}");
}

/// The processes below a launcher, by name.
fn children(launcher: u32) -> Vec<i32> {
    let path = format!("/proc/{launcher}/task/{launcher}/children");
    let list = std::fs::read_to_string(path).unwrap();
    list.split_ascii_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn spare_dies() {
    let launcher = Launcher::spawn_as(&["shim-test", "launcher"]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let wait_for = |wanted: &dyn Fn(&[i32]) -> bool| loop {
        let found = children(launcher.pid());
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let first = wait_for(&|found| found.len() == 1);
    sys::process::kill(first[0], libc::SIGKILL).unwrap();
    wait_for(&|found| found.len() == 1 && found != first);
    let mut container = Container::shell("exit 4");
    let mut running = container.launch_with(&launcher).unwrap();
    assert_eq!(running.exit(), 4);
    running.release();
}

fn lets_go() {
    let mut container = Container::shell("exit 0");
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    container.descriptor(reserved.into());
    let mut running = container.launch().unwrap();
    assert_eq!(running.exit(), 0);
    std::net::TcpListener::bind(address).unwrap();
    running.release();
}

fn daemons_change() {
    let mut container = Container::shell("read line; echo $line; exit 6").with_input(true);
    let mut client = container.client(true, Framing::Raw);
    let first = container.launch().unwrap();
    let pid = first.pid;
    drop(first);
    let mut second = Running::connect(&container);
    let status = second.status();
    assert_eq!(
        (status.phase, status.pid, status.attached),
        (Phase::Running, pid, 1)
    );
    assert_eq!(
        (status.sequence, status.restarts, status.last_exit),
        (1, 0, None)
    );
    let mut third = Running::connect(&container);
    assert_eq!(third.status(), status);
    crate::daemon::send(&mut client, "still there\n");
    assert_eq!(read_all(&mut client), b"still there\n");
    drop(client);
    assert_eq!((second.exit(), third.exit()), (6, 6));
    assert_eq!(second.status().last_exit.map(|exit| exit.code), Some(6));
    drop(third);
    second.release();
}

fn shim_dies() {
    let mut container = Container::shell("sleep 1000");
    let mut running = container.launch().unwrap();
    let shim = sys::process::pidfd_open(running.shim().cast_signed()).unwrap();
    let first = sys::process::pidfd_open(running.pid.cast_signed()).unwrap();
    sys::process::pidfd_send_signal(shim.as_fd(), 15).unwrap();
    assert_eq!(
        running.status().phase,
        Phase::Running,
        "only SIGKILL ends a shim"
    );
    sys::process::pidfd_send_signal(shim.as_fd(), 9).unwrap();
    crate::daemon::wait_readable(first.as_fd(), Instant::now() + PATIENCE);
    running.gone();
    let refused = std::fs::File::open(container.folder()).unwrap();
    assert!(shim::ShimConn::connect(refused.as_fd(), "sock").is_err());
}

fn ends_alone() {
    let mut container = Container::shell("sleep 0.2; echo out; exit 9");
    let running = container.launch().unwrap();
    let shim = sys::process::pidfd_open(running.shim().cast_signed()).unwrap();
    drop(running);
    crate::daemon::wait_readable(shim.as_fd(), Instant::now() + PATIENCE);
    let file = std::fs::File::open(container.folder().join("journal")).unwrap();
    let contents = shim::journal::read(&file).unwrap();
    assert_eq!(
        contents.events.last().unwrap().kind,
        exited(9, RestartOutlook::None)
    );
}

fn restarts_on_failure() {
    let mut container = Container::shell("echo run >>/tmp/runs; exit 1");
    container.launch.restart = RestartPolicy {
        kind: RestartKind::OnFailure,
        max_retries: 2,
    };
    let mut client = container.client(false, Framing::Raw);
    let begun = Instant::now();
    let mut running = container.launch().unwrap();
    assert_eq!(
        read_all(&mut client),
        b"",
        "the first exit ends the attachment"
    );
    drop(client);
    let outlooks: Vec<RestartOutlook> = (0..3)
        .map(|_| {
            running.event(|kind| match kind {
                EventKind::Exited {
                    code: 1, restart, ..
                } => Some(*restart),
                _ => None,
            })
        })
        .collect();
    let after = |delay| RestartOutlook::After { delay };
    assert_eq!(outlooks, [after(100), after(200), RestartOutlook::None]);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let runs = std::fs::read_to_string(container.in_root("tmp/runs")).unwrap();
    assert_eq!(runs, "run\nrun\nrun\n");
    let starts: Vec<u32> = running
        .journal()
        .iter()
        .filter_map(|kind| match kind {
            EventKind::Started { restarts, .. } => Some(*restarts),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [0, 1, 2]);
    assert_eq!(running.status().restarts, 2);
    running.release();
}

fn restarts_always() {
    let mut container = Container::shell("exit 0");
    container.launch.restart = RestartPolicy {
        kind: RestartKind::Always,
        max_retries: 0,
    };
    let mut running = container.launch().unwrap();
    for _ in 0..3 {
        running.event(|kind| matches!(kind, EventKind::Exited { .. }).then_some(()));
    }
    assert_eq!(running.status().phase, Phase::Restarting);
    assert!(matches!(
        running.ask(&Request::Release),
        Err(Refusal::Invalid { .. })
    ));
    running.ask(&Request::StopIntent(true)).unwrap();
    running.event(|kind| matches!(kind, EventKind::RestartCancelled).then_some(()));
    assert_eq!(running.status().phase, Phase::Exited);
    running.release();
}

fn restarts_alone() {
    let mut container = Container::shell("echo run >>/tmp/runs; sleep 0.1; exit 1");
    container.launch.restart = RestartPolicy {
        kind: RestartKind::OnFailure,
        max_retries: 3,
    };
    let running = container.launch().unwrap();
    let shim = sys::process::pidfd_open(running.shim().cast_signed()).unwrap();
    drop(running);
    crate::daemon::wait_readable(shim.as_fd(), Instant::now() + PATIENCE);
    let runs = std::fs::read_to_string(container.in_root("tmp/runs")).unwrap();
    assert_eq!(runs.lines().count(), 4);
}

fn late_policy() {
    let mut container = Container::shell("sleep 0.3");
    let mut running = container.launch().unwrap();
    let policy = RestartPolicy {
        kind: RestartKind::Always,
        max_retries: 0,
    };
    running.ask(&Request::UpdatePolicy(policy)).unwrap();
    let restart = running.event(|kind| match kind {
        EventKind::Exited { restart, .. } => Some(*restart),
        _ => None,
    });
    assert_eq!(restart, RestartOutlook::ByDaemon { delay: 100 });
    assert_eq!(running.status().policy, policy);
    running.release();
}

fn grandchild() {
    // Without a pid namespace of its own the kernel does not end what the program leaves behind.
    let mut container = Container::shell("(trap '' HUP; sleep 6) & exit 2");
    container.plan.namespaces.pid = NsMode::Host;
    let mut client = container.client(false, Framing::Raw);
    let begun = Instant::now();
    let mut running = container.launch().unwrap();
    assert_eq!(running.exit(), 2);
    read_all(&mut client);
    drop(client);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(1900) && took < Duration::from_secs(5),
        "{took:?}"
    );
    running.release();
}

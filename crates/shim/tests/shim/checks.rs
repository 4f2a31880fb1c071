//! Health checks, logs under way, and what is left in control groups.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use runtime::cgroup::{Group, Layout, Parent, Resources};
use runtime::plan::NsMode;
use shim::logs::{Next, Options, Reader, Watcher};
use shim::protocol::{
    EventKind, Exec, Health, HealthState, LogConfig, Phase, Reply, Request, RestartKind,
    RestartOutlook, RestartPolicy,
};
use types::ContainerId;

use crate::Case;
use crate::daemon::{Container, PATIENCE, Running, exec_plan, wait_readable};
use crate::streams::kill;

pub(crate) const CASES: &[Case] = &[
    ("a health check tells its verdicts", health),
    ("a health check that hangs is ended", health_timeout),
    (
        "an exec into a frozen container holds nobody up",
        frozen_exec,
    ),
    ("followers see every line once", followers),
    ("what remains in a control group is killed", remains),
];

fn milliseconds(n: u64) -> u64 {
    n * 1_000_000
}

fn check(script: &str) -> Health {
    Health {
        plan: exec_plan(&["/bin/sh", "-c", script]).encode(),
        interval: milliseconds(40),
        timeout: milliseconds(150),
        start_period: 0,
        start_interval: 0,
        retries: 2,
    }
}

fn verdict(running: &mut Running) -> (HealthState, u32) {
    running.event(|kind| match kind {
        EventKind::Health {
            state,
            failing_streak,
        } => Some((*state, *failing_streak)),
        _ => None,
    })
}

fn health() {
    let mut container = Container::shell("sleep 1000");
    container.launch.health = Some(check("cat /tmp/well"));
    let mut running = container.launch().unwrap();
    assert_eq!(verdict(&mut running), (HealthState::Unhealthy, 2));
    std::fs::write(container.in_root("tmp/well"), "fine").unwrap();
    assert_eq!(verdict(&mut running), (HealthState::Healthy, 0));
    let health = running.status().health.unwrap();
    let last = health.results.last().unwrap();
    assert_eq!((last.exit_code, last.output.as_slice()), (0, &b"fine"[..]));
    let first = &health.results[0];
    assert_eq!(first.exit_code, 1);
    assert!(String::from_utf8_lossy(&first.output).contains("No such file"));
    assert!(
        running.log().is_empty(),
        "what a check says is not the container's"
    );
    running.ask(&Request::SetHealth(None)).unwrap();
    assert_eq!(running.status().health, None);
    kill(running);
}

fn health_timeout() {
    let mut container = Container::shell("sleep 1000");
    container.launch.health = Some(check("echo busy; sleep 1000"));
    let mut running = container.launch().unwrap();
    assert_eq!(verdict(&mut running), (HealthState::Unhealthy, 2));
    let health = running.status().health.unwrap();
    assert_eq!(health.results[0].exit_code, -1);
    assert_eq!(
        health.results[0].output,
        b"Health check exceeded timeout (150ms): busy\n"
    );
    kill(running);
}

/// Reads until the last line has come, and checks that each came once and in order.
fn follow(folder: std::path::PathBuf, last: u64) {
    let place = std::fs::File::open(&folder).unwrap();
    let options = Options {
        follow: true,
        ..Options::default()
    };
    let mut reader = Reader::open(place.into(), "x-json.log", options).unwrap();
    let watcher = Watcher::new().unwrap();
    watcher.add(reader.folder()).unwrap();
    let mut expected = 1;
    while expected <= last {
        match reader.next_line().unwrap() {
            Next::Line(line) => {
                assert_eq!(
                    String::from_utf8(line.text).unwrap(),
                    format!("{expected}\n")
                );
                expected += 1;
            }
            Next::Nothing => {
                wait_readable(watcher.as_fd(), Instant::now() + PATIENCE);
                watcher.changes().unwrap();
            }
            Next::End => panic!("the end came before line {expected}"),
        }
    }
}

fn followers() {
    const LINES: u64 = 300_000;
    // Files may go before anybody has begun to read them: the followers get the time to begin.
    let mut container = Container::shell("echo 1; sleep 0.5; seq 2 300000");
    let LogConfig::JsonFile { max_size, .. } = &mut container.launch.log else {
        panic!()
    };
    *max_size = 64 << 10;
    let folder = container.folder().join("logs");
    let followers: Vec<_> = (0..3)
        .map(|_| {
            let folder = folder.clone();
            std::thread::spawn(move || follow(folder, LINES))
        })
        .collect();
    let mut running = container.launch().unwrap();
    assert_eq!(running.exit(), 0);
    for follower in followers {
        follower.join().unwrap();
    }
    running.release();
}

/// Puts the container into a new control group.
fn grouped(container: &mut Container, parent: &Parent) -> Group {
    let group = parent.create("it", &Resources::default()).unwrap();
    let (tasks, unified) = group.entry_fds().unwrap();
    for fd in tasks {
        let slot = container.descriptor(fd);
        container.plan.cgroup.dirs.push(slot);
    }
    container.plan.cgroup.unified = unified.map(|fd| container.descriptor(fd));
    let slot = container.descriptor(group.kill_fd().unwrap());
    container.launch.cgroups.push(slot);
    group
}

fn parent(name: &str) -> Parent {
    let name = format!("wharf-shimtest-{name}-{}", std::process::id());
    Parent::open(&Layout::detect().unwrap(), &name).unwrap()
}

fn frozen_exec() {
    let parent = parent("frozen");
    let mut container = Container::shell("sleep 1000");
    let group = grouped(&mut container, &parent);
    let mut running = container.launch().unwrap();
    group.freeze(true).unwrap();
    let exec = Exec {
        id: ContainerId::random().unwrap(),
        plan: exec_plan(&["true"]).encode(),
        tty: false,
        open_stdin: false,
        detach_keys: Vec::new(),
        attachments: Vec::new(),
    };
    let number = running.send(&Request::Exec(Box::new(exec)));
    assert_eq!(running.status().phase, Phase::Running);
    group.freeze(false).unwrap();
    assert!(matches!(
        running.answer(number),
        Ok(Reply::ExecStarted { .. })
    ));
    running.event(|kind| matches!(kind, EventKind::ExecExited { code: 0, .. }).then_some(()));
    kill(running);
    group.remove().unwrap();
    assert!(parent.remove().unwrap());
}

fn remains() {
    let parent = parent("remains");
    let mut container = Container::shell("(trap '' HUP; echo $$; exec sleep 1000) & exit 1");
    container.plan.namespaces.pid = NsMode::Host;
    let group = grouped(&mut container, &parent);
    container.launch.restart = RestartPolicy {
        kind: RestartKind::OnFailure,
        max_retries: 1,
    };
    let begun = Instant::now();
    let mut running = container.launch().unwrap();
    for expected in [RestartOutlook::After { delay: 100 }, RestartOutlook::None] {
        let outlook = running.event(|kind| match kind {
            EventKind::Exited { restart, .. } => Some(*restart),
            _ => None,
        });
        assert_eq!(outlook, expected);
    }
    assert!(
        begun.elapsed() < Duration::from_millis(1900),
        "the output was waited for"
    );
    running.release();
    assert!(group.is_empty().unwrap());
    group.remove().unwrap();
    assert!(parent.remove().unwrap());
}

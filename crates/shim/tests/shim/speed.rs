//! How long a start takes, and what an idle shim weighs: printed, not judged. Run with `speed` as the argument.

use std::time::{Duration, Instant};

use runtime::Prepared;
use runtime::spawn::{self, Stdio};
use shim::logs::{Next, Options, Reader};

use crate::daemon::Container;

const ROUNDS: usize = 60;
/// The pace of a person or a CI job; back to back hides what the kernel waits for.
const PACE: Duration = Duration::from_millis(25);

pub(crate) fn report() {
    let (mut started, mut exited, mut direct) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut container = Container::program(&["/bin/true"]);
        std::thread::sleep(PACE);
        let begun = Instant::now();
        let mut running = container.launch().unwrap();
        started.push(begun.elapsed());
        running.exit();
        exited.push(begun.elapsed());
        running.release();
        direct.push(spawn_here());
    }
    print("launch to started", started);
    print("launch to exited", exited);
    print("the runtime alone, from this process", direct);
    weigh();
    read_log();
}

/// How fast a log of a million lines is written by a shim, and read.
fn read_log() {
    let mut container = Container::program(&["seq", "1", "1000000"]);
    let begun = Instant::now();
    let mut running = container.launch().unwrap();
    running.exit();
    println!("a million lines written in {:?}", begun.elapsed());
    let begun = Instant::now();
    let folder = std::fs::File::open(container.folder().join("logs")).unwrap();
    let mut reader = Reader::open(folder.into(), "x-json.log", Options::default()).unwrap();
    let mut lines = 0;
    while let Next::Line(_) = reader.next_line().unwrap() {
        lines += 1;
    }
    println!("{lines} lines read in {:?}", begun.elapsed());
    running.release();
}

/// The same start by the runtime library, with neither launcher nor shim.
fn spawn_here() -> Duration {
    let container = Container::program(&["/bin/true"]);
    std::thread::sleep(PACE);
    let begun = Instant::now();
    let prepared = Prepared::new(container.plan.clone()).unwrap();
    let spawned = spawn::spawn(&prepared, container.descriptors(), Stdio::default()).unwrap();
    let time = begun.elapsed();
    sys::process::wait(std::os::fd::AsFd::as_fd(&spawned.pidfd), true).unwrap();
    time
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[times.len() * percent / 100];
    println!(
        "{what}: least {:?}, 10 % {:?}, median {:?}, 95 % {:?}",
        times[0],
        at(10),
        at(50),
        at(95)
    );
}

/// Proportional and private memory of shims that only wait, in KiB.
fn weigh() {
    let mut all: Vec<_> = (0..20)
        .map(|_| {
            let mut container = Container::program(&["/bin/sleep", "1000"]);
            let running = container.launch().unwrap();
            (container, running)
        })
        .collect();
    let (_, running) = &all[10];
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid)).unwrap();
    let parent = stat.split(' ').nth(3).unwrap().to_owned();
    let text = std::fs::read_to_string(format!("/proc/{parent}/smaps_rollup")).unwrap();
    for line in text
        .lines()
        .filter(|line| line.starts_with("Pss:") || line.starts_with("Private_Dirty"))
    {
        println!("an idle shim: {line}");
    }
    for (_, running) in &mut all {
        running
            .ask(&shim::protocol::Request::Signal {
                signal: 9,
                exec: None,
            })
            .unwrap();
        running.exit();
    }
}

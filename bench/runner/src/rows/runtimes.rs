//! OCI runtimes beside each other, without an engine.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::{SPACED, Variant, in_turns, time};
use crate::peers::{Peer, Peers};
use crate::rows::Bench;
use crate::setup::PROGRAM;

const PACES: [(&str, Duration); 2] = [("spaced", SPACED), ("back to back", Duration::ZERO)];

/// Everything that a runtime is asked for in a container's life.
pub(crate) fn runtimes(bench: &Bench) {
    // In a thread of its own, which gets its own mounts.
    std::thread::scope(|scope| scope.spawn(|| measure(bench)).join().unwrap());
}

fn measure(bench: &Bench) {
    let peers = Peers::new();
    for (pace, pause) in PACES {
        let title = format!("runtimes: run of a bundle, {pace}");
        in_turns(&title, bench.turns, pause, &mut runs(&peers, "plain"));
    }
    if peers.seccomp {
        let title = "runtimes: run with a seccomp profile, spaced";
        in_turns(title, bench.turns, SPACED, &mut runs(&peers, "seccomp"));
    }
    for (pace, pause) in PACES {
        let title = format!("runtimes: create, start and delete, {pace}");
        in_turns(&title, bench.turns, pause, &mut lives(&peers));
    }
    execs(bench, &peers);
    let title = "runtimes: 200 × run, 4 at a time, each";
    in_turns(title, (bench.turns / 4).max(1), SPACED, &mut crowds(&peers));
    memory(&peers);
}

fn runs<'a>(peers: &'a Peers, bundle: &'a str) -> Vec<Variant<'a>> {
    let all = peers.all.iter();
    all.map(|peer| {
        Variant::command(peer.name, 4, move || {
            run(peers, peer, bundle, "wharf-bench")
        })
    })
    .collect()
}

fn run(peers: &Peers, peer: &Peer, bundle: &str, id: &str) -> Command {
    peers.command(peer, "run", &["--bundle", bundle, id])
}

/// The three commands by which engines run a container, one after the other.
fn lives(peers: &Peers) -> Vec<Variant<'_>> {
    let life = move |peer: &Peer| {
        [
            "create --bundle plain wharf-bench",
            "start wharf-bench",
            "delete --force wharf-bench",
        ]
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            time(peers.command(peer, words[0], &words[1..]))
        })
        .sum()
    };
    let all = peers.all.iter();
    all.map(|peer| {
        Variant::new(peer.name, 3, move |runs, pause| {
            (0..runs)
                .map(|_| {
                    std::thread::sleep(pause);
                    life(peer)
                })
                .collect()
        })
    })
    .collect()
}

fn execs(bench: &Bench, peers: &Peers) {
    for peer in &peers.all {
        time(peers.command(peer, "run", &["--detach", "--bundle", "sleep", peer.name]));
    }
    let all = peers.all.iter();
    let mut variants: Vec<_> = all
        .map(|peer| {
            Variant::command(peer.name, 4, move || {
                peers.command(peer, "exec", &[peer.name, PROGRAM])
            })
        })
        .collect();
    let title = "runtimes: exec in a running container, spaced";
    in_turns(title, bench.turns, SPACED, &mut variants);
    for peer in &peers.all {
        time(peers.command(peer, "delete", &["--force", peer.name]));
    }
}

/// Four that start containers as fast as they can; the time is that of all, divided.
fn crowds(peers: &Peers) -> Vec<Variant<'_>> {
    const EACH: usize = 50;
    let crowd = move |peer: &Peer| {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || {
                    let id = format!("wharf-bench-{number}");
                    for _ in 0..EACH {
                        time(run(peers, peer, "plain", &id));
                    }
                });
            }
        });
        begin.elapsed() / (4 * EACH) as u32
    };
    let all = peers.all.iter();
    all.map(|peer| {
        Variant::new(peer.name, 1, move |runs, _| {
            (0..runs).map(|_| crowd(peer)).collect()
        })
    })
    .collect()
}

/// The most memory that a process of a `run` had.
fn memory(peers: &Peers) {
    println!("\nruntimes: peak memory of run\n");
    for peer in &peers.all {
        let inner = run(peers, peer, "plain", "wharf-bench");
        // A process counts what the one had that it was forked from: a small one stands between.
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--peak").arg(inner.get_program());
        if let Some(folder) = inner.get_current_dir() {
            command.current_dir(folder);
        }
        let output = command.args(inner.get_args()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let kib: f64 = text.trim().parse().unwrap();
        println!("{:48}{:>12.2} MiB", peer.name, kib / 1024.0);
    }
}

/// Runs a command and prints the most memory that it, or what it waited for, had at a time, in KiB (wait4(2)).
pub(crate) fn peak(words: &[String]) -> ! {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let child = command.spawn().unwrap();
    let mut status = 0;
    // SAFETY: numbers, which the kernel writes.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::wait4(
            child.id() as libc::pid_t,
            &raw mut status,
            0,
            &raw mut usage,
        );
        usage
    };
    assert_eq!(status, 0, "{command:?}");
    println!("{}", usage.ru_maxrss);
    std::process::exit(0)
}

//! Which functions a start executes, for the linker to lay them beside each other.
//!
//! What a short command costs are the pages that its code lies on: the kernel maps 16 at a time, and a command that needs 600
//! functions of 35,000 finds them on as many places. `wharf-bench --layout MAP` steps through the commands that people wait
//! for, and through the processes that the engine forks for them, and prints a linker script (`wharf/start.ld`) by which
//! those functions come first. A name that is gone is passed over, and one that is new lies where it lay.

mod map;

use std::collections::{HashMap, HashSet};
use std::process::Stdio;

use testkit::Kind;
use testkit::steps::Stepper;

use crate::peers::{Peer, Peers};
use crate::setup;
use map::Map;

/// A pattern that finds this much more than what is executed is left out.
const MOST_IN_VAIN: u64 = 8;
/// Below this nobody minds.
const SMALL: u64 = 4096;
/// A pattern with as much is left where it is.
const LARGE: u64 = 50_000;

/// Writes the script for the program that a map belongs to.
pub(crate) fn print(path: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let map = Map::read(&text);
    let mut stepper = Stepper::new(map.range());
    // Each in a thread of its own: the first gets its own mounts, and a thread traces what it started.
    for scene in [runtime, engine] {
        std::thread::scope(|scope| scope.spawn(|| scene(&mut stepper)).join().unwrap());
    }
    let mut executed: HashMap<&str, u64> = HashMap::new();
    let (mut order, mut seen) = (Vec::new(), HashSet::new());
    for address in stepper.into_order() {
        let Some(section) = map.at(address) else {
            continue;
        };
        if seen.insert(section.start()) {
            *executed.entry(&section.pattern).or_default() += section.bytes();
            if !order.contains(&section.pattern.as_str()) {
                order.push(section.pattern.as_str());
            }
        }
    }
    order.retain(|pattern| {
        let all = map.size_of(pattern);
        all < LARGE && all <= (executed[pattern] * MOST_IN_VAIN).max(SMALL)
    });
    let bytes: u64 = order.iter().map(|pattern| map.size_of(pattern)).sum();
    eprintln!("{} patterns, {bytes} bytes", order.len());
    println!("/* The functions of a start, in the order of their use: written by bench/layout. */");
    println!("SECTIONS {{\n  .text.start : {{");
    for pattern in order {
        println!("    {pattern}");
    }
    println!("  }}\n}} INSERT BEFORE .text;");
}

/// A container's life by the runtime's commands. The thread gets mounts of its own.
fn runtime(stepper: &mut Stepper) {
    let peers = Peers::new();
    let own = &peers.all[0];
    let sleeper = ["--detach", "--bundle", "sleep", "sleeper"];
    assert!(
        peers
            .command(own, "run", &sleeper)
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let steps: [(&str, &[&str]); 6] = [
        ("exec", &["sleeper", setup::PROGRAM]),
        ("run", &["--bundle", "plain", "wharf-bench"]),
        ("create", &["--bundle", "plain", "wharf-bench"]),
        ("start", &["wharf-bench"]),
        ("state", &["wharf-bench"]),
        ("delete", &["--force", "wharf-bench"]),
    ];
    for (verb, args) in steps {
        step(stepper, &peers, own, verb, args);
    }
    assert!(
        peers
            .command(own, "delete", &["--force", "sleeper"])
            .status()
            .unwrap()
            .success()
    );
}

fn step(stepper: &mut Stepper, peers: &Peers, own: &Peer, verb: &str, args: &[&str]) {
    eprintln!("{verb} {}", args.join(" "));
    let mut command = peers.command(own, verb, args);
    let status = stepper
        .run(command.stdin(Stdio::null()).stdout(Stdio::null()))
        .unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// What the client's user waits for: the client itself, and what the engine's launcher forks.
fn engine(stepper: &mut Stepper) {
    let engine = setup::engine(Kind::Wharf);
    let run = ["run", "--rm", setup::IMAGE];
    let sleep = [
        "run",
        "--detach",
        "--name",
        "sleeper",
        setup::IMAGE,
        setup::PROGRAM,
        "sleep",
    ];
    let exec = ["exec", "sleeper", setup::PROGRAM];
    let quiet = |args: &[&str]| {
        let mut command = setup::wharf(&engine, args);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    assert!(quiet(&sleep).status().unwrap().success());
    for args in [&run[..], &exec, &["version"], &["ps"]] {
        eprintln!("{}", args.join(" "));
        let mut command = quiet(args);
        let status = stepper.run(&mut command).unwrap();
        assert!(status.success(), "{command:?}: {status}");
    }
    eprintln!("the engine's side of run and exec");
    let processes = engine.sandbox().processes();
    let launchers: Vec<u32> = processes
        .iter()
        .filter(|process| process.command.ends_with(" launcher"))
        .filter_map(|process| engine.sandbox().host_pid(process.pid))
        .collect();
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            // The last, too, while what it asks for is attended.
            for args in [&run[..], &exec, &["rm", "--force", "sleeper"]] {
                assert!(quiet(args).status().unwrap().success(), "{args:?}");
            }
        });
        stepper
            .attend(&launchers, || clients.is_finished())
            .unwrap();
    });
}

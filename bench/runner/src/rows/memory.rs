//! Memory: the engine at rest, and what an idle container costs.

use std::fs;
use std::time::Duration;

use testkit::Engine;

use crate::rows::{Bench, must};
use crate::setup::{IMAGE, PROGRAM};

/// How many idle containers are looked at.
const IDLE: usize = 200;

/// Proportional set sizes of the engine's processes, shared memory included, in KiB. Containers'
/// own processes are left out.
fn engine_pss(engine: &Engine) -> u64 {
    engine
        .sandbox()
        .processes()
        .iter()
        .filter(|process| !process.command.starts_with(PROGRAM))
        .filter_map(|process| fs::read_to_string(process.folder.join("smaps_rollup")).ok())
        .filter_map(|text| field(&text, "Pss:"))
        .sum()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Memory that the host could give to something else, once nothing is waiting to be written.
fn available() -> u64 {
    std::thread::sleep(Duration::from_secs(2));
    assert!(
        std::process::Command::new("sync")
            .status()
            .unwrap()
            .success()
    );
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    field(&text, "MemAvailable:").unwrap()
}

/// The engine without containers: each process, and the sum, a minute after its last work.
pub(crate) fn at_rest(bench: &Bench) {
    std::thread::sleep(if bench.quick {
        Duration::from_secs(1)
    } else {
        Duration::from_secs(60)
    });
    for (name, engine) in bench.engines() {
        println!("{name} at rest: {:.1} MiB PSS", mib(engine_pss(engine)));
        for process in engine.sandbox().processes() {
            let text = fs::read_to_string(process.folder.join("smaps_rollup"));
            let pss = text.ok().and_then(|text| field(&text, "Pss:"));
            let command: String = process.command.chars().take(40).collect();
            println!("  {:5.1} MiB  {command}", mib(pss.unwrap_or(0)));
        }
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// An idle container on the bridge with its log on: everything that it takes from the host, over
/// 200 of them, three times.
pub(crate) fn idle(bench: &Bench) {
    for (name, engine) in bench.engines() {
        let mut all = Vec::new();
        let mut own = Vec::new();
        for _ in 0..3 {
            let (memory, pss) = (available(), engine_pss(engine));
            for _ in 0..IDLE {
                must(engine, &["run", "-d", IMAGE, PROGRAM, "sleep"]);
            }
            let per = |difference: f64| difference / IDLE as f64 / 1024.0;
            all.push(per(memory as f64 - available() as f64));
            own.push(per(engine_pss(engine) as f64 - pss as f64));
            let ids = must(engine, &["ps", "-aq"]);
            let mut args = vec!["rm", "-f"];
            args.extend(ids.lines());
            must(engine, &args);
        }
        all.sort_by(f64::total_cmp);
        own.sort_by(f64::total_cmp);
        println!(
            "{name}: {:.3} MiB an idle container, all in; {:.3} MiB of it the engine's PSS (all three: {all:.3?}, {own:.3?})",
            all[1], own[1]
        );
    }
}

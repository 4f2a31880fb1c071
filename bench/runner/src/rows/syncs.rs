//! How often a start waits for the disk.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::measure::time;
use crate::rows::{Bench, must};
use crate::setup::{IMAGE, PROGRAM, wharf};

const CALLS: &str = "trace=fsync,fdatasync,syncfs,sync,sync_file_range,msync";

/// Counts the calls that wait for a disk, in all of the engine's processes, while containers run
/// and a second after: what an answer does not wait for counts here too.
pub(crate) fn run(bench: &Bench) {
    let runs = if bench.quick { 100 } else { 1000 };
    let folder = bench.wharf.folder();
    let list = folder.join("syncs");
    let sandbox = bench.wharf.sandbox();
    let mut strace = sandbox.command("strace");
    strace
        .args(["-f", "-qq", "-e", CALLS, "-e", "signal=none", "-o"])
        .arg(&list);
    for process in sandbox.processes() {
        strace.args(["-p", &process.pid.to_string()]);
    }
    let mut strace = strace.stdin(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..runs {
        time(wharf(&bench.wharf, &["run", "--rm", IMAGE, PROGRAM]));
    }
    std::thread::sleep(Duration::from_secs(1));
    let while_running = lines(&list);
    // What must survive a power cut is synced: seen, it proves that something was watched.
    must(&bench.wharf, &["volume", "create", "syncs"]);
    std::thread::sleep(Duration::from_millis(500));
    let tracer = sandbox
        .processes()
        .into_iter()
        .find(|process| process.command.starts_with("strace"));
    sandbox.kill(tracer.expect("strace runs").pid, "INT");
    strace.wait().unwrap();
    must(&bench.wharf, &["volume", "rm", "syncs"]);
    assert!(
        lines(&list) > while_running,
        "strace saw no sync of a volume"
    );
    println!("{while_running} fsyncs over {runs} × wharf run --rm IMAGE true");
}

fn lines(list: &Path) -> usize {
    std::fs::read_to_string(list)
        .unwrap_or_default()
        .lines()
        .count()
}

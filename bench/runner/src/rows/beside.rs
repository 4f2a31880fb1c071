//! The same start on a busier host.

use std::fs::File;
use std::io::{Seek, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::measure::{SPACED, Variant, in_turns};
use crate::rows::{Bench, must};
use crate::setup::{IMAGE, PROGRAM, docker, wharf};

const RUN: [&str; 4] = ["run", "--rm", IMAGE, PROGRAM];

/// What the disk writer rewrites.
const REWRITTEN: usize = 400 << 20;

fn title(beside: &str) -> String {
    format!("run --rm IMAGE true, spaced, {beside}")
}

/// Rewrites a file again and again, without sync, until it is killed.
pub(crate) fn rewrite(path: &str) -> ! {
    let block = vec![0x5a; 1 << 20];
    let mut file = File::create(path).unwrap();
    loop {
        file.rewind().unwrap();
        for _ in 0..REWRITTEN / block.len() {
            file.write_all(&block).unwrap();
        }
    }
}

struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Beside a process that rewrites 400 MiB on the disk of the data root.
pub(crate) fn writer(bench: &Bench) {
    let path = bench.wharf.folder().join("rewritten");
    let child = Command::new(std::env::current_exe().unwrap())
        .arg("--rewrite")
        .arg(&path)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let writer = Writer(child);
    std::thread::sleep(Duration::from_secs(3));
    let mut variants = vec![
        Variant::new("floor (no engine)", 5, |runs, pause| {
            bench.bundle.floor(runs, pause)
        }),
        Variant::command("wharf run --rm IMAGE true", 8, || wharf(&bench.wharf, &RUN)),
    ];
    if let Some(engine) = &bench.docker {
        variants.push(Variant::command(
            "docker run --rm IMAGE true",
            1,
            move || docker(engine, &RUN),
        ));
    }
    in_turns(
        &title("beside a disk writer"),
        bench.turns,
        SPACED,
        &mut variants,
    );
    drop(writer);
    std::fs::remove_file(path).unwrap();
}

/// With 1,000 ports published elsewhere, and before and after.
pub(crate) fn ports(bench: &Bench) {
    let only = |name| [Variant::command(name, 8, || wharf(&bench.wharf, &RUN))];
    in_turns(
        &title("empty host"),
        bench.turns,
        SPACED,
        &mut only("wharf run --rm IMAGE true"),
    );
    must(
        &bench.wharf,
        &[
            "run",
            "-d",
            "--name",
            "ports",
            "-p",
            "20000-20999:20000-20999",
            IMAGE,
            PROGRAM,
            "sleep",
        ],
    );
    in_turns(
        &title("1,000 ports published elsewhere"),
        bench.turns,
        SPACED,
        &mut only("wharf run --rm IMAGE true"),
    );
    must(&bench.wharf, &["rm", "-f", "ports"]);
}

/// With 500 mounts in the engine's mount namespace.
pub(crate) fn mounts(bench: &Bench) {
    let folder = bench.wharf.folder().join("mounts");
    let shell = |script: &str| {
        let status = bench
            .wharf
            .sandbox()
            .command("sh")
            .args(["-e", "-c", script, "sh"])
            .arg(&folder)
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    };
    shell("mkdir $1; for i in $(seq 500); do mkdir $1/$i; mount -t tmpfs none $1/$i; done");
    in_turns(
        &title("500 mounts on the host"),
        bench.turns,
        SPACED,
        &mut [Variant::command("wharf run --rm IMAGE true", 8, || {
            wharf(&bench.wharf, &RUN)
        })],
    );
    shell("for i in $(seq 500); do umount $1/$i; rmdir $1/$i; done; rmdir $1");
}

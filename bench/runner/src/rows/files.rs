//! What moves many bytes: `cp`, `logs`, `diff` and `commit`; and `stats` of many containers.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::{Engine, eventually};

use crate::measure::{SPACED, Variant, in_turns, time};
use crate::rows::{Bench, must};
use crate::setup::{IMAGE, PROGRAM, docker, own};

const GIGABYTE: usize = 1_000_000_000;
const FILES: usize = 50_000;
const CHANGED: &str = "10000";
const RUNNING: usize = 100;
/// How long an engine may take to remove what nobody has any more.
const REMOVAL: Duration = Duration::from_secs(300);

/// Takes turns with what `work` does on each engine, and says how long it took.
fn compare(bench: &Bench, title: &str, turns: usize, work: impl Fn(&Engine) -> Duration) {
    let work = &work;
    let mut variants: Vec<_> = bench
        .engines()
        .map(|(name, engine)| Variant::new(name, 1, move |_, _| vec![work(engine)]))
        .collect();
    in_turns(title, turns, SPACED, &mut variants);
}

/// Waits until the disk has nothing left to do of a removal, whoever does it: nobody pays for what another one left behind.
pub(crate) fn settle(engine: &Engine) {
    let tombstones = engine.data_root().join("v1/tombstones");
    eventually("what was removed is gone", REMOVAL, || {
        let entries = fs::read_dir(&tombstones);
        entries
            .map_or(true, |mut entries| entries.next().is_none())
            .then_some(())
    });
    let written = Command::new("sync").status();
    assert!(written.unwrap().success());
}

/// Removes a container, and waits until nothing of it is left.
fn remove(engine: &Engine, container: &str) {
    must(engine, &["rm", container]);
    settle(engine);
}

/// `cp` of 1 GB and of 50,000 files, into a container that is made for it and out of it.
pub(crate) fn copy(bench: &Bench) {
    let folder = bench.wharf.folder();
    let (bytes, files) = (bench.share(GIGABYTE), bench.share(FILES));
    let (big, many) = (big_file(&folder, bytes), many_files(&folder, files));
    let whats = [(format!("{files} files"), &many), (megabytes(bytes), &big)];
    for (what, source) in whats {
        let title = format!("cp of {what} into a container");
        // Removed at the end, when nothing is made any more.
        let filled = RefCell::new(Vec::new());
        compare(bench, &title, bench.few(), |engine| {
            let id = must(engine, &["create", IMAGE, PROGRAM]);
            let took = time(own(engine, &["cp", text(source), &format!("{id}:/copied")]));
            filled.borrow_mut().push((engine.socket(), id));
            took
        });
        let title = format!("cp of {what} out of a container");
        let filled = filled.into_inner();
        let of = |engine: &Engine| {
            let socket = engine.socket();
            filled.iter().filter(move |(of, _)| *of == socket)
        };
        let taken = folder.join("taken");
        fs::create_dir(&taken).unwrap();
        let number = Cell::new(0);
        compare(bench, &title, bench.few(), |engine| {
            let from = format!("{}:/copied", of(engine).next().unwrap().1);
            number.set(number.get() + 1);
            let target = taken.join(number.get().to_string());
            time(own(engine, &["cp", &from, text(&target)]))
        });
        let removed = Command::new("rm").arg("-rf").arg(&taken).status();
        assert!(removed.unwrap().success());
        for (_, engine) in bench.engines() {
            of(engine).for_each(|(_, id)| remove(engine, id));
        }
    }
}

/// `logs` of a container that printed 1 GB.
pub(crate) fn logs(bench: &Bench) {
    let bytes = bench.share(GIGABYTE);
    let said = bytes.to_string();
    for (name, engine) in bench.engines() {
        let args = [
            "run",
            "-d",
            "--name",
            "said",
            "--log-opt",
            "max-size=8g",
            IMAGE,
            PROGRAM,
            "say",
            &said,
        ];
        must(engine, &args);
        let written = time(own(engine, &["wait", "said"]));
        println!("{name} wrote the log in {:.1} s", written.as_secs_f64());
    }
    let title = format!("logs of {}", megabytes(bytes));
    compare(bench, &title, bench.few(), |engine| {
        time(own(engine, &["logs", "said"]))
    });
    for (_, engine) in bench.engines() {
        remove(engine, "said");
    }
}

/// `stats --no-stream` while 100 containers sleep.
pub(crate) fn stats(bench: &Bench) {
    for (_, engine) in bench.engines() {
        for _ in 0..RUNNING {
            must(engine, &["run", "-d", IMAGE, PROGRAM, "sleep"]);
        }
    }
    let mut variants: Vec<_> = bench
        .engines()
        .map(|(name, engine)| {
            Variant::command(name, 2, move || own(engine, &["stats", "--no-stream"]))
        })
        .collect();
    variants.push(Variant::command("docker's client on wharf", 2, || {
        docker(&bench.wharf, &["stats", "--no-stream"])
    }));
    let title = "stats --no-stream of 100 containers";
    in_turns(title, bench.turns, SPACED, &mut variants);
    drop(variants);
    for (_, engine) in bench.engines() {
        let ids = must(engine, &["ps", "-aq"]);
        let mut args = vec!["rm", "-f"];
        args.extend(ids.lines());
        must(engine, &args);
    }
}

/// `diff` and `commit` of a container that made 10,000 files.
pub(crate) fn changes(bench: &Bench) {
    for (_, engine) in bench.engines() {
        must(
            engine,
            &[
                "run", "--name", "changed", IMAGE, PROGRAM, "change", CHANGED,
            ],
        );
    }
    compare(bench, "diff of 10,000 files", 3, |engine| {
        time(own(engine, &["diff", "changed"]))
    });
    compare(bench, "commit of 10,000 files", 3, |engine| {
        let took = time(own(engine, &["commit", "changed", "committed"]));
        must(engine, &["rmi", "committed"]);
        settle(engine);
        took
    });
    for (_, engine) in bench.engines() {
        remove(engine, "changed");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn megabytes(bytes: usize) -> String {
    format!("{} MB", bytes / 1_000_000)
}

/// A file of so many bytes that is no hole.
fn big_file(folder: &Path, bytes: usize) -> PathBuf {
    let path = folder.join("big");
    if !path.exists() {
        fs::write(&path, vec![b'x'; bytes]).unwrap();
    }
    path
}

/// Files of 1 KiB, 100 to a folder.
fn many_files(folder: &Path, files: usize) -> PathBuf {
    let top = folder.join("many");
    for file in 0..if top.exists() { 0 } else { files } {
        let folder = top.join((file / 100).to_string());
        if file % 100 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        fs::write(folder.join(file.to_string()), [b'x'; 1024]).unwrap();
    }
    top
}

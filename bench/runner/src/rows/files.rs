//! What moves many bytes: `cp`, `logs`, `diff` and `commit`; and `stats` of many containers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::Engine;

use crate::measure::{SPACED, Variant, in_turns, time};
use crate::rows::{Bench, must};
use crate::setup::{IMAGE, PROGRAM, own};

const GIGABYTE: usize = 1_000_000_000;
const FILES: usize = 50_000;
const CHANGED: &str = "10000";
const RUNNING: usize = 100;

/// Takes turns with what `work` does on each engine, and says how long it took.
fn compare(bench: &Bench, title: &str, work: impl Fn(&Engine) -> Duration) {
    let work = &work;
    let mut variants: Vec<_> = bench
        .engines()
        .map(|(name, engine)| Variant::new(name, 1, move |_, _| vec![work(engine)]))
        .collect();
    in_turns(title, bench.turns.min(3), SPACED, &mut variants);
}

/// `cp` of 1 GB and of 50,000 files, into a container that is made for it and out of it.
pub(crate) fn copy(bench: &Bench) {
    let folder = bench.wharf.folder();
    let (big, many) = (big_file(&folder), many_files(&folder));
    for (what, source) in [("1 GB", &big), ("50,000 files", &many)] {
        compare(bench, &format!("cp of {what} into a container"), |engine| {
            let id = must(engine, &["create", IMAGE, PROGRAM]);
            let took = time(own(engine, &["cp", text(source), &format!("{id}:/copied")]));
            must(engine, &["rm", &id]);
            took
        });
        let title = format!("cp of {what} out of a container");
        let holders: Vec<_> = bench
            .engines()
            .map(|(_, engine)| {
                let id = must(engine, &["create", IMAGE, PROGRAM]);
                must(engine, &["cp", text(source), &format!("{id}:/copied")]);
                (engine.socket(), id)
            })
            .collect();
        compare(bench, &title, |engine| {
            let of =
                |(socket, id): &(PathBuf, String)| (*socket == engine.socket()).then(|| id.clone());
            let from = format!("{}:/copied", holders.iter().find_map(of).unwrap());
            let target = folder.join("taken");
            let took = time(own(engine, &["cp", &from, text(&target)]));
            let removed = Command::new("rm").arg("-rf").arg(&target).status();
            assert!(removed.unwrap().success());
            took
        });
        for ((_, engine), (_, id)) in bench.engines().zip(&holders) {
            must(engine, &["rm", id]);
        }
    }
}

/// `logs` of a container that printed 1 GB.
pub(crate) fn logs(bench: &Bench) {
    let bytes = GIGABYTE.to_string();
    for (_, engine) in bench.engines() {
        let args = [
            "run",
            "--name",
            "said",
            "--log-opt",
            "max-size=8g",
            IMAGE,
            PROGRAM,
            "say",
            &bytes,
        ];
        time(own(engine, &args));
    }
    compare(bench, "logs of 1 GB", |engine| {
        time(own(engine, &["logs", "said"]))
    });
    for (_, engine) in bench.engines() {
        must(engine, &["rm", "said"]);
    }
}

/// `stats --no-stream` while 100 containers sleep.
pub(crate) fn stats(bench: &Bench) {
    for (_, engine) in bench.engines() {
        for _ in 0..RUNNING {
            must(engine, &["run", "-d", IMAGE, PROGRAM, "sleep"]);
        }
    }
    compare(bench, "stats --no-stream of 100 containers", |engine| {
        time(own(engine, &["stats", "--no-stream"]))
    });
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
    compare(bench, "diff of 10,000 files", |engine| {
        time(own(engine, &["diff", "changed"]))
    });
    compare(bench, "commit of 10,000 files", |engine| {
        let took = time(own(engine, &["commit", "changed", "committed"]));
        must(engine, &["rmi", "committed"]);
        took
    });
    for (_, engine) in bench.engines() {
        must(engine, &["rm", "changed"]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of 1 GB that is no hole.
fn big_file(folder: &Path) -> PathBuf {
    let path = folder.join("big");
    if !path.exists() {
        fs::write(&path, vec![b'x'; GIGABYTE]).unwrap();
    }
    path
}

/// Files of 1 KiB, 100 to a folder.
fn many_files(folder: &Path) -> PathBuf {
    let top = folder.join("many");
    for file in 0..if top.exists() { 0 } else { FILES } {
        let folder = top.join((file / 100).to_string());
        if file % 100 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        fs::write(folder.join(file.to_string()), [b'x'; 1024]).unwrap();
    }
    top
}

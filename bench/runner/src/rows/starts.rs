//! What a person waits for: `run`, `exec`, `version`.

use std::time::Duration;

use crate::measure::{SPACED, Variant, in_turns};
use crate::rows::{Bench, must};
use crate::setup::{IMAGE, PROGRAM, docker, own, wharf};

const RUN: [&str; 4] = ["run", "--rm", IMAGE, PROGRAM];

/// `run --rm IMAGE true` on the default bridge, client start to exit, at both paces.
pub(crate) fn run(bench: &Bench) {
    for (title, pause) in [
        ("run --rm IMAGE true, spaced (25 ms between starts)", SPACED),
        ("run --rm IMAGE true, back to back", Duration::ZERO),
    ] {
        in_turns(title, bench.turns, pause, &mut variants(bench));
    }
}

fn variants(bench: &Bench) -> Vec<Variant<'_>> {
    let mut variants = vec![
        Variant::new("floor (no engine)", 8, |runs, pause| {
            bench.bundle.floor(runs, pause)
        }),
        Variant::command("wharf run --rm IMAGE true", 8, || wharf(&bench.wharf, &RUN)),
        Variant::command("docker run --rm IMAGE true, on Wharf", 4, || {
            docker(&bench.wharf, &RUN)
        }),
    ];
    if let Some(crun) = bench.bundle.crun() {
        drop(crun);
        variants.push(Variant::command("crun run (no engine)", 4, || {
            bench.bundle.crun().unwrap()
        }));
    }
    if let Some(engine) = &bench.docker {
        variants.push(Variant::command(
            "docker run --rm IMAGE true",
            3,
            move || docker(engine, &RUN),
        ));
    }
    variants
}

/// `run --rm` that publishes a port at all of the host's addresses, IPv4 and IPv6, beside one that publishes nothing and one
/// that publishes at an IPv4 address alone.
pub(crate) fn published(bench: &Bench) {
    let ways = [
        ("nothing", None),
        ("0.0.0.0", Some("0.0.0.0::80")),
        ("0.0.0.0 and [::]", Some("80")),
    ];
    let mut variants = Vec::new();
    for (name, engine) in bench.engines() {
        let runs = if name == "wharf" { 8 } else { 3 };
        for (what, port) in ways {
            let mut words = vec!["run", "--rm"];
            words.extend(port.into_iter().flat_map(|port| ["-p", port]));
            words.extend([IMAGE, PROGRAM]);
            let title = format!("{name}, at {what}");
            variants.push((title, runs, engine, words));
        }
    }
    let mut variants: Vec<_> = variants
        .iter()
        .map(|(title, runs, engine, words)| {
            Variant::command(title, *runs, move || own(engine, words))
        })
        .collect();
    let title = "run --rm -p, spaced, of ports published";
    in_turns(title, bench.turns, SPACED, &mut variants);
}

/// A start by the runtime's crate, as the engine's launcher makes it, beside the floor.
pub(crate) fn in_process(bench: &Bench) {
    for (title, pause) in [
        ("in-process start, spaced", SPACED),
        ("in-process start, back to back", Duration::ZERO),
    ] {
        let mut variants = ["wharf-floor", "wharf-bench-start"].map(|program| {
            Variant::new(program, 8, move |runs, pause| {
                bench.bundle.starts(program, runs, pause)
            })
        });
        in_turns(title, bench.turns, pause, &mut variants);
    }
}

/// `exec` of true in a running container.
pub(crate) fn exec(bench: &Bench) {
    let mut variants = Vec::new();
    for (name, engine) in bench.engines() {
        must(
            engine,
            &["run", "-d", "--name", "execs", IMAGE, PROGRAM, "sleep"],
        );
        let title = match name {
            "wharf" => "wharf exec CONTAINER true",
            _ => "docker exec CONTAINER true",
        };
        variants.push(Variant::command(title, 5, move || {
            own(engine, &["exec", "execs", PROGRAM])
        }));
    }
    in_turns("exec of true, spaced", bench.turns, SPACED, &mut variants);
    drop(variants);
    for (_, engine) in bench.engines() {
        must(engine, &["rm", "-f", "execs"]);
    }
}

/// `version`: a question and its answer.
pub(crate) fn version(bench: &Bench) {
    let mut variants: Vec<_> = bench
        .engines()
        .map(|(name, engine)| {
            let title = match name {
                "wharf" => "wharf version",
                _ => "docker version",
            };
            Variant::command(title, 8, move || own(engine, &["version"]))
        })
        .collect();
    in_turns("version, spaced", bench.turns, SPACED, &mut variants);
}

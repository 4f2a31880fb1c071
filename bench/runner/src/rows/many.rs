//! Many starts: side by side, and one after the other.

use std::time::{Duration, Instant};

use testkit::Engine;

use crate::measure::{Figure, time};
use crate::rows::Bench;
use crate::setup::{IMAGE, PROGRAM, own};

const RUN: [&str; 4] = ["run", "--rm", IMAGE, PROGRAM];

/// 200 containers, four at a time.
pub(crate) fn four_at_a_time(bench: &Bench) {
    let mut first = None;
    for (name, engine) in bench.engines() {
        let took = side_by_side(engine, 4, 50);
        let base = *first.get_or_insert(took);
        println!(
            "200 × {name} run --rm IMAGE true, 4 at a time: {:.2} s ({:.2} times)",
            took.as_secs_f64(),
            took.as_secs_f64() / base.as_secs_f64()
        );
    }
}

fn side_by_side(engine: &Engine, threads: usize, each: usize) -> Duration {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            // Clients are made by the thread that runs them; the scope waits for all.
            scope.spawn(|| {
                for _ in 0..each {
                    time(own(engine, &RUN));
                }
            });
        }
    });
    begin.elapsed()
}

/// 1,000 in a row: the whole, and the first tenth beside the last.
pub(crate) fn in_a_row(bench: &Bench) {
    for (name, engine) in bench.engines() {
        let number = if bench.quick { 100 } else { 1000 };
        let times: Vec<Duration> = (0..number).map(|_| time(own(engine, &RUN))).collect();
        let whole: Duration = times.iter().sum();
        let tenth = number / 10;
        let (first, last) = (
            Figure::of(&times[..tenth]),
            Figure::of(&times[number - tenth..]),
        );
        println!(
            "{number} × {name} run --rm IMAGE true in a row: {:.1} s, {:.2} ms each; median of the first tenth {:.2} ms, of the last {:.2} ms (p95 {:.2}, {:.2})",
            whole.as_secs_f64(),
            whole.as_secs_f64() * 1e3 / number as f64,
            first.median,
            last.median,
            first.p95,
            last.p95
        );
    }
}

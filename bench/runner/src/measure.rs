//! Times: taken in turns, summed up as median and 95th percentile.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The pause between two starts that are *spaced*: the pace of people and of CI. A kernel that
/// has just waited for a grace period does not wait again, so that starts back to back look
/// better than they are.
pub(crate) const SPACED: Duration = Duration::from_millis(25);

/// One way to do the work, and its times.
pub(crate) struct Variant<'a> {
    pub(crate) name: &'a str,
    /// How often in one turn.
    runs: usize,
    work: Box<dyn FnMut(usize, Duration) -> Vec<Duration> + 'a>,
    times: Vec<Duration>,
}

impl<'a> Variant<'a> {
    /// Work that takes its own times.
    pub(crate) fn new(
        name: &'a str,
        runs: usize,
        work: impl FnMut(usize, Duration) -> Vec<Duration> + 'a,
    ) -> Self {
        Variant {
            name,
            runs,
            work: Box::new(work),
            times: Vec::new(),
        }
    }

    /// A command, from its start to its exit.
    pub(crate) fn command(
        name: &'a str,
        runs: usize,
        mut make: impl FnMut() -> Command + 'a,
    ) -> Self {
        Self::new(name, runs, move |runs, pause| {
            (0..runs)
                .map(|_| {
                    std::thread::sleep(pause);
                    time(make())
                })
                .collect()
        })
    }
}

/// How long a command takes from start to exit.
///
/// # Panics
/// When it fails: its time would mean nothing.
pub(crate) fn time(mut command: Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    let status = command.status().unwrap();
    let time = begin.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    time
}

/// Median and 95th percentile, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) p95: f64,
}

impl Figure {
    pub(crate) fn of(times: &[Duration]) -> Self {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Figure {
            median: at(0.5),
            p95: at(0.95),
        }
    }
}

/// Runs the variants in turns and prints a line for each: median, p95, and how many times the
/// first one's median it is. The first turn warms up and is not counted.
pub(crate) fn in_turns(title: &str, turns: usize, pause: Duration, variants: &mut [Variant<'_>]) {
    for turn in 0..=turns {
        for variant in &mut *variants {
            let runs = if turn == 0 { 1 } else { variant.runs };
            let times = (variant.work)(runs, pause);
            if turn > 0 {
                variant.times.extend(times);
            }
        }
    }
    println!(
        "\n{title}\n{:48}{:>8}{:>13}{:>13}{:>8}",
        "", "runs", "median", "p95", "ratio"
    );
    let mut first = None;
    for variant in variants {
        let figure = Figure::of(&variant.times);
        let base = *first.get_or_insert(figure.median);
        println!(
            "{:48}{:>8}{:>10.2} ms{:>10.2} ms{:>8.2}",
            variant.name,
            variant.times.len(),
            figure.median,
            figure.p95,
            figure.median / base
        );
    }
}

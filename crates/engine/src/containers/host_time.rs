//! Time of all processors together, as exact as the clock.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Nanoseconds of a tick of /proc/stat, of which there are 100 a second on every Linux.
const TICK: u64 = 10_000_000;
/// Numbers of a line of /proc/stat that together are all time: user, nice, system, idle, iowait, irq, softirq.
const KINDS_OF_TIME: usize = 7;
/// How long the number of processors is taken to be what it was.
const COUNTED: Duration = Duration::from_secs(1);

/// What a container used is a share of this. The kernel tells it in ticks of 10 ms, for each kind of time and processor:
/// too coarse for a tenth of a second, and dear to read where there are many. So it is read once, and goes on by the clock,
/// which no processor's time differs from but by what a virtual machine did not get.
#[derive(Debug, Default)]
pub(crate) struct HostTime(Mutex<Option<Reading>>);

/// One moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    /// Time of all processors until then, in nanoseconds.
    total: u64,
    processors: u32,
    /// When these were counted.
    counted: Instant,
}

impl HostTime {
    /// Time of all processors together in nanoseconds since the host was started, and their number. Zeros where /proc tells
    /// nothing.
    pub(crate) fn read(&self) -> (u64, u32) {
        let mut last = self.0.lock().unwrap_or_else(|poison| poison.into_inner());
        let at = Instant::now();
        let now = match *last {
            None => {
                let (total, processors) = kernel_s();
                Reading {
                    at,
                    total,
                    processors,
                    counted: at,
                }
            }
            Some(before) => {
                let passed = u64::try_from(at.duration_since(before.at).as_nanos());
                let passed = passed.unwrap_or(u64::MAX);
                let used = passed.saturating_mul(before.processors.into());
                let is_old = at.duration_since(before.counted) > COUNTED;
                Reading {
                    at,
                    total: before.total.saturating_add(used),
                    processors: if is_old {
                        kernel_s().1
                    } else {
                        before.processors
                    },
                    counted: if is_old { at } else { before.counted },
                }
            }
        };
        *last = Some(now);
        (now.total, now.processors)
    }
}

/// What the kernel tells of both.
fn kernel_s() -> (u64, u32) {
    parse(&sys::procfs::read_text("/proc/stat").unwrap_or_default())
}

fn parse(stat: &str) -> (u64, u32) {
    let (mut total, mut processors) = (0u64, 0);
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("cpu") => {
                let numbers = words.take(KINDS_OF_TIME);
                total = numbers.filter_map(|word| word.parse::<u64>().ok()).sum();
            }
            Some(word) if word.starts_with("cpu") => processors += 1,
            _ => {}
        }
    }
    (total.saturating_mul(TICK), processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_time_is_that_of_all_processors() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1\ncpu1 0 1 2 3\nintr 5 6\n";
        assert_eq!(parse(stat), (28 * TICK, 2));
        assert_eq!(parse(""), (0, 0));
    }

    #[test]
    fn it_goes_on_by_the_clock() {
        let host = HostTime::default();
        let before = Instant::now();
        let (first, processors) = host.read();
        let between = Instant::now();
        assert!(first > 0 && processors > 0);
        std::thread::sleep(Duration::from_millis(3));
        let least = between.elapsed();
        let (second, _) = host.read();
        let most = before.elapsed();
        let passed = Duration::from_nanos((second - first) / u64::from(processors));
        // Not in steps of ten milliseconds.
        assert!(
            least <= passed && passed <= most,
            "{least:?} {passed:?} {most:?}"
        );
    }
}

//! The health check: a command that is run in the container from time to time, by docker's rules.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock;
use crate::protocol::{
    HEALTH_OUTPUT, HEALTH_RESULTS, Health, HealthResult, HealthState, HealthStatus,
};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// A run of the command.
#[derive(Debug)]
struct Probe {
    run: u32,
    begun: u64,
    since: Instant,
    timed_out: bool,
    output: Vec<u8>,
}

/// What the command said, and when it is run next.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) config: Health,
    state: HealthState,
    failing_streak: u32,
    results: VecDeque<HealthResult>,
    /// When the container was started.
    started: Instant,
    next: Option<Instant>,
    probe: Option<Probe>,
}

/// Nanoseconds, or what counts instead of none.
fn or(nanos: u64, default: Duration) -> Duration {
    if nanos == 0 {
        default
    } else {
        Duration::from_nanos(nanos)
    }
}

impl Monitor {
    /// A check that waits for its container.
    pub(super) fn new(config: Health) -> Self {
        Monitor {
            config,
            state: HealthState::Starting,
            failing_streak: 0,
            results: VecDeque::new(),
            started: Instant::now(),
            next: None,
            probe: None,
        }
    }

    /// The container runs since `started`.
    pub(super) fn begin(&mut self, started: Instant) {
        self.started = started;
        self.state = HealthState::Starting;
        self.failing_streak = 0;
        self.probe = None;
        self.next = Some(Instant::now() + self.interval());
    }

    /// The container has ended.
    pub(super) fn end(&mut self) {
        self.next = None;
        self.probe = None;
    }

    fn start_period(&self) -> Duration {
        Duration::from_nanos(self.config.start_period)
    }

    fn timeout(&self) -> Duration {
        or(self.config.timeout, TIMEOUT)
    }

    fn interval(&self) -> Duration {
        if self.started.elapsed() < self.start_period() && self.state == HealthState::Starting {
            or(self.config.start_interval, START_INTERVAL)
        } else {
            or(self.config.interval, INTERVAL)
        }
    }

    /// When something is due: the next run, or the end of one that takes too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.probe {
            Some(probe) if probe.timed_out => None,
            Some(probe) => Some(probe.since + self.timeout()),
            None => self.next,
        }
    }

    /// Whether a run is due; it counts as begun, with this number.
    pub(super) fn take_turn(&mut self, now: Instant, run: u32) -> bool {
        if self.probe.is_some() || self.next.is_none_or(|next| next > now) {
            return false;
        }
        self.next = None;
        self.probe = Some(Probe {
            run,
            begun: clock::now(),
            since: now,
            timed_out: false,
            output: Vec::new(),
        });
        true
    }

    /// Whether the run takes too long; told once.
    pub(super) fn takes_too_long(&mut self, now: Instant) -> bool {
        let timeout = self.timeout();
        match &mut self.probe {
            Some(probe) if !probe.timed_out && probe.since + timeout <= now => {
                probe.timed_out = true;
                true
            }
            _ => false,
        }
    }

    /// Whether this run is the one that counts.
    pub(super) fn is_running(&self, run: u32) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.run == run)
    }

    /// Whether this run is to be ended: it took too long before it got anywhere, or nobody wants to know.
    pub(super) fn is_unwanted(&self, run: u32) -> bool {
        self.probe
            .as_ref()
            .is_none_or(|probe| probe.run != run || probe.timed_out)
    }

    /// No more runs until further notice, or again.
    pub(super) fn suspend(&mut self, suspended: bool) {
        self.next = (!suspended).then(|| Instant::now() + self.interval());
        if suspended {
            self.probe = None;
        }
    }

    /// What the command writes; only the beginning is kept.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        if let Some(probe) = &mut self.probe {
            let room = HEALTH_OUTPUT - probe.output.len();
            probe
                .output
                .extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
    }

    /// A run ended with this exit status. The new verdict, if it is a new one.
    pub(super) fn ended(&mut self, run: u32, code: u8) -> Option<(HealthState, u32)> {
        let probe = self.probe.take_if(|probe| probe.run == run)?;
        let (mut exit_code, mut output) = (i32::from(code), probe.output);
        if probe.timed_out {
            exit_code = -1;
            let mut text = format!(
                "Health check exceeded timeout ({})",
                go_duration(self.timeout())
            );
            if !output.is_empty() {
                text.push_str(": ");
            }
            output.splice(0..0, text.into_bytes());
            output.truncate(HEALTH_OUTPUT);
        }
        self.judge(
            HealthResult {
                start: probe.begun,
                end: clock::now(),
                exit_code,
                output,
            },
            probe.since,
        )
    }

    /// The run could not be started.
    pub(super) fn failed(&mut self, reason: &str) -> Option<(HealthState, u32)> {
        let probe = self.probe.take()?;
        let mut output = reason.as_bytes().to_vec();
        output.truncate(HEALTH_OUTPUT);
        self.judge(
            HealthResult {
                start: probe.begun,
                end: clock::now(),
                exit_code: -1,
                output,
            },
            probe.since,
        )
    }

    fn judge(&mut self, result: HealthResult, since: Instant) -> Option<(HealthState, u32)> {
        let before = self.state;
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.state = HealthState::Healthy;
        } else if self.state != HealthState::Starting || since - self.started >= self.start_period()
        {
            let retries = if self.config.retries == 0 {
                RETRIES
            } else {
                self.config.retries
            };
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= retries {
                self.state = HealthState::Unhealthy;
            }
        }
        if self.results.len() == HEALTH_RESULTS {
            self.results.pop_front();
        }
        self.results.push_back(result);
        self.next = Some(Instant::now() + self.interval());
        (self.state != before).then_some((self.state, self.failing_streak))
    }

    pub(super) fn status(&self) -> HealthStatus {
        HealthStatus {
            state: self.state,
            failing_streak: self.failing_streak,
            results: self.results.iter().cloned().collect(),
        }
    }
}

/// A duration as Go writes it: `1h0m0s`, `1m30s`, `1.5s`, `20ms`, `5µs`, `7ns`.
fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, digits) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 0),
        1_000..1_000_000 => ("µs", 3),
        1_000_000..1_000_000_000 => ("ms", 6),
        _ => ("s", 9),
    };
    let scale = 10u128.pow(digits);
    let (mut whole, fraction) = (nanos / scale, nanos % scale);
    let mut text = String::new();
    if unit == "s" {
        let minutes = whole / 60;
        whole %= 60;
        if minutes >= 60 {
            text.push_str(&format!("{}h", minutes / 60));
        }
        if minutes > 0 {
            text.push_str(&format!("{}m", minutes % 60));
        }
    }
    text.push_str(&whole.to_string());
    if fraction > 0 {
        let fraction = format!("{fraction:0width$}", width = digits as usize);
        text.push('.');
        text.push_str(fraction.trim_end_matches('0'));
    }
    text + unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(start_period: Duration, retries: u32) -> Monitor {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
        let mut monitor = Monitor::new(Health {
            interval: nanos(Duration::from_secs(10)),
            timeout: nanos(Duration::from_secs(2)),
            start_period: nanos(start_period),
            start_interval: nanos(Duration::from_secs(1)),
            retries,
            ..Health::default()
        });
        monitor.begin(Instant::now());
        monitor
    }

    /// Runs the command at its time.
    fn run(monitor: &mut Monitor, code: u8) -> Option<(HealthState, u32)> {
        let turn = monitor.deadline().unwrap();
        assert!(
            !monitor.take_turn(turn - Duration::from_millis(1), 1) && monitor.take_turn(turn, 2)
        );
        assert!(!monitor.take_turn(turn, 3), "one run at a time");
        monitor.output(b"said");
        assert_eq!(monitor.ended(1, 0), None, "another run");
        monitor.ended(2, code)
    }

    #[test]
    fn a_verdict_is_told_when_it_changes() {
        let mut monitor = monitor(Duration::ZERO, 2);
        let told: Vec<_> = [1, 1, 1, 0, 0, 7]
            .into_iter()
            .map(|code| run(&mut monitor, code))
            .collect();
        let unhealthy = Some((HealthState::Unhealthy, 2));
        assert_eq!(
            told,
            [
                None,
                unhealthy,
                None,
                Some((HealthState::Healthy, 0)),
                None,
                None
            ]
        );
        let status = monitor.status();
        assert_eq!(
            (status.state, status.failing_streak),
            (HealthState::Healthy, 1)
        );
        assert_eq!(status.results.len(), HEALTH_RESULTS);
        assert_eq!(
            (
                status.results[4].exit_code,
                status.results[4].output.as_slice()
            ),
            (7, &b"said"[..])
        );
    }

    #[test]
    fn failures_at_the_start_do_not_count() {
        let mut monitor = monitor(Duration::from_secs(3600), 1);
        let next = monitor.deadline().unwrap() - Instant::now();
        assert!(
            next <= Duration::from_secs(1),
            "the start has an interval of its own"
        );
        assert_eq!(run(&mut monitor, 1), None);
        assert_eq!(monitor.status().state, HealthState::Starting);
        assert_eq!(run(&mut monitor, 0), Some((HealthState::Healthy, 0)));
        assert_eq!(run(&mut monitor, 1), Some((HealthState::Unhealthy, 1)));
    }

    #[test]
    fn a_run_that_takes_too_long_fails() {
        let mut monitor = monitor(Duration::ZERO, 1);
        let turn = monitor.deadline().unwrap();
        assert!(monitor.take_turn(turn, 5));
        let end = monitor.deadline().unwrap();
        assert_eq!(end, turn + Duration::from_secs(2));
        assert!(!monitor.takes_too_long(turn) && monitor.takes_too_long(end));
        assert!(!monitor.takes_too_long(end) && monitor.deadline().is_none());
        monitor.output(&vec![b'x'; 2 * HEALTH_OUTPUT]);
        assert_eq!(monitor.ended(5, 137), Some((HealthState::Unhealthy, 1)));
        let result = monitor.status().results.pop().unwrap();
        assert_eq!((result.exit_code, result.output.len()), (-1, HEALTH_OUTPUT));
        assert!(
            result
                .output
                .starts_with(b"Health check exceeded timeout (2s): xxx")
        );
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (5_000, "5µs"),
            (20_500_000, "20.5ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (5_430_000_000_000, "1h30m30s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }
}

//! When a container is started again.

use std::time::Duration;

use crate::protocol::{RestartKind, RestartPolicy};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(60);
/// A run of this length counts as a success, whatever its exit status.
const LONG_RUN: Duration = Duration::from_secs(10);

/// Docker's rules: delays that double from 100 ms to a minute, and begin anew after a run of 10 s.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    pub(super) policy: RestartPolicy,
    /// How many starts followed an exit.
    count: u32,
    /// How many did under shims before this one.
    before: u32,
    delay: Option<Duration>,
}

impl Restarts {
    pub(super) fn new(policy: RestartPolicy, before: u32) -> Self {
        Restarts {
            policy,
            before,
            ..Restarts::default()
        }
    }

    /// Those of this shim.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The delay after which an exit is followed by a start; `None` if it is not. `wanted`: somebody asked for
    /// the exit.
    pub(super) fn after_exit(&mut self, code: u8, ran: Duration, wanted: bool) -> Option<Duration> {
        if ran >= LONG_RUN {
            self.delay = None;
        }
        let due = !wanted
            && match self.policy.kind {
                RestartKind::No => false,
                RestartKind::Always | RestartKind::UnlessStopped => true,
                RestartKind::OnFailure => {
                    let all = self.before.saturating_add(self.count);
                    code != 0 && (self.policy.max_retries == 0 || all < self.policy.max_retries)
                }
            };
        if !due {
            return None;
        }
        let delay = self
            .delay
            .map_or(FIRST_DELAY, |last| (last * 2).min(LAST_DELAY));
        self.delay = Some(delay);
        self.count = self.count.saturating_add(1);
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    fn restarts(kind: RestartKind, max_retries: u32) -> Restarts {
        Restarts::new(RestartPolicy { kind, max_retries }, 0)
    }

    #[test]
    fn delays_double_up_to_a_minute_and_begin_anew() {
        let mut restarts = restarts(RestartKind::Always, 0);
        let delays: Vec<u128> = (0..12)
            .map(|_| restarts.after_exit(0, SHORT, false).unwrap().as_millis())
            .collect();
        assert_eq!(
            delays,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000
            ]
        );
        assert_eq!(restarts.after_exit(1, LONG_RUN, false), Some(FIRST_DELAY));
        assert_eq!(restarts.count(), 13);
    }

    #[test]
    fn each_policy() {
        assert_eq!(
            restarts(RestartKind::No, 0).after_exit(1, SHORT, false),
            None
        );
        assert!(
            restarts(RestartKind::UnlessStopped, 0)
                .after_exit(0, SHORT, false)
                .is_some()
        );
        assert_eq!(
            restarts(RestartKind::OnFailure, 0).after_exit(0, SHORT, false),
            None
        );
        let mut twice = restarts(RestartKind::OnFailure, 2);
        let tries: Vec<bool> = (0..4)
            .map(|_| twice.after_exit(3, SHORT, false).is_some())
            .collect();
        assert_eq!(tries, [true, true, false, false]);
        let mut once_more = Restarts::new(twice.policy, 1);
        let tries = [(); 2].map(|()| once_more.after_exit(3, SHORT, false).is_some());
        assert_eq!(tries, [true, false], "another shim made the first");
        assert_eq!(once_more.count(), 1);
        for kind in [
            RestartKind::Always,
            RestartKind::UnlessStopped,
            RestartKind::OnFailure,
        ] {
            assert_eq!(restarts(kind, 0).after_exit(137, SHORT, true), None);
        }
    }
}

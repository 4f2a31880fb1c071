//! All execs: those that run or may still be started, and for a while those that ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use types::ContainerId;

use super::Exec;

/// Execs of one container that have not ended.
const LIVE: usize = 4096;
/// How long the end of an exec can be asked for; Docker forgets between five and ten minutes.
const MEMORY: Duration = Duration::from_secs(300);
/// Ended execs that are kept even within that time.
const ENDED: usize = 2048;

/// Those of one container.
#[derive(Debug, Default)]
struct OfContainer {
    ids: HashSet<String>,
    live: usize,
}

/// The execs of one engine.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    by_id: HashMap<String, Arc<Exec>>,
    by_container: HashMap<ContainerId, OfContainer>,
    /// In the order of their ends. Some may be gone with their containers.
    ended: VecDeque<(Instant, String)>,
}

impl Execs {
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Exec>> {
        self.by_id.get(id)
    }

    /// Adds one that has not ended.
    pub(crate) fn insert(&mut self, id: String, exec: Arc<Exec>) {
        let of = self.by_container.entry(exec.container.clone()).or_default();
        if of.ids.insert(id.clone()) {
            of.live += 1;
        }
        self.by_id.insert(id, exec);
    }

    /// Whether a container may have one more.
    pub(super) fn has_room(&self, container: &ContainerId) -> bool {
        self.by_container
            .get(container)
            .is_none_or(|of| of.live < LIVE)
    }

    /// Of a container, those that have not ended.
    pub(super) fn live_of(&self, container: &ContainerId) -> Vec<Arc<Exec>> {
        let ids = self.by_container.get(container).map(|of| &of.ids);
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.by_id.get(id))
            .filter(|exec| exec.progress().exit_code.is_none())
            .cloned()
            .collect()
    }

    /// Notes that one ended; told once for each.
    pub(super) fn ended(&mut self, exec: &Exec, now: Instant) {
        if !self.by_id.contains_key(exec.id.as_str()) {
            return;
        }
        if let Some(of) = self.by_container.get_mut(&exec.container) {
            of.live = of.live.saturating_sub(1);
        }
        self.ended.push_back((now, exec.id.to_string()));
        self.forget_old(now);
    }

    /// Forgets those that ended long ago, and the oldest of too many.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        while let Some((at, _)) = self.ended.front()
            && (self.ended.len() > ENDED || now.saturating_duration_since(*at) > MEMORY)
        {
            let Some((_, id)) = self.ended.pop_front() else {
                return;
            };
            let Some(exec) = self.by_id.remove(&id) else {
                continue;
            };
            if let Some(of) = self.by_container.get_mut(&exec.container) {
                of.ids.remove(&id);
                if of.ids.is_empty() {
                    self.by_container.remove(&exec.container);
                }
            }
        }
        if self.ended.is_empty() {
            self.ended = VecDeque::new();
        }
    }

    /// Forgets one that has not ended.
    pub(super) fn forget(&mut self, exec: &Exec) {
        if self.by_id.remove(exec.id.as_str()).is_none() {
            return;
        }
        if let Some(of) = self.by_container.get_mut(&exec.container) {
            of.ids.remove(exec.id.as_str());
            of.live = of.live.saturating_sub(1);
            if of.ids.is_empty() {
                self.by_container.remove(&exec.container);
            }
        }
    }

    /// Forgets all of a container.
    pub(super) fn forget_of(&mut self, container: &ContainerId) {
        if let Some(of) = self.by_container.remove(container) {
            for id in of.ids {
                self.by_id.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Progress;
    use super::*;

    fn exec(container: &ContainerId) -> Arc<Exec> {
        Arc::new(Exec {
            id: ContainerId::random().unwrap(),
            container: container.clone(),
            request: Default::default(),
            progress: Default::default(),
            ahead: Default::default(),
        })
    }

    fn end(execs: &mut Execs, exec: &Exec, now: Instant) {
        exec.set(|progress| {
            *progress = Progress {
                exit_code: Some(0),
                ..*progress
            }
        });
        execs.ended(exec, now);
    }

    #[test]
    fn ended_execs_are_kept_a_while_and_not_without_end() {
        let mut execs = Execs::default();
        let container = ContainerId::random().unwrap();
        let begin = Instant::now();
        let lives = exec(&container);
        execs.insert(lives.id.to_string(), Arc::clone(&lives));
        let mut last = Arc::clone(&lives);
        for _ in 0..5000 {
            assert!(execs.has_room(&container));
            last = exec(&container);
            execs.insert(last.id.to_string(), Arc::clone(&last));
            end(&mut execs, &last, begin);
        }
        assert!(execs.get(last.id.as_str()).is_some(), "the newest is known");
        assert_eq!(execs.by_id.len(), ENDED + 1);
        assert_eq!(execs.live_of(&container).len(), 1);

        execs.forget_old(begin + MEMORY);
        assert_eq!(execs.by_id.len(), ENDED + 1);
        execs.forget_old(begin + MEMORY + Duration::from_secs(1));
        assert_eq!(execs.by_id.len(), 1, "what lives is not forgotten");
        assert_eq!(execs.live_of(&container).len(), 1);

        end(&mut execs, &lives, begin);
        execs.forget_old(begin + MEMORY * 2);
        assert!(execs.by_id.is_empty() && execs.by_container.is_empty());
    }

    #[test]
    fn a_container_takes_its_execs_with_it_and_has_so_many_at_a_time() {
        let mut execs = Execs::default();
        let [one, other] = [0, 1].map(|_| ContainerId::random().unwrap());
        for _ in 0..LIVE {
            let exec = exec(&one);
            execs.insert(exec.id.to_string(), exec);
        }
        assert!(!execs.has_room(&one) && execs.has_room(&other));
        let ended = exec(&one);
        execs.insert(ended.id.to_string(), Arc::clone(&ended));
        end(&mut execs, &ended, Instant::now());
        let stays = exec(&other);
        execs.insert(stays.id.to_string(), Arc::clone(&stays));
        let never = exec(&other);
        execs.insert(never.id.to_string(), Arc::clone(&never));
        execs.forget(&never);
        execs.forget(&never);
        assert_eq!(execs.live_of(&other).len(), 1);
        execs.forget_of(&one);
        assert_eq!(execs.by_id.len(), 1);
        assert!(execs.has_room(&one));
        end(&mut execs, &ended, Instant::now());
        assert_eq!(execs.live_of(&other).len(), 1);
    }
}

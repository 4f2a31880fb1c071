//! All execs: those that run or may still be started, and for a while those that ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use types::ContainerId;

use super::Exec;
use super::ahead::FRESH;

/// Execs of one container that have not ended.
const LIVE: usize = 4096;
/// How long the end of an exec can be asked for; Docker forgets between five and ten minutes.
pub(super) const MEMORY: Duration = Duration::from_secs(300);
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
    /// Whose plan was made ahead, in that order. Most are started, or gone, by now.
    planned: VecDeque<(Instant, Weak<Exec>)>,
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

    /// Adds one of which somebody else told, unless it is known.
    pub(super) fn learn(&mut self, exec: &Arc<Exec>) -> bool {
        let fresh = !self.by_id.contains_key(exec.id.as_str());
        if fresh {
            self.insert(exec.id.to_string(), Arc::clone(exec));
        }
        fresh
    }

    /// Whether a container may have one more. If it has too many, the oldest that nobody has started goes.
    pub(super) fn make_room(&mut self, container: &ContainerId) -> bool {
        let full = |of: &OfContainer| of.live >= LIVE;
        if !self.by_container.get(container).is_some_and(full) {
            return true;
        }
        let mut unstarted = self.live_of(container);
        unstarted.retain(|exec| !exec.progress().started);
        match unstarted.iter().min_by_key(|exec| exec.described) {
            Some(oldest) => {
                self.forget(oldest);
                true
            }
            None => false,
        }
    }

    /// Notes that a plan was made ahead, and drops those that nobody asked for while they were fresh.
    pub(super) fn planned(&mut self, exec: &Arc<Exec>, now: Instant) {
        self.drop_old_plans(now);
        self.planned.push_back((now, Arc::downgrade(exec)));
    }

    fn drop_old_plans(&mut self, now: Instant) {
        while let Some((at, _)) = self.planned.front()
            && now.saturating_duration_since(*at) >= FRESH
        {
            if let Some((_, exec)) = self.planned.pop_front()
                && let Some(exec) = exec.upgrade()
            {
                exec.forget_plan();
            }
        }
        if self.planned.is_empty() {
            self.planned = VecDeque::new();
        }
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

    /// Forgets those that ended long ago, and the oldest of too many, and plans that were not asked for.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        self.drop_old_plans(now);
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
        let id = ContainerId::random().unwrap();
        Arc::new(Exec::new(id, container.clone(), Default::default()))
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
            assert!(execs.make_room(&container));
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
            exec.set(|progress| progress.started = true);
            execs.insert(exec.id.to_string(), exec);
        }
        assert!(!execs.make_room(&one) && execs.make_room(&other));
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
        assert!(execs.make_room(&one));
        end(&mut execs, &ended, Instant::now());
        assert_eq!(execs.live_of(&other).len(), 1);
    }

    #[test]
    fn who_never_starts_its_execs_gets_further_ones_in_place_of_the_oldest() {
        let mut execs = Execs::default();
        let container = ContainerId::random().unwrap();
        let all: Vec<_> = (0..=LIVE).map(|_| exec(&container)).collect();
        all[0].set(|progress| progress.started = true);
        for exec in &all {
            assert!(execs.make_room(&container));
            execs.insert(exec.id.to_string(), Arc::clone(exec));
        }
        assert_eq!(execs.by_id.len(), LIVE);
        assert!(execs.get(all[0].id.as_str()).is_some(), "it runs");
        assert!(execs.get(all[1].id.as_str()).is_none(), "the oldest");
        assert!(execs.get(all[2].id.as_str()).is_some());
    }

    #[tokio::test]
    async fn a_plan_that_nobody_asks_for_is_dropped() {
        let mut execs = Execs::default();
        let container = ContainerId::random().unwrap();
        let begin = Instant::now();
        let [first, second] = [0, 1].map(|_| exec(&container));
        for exec in [&first, &second] {
            execs.insert(exec.id.to_string(), Arc::clone(exec));
            exec.plan_for_tests();
        }
        execs.planned(&first, begin);
        execs.planned(&second, begin + FRESH / 2);
        execs.forget_old(begin + FRESH);
        assert!(!first.has_plan() && second.has_plan());
        execs.planned(&first, begin + FRESH * 2);
        assert!(!second.has_plan());
        assert_eq!(execs.planned.len(), 1);
    }
}

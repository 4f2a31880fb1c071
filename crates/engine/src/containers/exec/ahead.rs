//! The plan of an exec, made while its client still reads the answer to the request that described it. The container's
//! files may be slow, so another thread reads them, and to wait for that one costs more than what it does.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Exec;
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::places::Place;

/// After this time the container's users are looked up anew.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// Rows and columns.
type Size = Option<(u16, u16)>;

/// A plan that is made, or was.
#[derive(Debug)]
pub(super) struct Ahead {
    begun: Instant,
    console_size: Size,
    plan: JoinHandle<Result<Vec<u8>>>,
}

impl Exec {
    fn ahead(&self) -> MutexGuard<'_, Option<Ahead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops a plan that was made ahead: nobody asked for it in time.
    pub(super) fn forget_plan(&self) {
        self.ahead().take();
    }

    #[cfg(test)]
    pub(super) fn has_plan(&self) -> bool {
        self.ahead().is_some()
    }

    #[cfg(test)]
    pub(super) fn plan_for_tests(&self) {
        *self.ahead() = Some(Ahead {
            begun: Instant::now(),
            console_size: None,
            plan: tokio::task::spawn_blocking(|| Ok(Vec::new())),
        });
    }
}

impl Engine {
    /// Begins to make the plan of an exec that was described.
    pub(super) fn plan_ahead(&self, container: &Arc<Container>, exec: &Arc<Exec>) {
        // Where too many hang it is made when it is asked for.
        let Some(place) = self.inner().places.execs.try_take() else {
            return;
        };
        let ahead = self.begin_plan(container, exec, exec.console_size(), place);
        let now = ahead.begun;
        *exec.ahead() = Some(ahead);
        self.execs().planned(exec, now);
    }

    /// The plan of an exec that starts: the one that was made ahead, or another one.
    pub(super) async fn plan_now(
        &self,
        container: &Arc<Container>,
        exec: &Arc<Exec>,
        console_size: Size,
    ) -> Result<Vec<u8>> {
        let ahead = exec
            .ahead()
            .take()
            .filter(|ahead| ahead.console_size == console_size && ahead.begun.elapsed() < FRESH);
        let ahead = match ahead {
            Some(ahead) => ahead,
            None => {
                let place = self.inner().places.execs.take().await;
                self.begin_plan(container, exec, console_size, place)
            }
        };
        ahead.plan.await.map_err(|_| EngineError::Panicked {
            operation: "exec start",
        })?
    }

    fn begin_plan(
        &self,
        container: &Arc<Container>,
        exec: &Arc<Exec>,
        size: Size,
        place: Place,
    ) -> Ahead {
        let (engine, container, exec) = (self.clone(), Arc::clone(container), Arc::clone(exec));
        Ahead {
            begun: Instant::now(),
            console_size: size,
            plan: tokio::task::spawn_blocking(move || {
                let _place = place;
                engine.exec_plan(&container, &exec, size)
            }),
        }
    }
}

//! How many descriptors may be open for what goes on through doors: of one container's, and of all.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What may be taken, and from where it is taken as well.
#[derive(Debug)]
pub(crate) struct Budget {
    own: Arc<Semaphore>,
    all: Option<Arc<Semaphore>>,
    size: usize,
}

/// What was taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    _own: OwnedSemaphorePermit,
    _all: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(size: usize) -> Self {
        // No semaphore is larger.
        let size = size.min(Semaphore::MAX_PERMITS);
        Budget {
            own: Arc::new(Semaphore::new(size)),
            all: None,
            size,
        }
    }

    /// A container's: nobody takes everything.
    pub(super) fn half(&self) -> Self {
        let size = self.size.div_ceil(2);
        Budget {
            own: Arc::new(Semaphore::new(size)),
            all: Some(Arc::clone(&self.own)),
            size,
        }
    }

    /// Takes, once there is as much.
    pub(super) async fn take(&self, amount: u32) -> Option<Share> {
        let own = Arc::clone(&self.own)
            .acquire_many_owned(amount)
            .await
            .ok()?;
        let all = match &self.all {
            Some(all) => Some(Arc::clone(all).acquire_many_owned(amount).await.ok()?),
            None => None,
        };
        Some(Share {
            _own: own,
            _all: all,
        })
    }

    /// Takes, if there is as much.
    pub(super) fn try_take(&self, amount: u32) -> Option<Share> {
        let own = Arc::clone(&self.own).try_acquire_many_owned(amount).ok()?;
        let all = match &self.all {
            Some(all) => Some(Arc::clone(all).try_acquire_many_owned(amount).ok()?),
            None => None,
        };
        Some(Share {
            _own: own,
            _all: all,
        })
    }
}

//! One task a running container: it hears the container's shim out, over as many connections as that takes, without a
//! gap, and finds out when the shim is dead.
//!
//! A connection may break or be refused for many reasons: a daemon that fell behind, words of another release, too many
//! open files, a queue that is full. None of them says anything about the shim. Dead is a shim on whose socket nobody
//! listens and whose journal nobody keeps (see [`shim::journal`]); everything else is tried again.
//!
//! The journal has everything before a connection, and the connection everything after the shim took it. So the journal
//! is read once more when the shim has answered the first word, and whenever an event's number leaves one out.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use shim::protocol::{Event, EventKind, Request, RestartKind, RestartOutlook};
use shim::{ShimConn, journal};

use super::launch::restart_policy;
use super::link::{Answering, Link};
use super::monitor::Exit;
use super::record::{Run, Status};
use super::registry::Container;
use crate::clock;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::paths::open_folder;

/// First and longest pause before something is written down again that could not be, and before a shim is looked for
/// again that could not be reached.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The pause after a connection that held: a shim that ends is dead by then.
const SHORT: Duration = Duration::from_millis(10);
/// The delay of a restart because the shim is dead, in milliseconds.
const DELAY: u64 = 100;

/// What a look for a shim finds.
enum Found {
    /// It listens. Whether it lives, or is about to end, the connection will tell.
    Connected(ShimConn),
    /// It is dead.
    Dead,
    /// It may live.
    Unreachable(EngineError),
}

/// What is to be written down.
enum Step {
    Event(Event),
    /// What the journal has and nobody told.
    Replay,
    /// The shim is dead: what its journal says, else an end by force.
    Dead,
}

/// The task.
struct Follower {
    engine: Engine,
    container: Arc<Container>,
    /// The present connection, or the last one.
    link: Arc<Link>,
    connected: bool,
    /// The first word of the present connection, until it is answered.
    greeting: Option<Answering>,
    /// The number of the last event that is written down.
    heard: u64,
    pause: Duration,
    /// The host was restarted since the shim was made.
    rebooted: bool,
    /// The shim may have execs that only the former daemon knew.
    survey: bool,
}

impl Engine {
    /// Follows a shim from its first word on, until its container ended for good or the engine closes.
    pub(crate) fn watch(&self, container: Arc<Container>, link: Arc<Link>) {
        let follower = Follower {
            engine: self.clone(),
            container,
            link,
            connected: true,
            greeting: None,
            heard: 0,
            pause: SHORT,
            rebooted: false,
            survey: false,
        };
        follower.spawn(None);
    }

    /// Finds the shim of a container that was up when the last daemon ended, hears what happened meanwhile, and follows
    /// it. Ready when everything is known that can be known at once.
    pub(crate) async fn follow_again(&self, container: &Arc<Container>, rebooted: bool) {
        let link = Link::absent();
        container.set_link(Some(Arc::clone(&link)));
        let mut follower = Follower {
            engine: self.clone(),
            container: Arc::clone(container),
            link,
            connected: false,
            greeting: None,
            heard: container.run().cursor,
            pause: PAUSES.0,
            rebooted,
            survey: true,
        };
        let step = if rebooted {
            Some(Step::Dead)
        } else {
            follower.reach().await
        };
        let step = step.unwrap_or(Step::Replay);
        if !rebooted {
            self.learn_execs(container).await;
        }
        match follower.write_down(&step).await {
            Ok(true) => {}
            Ok(false) => follower.spawn(None),
            Err(error) => {
                tracing::error!(%error, container = container.id().short(), "what happened to a container is not written down yet");
                follower.spawn(Some(step));
            }
        }
    }

    /// Looks for a container's shim. Blocks, but never for long.
    fn find_shim(&self, container: &Container) -> Found {
        let path = self.paths().shim(container.id());
        let gone = |error: &EngineError| matches!(error, EngineError::Io { source, .. } if source.kind() == ErrorKind::NotFound);
        // Without its folder nobody will ever reach it: a shim that lives all the same ends with its container.
        let folder = match open_folder(&path) {
            Ok(folder) => folder,
            Err(error) if gone(&error) => return Found::Dead,
            Err(error) => return Found::Unreachable(error),
        };
        let refused = match ShimConn::connect(folder.as_fd(), "sock") {
            Ok(connection) => return Found::Connected(connection),
            Err(error) => error,
        };
        if !refused.nobody_listens() {
            return Found::Unreachable(refused.into());
        }
        let kept = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path.join("journal"))
            .and_then(|journal| journal::is_kept(&journal));
        match kept {
            Ok(false) => Found::Dead,
            Ok(true) => Found::Unreachable(refused.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Found::Dead,
            Err(error) => {
                Found::Unreachable(EngineError::io("look for a supervisor's journal")(error))
            }
        }
    }

    /// Records of a container's journal after this one. None where there is no journal.
    pub(crate) async fn journal_of(&self, container: &Container, heard: u64) -> Result<Vec<Event>> {
        let path = self.paths().shim(container.id()).join("journal");
        self.blocking("journal", move |_| {
            let read = std::fs::File::open(&path).and_then(|file| journal::read(&file));
            match read {
                Ok(contents) => Ok(contents
                    .events
                    .into_iter()
                    .filter(|event| event.sequence > heard)
                    .collect()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(EngineError::io(format!("read {}", path.display()))(error)),
            }
        })
        .await
    }

    /// The process that the last shim of a container was, by its journal; 0 where that does not say.
    async fn supervisor_of(&self, container: &Container) -> u32 {
        let events = self.journal_of(container, 0).await.unwrap_or_default();
        let told = events.iter().rev().find_map(|event| match event.kind {
            EventKind::Started { supervisor, .. } => Some(supervisor),
            _ => None,
        });
        told.unwrap_or(0)
    }

    /// The end of a container whose shim is dead, after everything that its journal says.
    async fn shim_died(
        &self,
        container: &Arc<Container>,
        link: &Arc<Link>,
        rebooted: bool,
    ) -> Result<()> {
        let run = container.run();
        if !run.status.is_up() {
            return Ok(());
        }
        let id = container.id().to_string();
        self.blocking("kill", move |engine| engine.remove_group(&id))
            .await?;
        let (code, sentence) = if rebooted {
            (255, "the host was restarted")
        } else {
            (
                137,
                "the container's supervisor was killed, and the container with it",
            )
        };
        self.execs_died(container, code).await?;
        // After a restart of the host, those that are due are started once the engine is open.
        let again = !rebooted && !run.stopped_by_user && is_due(container, &run);
        if !rebooted {
            let done = match again {
                true => "it is started again by its restart policy",
                false => "it is recorded as exited",
            };
            let pid = self.supervisor_of(container).await;
            tracing::warn!(
                container = container.id().short(),
                pid,
                code,
                "the shim of a container died without a word: it was killed, or crashed; the container ended with it, and {done}"
            );
        }
        let restart = if again {
            RestartOutlook::ByDaemon { delay: DELAY }
        } else {
            RestartOutlook::None
        };
        let mut exit = Exit {
            code,
            oom: false,
            time: clock::now(),
            error: sentence.to_owned(),
            restart,
            sequence: 0,
        };
        if run.status != Status::Restarting {
            self.exited(container, exit, Some(link)).await?;
        } else if again {
            // It had ended already, and that was told.
            let mut told = Vec::new();
            self.disconnect(container, &mut told).await;
            told.into_iter().for_each(|event| self.tell_later(event));
            self.restart_later(container, Some(link), Duration::from_millis(DELAY));
        } else {
            (exit.code, exit.oom, exit.time) = (run.exit_code, run.oom_killed, run.finished_at);
            self.settled(container, exit, Some(link), Vec::new())
                .await?;
        }
        Ok(())
    }
}

/// Whether the policy wants a start after the end of a run by force. What the shim announced it has counted.
fn is_due(container: &Container, run: &Run) -> bool {
    let policy = restart_policy(run.host(&container.spec));
    match policy.kind {
        RestartKind::No => false,
        RestartKind::Always | RestartKind::UnlessStopped => true,
        RestartKind::OnFailure => {
            policy.max_retries == 0
                || run.restarts < policy.max_retries
                || run.status == Status::Restarting
        }
    }
}

impl Follower {
    /// Goes on in the background, first with what could not be written down.
    fn spawn(mut self, owed: Option<Step>) {
        // One task a running container; it ends as its maker says, and nobody waits for it.
        tokio::spawn(async move {
            let closing = self.engine.closing();
            tokio::pin!(closing);
            let mut step = owed;
            loop {
                if let Some(step) = &step
                    && self.write_down_at_last(step, &mut closing).await
                {
                    return;
                }
                step = tokio::select! {
                    step = self.next() => step,
                    () = &mut closing => return,
                };
                if step.is_none() {
                    return;
                }
            }
        });
    }

    /// Waits for what is to be written down; `None` when this connection is nobody's any more.
    async fn next(&mut self) -> Option<Step> {
        loop {
            if self.connected {
                match self.listen().await {
                    Some(step) => return Some(step),
                    None => self.connected = false,
                }
            }
            if !self.container.is_linked_to(&self.link) {
                return None;
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSES.1);
            if let Some(step) = self.reach().await {
                return Some(step);
            }
        }
    }

    /// What comes over the present connection; `None` when it has ended.
    async fn listen(&mut self) -> Option<Step> {
        let greeting = &mut self.greeting;
        let answered = async {
            match greeting.as_mut() {
                Some(greeting) => greeting.await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answered = answered => {
                self.greeting = None;
                self.pause = SHORT;
                answered.then_some(Step::Replay)
            }
            event = self.link.next_event() => event.map(Step::Event),
        }
    }

    /// Tries once to make a connection; a step when the shim is dead, or the container has become somebody else's.
    async fn reach(&mut self) -> Option<Step> {
        let container = Arc::clone(&self.container);
        let found = self
            .engine
            .blocking("reach", move |engine| Ok(engine.find_shim(&container)))
            .await;
        let error = match found {
            Ok(Found::Dead) => return Some(Step::Dead),
            Ok(Found::Connected(connection)) => match self.adopt(connection) {
                Ok(()) => return None,
                Err(error) => error,
            },
            Ok(Found::Unreachable(error)) | Err(error) => error,
        };
        tracing::warn!(%error, container = self.container.id().short(), "a container's supervisor can not be reached; it is tried again");
        None
    }

    /// Goes on with another connection, unless somebody took the container's away meanwhile.
    fn adopt(&mut self, connection: ShimConn) -> Result<()> {
        let link = Link::new(connection)?;
        let greeting = link.greet(self.heard)?;
        if self.container.relink(&self.link, &link) {
            self.link = link;
            self.greeting = Some(greeting);
            self.connected = true;
            self.tell_policy();
            self.release_ports();
            if std::mem::take(&mut self.survey) {
                self.survey_execs();
            }
        }
        Ok(())
    }

    /// Tells the shim a restart policy that came after its start. Whoever changed it may have done so while there was no
    /// connection, or have been a daemon that was killed before it said so.
    fn tell_policy(&self) {
        loop {
            let run = self.container.run();
            if run.changed_host.is_none() {
                return;
            }
            let policy = restart_policy(run.host(&self.container.spec));
            self.link.tell(&Request::UpdatePolicy(policy));
            // One that came meanwhile was told before this one, which must not be the last word.
            if restart_policy(self.container.run().host(&self.container.spec)) == policy {
                return;
            }
        }
    }

    /// Has the shim let go of ports that it was given by a daemon which died before it wrote down that they are published.
    fn release_ports(&self) {
        let run = self.container.run();
        let host = &self.container.spec.host;
        let bindings = host.port_bindings.as_ref();
        let may_have = host.publish_all_ports || bindings.is_some_and(|all| !all.is_empty());
        if may_have && run.published.is_empty() && run.parked.is_empty() {
            self.link.tell(&Request::Hold);
        }
    }

    /// The answer comes through this task, which therefore can not wait for it.
    fn survey_execs(&self) {
        let engine = self.engine.clone();
        let (container, link) = (Arc::clone(&self.container), Arc::clone(&self.link));
        // Ends with the answer, or the connection.
        tokio::spawn(async move { engine.learn_running_execs(&container, &link).await });
    }

    /// [`Follower::write_down`] until it is written: while the disk is full only the journal has it. True when nothing
    /// more is to be heard.
    async fn write_down_at_last(
        &mut self,
        step: &Step,
        closing: &mut (impl Future<Output = ()> + Unpin),
    ) -> bool {
        let mut pause = PAUSES.0;
        loop {
            match self.write_down(step).await {
                Ok(ended) => return ended,
                Err(_) if self.container.progress.borrow().removed => return true,
                Err(error) => {
                    tracing::error!(%error, container = self.container.id().short(), "what a supervisor told could not be written down; it is tried again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut *closing => return true,
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Writes one step down; true when nothing more is to be heard.
    async fn write_down(&mut self, step: &Step) -> Result<bool> {
        match step {
            Step::Event(event) => {
                let gap = event.sequence > self.heard + 1;
                Ok(gap && self.replay().await? || self.hear(event.clone()).await?)
            }
            Step::Replay => self.replay().await,
            Step::Dead => {
                if self.container.is_linked_to(&self.link) && !self.replay().await? {
                    self.engine
                        .shim_died(&self.container, &self.link, self.rebooted)
                        .await?;
                }
                Ok(true)
            }
        }
    }

    /// Hears what the journal has after the last event.
    async fn replay(&mut self) -> Result<bool> {
        for event in self.engine.journal_of(&self.container, self.heard).await? {
            if self.hear(event).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn hear(&mut self, event: Event) -> Result<bool> {
        let sequence = event.sequence;
        if sequence != 0 && sequence <= self.heard {
            return Ok(false);
        }
        let ended = self.engine.hear(&self.container, &self.link, event).await?;
        self.heard = self.heard.max(sequence);
        Ok(ended)
    }
}

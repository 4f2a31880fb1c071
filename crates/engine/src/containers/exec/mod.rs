//! Further processes in containers that run: what is known of them.

mod ahead;
mod book;
mod start;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api_types::{ExecCreate, ExecInspect, ExecProcess};
use serde::{Deserialize, Serialize};
use shim::ShimError;
use shim::protocol::{EventKind, Refusal, Reply, Request};
use tokio::sync::watch;
use types::ContainerId;

use super::link::Link;
use super::registry::Container;
use super::underway::START;
use crate::clock;
use crate::compile::plan;
use crate::engine::Engine;
use crate::events;
use crate::outcome::{EngineError, Result};
use crate::store::rows;

use ahead::Ahead;
pub(crate) use book::Execs;

/// How long the start of an exec is waited for by who sets the size of its terminal, as with Docker.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// The status of an exec that ended with its container.
const KILLED: i64 = 137;

/// Where an exec stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Somebody started it: it can not be started again.
    pub(crate) started: bool,
    pub(crate) running: bool,
    pub(crate) pid: u32,
    pub(crate) exit_code: Option<i64>,
}

/// What the store keeps of an exec that runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecDoc {
    version: u32,
    container: String,
    request: ExecCreate,
    progress: Progress,
}

/// One exec.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) id: ContainerId,
    pub(crate) container: ContainerId,
    request: ExecCreate,
    /// When this daemon heard of it first.
    described: Instant,
    progress: watch::Sender<Progress>,
    /// What its start needs, if that comes at once.
    ahead: Mutex<Option<Ahead>>,
}

impl Exec {
    pub(crate) fn new(id: ContainerId, container: ContainerId, request: ExecCreate) -> Exec {
        Exec {
            id,
            container,
            request,
            described: Instant::now(),
            progress: watch::Sender::default(),
            ahead: Mutex::default(),
        }
    }

    /// One of which only its shim knew: the daemon that was asked for it ended before it could write that down. What was
    /// asked for is not known.
    fn of_shim(id: ContainerId, container: ContainerId, progress: Progress) -> Exec {
        Exec {
            progress: watch::Sender::new(progress),
            ..Exec::new(id, container, ExecCreate::default())
        }
    }

    /// Rows and columns that were asked for when it was described.
    fn console_size(&self) -> Option<(u16, u16)> {
        self.request.console_size.and_then(plan::console_size)
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    fn set(&self, edit: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(edit);
    }

    /// Ready when it is known how it ended.
    async fn ended(&self) {
        // Fails only without a sender, which is this exec's.
        let _ = self
            .progress
            .subscribe()
            .wait_for(|progress| progress.exit_code.is_some())
            .await;
    }

    /// Reads a row of an exec that ran when the former daemon ended.
    pub(crate) fn read(id: &str, doc: &str) -> Result<Exec> {
        let bad = || EngineError::invalid(format!("exec {id} has a malformed id"));
        let doc: ExecDoc = rows::from_json(&format!("exec {id}"), doc)?;
        let (exec, container) = (id.parse(), doc.container.parse());
        let exec = Exec::new(
            exec.map_err(|_| bad())?,
            container.map_err(|_| bad())?,
            doc.request,
        );
        exec.progress.send_replace(doc.progress);
        Ok(exec)
    }

    fn doc(&self) -> Result<String> {
        let doc = ExecDoc {
            version: 1,
            container: self.container.to_string(),
            request: self.request.clone(),
            progress: self.progress(),
        };
        rows::to_json("an exec", &doc)
    }

    fn command(&self) -> String {
        match self.request.cmd.as_deref().and_then(<[_]>::split_first) {
            // A blank follows the program even if nothing follows that: so docker's events say it.
            Some((program, arguments)) => format!("{program} {}", arguments.join(" ")),
            None => String::new(),
        }
    }
}

impl Engine {
    fn execs(&self) -> MutexGuard<'_, Execs> {
        self.inner()
            .execs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn find_exec(&self, id: &str) -> Result<Arc<Exec>> {
        self.execs()
            .get(id)
            .cloned()
            .ok_or_else(|| EngineError::NoSuchExec { id: id.to_owned() })
    }

    /// Execs of a container that have not ended, for `inspect`.
    pub(crate) fn execs_of(&self, container: &ContainerId) -> Vec<Arc<Exec>> {
        self.execs().live_of(container)
    }

    /// Their container ended: so did they, by the kernel's hand.
    pub(crate) fn end_execs(&self, container: &Container) {
        let live = self.execs().live_of(container.id());
        for exec in live {
            if exec.progress().started {
                self.exec_ended(&exec, KILLED);
            } else {
                self.execs().forget(&exec);
            }
        }
    }

    /// Their container is gone: nothing is known of them any more.
    pub(crate) fn forget_execs(&self, container: &Container) {
        self.execs().forget_of(container.id());
    }

    /// Forgets execs that ended long ago.
    pub(crate) fn forget_old_execs(&self) {
        self.execs().forget_old(Instant::now());
    }

    /// Notes how an exec ended; only the first word counts.
    fn exec_ended(&self, exec: &Exec, code: i64) {
        let mut first = false;
        exec.set(|progress| {
            first = progress.exit_code.is_none();
            if first {
                *progress = Progress {
                    started: true,
                    running: false,
                    exit_code: Some(code),
                    ..*progress
                };
            }
        });
        if first {
            self.execs().ended(exec, Instant::now());
        }
    }

    /// The shim's word that an exec ended.
    pub(crate) async fn exec_exited(
        &self,
        container: &Arc<Container>,
        id: &str,
        code: i64,
        sequence: u64,
        time: i64,
    ) -> Result<()> {
        let mut attributes: BTreeMap<String, String> = container.event_attributes();
        attributes.insert("execID".to_owned(), id.to_owned());
        attributes.insert("exitCode".to_owned(), code.to_string());
        let told = events::at(
            time,
            "container",
            "exec_die",
            container.id().as_str(),
            attributes,
        );
        match self.find_exec(id) {
            Ok(exec) => self.exec_ended(&exec, code),
            Err(_) => self.learn_exec_end(container, id, code),
        }
        let row = id.to_owned();
        self.change(
            container,
            vec![told],
            |run| run.cursor = sequence.max(run.cursor),
            move |connection| rows::execs::delete(connection, &row),
        )
        .await
    }

    /// Takes a shim's word for the end of an exec that is not known here.
    fn learn_exec_end(&self, container: &Container, id: &str, code: i64) {
        let Ok(id) = id.parse::<ContainerId>() else {
            return;
        };
        let ended = Progress {
            started: true,
            exit_code: Some(code),
            ..Progress::default()
        };
        let exec = Arc::new(Exec::of_shim(id, container.id().clone(), ended));
        let mut execs = self.execs();
        if execs.learn(&exec) {
            execs.ended(&exec, Instant::now());
        }
    }

    /// Learns of the execs of a container that the former daemon left: those that ended lately, of which its journal still
    /// tells, and, in the background, those that run. The former daemon may have ended before it wrote them down, or after
    /// it heard of an end for which somebody is about to ask.
    pub(crate) async fn learn_execs(&self, container: &Arc<Container>) {
        let journal = self.journal_of(container, 0).await.unwrap_or_default();
        let since = clock::now() - book::MEMORY.as_nanos() as i64;
        for event in journal {
            if let EventKind::ExecExited { id, code } = event.kind
                && i64::try_from(event.time).is_ok_and(|time| time > since)
                && event.sequence <= container.run().cursor
            {
                self.learn_exec_end(container, id.as_str(), i64::from(code));
            }
        }
    }

    /// Asks a shim which execs run. Those that end before their names arrive are told of as ended.
    pub(crate) async fn learn_running_execs(&self, container: &Container, link: &Link) {
        let Ok(Reply::Status(status)) = link.ask(&Request::Status, &[]).await else {
            return;
        };
        for running in status.execs {
            let progress = Progress {
                started: true,
                running: true,
                pid: running.pid,
                exit_code: None,
            };
            let exec = Exec::of_shim(running.id, container.id().clone(), progress);
            self.execs().learn(&Arc::new(exec));
        }
    }

    /// What an exec is and how it ended.
    pub async fn exec_inspect(&self, exec: &str) -> Result<ExecInspect> {
        let exec = self.find_exec(exec)?;
        if exec.progress().running {
            self.hear_out(&exec).await;
        }
        let progress = exec.progress();
        let words = exec.request.cmd.as_deref().unwrap_or_default();
        let user = exec.request.user.clone();
        Ok(ExecInspect {
            id: exec.id.to_string(),
            running: progress.running,
            exit_code: progress.exit_code,
            process_config: ExecProcess {
                tty: exec.request.tty,
                entrypoint: words.first().cloned().unwrap_or_default(),
                arguments: Some(words.iter().skip(1).cloned().collect()),
                privileged: Some(exec.request.privileged),
                user,
            },
            open_stdin: exec.request.attach_stdin,
            open_stderr: exec.request.attach_stderr,
            open_stdout: exec.request.attach_stdout,
            can_remove: false,
            container_id: exec.container.to_string(),
            detach_keys: exec.request.detach_keys.clone(),
            pid: i64::from(progress.pid),
        })
    }

    /// A client asks for the status as soon as its stream ended: once the shim has answered anything, all that it told
    /// before has been heard. When it can not be reached, it is being found out whether it lives. One that does not
    /// answer at once keeps nobody waiting.
    async fn hear_out(&self, exec: &Exec) {
        let Ok(container) = self.registry().find(exec.container.as_str()) else {
            return;
        };
        let heard = async {
            let answered = match container.live_link() {
                Ok(link) => link.ask(&Request::Status, &[]).await.is_ok(),
                Err(_) => false,
            };
            if !answered {
                exec.ended().await;
            }
        };
        // How long it took, and whether it was enough, is seen at the exec.
        let _ = tokio::time::timeout(super::inspect::SHIM_PATIENCE, heard).await;
    }

    /// The shim of these execs was killed, and they with it.
    pub(crate) async fn execs_died(&self, container: &Arc<Container>, code: i64) -> Result<()> {
        for exec in self.execs_of(container.id()) {
            if exec.progress().running {
                let (id, sequence) = (exec.id.as_str(), container.run().cursor);
                self.exec_exited(container, id, code, sequence, clock::now())
                    .await?;
            }
        }
        Ok(())
    }

    /// Sets the size of an exec's terminal. One that is not started yet is waited for: clients that start one and set the
    /// size beside it do not know which comes first.
    ///
    /// # Errors
    /// [`EngineError::ExecNotReady`] when it is not started in time, [`EngineError::ExecGone`] when it has ended.
    pub async fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> Result<()> {
        let exec = self.find_exec(exec)?;
        let link = self.registry().find(exec.container.as_str())?.live_link()?;
        let mut progress = exec.progress.subscribe();
        let begun = progress.wait_for(|progress| progress.pid != 0 || progress.exit_code.is_some());
        let begun = tokio::time::timeout(START_PATIENCE, begun).await;
        let begun = begun.map(|begun| begun.map(|progress| *progress).unwrap_or_default());
        let gone = || EngineError::ExecGone {
            id: exec.id.to_string(),
        };
        match begun {
            Err(_) => return Err(EngineError::ExecNotReady),
            Ok(Progress { pid: 0, .. }) => {
                return Err(EngineError::invalid("exec process is not started"));
            }
            Ok(progress) if progress.exit_code.is_some() => return Err(gone()),
            Ok(_) => {}
        }
        let request = Request::Resize {
            exec: Some(exec.id.clone()),
            rows,
            columns,
        };
        match link.ask(&request, &[]).await {
            Err(EngineError::Shim {
                source:
                    ShimError::Refused {
                        refusal: Refusal::NoSuchExec,
                    },
            }) => Err(gone()),
            answered => answered.map(drop),
        }
    }

    /// Sets the size of a container's terminal.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let container = self.registry().find(id)?;
        container.settled_within(START).await;
        let request = Request::Resize {
            exec: None,
            rows,
            columns,
        };
        match container.live_link()?.ask(&request, &[]).await {
            // To Docker the size of what is no terminal is a number as any other.
            Err(EngineError::Shim {
                source:
                    ShimError::Refused {
                        refusal: Refusal::Without { .. },
                    },
            }) => {}
            answered => drop(answered?),
        }
        self.tell_later(container.event(
            "resize",
            &[("height", rows.to_string()), ("width", columns.to_string())],
        ));
        Ok(())
    }
}

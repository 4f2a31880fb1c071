//! Further processes in containers that run.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use api_types::{ExecCreate, ExecInspect, ExecProcess, HostConfig, texts};
use runtime::plan::{CgroupEntry, ExecPlan};
use serde::{Deserialize, Serialize};
use shim::protocol::{Refusal, Reply, Request, Slot};
use sys::beneath::Root;
use types::ContainerId;

use super::attach::{Client, write_patiently};
use super::launch::start_failed;
use super::record::Status;
use super::registry::Container;
use crate::compile::{keys, plan};
use crate::engine::Engine;
use crate::events;
use crate::neighbour::Neighbour;
use crate::options::{AttachOptions, AttachTicket, ExecStart, ExecStartOptions};
use crate::outcome::{EngineError, Result};
use crate::store::rows;

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
    progress: Mutex<Progress>,
}

impl Exec {
    pub(crate) fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, edit: impl FnOnce(&mut Progress)) {
        edit(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads a row of an exec that ran when the former daemon ended.
    pub(crate) fn read(id: &str, doc: &str) -> Result<Exec> {
        let bad = || EngineError::invalid(format!("exec {id} has a malformed id"));
        let doc: ExecDoc = rows::from_json(&format!("exec {id}"), doc)?;
        Ok(Exec {
            id: id.parse().map_err(|_| bad())?,
            container: doc.container.parse().map_err(|_| bad())?,
            request: doc.request,
            progress: Mutex::new(doc.progress),
        })
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
        self.request.cmd.as_deref().unwrap_or_default().join(" ")
    }
}

/// The status of an exec that could not be started for another reason than its program: Docker's default.
const NOT_STARTED: i64 = 126;

/// Execs that one container may have at a time, ended ones included.
const LIMIT: usize = 4096;

impl Engine {
    fn find_exec(&self, id: &str) -> Result<Arc<Exec>> {
        let execs = self
            .inner()
            .execs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        execs
            .get(id)
            .cloned()
            .ok_or_else(|| EngineError::NoSuchExec { id: id.to_owned() })
    }

    /// Execs of a container, for `inspect`.
    pub(crate) fn execs_of(&self, container: &ContainerId) -> Vec<Arc<Exec>> {
        let execs = self
            .inner()
            .execs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        execs
            .values()
            .filter(|exec| exec.container == *container)
            .cloned()
            .collect()
    }

    /// Their container ended: so did they.
    pub(crate) fn forget_execs(&self, container: &Container) {
        let mut execs = self
            .inner()
            .execs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        execs.retain(|_, exec| exec.container != *container.id());
    }

    /// Describes a further process; it runs once it is started. The answer is its id.
    pub async fn exec_create(&self, id: &str, request: ExecCreate) -> Result<String> {
        let container = self.registry().find(id)?;
        match container.run().status {
            Status::Running => {}
            Status::Paused => {
                return Err(EngineError::conflict(texts::is_paused(
                    container.id().as_str(),
                )));
            }
            Status::Restarting => {
                return Err(EngineError::conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    container.id()
                )));
            }
            _ => {
                return Err(EngineError::NotRunning {
                    id: container.id().to_string(),
                });
            }
        }
        if request
            .cmd
            .as_deref()
            .is_none_or(|words| words.is_empty() || words[0].is_empty())
        {
            return Err(EngineError::invalid("no exec command specified"));
        }
        keys::parse(&request.detach_keys)?;
        if self.execs_of(container.id()).len() >= LIMIT {
            return Err(EngineError::conflict(format!(
                "container {} has {LIMIT} execs already",
                container.id()
            )));
        }
        let id = ContainerId::random().map_err(EngineError::io("draw an id"))?;
        let exec = Arc::new(Exec {
            id: id.clone(),
            container: container.id().clone(),
            request,
            progress: Mutex::default(),
        });
        self.tell_later(container.event(
            format!("exec_create: {}", exec.command()),
            &[("execID", id.to_string())],
        ));
        self.inner()
            .execs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_string(), exec);
        Ok(id.to_string())
    }

    /// Starts an exec, at once when detached, else when the client's socket is delivered.
    pub async fn exec_start(&self, exec: &str, options: ExecStartOptions) -> Result<ExecStart> {
        let exec = self.find_exec(exec)?;
        let container = self.registry().find(exec.container.as_str())?;
        if container.run().status == Status::Paused {
            return Err(EngineError::conflict(texts::is_paused(
                container.id().as_str(),
            )));
        }
        container.live_link()?;
        let mut fresh = false;
        exec.set(|progress| fresh = !std::mem::replace(&mut progress.started, true));
        if !fresh {
            return Err(EngineError::conflict(format!(
                "exec command {} has already run",
                exec.id
            )));
        }
        let engine = self.clone();
        if options.detach {
            return self
                .to_the_end("exec start", async move {
                    engine.run_exec(&container, &exec, &options, None).await
                })
                .await
                .map(|()| ExecStart::Detached);
        }
        // The stream's form is what this request says, whatever the exec itself has.
        let tty = options.tty;
        Ok(ExecStart::Attach(AttachTicket::new(
            tty,
            move |socket, leftover| async move {
                let runner = engine.clone();
                engine
                    .to_the_end("exec start", async move {
                        runner
                            .run_attached(&container, &exec, &options, socket, leftover)
                            .await
                    })
                    .await
            },
        )))
    }

    async fn run_attached(
        &self,
        container: &Arc<Container>,
        exec: &Arc<Exec>,
        options: &ExecStartOptions,
        socket: OwnedFd,
        leftover: Vec<u8>,
    ) -> Result<()> {
        let attach = AttachOptions {
            stdin: exec.request.attach_stdin,
            stdout: exec.request.attach_stdout,
            // A raw stream has no place for it.
            stderr: exec.request.attach_stderr && !options.tty,
            stream: true,
            detach_keys: Some(exec.request.detach_keys.clone()),
            ..Default::default()
        };
        let copy = socket
            .try_clone()
            .map_err(EngineError::io("copy a client's connection"))?;
        let client = Client {
            socket,
            leftover,
            options: attach,
        };
        let outcome = self.run_exec(container, exec, options, Some(client)).await;
        if let Err(error) = &outcome {
            // The answer was given already: the client reads the reason in its stream.
            let sentence = format!("{error}\r\n");
            let bytes = if options.tty {
                sentence.into_bytes()
            } else {
                super::attach::framed(crate::options::StreamKind::Stdout, sentence.as_bytes())
            };
            let _ = tokio::task::spawn_blocking(move || write_patiently(copy, &bytes)).await;
        }
        outcome
    }

    async fn run_exec(
        &self,
        container: &Arc<Container>,
        exec: &Arc<Exec>,
        options: &ExecStartOptions,
        client: Option<Client>,
    ) -> Result<()> {
        let link = container.live_link()?;
        let (planned, target) = (Arc::clone(exec), Arc::clone(container));
        let console = options
            .console_size
            .or_else(|| exec.request.console_size.and_then(plan::console_size));
        let encoded = self
            .blocking("exec start", move |engine| {
                engine.exec_plan(&target, &planned, console)
            })
            .await
            .map_err(|error| exec_failure(exec, error))?;
        let attachments = match &client {
            Some(client) => vec![client.attachment(Slot(0), options.tty)?],
            None => Vec::new(),
        };
        let request = Request::Exec(Box::new(shim::protocol::Exec {
            id: exec.id.clone(),
            plan: encoded,
            tty: exec.request.tty,
            open_stdin: exec.request.attach_stdin && client.is_some(),
            detach_keys: keys::parse(&exec.request.detach_keys)?,
            attachments,
        }));
        exec.set(|progress| progress.running = true);
        let descriptors: Vec<_> = client.iter().map(|client| client.socket.as_fd()).collect();
        match link.ask(&request, &descriptors).await {
            Ok(Reply::ExecStarted { pid }) => {
                exec.set(|progress| progress.pid = pid);
                let (id, owner, doc) =
                    (exec.id.to_string(), container.id().to_string(), exec.doc()?);
                let told = container.event(
                    format!("exec_start: {}", exec.command()),
                    &[("execID", id.clone())],
                );
                if exec.progress().running {
                    self.commit(
                        crate::store::Durability::Kill,
                        vec![told],
                        move |connection| rows::execs::put(connection, &id, &owner, &doc),
                    )
                    .await?;
                } else {
                    self.tell_later(told);
                }
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(exec_failure(exec, error)),
        }
    }

    /// The plan of a further process: the container's user, rights and environment, changed as asked.
    fn exec_plan(
        &self,
        container: &Container,
        exec: &Exec,
        console_size: Option<(u16, u16)>,
    ) -> Result<Vec<u8>> {
        let request = &exec.request;
        let mut config = container.spec.config.clone();
        let mut host: HostConfig = container.spec.host.clone();
        if !request.user.is_empty() {
            config.user.clone_from(&request.user);
            host.group_add = None;
        }
        if !request.working_dir.is_empty() {
            config.working_dir.clone_from(&request.working_dir);
        }
        config
            .env
            .get_or_insert_default()
            .extend(request.env.iter().flatten().cloned());
        config.tty = request.tty;
        host.privileged |= request.privileged;
        host.ulimits = container.spec.host.ulimits.clone();
        let gone = || EngineError::NotRunning {
            id: container.id().to_string(),
        };
        let neighbour = Neighbour::of(&container.run()).ok_or_else(gone)?;
        let root = neighbour.root().map_err(|_| gone())?;
        let identity = plan::identify(
            &Root::new(root.as_fd()),
            &config.user,
            host.group_add.as_deref().unwrap_or_default(),
        )?;
        let mut process = plan::process(&config, &host, &identity, &self.inner().filters)?;
        process.args = request
            .cmd
            .as_deref()
            .unwrap_or_default()
            .iter()
            .cloned()
            .map(String::into_bytes)
            .collect();
        process.create_cwd = false;
        let plan = ExecPlan {
            process,
            terminal: request.tty,
            console_size,
            cgroup: CgroupEntry::default(),
            user_namespace: false,
        };
        Ok(plan.encode())
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
        if let Ok(exec) = self.find_exec(id) {
            exec.set(|progress| {
                *progress = Progress {
                    started: true,
                    running: false,
                    exit_code: Some(code),
                    ..*progress
                }
            });
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
    /// before has been heard. A shim that does not answer at once keeps nobody waiting.
    async fn hear_out(&self, exec: &Exec) {
        let Ok(container) = self.registry().find(exec.container.as_str()) else {
            return;
        };
        let Ok(link) = container.live_link() else {
            return;
        };
        // The answer itself does not matter.
        let _ = tokio::time::timeout(
            super::inspect::SHIM_PATIENCE,
            link.ask(&Request::Status, &[]),
        )
        .await;
    }

    /// Sets the size of an exec's terminal.
    pub async fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> Result<()> {
        let exec = self.find_exec(exec)?;
        if !exec.progress().running {
            return Err(EngineError::conflict(format!(
                "exec {} is not running",
                exec.id
            )));
        }
        let link = self.registry().find(exec.container.as_str())?.live_link()?;
        link.ask(
            &Request::Resize {
                exec: Some(exec.id.clone()),
                rows,
                columns,
            },
            &[],
        )
        .await
        .map(drop)
    }

    /// Sets the size of a container's terminal.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let container = self.registry().find(id)?;
        let link = container.live_link()?;
        link.ask(
            &Request::Resize {
                exec: None,
                rows,
                columns,
            },
            &[],
        )
        .await?;
        self.tell_later(container.event(
            "resize",
            &[("height", rows.to_string()), ("width", columns.to_string())],
        ));
        Ok(())
    }
}

/// Docker's words around an exec that did not start, and its status as the exec's.
fn exec_failure(exec: &Exec, error: EngineError) -> EngineError {
    let error = match error {
        EngineError::Shim {
            source:
                shim::ShimError::Refused {
                    refusal:
                        Refusal::Fault {
                            text,
                            exit_code,
                            errno,
                            ..
                        },
                },
        } => start_failed(
            "OCI runtime exec failed: exec failed",
            &text,
            exit_code,
            errno,
        ),
        other => other,
    };
    let code = match &error {
        EngineError::StartFailed { exit_code, .. } => *exit_code,
        _ => NOT_STARTED,
    };
    exec.set(|progress| {
        *progress = Progress {
            started: true,
            running: false,
            pid: 0,
            exit_code: Some(code),
        }
    });
    error
}

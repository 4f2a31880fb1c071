//! Making and starting further processes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use api_types::{ExecCreate, HostConfig, texts};
use runtime::plan::{CgroupEntry, ExecPlan};
use shim::ShimError;
use shim::protocol::{Event, EventKind, Refusal, Reply, Request, Slot};
use sys::beneath::Root;
use tokio::time::timeout;
use types::ContainerId;

use super::Exec;
use crate::compile::{keys, plan};
use crate::containers::attach::{self, Client, ClientWriter};
use crate::containers::launch::{start_failed, with_environment};
use crate::containers::record::Status;
use crate::containers::registry::Container;
use crate::containers::underway::START;
use crate::engine::Engine;
use crate::neighbour::Neighbour;
use crate::options::{AttachOptions, AttachTicket, ExecStart, ExecStartOptions};
use crate::outcome::{EngineError, Result};
use crate::store::rows;

/// The status of an exec that could not be started for another reason than its program: Docker's default.
const NOT_STARTED: i64 = 126;

/// How long an exec that may have begun waits for the next connection to its shim.
const RECONNECT: Duration = Duration::from_secs(30);

impl Engine {
    /// Describes a further process; it runs once it is started. The answer is its id.
    pub async fn exec_create(&self, id: &str, request: ExecCreate) -> Result<String> {
        let container = self.registry().find(id)?;
        container.settled_within(START).await;
        if container.must_run()? == Status::Paused {
            return Err(EngineError::conflict(texts::is_paused(id)));
        }
        if request.cmd.as_deref().is_none_or(|words| words.is_empty()) {
            return Err(EngineError::invalid("No exec command specified"));
        }
        keys::parse(&request.detach_keys, "escape")?;
        if !request.user.is_empty() {
            let (target, user) = (Arc::clone(&container), request.user.clone());
            self.blocking_of(&self.inner().places.execs, "exec create", move |_| {
                let root = root_of(&target)?;
                plan::identify(&Root::new(root.as_fd()), &user, &[]).map(drop)
            })
            .await?;
        }
        let id = ContainerId::random().map_err(EngineError::io("draw an id"))?;
        let exec = Arc::new(Exec::new(id.clone(), container.id().clone(), request));
        let told = container.event(
            format!("exec_create: {}", exec.command()),
            &[("execID", id.to_string())],
        );
        {
            let mut execs = self.execs();
            if !execs.make_room(container.id()) {
                return Err(EngineError::conflict(format!(
                    "container {} has too many execs that have not ended",
                    container.id()
                )));
            }
            execs.insert(id.to_string(), Arc::clone(&exec));
        }
        self.plan_ahead(&container, &exec);
        self.tell_later(told);
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
            let has = match exec.progress().exit_code {
                Some(_) => "has already run",
                None => "is already running",
            };
            let error = EngineError::conflict(format!("Error: Exec command {} {has}", exec.id));
            return match options.detach {
                true => Err(error),
                false => Ok(refused_in_stream(error, options.tty)),
            };
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
            tell_in_stream(copy, error.to_string(), options.tty).await;
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
        let request = self
            .exec_request(container, exec, options, client.as_ref())
            .await
            .map_err(|error| self.exec_failed(exec, error))?;
        exec.set(|progress| progress.running = true);
        let descriptors: Vec<_> = client.iter().map(|client| client.socket.as_fd()).collect();
        let pid = self
            .ask_exec(container, exec, &request, &descriptors)
            .await
            .map_err(|error| self.exec_failed(exec, error))?;
        exec.set(|progress| progress.pid = pid.unwrap_or(progress.pid));
        let told = container.event(
            format!("exec_start: {}", exec.command()),
            &[("execID", exec.id.to_string())],
        );
        if !exec.progress().running {
            self.tell_later(told);
        } else if let Err(error) = self.write_exec(container, exec, told).await {
            // It runs, and its client has its output: its supervisor and the journal there know of it.
            tracing::error!(%error, container = container.id().short(), exec = exec.id.short(), "a process that runs is not written down");
        }
        Ok(())
    }

    /// What the shim is asked for.
    async fn exec_request(
        &self,
        container: &Arc<Container>,
        exec: &Arc<Exec>,
        options: &ExecStartOptions,
        client: Option<&Client>,
    ) -> Result<Request> {
        let console = options.console_size.or_else(|| exec.console_size());
        let plan = self.plan_now(container, exec, console).await?;
        let attachments = client
            .map(|client| client.attachment(Slot(0), options.tty))
            .transpose()?
            .into_iter()
            .collect();
        Ok(Request::Exec(Box::new(shim::protocol::Exec {
            id: exec.id.clone(),
            plan,
            tty: exec.request.tty,
            open_stdin: exec.request.attach_stdin && client.is_some(),
            detach_keys: keys::parse(&exec.request.detach_keys, "escape")?,
            attachments,
        })))
    }

    /// Writes down that an exec runs.
    async fn write_exec(
        &self,
        container: &Container,
        exec: &Arc<Exec>,
        told: api_types::Event,
    ) -> Result<()> {
        let (id, owner, doc) = (exec.id.to_string(), container.id().to_string(), exec.doc()?);
        let started = Arc::clone(exec);
        self.commit(
            crate::store::Durability::Kill,
            vec![told],
            // Its end, which removes the row, may have been heard meanwhile.
            move |connection| match started.progress().running {
                true => rows::execs::put(connection, &id, &owner, &doc),
                false => Ok(()),
            },
        )
        .await
    }

    /// Has the shim start an exec, and gives its process where that is known. If the connection ends before the answer,
    /// the next one is asked what became of it, and told again only what never arrived.
    async fn ask_exec(
        &self,
        container: &Arc<Container>,
        exec: &Exec,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Option<u32>> {
        let mut links = container.links();
        let mut told = false;
        loop {
            links.mark_unchanged();
            let link = container.live_link()?;
            let asked = if told {
                link.ask(&Request::FollowExec(exec.id.clone()), &[]).await
            } else {
                link.ask(request, descriptors).await
            };
            match asked {
                Ok(Reply::ExecStarted { pid }) => return Ok(Some(pid)),
                Ok(_) => return Ok(None),
                Err(EngineError::Shim { source }) if source.is_disconnected() => {
                    told = true;
                    if timeout(RECONNECT, links.changed()).await.is_err() {
                        return Err(source.into());
                    }
                }
                Err(EngineError::Shim {
                    source:
                        ShimError::Refused {
                            refusal: Refusal::NoSuchExec,
                        },
                }) if told => {
                    if self.has_ended(container, exec).await? {
                        return Ok(None);
                    }
                    told = false;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the end of an exec is known, or will be once the journal is heard.
    async fn has_ended(&self, container: &Container, exec: &Exec) -> Result<bool> {
        let is_known = || exec.progress().exit_code.is_some();
        if is_known() {
            return Ok(true);
        }
        let journal = self.journal_of(container, 0).await?;
        let is_end = |event: &Event| matches!(&event.kind, EventKind::ExecExited { id, .. } if *id == exec.id);
        // What the journal has no more was heard meanwhile.
        Ok(journal.iter().any(is_end) || is_known())
    }

    /// The plan of a further process: the container's user, rights and environment, changed as asked.
    pub(super) fn exec_plan(
        &self,
        container: &Container,
        exec: &Exec,
        console_size: Option<(u16, u16)>,
    ) -> Result<Vec<u8>> {
        let request = &exec.request;
        let linked = self.link_environment(container)?;
        let mut config = with_environment(&container.spec.config, linked);
        let mut host: HostConfig = container.spec.host.clone();
        if !request.user.is_empty() {
            config.user.clone_from(&request.user);
            host.group_add = None;
        }
        if !request.working_dir.is_empty() && !request.working_dir.starts_with('/') {
            return Err(EngineError::StartFailed {
                exit_code: 128,
                sentence:
                    "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown"
                        .to_owned(),
            });
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
        let root = root_of(container)?;
        let identity = plan::identify(
            &Root::new(root.as_fd()),
            &config.user,
            host.group_add.as_deref().unwrap_or_default(),
        )?;
        let filters = &self.inner().filters;
        let mut process = plan::process(&config, &host, &identity, filters, container.id())?;
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
            ..ExecPlan::default()
        };
        Ok(plan.encode())
    }

    /// Docker's words around an exec that did not start, and its status as the exec's.
    fn exec_failed(&self, exec: &Exec, error: EngineError) -> EngineError {
        let error = match error {
            EngineError::Shim {
                source:
                    ShimError::Refused {
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
        exec.set(|progress| progress.pid = 0);
        self.exec_ended(exec, code);
        error
    }
}

/// The root of a container that runs.
fn root_of(container: &Container) -> Result<OwnedFd> {
    let gone = || EngineError::NotRunning {
        id: container.id().to_string(),
    };
    let neighbour = Neighbour::of(&container.run()).ok_or_else(gone)?;
    neighbour.root().map_err(|_| gone())
}

/// A start that is refused within the stream, as docker's is: who starts an exec again, as compose does behind its first
/// start, is not told of a fault.
fn refused_in_stream(error: EngineError, tty: bool) -> ExecStart {
    ExecStart::Attach(AttachTicket::new(tty, move |socket, _| async move {
        tell_in_stream(socket, error.to_string(), tty).await;
        Ok(())
    }))
}

/// The answer was given already: the client reads the reason in its stream.
async fn tell_in_stream(socket: OwnedFd, mut sentence: String, tty: bool) {
    sentence.push_str("\r\n");
    let bytes = if tty {
        sentence.into_bytes()
    } else {
        attach::framed(crate::options::StreamKind::Stdout, sentence.as_bytes())
    };
    // It may be gone.
    if let Ok(writer) = ClientWriter::new(socket) {
        let _ = writer.write_all(&bytes).await;
    }
}

//! Clients' sockets on their way to the shim.
//!
//! Docker's client attaches first and starts the container on another connection. An attachment is therefore
//! registered when its request arrives, and a start waits a moment for those that are registered and have not
//! delivered their socket yet: the first byte of output finds its reader.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{SendFlags, send};
use shim::protocol::{Attachment, Framing, Request, Slot};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::record::Status;
use super::registry::Container;
use crate::compile::keys;
use crate::engine::Engine;
use crate::options::{AttachOptions, AttachTicket, LogsOptions, StreamKind};
use crate::outcome::{EngineError, Result};

/// The longest that a start waits for sockets that are announced.
pub(crate) const DELIVERY: Duration = Duration::from_secs(2);

/// A client's socket with what it wants.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    pub(crate) leftover: Vec<u8>,
    pub(crate) options: AttachOptions,
}

impl Client {
    /// The shim's words for this client; its socket is the descriptor of that slot.
    pub(crate) fn attachment(&self, slot: Slot, tty: bool) -> Result<Attachment> {
        let framing = if tty || self.options.raw {
            Framing::Raw
        } else {
            Framing::Multiplexed
        };
        Ok(Attachment {
            socket: slot,
            token: 0,
            stdin: self.options.stdin,
            stdout: self.options.stdout,
            stderr: self.options.stderr,
            framing,
            detach_keys: self
                .options
                .detach_keys
                .as_deref()
                .map(|text| keys::parse(text, "detach"))
                .transpose()?,
            leftover: self.leftover.clone(),
        })
    }
}

struct Ticket {
    number: u64,
    client: Option<Client>,
}

#[derive(Default)]
struct State {
    next: u64,
    tickets: Vec<Ticket>,
}

/// The attachments that wait for a container's next start.
#[derive(Default)]
pub(crate) struct Tickets {
    state: Mutex<State>,
    delivered: Notify,
}

/// Clients that may wait for one container.
const LIMIT: usize = 64;

impl Tickets {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self) -> Result<u64> {
        let mut state = self.state();
        if state.tickets.len() >= LIMIT {
            return Err(EngineError::conflict(format!(
                "{LIMIT} clients wait for this container already"
            )));
        }
        state.next += 1;
        let number = state.next;
        state.tickets.push(Ticket {
            number,
            client: None,
        });
        Ok(number)
    }

    /// Keeps the client for the start; gives it back when the start has gone on without it.
    fn deliver(&self, number: u64, client: Client) -> std::result::Result<(), Client> {
        let mut state = self.state();
        match state
            .tickets
            .iter_mut()
            .find(|ticket| ticket.number == number)
        {
            Some(ticket) => ticket.client = Some(client),
            None => return Err(client),
        }
        drop(state);
        self.delivered.notify_waiters();
        Ok(())
    }

    fn withdraw(&self, number: u64) {
        self.state()
            .tickets
            .retain(|ticket| ticket.number != number || ticket.client.is_some());
        self.delivered.notify_waiters();
    }

    /// Waits for the announced sockets, at most [`DELIVERY`], and takes those that came.
    pub(crate) async fn collect(&self) -> Vec<Client> {
        let complete = async {
            loop {
                let notified = self.delivered.notified();
                if self
                    .state()
                    .tickets
                    .iter()
                    .all(|ticket| ticket.client.is_some())
                {
                    return;
                }
                notified.await;
            }
        };
        if tokio::time::timeout(DELIVERY, complete).await.is_err() {
            tracing::warn!(
                "a client announced an attachment and did not deliver its connection in time"
            );
        }
        self.take()
    }

    /// Takes what is there and forgets the rest.
    pub(crate) fn take(&self) -> Vec<Client> {
        self.state()
            .tickets
            .drain(..)
            .filter_map(|ticket| ticket.client)
            .collect()
    }
}

/// Withdraws a ticket that is dropped before its delivery.
struct Registration {
    container: Arc<Container>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.container.tickets.withdraw(self.number);
    }
}

impl Engine {
    /// Registers an attachment; call before the client hears that it may speak.
    pub async fn attach_intent(&self, id: &str, options: AttachOptions) -> Result<AttachTicket> {
        let container = self.registry().find(id)?;
        if let Some(text) = &options.detach_keys {
            keys::parse(text, "detach")?;
        }
        let unready = match container.run().status {
            Status::Paused => Some("paused, unpause the container before attach"),
            Status::Restarting => Some("restarting, wait until the container is running"),
            Status::Created | Status::Running | Status::Exited => None,
        };
        if let Some(unready) = unready {
            return Err(EngineError::conflict(format!(
                "container {id} is {unready}"
            )));
        }
        self.tell_later(container.event("attach", &[]));
        container.listened.store(true, Ordering::Relaxed);
        let engine = self.clone();
        let tty = container.spec.config.tty;
        let up = container.run().status.is_up();
        let registration = match up || !options.stream {
            true => None,
            false => Some(Registration {
                number: container.tickets.register()?,
                container: Arc::clone(&container),
            }),
        };
        Ok(AttachTicket::new(tty, move |socket, leftover| async move {
            let client = Client {
                socket,
                leftover,
                options,
            };
            engine.deliver(container, registration, client).await
        }))
    }

    async fn deliver(
        &self,
        container: Arc<Container>,
        registration: Option<Registration>,
        client: Client,
    ) -> Result<()> {
        let client = if client.options.logs {
            self.replay(&container, client).await?
        } else {
            client
        };
        if !client.options.stream {
            return Ok(());
        }
        let client = match registration.as_ref() {
            Some(registration) => match container.tickets.deliver(registration.number, client) {
                Ok(()) => return Ok(()),
                Err(client) => client,
            },
            None => client,
        };
        self.connect(&container, client).await
    }

    /// Hands a client to the shim of a container that runs.
    async fn connect(&self, container: &Container, client: Client) -> Result<()> {
        let link = container.live_link()?;
        let attachment = client.attachment(Slot(0), container.spec.config.tty)?;
        link.ask(
            &Request::Attach(Box::new(attachment)),
            &[client.socket.as_fd()],
        )
        .await?;
        Ok(())
    }

    /// Writes the log so far to a client.
    async fn replay(&self, container: &Arc<Container>, client: Client) -> Result<Client> {
        let options = LogsOptions {
            stdout: client.options.stdout,
            stderr: client.options.stderr,
            ..Default::default()
        };
        let mut logs = self.logs(container.id().as_str(), options).await?;
        let raw = container.spec.config.tty || client.options.raw;
        let writer = client
            .socket
            .try_clone()
            .and_then(ClientWriter::new)
            .map_err(EngineError::io("copy a client's connection"))?;
        while let Some(chunk) = logs.chunks.recv().await {
            let chunk = chunk?;
            let bytes = if raw {
                chunk.bytes
            } else {
                framed(chunk.stream, &chunk.bytes)
            };
            writer
                .write_all(&bytes)
                .await
                .map_err(EngineError::io("write the log to a client"))?;
        }
        Ok(client)
    }
}

/// One frame of docker's multiplexed stream.
pub(crate) fn framed(stream: StreamKind, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(bytes.len() + 8);
    frame.extend([stream as u8, 0, 0, 0]);
    frame.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(bytes);
    frame
}

/// How long a client may take nothing of what is written to it.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// A client's socket that is written to while others are served.
pub(crate) struct ClientWriter(AsyncFd<OwnedFd>);

impl ClientWriter {
    pub(crate) fn new(socket: OwnedFd) -> std::io::Result<ClientWriter> {
        // The newer constructor is unsafe; what it asks for holds: a descriptor of our own is kept for its life.
        #[allow(deprecated)]
        AsyncFd::new(socket).map(ClientWriter)
    }

    /// Writes everything. Fails once the client has taken nothing for half a minute.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.0.async_io(Interest::WRITABLE, |socket| {
                // Whether the socket itself blocks is the shim's concern, which shares it.
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                rustix::io::retry_on_intr(|| send(socket, bytes, flags)).map_err(Into::into)
            });
            let count = timeout(CLIENT_PATIENCE, sent)
                .await
                .map_err(|_| std::io::ErrorKind::TimedOut)??;
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let (socket, _) = rustix::pipe::pipe().unwrap();
        Client {
            socket,
            leftover: Vec::new(),
            options: AttachOptions::default(),
        }
    }

    #[tokio::test]
    async fn a_start_waits_for_what_is_announced() {
        let tickets = Arc::new(Tickets::default());
        let number = tickets.register().unwrap();
        let other = Arc::clone(&tickets);
        let collected = tokio::spawn(async move { other.collect().await.len() });
        tokio::task::yield_now().await;
        tickets.deliver(number, client()).unwrap();
        assert_eq!(collected.await.unwrap(), 1);
        assert!(
            tickets.deliver(number, client()).is_err(),
            "the start has gone on"
        );
    }

    #[tokio::test]
    async fn a_withdrawn_ticket_is_not_waited_for() {
        let tickets = Tickets::default();
        let number = tickets.register().unwrap();
        tickets.withdraw(number);
        assert!(tickets.collect().await.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_holds_no_thread() {
        use std::io::Read;
        const MUCH: usize = 4 << 20;
        let (mut reads, socket) = std::os::unix::net::UnixStream::pair().unwrap();
        let writer = ClientWriter::new(socket.into()).unwrap();
        // This runtime has one thread: it would never come to the reader.
        let written = tokio::spawn(async move { writer.write_all(&vec![b'x'; MUCH]).await });
        tokio::task::yield_now().await;
        assert!(!written.is_finished());
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            reads.read_to_end(&mut all).map(|_| all.len())
        });
        written.await.unwrap().unwrap();
        assert_eq!(read.await.unwrap().unwrap(), MUCH);
    }

    #[test]
    fn frames_carry_stream_and_length() {
        assert_eq!(
            framed(StreamKind::Stderr, b"ab"),
            [2, 0, 0, 0, 0, 0, 0, 2, b'a', b'b']
        );
    }
}

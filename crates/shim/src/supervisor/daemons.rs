//! The daemons that are connected: usually one, none while it is being replaced.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use sys::fdpass::{self, Wait};

use super::poll::{EventFlags, Poll, Token, Watch};
use crate::ShimError;
use crate::protocol::transport::{self, Inbox, Packet};
use crate::protocol::{Answer, Event, Header, Message, Refusal, Reply};

/// The most connections at a time; a further one is closed at once.
const CONNECTIONS: usize = 16;
/// The most messages that wait for a daemon that does not read. One that falls further behind is let go: it can
/// connect again, and read the journal.
const BACKLOG: usize = 256;

/// A message that waits.
#[derive(Debug)]
struct Waiting {
    header: Header,
    body: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Daemon {
    number: u32,
    socket: OwnedFd,
    watch: Watch,
    inbox: Inbox,
    waiting: VecDeque<Waiting>,
    gone: bool,
}

impl Daemon {
    fn send(&mut self, message: Waiting) {
        if self.gone {
            return;
        }
        self.waiting.push_back(message);
        self.flush();
        if self.waiting.len() > BACKLOG {
            self.gone = true;
        }
    }

    fn flush(&mut self) {
        while let Some(message) = self.waiting.front() {
            let descriptors: Vec<_> = message.descriptors.iter().map(AsFd::as_fd).collect();
            let sent = transport::send(
                self.socket.as_fd(),
                message.header,
                &message.body,
                &descriptors,
                Wait::Never,
            );
            match sent {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if error.would_block() => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    fn watch(&mut self, poll: &Poll) {
        let interest = match (self.gone, self.waiting.is_empty()) {
            (true, _) => None,
            (false, true) => Some(EventFlags::IN),
            (false, false) => Some(EventFlags::IN | EventFlags::OUT),
        };
        self.watch.set(poll, &self.socket, interest);
    }
}

/// All connections, and the socket on which new ones come.
#[derive(Debug)]
pub(super) struct Daemons {
    listener: OwnedFd,
    listening: Watch,
    all: Vec<Daemon>,
    next: u32,
}

impl Daemons {
    /// Nobody is waited for before [`Daemons::listen`].
    pub(super) fn new(listener: OwnedFd, first: OwnedFd) -> Self {
        let mut daemons = Daemons {
            listener,
            listening: Watch::new(Token::Listener),
            all: Vec::new(),
            next: 0,
        };
        daemons.add(first);
        daemons
    }

    fn add(&mut self, socket: OwnedFd) {
        let number = self.next;
        self.next += 1;
        self.all.push(Daemon {
            number,
            socket,
            watch: Watch::new(Token::Daemon(number)),
            inbox: Inbox::default(),
            waiting: VecDeque::new(),
            gone: false,
        });
    }

    /// The number of the connection that came with the launch.
    pub(super) const FIRST: u32 = 0;

    pub(super) fn listen(&mut self, poll: &Poll) {
        self.listening
            .set(poll, &self.listener, Some(EventFlags::IN));
        self.settle(poll);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A daemon may be connecting.
    pub(super) fn accept(&mut self, poll: &Poll) {
        if let Ok(socket) = fdpass::accept(self.listener.as_fd())
            && self.all.len() < CONNECTIONS
        {
            self.add(socket);
        }
        self.settle(poll);
    }

    /// Takes the next request of a daemon; `None` when there is none, or the daemon is gone.
    pub(super) fn receive(&mut self, number: u32) -> Option<Packet> {
        let daemon = self.all.iter_mut().find(|daemon| daemon.number == number)?;
        if daemon.gone {
            return None;
        }
        match daemon.inbox.recv(daemon.socket.as_fd(), Wait::Never) {
            Ok(Some(packet)) => Some(packet),
            Err(error) if error.would_block() => None,
            // What it says is not understood, and where its next word begins is not known either.
            Ok(None) | Err(ShimError::Wire { .. }) | Err(_) => {
                daemon.gone = true;
                None
            }
        }
    }

    /// Sends what waits for a daemon.
    pub(super) fn flush(&mut self, number: u32) {
        if let Some(daemon) = self.all.iter_mut().find(|daemon| daemon.number == number) {
            daemon.flush();
        }
    }

    pub(super) fn answer(
        &mut self,
        daemon: u32,
        number: u32,
        result: Result<Reply, Refusal>,
        descriptors: Vec<OwnedFd>,
    ) {
        let message = Message::Answer(Answer { number, result });
        if let Some(daemon) = self.all.iter_mut().find(|each| each.number == daemon) {
            daemon.send(Waiting {
                header: message.header(),
                body: message.encode(),
                descriptors,
            });
        }
    }

    /// Tells everybody.
    pub(super) fn tell(&mut self, event: Event) {
        let message = Message::Event(event);
        let body = message.encode();
        for daemon in &mut self.all {
            daemon.send(Waiting {
                header: message.header(),
                body: body.clone(),
                descriptors: Vec::new(),
            });
        }
    }

    /// Drops connections that have ended and waits for what can happen next.
    pub(super) fn settle(&mut self, poll: &Poll) {
        for daemon in &mut self.all {
            daemon.watch(poll);
        }
        self.all.retain(|daemon| !daemon.gone);
    }
}

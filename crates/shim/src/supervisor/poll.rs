//! Readiness: one epoll descriptor, and what its events stand for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

pub(super) use rustix::event::epoll::EventFlags;

use crate::logs::Stream;

/// What a descriptor is to the supervisor. Numbers are never used twice in one process, so that an event
/// for something that has gone meets nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The socket on which daemons connect.
    Listener,
    /// A daemon's connection.
    Daemon(u32),
    /// A process on its way to its program.
    Birth(u32),
    /// A session's process.
    Process(u32),
    /// A session's input.
    Input(u32),
    /// One of a session's outputs.
    Output(u32, Stream),
    /// A client, by session and number.
    Client(u32, u32),
}

const FIELD: u32 = 28;
const MASK: u64 = (1 << FIELD) - 1;

impl Token {
    fn pack(self) -> u64 {
        let (kind, session, item) = match self {
            Token::Listener => (1, 0, 0),
            Token::Daemon(number) => (2, number, 0),
            Token::Process(session) => (3, session, 0),
            Token::Input(session) => (4, session, 0),
            Token::Output(session, Stream::Stdout) => (5, session, 0),
            Token::Output(session, Stream::Stderr) => (5, session, 1),
            Token::Client(session, client) => (6, session, client),
            Token::Birth(number) => (7, number, 0),
        };
        kind << (2 * FIELD) | (u64::from(session) & MASK) << FIELD | u64::from(item) & MASK
    }

    fn unpack(packed: u64) -> Option<Self> {
        // Both fields are 28 bits long.
        let session = (packed >> FIELD & MASK) as u32;
        let item = (packed & MASK) as u32;
        match packed >> (2 * FIELD) {
            1 => Some(Token::Listener),
            2 => Some(Token::Daemon(session)),
            3 => Some(Token::Process(session)),
            4 => Some(Token::Input(session)),
            5 => Some(Token::Output(
                session,
                if item == 0 {
                    Stream::Stdout
                } else {
                    Stream::Stderr
                },
            )),
            6 => Some(Token::Client(session, item)),
            7 => Some(Token::Birth(session)),
            _ => None,
        }
    }
}

/// The most events that one wait brings.
pub(super) const BATCH: usize = 16;

/// The epoll descriptor.
#[derive(Debug)]
pub(super) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Poll {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    /// Waits until something is ready or the deadline has come.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<(Token, EventFlags)>> {
        let timeout = deadline.map(|deadline| {
            // A millisecond more than none: the kernel may wake a moment early, and would be asked again.
            let left = deadline.saturating_duration_since(Instant::now());
            timespec(if left.is_zero() {
                left
            } else {
                left + Duration::from_millis(1)
            })
        });
        let mut events = Vec::with_capacity(BATCH);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(events
            .iter()
            .filter_map(|event| {
                let (data, flags) = (event.data, event.flags);
                Some((Token::unpack(data.u64())?, flags))
            })
            .collect())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// What is waited for on one descriptor.
///
/// It must be stopped before the descriptor is closed: another process may hold the same open file, which then
/// would go on to bring events.
#[derive(Debug)]
pub(super) struct Watch {
    token: Token,
    interest: Option<EventFlags>,
}

impl Watch {
    pub(super) fn new(token: Token) -> Self {
        Watch {
            token,
            interest: None,
        }
    }

    /// Waits for `interest` from now on. With no flags only the peer's end is told, with `None` nothing.
    pub(super) fn set(&mut self, poll: &Poll, fd: impl AsFd, interest: Option<EventFlags>) {
        if self.interest == interest {
            return;
        }
        let data = epoll::EventData::new_u64(self.token.pack());
        let done = match (self.interest, interest) {
            (None, Some(flags)) => epoll::add(&poll.epoll, fd, data, flags),
            (Some(_), Some(flags)) => epoll::modify(&poll.epoll, fd, data, flags),
            (_, None) => epoll::delete(&poll.epoll, fd),
        };
        // Adding fails only when the kernel has no memory for it; the descriptor is then not served.
        if done.is_ok() {
            self.interest = interest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Listener,
            Token::Daemon(3),
            Token::Birth(4),
            Token::Process(0),
            Token::Input(7),
            Token::Output(1, Stream::Stdout),
            Token::Output(9, Stream::Stderr),
            Token::Client((1 << FIELD) - 1, 5),
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(0), None);
    }

    #[test]
    fn a_watch_ends_before_its_descriptor() {
        let poll = Poll::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut watch = Watch::new(Token::Input(1));
        watch.set(&poll, &read, Some(EventFlags::IN));
        let now = Some(Instant::now());
        assert_eq!(poll.wait(now).unwrap(), []);
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(poll.wait(now).unwrap(), [(Token::Input(1), EventFlags::IN)]);
        watch.set(&poll, &read, None);
        assert_eq!(poll.wait(now).unwrap(), []);
    }
}

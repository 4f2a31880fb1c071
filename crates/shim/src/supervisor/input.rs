//! The writing end of a process's input.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::poll::{EventFlags, Poll, Token, Watch};

/// An input that takes no more than it can pass on.
#[derive(Debug)]
pub(super) struct Input {
    fd: Option<OwnedFd>,
    watch: Watch,
    pending: Vec<u8>,
    written: usize,
    ending: bool,
}

impl Input {
    /// `fd` must not block.
    pub(super) fn new(session: u32, fd: Option<OwnedFd>) -> Self {
        Input {
            fd,
            watch: Watch::new(Token::Input(session)),
            pending: Vec::new(),
            written: 0,
            ending: false,
        }
    }

    /// Whether something is there that reads, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    /// Whether a client's next bytes may be read. An input that is closed has room: it takes and forgets.
    pub(super) fn has_room(&self) -> bool {
        self.written == self.pending.len()
    }

    /// Passes bytes on, or keeps what the process does not take yet.
    pub(super) fn push(&mut self, poll: &Poll, bytes: &[u8]) {
        if self.fd.is_some() && !self.ending {
            self.pending.extend_from_slice(bytes);
            self.flush(poll);
        }
    }

    /// Closes it once everything was passed on.
    pub(super) fn end(&mut self, poll: &Poll) {
        self.ending = true;
        self.flush(poll);
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self, poll: &Poll) {
        while let Some(fd) = &self.fd {
            let rest = &self.pending[self.written..];
            if rest.is_empty() {
                break;
            }
            match rustix::io::retry_on_intr(|| rustix::io::write(fd, rest)) {
                Ok(written) => self.written += written,
                Err(Errno::AGAIN) => {
                    self.watch.set(poll, fd, Some(EventFlags::OUT));
                    return;
                }
                // Nobody reads any more.
                Err(_) => return self.close(poll),
            }
        }
        self.pending = Vec::new();
        self.written = 0;
        match &self.fd {
            Some(_) if self.ending => self.close(poll),
            Some(fd) => self.watch.set(poll, fd, None),
            None => {}
        }
    }

    /// Closes it now.
    pub(super) fn close(&mut self, poll: &Poll) {
        if let Some(fd) = self.fd.take() {
            self.watch.set(poll, &fd, None);
        }
        self.pending = Vec::new();
        self.written = 0;
    }
}

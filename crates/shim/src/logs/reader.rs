//! The reading side: lines in order, from where one wants to begin, to the end or for ever.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use super::files::{Folder, LogFile};
use super::{CHUNK, LINE_LIMIT, Line, place};

/// Files that a reader which is behind has open at most, beside the one that it reads and those that it finds at one
/// look; they keep their room on the disk when the shim has removed them.
const AHEAD_FILES: usize = 64;
/// How much such files hold together, in bytes, before no more are looked for.
const AHEAD_BYTES: u64 = 64 << 20;
/// How often a beginning reader looks again because the newest file that it found was removed before it was held.
const ATTEMPTS: u32 = 16;

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Only so many of the last lines there are now; pieces of long lines count.
    pub tail: Option<u64>,
    /// No lines before this time, in nanoseconds since 1970.
    pub since: Option<u64>,
    /// No lines after this time, in nanoseconds since 1970.
    pub until: Option<u64>,
    /// Whether to go on at the end.
    pub follow: bool,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A line.
    Line(Line),
    /// Nothing yet: ask again when something changed (see [`super::Watcher`]).
    Nothing,
    /// Nothing more.
    End,
}

/// Reads a log's lines. Holds a few chunks in memory, however long the log is.
///
/// A reader that follows has every file open from the one that it reads to the newest that it knows, and holds the
/// newest by a lock. The shim does not remove a file that is held (for a while): so none that is newer goes before the
/// reader has looked again, however far behind it is. It looks whenever it reads and when it is told to.
#[derive(Debug)]
pub struct Reader {
    folder: Folder,
    options: Options,
    current: Option<LogFile>,
    later: VecDeque<LogFile>,
    /// Where the next chunk is read from.
    offset: u64,
    /// Where the last file ends for a reader that takes only what was there when it began.
    limit: Option<u64>,
    buffer: Vec<u8>,
    /// The part of the buffer that was given out.
    used: usize,
    /// A line above the limit is being passed over.
    skipping: bool,
    ended: bool,
}

impl Reader {
    /// Begins to read the log `name` in `folder`, the folder's own descriptor being kept.
    ///
    /// A log that has no file yet is empty.
    ///
    /// # Errors
    /// As openat(2) and pread(2).
    pub fn open(folder: OwnedFd, name: &str, options: Options) -> io::Result<Self> {
        let mut reader = Reader {
            folder: Folder {
                fd: folder,
                name: name.to_owned(),
            },
            options,
            current: None,
            later: VecDeque::new(),
            offset: 0,
            limit: None,
            buffer: Vec::new(),
            used: 0,
            skipping: false,
            ended: false,
        };
        for _ in 0..ATTEMPTS {
            reader.later = reader.folder.newer_than(None)?.into();
            match reader.later.back() {
                Some(newest) if options.follow => {
                    newest.hold();
                    if !newest.is_gone()? {
                        break;
                    }
                }
                _ => break,
            }
        }
        reader.begin()?;
        Ok(reader)
    }

    /// The folder, for a [`super::Watcher`].
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.fd.as_fd()
    }

    /// Nothing more will be written that is wanted: what is there now is all, even for a reader that follows. Of what
    /// was written since, lines from `next` on, the time in nanoseconds since 1970 at which others begin, are left out.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn stop_following(&mut self, next: Option<u64>) -> io::Result<()> {
        if let Some(last) = next.map(|next| next.saturating_sub(1)) {
            let until = self.options.until.get_or_insert(last);
            *until = last.min(*until);
        }
        if !std::mem::take(&mut self.options.follow) {
            return Ok(());
        }
        let last = self.later.back().or(self.current.as_ref());
        // A reader that is not at the newest file yet has to find it first, and goes by the time alone.
        if let Some(last) = last
            && self.folder.newest() == Some(last.identity)
        {
            self.limit = Some(last.length()?);
        }
        Ok(())
    }

    /// Chooses file and offset of the first line by `tail` and `since`.
    fn begin(&mut self) -> io::Result<()> {
        if self.later.is_empty() && !self.options.follow {
            self.limit = Some(0);
        }
        let (mut first, mut offset) = (0, 0);
        let mut wanted = self.options.tail;
        for (index, file) in self.later.iter().enumerate().rev() {
            let end = file.length()?;
            if index + 1 == self.later.len() && !self.options.follow {
                self.limit = Some(end);
            }
            (first, offset) = (index, 0);
            if let Some(count) = wanted {
                let (start, found) = place::last_lines(file, end, count)?;
                offset = start;
                wanted = Some(count - found);
            }
            if let Some(since) = self.options.since {
                offset = offset.max(place::first_since(file, end, since)?);
            }
            let enough = wanted == Some(0)
                || match self.options.since {
                    Some(since) => place::begins_before(file, end, since)?,
                    None => false,
                };
            if enough {
                break;
            }
        }
        self.later.drain(..first);
        self.current = self.later.pop_front();
        self.offset = offset;
        Ok(())
    }

    /// The next line, or why there is none.
    ///
    /// Objects that are damaged or above the limit of a megabyte are passed over.
    ///
    /// # Errors
    /// As pread(2) and openat(2).
    pub fn next_line(&mut self) -> io::Result<Next> {
        while !self.ended {
            while let Some(object) = self.take_object() {
                let Some(line) = Line::parse(&self.buffer[object]) else {
                    continue;
                };
                if self.options.since.is_some_and(|since| line.time < since) {
                    continue;
                }
                if self.options.until.is_some_and(|until| line.time > until) {
                    self.ended = true;
                    return Ok(Next::End);
                }
                return Ok(Next::Line(line));
            }
            if !self.fill()? && !self.advance()? {
                if self.options.follow {
                    return Ok(Next::Nothing);
                }
                self.ended = true;
            }
        }
        Ok(Next::End)
    }

    /// The next whole object in the buffer.
    fn take_object(&mut self) -> Option<std::ops::Range<usize>> {
        let start = self.used;
        let feed = self.buffer[start..]
            .iter()
            .position(|&byte| byte == b'\n')?;
        self.used = start + feed + 1;
        if std::mem::take(&mut self.skipping) {
            return self.take_object();
        }
        Some(start..start + feed)
    }

    /// Opens the files that were begun since the last look, and holds the newest of them in place of the one before.
    ///
    /// A follower that reads nothing for a while, because nobody takes what it has read, calls this when something
    /// changes; else the shim waits for it, and then goes on without it.
    ///
    /// # Errors
    /// As openat(2).
    pub fn look_ahead(&mut self) -> io::Result<()> {
        // What is not followed is open from the beginning.
        if self.limit.is_some() || self.later.len() >= AHEAD_FILES {
            return Ok(());
        }
        let last = self.later.back().or(self.current.as_ref());
        let known = last.map(|file| file.identity);
        let newest = self.folder.newest();
        if newest.is_none() || newest == known {
            return Ok(());
        }
        let mut ahead = 0;
        for file in &self.later {
            ahead += file.length()?;
        }
        if ahead >= AHEAD_BYTES {
            return Ok(());
        }
        let found = self.folder.newer_than(known)?;
        if let Some(newest) = found.last() {
            newest.hold();
            if let Some(last) = last {
                last.release();
            }
        }
        self.later.extend(found);
        Ok(())
    }

    /// Reads another chunk; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        // Before reading: what was written before a file changed its name is read before its successor is.
        self.look_ahead()?;
        let Some(current) = &self.current else {
            return Ok(false);
        };
        self.buffer.drain(..self.used);
        self.used = 0;
        if self.buffer.len() > LINE_LIMIT {
            self.buffer.clear();
            self.skipping = true;
        }
        let mut wanted = CHUNK;
        if let Some(limit) = self.limit.filter(|_| self.later.is_empty()) {
            wanted =
                wanted.min(usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(CHUNK));
        }
        let old = self.buffer.len();
        self.buffer.resize(old + wanted, 0);
        let read = current.file.read_at(&mut self.buffer[old..], self.offset);
        self.buffer.truncate(old + *read.as_ref().unwrap_or(&0));
        let length = read?;
        self.offset += length as u64;
        Ok(length > 0)
    }

    /// At a file's end: goes to the next one, or to the front of one that was begun anew. False if there is
    /// neither.
    fn advance(&mut self) -> io::Result<bool> {
        if let Some(next) = self.later.pop_front() {
            self.current = Some(next);
            self.rewind();
            return Ok(true);
        }
        match &self.current {
            Some(current) if current.length()? < self.offset => {
                self.rewind();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Goes to the front of the present file.
    fn rewind(&mut self) {
        self.offset = 0;
        self.buffer.clear();
        self.used = 0;
        self.skipping = false;
    }
}

#[cfg(test)]
mod tests;

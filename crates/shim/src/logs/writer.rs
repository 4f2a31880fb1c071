//! The writing side: lines into files, files by size.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::files::name_of;
use super::{PIECE, Remote, Stream, json};
use crate::clock;

/// How much is gathered before it is written, in bytes; a line may exceed it.
const GATHERED: usize = 32 << 10;

/// How long readers that know none but the oldest file may keep the log from removing it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the log looks again whether they have gone on.
const GLANCE: Duration = Duration::from_millis(2);

/// A line whose end has not come yet.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// When the first piece of this line was written, if one was.
    since: Option<u64>,
}

/// A log in the format of docker's json-file driver.
///
/// Whatever fails (a full disk) costs lines, which are counted, never the container's progress.
#[derive(Debug)]
pub(crate) struct JsonFile {
    folder: OwnedFd,
    name: String,
    max_size: u64,
    max_files: u32,
    attrs: Vec<u8>,
    file: Option<File>,
    size: u64,
    partial: [Partial; 2],
    gathered: Vec<u8>,
    gathered_lines: u64,
    lost: u64,
    /// How much waits in memory for a reader that holds the oldest file; without it the container waits.
    buffer: Option<u64>,
    /// Where lines go as well.
    remote: Option<Box<Remote>>,
    /// Since when a removal waits, and when to look again.
    waiting: Option<(Instant, Instant)>,
}

impl JsonFile {
    /// A log that begins at the end of `name` in `folder`, which is opened by [`JsonFile::reopen`] or when it is
    /// needed.
    pub(crate) fn new(
        folder: OwnedFd,
        name: String,
        max_size: u64,
        max_files: u32,
        attrs: Vec<u8>,
    ) -> Self {
        JsonFile {
            folder,
            name,
            max_size,
            max_files: max_files.max(1),
            attrs,
            file: None,
            size: 0,
            partial: [Partial::default(), Partial::default()],
            gathered: Vec::new(),
            gathered_lines: 0,
            lost: 0,
            buffer: None,
            remote: None,
            waiting: None,
        }
    }

    /// Lets lines wait in memory, up to so many bytes, instead of the container: what is beyond is lost.
    pub(crate) fn set_buffer(&mut self, buffer: Option<u64>) {
        self.buffer = buffer;
        if let (Some(remote), Some(limit)) = (&mut self.remote, buffer) {
            remote.set_limit(limit);
        }
    }

    /// Has every line go there as well.
    pub(crate) fn set_remote(&mut self, remote: Remote) {
        self.remote = Some(Box::new(remote));
    }

    /// How many lines could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost + self.remote.as_ref().map_or(0, |remote| remote.lost())
    }

    /// When a reader holds the oldest file, or lines are on their way: when to call [`JsonFile::retry`].
    pub(crate) fn held_until(&self) -> Option<Instant> {
        let file = self.waiting.map(|(_, again)| again);
        let remote = self.remote.as_ref().and_then(|remote| remote.again());
        file.into_iter().chain(remote).min()
    }

    /// Whether nothing more should be written until then; what is makes the newest file longer than it should be.
    pub(crate) fn holds(&self) -> bool {
        let is_behind = || {
            self.remote
                .as_ref()
                .is_some_and(|remote| remote.is_behind())
        };
        self.buffer.is_none() && (self.waiting.is_some() || is_behind())
    }

    /// Looks again whether the oldest file can be removed, and sends what can be sent.
    pub(crate) fn retry(&mut self) {
        if let Some(remote) = &mut self.remote
            && remote.again().is_some_and(|at| at <= Instant::now())
        {
            remote.pump();
        }
        if self.waiting.is_some() {
            self.rotate();
            if self.buffer.is_some() && self.waiting.is_none() {
                self.flush();
            }
        }
    }

    /// Opens the newest file by its name again.
    pub(crate) fn reopen(&mut self) {
        // A failure is tried again at the next line.
        self.file = None;
        let _ = self.open();
    }

    fn open(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let flags = OFlags::CREATE
                | OFlags::WRONLY
                | OFlags::APPEND
                | OFlags::CLOEXEC
                | OFlags::NOFOLLOW;
            let mode = Mode::from_raw_mode(0o640);
            let file = File::from(rustix::fs::openat(
                &self.folder,
                self.name.as_str(),
                flags,
                mode,
            )?);
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        self.file
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes output as it comes and writes every line that is complete.
    pub(crate) fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        let now = clock::now();
        let mut stamp = Vec::with_capacity(32);
        clock::write_rfc3339(now, &mut stamp);
        while !bytes.is_empty() {
            let room = PIECE - self.partial[stream.index()].bytes.len();
            let end = bytes.iter().take(room).position(|&byte| byte == b'\n');
            let taken = end.unwrap_or(room.min(bytes.len()));
            let (line, rest) = bytes.split_at(taken);
            match end {
                Some(_) => {
                    self.line(stream, line, true, now, &stamp);
                    bytes = &rest[1..];
                }
                None if taken == room => {
                    self.line(stream, line, false, now, &stamp);
                    bytes = rest;
                }
                None => {
                    self.partial[stream.index()].bytes.extend_from_slice(line);
                    bytes = rest;
                }
            }
        }
        self.flush();
    }

    /// Writes what waits for the end of its line, because none will come.
    pub(crate) fn finish(&mut self) {
        let now = clock::now();
        let mut stamp = Vec::with_capacity(32);
        clock::write_rfc3339(now, &mut stamp);
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.partial[stream.index()].bytes.is_empty() {
                self.line(stream, b"", false, now, &stamp);
            }
            self.partial[stream.index()] = Partial::default();
        }
        self.write_gathered();
        self.gathered = Vec::new();
        if let Some(remote) = &mut self.remote {
            remote.finish();
        }
    }

    /// Gathers one object: what waited and `end`, as a whole line or as a piece of one.
    fn line(&mut self, stream: Stream, end: &[u8], whole: bool, now: u64, stamp: &[u8]) {
        if let Some(remote) = &mut self.remote {
            let begun = &self.partial[stream.index()].bytes;
            remote.line(stream, [begun, end], whole, now);
        }
        let is_full = self.max_size > 0 && self.size + self.gathered.len() as u64 >= self.max_size;
        if is_full && self.waiting.is_none() {
            self.flush();
            self.rotate();
        }
        if self.is_buffer_full() {
            self.lost += 1;
            let partial = &mut self.partial[stream.index()];
            partial.bytes.clear();
            partial.since = if whole {
                None
            } else {
                partial.since.or(Some(now))
            };
            return;
        }
        let partial = &mut self.partial[stream.index()];
        let out = &mut self.gathered;
        out.extend_from_slice(b"{\"log\":\"");
        if partial.bytes.is_empty() {
            json::escape(end, out);
        } else {
            // Escaped as one: a character may lie across both.
            partial.bytes.extend_from_slice(end);
            json::escape(&partial.bytes, out);
        }
        if whole {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(b"\",\"stream\":\"");
        out.extend_from_slice(stream.name());
        out.push(b'"');
        if !self.attrs.is_empty() {
            out.extend_from_slice(b",\"attrs\":");
            out.extend_from_slice(&self.attrs);
        }
        out.extend_from_slice(b",\"time\":\"");
        match partial.since {
            Some(since) => clock::write_rfc3339(since, out),
            None => out.extend_from_slice(stamp),
        }
        out.extend_from_slice(b"\"}\n");
        partial.bytes.clear();
        partial.since = if whole {
            None
        } else {
            Some(partial.since.unwrap_or(now))
        };
        self.gathered_lines += 1;
        if self.gathered.len() >= GATHERED {
            self.flush();
        }
    }

    /// Whether what waits in memory is all that may.
    fn is_buffer_full(&self) -> bool {
        self.waiting.is_some()
            && self
                .buffer
                .is_some_and(|buffer| self.gathered.len() as u64 >= buffer)
    }

    /// Writes what was gathered, unless it is to wait.
    fn flush(&mut self) {
        if self.waiting.is_none() || self.buffer.is_none() {
            self.write_gathered();
        }
    }

    fn write_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.gathered);
        if self.append(&bytes).is_err() {
            self.lost += self.gathered_lines;
        }
        // What waited may have been much.
        if bytes.capacity() <= 2 * GATHERED {
            self.gathered = bytes;
            self.gathered.clear();
        }
        self.gathered_lines = 0;
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let before = {
            self.open()?;
            self.size
        };
        let file = self.open()?;
        let written = file.write_all(bytes);
        match written {
            Ok(()) => self.size += bytes.len() as u64,
            // Half a line would spoil the next one.
            Err(_) => file.set_len(before)?,
        }
        written
    }

    /// Closes the newest file and begins another; the oldest one goes, unless it is still read.
    fn rotate(&mut self) {
        // Who follows a single file may not have read it to its end: it stays as a second one for that long.
        let files = match self.max_files {
            1 if self.is_locked(0) || self.is_locked(1) => 2,
            files => files,
        };
        if files > 1 && self.is_held(files - 1) {
            return;
        }
        if files == 1 {
            self.begin_anew();
            return;
        }
        for age in (1..files).rev() {
            let (newer, older) = (name_of(&self.name, age - 1), name_of(&self.name, age));
            match rustix::fs::renameat(&self.folder, newer.as_str(), &self.folder, older.as_str()) {
                Err(Errno::NOENT) | Ok(()) => {}
                // Without a new name the file is written on; it is tried again at the next line.
                Err(_) => return,
            }
        }
        self.reopen();
    }

    /// Empties the only file.
    fn begin_anew(&mut self) {
        self.waiting = None;
        let second = name_of(&self.name, 1);
        let _ = rustix::fs::unlinkat(&self.folder, second, rustix::fs::AtFlags::empty());
        if let Ok(file) = self.open()
            && file.set_len(0).is_ok()
        {
            self.size = 0;
        }
    }

    /// Whether a reader holds the file that is to go, and may do so a little longer.
    fn is_held(&mut self, oldest: u32) -> bool {
        let now = Instant::now();
        let since = self.waiting.map_or(now, |(since, _)| since);
        let held = now - since < PATIENCE && self.is_locked(oldest);
        self.waiting = held.then_some((since, now + GLANCE));
        held
    }

    /// Whether the file of this age is the newest that some follower knows.
    fn is_locked(&self, age: u32) -> bool {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let Ok(file) =
            rustix::fs::openat(&self.folder, name_of(&self.name, age), flags, Mode::empty())
        else {
            return false;
        };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
    }

    /// Removes every file of the log.
    #[cfg(test)]
    fn remove(&self) {
        for age in 0..self.max_files {
            let name = name_of(&self.name, age);
            let _ = rustix::fs::unlinkat(&self.folder, name, rustix::fs::AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_in(folder: &std::path::Path, max_size: u64, max_files: u32) -> JsonFile {
        let folder = File::open(folder).unwrap();
        JsonFile::new(
            folder.into(),
            "x-json.log".to_owned(),
            max_size,
            max_files,
            Vec::new(),
        )
    }

    /// The lines of a file without their times.
    fn lines(folder: &std::path::Path, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        text.lines()
            .map(|line| {
                let (front, time) = line.split_once(",\"time\":\"").unwrap();
                let time = time.strip_suffix("\"}").unwrap();
                assert!(clock::parse_rfc3339(time.as_bytes()).is_some());
                front.to_owned()
            })
            .collect()
    }

    #[test]
    fn each_line_is_an_object() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), 0, 1);
        log.write(Stream::Stdout, b"one\ntw");
        log.write(Stream::Stderr, b"err\n");
        log.write(Stream::Stdout, b"o\n\nrest");
        log.finish();
        assert_eq!(
            lines(folder.path(), "x-json.log"),
            [
                r#"{"log":"one\n","stream":"stdout""#,
                r#"{"log":"err\n","stream":"stderr""#,
                r#"{"log":"two\n","stream":"stdout""#,
                r#"{"log":"\n","stream":"stdout""#,
                r#"{"log":"rest","stream":"stdout""#,
            ]
        );
    }

    #[test]
    fn a_long_line_is_cut_into_pieces_that_share_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), 0, 1);
        let long = vec![b'x'; 2 * PIECE + 5];
        for part in long.chunks(1000) {
            log.write(Stream::Stdout, part);
        }
        log.write(Stream::Stdout, b"\n");
        let text = std::fs::read_to_string(folder.path().join("x-json.log")).unwrap();
        let times: Vec<&str> = text
            .lines()
            .map(|line| line.split_once("\"time\"").unwrap().1)
            .collect();
        assert_eq!(times.len(), 3);
        assert!(times.iter().all(|time| *time == times[0]));
        let lengths: Vec<usize> = lines(folder.path(), "x-json.log")
            .iter()
            .map(|line| line.matches('x').count())
            .collect();
        assert_eq!(lengths, [PIECE, PIECE, 5]);
        assert!(text.ends_with("\"}\n") && text.lines().next().unwrap().contains("x\",\"stream\""));
    }

    #[test]
    fn files_are_closed_by_size_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), 1000, 3);
        for n in 0..200 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        }
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["x-json.log", "x-json.log.1", "x-json.log.2"]);
        for name in &names[1..] {
            let length = std::fs::metadata(folder.path().join(name)).unwrap().len();
            assert!((1000..1100).contains(&length), "{length}");
        }
        let mut all: Vec<String> = names
            .iter()
            .rev()
            .flat_map(|name| lines(folder.path(), name))
            .collect();
        assert!(all.pop().unwrap().contains("line 199"));
        log.remove();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_read_is_removed_a_little_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), 1000, 2);
        let line = |n: u32| format!("line {n}\n").into_bytes();
        (0..20).for_each(|n| log.write(Stream::Stdout, &line(n)));
        let oldest = File::open(folder.path().join("x-json.log.1")).unwrap();
        rustix::fs::flock(&oldest, FlockOperation::NonBlockingLockShared).unwrap();
        (20..40).for_each(|n| log.write(Stream::Stdout, &line(n)));
        assert!(log.held_until().is_some());
        assert!(lines(folder.path(), "x-json.log.1")[0].contains("line 0"));
        log.retry();
        assert!(log.held_until().is_some());
        drop(oldest);
        log.retry();
        assert_eq!(log.held_until(), None);
        assert!(!lines(folder.path(), "x-json.log.1")[0].contains("line 0"));
        // One that is never let go is waited for once.
        let oldest = File::open(folder.path().join("x-json.log.1")).unwrap();
        rustix::fs::flock(&oldest, FlockOperation::NonBlockingLockShared).unwrap();
        let begun = Instant::now();
        (40..90).for_each(|n| log.write(Stream::Stdout, &line(n)));
        while log.held_until().is_some() {
            std::thread::sleep(GLANCE);
            log.retry();
        }
        let waited = begun.elapsed();
        assert!(waited >= PATIENCE && waited < 5 * PATIENCE, "{waited:?}");
        assert!(!lines(folder.path(), "x-json.log.1")[0].contains("line 20"));
    }

    #[test]
    fn with_a_buffer_lines_wait_and_then_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), 500, 2);
        log.set_buffer(Some(1000));
        let line = |n: u32| format!("line {n}\n").into_bytes();
        (0..15).for_each(|n| log.write(Stream::Stdout, &line(n)));
        let oldest = File::open(folder.path().join("x-json.log.1")).unwrap();
        rustix::fs::flock(&oldest, FlockOperation::NonBlockingLockShared).unwrap();
        (15..200).for_each(|n| log.write(Stream::Stdout, &line(n)));
        assert!(log.held_until().is_some() && !log.holds());
        // What waits is no more than was said, and the files are as long as they may be.
        assert!(
            (1000..1100).contains(&log.gathered.len()),
            "{}",
            log.gathered.len()
        );
        assert!(log.lost() > 100 && log.lost() < 185, "{}", log.lost());
        assert!(
            std::fs::metadata(folder.path().join("x-json.log"))
                .unwrap()
                .len()
                < 600
        );
        let lost = log.lost();
        drop(oldest);
        log.retry();
        assert_eq!((log.held_until(), log.gathered.len()), (None, 0));
        log.write(Stream::Stdout, &line(200));
        assert_eq!(log.lost(), lost);
        let newest = lines(folder.path(), "x-json.log");
        assert!(newest.last().unwrap().contains("line 200"), "{newest:?}");
    }

    #[test]
    fn a_single_file_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), 1000, 1);
        for n in 0..100 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        }
        assert!(
            std::fs::metadata(folder.path().join("x-json.log"))
                .unwrap()
                .len()
                < 1100
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_log_that_cannot_be_written_counts_what_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x-json.log")).unwrap();
        let mut log = log_in(folder.path(), 0, 1);
        log.write(Stream::Stdout, b"a\nb\n");
        assert_eq!(log.lost(), 2);
        std::fs::remove_dir(folder.path().join("x-json.log")).unwrap();
        log.write(Stream::Stdout, b"c\n");
        assert_eq!(
            (log.lost(), lines(folder.path(), "x-json.log").len()),
            (2, 1)
        );
    }
}

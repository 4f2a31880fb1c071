//! Where in a log's files to begin.

use std::io;
use std::os::unix::fs::FileExt;

use super::files::LogFile;
use super::line::Line;
use super::{CHUNK, LINE_LIMIT};

/// The offset at which the last `count` lines before `end` begin, and how many there are. A piece of a line at the end,
/// which is being written, is none.
pub(super) fn last_lines(file: &LogFile, end: u64, count: u64) -> io::Result<(u64, u64)> {
    let mut buffer = vec![0; CHUNK];
    let mut chunk_end = end;
    let mut found = 0;
    let mut any = false;
    if count == 0 {
        return Ok((end, 0));
    }
    while chunk_end > 0 {
        let start = chunk_end.saturating_sub(CHUNK as u64);
        // At most CHUNK.
        let length = (chunk_end - start) as usize;
        file.file.read_exact_at(&mut buffer[..length], start)?;
        for at in (0..length).rev() {
            // The last line feed ends the last line; each other one stands before a line.
            if buffer[at] == b'\n' && std::mem::replace(&mut any, true) {
                found += 1;
                if found == count {
                    return Ok((start + at as u64 + 1, found));
                }
            }
        }
        chunk_end = start;
    }
    // The file's first line has no line feed before it.
    Ok((0, found + u64::from(any)))
}

/// The first whole line at or after `offset`: its offset and time. `None` when there is none before `end`.
fn line_after(file: &LogFile, offset: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    let mut window = Vec::new();
    let mut start = offset;
    // A line that begins at `offset` is found only if its predecessor's end is seen.
    let mut skipping = offset > 0;
    if skipping {
        start -= 1;
    }
    let mut read_to = start;
    while window.len() < 2 * LINE_LIMIT && read_to < end {
        let old = window.len();
        let wanted = CHUNK.min(usize::try_from(end - read_to).unwrap_or(CHUNK));
        window.resize(old + wanted, 0);
        let got = file.file.read_at(&mut window[old..], read_to)?;
        window.truncate(old + got);
        if got == 0 {
            break;
        }
        read_to += got as u64;
        while let Some(feed) = window.iter().position(|&byte| byte == b'\n') {
            let time = if skipping {
                None
            } else {
                Line::time_of(&window[..feed])
            };
            if let Some(time) = time {
                return Ok(Some((start, time)));
            }
            skipping = false;
            window.drain(..=feed);
            start += feed as u64 + 1;
        }
    }
    Ok(None)
}

/// An offset before which every line is older than `since`, found by halving. (Times hardly ever go back:
/// whoever reads on compares each.)
pub(super) fn first_since(file: &LogFile, end: u64, since: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, end);
    // What is left is cheaper to read than to halve.
    while high - low > CHUNK as u64 {
        let middle = low + (high - low) / 2;
        match line_after(file, middle, high)? {
            Some((offset, time)) if time < since => low = offset,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Whether the file's first line is older than `since`: then no older file is of interest.
pub(super) fn begins_before(file: &LogFile, end: u64, since: u64) -> io::Result<bool> {
    Ok(line_after(file, 0, end)?.is_some_and(|(_, time)| time < since))
}

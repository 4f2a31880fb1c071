//! `logs --follow` that goes on with the next daemon where the last one was cut off.
//!
//! Every message is asked for with its time, which a log keeps to the nanosecond. What was given out of each stream is
//! known by the last time and the number of bytes below it; the next daemon is asked for what came since, and what it
//! repeats is passed over. Within a stream times do not go back, unless the host's clock does.

use std::io::{self, Write};

use crate::frames::{Frames, Woven};
use crate::time;

/// The form of a time in front of a message; `0` stands for any digit.
const FORM: &[u8] = b"0000-00-00T00:00:00.000000000Z ";

/// Takes an answer's body apart, and keeps where the log was read to.
pub(super) struct Follower {
    tty: bool,
    /// Whether times are shown.
    shown: bool,
    frames: Frames,
    places: [Place; 2],
}

/// How far one stream was read.
#[derive(Default)]
struct Place {
    /// The time of what was given out last; empty before the first message.
    last: Vec<u8>,
    /// How many bytes of that time were given out.
    given: u64,
    /// What was given out is not a whole line yet.
    is_open: bool,
    /// What this connection repeats: up to this time, and so many bytes of it.
    known: Option<(Vec<u8>, u64)>,
    /// The time of the present message, and how many bytes of that time this connection has brought.
    time: Vec<u8>,
    at: u64,
    /// The present message's time was shown.
    told: bool,
    state: State,
    /// Bytes that are looked at when more come.
    held: Vec<u8>,
}

/// What comes next in a stream.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The time of a message.
    #[default]
    Time,
    /// The rest of a message.
    Text,
    /// The rest of a line that has no time: the daemon's own words.
    Alien,
}

impl Follower {
    pub(super) fn new(tty: bool, shown: bool) -> Self {
        Follower {
            tty,
            shown,
            frames: Frames::default(),
            places: Default::default(),
        }
    }

    /// Another connection begins.
    pub(super) fn resume(&mut self) {
        self.frames = Frames::default();
        for place in &mut self.places {
            *place = Place {
                last: std::mem::take(&mut place.last),
                given: place.given,
                is_open: place.is_open,
                ..Place::default()
            };
            place.known = (!place.last.is_empty()).then(|| (place.last.clone(), place.given));
        }
    }

    /// The moment from which the next daemon is asked, as the API takes it; `None` when nothing came yet.
    pub(super) fn since(&self) -> Option<String> {
        // Later pieces of a line bear the time of its first.
        let open = self.places.iter().filter(|place| place.is_open);
        let newest = self.places.iter().map(|place| &place.last).max()?;
        let earliest = open.map(|place| &place.last).fold(newest, Ord::min);
        let (seconds, nanos) = time::parse(std::str::from_utf8(earliest).ok()?)?;
        Some(format!("{seconds}.{nanos:09}"))
    }

    /// Writes what is new among these bytes of a body.
    ///
    /// # Errors
    /// What writing gave, or `InvalidData` for a body that is none of a log.
    pub(super) fn write(
        &mut self,
        mut bytes: &[u8],
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        let mut text = Vec::with_capacity(bytes.len());
        if self.tty {
            self.places[0].take(bytes, true, self.shown, &mut text);
            out.write_all(&text)?;
        } else {
            let mut woven = Woven::new(out, err);
            let whole = loop {
                let piece = match self.frames.next(&mut bytes) {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                };
                text.clear();
                let is_error = piece.stream >= 2;
                let place = &mut self.places[usize::from(is_error)];
                if piece.is_first {
                    place.begin(&mut text);
                }
                place.take(piece.content, false, self.shown, &mut text);
                woven.push(is_error, &text)?;
            };
            woven.finish()?;
            return whole;
        }
        out.flush()
    }

    /// Writes what was held back, at the end of the log.
    ///
    /// # Errors
    /// What writing gave.
    pub(super) fn finish(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        let [first, second] = &mut self.places;
        out.write_all(&std::mem::take(&mut first.held))?;
        out.flush()?;
        err.write_all(&std::mem::take(&mut second.held))?;
        err.flush()
    }
}

impl Place {
    /// A message begins, whatever was before.
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.state = State::Time;
    }

    /// Takes bytes of the stream; appends what is new. In a stream without frames a message may end within a line.
    fn take(&mut self, bytes: &[u8], unframed: bool, shown: bool, out: &mut Vec<u8>) {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            match self.state {
                State::Time => match time_of(rest) {
                    Time::Whole(time, after) => {
                        if self.time != time {
                            self.time = time.to_vec();
                            self.at = 0;
                        }
                        self.told = false;
                        self.state = State::Text;
                        rest = after;
                    }
                    Time::Part => {
                        self.held = rest.to_vec();
                        return;
                    }
                    Time::None => self.state = State::Alien,
                },
                State::Text => {
                    let (text, next, held) = self.message(rest, unframed);
                    let held = held.to_vec();
                    let length = text.len();
                    self.give(text, shown, out);
                    rest = &rest[length..];
                    if let Some(next) = next {
                        self.state = next;
                    } else {
                        self.held = held;
                        return;
                    }
                }
                State::Alien => {
                    let (line, is_whole) = line_of(rest);
                    out.extend_from_slice(line);
                    rest = &rest[line.len()..];
                    if is_whole {
                        self.state = State::Time;
                    }
                }
            }
        }
    }

    /// What of these bytes belongs to the present message; what comes after it, if that is known; what is held back.
    fn message<'a>(&self, bytes: &'a [u8], unframed: bool) -> (&'a [u8], Option<State>, &'a [u8]) {
        let (line, is_whole) = line_of(bytes);
        if unframed {
            for at in 0..line.len() {
                match time_of(&line[at..]) {
                    // A program that writes a time has taken it before its line was read.
                    Time::Whole(time, _) if time >= self.time.as_slice() => {
                        return (&line[..at], Some(State::Time), &[]);
                    }
                    Time::Part if !is_whole => return (&line[..at], None, &line[at..]),
                    Time::Whole(..) | Time::Part | Time::None => {}
                }
            }
        }
        let next = if is_whole { State::Time } else { State::Text };
        (line, Some(next), &[])
    }

    /// Appends what was not given out before.
    fn give(&mut self, mut text: &[u8], shown: bool, out: &mut Vec<u8>) {
        let from = self.at;
        self.at += text.len() as u64;
        if let Some((time, given)) = &self.known {
            let repeated = match self.time.cmp(time) {
                std::cmp::Ordering::Less => text.len(),
                std::cmp::Ordering::Equal => {
                    let repeated = given.saturating_sub(from).min(text.len() as u64);
                    usize::try_from(repeated).unwrap_or(text.len())
                }
                std::cmp::Ordering::Greater => 0,
            };
            self.told |= repeated > 0;
            text = &text[repeated..];
            if text.is_empty() {
                return;
            }
            self.known = None;
        }
        if text.is_empty() {
            return;
        }
        if shown && !self.told {
            out.extend_from_slice(&self.time);
            out.push(b' ');
        }
        self.told = true;
        out.extend_from_slice(text);
        self.last.clone_from(&self.time);
        self.given = self.at;
        self.is_open = !text.ends_with(b"\n");
    }
}

/// What the beginning of some bytes is.
enum Time<'a> {
    /// A time, and what follows it and its blank.
    Whole(&'a [u8], &'a [u8]),
    /// The beginning of one, perhaps.
    Part,
    /// None.
    None,
}

fn time_of(bytes: &[u8]) -> Time<'_> {
    let alike = bytes.iter().zip(FORM).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    });
    match bytes.split_at_checked(FORM.len()) {
        _ if !alike => Time::None,
        Some((time, rest)) => Time::Whole(&time[..FORM.len() - 1], rest),
        None => Time::Part,
    }
}

/// The bytes up to and with the first line feed, and whether there is one.
fn line_of(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(feed) => (&bytes[..=feed], true),
        None => (bytes, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(n: u64) -> String {
        format!("2026-01-02T03:04:05.{n:09}Z")
    }

    fn message(stream: u8, n: u64, text: &str) -> Vec<u8> {
        let content = format!("{} {text}", time(n));
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        frame.extend(content.into_bytes());
        frame
    }

    /// A log: times, streams and texts; a terminal has the first stream alone. The lines of a piece share a time, pieces of a line too.
    const LOG: &[(u64, u8, &str)] = &[
        (1, 1, "one\n"),
        (1, 1, "two\n"),
        (2, 2, "error of "),
        (3, 1, "three\n"),
        (2, 2, "two pieces\n"),
        (3, 1, "at 2025-01-01T00:00:00.000000000Z four\n"),
        (4, 1, "rest"),
        (5, 1, "five\n"),
        (6, 2, "six\n"),
    ];

    /// What a daemon answers to who asks since a moment.
    fn body(tty: bool, since: u64) -> Vec<u8> {
        let wanted = LOG
            .iter()
            .filter(|(n, stream, _)| *n >= since && (!tty || *stream == 1));
        wanted
            .flat_map(|(n, stream, text)| {
                let framed = message(*stream, *n, text);
                framed[if tty { 8 } else { 0 }..].to_vec()
            })
            .collect()
    }

    fn all(stream: u8, shown: bool) -> String {
        let wanted = LOG.iter().filter(|(_, of, _)| *of == stream);
        wanted
            .map(|(n, _, text)| match shown {
                true => format!("{} {text}", time(*n)),
                false => (*text).to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_log_that_is_cut_anywhere_comes_whole_and_once() {
        for (tty, shown) in [(false, false), (false, true), (true, false), (true, true)] {
            for size in [1, 7, 1000] {
                for cut in 0..body(tty, 0).len() {
                    let (mut out, mut err) = (Vec::new(), Vec::new());
                    let mut follower = Follower::new(tty, shown);
                    for piece in body(tty, 0)[..cut].chunks(size) {
                        follower.write(piece, &mut out, &mut err).unwrap();
                    }
                    let since = follower
                        .since()
                        .map_or(0, |since| since.split_once('.').unwrap().1.parse().unwrap());
                    follower.resume();
                    for piece in body(tty, since).chunks(size) {
                        follower.write(piece, &mut out, &mut err).unwrap();
                    }
                    follower.finish(&mut out, &mut err).unwrap();
                    let [out, err] = [out, err].map(|text| String::from_utf8(text).unwrap());
                    let case = format!("cut at {cut}, {tty} {shown} {size}");
                    assert_eq!(out, all(1, shown), "{case}");
                    assert_eq!(
                        err,
                        if tty { String::new() } else { all(2, shown) },
                        "{case}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_has_no_time_is_passed_on() {
        let mut follower = Follower::new(true, false);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        follower
            .write(b"Error grabbing logs: x\n\n20", &mut out, &mut err)
            .unwrap();
        follower.finish(&mut out, &mut err).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Error grabbing logs: x\n\n20"
        );
    }
}

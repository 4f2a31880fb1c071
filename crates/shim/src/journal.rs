//! The exit journal: what happened to a container, kept where no daemon is needed and no disk can be full.
//!
//! A file of records of [`RECORD`] bytes, preallocated in [`STEP`]s, each with a checksum. A record is in the
//! file before anybody is told. The shim writes, everybody may read at any time: a record that is only partly
//! there does not pass its checksum.
//!
//! A shim holds a lock on its journal (fcntl(2), F_SETLK) for as long as it lives: the kernel takes it back with the
//! process, and from nobody else. So whoever finds the lock free knows that the shim is dead.
//!
//! The file grows until a daemon has acknowledged what stands at its front; then the front is used again.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::protocol::{Event, EventKind, HealthState, RestartOutlook};

/// The length of a record in bytes.
pub const RECORD: usize = 128;
/// How many bytes are added to the file at a time.
pub const STEP: usize = 4096;
/// The longest file in bytes; beyond it the oldest records are lost, acknowledged or not.
pub const LIMIT: usize = 1 << 20;

pub(crate) const MAGIC: [u8; 4] = *b"WJR1";
const TEXT: usize = 64;

/// What a journal holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// The whole records, oldest first.
    pub events: Vec<Event>,
    /// How many records are there in part only: at most one, unless the medium lost something.
    pub torn: usize,
}

/// Reads a journal.
///
/// # Errors
/// As pread(2); a file longer than [`LIMIT`] is read up to there.
pub fn read(file: &File) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let length = usize::try_from(file.metadata()?.len())
        .unwrap_or(LIMIT)
        .min(LIMIT);
    let mut buffer = [0; STEP];
    let mut offset = 0;
    while offset < length {
        let wanted = STEP.min(length - offset);
        let got = file.read_at(&mut buffer[..wanted], offset as u64)?;
        if got == 0 {
            break;
        }
        for record in buffer[..got].chunks(RECORD) {
            match decode(record) {
                Some(event) => contents.events.push(event),
                None if record.iter().any(|&byte| byte != 0) => contents.torn += 1,
                None => {}
            }
        }
        offset += got;
    }
    contents.events.sort_by_key(|event| event.sequence);
    Ok(contents)
}

/// Whether the shim that writes this journal lives. `file` must be open for reading and writing, and this process must
/// not have it open elsewhere.
///
/// # Errors
/// As fcntl(2).
pub fn is_kept(file: &File) -> io::Result<bool> {
    // For a moment the lock may be ours: the caller's closing of the file gives it back.
    match rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(Errno::ACCESS | Errno::AGAIN) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// The shim's side.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Sequence numbers by place in the file, 0 for a free one.
    places: Vec<u64>,
    next_place: usize,
    sequence: u64,
    acknowledged: u64,
}

impl Journal {
    /// A journal that is not looked at yet.
    pub(crate) fn new(file: File) -> Self {
        Journal {
            file,
            places: Vec::new(),
            next_place: 0,
            sequence: 0,
            acknowledged: 0,
        }
    }

    /// Takes the lock, goes to the end of what is there and makes sure that there is room.
    pub(crate) fn prepare(&mut self) -> io::Result<()> {
        rustix::fs::fcntl_lock(&self.file, FlockOperation::NonBlockingLockExclusive)?;
        let length = usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX);
        if length > 0 && self.places.is_empty() {
            self.resume(length.min(LIMIT))?;
        }
        if self.places.is_empty() {
            self.grow()?;
        }
        Ok(())
    }

    fn resume(&mut self, length: usize) -> io::Result<()> {
        let mut record = [0; RECORD];
        for place in 0..length / RECORD {
            self.file
                .read_exact_at(&mut record, (place * RECORD) as u64)?;
            let sequence = decode(&record).map_or(0, |event| event.sequence);
            self.places.push(sequence);
            if sequence > self.sequence {
                self.sequence = sequence;
                self.next_place = place + 1;
            }
        }
        Ok(())
    }

    /// The number of the last record.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// A daemon has kept everything up to `sequence`.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        self.acknowledged = self.acknowledged.max(sequence.min(self.sequence));
    }

    /// Writes a record of what happened at `time`; the event that may now be told.
    ///
    /// A record that cannot be written does not stop anything: the event is still told.
    pub(crate) fn record(&mut self, time: u64, kind: EventKind) -> Event {
        if self.places.is_empty() {
            // Only a start that failed at once comes here unprepared. Without room nothing is kept.
            let _ = self.prepare();
        }
        self.sequence += 1;
        let event = Event {
            sequence: self.sequence,
            time,
            kind,
        };
        let place = self.free_place();
        if let Some(bytes) = encode(&event) {
            // Preallocated memory of a tmpfs: a write within it fails only with the machine.
            let _ = self.file.write_all_at(&bytes, (place * RECORD) as u64);
        }
        if let Some(entry) = self.places.get_mut(place) {
            *entry = self.sequence;
        }
        self.next_place = place + 1;
        event
    }

    /// The next place that holds nothing anybody still needs; records are ordered by number, not by place.
    fn free_place(&mut self) -> usize {
        let free = |&sequence: &u64| sequence <= self.acknowledged;
        if self.places.get(self.next_place).is_some_and(free) {
            return self.next_place;
        }
        if let Some(place) = self.places.iter().position(free) {
            return place;
        }
        let end = self.places.len();
        if end * RECORD < LIMIT && self.grow().is_ok() {
            return end;
        }
        let oldest = self
            .places
            .iter()
            .enumerate()
            .min_by_key(|(_, sequence)| **sequence);
        oldest.map_or(0, |(place, _)| place)
    }

    fn grow(&mut self) -> io::Result<()> {
        let length = self.places.len() * RECORD;
        rustix::fs::fallocate(
            self.file.as_fd(),
            rustix::fs::FallocateFlags::empty(),
            length as u64,
            STEP as u64,
        )?;
        self.places.resize(self.places.len() + STEP / RECORD, 0);
        Ok(())
    }
}

/// Magic, checksum of what follows, sequence, time, kind, length of the text, four numbers, the text.
fn encode(event: &Event) -> Option<[u8; RECORD]> {
    let (kind, numbers, text): (u8, [u64; 4], &str) = match &event.kind {
        EventKind::Started {
            pid,
            start_ticks,
            restarts,
            supervisor,
        } => (
            1,
            [
                u64::from(*pid),
                *start_ticks,
                u64::from(*restarts),
                u64::from(*supervisor),
            ],
            "",
        ),
        EventKind::StartFailed { exit_code, text } => (2, [u64::from(*exit_code), 0, 0, 0], text),
        EventKind::Exited {
            code,
            signal,
            oom,
            restart,
        } => {
            let (outlook, delay) = restart.parts();
            (
                3,
                [
                    u64::from(*code) | u64::from(*signal) << 8,
                    u64::from(*oom),
                    outlook,
                    delay,
                ],
                "",
            )
        }
        EventKind::RestartCancelled => (4, [0; 4], ""),
        EventKind::ExecExited { id, code } => (5, [u64::from(*code), 0, 0, 0], id.as_str()),
        EventKind::Health {
            state,
            failing_streak,
        } => (6, [state.number(), u64::from(*failing_streak), 0, 0], ""),
        EventKind::LinesLost { .. } | EventKind::Detached { .. } => return None,
    };
    let mut text_end = text.len().min(TEXT);
    while !text.is_char_boundary(text_end) {
        text_end -= 1;
    }
    let text = &text.as_bytes()[..text_end];
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&MAGIC);
    record[8..16].copy_from_slice(&event.sequence.to_le_bytes());
    record[16..24].copy_from_slice(&event.time.to_le_bytes());
    record[24] = kind;
    // At most TEXT.
    record[25] = text.len() as u8;
    for (place, number) in record[32..64].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    record[64..64 + text.len()].copy_from_slice(text);
    let checksum = checksum(&record[8..]);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
    Some(record)
}

pub(crate) fn decode(record: &[u8]) -> Option<Event> {
    let record: &[u8; RECORD] = record.try_into().ok()?;
    let number = |from: usize| {
        let bytes = record.get(from..from + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let stored = u32::from_le_bytes(record[4..8].try_into().ok()?);
    if record[..4] != MAGIC || stored != checksum(&record[8..]) {
        return None;
    }
    let numbers = [number(32)?, number(40)?, number(48)?, number(56)?];
    let text = record.get(64..64 + usize::from(record[25]))?;
    let text = std::str::from_utf8(text).ok()?;
    let kind = event_kind(record[24], numbers, text)?;
    Some(Event {
        sequence: number(8)?,
        time: number(16)?,
        kind,
    })
}

fn event_kind(kind: u8, numbers: [u64; 4], text: &str) -> Option<EventKind> {
    let [a, b, c, d] = numbers;
    Some(match kind {
        1 => EventKind::Started {
            pid: u32::try_from(a).ok()?,
            start_ticks: b,
            restarts: u32::try_from(c).ok()?,
            supervisor: u32::try_from(d).ok()?,
        },
        2 => EventKind::StartFailed {
            exit_code: u8::try_from(a).ok()?,
            text: text.to_owned(),
        },
        3 => EventKind::Exited {
            code: (a & 0xff) as u8,
            signal: u8::try_from(a >> 8).ok()?,
            oom: b == 1,
            restart: RestartOutlook::from_parts(c, d)?,
        },
        4 => EventKind::RestartCancelled,
        5 => EventKind::ExecExited {
            id: text.parse().ok()?,
            code: u8::try_from(a).ok()?,
        },
        6 => EventKind::Health {
            state: HealthState::from_number(a)?,
            failing_streak: u32::try_from(b).ok()?,
        },
        _ => return None,
    })
}

/// CRC-32 (ISO 3309, polynomial 0xEDB88320), bit by bit: a table would cost each shim a page.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: &File) -> Journal {
        let mut journal = Journal::new(file.try_clone().unwrap());
        journal.prepare().unwrap();
        journal
    }

    fn started(restarts: u32) -> EventKind {
        EventKind::Started {
            pid: 42,
            start_ticks: 1 << 40,
            restarts,
            supervisor: 41,
        }
    }

    fn kinds() -> Vec<EventKind> {
        vec![
            started(0),
            EventKind::StartFailed {
                exit_code: 127,
                text: "é".repeat(40),
            },
            EventKind::Exited {
                code: 137,
                signal: 9,
                oom: true,
                restart: RestartOutlook::After { delay: 100 },
            },
            EventKind::RestartCancelled,
            EventKind::ExecExited {
                id: "ab".repeat(32).parse().unwrap(),
                code: 3,
            },
            EventKind::Health {
                state: HealthState::Unhealthy,
                failing_streak: 3,
            },
        ]
    }

    #[test]
    fn records_come_back_in_order() {
        let file = tempfile::tempfile().unwrap();
        let mut journal = open(&file);
        let mut told: Vec<Event> = kinds()
            .into_iter()
            .zip(1000..)
            .map(|(kind, time)| journal.record(time, kind))
            .collect();
        told[1].kind = EventKind::StartFailed {
            exit_code: 127,
            text: "é".repeat(32),
        };
        let contents = read(&file).unwrap();
        assert_eq!(
            contents,
            Contents {
                events: told,
                torn: 0
            }
        );
        assert_eq!(file.metadata().unwrap().len(), STEP as u64);
    }

    #[test]
    fn a_torn_record_is_noticed_and_left_out() {
        let file = tempfile::tempfile().unwrap();
        let mut journal = open(&file);
        journal.record(1, started(0));
        journal.record(
            2,
            EventKind::ExecExited {
                id: "cd".repeat(32).parse().unwrap(),
                code: 1,
            },
        );
        for cut in [1, 7, 30, RECORD - 1] {
            let mut record = [0; RECORD];
            file.read_exact_at(&mut record, RECORD as u64).unwrap();
            let whole = record;
            record[cut..].fill(0);
            file.write_all_at(&record, RECORD as u64).unwrap();
            let contents = read(&file).unwrap();
            assert_eq!(
                (contents.events.len(), contents.torn),
                (1, 1),
                "cut at {cut}"
            );
            file.write_all_at(&whole, RECORD as u64).unwrap();
        }
        assert_eq!(read(&file).unwrap().events.len(), 2);
    }

    #[test]
    fn nothing_is_overwritten_before_it_is_acknowledged() {
        let file = tempfile::tempfile().unwrap();
        let mut journal = open(&file);
        let places = STEP / RECORD;
        for n in 0..places + 1 {
            journal.record(n as u64, started(0));
        }
        assert_eq!(read(&file).unwrap().events.len(), places + 1);
        assert_eq!(file.metadata().unwrap().len(), 2 * STEP as u64);
        journal.acknowledge(journal.sequence());
        for n in 0..2 * places {
            journal.record(n as u64, started(0));
            journal.acknowledge(journal.sequence());
        }
        assert_eq!(file.metadata().unwrap().len(), 2 * STEP as u64);
        let events = read(&file).unwrap().events;
        let last = events.last().unwrap().sequence;
        assert_eq!(last, (3 * places + 1) as u64);
        assert!(
            events
                .windows(2)
                .all(|pair| pair[0].sequence < pair[1].sequence)
        );
    }

    #[test]
    fn a_journal_is_taken_up_where_it_ended() {
        let file = tempfile::tempfile().unwrap();
        for round in 0..5 {
            let mut journal = Journal::new(file.try_clone().unwrap());
            if round % 2 == 0 {
                journal.prepare().unwrap();
                assert_eq!(journal.sequence(), round * 2);
            }
            assert_eq!(journal.record(1, started(0)).sequence, round * 2 + 1);
            journal.record(2, EventKind::RestartCancelled);
        }
        assert_eq!(read(&file).unwrap().events.len(), 10);
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }
}

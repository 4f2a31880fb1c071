//! Doors to what only this crate knows, for the fuzz targets in `fuzz/`.

use crate::protocol::transport::Inbox;
use crate::protocol::{Launch, Message, Request};

/// Takes a message apart as the daemon, the launcher and a shim would.
pub fn message(bytes: &[u8]) {
    let Ok(Some(packet)) = Inbox::default().accept(bytes.to_vec(), Vec::new()) else {
        return;
    };
    let kind = packet.header.kind;
    let _ = Message::decode(kind, packet.header.number, &packet.body);
    let _ = Request::decode(kind, &packet.body);
    let _ = Launch::decode(&packet.body);
}

/// Reads one object of a log file.
pub fn log_line(object: &[u8]) -> Option<crate::logs::Line> {
    let line = crate::logs::Line::parse(object);
    let time = crate::logs::Line::time_of(object);
    assert!(time.is_some() || line.is_none(), "a line has a time");
    line
}

/// Writes bytes as a log file's text.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    crate::logs::escape(text, out);
}

/// Reads one record of a journal, as it is and with a head that fits.
pub fn record(bytes: &[u8]) {
    use crate::journal::{MAGIC, RECORD, checksum, decode};
    let _ = decode(bytes);
    let mut record = [0; RECORD];
    let length = bytes.len().min(RECORD);
    record[..length].copy_from_slice(&bytes[..length]);
    record[..4].copy_from_slice(&MAGIC);
    let sum = checksum(&record[8..]);
    record[4..8].copy_from_slice(&sum.to_le_bytes());
    let _ = decode(&record);
}

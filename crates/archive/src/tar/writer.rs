//! Writes archives: ustar headers, with PAX records for what these cannot hold. The same entries give the same bytes.

use std::io::{self, Write};

use super::{BLOCK, END, Entry, Kind, Time};

/// The longest name in a header.
const NAME: usize = 100;
/// The largest number of a field of 8 and of 12 bytes.
const MAX_SHORT: u64 = 0o7_777_777;
const MAX_LONG: u64 = 0o77_777_777_777;

/// An archive that is being written.
pub struct Writer<W> {
    out: W,
    /// Bytes of content that the current entry still has to get, and what fills its last block.
    left: u64,
    padding: usize,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Self {
        Self {
            out,
            left: 0,
            padding: 0,
            written: 0,
        }
    }

    /// Begins an entry. A file's `size` bytes follow by [`Writer::content`]; `content` of the entry is not looked at.
    ///
    /// # Errors
    /// `InvalidInput` when the entry before has not got its whole content.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.end_content()?;
        let records = records(entry);
        if !records.is_empty() {
            let mut block = Block::new(b'x', records.len() as u64);
            // The name is for people who look with tools that know no PAX.
            let name = entry.path.strip_suffix(b"/").unwrap_or(&entry.path);
            let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
            block.text(0..NAME, &[b"PaxHeaders/", name].concat());
            block.number(100..108, 0o644);
            self.put(&block.checked())?;
            self.put(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.put(&header(entry).checked())?;
        if entry.kind == Kind::File {
            self.left = entry.size;
            self.padding = padding(entry.size);
        }
        Ok(())
    }

    /// Gives content to the current entry.
    ///
    /// # Errors
    /// `InvalidInput` for more than the entry's size.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| invalid("more content than the entry's size"))?;
        self.put(bytes)
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends the archive and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_content()?;
        self.put(&[0; END])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_content(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(invalid("less content than the entry's size"));
        }
        let padding = std::mem::take(&mut self.padding);
        self.put(&[0; BLOCK][..padding])
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        self.put(&[0; BLOCK][..padding(length)])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn padding(length: u64) -> usize {
    // Below a block.
    ((BLOCK as u64 - length % BLOCK as u64) % BLOCK as u64) as usize
}

/// What the header of this entry cannot hold.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.path.len() > NAME {
        record(&mut records, b"path", &entry.path);
    }
    if entry.link.len() > NAME {
        record(&mut records, b"linkpath", &entry.link);
    }
    if entry.kind == Kind::File && entry.size > MAX_LONG {
        record(&mut records, b"size", entry.size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if u64::from(id) > MAX_SHORT {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    if entry.mtime.nanoseconds != 0 || seconds(entry).is_none() {
        record(&mut records, b"mtime", time(entry.mtime).as_bytes());
    }
    let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
    xattrs.sort();
    for (name, value) in xattrs {
        if name.contains(&b'=') || name.contains(&b'%') {
            // A key ends at its first equals sign, so libarchive's form, which escapes, takes these.
            record(
                &mut records,
                &[b"LIBARCHIVE.xattr.", &escaped(name)[..]].concat(),
                base64(value).as_bytes(),
            );
        } else {
            record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
    }
    records
}

/// Appends `LENGTH KEY=VALUE\n`; the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn time(time: Time) -> String {
    let (mut seconds, mut nanoseconds) = (i128::from(time.seconds), time.nanoseconds);
    let mut sign = "";
    if seconds < 0 {
        sign = "-";
        seconds = -seconds;
        if nanoseconds > 0 {
            // Written, the fraction counts away from zero.
            seconds -= 1;
            nanoseconds = 1_000_000_000 - nanoseconds;
        }
    }
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanoseconds:09}")
        .trim_end_matches('0')
        .to_owned()
}

fn seconds(entry: &Entry) -> Option<u64> {
    u64::try_from(entry.mtime.seconds)
        .ok()
        .filter(|&seconds| seconds <= MAX_LONG)
}

fn escaped(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'=' => escaped.extend_from_slice(b"%3D"),
            b'%' => escaped.extend_from_slice(b"%25"),
            _ => escaped.push(byte),
        }
    }
    escaped
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let held = (0..3).fold(0u32, |held, index| {
            held << 8 | u32::from(group.get(index).copied().unwrap_or(0))
        });
        // So many bytes need one more digit.
        for digit in 0..=group.len() {
            text.push(char::from(DIGITS[(held >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

fn header(entry: &Entry) -> Block {
    let flag = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    let size = if entry.kind == Kind::File {
        entry.size
    } else {
        0
    };
    // What a record holds is zero here.
    let mut block = Block::new(flag, if size > MAX_LONG { 0 } else { size });
    block.text(0..NAME, &entry.path);
    block.number(100..108, u64::from(entry.mode & 0o7777));
    block.number(
        108..116,
        Some(u64::from(entry.uid))
            .filter(|&id| id <= MAX_SHORT)
            .unwrap_or(0),
    );
    block.number(
        116..124,
        Some(u64::from(entry.gid))
            .filter(|&id| id <= MAX_SHORT)
            .unwrap_or(0),
    );
    block.number(136..148, seconds(entry).unwrap_or(0));
    block.text(157..257, &entry.link);
    if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
        block.number(329..337, u64::from(entry.device.major));
        block.number(337..345, u64::from(entry.device.minor));
    }
    block
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(flag: u8, size: u64) -> Self {
        let mut block = Self([0; BLOCK]);
        block.0[156] = flag;
        block.0[257..265].copy_from_slice(b"ustar\x0000");
        for field in [100..108, 108..116, 116..124, 136..148, 329..337, 337..345] {
            block.number(field, 0);
        }
        block.number(124..136, size);
        block
    }

    /// The beginning of the text, as much as fits.
    fn text(&mut self, field: std::ops::Range<usize>, text: &[u8]) {
        let length = text.len().min(field.len());
        self.0[field.start..field.start + length].copy_from_slice(&text[..length]);
    }

    /// Octal digits with zeros in front and a NUL behind; the caller saw to it that the number fits.
    fn number(&mut self, field: std::ops::Range<usize>, mut number: u64) {
        let last = field.end - 1;
        self.0[last] = 0;
        for digit in self.0[field.start..last].iter_mut().rev() {
            *digit = b'0' + (number & 7) as u8;
            number >>= 3;
        }
    }

    fn checked(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let mut sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        // Six digits, a NUL and a blank: 512 bytes sum up to less than 18 bits.
        for digit in self.0[148..154].iter_mut().rev() {
            *digit = b'0' + (sum & 7) as u8;
            sum >>= 3;
        }
        self.0[154] = 0;
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tar::{Archive, Content, Device};
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        use Kind::*;
        proptest::sample::select(vec![
            File,
            HardLink,
            Symlink,
            CharDevice,
            BlockDevice,
            Directory,
            Fifo,
        ])
    }

    prop_compose! {
        fn entries()(
            kind in kinds(),
            path in proptest::collection::vec(1u8.., 1..300),
            link in proptest::collection::vec(1u8.., 0..300),
            mode in 0u32..0o10000, uid: u32, gid: u32,
            seconds in -(1i64 << 40)..1 << 40, nanoseconds in prop_oneof![Just(0), 0u32..1_000_000_000],
            content in proptest::collection::vec(any::<u8>(), 0..1500),
            major in 0u32..0x1000, minor in 0u32..0x100000,
            xattrs in proptest::collection::btree_map(
                proptest::collection::vec(1u8.., 1..50), proptest::collection::vec(any::<u8>(), 0..100), 0..4),
        ) -> (Entry, Vec<u8>) {
            let mut path = path;
            // A slash at the end of a file's name would make it a folder, as in archives of old.
            path.push(b'x');
            let is_file = kind == Kind::File;
            let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
            let device = if device { Device { major, minor } } else { Device::default() };
            let content = if is_file { content } else { Vec::new() };
            let (size, mtime) = (content.len() as u64, Time { seconds, nanoseconds });
            let xattrs = xattrs.into_iter().collect();
            let plain = Content::Plain;
            (Entry { at: 0, kind, path, link, mode, uid, gid, mtime, size, content: plain, device, xattrs }, content)
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(written in proptest::collection::vec(entries(), 0..8)) {
            let mut writer = Writer::new(Vec::new());
            for (entry, content) in &written {
                writer.entry(entry).unwrap();
                writer.content(content).unwrap();
            }
            let bytes = writer.finish().unwrap();
            let mut archive = Archive::new(&bytes[..]);
            for (entry, content) in &written {
                let mut read = archive.next_entry().unwrap().unwrap();
                read.at = 0;
                read.xattrs.sort();
                prop_assert_eq!(&read, entry);
                let mut found = Vec::new();
                loop {
                    let chunk = archive.chunk(u64::MAX).unwrap().to_vec();
                    if chunk.is_empty() { break; }
                    archive.consume(chunk.len());
                    found.extend(chunk);
                }
                prop_assert_eq!(&found, content);
            }
            prop_assert!(archive.next_entry().unwrap().is_none());
        }

        #[test]
        fn no_bytes_make_the_reader_fail_in_an_unforeseen_way(
            bytes in proptest::collection::vec(any::<u8>(), 0..4096), entry in entries(), at: usize, byte: u8,
        ) {
            let read_all = |bytes: &[u8]| {
                let mut archive = Archive::new(bytes);
                while let Ok(Some(_)) = archive.next_entry() {}
            };
            read_all(&bytes);
            let mut writer = Writer::new(Vec::new());
            writer.entry(&entry.0).unwrap();
            writer.content(&entry.1).unwrap();
            let mut damaged = writer.finish().unwrap();
            let at = at % damaged.len();
            damaged[at] = byte;
            read_all(&damaged);
        }
    }

    #[test]
    fn content_is_as_long_as_was_said() {
        let mut writer = Writer::new(Vec::new());
        let (path, size) = (b"f".to_vec(), 3);
        let entry = Entry {
            at: 0,
            kind: Kind::File,
            path,
            link: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size,
            content: Content::Plain,
            device: Device::default(),
            xattrs: Vec::new(),
        };
        writer.entry(&entry).unwrap();
        writer.content(b"1234").unwrap_err();
        writer.content(b"12").unwrap();
        writer.finish().map(drop).unwrap_err();
    }
}

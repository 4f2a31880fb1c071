//! Blocks read and written.

use super::{IoEntry, IoReport};
use crate::cgroup::CgroupError;
use crate::cgroup::directory::Folder;

/// Entries that are read of a file.
const MOST: usize = 4096;

/// Version 1: by the first scheduler or layer that has counted anything.
pub(super) fn read_v1(folder: &Folder<'_>) -> Result<IoReport, CgroupError> {
    let mut report = IoReport::default();
    for layer in ["bfq", "throttle"] {
        let entries = |what: &str| {
            let text = folder.read_if_exists(&format!("blkio.{layer}.{what}_recursive"))?;
            Ok::<_, CgroupError>(entries_v1(text.as_deref().unwrap_or_default()))
        };
        report = IoReport {
            bytes: entries("io_service_bytes")?,
            requests: entries("io_serviced")?,
        };
        if !report.requests.is_empty() {
            break;
        }
    }
    Ok(report)
}

/// Lines of `MAJOR:MINOR OPERATION VALUE`, and a last one with the sum over devices.
fn entries_v1(text: &str) -> Vec<IoEntry> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        Some(IoEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            operation: words.next()?.to_owned(),
            value: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).take(MOST).collect()
}

pub(super) fn read_v2(folder: &Folder<'_>) -> Result<IoReport, CgroupError> {
    let text = folder.read_if_exists("io.stat")?;
    Ok(entries_v2(text.as_deref().unwrap_or_default()))
}

/// Lines of `MAJOR:MINOR KEY=VALUE…`.
fn entries_v2(text: &str) -> IoReport {
    let mut report = IoReport::default();
    for line in text.lines().take(MOST) {
        let mut words = line.split_ascii_whitespace();
        let device = words.next().and_then(|device| device.split_once(':'));
        let Some((Ok(major), Ok(minor))) =
            device.map(|(major, minor)| (major.parse::<u64>(), minor.parse::<u64>()))
        else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, operation) = match key {
                "rbytes" => (&mut report.bytes, "Read"),
                "wbytes" => (&mut report.bytes, "Write"),
                "dbytes" => (&mut report.bytes, "Discard"),
                "rios" => (&mut report.requests, "Read"),
                "wios" => (&mut report.requests, "Write"),
                "dios" => (&mut report.requests, "Discard"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                list.push(IoEntry {
                    major,
                    minor,
                    operation: operation.to_owned(),
                    value,
                });
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(entries: &[IoEntry]) -> Vec<String> {
        entries
            .iter()
            .map(|one| {
                format!(
                    "{}:{} {} {}",
                    one.major, one.minor, one.operation, one.value
                )
            })
            .collect()
    }

    #[test]
    fn both_forms_are_read() {
        let v1 = "7:0 Read 4096\n7:0 Write 0\nTotal 4096\n";
        assert_eq!(told(&entries_v1(v1)), ["7:0 Read 4096", "7:0 Write 0"]);
        let v2 = "7:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=0 dios=0 cost.vrate=100.00\n8:0 \n";
        let report = entries_v2(v2);
        assert_eq!(
            told(&report.bytes),
            ["7:0 Read 4096", "7:0 Write 1", "7:0 Discard 0"]
        );
        assert_eq!(told(&report.requests)[..2], ["7:0 Read 2", "7:0 Write 3"]);
    }
}

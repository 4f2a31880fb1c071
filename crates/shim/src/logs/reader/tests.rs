//! Reading what the writer wrote.

use std::fs::File;
use std::path::Path;

use super::*;
use crate::logs::writer::JsonFile;
use crate::logs::{Stream, Watcher};

const NAME: &str = "x-json.log";

fn writer(folder: &Path, max_size: u64, max_files: u32) -> JsonFile {
    JsonFile::new(
        File::open(folder).unwrap().into(),
        NAME.to_owned(),
        max_size,
        max_files,
        Vec::new(),
    )
}

fn reader(folder: &Path, options: Options) -> Reader {
    Reader::open(File::open(folder).unwrap().into(), NAME, options).unwrap()
}

/// What can be read now, as text.
fn texts(reader: &mut Reader) -> Vec<String> {
    let mut texts = Vec::new();
    while let Next::Line(line) = reader.next_line().unwrap() {
        texts.push(String::from_utf8(line.text).unwrap());
    }
    texts
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("line {n}\n")).collect()
}

/// A log of `count` lines in several files, a second between two lines from the time 1,000 s on.
fn dated(folder: &Path, count: u64, per_file: u64) {
    let files = count.div_ceil(per_file);
    for file in 0..files {
        let mut text = Vec::new();
        for n in file * per_file..count.min((file + 1) * per_file) {
            text.extend_from_slice(
                format!("{{\"log\":\"line {n}\\n\",\"stream\":\"stdout\",\"time\":\"").as_bytes(),
            );
            crate::clock::write_rfc3339((1000 + n) * 1_000_000_000, &mut text);
            text.extend_from_slice(b"\"}\n");
        }
        let age = files - 1 - file;
        let name = if age == 0 {
            NAME.to_owned()
        } else {
            format!("{NAME}.{age}")
        };
        std::fs::write(folder.join(name), text).unwrap();
    }
}

fn seconds(n: u64) -> Option<u64> {
    Some((1000 + n) * 1_000_000_000)
}

#[test]
fn everything_is_read_in_order_over_all_files() {
    let folder = tempfile::tempdir().unwrap();
    dated(folder.path(), 5000, 900);
    let mut reader = reader(folder.path(), Options::default());
    assert_eq!(texts(&mut reader), numbers(0..5000));
    assert_eq!(reader.next_line().unwrap(), Next::End);
}

#[test]
fn the_last_lines() {
    let folder = tempfile::tempdir().unwrap();
    dated(folder.path(), 3000, 1000);
    for count in [0, 1, 2, 999, 1000, 1001, 2500, 3000, 3001, u64::MAX] {
        let mut reader = reader(
            folder.path(),
            Options {
                tail: Some(count),
                ..Options::default()
            },
        );
        let begin = 3000u64.saturating_sub(count);
        assert_eq!(texts(&mut reader), numbers(begin..3000), "{count}");
    }
}

#[test]
fn a_line_that_is_being_written_is_none_of_the_last() {
    let folder = tempfile::tempdir().unwrap();
    for (count, per_file) in [(30, 10), (29, 10), (21, 10)] {
        dated(folder.path(), count, per_file);
        let newest = folder.path().join(NAME);
        let mut text = std::fs::read(&newest).unwrap();
        text.extend_from_slice(b"{\"log\":\"half");
        std::fs::write(&newest, text).unwrap();
        for tail in [1, 5, 12] {
            let options = Options {
                tail: Some(tail),
                ..Options::default()
            };
            let mut reader = reader(folder.path(), options);
            assert_eq!(
                texts(&mut reader),
                numbers(count - tail..count),
                "{tail} of {count}"
            );
        }
    }
}

#[test]
fn since_and_until() {
    let folder = tempfile::tempdir().unwrap();
    dated(folder.path(), 30_000, 9_000);
    for (since, until) in [
        (0, 30_000),
        (1, 5),
        (8_999, 9_001),
        (17_777, 29_999),
        (29_999, 40_000),
    ] {
        let options = Options {
            since: seconds(since),
            until: seconds(until),
            ..Options::default()
        };
        let mut reader = reader(folder.path(), options);
        assert_eq!(texts(&mut reader), numbers(since..30_000.min(until + 1)));
    }
    let mut nothing = reader(
        folder.path(),
        Options {
            since: seconds(30_000),
            ..Options::default()
        },
    );
    assert!(texts(&mut nothing).is_empty());
    let both = Options {
        since: seconds(29_990),
        tail: Some(5),
        ..Options::default()
    };
    assert_eq!(
        texts(&mut reader(folder.path(), both)),
        numbers(29_995..30_000)
    );
    let both = Options {
        since: seconds(29_998),
        tail: Some(500),
        ..Options::default()
    };
    assert_eq!(
        texts(&mut reader(folder.path(), both)),
        numbers(29_998..30_000)
    );
}

#[test]
fn since_is_found_without_reading_everything() {
    let folder = tempfile::tempdir().unwrap();
    dated(folder.path(), 200_000, 200_000);
    let reader = reader(
        folder.path(),
        Options {
            since: seconds(150_000),
            ..Options::default()
        },
    );
    let length = std::fs::metadata(folder.path().join(NAME)).unwrap().len();
    assert!(reader.offset > length / 2 && reader.offset < length * 3 / 4 + 1);
}

#[test]
fn a_reader_follows_through_rotations() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = reader(
        folder.path(),
        Options {
            follow: true,
            ..Options::default()
        },
    );
    assert_eq!(reader.next_line().unwrap(), Next::Nothing);
    let mut writer = writer(folder.path(), 2000, 4);
    let mut seen = Vec::new();
    for n in 0..1000 {
        writer.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        if n % 30 == 0 {
            seen.extend(texts(&mut reader));
        }
    }
    seen.extend(texts(&mut reader));
    assert_eq!(seen, numbers(0..1000));
    assert_eq!(reader.next_line().unwrap(), Next::Nothing);
    writer.write(Stream::Stdout, b"line 1000\n");
    reader.stop_following(None).unwrap();
    assert_eq!(texts(&mut reader), numbers(1000..1001));
    assert_eq!(reader.next_line().unwrap(), Next::End);
}

#[test]
fn what_a_next_run_writes_is_not_read_by_a_follower_of_the_one_before() {
    let follow = Options {
        follow: true,
        ..Options::default()
    };
    // One that is at the end when it is told to stop has had everything.
    let folder = tempfile::tempdir().unwrap();
    let mut at_end = reader(folder.path(), follow);
    let mut writer = writer(folder.path(), 1 << 20, 1);
    writer.write(Stream::Stdout, b"line 0\n");
    assert_eq!(texts(&mut at_end), numbers(0..1));
    writer.write(Stream::Stdout, b"line 1\n");
    at_end.stop_following(None).unwrap();
    writer.write(Stream::Stdout, b"line 2\n");
    assert_eq!(texts(&mut at_end), numbers(1..2));
    assert_eq!(at_end.next_line().unwrap(), Next::End);
    // One that is files behind goes by the time.
    let folder = tempfile::tempdir().unwrap();
    dated(folder.path(), 30, 9);
    let mut behind = reader(folder.path(), follow);
    behind.stop_following(seconds(25)).unwrap();
    behind.stop_following(seconds(27)).unwrap();
    assert_eq!(texts(&mut behind), numbers(0..25));
    assert_eq!(behind.next_line().unwrap(), Next::End);
}

#[test]
fn a_reader_that_only_looks_misses_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), 2000, 2);
    let mut reader = reader(
        folder.path(),
        Options {
            follow: true,
            ..Options::default()
        },
    );
    for n in 0..1000 {
        writer.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        // A file takes 27 lines: the shim waits now and then for a look, and never for long.
        if n % 40 == 0 {
            reader.look_ahead().unwrap();
            writer.retry();
        }
    }
    assert!(reader.later.len() > 10, "{}", reader.later.len());
    assert_eq!(texts(&mut reader), numbers(0..1000));
}

#[test]
fn a_reader_that_is_far_behind_looks_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), 100, 2);
    let mut reader = reader(
        folder.path(),
        Options {
            follow: true,
            ..Options::default()
        },
    );
    for n in 0..1000 {
        writer.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        reader.look_ahead().unwrap();
        writer.retry();
    }
    assert_eq!(reader.later.len(), AHEAD_FILES);
    // The shim waits for it now.
    assert!(writer.held_until().is_some());
    assert_eq!(texts(&mut reader), numbers(0..1000));
}

#[test]
fn files_are_found_while_they_change_their_names() {
    let folder = tempfile::tempdir().unwrap();
    dated(folder.path(), 400, 100);
    let name = |age: u32| folder.path().join(super::super::files::name_of(NAME, age));
    // The third has its new name, the second not yet.
    std::fs::rename(name(2), name(3)).unwrap();
    std::fs::rename(name(1), name(2)).unwrap();
    let mut reader = reader(folder.path(), Options::default());
    assert_eq!(texts(&mut reader), numbers(100..400));
}

#[test]
fn a_reader_that_is_behind_a_single_file_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), 2000, 1);
    let mut reader = reader(
        folder.path(),
        Options {
            follow: true,
            ..Options::default()
        },
    );
    assert_eq!(reader.next_line().unwrap(), Next::Nothing);
    let mut seen = Vec::new();
    for n in 0..500 {
        writer.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        if n % 30 == 0 {
            seen.extend(texts(&mut reader));
            writer.retry();
        }
    }
    seen.extend(texts(&mut reader));
    assert_eq!(seen, numbers(0..500));
    // Nobody follows any more: one file is one file again.
    drop(reader);
    (0..60).for_each(|_| writer.write(Stream::Stdout, b"a line of the rest\n"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_reader_follows_a_single_file_that_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), 2000, 1);
    let mut reader = reader(
        folder.path(),
        Options {
            follow: true,
            ..Options::default()
        },
    );
    let mut seen = Vec::new();
    for n in 0..200 {
        writer.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        seen.extend(texts(&mut reader));
    }
    assert_eq!(seen, numbers(0..200));
}

#[test]
fn an_object_that_is_not_whole_yet_is_waited_for() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::create(folder.path().join(NAME)).unwrap();
    let mut reader = reader(
        folder.path(),
        Options {
            follow: true,
            ..Options::default()
        },
    );
    let object =
        "{\"log\":\"line 0\\n\",\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:01Z\"}\n";
    let (front, back) = object.split_at(20);
    file.write_all(front.as_bytes()).unwrap();
    assert_eq!(reader.next_line().unwrap(), Next::Nothing);
    file.write_all(back.as_bytes()).unwrap();
    assert_eq!(texts(&mut reader), numbers(0..1));
}

#[test]
fn damaged_and_endless_objects_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    dated(folder.path(), 2, 2);
    let path = folder.path().join(NAME);
    let good = std::fs::read(&path).unwrap();
    let endless = vec![b'x'; 3 * LINE_LIMIT];
    let all = [
        b"{\"log\":\"torn\n".as_slice(),
        &good,
        &endless,
        b"\n",
        &good,
        b"\0\0\n",
    ]
    .concat();
    std::fs::write(&path, all).unwrap();
    let mut reader = reader(folder.path(), Options::default());
    assert_eq!(texts(&mut reader), [numbers(0..2), numbers(0..2)].concat());
    assert!(reader.buffer.capacity() < 3 * LINE_LIMIT);
}

#[test]
fn a_watcher_tells_of_writing_and_renaming() {
    let folder = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    let place = File::open(folder.path()).unwrap();
    let id = watcher.add(place.as_fd()).unwrap();
    assert_eq!(watcher.add(place.as_fd()).unwrap(), id);
    assert_eq!(watcher.changes().unwrap(), super::super::Changes::default());
    let mut writer = writer(folder.path(), 100, 2);
    for _ in 0..2 {
        watcher.changes().unwrap();
        writer.write(
            Stream::Stdout,
            b"a line that is long enough to need a new file next time\n",
        );
        assert_eq!(watcher.changes().unwrap().folders, [id]);
    }
    watcher.remove(id);
    writer.write(Stream::Stdout, b"x\n");
    assert!(watcher.changes().unwrap().folders.is_empty());
}

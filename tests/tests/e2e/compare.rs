//! Two ways to do the same: every line of `tests/data/invocations` is given to both, and what they
//! print and return is compared.
//!
//! Wharf's client is compared with Docker's, both on Wharf. With `ENGINE=dockerd` Wharf's daemon
//! is compared with Docker's, both by Docker's client. Ids, times and addresses are masked. Lines
//! that differ and may are listed with a reason in `tests/data/client-differences` and
//! `tests/data/engine-differences`; one that is listed and does not differ fails the test too.
//!
//! `tests/data/docker-28` holds what Docker's client said on dockerd 28.2 to the lines of
//! `tests/data/misuse`; what it says on Wharf is compared with that, with `tests/data/docker-28-differences` as the
//! list. The answers are written anew by `ENGINE=dockerd DOCKERD=PATH RECORD=1`, with the path of such a daemon.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use testkit::{Engine, Finished, Kind, Options, run};

#[test]
fn both_clients_and_both_engines_say_the_same() {
    let (differences, other) = match Kind::from_environment() {
        Kind::Wharf => ("client-differences", (Kind::Wharf, true)),
        Kind::Dockerd => ("engine-differences", (Kind::Dockerd, false)),
    };
    let lines = invocations("invocations");
    assert!(lines.len() >= 120);
    let (expected, found) = std::thread::scope(|scope| {
        let by_docker = scope.spawn(|| answers(Kind::Wharf, false, &lines));
        let by_other = scope.spawn(|| answers(other.0, other.1, &lines));
        (by_docker.join().unwrap(), by_other.join().unwrap())
    });
    let mut report = String::new();
    differ(&lines, &expected, &found, &known(differences), &mut report);
    assert!(report.is_empty(), "{report}");
}

#[test]
fn misuse_is_told_in_docker_s_words() {
    let lines = invocations("misuse");
    let mut report = String::new();
    match Kind::from_environment() {
        Kind::Wharf if is_reference() => {
            let found = answers(Kind::Wharf, false, &lines);
            beside(
                "docker-28/misuse",
                &lines,
                &found,
                known("docker-28-differences"),
                &mut report,
            );
        }
        Kind::Wharf => {
            testkit::skip("the answers of Docker 28 are those of its client on cgroup v1")
        }
        Kind::Dockerd if std::env::var_os("RECORD").is_none() => {
            // The words of 20.10 are others.
        }
        Kind::Dockerd => {
            record(
                "docker-28/misuse",
                &lines,
                &answers(Kind::Dockerd, false, &lines),
            );
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// Tells in `report` which lines differ and are not known to, and which are known to and do not.
pub(super) fn differ(
    lines: &[Invocation],
    expected: &[Answer],
    found: &[Answer],
    known: &BTreeSet<String>,
    report: &mut String,
) {
    let mut unused = known.clone();
    for ((line, expected), found) in lines.iter().zip(expected).zip(found) {
        if expected != found && !known.contains(&line.text) {
            let _ = writeln!(report, "{}\n  {expected:?}\n  {found:?}", line.text);
        }
        if expected != found {
            unused.remove(&line.text);
        }
    }
    for line in unused {
        let _ = writeln!(report, "{line}\n  is listed and does not differ");
    }
}

/// Whether the answers that were recorded can be those of this machine: by the client of the same release, on the same
/// kind of control groups.
pub(super) fn is_reference() -> bool {
    let client = std::process::Command::new("docker")
        .arg("--version")
        .output();
    client.is_ok_and(|done| String::from_utf8_lossy(&done.stdout).contains("version 28."))
        && std::path::Path::new("/sys/fs/cgroup/memory").exists()
}

fn recorded(name: &str) -> String {
    format!("{}/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Compares with answers of Docker's daemon that were recorded.
pub(super) fn beside(
    name: &str,
    lines: &[Invocation],
    found: &[Answer],
    known: BTreeSet<String>,
    report: &mut String,
) {
    let path = recorded(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (asked, expected): (Vec<String>, Vec<Answer>) = text
        .lines()
        .map(|line| {
            let (line, status, stdout, stderr): (String, i32, String, String) =
                serde_json::from_str(line).unwrap();
            let answer = Answer {
                status,
                stdout,
                stderr,
            };
            (line, answer)
        })
        .unzip();
    let texts: Vec<&String> = lines.iter().map(|line| &line.text).collect();
    assert!(
        texts.iter().copied().eq(&asked),
        "{name} is not what Docker's answers were recorded for"
    );
    differ(lines, &expected, found, &known, report);
}

/// Writes the answers of Docker's daemon down.
pub(super) fn record(name: &str, lines: &[Invocation], found: &[Answer]) {
    let mut text = String::new();
    for (line, answer) in lines.iter().zip(found) {
        let entry = (&line.text, answer.status, &answer.stdout, &answer.stderr);
        text.push_str(&serde_json::to_string(&entry).unwrap());
        text.push('\n');
    }
    fs::write(recorded(name), text).unwrap();
}

/// One line of the list.
pub(super) struct Invocation {
    pub(super) text: String,
    words: Vec<String>,
    input: String,
}

fn data(name: &str) -> String {
    let path = format!("{}/data/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn invocations(name: &str) -> Vec<Invocation> {
    data(name)
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (input, rest) = match line.strip_prefix("< ") {
                Some(rest) => rest.split_once(' ').unwrap(),
                None => ("", line),
            };
            Invocation {
                text: line.to_owned(),
                words: words(rest),
                input: input.to_owned(),
            }
        })
        .collect()
}

/// Lines that may differ: an invocation each, below the comment that says why.
pub(super) fn known(name: &str) -> BTreeSet<String> {
    data(name)
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Words as a shell splits them: blanks, both quotes, a backslash between double ones.
fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match quote {
            Some(open) if open == letter => quote = None,
            Some('"') if letter == '\\' => word.get_or_insert_default().extend(letters.next()),
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == ' ' => found.extend(word.take()),
            None if matches!(letter, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None => word.get_or_insert_default().push(letter),
        }
    }
    found.extend(word);
    found
}

/// What a client printed and returned, with what differs between any two runs masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: i32,
    stdout: String,
    stderr: String,
}

/// Every answer, on an engine of its own.
fn answers(kind: Kind, wharf: bool, lines: &[Invocation]) -> Vec<Answer> {
    let engine = Engine::start(kind, Options::default());
    engine.load_busybox();
    let root = engine.data_root().parent().unwrap().display().to_string();
    let found = lines
        .iter()
        .map(|line| {
            let args: Vec<_> = line.words.iter().map(String::as_str).collect();
            let command = if wharf {
                engine.wharf(&args)
            } else {
                engine.docker(&args)
            };
            masked(&run(command, line.input.as_bytes()), &root)
        })
        .collect();
    engine.check_leaks();
    engine.stop_daemon();
    found
}

pub(super) fn masked(done: &Finished, root: &str) -> Answer {
    let text = |text: &str| {
        let processors = std::thread::available_parallelism().map_or(1, |number| number.get());
        text.replace(root, "ROOT")
            .replace("/data/v1/", "/data/")
            .replace(&format!("to {processors}.00"), "to N.00")
            .replace(&format!("only {processors} CPUs"), "only N CPUs")
            .replace(
                &format!("available: 0-{}", processors - 1),
                "available: ALL",
            )
            .lines()
            // Only Wharf has images of its own.
            .filter(|line| !line.contains("wharf/isolation") && !line.starts_with("wharf  "))
            .map(mask)
            .collect::<Vec<_>>()
            .join("\n")
    };
    Answer {
        status: done.status,
        stdout: text(&done.stdout),
        stderr: text(&done.stderr),
    }
}

/// One line with ids, times, spans, addresses and drawn names replaced by what they are; the
/// program's name folded; columns two blanks apart.
fn mask(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|letter: char| !is_of_word(letter))
            .unwrap_or(rest.len());
        if end == 0 {
            text.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        text.push_str(&mask_word(&rest[..end]));
        rest = &rest[end..];
    }
    spans(text.split_inclusive(' ').collect())
        .trim_end()
        .to_owned()
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':' | '+')
}

fn mask_word(word: &str) -> String {
    let hex = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let letters = |text: &str| text.len() > 2 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    // In front of a sentence about it.
    if let Some(id) = word.strip_suffix(':')
        && hex(id)
        && id.len() == 64
    {
        return "ID64:".to_owned();
    }
    let (algorithm, id) = match word.strip_prefix("sha256:") {
        Some(id) => ("sha256:", id),
        None => ("", word),
    };
    if hex(id) && matches!(id.len(), 12 | 64) {
        return format!("{algorithm}ID{}", id.len());
    }
    if let Some(colon) = word.strip_prefix("wharf")
        && matches!(colon, "" | ":")
    {
        return format!("docker{colon}");
    }
    if let Some(last) = word.strip_prefix("172.17.0.")
        && digits(last)
    {
        return "172.17.0.N".to_owned();
    }
    if let Some((one, two)) = word.split_once('_')
        && letters(one)
        && letters(two)
    {
        return "NAME".to_owned();
    }
    let parts: Vec<_> = word.splitn(3, '-').collect();
    if let [year, month, day] = parts[..]
        && digits(year)
        && year.len() == 4
        && digits(month)
        && day.starts_with(|digit: char| digit.is_ascii_digit())
    {
        return "TIME".to_owned();
    }
    let clock: Vec<_> = word.split(':').collect();
    if clock.len() == 3 && clock.iter().all(|part| part.len() == 2 && digits(part)) {
        return "CLOCK".to_owned();
    }
    word.to_owned()
}

/// Joins words, with `3 seconds` and the like as `SPAN`, and two blanks for more than one.
fn spans(words: Vec<&str>) -> String {
    const UNITS: &[&str] = &["second", "minute", "hour", "day", "week", "month", "year"];
    let is_unit = |word: &str| {
        let word = word.trim().trim_end_matches('s');
        UNITS.contains(&word)
    };
    let mut text = String::new();
    for word in words {
        if word == " " {
            if !text.ends_with("  ") {
                text.push(' ');
            }
            continue;
        }
        if is_unit(word) {
            let number = text
                .strip_suffix("Less than a ")
                .or_else(|| text.strip_suffix("About a "))
                .or_else(|| text.strip_suffix("About an "))
                .map(str::len)
                .or_else(|| {
                    let before = text.trim_end();
                    let kept = before.trim_end_matches(|digit: char| digit.is_ascii_digit());
                    (kept.len() < before.len()).then_some(kept.len())
                });
            if let Some(kept) = number {
                text.truncate(kept);
                text.push_str("SPAN");
                if word.ends_with(' ') {
                    text.push(' ');
                }
                continue;
            }
        }
        text.push_str(word);
    }
    text
}

#[test]
fn masks_hide_what_differs_and_nothing_else() {
    assert_eq!(
        mask("0123456789ab   busybox   2 seconds ago   Up Less than a second   wharf run"),
        "ID12  busybox  SPAN ago  Up SPAN  docker run"
    );
    assert_eq!(
        mask("at 2024-01-01T00:00:00.5Z happy_crane 172.17.0.12 for 3 tries"),
        "at TIME NAME 172.17.0.N for 3 tries"
    );
    assert_eq!(
        words(r#"run -f '{{.A "b"}}' "c \"d" '' e'f g'"#),
        ["run", "-f", r#"{{.A "b"}}"#, r#"c "d"#, "", "ef g"]
    );
}

//! A container's processes as the host's ps(1) lists them: whoever asks may choose any of its columns.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use api_types::TopResponse;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::underway::START;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// What is asked of ps(1) when nothing else is.
const DEFAULT: &str = "-ef";
/// How long ps(1) may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of its that are read.
const MOST: usize = 1 << 26;

impl Engine {
    /// Lists the processes of a running container; `options` are those of ps(1), separated by blanks.
    pub async fn top(&self, id: &str, options: &str) -> Result<TopResponse> {
        let options = match options {
            "" => DEFAULT.to_owned(),
            options => options.to_owned(),
        };
        check(&options)?;
        let container = self.registry().find(id)?;
        container.settled_within(START).await;
        container.must_run()?;
        let group = self.group_place(&container);
        let places = &self.inner().places.tops;
        let listed = self
            .blocking_of(places, "top", move |engine| {
                let pids = engine.group_at(&group)?.pids()?;
                read(&list(&options, &pids)?, &pids)
            })
            .await?;
        self.tell_later(container.event("top", &[]));
        Ok(listed)
    }
}

fn failed(why: impl Into<String>) -> EngineError {
    EngineError::Ps { why: why.into() }
}

/// Refuses a column that is called PID and is none (`-o x=PID`): by the column of that name processes are told apart.
fn check(options: &str) -> Result<()> {
    for (at, _) in options.match_indices('=') {
        let word = options[..at].rfind(|letter: char| letter.is_ascii_whitespace());
        let value = options[at + 1..].trim_ascii_start();
        let (Some(before), true) = (word, value.starts_with("PID")) else {
            continue;
        };
        let column = &options[before + 1..at];
        if column != "pid" {
            let value = value.split_ascii_whitespace().next().unwrap_or_default();
            return Err(failed(format!(
                "specifying \"{column}={value}\" is not allowed"
            )));
        }
    }
    Ok(())
}

/// What ps(1) prints of these processes, or of all where its options do not go together with a choice, or they are more
/// than the kernel passes on in one argument.
fn list(options: &str, pids: &BTreeSet<i32>) -> Result<String> {
    let chosen: Vec<_> = pids.iter().map(i32::to_string).collect();
    let chosen = format!("-q{}", chosen.join(","));
    let ps = |choice: Option<&str>| {
        let mut command = Command::new("ps");
        command.args(options.split(' ')).args(choice);
        output_within(&mut command, PATIENCE)
    };
    let done = match ps(Some(&chosen)) {
        Ok(done) if done.success => Ok(done),
        Err(error) if error.kind() != ErrorKind::ArgumentListTooLong => Err(error),
        _ => ps(None),
    };
    let done = done.map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed("ps: exec: \"ps\": executable file not found in $PATH"),
        _ => failed(format!("ps: {error}")),
    })?;
    if !done.success {
        let why = done.errors.lines().next().filter(|line| !line.is_empty());
        return Err(failed(format!("ps: {}", why.unwrap_or(&done.status))));
    }
    Ok(done.output)
}

/// What a program wrote, and how it ended.
struct Output {
    output: String,
    errors: String,
    status: String,
    success: bool,
}

/// Runs a program and kills it when it takes longer: ps(1) reads the memory of processes, and one in a file system that
/// does not answer holds up who looks at it.
///
/// # Errors
/// [`ErrorKind::TimedOut`] then; what starting and reading gave.
fn output_within(command: &mut Command, patience: Duration) -> io::Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pipes = (child.stdout.take(), child.stderr.take());
    let (output, errors) = match read_within(pipes, patience) {
        Ok(read) => read,
        Err(error) => {
            child.kill()?;
            // It is reaped here; where even that waits, only this kind of request has the thread.
            child.wait()?;
            return Err(error);
        }
    };
    let status = child.wait()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output {
        output: text(output),
        errors: text(errors),
        status: status.to_string(),
        success: status.success(),
    })
}

/// Reads both pipes to their ends.
fn read_within(
    pipes: (Option<ChildStdout>, Option<ChildStderr>),
    patience: Duration,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let deadline = Instant::now() + patience;
    let mut pipes: [Option<OwnedFd>; 2] = [pipes.0.map(Into::into), pipes.1.map(Into::into)];
    let mut read = [Vec::new(), Vec::new()];
    while pipes.iter().any(Option::is_some) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let seconds = patience.as_secs();
            let words = format!("it has not ended after {seconds} seconds");
            return Err(io::Error::new(ErrorKind::TimedOut, words));
        }
        let wait = Timespec::try_from(left).map_err(io::Error::other)?;
        let open: Vec<usize> = (0..2).filter(|&at| pipes[at].is_some()).collect();
        let mut polled: Vec<_> = pipes
            .iter()
            .flatten()
            .map(|pipe| PollFd::new(pipe, PollFlags::IN))
            .collect();
        match poll(&mut polled, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        for (at, _) in open.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            let Some(pipe) = &pipes[at] else { continue };
            let mut piece = [0; 1 << 14];
            match rustix::io::read(pipe, &mut piece) {
                Ok(0) => pipes[at] = None,
                Ok(length) => read[at].extend(&piece[..length]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if read[at].len() > MOST {
                return Err(io::Error::new(
                    ErrorKind::FileTooLarge,
                    "it writes too much",
                ));
            }
        }
    }
    let [output, errors] = read;
    Ok((output, errors))
}

/// The lines of these processes, and of their threads where ps(1) lists some. What goes beyond the last column's head is
/// part of that column.
fn read(text: &str, pids: &BTreeSet<i32>) -> Result<TopResponse> {
    let cells =
        |line: &str| -> Vec<String> { line.split_ascii_whitespace().map(str::to_owned).collect() };
    let mut lines = text.lines();
    let titles = cells(lines.next().unwrap_or_default());
    let column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| failed("Couldn't find PID field in ps output"))?;
    let (mut processes, mut is_ours) = (Vec::new(), false);
    for mut row in lines.map(cells).filter(|row| !row.is_empty()) {
        let pid = row.get(column).map_or("", String::as_str);
        // A thread of the process above.
        if pid != "-" {
            let number = pid.parse::<i32>();
            let number = number.map_err(|error| failed(format!("Unexpected pid '{pid}': {error}")));
            is_ours = pids.contains(&number?);
        }
        if is_ours {
            let last = row.split_off(row.len().min(titles.len() - 1));
            row.push(last.join(" "));
            processes.push(row);
        }
    }
    Ok(TopResponse { titles, processes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_others_are_left_out() {
        let text = "  PID LWP CMD\n  7 - sleep 10 x\n  - 7 -\n  8 - other\n  - 8 -\n\n  9 - last\n";
        let listed = read(text, &[7, 9].into()).unwrap();
        assert_eq!(listed.titles, ["PID", "LWP", "CMD"]);
        assert_eq!(
            listed.processes,
            [
                ["7", "-", "sleep 10 x"],
                ["-", "7", "-"],
                ["9", "-", "last"]
            ]
        );
    }

    #[test]
    fn more_processes_than_an_argument_names_are_listed() {
        // Some 230 kB of numbers.
        let pids = (1..40_000).chain([std::process::id() as i32]).collect();
        let listed = read(&list("-eo pid", &pids).unwrap(), &pids).unwrap();
        let own = std::process::id().to_string();
        assert!(listed.processes.iter().any(|row| row[0] == own));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; exec sleep 1000"]);
        let late = output_within(&mut command, Duration::from_millis(100));
        assert_eq!(late.err().unwrap().kind(), ErrorKind::TimedOut);
        command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let done = output_within(&mut command, Duration::from_secs(100)).unwrap();
        assert_eq!(
            (done.output.as_str(), done.errors.as_str()),
            ("out\n", "err\n")
        );
        assert_eq!(
            (done.success, done.status.as_str()),
            (false, "exit status: 3")
        );
    }

    #[test]
    fn output_that_can_not_be_told_apart_is_refused() {
        let told = |text: &str| read(text, &[7].into()).unwrap_err().to_string();
        assert_eq!(told("CMD\nx\n"), "Couldn't find PID field in ps output");
        assert_eq!(told(""), "Couldn't find PID field in ps output");
        assert!(told("CMD PID\nx y\n").starts_with("Unexpected pid 'y': "));
        assert!(told("CMD PID\nx\n").starts_with("Unexpected pid '': "));
    }

    #[test]
    fn another_column_is_not_called_pid() {
        for good in ["-ef", "-o pid=PID", "aux", "-o pid=PIDS,cmd=X", "x=PID"] {
            assert!(check(good).is_ok(), "{good}");
        }
        assert_eq!(
            check("-o ppid= PIDX -f").unwrap_err().to_string(),
            "specifying \"ppid=PIDX\" is not allowed"
        );
    }
}

//! A container's processes as the host's ps(1) lists them: whoever asks may choose any of its columns.

use std::collections::BTreeSet;
use std::process::Command;

use api_types::TopResponse;

use super::record::Status;
use super::underway::START;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// What is asked of ps(1) when nothing else is.
const DEFAULT: &str = "-ef";

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
        match container.run().status {
            Status::Running | Status::Paused => {}
            Status::Restarting => {
                return Err(EngineError::conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    container.id()
                )));
            }
            _ => {
                return Err(EngineError::NotRunning {
                    id: container.id().to_string(),
                });
            }
        }
        let name = container.id().to_string();
        let listed = self
            .blocking("top", move |engine| {
                let pids = engine.inner().groups.group(&name)?.pids()?;
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

/// What ps(1) prints of these processes, or of all where its options do not go together with a choice.
fn list(options: &str, pids: &BTreeSet<i32>) -> Result<String> {
    let chosen: Vec<_> = pids.iter().map(i32::to_string).collect();
    let chosen = format!("-q{}", chosen.join(","));
    let ps = |choice: Option<&str>| {
        Command::new("ps")
            .args(options.split(' '))
            .args(choice)
            .output()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    failed("ps: exec: \"ps\": executable file not found in $PATH")
                }
                _ => failed(format!("ps: {error}")),
            })
    };
    let mut done = ps(Some(&chosen))?;
    if !done.status.success() {
        done = ps(None)?;
    }
    if !done.status.success() {
        let told = String::from_utf8_lossy(&done.stderr);
        let why = told.lines().next().filter(|line| !line.is_empty());
        let status = done.status.to_string();
        return Err(failed(format!("ps: {}", why.unwrap_or(&status))));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
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

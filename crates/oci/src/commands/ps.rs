//! `ps`: a container's processes, as numbers or as the program of that name tells them.

use std::process::Command;

use super::print;
use crate::cli::{Given, Global, NAME, value};
use crate::error::{Error, Result};
use crate::state::{Container, Status};

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let given = Given::parse_leading(&[value("format").or("f")], words)?;
    let Some((id, rest)) = given.args.split_first() else {
        let text = format!("{NAME}: \"ps\" requires a minimum of 1 argument(s)");
        return Err(Error::Usage(text));
    };
    let container = Container::open(&global.root, id)?;
    let pids = container.group().and_then(|group| Ok(group.pids()?));
    let pids: Vec<i32> = match container.status() {
        // Its group may be gone.
        Status::Stopped => pids.unwrap_or_default(),
        _ => pids?,
    }
    .into_iter()
    .collect();
    match given.value("format") {
        Some("json") => {
            let text = serde_json::to_string(&pids).map_err(|error| Error::Output(error.into()))?;
            print(&format!("{text}\n"))
        }
        None | Some("table") => print(&lines(&pids, rest)?),
        Some(_) => Err(Error::Usage("invalid format option".to_owned())),
    }
}

/// The head and the container's lines of what `ps` writes.
fn lines(pids: &[i32], args: &[String]) -> Result<String> {
    let mut command = Command::new("ps");
    if args.is_empty() {
        command.arg("-ef");
    }
    let output = command.args(args).output().map_err(|source| Error::Io {
        action: "executing",
        path: "ps".into(),
        source,
    })?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(Error::State(format!("ps failed: {}", told.trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head
        .split_ascii_whitespace()
        .position(|word| word == "PID")
        .ok_or_else(|| Error::State("couldn't find PID field in ps output".to_owned()))?;
    let mut kept = format!("{head}\n");
    for line in lines {
        let pid = line.split_ascii_whitespace().nth(column);
        if pid
            .and_then(|pid| pid.parse().ok())
            .is_some_and(|pid| pids.contains(&pid))
        {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

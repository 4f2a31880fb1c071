//! The verbs, a file each.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod freeze;
mod help;
mod kill;
mod list;
mod ps;
mod restore;
mod run;
mod spec;
mod start;
mod state;
mod update;
mod usage;

use std::ffi::OsString;

use crate::cli::{Command, Global, NAME};
use crate::error::{Error, Result};

/// Runs the verb and returns the exit status.
pub(crate) fn run(global: &Global, command: &Command, args: &[OsString]) -> Result<u8> {
    match verb(global, command, args) {
        Err(Error::Help(flags)) => print(&help::of(&command.verb, &flags)),
        other => other,
    }
}

fn verb(global: &Global, command: &Command, args: &[OsString]) -> Result<u8> {
    let words = command.words.as_slice();
    match command.verb.as_str() {
        "create" => create::run(global, words, args).map_err(|error| failed("create", &error)),
        "run" => run::run(global, words, args).map_err(|error| failed("run", &error)),
        "start" => start::run(global, words),
        "exec" => exec::run(global, words, args),
        "state" => state::run(global, words),
        "list" => list::run(global, words),
        "ps" => ps::run(global, words),
        "kill" => kill::run(global, words),
        "pause" => freeze::run(global, words, true),
        "resume" => freeze::run(global, words, false),
        "update" => update::run(global, words),
        "events" => events::run(global, words),
        "delete" => delete::run(global, words),
        "spec" => spec::run(words),
        "features" => features::run(words),
        "help" | "h" => print(&help::all()),
        "version" => print(&format!(
            "{NAME} version {}\nspec: {}\n",
            env!("CARGO_PKG_VERSION"),
            crate::spec::VERSION
        )),
        "checkpoint" => checkpoint::run(global, words),
        "restore" => restore::run(global, words).map_err(|error| failed("restore", &error)),
        verb => Err(Error::NoVerb(verb.to_owned())),
    }
}

fn failed(verb: &str, error: &Error) -> Error {
    match error {
        Error::Usage(text) => Error::Usage(text.clone()),
        Error::Help(flags) => Error::Help(flags.clone()),
        Error::Program(text) if verb == "run" => Error::Program(text.clone()),
        other => Error::State(format!("{NAME} {verb} failed: {other}")),
    }
}

/// Writes to standard output.
fn print(text: &str) -> Result<u8> {
    use std::io::Write;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Error::Output)?;
    Ok(0)
}

/// Writes rows as Go's tabwriter does with a minimum width of 12: columns are as wide as their widest cell and three
/// blanks.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        (widest + 3).max(12)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let blanks = widths[column].saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        text.push('\n');
    }
    text
}

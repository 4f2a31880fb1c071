//! The verbs, a file each.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod freeze;
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

const HELP: &str = "\
Usage: wharf-runtime [GLOBAL FLAGS] VERB [FLAGS] [ARGUMENTS]

Runs containers from OCI bundles; the command line is runc's.

Verbs:
  create ID      make a container whose process waits to be started
  start ID       let it run
  run ID         both, and wait for its end unless --detach
  exec ID CMD    run another process in it
  state ID       tell its state as JSON
  list           tell all containers
  ps ID          tell its processes
  kill ID [SIG]  send a signal
  pause ID       stop all its processes
  resume ID      let them go on
  update ID      change its limits
  checkpoint ID  write it down and end it, by the program criu
  restore ID     make it again of what was written down
  events ID      tell what it uses
  delete ID      remove what is left of it
  spec           write a sample config.json
  features       tell what is built, as JSON

Global flags:
  --root FOLDER          where containers are known (/run/wharf-runtime)
  --log FILE             where errors and warnings go (standard error)
  --log-format FORMAT    text or json
  --debug                tell more
  --systemd-cgroup       groups are scopes of systemd's (cgroupsPath: SLICE:PREFIX:NAME)
";

/// Runs the verb and returns the exit status.
pub(crate) fn run(global: &Global, command: &Command, args: &[OsString]) -> Result<u8> {
    let words = command.words.as_slice();
    match command.verb.as_str() {
        "create" => create::run(global, words, args).map_err(|error| failed("create", &error)),
        "run" => run::run(global, words, args).map_err(|error| failed("run", &error)),
        "start" => start::run(global, words),
        "exec" => Ok(exec::run(global, words, args)),
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
        "help" | "h" => print(HELP),
        "version" => print(&format!(
            "{NAME} version {}\nspec: {}\n",
            env!("CARGO_PKG_VERSION"),
            crate::spec::VERSION
        )),
        "checkpoint" => checkpoint::run(global, words),
        "restore" => restore::run(global, words).map_err(|error| failed("restore", &error)),
        verb => Err(Error::Usage(format!("No help topic for '{verb}'"))),
    }
}

fn failed(verb: &str, error: &Error) -> Error {
    match error {
        Error::Usage(text) => Error::Usage(text.clone()),
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

//! `list`: all containers of the root folder.

use super::state::State;
use super::{print, table};
use crate::cli::{Given, Global, switch, value};
use crate::error::{Error, Result};
use crate::state::Container;

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let known = [value("format").or("f"), switch("quiet").or("q")];
    let given = Given::parse(&known, words)?;
    let containers = Container::all(&global.root)?;
    if given.is_on("quiet") {
        let names: String = containers
            .iter()
            .map(|container| format!("{}\n", container.record.id))
            .collect();
        return print(&names);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let states: Vec<State<'_>> = containers
        .iter()
        .map(|container| State::of(container, owner(container.record.owner, &passwd)))
        .collect();
    match given.value("format") {
        None | Some("table") => {
            let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(states.iter().map(State::row));
            print(&table(&rows))
        }
        // As runc writes none at all.
        Some("json") if states.is_empty() => print("null"),
        Some("json") => {
            let text =
                serde_json::to_string(&states).map_err(|error| Error::Output(error.into()))?;
            print(&text)
        }
        Some(_) => Err(Error::Usage("invalid format option".to_owned())),
    }
}

/// A user's name by the host's passwd, else `#` and the number.
fn owner(uid: u32, passwd: &str) -> String {
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("#{uid}"))
}

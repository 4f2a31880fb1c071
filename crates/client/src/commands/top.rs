//! `top`.

use serde_json::Value;

use crate::failure::Failure;
use crate::parse::Parsed;
use crate::query::{Query, encode};
use crate::session::Session;
use crate::table;
use crate::verb::{Takes, Verb};

/// Columns are at least this wide.
const NARROWEST: usize = 20;

pub(super) static TOP: Verb = Verb {
    paths: &["top", "container top"],
    usage: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    flags: &[],
    interspersed: false,
    takes: Takes::AtLeast(1),
    run: top,
};

fn top(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let (name, options) = parsed
        .args
        .split_first()
        .ok_or_else(|| Failure::Usage("a container is expected".to_owned()))?;
    let name = super::each::not_empty(name)?;
    let query = Query::new(format!("/containers/{}/top", encode(name)))
        .with_some("ps_args", &options.join(" "));
    let answer = session.get(query.text())?;
    let row = |list: &Value| -> String {
        let cells = list.as_array().into_iter().flatten();
        let cells: Vec<_> = cells.filter_map(Value::as_str).collect();
        cells.join("\t")
    };
    let rows = answer["Processes"].as_array().into_iter().flatten();
    let lines: Vec<_> = std::iter::once(&answer["Titles"])
        .chain(rows)
        .map(row)
        .collect();
    print!("{}", table::columns_of(&lines, NARROWEST));
    Ok(0)
}

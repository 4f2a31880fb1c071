//! Lists as docker prints them: tables, templates, JSON.

use std::io::Write;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::template::{self, Fault, Template};

/// Columns are at least this wide, and this far apart: the settings of docker's table writer.
const NARROWEST: usize = 10;
const GAP: usize = 3;

/// A list that is about to be printed.
pub(crate) struct List<'a> {
    /// The type of a row in docker's client, as its messages name it.
    pub(crate) kind: &'static template::Type,
    /// Each column's field and heading.
    pub(crate) headings: &'a [(&'a str, &'a str)],
    /// The template of the table when nothing else is asked for.
    pub(crate) table: &'a str,
    /// The field that `-q` prints.
    pub(crate) quiet: &'a str,
    /// Lines of the format `raw`: what stands in front, and the field.
    pub(crate) raw: &'a [(&'a str, &'a str)],
}

impl List<'_> {
    /// Prints rows as `--format` and `-q` ask for it.
    ///
    /// # Errors
    /// A template that is none or does not fit, or standard output that can not be written.
    pub(crate) fn print(&self, rows: &[Value], format: &str, quiet: bool) -> Result<(), Failure> {
        let text = self.text(rows, format, quiet)?;
        std::io::stdout()
            .lock()
            .write_all(text.as_bytes())
            .map_err(crate::output::failed)
    }

    /// What [`List::print`] prints.
    ///
    /// # Errors
    /// A template that is none or does not fit.
    pub(crate) fn text(
        &self,
        rows: &[Value],
        format: &str,
        quiet: bool,
    ) -> Result<String, Failure> {
        if quiet && matches!(format, "" | "table") {
            return Ok(rows
                .iter()
                .map(|row| format!("{}\n", row[self.quiet].as_str().unwrap_or_default()))
                .collect());
        }
        if format == "raw" && !self.raw.is_empty() {
            return Ok(rows.iter().map(|row| self.raw_row(row, quiet)).collect());
        }
        if format == "json" {
            return Ok(rows.iter().map(|one| format!("{}\n", row(one))).collect());
        }
        let (is_table, template) = match format.strip_prefix("table") {
            _ if format.is_empty() => (true, self.table.to_owned()),
            Some("") => (true, self.table.to_owned()),
            Some(rest) if rest.starts_with([' ', '\t', '{']) => {
                (true, rest.trim_start().to_owned())
            }
            _ => (false, format.trim().to_owned()),
        };
        let template = template.replace("\\t", "\t").replace("\\n", "\n");
        let failed = |fault: Fault| Failure::Invalid(format!("template parsing error: {fault}"));
        let parsed = Template::parse(&template).map_err(failed)?;
        let mut lines = Vec::with_capacity(rows.len() + 1);
        for row in rows {
            let row = template::Value::row(row, self.kind);
            lines.push(parsed.render(&row, false).map_err(failed)?);
        }
        if is_table {
            let names: Map<_, _> = self
                .headings
                .iter()
                .map(|(field, heading)| ((*field).to_owned(), Value::from(*heading)))
                .collect();
            let heading = parsed.render_heading(&Value::Object(names));
            lines.insert(0, heading.map_err(failed)?);
        }
        Ok(if is_table {
            columns(&lines)
        } else {
            lines.iter().map(|line| format!("{line}\n")).collect()
        })
    }
}

impl List<'_> {
    /// A line for each field, and an empty one behind; with `quiet` the line of that field alone.
    fn raw_row(&self, row: &Value, quiet: bool) -> String {
        let lines = self
            .raw
            .iter()
            .filter(|(_, field)| !quiet || *field == self.quiet)
            .map(|(label, field)| match row[*field].as_str() {
                None | Some("") => format!("{label}:\n"),
                Some(value) => format!("{label}: {value}\n"),
            });
        let end = if quiet { "" } else { "\n" };
        lines.chain([end.to_owned()]).collect()
    }
}

/// A row as JSON, its fields in order.
pub(crate) fn row(row: &Value) -> String {
    template::Value::row(row, &ROW).to_json()
}

/// A row of which no message tells the kind.
static ROW: template::Type = template::Type::Row("");

/// Aligns cells that tabs separate. The last cell of a line has no width of its own.
pub(crate) fn columns(lines: &[String]) -> String {
    columns_of(lines, NARROWEST)
}

/// The same with columns that are at least so wide.
pub(crate) fn columns_of(lines: &[String], narrowest: usize) -> String {
    let rows: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split('\t').collect())
        .collect();
    let mut out = String::new();
    for row in &rows {
        for (at, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if at + 1 < row.len() {
                let width = rows
                    .iter()
                    .filter(|row| row.len() > at + 1)
                    .map(|row| row[at].chars().count() + GAP)
                    .max()
                    .unwrap_or(0)
                    .max(narrowest);
                out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::LABELS;
    use serde_json::json;

    const LIST: List<'static> = List {
        kind: &template::Type::Row("*formatter.Row"),
        headings: &[("ID", "CONTAINER ID"), ("Names", "NAMES")],
        table: "{{.ID}}\t{{.Names}}",
        quiet: "ID",
        raw: &[("id", "ID"), ("names", "Names"), ("more", "More")],
    };

    fn text(format: &str, quiet: bool) -> String {
        let rows = [json!({"ID": "abc", "Names": "web", LABELS: {"k": "v"}})];
        LIST.text(&rows, format, quiet).unwrap()
    }

    #[test]
    fn every_form_of_a_list() {
        assert_eq!(
            text("", false),
            "CONTAINER ID   NAMES\nabc            web\n"
        );
        assert_eq!(text("", true), "abc\n");
        assert_eq!(text("{{.Names}} {{.Label \"k\"}}", true), "web v\n");
        assert_eq!(
            text("table {{.Names}}\\t{{.ID}}", false),
            "NAMES     CONTAINER ID\nweb       abc\n"
        );
        assert_eq!(text("raw", false), "id: abc\nnames: web\nmore:\n\n");
        assert_eq!(text("raw", true), "id: abc\n");
        assert_eq!(text("{{json .}}", false), text("json", false));
        assert_eq!(text("json", false), "{\"ID\":\"abc\",\"Names\":\"web\"}\n");
        assert!(LIST.text(&[], "{{.Names", false).is_err());
    }
}

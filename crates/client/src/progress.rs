//! Progress of transfers: bars that are redrawn on a terminal, plain lines elsewhere.

use std::io::{self, Write};

use serde_json::Value;

use crate::terminal;

/// Layers that are shown, each on a line of its own.
pub(crate) struct Progress {
    layers: Vec<String>,
    /// Columns of the terminal; `None` when output is not one.
    columns: Option<usize>,
}

impl Progress {
    /// Finds out whether there is a terminal to draw on.
    pub(crate) fn new() -> Self {
        let columns = terminal::is_terminal(rustix::stdio::stdout())
            .then(terminal::size)
            .flatten()
            .map(|(_, columns)| columns.into());
        Progress {
            layers: Vec::new(),
            columns,
        }
    }

    /// Shows one message of the engine's.
    ///
    /// # Errors
    /// What writing gave.
    pub(crate) fn show(&mut self, message: &Value, out: &mut dyn Write) -> io::Result<()> {
        if let Some(text) = message["stream"].as_str() {
            return write!(out, "{text}");
        }
        let status = message["status"].as_str().unwrap_or_default();
        let id = message["id"].as_str().unwrap_or_default();
        let moving = message["progressDetail"]["current"].is_u64();
        let line = if id.is_empty() {
            status.to_owned()
        } else {
            format!("{id}: {status}")
        };
        let Some(columns) = self.columns.filter(|_| !id.is_empty()) else {
            // Off a terminal a line says what was reached, and steps on the way are left out.
            return if moving {
                Ok(())
            } else {
                writeln!(out, "{line}")
            };
        };
        let bar = message["progress"]
            .as_str()
            .map_or_else(|| bar(&message["progressDetail"]), str::to_owned);
        let line: String = format!("{line} {bar}")
            .trim_end()
            .chars()
            .take(columns)
            .collect();
        self.redraw(id, &line, out)
    }

    /// Draws a layer's line where it stands, or below all others.
    fn redraw(&mut self, id: &str, line: &str, out: &mut dyn Write) -> io::Result<()> {
        let at = match self.layers.iter().position(|layer| layer == id) {
            Some(at) => at,
            None => {
                self.layers.push(id.to_owned());
                writeln!(out)?;
                self.layers.len() - 1
            }
        };
        let up = self.layers.len() - at;
        write!(out, "\x1b[{up}A\r\x1b[2K{line}\r\x1b[{up}B")?;
        out.flush()
    }
}

/// `[=====>    ]  1.5MB/10MB`
fn bar(detail: &Value) -> String {
    const WIDTH: u64 = 50;
    let (Some(current), Some(total)) = (detail["current"].as_u64(), detail["total"].as_u64())
    else {
        return String::new();
    };
    if total == 0 {
        return crate::units::size(current as f64);
    }
    let filled = (current.min(total) * WIDTH / total) as usize;
    let (full, rest) = if filled as u64 == WIDTH {
        ("=".repeat(filled), String::new())
    } else {
        (
            "=".repeat(filled) + ">",
            " ".repeat(WIDTH as usize - filled),
        )
    };
    format!(
        "[{full}{rest}]  {}/{}",
        crate::units::size(current as f64),
        crate::units::size(total as f64)
    )
}

//! Progress of transfers: lines that are redrawn on a terminal, elsewhere those alone that say what was reached.

use std::io::{self, Write};

use serde_json::Value;

/// Terminals narrower than this have no room for a bar.
const ROOM_FOR_A_BAR: usize = 110;

/// Layers that are shown, each on a line of its own.
pub(crate) struct Progress {
    layers: Vec<String>,
    /// Columns of the terminal; `None` when output is not one.
    columns: Option<usize>,
    /// Whether a line without a layer stands there that the next one takes the place of.
    is_open: bool,
}

impl Progress {
    /// `columns` are those of the terminal, if output goes to one.
    pub(crate) fn new(columns: Option<usize>) -> Self {
        Progress {
            layers: Vec::new(),
            columns,
            is_open: false,
        }
    }

    /// Shows one message of the engine's.
    ///
    /// # Errors
    /// What writing gave.
    pub(crate) fn show(&mut self, message: &Value, out: &mut dyn Write) -> io::Result<()> {
        let text = |name: &str| message[name].as_str().unwrap_or_default();
        let (id, stream) = (text("id"), text("stream"));
        let detail = message["progressDetail"].is_object();
        let prefix = match id {
            "" => String::new(),
            id => format!("{id}: "),
        };
        let line = format!("{prefix}{}", text("status"));
        let Some(columns) = self.columns else {
            // Off a terminal a line says what was reached, and numbers on the way are left out.
            return match (numbers(message).is_some(), stream) {
                (true, _) => Ok(()),
                (false, "") => writeln!(out, "{line}"),
                (false, stream) => write!(out, "{stream}"),
            };
        };
        if id.is_empty() && numbers(message).is_some() {
            // One thing alone is on its way: its line is written over until something else is said.
            self.layers.clear();
            self.is_open = true;
            let line = format!("{line} {}", bar(message, columns));
            let line: String = line.chars().take(columns).collect();
            write!(out, "\x1b[2K\r{line}\r")?;
            return out.flush();
        }
        if std::mem::take(&mut self.is_open) {
            write!(out, "\x1b[2K")?;
        }
        if id.is_empty() || !detail {
            // What stands above can not be reached any more.
            self.layers.clear();
            return match stream {
                "" => writeln!(out, "{line}"),
                stream => write!(out, "{stream}"),
            };
        }
        let line: String = format!("{line} {}", bar(message, columns))
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
        write!(out, "\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B")?;
        out.flush()
    }
}

/// Bytes done and in all, if the message has any.
fn numbers(message: &Value) -> Option<(u64, u64)> {
    let number = |name: &str| message["progressDetail"][name].as_u64().unwrap_or(0);
    let both = (number("current"), number("total"));
    (both != (0, 0)).then_some(both)
}

/// `[=====>    ]   1.5MB/10MB`, or the numbers alone.
fn bar(message: &Value, columns: usize) -> String {
    const WIDTH: u64 = 50;
    let Some((current, total)) = numbers(message) else {
        return String::new();
    };
    let (done, all) = (
        crate::units::size(current as f64),
        crate::units::size(total as f64),
    );
    let numbers = match current > total {
        true => format!("{done:>8}"),
        false => format!("{done:>8}/{all}"),
    };
    if total == 0 || columns <= ROOM_FOR_A_BAR {
        return numbers;
    }
    let filled = (current.min(total).saturating_mul(WIDTH) / total) as usize;
    let rest = WIDTH as usize - filled;
    format!("[{}>{}] {numbers}", "=".repeat(filled), " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(columns: Option<usize>, messages: &[Value]) -> String {
        let mut progress = Progress::new(columns);
        let mut out = Vec::new();
        for message in messages {
            progress.show(message, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    /// What docker's client 28 prints of the same messages.
    #[test]
    fn lines_and_bars_are_docker_s() {
        let messages = [
            json!({"status": "Pulling from x", "id": "latest"}),
            json!({"status": "Pulling fs layer", "progressDetail": {}, "id": "a"}),
            json!({"status": "Waiting", "progressDetail": {}, "id": "b"}),
            json!({"status": "Downloading", "progressDetail": {"total": 3000000}, "id": "a"}),
            json!({"status": "Downloading", "progressDetail": {"current": 1500000, "total": 3000000}, "id": "a"}),
            json!({"status": "Pull complete", "progressDetail": {}, "id": "a"}),
            json!({"status": "Digest: sha256:1"}),
            json!({"stream": "Loaded image: x\n"}),
        ];
        assert_eq!(
            shown(None, &messages),
            "latest: Pulling from x\na: Pulling fs layer\nb: Waiting\na: Pull complete\n\
             Digest: sha256:1\nLoaded image: x\n"
        );
        let wide = shown(Some(200), &messages);
        let (full, rest) = ("=".repeat(25), " ".repeat(25));
        for part in [
            "latest: Pulling from x\n\n\x1b[1A\x1b[2K\ra: Pulling fs layer \r\x1b[1B\n\x1b[1A\x1b[2K\rb: Waiting \r\x1b[1B",
            &format!("\x1b[2A\x1b[2K\ra: Downloading [{full}>{rest}]    1.5MB/3MB\r\x1b[2B"),
            "\x1b[2A\x1b[2K\ra: Pull complete \r\x1b[2BDigest: sha256:1\n",
        ] {
            assert!(wide.contains(part), "{part:?}: {wide:?}");
        }
        let narrow = shown(Some(80), &messages);
        assert!(
            narrow.contains("\ra: Downloading    1.5MB/3MB\r"),
            "{narrow:?}"
        );
    }
}

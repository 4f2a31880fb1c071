//! `stats`.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode};
use crate::session::Session;
use crate::table::List;
use crate::template::Type;
use crate::units;
use crate::verb::{Takes, Verb};

/// Between two readings of a live table.
const ROUND: Duration = Duration::from_secs(1);
/// Between the two readings of a table that is printed once: long enough for the ticks, four milliseconds or ten, by which
/// the kernel counts what runs on and on.
const ONCE: Duration = Duration::from_millis(100);
/// What stands where nothing is known.
const NO_VALUE: &str = "--";

pub(super) static STATS: Verb = Verb {
    paths: &["stats", "container stats"],
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    flags: &[&[
        Flag::switch("all", "Show all containers (default shows just running)").letter('a'),
        Flag::one(
            "format",
            "string",
            "Format output: 'table', 'table TEMPLATE', 'json' or a Go template",
        ),
        Flag::switch(
            "no-stream",
            "Disable streaming stats and only pull the first result",
        ),
        Flag::switch("no-trunc", "Do not truncate output"),
    ]],
    interspersed: true,
    takes: Takes::AtLeast(0),
    run: stats,
};

/// One container of the table.
struct Entry {
    /// As it was named, or the beginning of its id.
    container: String,
    /// The last reading, and the one before.
    now: Option<Value>,
    before: Option<Value>,
}

fn stats(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let live = !parsed.switch("no-stream");
    let format = super::format(session, parsed, "statsFormat")?;
    let mut entries = Vec::new();
    refresh(session, parsed, &mut entries)?;
    let begin = Instant::now();
    let failures: Vec<_> = read(session, &mut entries)?;
    if !parsed.args.is_empty() && !failures.is_empty() {
        return Err(Failure::Invalid(failures.join("\n")));
    }
    if !live {
        // The time that the first round took has passed for each when it is read again.
        std::thread::sleep(ONCE.saturating_sub(begin.elapsed()));
    }
    loop {
        if live {
            std::thread::sleep(ROUND);
            refresh(session, parsed, &mut entries)?;
        }
        read(session, &mut entries)?;
        if parsed.args.is_empty() {
            // What is gone meanwhile was not asked for by name.
            entries.retain(|entry| entry.now.is_some());
        }
        let truncate = !parsed.switch("no-trunc");
        let rows: Vec<_> = entries.iter().map(|entry| row(entry, truncate)).collect();
        let text = LIST.text(&rows, &format, false)?;
        let text = match live {
            true => over_the_last(&text),
            false => text,
        };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(crate::output::failed)?;
        if !live {
            return Ok(0);
        }
    }
}

/// The text from the terminal's corner on, in place of what is there.
fn over_the_last(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

/// Which containers are in the table: those that are named, or all that are there now.
fn refresh(session: &Session, parsed: &Parsed, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    let names: Vec<String> = if parsed.args.is_empty() {
        let query = Query::new("/containers/json").with_switch("all", parsed.switch("all"));
        let answer = session.get(query.text())?;
        let ids = answer.as_array().into_iter().flatten();
        ids.filter_map(|one| one["Id"].as_str())
            .map(|id| super::short(id, true).to_owned())
            .collect()
    } else {
        let mut names: Vec<String> = Vec::new();
        for name in &parsed.args {
            super::each::not_empty(name)?;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    };
    let mut known = std::mem::take(entries);
    entries.extend(names.into_iter().map(|container| {
        match known.iter().position(|entry| entry.container == container) {
            Some(at) => known.swap_remove(at),
            None => Entry {
                container,
                now: None,
                before: None,
            },
        }
    }));
    Ok(())
}

/// Reads all of them, and gives the sentences of those that could not be read.
fn read(session: &Session, entries: &mut [Entry]) -> Result<Vec<String>, Failure> {
    let path = |entry: &Entry| {
        let query = Query::new(format!("/containers/{}/stats", encode(&entry.container)))
            .with("stream", "0")
            .with("one-shot", "1");
        query.text().to_owned()
    };
    let paths: Vec<String> = entries.iter().map(path).collect();
    let mut failures = Vec::new();
    for (entry, answer) in entries.iter_mut().zip(session.get_each(&paths)?) {
        entry.before = entry.now.take();
        match answer {
            Ok(stats) => entry.now = Some(stats),
            Err(failure) if failure.status().is_some() => failures.push(failure.to_string()),
            Err(failure) => return Err(failure),
        }
    }
    Ok(failures)
}

static LIST: List<'static> = List {
    kind: &Type::Row("*container.statsContext"),
    headings: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "ID",
    raw: &[],
};

fn row(entry: &Entry, truncate: bool) -> Value {
    let Some(now) = &entry.now else {
        return json!({
            "Container": entry.container,
            "Name": NO_VALUE,
            "ID": "",
            "CPUPerc": NO_VALUE,
            "MemUsage": "-- / --",
            "MemPerc": NO_VALUE,
            "NetIO": NO_VALUE,
            "BlockIO": NO_VALUE,
            "PIDs": NO_VALUE,
        });
    };
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let pair =
        |one: f64, other: f64, text: fn(f64) -> String| format!("{} / {}", text(one), text(other));
    let (used, limit) = memory(&now["memory_stats"]);
    let share = if limit > 0.0 {
        used / limit * 100.0
    } else {
        0.0
    };
    let (read, written) = blocks(&now["blkio_stats"]["io_service_bytes_recursive"]);
    let interfaces = now["networks"].as_object();
    let network = |name: &str| -> f64 {
        let interfaces = interfaces.into_iter().flatten();
        interfaces.map(|(_, one)| number(&one[name])).sum()
    };
    let decimal = |bytes: f64| units::size_with(bytes, 3);
    let name = now["name"].as_str().unwrap_or_default();
    json!({
        "Container": entry.container,
        "Name": name.strip_prefix('/').filter(|name| !name.is_empty()).unwrap_or(NO_VALUE),
        "ID": super::short(now["id"].as_str().unwrap_or_default(), truncate),
        "CPUPerc": format!("{:.2}%", processors(now, entry.before.as_ref())),
        "MemUsage": pair(used, limit, units::binary_size),
        "MemPerc": format!("{share:.2}%"),
        "NetIO": pair(network("rx_bytes"), network("tx_bytes"), decimal),
        "BlockIO": pair(read, written, decimal),
        "PIDs": now["pids_stats"]["current"].as_u64().unwrap_or(0).to_string(),
    })
}

/// Hundredths of one processor that were used between two readings.
fn processors(now: &Value, before: Option<&Value>) -> f64 {
    let of = |stats: &Value| {
        let cpu = &stats["cpu_stats"];
        let number = |value: &Value| value.as_f64().unwrap_or(0.0);
        (
            number(&cpu["cpu_usage"]["total_usage"]),
            number(&cpu["system_cpu_usage"]),
        )
    };
    let (used, total) = of(now);
    // Nothing is known of the time before a first reading.
    let (used_before, total_before) = match before.map(of) {
        Some((used, total)) if total > 0.0 => (used, total),
        _ => return 0.0,
    };
    let (used, total) = (used - used_before, total - total_before);
    let count = now["cpu_stats"]["online_cpus"].as_f64().unwrap_or(0.0);
    if used > 0.0 && total > 0.0 {
        used / total * count * 100.0
    } else {
        0.0
    }
}

/// Bytes of memory in use without what is only kept of files, and the limit.
fn memory(stats: &Value) -> (f64, f64) {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let usage = number(&stats["usage"]);
    let idle = ["total_inactive_file", "inactive_file"]
        .into_iter()
        .find_map(|name| stats["stats"][name].as_f64())
        .filter(|idle| *idle < usage)
        .unwrap_or(0.0);
    (usage - idle, number(&stats["limit"]))
}

/// Bytes read and written.
fn blocks(entries: &Value) -> (f64, f64) {
    let sum = |letter: char| -> f64 {
        let entries = entries.as_array().into_iter().flatten();
        let of_kind = entries.filter(|entry| {
            let kind = entry["op"].as_str().unwrap_or_default();
            kind.to_ascii_lowercase().starts_with(letter)
        });
        of_kind
            .map(|entry| entry["value"].as_f64().unwrap_or(0.0))
            .sum()
    };
    (sum('r'), sum('w'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(used: u64, total: u64) -> Value {
        json!({
            "name": "/web",
            "id": "0123456789abcdef",
            "cpu_stats": {
                "cpu_usage": {"total_usage": used}, "system_cpu_usage": total, "online_cpus": 2
            },
            "memory_stats": {
                "usage": 3 << 20, "limit": 64 << 20, "stats": {"total_inactive_file": 1 << 20}
            },
            "networks": {"eth0": {"rx_bytes": 1500, "tx_bytes": 0}},
            "blkio_stats": {"io_service_bytes_recursive": [
                {"op": "Read", "value": 1_234_567}, {"op": "write", "value": 10}, {"op": "Total", "value": 5}
            ]},
            "pids_stats": {"current": 3}
        })
    }

    #[test]
    fn a_row_is_computed_from_two_readings() {
        let entry = Entry {
            container: "web".to_owned(),
            now: Some(reading(150, 1200)),
            before: Some(reading(50, 1000)),
        };
        let text = LIST.text(&[row(&entry, true)], "", false).unwrap();
        assert_eq!(
            text,
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O      BLOCK I/O      PIDS\n\
             0123456789ab   web       100.00%   2MiB / 64MiB        3.12%     1.5kB / 0B   1.23MB / 10B   3\n"
        );
        let first = Entry {
            before: None,
            ..entry
        };
        assert_eq!(row(&first, false)["CPUPerc"], "0.00%");
        assert_eq!(row(&first, false)["ID"], "0123456789abcdef");
    }

    #[test]
    fn what_is_not_known_is_said_to_be_so() {
        let gone = Entry {
            container: "gone".to_owned(),
            now: None,
            before: None,
        };
        let format = "{{.Container}} {{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
        let text = LIST.text(&[row(&gone, true)], format, false).unwrap();
        assert_eq!(text, "gone -- -- -- / -- --\n");
        let idle = Entry {
            now: Some(json!({"name": "/x", "id": "abc", "memory_stats": {}})),
            ..gone
        };
        let format = "{{.MemUsage}} {{.MemPerc}} {{.NetIO}} {{.BlockIO}} {{.PIDs}}";
        let text = LIST.text(&[row(&idle, true)], format, false).unwrap();
        assert_eq!(text, "0B / 0B 0.00% 0B / 0B 0B / 0B 0\n");
    }

    #[test]
    fn a_live_table_is_drawn_over_the_last_one() {
        assert_eq!(over_the_last("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}

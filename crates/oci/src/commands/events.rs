//! `events`: what a container uses, once or again and again.

use std::time::Duration;

use runtime::cgroup::Stats;
use serde_json::{Value, json};

use super::print;
use crate::cli::{Given, Global, switch, value};
use crate::error::{Error, Result};
use crate::state::{Container, Status};

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let given = Given::parse(&[value("interval"), switch("stats")], words)?;
    let id = given.id("events")?;
    let interval = match given.value("interval") {
        Some(text) => duration(text)?,
        None => Duration::from_secs(5),
    };
    let container = Container::open(&global.root, id)?;
    if container.status() == Status::Stopped {
        return Err(Error::State(format!(
            "container with id {id} is not running"
        )));
    }
    let group = container.group()?;
    let mut stats = group.stats()?;
    if given.is_on("stats") {
        return tell(id, "stats", Some(document(&stats)));
    }
    loop {
        std::thread::sleep(interval);
        if container.status() == Status::Stopped {
            return Ok(0);
        }
        let next = group.stats()?;
        if next.oom_kills > stats.oom_kills {
            tell(id, "oom", None)?;
        }
        tell(id, "stats", Some(document(&next)))?;
        stats = next;
    }
}

fn tell(id: &str, kind: &str, data: Option<Value>) -> Result<u8> {
    let mut event = json!({ "type": kind, "id": id });
    if let Some(data) = data {
        event["data"] = data;
    }
    print(&format!("{event}\n"))
}

/// runc's form, as far as it is counted.
fn document(stats: &Stats) -> Value {
    let limit = stats.memory_limit.unwrap_or(u64::MAX >> 1);
    json!({
        "cpu": {
            "usage": {
                "total": stats.cpu_total,
                "kernel": stats.cpu_system,
                "user": stats.cpu_user,
            },
            "throttling": {
                "periods": stats.cpu_periods,
                "throttledPeriods": stats.cpu_throttled_periods,
                "throttledTime": stats.cpu_throttled,
            },
        },
        "memory": {
            "usage": { "limit": limit, "usage": stats.memory_usage },
            "raw": { "total_inactive_file": stats.memory_inactive_file },
        },
        "pids": { "current": stats.pids, "limit": stats.pids_limit.unwrap_or(0) },
    })
}

/// A time in Go's form with one unit: `500ms`, `5s`, `1m`.
fn duration(text: &str) -> Result<Duration> {
    let bad = || Error::Usage(format!("invalid duration {text:?}"));
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let (digits, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .ok_or_else(bad)?;
    let count: u64 = digits.parse().map_err(|_| bad())?;
    match count.checked_mul(unit) {
        None => Err(bad()),
        Some(0) => Err(Error::Usage(
            "duration interval must be greater than 0".to_owned(),
        )),
        Some(all) => Ok(Duration::from_millis(all)),
    }
}

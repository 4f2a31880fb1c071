//! `events`: what a container uses, once or again and again, and when it is out of memory.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use runtime::cgroup::{Group, Pressure, Watch};
use runtime::resctrl::Assigned;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::{print, usage};
use crate::cli::{Given, Global, switch, value};
use crate::error::{Error, Result};
use crate::state::{Container, Status};

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let flags = [value("interval"), switch("stats"), value("pressure")];
    let given = Given::parse(&flags, words)?;
    let id = given.id("events")?;
    let interval = match given.value("interval") {
        Some(text) => duration(text)?,
        None => Duration::from_secs(5),
    };
    let container = Container::open(&global.root, id)?;
    let pidfd = match container.status() {
        Status::Stopped => None,
        _ => container.pidfd()?,
    };
    let Some(pidfd) = pidfd else {
        return Err(Error::State(format!(
            "container with id {id} is not running"
        )));
    };
    let group = container.group()?;
    if given.is_on("stats") {
        return tell(id, "stats", Some(figures(&container, group)?));
    }
    let watches = watches(group, &given)?;
    follow(&container, group, &pidfd, watches, interval)
}

fn figures(container: &Container, group: &Group) -> Result<Value> {
    let class = container.record.resctrl.as_ref();
    let class = class.map(Assigned::figures).transpose()?;
    Ok(usage::document(&group.report()?, class.as_ref()))
}

/// What is watched, and what an event of it is called.
fn watches(group: &Group, given: &Given) -> Result<Vec<(&'static str, Watch)>> {
    let mut watches = Vec::new();
    watches.extend(group.watch_oom()?.map(|watch| ("oom", watch)));
    if let Some(word) = given.value("pressure") {
        let level = Pressure::parse(word).ok_or_else(|| {
            let text = format!("invalid pressure {word:?}: it is low, medium or critical");
            Error::Usage(text)
        })?;
        watches.push(("pressure", group.watch_pressure(level)?));
    }
    Ok(watches)
}

/// Tells what happens at once, and the figures at each interval, until the container has ended.
fn follow(
    container: &Container,
    group: &Group,
    pidfd: &OwnedFd,
    mut watches: Vec<(&'static str, Watch)>,
    interval: Duration,
) -> Result<u8> {
    let id = &container.record.id;
    let mut next = Instant::now() + interval;
    loop {
        let ready = wait(pidfd, &watches, next)?;
        let ended = ready.first() == Some(&true);
        let mut gone = Vec::new();
        for (index, (kind, watch)) in watches.iter().enumerate() {
            // At the end also what the kernel has not announced yet, which it does at its leisure.
            let last_look = ended && *kind == "oom";
            if ready.get(index + 1) != Some(&true) && !last_look {
                continue;
            }
            match watch.take() {
                Ok(true) => drop(tell(id, kind, None)?),
                Ok(false) => {}
                Err(_) => gone.push(index),
            }
        }
        if ended {
            return Ok(0);
        }
        for index in gone.into_iter().rev() {
            watches.remove(index);
        }
        if Instant::now() >= next {
            tell(id, "stats", Some(figures(container, group)?))?;
            next = Instant::now() + interval;
        }
    }
}

/// Waits for the container's end and for notices, until `next`. Tells which of them are there, the end first.
fn wait(pidfd: &OwnedFd, watches: &[(&'static str, Watch)], next: Instant) -> Result<Vec<bool>> {
    let mut polled = vec![PollFd::new(pidfd, PollFlags::IN)];
    polled.extend(
        watches
            .iter()
            .map(|(_, watch)| PollFd::from_borrowed_fd(watch.as_fd(), watch.interest())),
    );
    let left = next.saturating_duration_since(Instant::now());
    let left = Timespec {
        tv_sec: left.as_secs().cast_signed(),
        tv_nsec: left.subsec_nanos().into(),
    };
    rustix::io::retry_on_intr(|| poll(&mut polled, Some(&left)))
        .map_err(Error::call("waiting for events"))?;
    Ok(polled.iter().map(|one| !one.revents().is_empty()).collect())
}

fn tell(id: &str, kind: &str, data: Option<Value>) -> Result<u8> {
    let mut event = json!({ "type": kind, "id": id });
    if let Some(data) = data {
        event["data"] = data;
    }
    print(&format!("{event}\n"))
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

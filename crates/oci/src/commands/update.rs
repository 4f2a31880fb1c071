//! `update`: changes a container's limits while it runs.

use std::io::Read as _;

use crate::cli::{Flag, Given, Global, value};
use crate::compile::limits;
use crate::error::{Error, Result};
use crate::spec::{self, BlockIo, Cpu, Memory, Pids, Resources};
use crate::state::{Container, Status};

/// The largest document that is read.
const MAX_BYTES: u64 = 1 << 20;

const FLAGS: [Flag; 19] = [
    value("resources").or("r"),
    value("blkio-weight"),
    value("cpu-period"),
    value("cpu-quota"),
    value("cpu-burst"),
    value("cpu-share"),
    value("cpu-rt-period"),
    value("cpu-rt-runtime"),
    value("cpu-idle"),
    value("cpuset-cpus"),
    value("cpuset-mems"),
    value("memory"),
    value("memory-reservation"),
    value("memory-swap"),
    // Nothing comes of them any more, in runc neither.
    value("kernel-memory"),
    value("kernel-memory-tcp"),
    value("pids-limit"),
    value("l3-cache-schema"),
    value("mem-bw-schema"),
];

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let given = Given::parse(&FLAGS, words)?;
    let mut container = Container::open_locked(&global.root, given.id("update")?)?;
    if container.status() == Status::Stopped {
        return Err(Error::State("container not running".to_owned()));
    }
    let asked = match given.path("resources") {
        Some(path) => from_file(&path)?,
        None => from_flags(&given)?,
    };
    let limits = limits(&asked, &global.log)?;
    let place = &container.record.place;
    let shares = shares(&given);
    let class = container.record.resctrl.as_ref();
    if class.is_none() && !shares.is_empty() {
        let text = "the container has no class of service (linux.intelRdt)";
        return Err(Error::State(text.to_owned()));
    }
    place.set(container.group()?, &limits)?;
    if let Some(class) = class {
        class.write(&shares)?;
    }
    // A limit may have asked for a group in one more hierarchy.
    let doors = Some(container.group()?.doors()?);
    if container.record.doors != doors {
        container.record.doors = doors;
        container.folder.write(&container.record)?;
    }
    Ok(0)
}

/// Lines for the container's class of service.
fn shares(given: &Given) -> Vec<String> {
    let lines = ["l3-cache-schema", "mem-bw-schema"].map(|name| given.value(name));
    let lines = lines.into_iter().flatten().filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

fn from_file(path: &std::path::Path) -> Result<Resources> {
    let failed = |source| Error::io("reading", path, source);
    let mut text = String::new();
    if path.as_os_str() == "-" {
        let stdin = std::io::stdin().lock();
        stdin.take(MAX_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
    }
    .map_err(failed)?;
    spec::parse("resources", &text)
}

fn from_flags(given: &Given) -> Result<Resources> {
    let text = |name: &str| {
        given
            .value(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    Ok(Resources {
        memory: Some(Memory {
            limit: bytes(given, "memory")?,
            reservation: bytes(given, "memory-reservation")?,
            swap: bytes(given, "memory-swap")?,
            kernel: bytes(given, "kernel-memory")?,
            kernel_tcp: bytes(given, "kernel-memory-tcp")?,
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: given.number("cpu-share")?,
            quota: given.number("cpu-quota")?,
            burst: given.number("cpu-burst")?,
            period: given.number("cpu-period")?,
            realtime_runtime: given.number("cpu-rt-runtime")?,
            realtime_period: given.number("cpu-rt-period")?,
            cpus: text("cpuset-cpus"),
            mems: text("cpuset-mems"),
            idle: given.number("cpu-idle")?,
        }),
        pids: Some(Pids {
            limit: given.number("pids-limit")?,
        }),
        block_io: Some(BlockIo {
            weight: given.number("blkio-weight")?,
            ..BlockIo::default()
        }),
        ..Resources::default()
    })
}

/// A size in bytes, or with one of the letters b, k, m, g, t behind it.
fn bytes(given: &Given, name: &str) -> Result<Option<i64>> {
    let Some(value) = given.value(name) else {
        return Ok(None);
    };
    let lower = value.to_ascii_lowercase();
    let bare = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match bare.chars().last() {
        Some('k') => (&bare[..bare.len() - 1], 10),
        Some('m') => (&bare[..bare.len() - 1], 20),
        Some('g') => (&bare[..bare.len() - 1], 30),
        Some('t') => (&bare[..bare.len() - 1], 40),
        _ => (bare, 0),
    };
    digits
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .map(Some)
        .ok_or_else(|| Error::Usage(format!("invalid value for {name}: {value:?}")))
}

//! `update`.

use serde_json::{Map, Value, json};

use crate::container::{disks, restart_policy, values};
use crate::failure::Failure;
use crate::flag::Flag;
use crate::number;
use crate::parse::Parsed;
use crate::query::encode;
use crate::session::Session;
use crate::verb::{Takes, Verb};

const FLAGS: &[Flag] = &[
    Flag::one(
        "blkio-weight",
        "uint16",
        "Block IO weight, between 10 and 1000",
    )
    .checked(disks::weight_checked),
    Flag::one(
        "cpu-period",
        "int",
        "CPU period of the fair scheduler, in microseconds",
    ),
    Flag::one(
        "cpu-quota",
        "int",
        "CPU quota of the fair scheduler, in microseconds a period",
    ),
    Flag::one(
        "cpu-rt-period",
        "int",
        "CPU real-time period, in microseconds",
    )
    .refused(),
    Flag::one(
        "cpu-rt-runtime",
        "int",
        "CPU real-time runtime, in microseconds",
    )
    .refused(),
    Flag::one("cpu-shares", "int", "CPU shares (relative weight)").letter('c'),
    Flag::one("cpus", "decimal", "Number of CPUs").checked(values::nano_cpus_checked),
    Flag::one(
        "cpuset-cpus",
        "string",
        "CPUs in which to allow execution (0-3, 0,1)",
    ),
    Flag::one(
        "cpuset-mems",
        "string",
        "Memory nodes in which to allow execution (0-3, 0,1)",
    ),
    Flag::one("kernel-memory", "bytes", "Kernel memory limit").refused(),
    Flag::one("memory", "bytes", "Memory limit")
        .checked(values::bytes_checked)
        .letter('m'),
    Flag::one("memory-reservation", "bytes", "Memory soft limit").checked(values::bytes_checked),
    Flag::one(
        "memory-swap",
        "bytes",
        "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
    )
    .checked(values::bytes_or_unlimited_checked),
    Flag::one(
        "pids-limit",
        "int",
        "Tune container pids limit (set -1 for unlimited)",
    ),
    Flag::one(
        "restart",
        "string",
        "Restart policy to apply when a container exits",
    ),
];

pub(super) static UPDATE: Verb = Verb {
    paths: &["update", "container update"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    flags: &[FLAGS],
    interspersed: true,
    takes: Takes::AtLeast(1),
    run: update,
};

fn update(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    if !FLAGS.iter().any(|flag| parsed.one(flag.name).is_some()) {
        return Err(Failure::Invalid(
            "you must provide one or more flags when using this command".to_owned(),
        ));
    }
    let body = body(parsed)?;
    let (mut warnings, mut failures) = (Vec::new(), Vec::new());
    for name in &parsed.args {
        let path =
            super::each::not_empty(name).map(|name| format!("/containers/{}/update", encode(name)));
        match path.and_then(|path| session.post(&path, Some(&body))) {
            Ok(answer) => {
                println!("{name}");
                let told = answer["Warnings"].as_array().cloned();
                warnings.extend(told.into_iter().flatten());
            }
            Err(failure @ (Failure::Endpoint(_) | Failure::Plain(_))) => return Err(failure),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    for warning in warnings.iter().filter_map(Value::as_str) {
        println!("{warning}");
    }
    match failures.is_empty() {
        true => Ok(0),
        false => Err(Failure::Invalid(failures.join("\n"))),
    }
}

/// The changes as the API takes them.
fn body(parsed: &Parsed) -> Result<Value, Failure> {
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let integer = |name: &str| -> Result<Option<Value>, Failure> {
        Ok(parsed.value(name, number::integer)?.map(Value::from))
    };
    let bytes = |name: &str| -> Result<Option<Value>, Failure> {
        Ok(parsed.value(name, values::bytes)?.map(Value::from))
    };
    let text = |name: &str| parsed.one(name).map(Value::from);
    let weight = parsed.value("blkio-weight", disks::weight)?;
    set("BlkioWeight", weight.map(Value::from));
    set("CpuPeriod", integer("cpu-period")?);
    set("CpuQuota", integer("cpu-quota")?);
    set("CpuShares", integer("cpu-shares")?);
    let cpus = parsed.value("cpus", values::nano_cpus)?;
    set("NanoCpus", cpus.map(Value::from));
    set("CpusetCpus", text("cpuset-cpus"));
    set("CpusetMems", text("cpuset-mems"));
    set("Memory", bytes("memory")?);
    set("MemoryReservation", bytes("memory-reservation")?);
    let swap = parsed.value("memory-swap", values::bytes_or_unlimited)?;
    set("MemorySwap", swap.map(Value::from));
    let pids = parsed.value("pids-limit", number::integer)?;
    set(
        "PidsLimit",
        pids.filter(|limit| *limit != 0).map(Value::from),
    );
    if parsed
        .one("restart")
        .is_some_and(|policy| !policy.is_empty())
    {
        let policy = restart_policy(parsed)?;
        set(
            "RestartPolicy",
            Some(json!({
                "Name": policy.name, "MaximumRetryCount": policy.maximum_retry_count
            })),
        );
    }
    Ok(Value::Object(body))
}

//! `update`.

use serde_json::{Map, Value, json};

use crate::container::{disks, resources, restart_policy, values};
use crate::failure::Failure;
use crate::flag::Flag;
use crate::number;
use crate::parse::Parsed;
use crate::query::encode;
use crate::session::Session;
use crate::verb::{Takes, Verb};

const FLAGS: &[Flag] = &[
    resources::BLKIO_WEIGHT,
    resources::CPU_PERIOD,
    resources::CPU_QUOTA,
    resources::CPU_RT_PERIOD,
    resources::CPU_RT_RUNTIME,
    resources::CPU_SHARES,
    resources::CPUS,
    resources::CPUSET_CPUS,
    resources::CPUSET_MEMS,
    resources::KERNEL_MEMORY,
    resources::MEMORY,
    resources::MEMORY_RESERVATION,
    resources::MEMORY_SWAP,
    resources::PIDS_LIMIT,
    resources::RESTART,
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
    set("CpuRealtimePeriod", integer("cpu-rt-period")?);
    set("CpuRealtimeRuntime", integer("cpu-rt-runtime")?);
    set("CpuShares", integer("cpu-shares")?);
    let cpus = parsed.value("cpus", values::nano_cpus)?;
    set("NanoCpus", cpus.map(Value::from));
    set("CpusetCpus", text("cpuset-cpus"));
    set("CpusetMems", text("cpuset-mems"));
    set("KernelMemory", bytes("kernel-memory")?);
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

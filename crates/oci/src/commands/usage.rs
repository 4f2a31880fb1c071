//! The figures of `events` in runc's form. It leaves out what is zero or empty; here everything is there.

use runtime::cgroup::{Gauge, IoEntry, Report};
use runtime::resctrl::Figures;
use serde_json::{Map, Value, json};

/// What stands under `data` of an event of the type `stats`.
pub(super) fn document(report: &Report, class: Option<&Figures>) -> Value {
    let cpu = &report.cpu;
    let memory = &report.memory;
    let hugetlb = report.hugetlb.iter().map(|(size, pages)| {
        let figures = json!({
            "usage": pages.usage, "max": pages.max, "failcnt": pages.failures,
        });
        (size.clone(), figures)
    });
    json!({
        "cpu": {
            "usage": {
                "total": cpu.total,
                "percpu": cpu.per_cpu,
                "percpu_kernel": cpu.per_cpu_system,
                "percpu_user": cpu.per_cpu_user,
                "kernel": cpu.system,
                "user": cpu.user,
            },
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled,
            },
            "burstData": { "burstsPeriods": cpu.bursts, "burstTime": cpu.burst_time },
        },
        "cpuset": cpuset(report),
        "memory": {
            "cache": memory.cache,
            "usage": gauge(&memory.memory),
            "swap": gauge(&memory.swap),
            "kernel": gauge(&memory.kernel),
            "kernelTCP": gauge(&memory.kernel_tcp),
            "raw": memory.raw,
        },
        "pids": { "current": report.pids, "limit": report.pids_limit.unwrap_or(0) },
        "blkio": {
            "ioServiceBytesRecursive": entries(&report.io.bytes),
            "ioServicedRecursive": entries(&report.io.requests),
        },
        "hugetlb": hugetlb.collect::<Map<String, Value>>(),
        "intel_rdt": class.map_or(json!({}), class_of_service),
        "network_interfaces": null,
    })
}

fn cpuset(report: &Report) -> Value {
    let switches = report.cpuset.switches.iter();
    let mut fields: Map<String, Value> = switches
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    fields.insert("cpus".to_owned(), json!(report.cpuset.cpus));
    fields.insert("mems".to_owned(), json!(report.cpuset.mems));
    Value::Object(fields)
}

fn class_of_service(figures: &Figures) -> Value {
    let line = |lines: &[String], kind: &str| {
        let found = lines.iter().find(|line| line.starts_with(kind));
        found.cloned().unwrap_or_default()
    };
    let bandwidths = figures
        .caches
        .iter()
        .map(|cache| json!({ "mbm_total_bytes": cache.total, "mbm_local_bytes": cache.local }));
    let occupancies = figures.caches.iter();
    let occupancies = occupancies.map(|cache| json!({ "llc_occupancy": cache.occupancy }));
    json!({
        "l3_cache_schema_root": line(&figures.default_schemata, "L3:"),
        "l3_cache_schema": line(&figures.schemata, "L3:"),
        "mem_bw_schema_root": line(&figures.default_schemata, "MB:"),
        "mem_bw_schema": line(&figures.schemata, "MB:"),
        "schemata": figures.schemata,
        "mbm_stats": bandwidths.collect::<Vec<Value>>(),
        "cmt_stats": occupancies.collect::<Vec<Value>>(),
    })
}

fn gauge(gauge: &Gauge) -> Value {
    json!({
        "limit": gauge.limit,
        "usage": gauge.usage,
        "max": gauge.max,
        "failcnt": gauge.failures,
    })
}

fn entries(entries: &[IoEntry]) -> Vec<Value> {
    let one = |entry: &IoEntry| {
        json!({
            "major": entry.major,
            "minor": entry.minor,
            "op": entry.operation,
            "value": entry.value,
        })
    };
    entries.iter().map(one).collect()
}

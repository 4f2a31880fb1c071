//! What containers use, read from their control groups and network namespaces when somebody asks.

use std::collections::BTreeMap;

use api_types::{
    BlkioEntry, BlkioStats, ContainerStats, CpuStats, CpuUsage, MemoryStats, NetworkStats,
    PidsStats, ThrottlingData,
};
use runtime::cgroup::{CpuReport, IoEntry, Report};

use super::registry::Container;
use crate::clock;
use crate::compile::modes::{Modes, NetworkMode};
use crate::engine::Engine;
use crate::neighbour::Neighbour;
use crate::outcome::Result;

/// The moment of a reading that was not made.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container whose statistics are read again and again.
#[derive(Clone)]
pub struct Usage {
    engine: Engine,
    container: std::sync::Arc<Container>,
    os_type: String,
    /// Moment and processor time of the last reading.
    last: (String, CpuStats),
}

impl Engine {
    /// Statistics of a container, running or not. Each names the operating system as `os_type`.
    pub fn usage(&self, id: &str, os_type: &str) -> Result<Usage> {
        Ok(Usage {
            engine: self.clone(),
            container: self.registry().find(id)?,
            os_type: os_type.to_owned(),
            last: (NEVER.to_owned(), CpuStats::default()),
        })
    }
}

impl Usage {
    /// Whether the container still exists.
    pub fn is_there(&self) -> bool {
        !self.container.progress.borrow().removed
    }

    /// Reads processor time alone, for the next reading to tell what was used since. False when nothing runs.
    pub async fn begin(&mut self) -> Result<bool> {
        if !self.runs() {
            return Ok(false);
        }
        let container = std::sync::Arc::clone(&self.container);
        let read = self
            .engine
            .blocking("stats", move |engine| {
                engine.read_processor_time(&container)
            })
            .await;
        match read {
            Ok(last) => self.last = last,
            // It ended meanwhile.
            Err(_) if !self.runs() => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn runs(&self) -> bool {
        let run = self.container.run();
        run.status.is_up() && run.pid != 0
    }

    /// Reads what the container uses. Of one that does not run all is 0.
    pub async fn read(&mut self) -> Result<ContainerStats> {
        let empty = ContainerStats {
            name: format!("/{}", self.container.name()),
            id: self.container.id().to_string(),
            os_type: self.os_type.clone(),
            read: NEVER.to_owned(),
            preread: NEVER.to_owned(),
            ..ContainerStats::default()
        };
        if !self.runs() {
            return Ok(empty);
        }
        let container = std::sync::Arc::clone(&self.container);
        let read = self
            .engine
            .blocking("stats", move |engine| engine.read_usage(&container))
            .await;
        let now = match read {
            Ok(now) => now,
            // It ended meanwhile.
            Err(_) if !self.runs() => return Ok(empty),
            Err(error) => return Err(error),
        };
        let (preread, precpu_stats) =
            std::mem::replace(&mut self.last, (now.read.clone(), now.cpu_stats.clone()));
        Ok(ContainerStats {
            name: empty.name,
            id: empty.id,
            os_type: empty.os_type,
            preread,
            precpu_stats,
            ..now
        })
    }
}

impl Engine {
    fn read_processor_time(&self, container: &Container) -> Result<(String, CpuStats)> {
        let group = self.group_of(container)?;
        let cpu = self.processor_time(group.processor_time()?);
        Ok((clock::rfc3339(clock::now()), cpu))
    }

    /// What was read just now, beside the host's time.
    fn processor_time(&self, read: CpuReport) -> CpuStats {
        let (system_cpu_usage, online_cpus) = self.inner().host_time.read();
        CpuStats {
            cpu_usage: CpuUsage {
                total_usage: read.total,
                percpu_usage: read.per_cpu,
                usage_in_kernelmode: read.system,
                usage_in_usermode: read.user,
            },
            system_cpu_usage,
            online_cpus,
            throttling_data: ThrottlingData {
                periods: read.periods,
                throttled_periods: read.throttled_periods,
                throttled_time: read.throttled,
            },
        }
    }

    fn read_usage(&self, container: &Container) -> Result<ContainerStats> {
        let groups = &self.inner().groups;
        let mut report = self.group_of(container)?.usage()?;
        let cpu_stats = self.processor_time(std::mem::take(&mut report.cpu));
        let is_v2 = groups.layout().version() == 2;
        let mode = Modes::parse(&container.spec.host)?.network;
        let has_network = !matches!(mode, NetworkMode::Host | NetworkMode::None);
        let networks = match has_network {
            true => {
                let text = Neighbour::of(&container.run()).and_then(|first| first.devices().ok());
                interfaces(&text.unwrap_or_default())
            }
            false => BTreeMap::new(),
        };
        Ok(ContainerStats {
            read: clock::rfc3339(clock::now()),
            pids_stats: PidsStats {
                current: report.pids,
                limit: report
                    .pids_limit
                    .unwrap_or(if is_v2 { u64::MAX } else { 0 }),
            },
            blkio_stats: BlkioStats {
                bytes: entries(&report.io.bytes, is_v2),
                requests: match is_v2 {
                    true => None,
                    false => entries(&report.io.requests, is_v2),
                },
                ..BlkioStats::default()
            },
            cpu_stats,
            memory_stats: self.memory(report),
            networks,
            ..ContainerStats::default()
        })
    }

    fn memory(&self, report: Report) -> MemoryStats {
        let of_host = self.inner().host.memory;
        let memory = report.memory;
        MemoryStats {
            usage: memory.memory.usage,
            max_usage: memory.memory.max,
            stats: memory.raw,
            failcnt: memory.memory.failures,
            limit: memory.memory.limit.min(of_host),
            ..MemoryStats::default()
        }
    }
}

/// Figures of block devices; version 2 has their kinds in small letters.
fn entries(entries: &[IoEntry], is_v2: bool) -> Option<Vec<BlkioEntry>> {
    let entries = entries.iter().map(|entry| BlkioEntry {
        major: entry.major,
        minor: entry.minor,
        op: match is_v2 {
            true => entry.operation.to_ascii_lowercase(),
            false => entry.operation.clone(),
        },
        value: entry.value,
    });
    Some(entries.collect())
}

/// The interfaces of proc_net_dev(5) but for the loopback.
fn interfaces(table: &str) -> BTreeMap<String, NetworkStats> {
    let interface = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .map(|word| word.parse().unwrap_or(0))
            .collect();
        let at = |index: usize| numbers.get(index).copied();
        let name = name.trim();
        if name == "lo" {
            return None;
        }
        let stats = NetworkStats {
            rx_bytes: at(0)?,
            rx_packets: at(1)?,
            rx_errors: at(2)?,
            rx_dropped: at(3)?,
            tx_bytes: at(8)?,
            tx_packets: at(9)?,
            tx_errors: at(10)?,
            tx_dropped: at(11)?,
            ..NetworkStats::default()
        };
        Some((name.to_owned(), stats))
    };
    table.lines().filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_from_the_namespace_s_table() {
        let table = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1000      10    1    2    0     0          0         0     2000      20    3    4    0     0       0          0
";
        let found = interfaces(table);
        assert_eq!(found.len(), 1);
        let eth0 = &found["eth0"];
        assert_eq!((eth0.rx_bytes, eth0.rx_packets), (1000, 10));
        assert_eq!((eth0.rx_errors, eth0.rx_dropped), (1, 2));
        assert_eq!((eth0.tx_bytes, eth0.tx_packets), (2000, 20));
        assert_eq!((eth0.tx_errors, eth0.tx_dropped), (3, 4));
    }
}

//! Memory, processors and process counts: docker's validation.

use api_types::HostConfig;
use runtime::cgroup::Support;

use crate::outcome::{EngineError, Result};

/// The least memory a container may be given, bytes.
const LEAST_MEMORY: i64 = 6 * 1024 * 1024;
/// The most CPU shares that the kernel knows.
const MOST_SHARES: i64 = 262_144;
/// Default length of a CFS period, microseconds.
pub(crate) const CFS_PERIOD: i64 = 100_000;
/// Default size of /dev/shm, bytes.
pub(crate) const SHM_SIZE: i64 = 64 * 1024 * 1024;

/// Checks the limits of a request; `processors` is how many the host has, `online` their list (`0-1`).
///
/// # Errors
/// Docker's sentences.
pub(crate) fn check(host: &mut HostConfig, processors: usize, online: &str) -> Result<()> {
    memory(host)?;
    cpu(host, processors)?;
    let nodes = match host.cpuset_mems.is_empty() {
        true => String::new(),
        false => memory_nodes(),
    };
    for (name, wanted, available) in [
        ("cpus", &host.cpuset_cpus, online),
        ("mems", &host.cpuset_mems, nodes.as_str()),
    ] {
        if wanted.is_empty() {
            continue;
        }
        let Some(numbers) = parse_list(wanted) else {
            return Err(EngineError::invalid(format!(
                "Invalid value {wanted} for cpuset {name}: invalid format: {wanted}"
            )));
        };
        let known = parse_list(available).unwrap_or_default();
        if !numbers.iter().all(|number| known.contains(number)) {
            let what = match name {
                "cpus" => "CPUs",
                _ => "memory nodes",
            };
            return Err(EngineError::invalid(format!(
                "Requested {what} are not available - requested {wanted}, available: {available}"
            )));
        }
    }
    if host.io_maximum_iops != 0 || host.io_maximum_bandwidth != 0 {
        return Err(EngineError::invalid(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
        ));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(EngineError::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    if host.shm_size < 0 {
        return Err(EngineError::invalid("SHM size can not be less than 0"));
    }
    if host.shm_size == 0 {
        host.shm_size = SHM_SIZE;
    }
    if host.pids_limit.is_some_and(|limit| limit <= 0) {
        host.pids_limit = None;
    }
    Ok(())
}

/// Whether a request asks for limits that not every host has.
pub(crate) fn asks_what_is_rare(host: &HostConfig) -> bool {
    let any = |list: &Option<Vec<api_types::ThrottleDevice>>| {
        list.as_ref().is_some_and(|list| !list.is_empty())
    };
    host.memory_swappiness.is_some()
        || host.kernel_memory != 0
        || host.kernel_memory_tcp != 0
        || host.cpu_count != 0
        || host.cpu_percent != 0
        || host.oom_kill_disable == Some(true)
        || host.blkio_weight != 0
        || host
            .blkio_weight_device
            .as_ref()
            .is_some_and(|list| !list.is_empty())
        || any(&host.blkio_device_read_bps)
        || any(&host.blkio_device_write_bps)
        || any(&host.blkio_device_read_iops)
        || any(&host.blkio_device_write_iops)
}

/// Takes back limits that this host has not, and says so in docker's words.
pub(crate) fn step_back(host: &mut HostConfig, support: &Support) -> Vec<String> {
    let mut told = Vec::new();
    if host.memory_swappiness.is_some() && !support.swappiness {
        host.memory_swappiness = None;
        told.push("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.".to_owned());
    }
    if host.oom_kill_disable == Some(true) {
        if !support.oom_kill_disable {
            host.oom_kill_disable = None;
            told.push(
                "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
            );
        } else if host.memory == 0 {
            told.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned());
        }
    }
    // No kernel that this engine runs on limits it by itself any more.
    let kernel = std::mem::take(&mut host.kernel_memory) > 0;
    if std::mem::take(&mut host.kernel_memory_tcp) > 0 || kernel {
        told.push("Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded.".to_owned());
    }
    for (field, what, short) in [
        (&mut host.cpu_count, "CPU count", "Count"),
        (&mut host.cpu_percent, "CPU percent", "Percent"),
    ] {
        if std::mem::take(field) > 0 {
            told.push(format!("linux does not support {what}. {short} discarded."));
        }
    }
    told.extend(super::block_io::step_back(
        host,
        support.blkio_weight,
        support.blkio_rate,
    ));
    told
}

/// The list of the host's memory nodes; kernels that know of one alone do not tell.
fn memory_nodes() -> String {
    ["has_memory", "online"]
        .iter()
        .find_map(|name| std::fs::read_to_string(format!("/sys/devices/system/node/{name}")).ok())
        .map(|list| list.trim().to_owned())
        .filter(|list| !list.is_empty())
        .unwrap_or_else(|| "0".to_owned())
}

fn memory(host: &mut HostConfig) -> Result<()> {
    let refuse = |sentence: &str| Err(EngineError::invalid(sentence));
    if host.memory < 0 || (host.memory > 0 && host.memory < LEAST_MEMORY) {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if host.memory_reservation < 0
        || (host.memory_reservation > 0 && host.memory_reservation < LEAST_MEMORY)
    {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory_reservation > 0 && host.memory < host.memory_reservation {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if let Some(swappiness) = host.memory_swappiness
        && !(0..=100).contains(&swappiness)
    {
        return refuse(&format!(
            "invalid value: {swappiness}, valid memory swappiness range is 0-100"
        ));
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    Ok(())
}

fn cpu(host: &HostConfig, processors: usize) -> Result<()> {
    let refuse = |sentence: String| Err(EngineError::invalid(sentence));
    if host.nano_cpus != 0 {
        if host.cpu_period != 0 {
            return refuse(
                "Conflicting options: Nano CPUs and CPU Period cannot both be set".into(),
            );
        }
        if host.cpu_quota != 0 {
            return refuse(
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set".into(),
            );
        }
        if host.nano_cpus < 0 || host.nano_cpus > processors as i64 * 1_000_000_000 {
            return refuse(format!(
                "range of CPUs is from 0.01 to {processors}.00, as there are only {processors} CPUs available"
            ));
        }
    }
    if host.cpu_shares < 0 {
        return refuse(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            host.cpu_shares
        ));
    }
    // The kernel would take these for its own least and most.
    if host.cpu_shares == 1 {
        return refuse("the minimum allowed cpu-shares is 2".into());
    }
    if host.cpu_shares > MOST_SHARES {
        return refuse(format!("the maximum allowed cpu-shares is {MOST_SHARES}"));
    }
    if host.cpu_period != 0 && !(1_000..=1_000_000).contains(&host.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .into(),
        );
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1_000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)".into());
    }
    Ok(())
}

/// Reads a list as the kernel writes it (`0-2,7`), at most 8,192 numbers.
pub(crate) fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= 8_192 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(mut host: HostConfig) -> String {
        check(&mut host, 2, "0-1").unwrap_err().to_string()
    }

    #[test]
    fn limits_that_make_no_sense_are_refused_in_dockers_words() {
        let base = HostConfig::default;
        assert_eq!(
            refused(HostConfig {
                memory: 1024,
                ..base()
            }),
            "Minimum memory limit allowed is 6MB"
        );
        assert!(
            refused(HostConfig {
                memory_swap: 1 << 30,
                ..base()
            })
            .starts_with("You should always set the Memory limit")
        );
        assert!(
            refused(HostConfig {
                nano_cpus: 3_000_000_000,
                ..base()
            })
            .contains("from 0.01 to 2.00")
        );
        assert!(
            refused(HostConfig {
                cpuset_cpus: "0-7".into(),
                ..base()
            })
            .starts_with("Requested CPUs are not available")
        );
        assert_eq!(
            refused(HostConfig {
                cpuset_cpus: "x".into(),
                ..base()
            }),
            "Invalid value x for cpuset cpus: invalid format: x"
        );
        assert!(
            refused(HostConfig {
                cpuset_mems: "7000".into(),
                ..base()
            })
            .starts_with("Requested memory nodes are not available - requested 7000, available: ")
        );
        assert_eq!(
            refused(HostConfig {
                cpu_shares: 1,
                ..base()
            }),
            "the minimum allowed cpu-shares is 2"
        );
        assert!(
            refused(HostConfig {
                oom_score_adj: 1001,
                ..base()
            })
            .contains("[-1000, 1000]")
        );
    }

    #[test]
    fn defaults_are_written_down() {
        let mut host = HostConfig {
            memory: 1 << 28,
            pids_limit: Some(-1),
            ..Default::default()
        };
        check(&mut host, 2, "0-1").unwrap();
        assert_eq!(
            (host.memory_swap, host.shm_size, host.pids_limit),
            (1 << 29, SHM_SIZE, None)
        );
    }

    #[test]
    fn lists_have_a_limit() {
        assert_eq!(parse_list("0-2,7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(parse_list("0-4000000000"), None);
        assert_eq!(parse_list("3-1"), None);
    }
}

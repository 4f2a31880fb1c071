//! Weights and rates of block devices, which a request names by the path of their node.

use std::os::unix::fs::MetadataExt;

use api_types::{HostConfig, ThrottleDevice};
use runtime::cgroup::{BlockIo, DeviceRate, DeviceWeight};

use crate::outcome::{EngineError, Result};

/// The least and the most weight.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

/// Checks the weights; 0 asks for none.
///
/// # Errors
/// Docker's sentence.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    if host.blkio_weight != 0 && !WEIGHTS.contains(&host.blkio_weight) {
        return Err(EngineError::invalid(
            "range of blkio weight is from 10 to 1000",
        ));
    }
    Ok(())
}

/// Looks the devices up.
///
/// # Errors
/// One that is not there, by its path.
pub(crate) fn compile(host: &HostConfig) -> Result<BlockIo> {
    let mut weights = Vec::new();
    for device in host.blkio_weight_device.iter().flatten() {
        let (major, minor) = number(&device.path)?;
        weights.push(DeviceWeight {
            major,
            minor,
            weight: Some(device.weight),
            leaf_weight: None,
        });
    }
    Ok(BlockIo {
        weight: (host.blkio_weight != 0).then_some(host.blkio_weight),
        leaf_weight: None,
        weights,
        read_bps: rates(&host.blkio_device_read_bps)?,
        write_bps: rates(&host.blkio_device_write_bps)?,
        read_iops: rates(&host.blkio_device_read_iops)?,
        write_iops: rates(&host.blkio_device_write_iops)?,
    })
}

fn rates(devices: &Option<Vec<ThrottleDevice>>) -> Result<Vec<DeviceRate>> {
    let rate = |device: &ThrottleDevice| {
        let (major, minor) = number(&device.path)?;
        Ok(DeviceRate {
            major,
            minor,
            rate: device.rate,
        })
    };
    devices.iter().flatten().map(rate).collect()
}

fn number(path: &str) -> Result<(u32, u32)> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        EngineError::invalid(format!("stat {path}: {}", crate::outcome::words(&error)))
    })?;
    let number = metadata.rdev();
    Ok((rustix::fs::major(number), rustix::fs::minor(number)))
}

/// Takes back what this host can not do, and says so in docker's words.
pub(crate) fn step_back(host: &mut HostConfig, weights: bool, rates: bool) -> Vec<String> {
    let mut told = Vec::new();
    let mut discard = |what: &str, discarded: &str| {
        told.push(format!(
            "Your kernel does not support {what} or the cgroup is not mounted. {discarded} discarded."
        ));
    };
    if !weights && host.blkio_weight != 0 {
        host.blkio_weight = 0;
        discard("Block I/O weight", "Weight");
    }
    if !weights && empty(&mut host.blkio_weight_device) {
        discard("Block I/O weight_device", "Weight-device");
    }
    if rates {
        return told;
    }
    for (list, what, discarded) in [
        (
            &mut host.blkio_device_read_bps,
            "BPS Block I/O read limit",
            "Block I/O BPS read limit",
        ),
        (
            &mut host.blkio_device_write_bps,
            "BPS Block I/O write limit",
            "Block I/O BPS write limit",
        ),
        (
            &mut host.blkio_device_read_iops,
            "IOPS Block read limit",
            "Block I/O IOPS read limit",
        ),
        (
            &mut host.blkio_device_write_iops,
            "IOPS Block write limit",
            "Block I/O IOPS write limit",
        ),
    ] {
        if empty(list) {
            discard(what, discarded);
        }
    }
    told
}

/// Empties a list; tells whether it had anything.
fn empty<T>(list: &mut Option<Vec<T>>) -> bool {
    let had = list.as_ref().is_some_and(|list| !list.is_empty());
    if had {
        *list = Some(Vec::new());
    }
    had
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_found_by_their_path() {
        let host = |path: &str| HostConfig {
            blkio_weight: 300,
            blkio_device_read_bps: Some(vec![ThrottleDevice {
                path: path.to_owned(),
                rate: 5,
            }]),
            ..Default::default()
        };
        let io = compile(&host("/dev/null")).unwrap();
        assert_eq!(io.weight, Some(300));
        assert_eq!(
            io.read_bps,
            [DeviceRate {
                major: 1,
                minor: 3,
                rate: 5
            }]
        );
        let refused = compile(&host("/dev/nope")).unwrap_err().to_string();
        assert_eq!(refused, "stat /dev/nope: no such file or directory");
        let heavy = HostConfig {
            blkio_weight: 1001,
            ..Default::default()
        };
        assert!(check(&heavy).is_err());
    }

    #[test]
    fn what_the_host_can_not_do_is_discarded_with_a_word() {
        let mut host = HostConfig {
            blkio_weight: 300,
            blkio_device_write_bps: Some(vec![ThrottleDevice::default()]),
            ..Default::default()
        };
        assert!(step_back(&mut host, true, true).is_empty());
        let told = step_back(&mut host, false, false);
        assert_eq!(told.len(), 2);
        assert!(told[1].ends_with("Block I/O BPS write limit discarded."));
        assert!(host.blkio_weight == 0 && host.blkio_device_write_bps.unwrap().is_empty());
    }
}

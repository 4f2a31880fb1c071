//! Block devices: weights and rates.

use super::directory::Folder;
use super::driver::Driver;
use super::resources::{BlockIo, DeviceRate};
use super::{CgroupError, Controller, Resources};

const V1_WEIGHT: &str = "blkio.weight";
const V1_BFQ_WEIGHT: &str = "blkio.bfq.weight";
const V2_WEIGHT: &str = "io.weight";
const V2_BFQ_WEIGHT: &str = "io.bfq.weight";
const V2_MAX: &str = "io.max";

const WEIGHT: &str = "a weight of block devices";
const LEAF_WEIGHT: &str = "a leaf weight of block devices";

pub(super) const DRIVER: Driver = Driver {
    controller: Controller::Blkio,
    wanted,
    apply_v1,
    apply_v2,
    read_v1: |_, _| Ok(()),
    read_v2: |_, _| Ok(()),
};

fn wanted(resources: &Resources) -> Option<&'static str> {
    let io = &resources.block_io;
    let rates = [&io.read_bps, &io.write_bps, &io.read_iops, &io.write_iops];
    if io.weight.is_some() || !io.weights.is_empty() {
        Some(WEIGHT)
    } else if io.leaf_weight.is_some() {
        Some(LEAF_WEIGHT)
    } else if rates.iter().any(|list| !list.is_empty()) {
        Some("a rate of a block device")
    } else {
        None
    }
}

fn apply_v1(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    let io = &resources.block_io;
    refuse_leaf_weights(io)?;
    if io.weight.is_some() || !io.weights.is_empty() {
        let files = [V1_BFQ_WEIGHT, V1_WEIGHT];
        let file = files.into_iter().find(|file| folder.has(file));
        let file = file.ok_or(CgroupError::Unsupported { setting: WEIGHT })?;
        if let Some(weight) = io.weight {
            folder.write(file, &weight.to_string())?;
        }
        for line in weight_lines(io, u64::from) {
            folder.set(&format!("{file}_device"), &line, WEIGHT)?;
        }
    }
    for (file, list) in [
        ("read_bps", &io.read_bps),
        ("write_bps", &io.write_bps),
        ("read_iops", &io.read_iops),
        ("write_iops", &io.write_iops),
    ] {
        let file = format!("blkio.throttle.{file}_device");
        for DeviceRate { major, minor, rate } in list {
            folder.set(
                &file,
                &format!("{major}:{minor} {rate}"),
                "a rate of a block device",
            )?;
        }
    }
    Ok(())
}

fn apply_v2(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    let io = &resources.block_io;
    refuse_leaf_weights(io)?;
    if io.weight.is_some() || !io.weights.is_empty() {
        // bfq has a scale of its own, which is version 1's.
        let (file, scale): (_, fn(u16) -> u64) = if folder.has(V2_BFQ_WEIGHT) {
            (V2_BFQ_WEIGHT, u64::from)
        } else {
            (V2_WEIGHT, scaled)
        };
        if let Some(weight) = io.weight {
            folder.set(file, &scale(weight).to_string(), WEIGHT)?;
        }
        for line in weight_lines(io, scale) {
            folder.set(file, &line, WEIGHT)?;
        }
    }
    for (key, list) in [
        ("rbps", &io.read_bps),
        ("wbps", &io.write_bps),
        ("riops", &io.read_iops),
        ("wiops", &io.write_iops),
    ] {
        for DeviceRate { major, minor, rate } in list {
            let rate = match rate {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            let line = format!("{major}:{minor} {key}={rate}");
            folder.set(V2_MAX, &line, "a rate of a block device")?;
        }
    }
    Ok(())
}

/// They were of the scheduler cfq, which went with Linux 5.0.
fn refuse_leaf_weights(io: &BlockIo) -> Result<(), CgroupError> {
    let of_devices = io.weights.iter().any(|one| one.leaf_weight.is_some());
    if io.leaf_weight.is_some() || of_devices {
        return Err(CgroupError::Unsupported {
            setting: LEAF_WEIGHT,
        });
    }
    Ok(())
}

fn weight_lines(io: &BlockIo, scale: fn(u16) -> u64) -> impl Iterator<Item = String> {
    let weights = io.weights.iter();
    weights.filter_map(move |one| {
        let weight = scale(one.weight?);
        Some(format!("{}:{} {weight}", one.major, one.minor))
    })
}

/// A weight of 10 to 1,000 on version 2's scale, 1 to 10,000. One that is too large stays so, for the kernel to refuse.
fn scaled(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9_999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scales_meet_at_their_ends() {
        assert_eq!([10, 1000, 1].map(scaled), [1, 10_000, 1]);
        assert_eq!(scaled(100), 910);
        assert!(scaled(1001) > 10_000);
    }
}

//! Volumes.

use super::{field, maybe, pointer, structure};
use crate::template::value::{ANY_MAP, INT64, TEXT, TEXT_MAP};

pointer! {
    CLUSTER = CLUSTER_OF;
    USAGE = USAGE_OF;
}

structure! {
    /// A volume as `inspect` tells of it.
    pub(crate) VOLUME = "volume.Volume" [
        maybe("ClusterVolume", &CLUSTER),
        maybe("CreatedAt", &TEXT),
        field("Driver", &TEXT),
        field("Labels", &TEXT_MAP),
        field("Mountpoint", &TEXT),
        field("Name", &TEXT),
        field("Options", &TEXT_MAP),
        field("Scope", &TEXT),
        maybe("Status", &ANY_MAP),
        maybe("UsageData", &USAGE),
    ];
    // Of swarms, which there are none of: it is never more than nil.
    CLUSTER_OF = "volume.ClusterVolume" [field("ID", &TEXT)];
    USAGE_OF = "volume.UsageData" [field("RefCount", &INT64), field("Size", &INT64)];
}

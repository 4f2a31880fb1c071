//! Volumes.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// One volume.
    pub struct Volume {
        /// When it was made (RFC 3339).
        created_at: String = "CreatedAt" omitempty,
        /// Driver.
        driver: String = "Driver",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// Its folder on the host.
        mountpoint: String = "Mountpoint",
        /// Name.
        name: String = "Name",
        /// Options of the driver.
        options: Option<BTreeMap<String, String>> = "Options",
        /// `local` or `global`.
        scope: String = "Scope",
        /// What the driver says of it.
        status: BTreeMap<String, serde_json::Value> = "Status" omitempty,
        /// Its use: only in the answer about disk usage.
        usage_data: Option<VolumeUsage> = "UsageData" omitempty,
    }
}

wire! {
    /// The use of a volume.
    pub struct VolumeUsage {
        /// Containers that refer to it; -1 for not counted.
        ref_count: i64 = "RefCount",
        /// Bytes; -1 for not counted.
        size: i64 = "Size",
    }
}

wire! {
    /// A volume to be made.
    pub struct VolumeCreate {
        /// Name; empty for one that the engine draws.
        name: String = "Name" omitempty,
        /// Driver; empty for `local`.
        driver: String = "Driver" omitempty,
        /// Options of the driver.
        driver_opts: BTreeMap<String, String> = "DriverOpts" omitempty,
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels" omitempty,
        /// Cluster volumes, which are refused.
        cluster_volume_spec: Option<serde_json::Value> = "ClusterVolumeSpec" omitempty,
    }
}

wire! {
    /// All volumes.
    pub struct VolumeList {
        /// The volumes.
        volumes: Vec<Volume> = "Volumes",
        /// What the user should know.
        warnings: Option<Vec<String>> = "Warnings",
    }
}

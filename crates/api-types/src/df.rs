//! Disk usage.

use crate::container::ContainerSummary;
use crate::image::ImageSummary;
use crate::volume::Volume;
use crate::wire::wire;

use serde::{Deserialize, Serialize};

wire! {
    /// What takes space. A kind that was not asked for is absent.
    ///
    /// The engine fills the items always; the answer has them only when they were asked for.
    pub struct DiskUsage {
        /// Of images. The total size counts shared layers once.
        image_usage: Option<Usage<ImageSummary>> = "ImageUsage" omitempty,
        /// Of containers.
        container_usage: Option<Usage<ContainerSummary>> = "ContainerUsage" omitempty,
        /// Of volumes.
        volume_usage: Option<Usage<Volume>> = "VolumeUsage" omitempty,
        /// Of the builder.
        build_cache_usage: Option<Usage<BuildCache>> = "BuildCacheUsage" omitempty,
    }
}

/// The space that one kind of thing takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "T: Deserialize<'de>"))]
pub struct Usage<T> {
    /// How many are in use.
    #[serde(
        rename = "ActiveCount",
        skip_serializing_if = "crate::wire::is_default"
    )]
    pub active_count: i64,
    /// The things.
    #[serde(rename = "Items", skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<T>,
    /// Bytes that a prune would free.
    #[serde(
        rename = "Reclaimable",
        skip_serializing_if = "crate::wire::is_default"
    )]
    pub reclaimable: i64,
    /// How many there are.
    #[serde(rename = "TotalCount", skip_serializing_if = "crate::wire::is_default")]
    pub total_count: i64,
    /// Bytes of all together.
    #[serde(rename = "TotalSize", skip_serializing_if = "crate::wire::is_default")]
    pub total_size: i64,
}

impl<T> Default for Usage<T> {
    fn default() -> Self {
        Usage {
            active_count: 0,
            items: Vec::new(),
            reclaimable: 0,
            total_count: 0,
            total_size: 0,
        }
    }
}

wire! {
    /// One record of the builder's cache.
    pub struct BuildCache {
        /// Id.
        id: String = "ID",
        /// What it was made from.
        parents: Vec<String> = "Parents" omitempty,
        /// `internal`, `frontend`, `source.local`, `source.git.checkout`, `exec.cachemount` or `regular`.
        kind: String = "Type",
        /// What made it.
        description: String = "Description",
        /// Whether it is in use.
        in_use: bool = "InUse",
        /// Whether others share it.
        shared: bool = "Shared",
        /// Bytes.
        size: i64 = "Size",
        /// When it was made (RFC 3339).
        created_at: String = "CreatedAt",
        /// When it was last used (RFC 3339).
        last_used_at: Option<String> = "LastUsedAt",
        /// How often it was used.
        usage_count: i64 = "UsageCount",
    }
}

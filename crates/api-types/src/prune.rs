//! What was removed because nothing used it.

use crate::image::ImageDeleted;
use crate::wire::wire;

wire! {
    /// Containers that were removed.
    pub struct ContainersPruneReport {
        /// Their ids; `null` for none.
        containers_deleted: Option<Vec<String>> = "ContainersDeleted",
        /// Bytes that are free now.
        space_reclaimed: u64 = "SpaceReclaimed",
    }
}

wire! {
    /// Images that were removed.
    pub struct ImagesPruneReport {
        /// Names and ids; `null` for none.
        images_deleted: Option<Vec<ImageDeleted>> = "ImagesDeleted",
        /// Bytes that are free now.
        space_reclaimed: u64 = "SpaceReclaimed",
    }
}

wire! {
    /// Volumes that were removed.
    pub struct VolumesPruneReport {
        /// Their names.
        volumes_deleted: Vec<String> = "VolumesDeleted",
        /// Bytes that are free now.
        space_reclaimed: u64 = "SpaceReclaimed",
    }
}

wire! {
    /// Networks that were removed.
    pub struct NetworksPruneReport {
        /// Their names; `null` for none.
        networks_deleted: Option<Vec<String>> = "NetworksDeleted",
    }
}

wire! {
    /// Records of the builder's cache that were removed.
    pub struct BuildPruneReport {
        /// Their ids; `null` for none.
        caches_deleted: Option<Vec<String>> = "CachesDeleted",
        /// Bytes that are free now.
        space_reclaimed: u64 = "SpaceReclaimed",
    }
}

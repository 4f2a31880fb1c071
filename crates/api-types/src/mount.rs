//! Mounts in their long form (`--mount`).

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// One mount that a container asks for.
    pub struct Mount {
        /// `bind`, `volume`, `tmpfs` or `image`.
        kind: String = "Type" omitempty,
        /// Host path, volume name or image.
        source: String = "Source" omitempty,
        /// Path in the container.
        target: String = "Target" omitempty,
        /// Whether it can not be written to.
        read_only: bool = "ReadOnly" omitempty,
        /// Consistency (macOS): kept and without effect.
        consistency: String = "Consistency" omitempty,
        /// Only for binds.
        bind_options: Option<BindOptions> = "BindOptions" omitempty,
        /// Only for volumes.
        volume_options: Option<VolumeOptions> = "VolumeOptions" omitempty,
        /// Only for images.
        image_options: Option<ImageMountOptions> = "ImageOptions" omitempty,
        /// Only for temporary file systems.
        tmpfs_options: Option<TmpfsOptions> = "TmpfsOptions" omitempty,
        /// Only for cluster volumes, which have no options.
        cluster_options: Option<crate::Empty> = "ClusterOptions" omitempty,
    }
}

wire! {
    /// Options of a bind.
    pub struct BindOptions {
        /// `[r]private`, `[r]shared` or `[r]slave`; empty for `rprivate`.
        propagation: String = "Propagation" omitempty,
        /// Whether mounts below the source stay out.
        non_recursive: bool = "NonRecursive" omitempty,
        /// Whether a missing source is made.
        create_mountpoint: bool = "CreateMountpoint" omitempty,
        /// Whether read-only ends at mounts below the source.
        read_only_non_recursive: bool = "ReadOnlyNonRecursive" omitempty,
        /// Whether it is an error when mounts below the source can not be made read-only.
        read_only_force_recursive: bool = "ReadOnlyForceRecursive" omitempty,
    }
}

wire! {
    /// Options of a volume.
    pub struct VolumeOptions {
        /// Whether a new volume stays empty instead of taking over what the image has at the target.
        no_copy: bool = "NoCopy" omitempty,
        /// Labels of a new volume.
        labels: BTreeMap<String, String> = "Labels" omitempty,
        /// Path in the volume to mount.
        subpath: String = "Subpath" omitempty,
        /// Driver of a new volume.
        driver_config: Option<VolumeDriverConfig> = "DriverConfig" omitempty,
    }
}

wire! {
    /// Driver of a new volume.
    pub struct VolumeDriverConfig {
        /// Name.
        name: String = "Name" omitempty,
        /// Options.
        options: BTreeMap<String, String> = "Options" omitempty,
    }
}

wire! {
    /// Options of an image mount.
    pub struct ImageMountOptions {
        /// Path in the image to mount.
        subpath: String = "Subpath" omitempty,
    }
}

wire! {
    /// Options of a temporary file system.
    pub struct TmpfsOptions {
        /// Bytes; zero for no limit.
        size_bytes: i64 = "SizeBytes" omitempty,
        /// Permission bits; zero for 1777.
        mode: u32 = "Mode" omitempty,
        /// Further mount options, each `[name]` or `[name, value]`.
        options: Vec<Vec<String>> = "Options" omitempty,
    }
}

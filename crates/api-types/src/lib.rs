//! The bodies of Docker's Engine API, in the shape of its newest version (1.55).
//!
//! These are plain values: no input or output, no versions. What older versions of the API expect is derived from
//! these shapes by the crate `api`, and the engine keeps a container's configuration in the same vocabulary.
//!
//! # Absent, null and empty
//!
//! Docker's clients are written in Go and tell three kinds of "nothing" apart, so the types do too:
//!
//! | in Go | here | written as |
//! |---|---|---|
//! | slice, map or pointer | `Option<…>` | `null` when `None` |
//! | any field with `omitempty` | the plain type, marked `omitempty` | absent when it has its default value |
//! | everything else | the plain type | always present |
//!
//! Reading is as lenient as Go's: an absent field and a `null` both give the default value, and unknown fields are
//! skipped.

mod config;
mod container;
mod df;
mod event;
mod exec;
mod file;
mod host_config;
mod image;
mod mount;
mod network;
mod progress;
mod prune;
mod stats;
mod system;
pub mod texts;
mod ulimit;
mod volume;
mod wire;

pub use config::{Config, HealthConfig, ImageConfig};
pub use container::{
    ContainerCreate, ContainerCreated, ContainerHealthSummary, ContainerInspect, ContainerState,
    ContainerSummary, GraphDriver, Health, HealthResult, MountPoint, PathChange, PortSummary,
    RootFsStorage, Snapshot, Storage, SummaryHostConfig, SummaryNetworkSettings, TopResponse,
    UpdateResponse, WaitError, WaitResponse,
};
pub use df::{BuildCache, DiskUsage, Usage};
pub use event::{Actor, Event};
pub use exec::{ExecCreate, ExecInspect, ExecProcess, ExecStart};
pub use file::PathStat;
pub use host_config::{
    Device, DeviceRequest, HostConfig, LogConfig, PortBinding, PortMap, RestartPolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};
pub use image::{
    Descriptor, DescriptorPlatform, DistributionInspect, HistoryItem, ImageDeleted, ImageInspect,
    ImageMetadata, ImageSummary, RootFs, SearchResult,
};
pub use mount::{
    BindOptions, ImageMountOptions, Mount, TmpfsOptions, VolumeDriverConfig, VolumeOptions,
};
pub use network::{
    EndpointIpamConfig, EndpointResource, EndpointSettings, Ipam, IpamConfig, Network,
    NetworkConfigRef, NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect,
    NetworkPeer, NetworkSettings, NetworkingConfig,
};
pub use progress::{ErrorDetail, Progress, ProgressDetail, PushResult};
pub use prune::{
    BuildPruneReport, ContainersPruneReport, ImagesPruneReport, NetworksPruneReport,
    VolumesPruneReport,
};
pub use stats::{
    BlkioEntry, BlkioStats, ContainerStats, CpuStats, CpuUsage, MemoryStats, NetworkStats,
    PidsStats, StorageStats, ThrottlingData,
};
pub use system::{
    AddressPool, AuthConfig, AuthResponse, Commit, Component, ContainerdInfo, ContainerdNamespaces,
    FirewallInfo, IndexInfo, Platform, Plugins, RegistryConfig, Runtime, SwarmInfo, SystemInfo,
    Version,
};
pub use volume::{Volume, VolumeCreate, VolumeList, VolumeUsage};
pub use wire::{Empty, Words};

use wire::wire;

wire! {
    /// The body of every answer that reports a failure.
    pub struct ErrorResponse {
        /// One sentence for the user.
        message: String = "message",
    }
}

wire! {
    /// An answer that consists of the id of what was made.
    pub struct IdResponse {
        /// The new object's id.
        id: String = "Id",
    }
}

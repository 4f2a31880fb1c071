//! Containers: how they are made, and what is told about them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Config;
use crate::host_config::HostConfig;
use crate::image::Descriptor;
use crate::network::{EndpointSettings, NetworkSettings, NetworkingConfig};
use crate::wire::wire;

/// The body that makes a container: a [`Config`] with two more members.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ContainerCreate {
    /// What to run.
    #[serde(flatten)]
    pub config: Config,
    /// What the host gives.
    #[serde(rename = "HostConfig")]
    pub host_config: HostConfig,
    /// Networks to join.
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: NetworkingConfig,
    /// What is mounted below a read-only bind stays writable, as it did before API 1.44. Not of the body.
    #[serde(skip)]
    pub only_top_read_only: bool,
}

impl ContainerCreate {
    /// Reads the body. Its text is passed over twice, which costs less than the buffer of a flattened member.
    ///
    /// # Errors
    /// When the text is not JSON, or a member has another type.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        let config = serde_json::from_slice(text)?;
        let rest: Rest = serde_json::from_slice(text)?;
        Ok(ContainerCreate {
            config,
            host_config: rest.host_config,
            networking_config: rest.networking_config,
            only_top_read_only: false,
        })
    }
}

wire! {
    /// What the body that makes a container has beside a [`Config`].
    struct Rest {
        host_config: HostConfig = "HostConfig",
        networking_config: NetworkingConfig = "NetworkingConfig",
    }
}

wire! {
    /// A container that was made.
    pub struct ContainerCreated {
        /// Its id.
        id: String = "Id",
        /// What the user should know; never `null`.
        warnings: Vec<String> = "Warnings",
    }
}

wire! {
    /// Everything about one container.
    pub struct ContainerInspect {
        /// Id.
        id: String = "Id",
        /// When it was made (RFC 3339 with nanoseconds).
        created: String = "Created",
        /// The program.
        path: String = "Path",
        /// Its arguments.
        args: Vec<String> = "Args",
        /// What the process does or did.
        state: ContainerState = "State",
        /// Id of the image.
        image: String = "Image",
        /// The container's /etc/resolv.conf on the host.
        resolv_conf_path: String = "ResolvConfPath",
        /// The container's /etc/hostname on the host.
        hostname_path: String = "HostnamePath",
        /// The container's /etc/hosts on the host.
        hosts_path: String = "HostsPath",
        /// The log file; empty when the driver has none.
        log_path: String = "LogPath",
        /// Name, with a leading slash.
        name: String = "Name",
        /// How often its policy restarted it.
        restart_count: i64 = "RestartCount",
        /// Storage driver.
        driver: String = "Driver",
        /// Operating system.
        platform: String = "Platform",
        /// SELinux label of its files.
        mount_label: String = "MountLabel",
        /// SELinux label of its processes.
        process_label: String = "ProcessLabel",
        /// AppArmor profile.
        app_armor_profile: String = "AppArmorProfile",
        /// Commands that run in it now.
        exec_ids: Option<Vec<String>> = "ExecIDs",
        /// What the host gives.
        host_config: HostConfig = "HostConfig",
        /// Where its layers are.
        graph_driver: Option<GraphDriver> = "GraphDriver" omitempty,
        /// Where its snapshot is, with an image store that is not a graph driver.
        storage: Option<Storage> = "Storage" omitempty,
        /// Bytes of its own files: only when asked for.
        size_rw: Option<i64> = "SizeRw" omitempty,
        /// Bytes of all its files: only when asked for.
        size_root_fs: Option<i64> = "SizeRootFs" omitempty,
        /// Mounts.
        mounts: Vec<MountPoint> = "Mounts",
        /// What to run.
        config: Config = "Config",
        /// Networks.
        network_settings: NetworkSettings = "NetworkSettings",
        /// The manifest that was chosen for the platform.
        image_manifest_descriptor: Option<Descriptor> = "ImageManifestDescriptor" omitempty,
    }
}

wire! {
    /// What a container's process does or did.
    pub struct ContainerState {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        status: String = "Status",
        /// Whether there is a process (also while paused or between two restarts).
        running: bool = "Running",
        /// Whether it is frozen.
        paused: bool = "Paused",
        /// Whether it waits for its next restart.
        restarting: bool = "Restarting",
        /// Whether the kernel killed one of its processes for memory.
        oom_killed: bool = "OOMKilled",
        /// Whether its removal failed.
        dead: bool = "Dead",
        /// Process id on the host; 0 when there is none.
        pid: i64 = "Pid",
        /// Exit status of the last run.
        exit_code: i64 = "ExitCode",
        /// Why the last start failed.
        error: String = "Error",
        /// Start of the last run; `0001-01-01T00:00:00Z` for never.
        started_at: String = "StartedAt",
        /// End of the last run; `0001-01-01T00:00:00Z` for never.
        finished_at: String = "FinishedAt",
        /// Health, when there is a check.
        health: Option<Health> = "Health" omitempty,
    }
}

wire! {
    /// A container's health.
    pub struct Health {
        /// `none`, `starting`, `healthy` or `unhealthy`.
        status: String = "Status",
        /// Failures in a row.
        failing_streak: i64 = "FailingStreak",
        /// The last checks.
        log: Option<Vec<HealthResult>> = "Log",
    }
}

wire! {
    /// One check of a container's health.
    pub struct HealthResult {
        /// When it began.
        start: String = "Start",
        /// When it ended.
        end: String = "End",
        /// 0 healthy, 1 unhealthy, others: the check itself failed.
        exit_code: i64 = "ExitCode",
        /// What it wrote.
        output: String = "Output",
    }
}

wire! {
    /// Where a graph driver keeps layers.
    pub struct GraphDriver {
        /// Folders, by the driver's own names.
        data: Option<BTreeMap<String, String>> = "Data",
        /// The driver.
        name: String = "Name",
    }
}

wire! {
    /// Where an image store keeps a container's root.
    pub struct Storage {
        /// The root.
        root_fs: Option<RootFsStorage> = "RootFS" omitempty,
    }
}

wire! {
    /// How a container's root is kept.
    pub struct RootFsStorage {
        /// As a snapshot.
        snapshot: Option<Snapshot> = "Snapshot" omitempty,
    }
}

wire! {
    /// A snapshot.
    pub struct Snapshot {
        /// The snapshotter.
        name: String = "Name" omitempty,
    }
}

wire! {
    /// A mount as it was made.
    pub struct MountPoint {
        /// `bind`, `volume`, `tmpfs` or `image`.
        kind: String = "Type" omitempty,
        /// The volume's name.
        name: String = "Name" omitempty,
        /// Path on the host.
        source: String = "Source",
        /// Path in the container.
        destination: String = "Destination",
        /// The volume's driver.
        driver: String = "Driver" omitempty,
        /// Options as they were written.
        mode: String = "Mode",
        /// Whether it can be written to.
        rw: bool = "RW",
        /// How later mounts propagate.
        propagation: String = "Propagation",
    }
}

wire! {
    /// One container in a list.
    pub struct ContainerSummary {
        /// Id.
        id: String = "Id",
        /// Names, each with a leading slash.
        names: Vec<String> = "Names",
        /// The image as the user named it.
        image: String = "Image",
        /// Id of the image.
        image_id: String = "ImageID",
        /// The manifest that was chosen for the platform.
        image_manifest_descriptor: Option<Descriptor> = "ImageManifestDescriptor" omitempty,
        /// Program and arguments in one line.
        command: String = "Command",
        /// When it was made, in seconds since 1970.
        created: i64 = "Created",
        /// Ports.
        ports: Vec<PortSummary> = "Ports",
        /// Bytes of its own files: only when asked for.
        size_rw: i64 = "SizeRw" omitempty,
        /// Bytes of all its files: only when asked for.
        size_root_fs: i64 = "SizeRootFs" omitempty,
        /// Labels.
        labels: BTreeMap<String, String> = "Labels",
        /// As [`ContainerState::status`].
        state: String = "State",
        /// The state in words for people.
        status: String = "Status",
        /// A little of what the host gives.
        host_config: SummaryHostConfig = "HostConfig",
        /// Health, when there is a check.
        health: Option<ContainerHealthSummary> = "Health" omitempty,
        /// Networks.
        network_settings: SummaryNetworkSettings = "NetworkSettings",
        /// Mounts.
        mounts: Vec<MountPoint> = "Mounts",
    }
}

wire! {
    /// What a list says of a container's health.
    pub struct ContainerHealthSummary {
        /// As [`Health::status`].
        status: String = "Status" omitempty,
        /// Failures in a row.
        failing_streak: i64 = "FailingStreak",
    }
}

wire! {
    /// What a list says of the host's part.
    pub struct SummaryHostConfig {
        /// As [`HostConfig::network_mode`].
        network_mode: String = "NetworkMode" omitempty,
        /// Words for the runtime.
        annotations: BTreeMap<String, String> = "Annotations" omitempty,
    }
}

wire! {
    /// What a list says of networks.
    pub struct SummaryNetworkSettings {
        /// Connections by network name.
        networks: BTreeMap<String, EndpointSettings> = "Networks",
    }
}

wire! {
    /// A port in a list.
    pub struct PortSummary {
        /// Address of the host; absent when the port is not published.
        ip: String = "IP" omitempty,
        /// Port in the container.
        private_port: u16 = "PrivatePort",
        /// Port of the host; absent when the port is not published.
        public_port: u16 = "PublicPort" omitempty,
        /// `tcp`, `udp` or `sctp`.
        kind: String = "Type",
    }
}

wire! {
    /// How a container's process ended.
    pub struct WaitResponse {
        /// What went wrong beside it.
        error: Option<WaitError> = "Error" omitempty,
        /// Exit status.
        status_code: i64 = "StatusCode",
    }
}

wire! {
    /// What went wrong while waiting.
    pub struct WaitError {
        /// One sentence.
        message: String = "Message",
    }
}

wire! {
    /// The processes of a container as a table.
    pub struct TopResponse {
        /// Head of each column.
        titles: Vec<String> = "Titles",
        /// Rows.
        processes: Vec<Vec<String>> = "Processes",
    }
}

wire! {
    /// A path that a container changed.
    pub struct PathChange {
        /// Path in the container.
        path: String = "Path",
        /// 0 changed, 1 added, 2 deleted.
        kind: u8 = "Kind",
    }
}

wire! {
    /// The answer to a change of a container's limits.
    pub struct UpdateResponse {
        /// What the user should know.
        warnings: Option<Vec<String>> = "Warnings",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_is_one_object_of_three_parts() {
        let text = br#"{"Image":"debian","Cmd":["true"],"Entrypoint":"/bin/sh","Env":null,
            "HostConfig":{"PidsLimit":0,"PortBindings":{"80/tcp":null}},"NetworkingConfig":{"EndpointsConfig":{}}}"#;
        let create = ContainerCreate::from_json(text).unwrap();
        assert_eq!(create.config.image, "debian");
        assert_eq!(create.config.cmd.as_deref().unwrap(), ["true"]);
        assert_eq!(create.config.entrypoint.as_deref().unwrap(), ["/bin/sh"]);
        assert_eq!(create.config.env, None);
        assert_eq!(create.host_config.pids_limit, Some(0));
        assert_eq!(
            create.host_config.port_bindings.as_ref().unwrap()["80/tcp"],
            None
        );
        assert_eq!(
            create.networking_config.endpoints_config,
            Some(BTreeMap::new())
        );

        let again = serde_json::to_vec(&create).unwrap();
        assert_eq!(ContainerCreate::from_json(&again).unwrap(), create);
    }

    #[test]
    fn a_body_without_parts_or_with_null_parts_is_read() {
        let create = ContainerCreate::from_json(br#"{"Image":"a","HostConfig":null}"#).unwrap();
        assert_eq!(create.host_config, HostConfig::default());
        assert!(ContainerCreate::from_json(br#"{"Image":1}"#).is_err());
        assert!(ContainerCreate::from_json(b"3").is_err());
    }
}

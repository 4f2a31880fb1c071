//! What the store keeps of a container: a document that is fixed at create, and one that changes while it lives.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api_types::{Config, EndpointSettings, HostConfig, NetworkingConfig};
use serde::{Deserialize, Serialize};
use types::ContainerId;

use crate::compile::mounts::MountSpec;
use crate::compile::ports::Protocol;
use crate::outcome::{EngineError, Result};
use crate::store::rows::{self, ContainerRow};

/// Version of both documents; a field with a serde default does not change it.
const VERSION: u32 = 1;

/// Fixed at create (the name is a column of its own).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) version: u32,
    pub(crate) id: ContainerId,
    /// Nanoseconds since 1970.
    pub(crate) created: i64,
    /// The image's id, `sha256:…`.
    pub(crate) image: String,
    pub(crate) config: Config,
    pub(crate) host: HostConfig,
    pub(crate) networking: NetworkingConfig,
    /// The first word of the command.
    pub(crate) path: String,
    /// The others.
    pub(crate) args: Vec<String>,
    /// Numbers of its image's layers, the top one first.
    pub(crate) layers: Vec<u64>,
    /// With the names of volumes filled in.
    pub(crate) mounts: Vec<MountSpec>,
}

/// Docker's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Never started.
    #[default]
    Created,
    /// Its first process runs.
    Running,
    /// It is frozen.
    Paused,
    /// It ended and its shim will start it again.
    Restarting,
    /// It ended.
    Exited,
}

impl Status {
    /// As docker writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
        }
    }

    /// Whether a shim is responsible for it.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Status::Running | Status::Paused | Status::Restarting)
    }
}

/// Its place on the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndpointRecord {
    /// 64 hex digits, drawn at start, for `inspect`.
    pub(crate) id: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) mac: String,
    /// The host end's name.
    pub(crate) link: String,
    /// Its second address, on a network that has IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ipv6: Option<Ipv6Record>,
}

/// What a place has of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ipv6Record {
    pub(crate) address: Ipv6Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Ipv6Addr,
}

/// Its place on a user network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinedRecord {
    /// The network's id.
    pub(crate) network: String,
    /// The link's name inside.
    pub(crate) interface: String,
    pub(crate) place: EndpointRecord,
}

/// One published port as it came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedRecord {
    pub(crate) protocol: Protocol,
    pub(crate) container_port: u16,
    /// An unspecified one is all of its family. Records of releases before IPv6 have IPv4 addresses alone.
    pub(crate) host_ip: IpAddr,
    pub(crate) host_port: u16,
}

/// The last verdict of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthRecord {
    /// `starting`, `healthy` or `unhealthy`.
    pub(crate) state: String,
    /// Failures in a row when the verdict changed.
    pub(crate) failing_streak: u32,
}

/// Changes with each start, exit and pause.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub(crate) struct Run {
    pub(crate) version: u32,
    pub(crate) status: Status,
    /// 0 when it does not run.
    pub(crate) pid: u32,
    /// Start time of that process in clock ticks since boot: with the boot id it tells a reused number.
    pub(crate) start_ticks: u64,
    pub(crate) exit_code: i64,
    /// Why the last start failed; empty otherwise.
    pub(crate) error: String,
    pub(crate) oom_killed: bool,
    /// Nanoseconds since 1970; 0 for never.
    pub(crate) started_at: i64,
    /// Nanoseconds since 1970; 0 for never.
    pub(crate) finished_at: i64,
    /// Restarts by policy since the last start by a user.
    pub(crate) restarts: u32,
    /// How many of them were before the present shim, which counts from zero.
    #[serde(default)]
    pub(crate) restarts_before: u32,
    /// Somebody stopped it: `unless-stopped` leaves it alone at the next boot.
    pub(crate) stopped_by_user: bool,
    /// It is frozen for as long as an image is made of it: the next daemon thaws it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) paused_for_commit: bool,
    /// The last record of the shim's journal that this row has in it.
    pub(crate) cursor: u64,
    /// The verdict on its health, when it has a check.
    #[serde(default)]
    pub(crate) health: Option<HealthRecord>,
    /// Its place on the engine's own bridge.
    pub(crate) endpoint: Option<EndpointRecord>,
    /// Name of its link to that bridge, where it is not `eth0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) home_interface: String,
    /// Its places on user networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) joined: Vec<JoinedRecord>,
    pub(crate) published: Vec<PublishedRecord>,
    /// Whether it asks the engine for names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) asks: bool,
    /// Ports that are reserved and lead nowhere, since no network leads out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parked: Vec<PublishedRecord>,
    /// The host's side of the configuration once it was changed after the creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) changed_host: Option<Box<HostConfig>>,
    /// The networks that it is to be on, by name, once they were changed after the creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) changed_networks: Option<BTreeMap<String, EndpointSettings>>,
}

impl Run {
    /// Nothing looks after its health any more: as in docker it is unhealthy then, whatever it was before.
    pub(crate) fn end_health(&mut self) {
        if let Some(health) = &mut self.health {
            "unhealthy".clone_into(&mut health.state);
        }
    }

    /// Its health is looked after from here on, in another run.
    pub(crate) fn begin_health(&mut self) {
        if let Some(health) = &mut self.health {
            *health = HealthRecord {
                state: "starting".to_owned(),
                failing_streak: 0,
            };
        }
    }

    /// Its place on this network.
    pub(crate) fn place_on(&self, network: &str) -> Option<&EndpointRecord> {
        match network {
            network::HOME => self.endpoint.as_ref(),
            id => {
                let joined = self.joined.iter().find(|joined| joined.network == id);
                joined.map(|joined| &joined.place)
            }
        }
    }

    /// Forgets the place on this network.
    pub(crate) fn leave(&mut self, network: &str) {
        match network {
            network::HOME => {
                self.endpoint = None;
                self.home_interface.clear();
            }
            id => self.joined.retain(|joined| joined.network != id),
        }
    }

    /// Forgets all places.
    pub(crate) fn leave_all(&mut self) {
        self.leave(network::HOME);
        self.joined.clear();
        self.asks = false;
        self.published.clear();
        self.parked.clear();
    }

    /// Its ports that the helper reads, whether they lead somewhere or not.
    pub(crate) fn doors(&self) -> impl Iterator<Item = &PublishedRecord> {
        let all = self.published.iter().chain(&self.parked);
        all.filter(|port| port.host_ip.is_ipv6())
    }

    /// Whether it has a place on a network.
    pub(crate) fn is_connected(&self) -> bool {
        self.endpoint.is_some() || !self.joined.is_empty()
    }

    /// The host's side of the configuration as it holds now.
    pub(crate) fn host<'a>(&'a self, spec: &'a Spec) -> &'a HostConfig {
        self.changed_host.as_deref().unwrap_or(&spec.host)
    }

    /// Whether the next start of the host may treat the container otherwise than before a change: only those with a restart
    /// policy have anything to lose by a power cut that takes the change back.
    pub(crate) fn has_another_fate(&self, before: &Run, spec: &Spec) -> bool {
        let policy = |run: &Run| match run.host(spec).restart_policy.name.as_str() {
            "" | "no" => None,
            name => Some(name.to_owned()),
        };
        let (then, now) = (policy(before), policy(self));
        then != now
            || now.is_some()
                && (before.status.is_up() != self.status.is_up()
                    || before.stopped_by_user != self.stopped_by_user)
    }
}

impl Spec {
    /// Whether no network was asked for but the one that the mode names, and of that nothing.
    pub(crate) fn is_on_one_network(&self) -> bool {
        let endpoints = self.networking.endpoints_config.iter().flatten();
        let mode = self.host.network_mode.as_str();
        endpoints
            .into_iter()
            .all(|(name, _)| name == mode || name == "default" && mode == "bridge")
    }

    /// A row of this container in a state.
    pub(crate) fn row(&self, name: &str, run: &Run) -> Result<ContainerRow> {
        Ok(ContainerRow {
            id: self.id.to_string(),
            name: name.to_owned(),
            state: run.status.name().to_owned(),
            image: self.image.clone(),
            doc: rows::to_json("a container", self)?,
            run: rows::to_json("a container", run)?,
        })
    }

    /// Reads a row.
    pub(crate) fn read(row: &ContainerRow) -> Result<(Spec, Run)> {
        let what = format!("container {}", row.id);
        let spec: Spec = rows::from_json(&what, &row.doc)?;
        let run: Run = rows::from_json(&what, &row.run)?;
        let newest = spec.version.max(run.version);
        if newest > VERSION {
            return Err(EngineError::StoreNewer {
                path: what,
                found: newest.into(),
                known: VERSION.into(),
            });
        }
        Ok((spec, run))
    }

    /// The document of a new container.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a document that is made in one place"
    )]
    pub(crate) fn new(
        id: ContainerId,
        created: i64,
        image: String,
        config: Config,
        host: HostConfig,
        networking: NetworkingConfig,
        command: Vec<String>,
        layers: Vec<u64>,
        mounts: Vec<MountSpec>,
    ) -> Spec {
        let mut words = command.into_iter();
        let path = words.next().unwrap_or_default();
        Spec {
            version: VERSION,
            id,
            created,
            image,
            config,
            host,
            networking,
            path,
            args: words.collect(),
            layers,
            mounts,
        }
    }
}

impl Run {
    /// A container that was never started.
    pub(crate) fn new() -> Run {
        Run {
            version: VERSION,
            ..Default::default()
        }
    }

    /// The state column and the document.
    pub(crate) fn columns(&self) -> Result<(&'static str, String)> {
        Ok((self.status.name(), rows::to_json("a container", self)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let id = ContainerId::random().unwrap();
        let command = vec!["sh".to_owned(), "-c".to_owned()];
        Spec::new(
            id,
            1,
            "sha256:1".into(),
            Default::default(),
            Default::default(),
            Default::default(),
            command,
            vec![2, 1],
            vec![],
        )
    }

    #[test]
    fn what_a_restart_of_the_host_decides_by_is_another_fate() {
        let run = |status, stopped_by_user| Run {
            status,
            stopped_by_user,
            ..Run::new()
        };
        let (made, up) = (run(Status::Created, false), run(Status::Running, false));
        let mut spec = spec();
        assert!(!up.has_another_fate(&made, &spec));
        let mut host = spec.host.clone();
        host.restart_policy.name = "always".to_owned();
        let changed = Run {
            changed_host: Some(Box::new(host.clone())),
            ..up.clone()
        };
        assert!(changed.has_another_fate(&up, &spec));
        spec.host = host;
        assert!(up.has_another_fate(&made, &spec));
        assert!(run(Status::Exited, false).has_another_fate(&up, &spec));
        assert!(run(Status::Running, true).has_another_fate(&up, &spec));
        // As often as it crashes.
        assert!(!run(Status::Restarting, false).has_another_fate(&up, &spec));
        assert!(!up.has_another_fate(&up, &spec));
    }

    #[test]
    fn documents_survive_the_store() {
        let spec = spec();
        let run = Run {
            status: Status::Running,
            pid: 7,
            cursor: 3,
            ..Run::new()
        };
        let (read, state) = Spec::read(&spec.row("web", &run).unwrap()).unwrap();
        assert_eq!(
            (read.id, read.path.as_str(), read.layers),
            (spec.id, "sh", vec![2, 1])
        );
        assert_eq!(
            (state.status, state.pid, state.cursor),
            (Status::Running, 7, 3)
        );
    }

    #[test]
    fn ports_of_a_release_without_ipv6_are_read() {
        let run = Run::new();
        let old =
            r#"[{"protocol":"tcp","container_port":80,"host_ip":"0.0.0.0","host_port":8080}]"#;
        let mut row = spec().row("web", &run).unwrap();
        row.run = row
            .run
            .replace(r#""published":[]"#, &format!(r#""published":{old}"#));
        let (_, read) = Spec::read(&row).unwrap();
        let [port] = read.published[..] else {
            panic!("{:?}", read.published);
        };
        assert_eq!(
            (port.host_ip.to_string().as_str(), port.host_port),
            ("0.0.0.0", 8080)
        );
        assert_eq!(read.doors().count(), 0);
        // And written as they were.
        let (_, text) = read.columns().unwrap();
        assert!(text.contains(old), "{text}");
    }

    #[test]
    fn documents_of_a_newer_release_are_refused() {
        let mut row = spec().row("web", &Run::new()).unwrap();
        row.run = row.run.replace("\"version\":1", "\"version\":2");
        assert!(matches!(
            Spec::read(&row),
            Err(EngineError::StoreNewer { found: 2, .. })
        ));
    }
}

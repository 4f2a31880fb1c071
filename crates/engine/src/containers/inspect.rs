//! `inspect`: the whole of one container, from memory.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

use api_types::{
    ContainerInspect, ContainerState, GraphDriver, Health, HealthResult, NetworkSettings,
};
use shim::protocol::{Reply, Request};

use super::record::Status;
use super::registry::Container;
use super::summary;
use super::underway::GLANCE;
use crate::clock;
use crate::engine::Engine;
use crate::outcome::Result;
use crate::paths;

/// How long `inspect` waits for a shim that could tell more.
pub(super) const SHIM_PATIENCE: Duration = Duration::from_millis(300);

impl Engine {
    /// Tells everything about a container; `size` counts its files, which takes time.
    pub async fn inspect(&self, id: &str, size: bool) -> Result<ContainerInspect> {
        let container = self.registry().find(id)?;
        container.settled_within(GLANCE).await;
        let mut answer = self.describe_container(&container);
        if let Some(health) = &mut answer.state.health {
            self.complete_health(&container, health).await;
        }
        if size {
            let (writable, whole) = self.sizes(&container).await?;
            answer.size_rw = Some(writable as i64);
            answer.size_root_fs = Some(whole as i64);
        }
        Ok(answer)
    }

    fn describe_container(&self, container: &Container) -> ContainerInspect {
        let view = container.view();
        let (spec, run) = (&container.spec, &view.run);
        // Who shares a network shares its files.
        let neighbour = spec.host.network_mode.strip_prefix("container:");
        let neighbour = neighbour.and_then(|id| self.registry().find(id).ok());
        let owner = neighbour.as_deref().unwrap_or(container);
        let folder = self.paths().container(owner.id());
        let file = |name: &str| {
            if run.started_at == 0 {
                String::new()
            } else {
                folder.join(name).display().to_string()
            }
        };
        let execs: Vec<String> = self
            .execs_of(container.id())
            .iter()
            .map(|exec| exec.id.to_string())
            .collect();
        let logged = spec.host.log_config.kind == "json-file";
        let mut host = run.host(spec).clone();
        if !host.privileged {
            host.masked_paths
                .get_or_insert_with(runtime::defaults::masked_paths);
            host.readonly_paths
                .get_or_insert_with(runtime::defaults::readonly_paths);
        }
        self.show_links(container, &mut host);
        if host.cgroupns_mode.is_empty() {
            let private = self.inner().groups.layout().version() == 2;
            host.cgroupns_mode = if private { "private" } else { "host" }.to_owned();
        }
        ContainerInspect {
            id: container.id().to_string(),
            created: clock::rfc3339(spec.created),
            path: spec.path.clone(),
            args: spec.args.clone(),
            state: self.state(container),
            image: spec.image.clone(),
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            log_path: if logged && run.started_at != 0 {
                self.paths().log(container.id()).display().to_string()
            } else {
                String::new()
            },
            name: format!("/{}", view.name),
            restart_count: i64::from(run.restarts),
            driver: "overlay2".to_owned(),
            platform: "linux".to_owned(),
            exec_ids: if execs.is_empty() { None } else { Some(execs) },
            host_config: host,
            graph_driver: Some(self.graph_driver(container)),
            mounts: summary::mount_points(self, &spec.mounts),
            config: spec.config.clone(),
            network_settings: NetworkSettings {
                sandbox_id: run
                    .endpoint
                    .as_ref()
                    .or(run.joined.first().map(|joined| &joined.place))
                    .map(|endpoint| endpoint.id.clone())
                    .unwrap_or_default(),
                sandbox_key: if run.pid == 0 {
                    String::new()
                } else {
                    format!("/proc/{}/ns/net", run.pid)
                },
                ports: summary::port_map(container, run),
                networks: summary::networks_of(self, container, run),
            },
            ..Default::default()
        }
    }

    fn state(&self, container: &Container) -> ContainerState {
        let run = container.run();
        ContainerState {
            status: run.status.name().to_owned(),
            running: run.status.is_up(),
            paused: run.status == Status::Paused,
            restarting: run.status == Status::Restarting,
            oom_killed: run.oom_killed,
            dead: false,
            pid: i64::from(run.pid),
            exit_code: if run.status == Status::Running {
                0
            } else {
                run.exit_code
            },
            error: run.error.clone(),
            started_at: clock::rfc3339(run.started_at),
            finished_at: clock::rfc3339(run.finished_at),
            health: run.health.as_ref().map(|health| Health {
                status: health.state.clone(),
                failing_streak: i64::from(health.failing_streak),
                log: Some(Vec::new()),
            }),
        }
    }

    /// Adds what only the shim knows; one that does not answer at once keeps nobody waiting.
    async fn complete_health(&self, container: &Container, health: &mut Health) {
        let Ok(link) = container.live_link() else {
            return;
        };
        let asked = tokio::time::timeout(SHIM_PATIENCE, link.ask(&Request::Status, &[])).await;
        let Ok(Ok(Reply::Status(status))) = asked else {
            return;
        };
        let Some(known) = status.health else { return };
        let time = |time: u64| clock::rfc3339(i64::try_from(time).unwrap_or(0));
        health.failing_streak = i64::from(known.failing_streak);
        health.log = Some(
            known
                .results
                .iter()
                .map(|result| HealthResult {
                    start: time(result.start),
                    end: time(result.end),
                    exit_code: i64::from(result.exit_code),
                    output: String::from_utf8_lossy(&result.output).into_owned(),
                })
                .collect(),
        );
    }

    fn graph_driver(&self, container: &Container) -> GraphDriver {
        let folder = self.paths().container(container.id());
        let lower: Vec<String> = container
            .spec
            .layers
            .iter()
            .map(|&layer| self.inner().layers.layer_path(layer).display().to_string())
            .collect();
        let data = BTreeMap::from([
            ("ID".to_owned(), container.id().to_string()),
            ("LowerDir".to_owned(), lower.join(":")),
            (
                "MergedDir".to_owned(),
                folder.join("merged").display().to_string(),
            ),
            (
                "UpperDir".to_owned(),
                folder.join("upper").display().to_string(),
            ),
            (
                "WorkDir".to_owned(),
                folder.join("work").display().to_string(),
            ),
        ]);
        GraphDriver {
            name: "overlay2".to_owned(),
            data: Some(data),
        }
    }

    /// Bytes of a container's writable layer.
    pub(crate) async fn writable_size(&self, container: &Container) -> Result<u64> {
        let path = self.paths().container(container.id()).join("upper");
        self.blocking("size", move |_| {
            let folder = paths::open_folder(&path)?;
            let all = snapshot::usage_dir(folder.as_fd())?.bytes;
            // The folder itself is there even if nothing was written.
            let own = rustix::fs::fstat(&folder)
                .map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0) * 512);
            Ok(all.saturating_sub(own))
        })
        .await
    }

    /// Bytes of everything in a container's folder.
    pub(crate) async fn folder_size(&self, id: &str) -> Result<u64> {
        let path = self.paths().containers().join(id);
        self.blocking("size", move |_| {
            let folder = paths::open_folder(&path)?;
            Ok(snapshot::usage_dir(folder.as_fd())?.bytes)
        })
        .await
    }

    /// Bytes of the writable layer, and of it with the image.
    pub(crate) async fn sizes(&self, container: &Container) -> Result<(u64, u64)> {
        let writable = self.writable_size(container).await?;
        let state = self.images().read();
        let image: u64 = state
            .layers
            .values()
            .filter(|layer| container.spec.layers.contains(&layer.number))
            .map(|layer| layer.size)
            .sum();
        Ok((writable, writable + image))
    }
}

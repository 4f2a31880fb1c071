//! Parts of answers that `ps` and `inspect` share.

use std::collections::BTreeMap;

use api_types::{
    ContainerHealthSummary, ContainerSummary, EndpointSettings, MountPoint, PortBinding, PortMap,
    PortSummary, SummaryHostConfig, SummaryNetworkSettings,
};

use super::record::{Run, Status};
use super::registry::{Container, View};
use crate::clock;
use crate::compile::mounts::{MountSpec, Source};
use crate::compile::ports;
use crate::engine::Engine;
use crate::networks::{Found, places};

/// One line of `ps`.
pub(crate) fn of(engine: &Engine, container: &Container, view: &View) -> ContainerSummary {
    let spec = &container.spec;
    // An image that lost its name, or whose name went elsewhere, is shown by its id.
    let image = match engine.images().find(&spec.config.image) {
        Ok(image) if image.id.to_string() == spec.image => spec.config.image.clone(),
        _ => spec.image.clone(),
    };
    let mut command = spec.path.clone();
    for argument in &spec.args {
        // As docker shows it: not for a shell to read again.
        if argument.contains(' ') {
            command.push_str(&format!(" '{argument}'"));
        } else {
            command.push(' ');
            command.push_str(argument);
        }
    }
    ContainerSummary {
        id: container.id().to_string(),
        names: vec![format!("/{}", view.name)],
        image,
        image_id: spec.image.clone(),
        command,
        created: spec.created / 1_000_000_000,
        ports: ports_of(container, &view.run),
        labels: spec.config.labels.clone(),
        state: view.run.status.name().to_owned(),
        status: status(&view.run, clock::now()),
        host_config: SummaryHostConfig {
            network_mode: spec.host.network_mode.clone(),
            annotations: spec.host.annotations.clone(),
        },
        network_settings: SummaryNetworkSettings {
            networks: networks_of(engine, container, &view.run),
        },
        mounts: mount_points(engine, &spec.mounts),
        health: view
            .run
            .health
            .as_ref()
            .map(|health| ContainerHealthSummary {
                status: health.state.clone(),
                failing_streak: i64::from(health.failing_streak),
            }),
        ..Default::default()
    }
}

/// Docker's words for a state.
pub(crate) fn status(run: &Run, now: i64) -> String {
    let up = || clock::human_duration(now - run.started_at);
    let ended = || clock::human_duration(now - run.finished_at);
    match run.status {
        Status::Created => "Created".to_owned(),
        Status::Running => match &run.health {
            Some(health) if health.state == "starting" => format!("Up {} (health: starting)", up()),
            Some(health) => format!("Up {} ({})", up(), health.state),
            None => format!("Up {}", up()),
        },
        Status::Paused => format!("Up {} (Paused)", up()),
        Status::Restarting => format!("Restarting ({}) {} ago", run.exit_code, ended()),
        Status::Exited if run.finished_at == 0 => format!("Exited ({})", run.exit_code),
        Status::Exited => format!("Exited ({}) {} ago", run.exit_code, ended()),
    }
}

fn ports_of(container: &Container, run: &Run) -> Vec<PortSummary> {
    let mut list: Vec<PortSummary> = run
        .published
        .iter()
        .map(|port| PortSummary {
            ip: port.host_ip.to_string(),
            private_port: port.container_port,
            public_port: port.host_port,
            kind: port.protocol.name().to_owned(),
        })
        .collect();
    if run.is_connected() {
        for (port, protocol) in container
            .spec
            .config
            .exposed_ports
            .keys()
            .map(|port| ports::exposed(port))
        {
            if !list
                .iter()
                .any(|have| have.private_port == port && have.kind == protocol)
            {
                list.push(PortSummary {
                    private_port: port,
                    kind: protocol.to_owned(),
                    ..Default::default()
                });
            }
        }
    }
    list.sort_by(|a, b| {
        (a.private_port, a.public_port, &a.ip).cmp(&(b.private_port, b.public_port, &b.ip))
    });
    list
}

/// Ports as `inspect` shows them: exposed ones without a binding are null.
pub(crate) fn port_map(container: &Container, run: &Run) -> PortMap {
    let mut map = PortMap::new();
    if !run.is_connected() {
        return map;
    }
    for port in container.spec.config.exposed_ports.keys() {
        let (number, protocol) = ports::exposed(port);
        map.insert(format!("{number}/{protocol}"), None);
    }
    for port in &run.published {
        let key = format!("{}/{}", port.container_port, port.protocol.name());
        let binding = PortBinding {
            host_ip: port.host_ip.to_string(),
            host_port: port.host_port.to_string(),
        };
        map.entry(key)
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    map
}

/// The networks of a container with its place in each.
pub(crate) fn networks_of(
    engine: &Engine,
    container: &Container,
    run: &Run,
) -> BTreeMap<String, EndpointSettings> {
    let mode = container.spec.host.network_mode.as_str();
    if mode.starts_with("container:") {
        return BTreeMap::new();
    }
    let mut networks = BTreeMap::new();
    for (key, mut settings) in places::wanted(&container.spec, run) {
        // A network is looked up at the first start, as in docker.
        let found = match run.started_at {
            0 => None,
            _ => engine.find_network(&key).ok(),
        };
        let name = found.as_ref().map_or(key.as_str(), Found::name).to_owned();
        settings.network_id = found
            .as_ref()
            .map(|found| found.id(engine))
            .unwrap_or_default();
        let is_made = matches!(found, Some(Found::Made(_)));
        let place = match &found {
            Some(Found::Made(doc)) => run.place_on(&doc.id),
            Some(Found::BuiltIn("bridge")) => run.place_on(network::HOME),
            _ => None,
        };
        if let Some(place) = place {
            let is_internal = matches!(&found, Some(Found::Made(doc)) if doc.internal);
            settings.endpoint_id = place.id.clone();
            settings.gateway = match is_internal {
                true => String::new(),
                false => place.gateway.to_string(),
            };
            settings.ip_address = place.address.to_string();
            settings.ip_prefix_len = i64::from(place.prefix);
            settings.mac_address = place.mac.clone();
            if let Some(place) = &place.ipv6 {
                settings.ipv6_gateway = match is_internal {
                    true => String::new(),
                    false => place.gateway.to_string(),
                };
                settings.global_ipv6_address = place.address.to_string();
                settings.global_ipv6_prefix_len = i64::from(place.prefix);
            }
        }
        if is_made {
            settings.dns_names = Some(places::names(container, &settings));
        }
        networks.insert(name, settings);
    }
    networks
}

/// Mounts as docker describes them.
pub(crate) fn mount_points(engine: &Engine, mounts: &[MountSpec]) -> Vec<MountPoint> {
    mounts
        .iter()
        .filter_map(|mount| {
            let base = MountPoint {
                destination: mount.target.clone(),
                mode: mount.mode.clone(),
                rw: !mount.read_only,
                propagation: mount.propagation.clone(),
                ..Default::default()
            };
            match &mount.source {
                Source::Bind { path, .. } => Some(MountPoint {
                    kind: "bind".to_owned(),
                    source: path.clone(),
                    propagation: if mount.propagation.is_empty() {
                        "rprivate".to_owned()
                    } else {
                        mount.propagation.clone()
                    },
                    ..base
                }),
                Source::Volume {
                    name, anonymous, ..
                } => Some(MountPoint {
                    kind: "volume".to_owned(),
                    name: name.clone(),
                    source: engine.inner().volume_store.path(name).display().to_string(),
                    driver: "local".to_owned(),
                    mode: if mount.mode.is_empty() && !anonymous {
                        "z".to_owned()
                    } else {
                        mount.mode.clone()
                    },
                    ..base
                }),
                Source::Tmpfs { .. } => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_in_dockers_words() {
        let second = 1_000_000_000;
        let run = |status, exit_code| Run {
            status,
            exit_code,
            started_at: second,
            finished_at: 3 * second,
            ..Run::new()
        };
        let now = 5 * second;
        assert_eq!(status(&run(Status::Running, 0), now), "Up 4 seconds");
        assert_eq!(
            status(&run(Status::Paused, 0), now),
            "Up 4 seconds (Paused)"
        );
        assert_eq!(
            status(&run(Status::Exited, 3), now),
            "Exited (3) 2 seconds ago"
        );
        assert_eq!(
            status(&run(Status::Restarting, 1), now),
            "Restarting (1) 2 seconds ago"
        );
        assert_eq!(status(&Run::new(), now), "Created");
    }
}

//! Links on the engine's own bridge (`--link NAME:ALIAS`): the names of another container in /etc/hosts, and what it offers
//! in the environment. On networks of users the endpoint's links are names that the engine answers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use api_types::{Config, HostConfig};
use network::files::ExtraHost;

use crate::compile::modes::{Modes, NetworkMode};
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// A container that another is linked to, while it runs.
struct Linked {
    alias: String,
    container: Arc<Container>,
    address: Ipv4Addr,
}

/// Name and alias of a link; also as `inspect` shows one, `/NAME:/SELF/ALIAS`.
///
/// # Errors
/// Docker's sentences.
fn parse(text: &str) -> Result<(&str, &str)> {
    if text.is_empty() {
        return Err(EngineError::invalid("empty string specified for links"));
    }
    match text.split_once(':') {
        None => Ok((text, text)),
        Some((_, alias)) if alias.contains(':') => Err(EngineError::invalid(format!(
            "bad format for links: {text}"
        ))),
        Some((name, alias)) => {
            let alias = match alias.starts_with('/') {
                true => alias.rsplit('/').next().unwrap_or(alias),
                false => alias,
            };
            Ok((name.strip_prefix('/').unwrap_or(name), alias))
        }
    }
}

/// Whether a container's links are those of the engine's own bridge.
fn are_of_bridge(host: &HostConfig) -> bool {
    !host.links.as_ref().is_none_or(Vec::is_empty)
        && !Modes::parse(host).is_ok_and(|modes| matches!(modes.network, NetworkMode::User(_)))
}

/// The links of a container on the engine's own bridge: the id of another, and the alias.
fn all_of(container: &Container) -> Vec<(String, String)> {
    let run = container.run();
    let host = run.host(&container.spec);
    if !are_of_bridge(host) {
        return Vec::new();
    }
    let links = host.links.iter().flatten();
    links
        .filter_map(|link| parse(link).ok())
        .map(|(id, alias)| (id.to_owned(), alias.to_owned()))
        .collect()
}

/// Id of the container that another has a link to under this alias.
pub(crate) fn target(container: &Container, alias: &str) -> Option<String> {
    let mut links = all_of(container).into_iter();
    links.find(|(_, other)| other == alias).map(|(id, _)| id)
}

const DEFAULT_NAME: &str = "Conflict, cannot remove the default link name of the container";

impl Engine {
    /// The further names that containers have by links to them, `/SELF/ALIAS`, by their ids.
    pub(crate) fn link_names(&self) -> HashMap<String, Vec<String>> {
        let mut names: HashMap<String, Vec<String>> = HashMap::new();
        for container in self.registry().all() {
            for (id, alias) in all_of(&container) {
                let name = format!("/{}/{alias}", container.name());
                names.entry(id).or_default().push(name);
            }
        }
        names
    }

    /// Removes a link by its name, `SELF/ALIAS`. A container that runs loses the alias at once, and keeps the variables
    /// that it was started with.
    ///
    /// # Errors
    /// Docker's sentences for a name that no link has.
    pub(crate) async fn remove_link(&self, name: &str) -> Result<()> {
        let found = self.registry().find(name)?;
        let Some((parent, alias)) = split(name) else {
            return Err(EngineError::conflict(DEFAULT_NAME));
        };
        let container = self.registry().find(parent)?;
        let (engine, alias) = (self.clone(), alias.to_owned());
        self.to_the_end("remove", async move {
            let _turn = container.turn.lock().await;
            let run = container.run();
            let mut host = run.host(&container.spec).clone();
            if let Some(links) = &mut host.links {
                links.retain(|link| !parse(link).is_ok_and(|(_, other)| other == alias));
            }
            host.links = host.links.filter(|links| !links.is_empty());
            engine
                .change(
                    &container,
                    Vec::new(),
                    move |run| run.changed_host = Some(Box::new(host)),
                    |_| Ok(()),
                )
                .await?;
            if !run.status.is_up() {
                return Ok(());
            }
            let (target, host_name) = (Arc::clone(&container), found.spec.config.hostname.clone());
            engine
                .blocking("remove", move |engine| {
                    let edit = |text: &str| without_link(text, &alias, &host_name);
                    engine.edit_hosts(&target, edit);
                    Ok(())
                })
                .await
        })
        .await
    }

    /// Puts ids in place of the names in a new container's links, so that they survive a rename.
    ///
    /// # Errors
    /// Docker's sentences for a container that there is not, and for one that can not be linked to.
    pub(crate) fn resolve_links(&self, host: &mut HostConfig) -> Result<()> {
        if !are_of_bridge(host) {
            return Ok(());
        }
        if host.network_mode == "host" {
            return Err(EngineError::invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            ));
        }
        for link in host.links.iter_mut().flatten() {
            let (name, alias) = parse(link)?;
            let missing = |error: EngineError| match error {
                EngineError::NoSuchContainer { .. } => {
                    EngineError::invalid(format!("could not get container for {name}: {error}"))
                }
                error => error,
            };
            let found = self.registry().find(name).map_err(missing)?;
            if found.spec.host.network_mode == "host" {
                return Err(EngineError::invalid(
                    "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
                ));
            }
            *link = format!("{}:{alias}", found.id());
        }
        Ok(())
    }

    /// Links as `inspect` shows them; of a container that is gone nothing is shown.
    pub(crate) fn show_links(&self, container: &Container, host: &mut HostConfig) {
        if !are_of_bridge(host) {
            return;
        }
        let own = container.name();
        let shown = host.links.iter().flatten().filter_map(|link| {
            let (id, alias) = parse(link).ok()?;
            let found = self.registry().find(id).ok()?;
            Some(format!("/{}:/{own}/{alias}", found.name()))
        });
        host.links = Some(shown.collect::<Vec<_>>()).filter(|links| !links.is_empty());
    }

    /// The lines of /etc/hosts for a container's links.
    ///
    /// # Errors
    /// As [`Engine::link_environment`].
    pub(crate) fn link_hosts(&self, container: &Container) -> Result<Vec<ExtraHost>> {
        let linked = self.linked(container)?.into_iter().map(|linked| {
            let config = &linked.container.spec.config;
            let mut name = format!("{} {}", linked.alias, config.hostname);
            if linked.alias != linked.container.name() {
                name = format!("{name} {}", linked.container.name());
            }
            ExtraHost {
                name,
                address: IpAddr::V4(linked.address),
            }
        });
        Ok(linked.collect())
    }

    /// The variables of a container's links.
    ///
    /// # Errors
    /// Docker's sentences for a container that does not run, or has no place on the bridge.
    pub(crate) fn link_environment(&self, container: &Container) -> Result<Vec<String>> {
        let own = container.name();
        let mut all = Vec::new();
        for linked in self.linked(container)? {
            let config = &linked.container.spec.config;
            all.extend(variables(&own, &linked.alias, linked.address, config));
        }
        Ok(all)
    }

    fn linked(&self, container: &Container) -> Result<Vec<Linked>> {
        let run = container.run();
        let host = run.host(&container.spec);
        if !are_of_bridge(host) {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for link in host.links.iter().flatten() {
            let (id, alias) = parse(link)?;
            // One that was removed is linked to no more, as in docker.
            let Ok(found) = self.registry().find(id) else {
                continue;
            };
            let run = found.run();
            if !run.status.is_up() {
                return Err(EngineError::invalid(format!(
                    "Cannot link to a non running container: /{} AS /{}/{alias}",
                    found.name(),
                    container.name()
                )));
            }
            let Some(place) = &run.endpoint else {
                return Err(EngineError::invalid(format!(
                    "container {} not attached to default bridge network",
                    found.id()
                )));
            };
            all.push(Linked {
                alias: alias.to_owned(),
                address: place.address,
                container: found,
            });
        }
        Ok(all)
    }
}

/// The container and the alias of a link's name.
pub(crate) fn split(name: &str) -> Option<(&str, &str)> {
    name.trim_start_matches('/').split_once('/')
}

/// /etc/hosts without the line of a link, as [`Engine::link_hosts`] made it: it begins with the alias, and has the other's
/// host name next.
fn without_link(text: &str, alias: &str, host_name: &str) -> String {
    let is_of_link = |line: &&str| {
        let mut names = line.split_whitespace().skip(1);
        names.next() == Some(alias) && names.next() == Some(host_name)
    };
    text.split_inclusive('\n')
        .filter(|line| !is_of_link(line))
        .collect()
}

/// What a link tells of a container in the environment: its exposed ports, its name under the link, and its own variables.
fn variables(own: &str, alias: &str, address: Ipv4Addr, config: &Config) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut all = Vec::new();
    let ports = exposed(config);
    if let Some((protocol, port)) = ports.first() {
        all.push(format!("{prefix}_PORT={protocol}://{address}:{port}"));
    }
    for (protocol, port) in &ports {
        let one = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
        all.push(format!("{one}={protocol}://{address}:{port}"));
        all.push(format!("{one}_ADDR={address}"));
        all.push(format!("{one}_PORT={port}"));
        all.push(format!("{one}_PROTO={protocol}"));
    }
    // Numbers that follow each other are told as a range as well.
    for range in ports.chunk_by(|one, next| one.0 == next.0 && one.1.checked_add(1) == Some(next.1))
    {
        let [(protocol, first), .., (_, last)] = range else {
            continue;
        };
        let one = format!("{prefix}_PORT_{first}_{}", protocol.to_uppercase());
        all.push(format!("{one}_START={protocol}://{address}:{first}"));
        all.push(format!("{one}_PORT_START={first}"));
        all.push(format!("{one}_END={protocol}://{address}:{last}"));
        all.push(format!("{one}_PORT_END={last}"));
    }
    all.push(format!("{prefix}_NAME=/{own}/{alias}"));
    for variable in config.env.iter().flatten() {
        match variable.split_once('=') {
            Some((name, value)) if !matches!(name, "HOME" | "PATH") => {
                all.push(format!("{prefix}_ENV_{name}={value}"));
            }
            _ => {}
        }
    }
    all
}

/// The exposed ports with their protocols, those of TCP first.
fn exposed(config: &Config) -> Vec<(String, u16)> {
    let mut ports: Vec<(String, u16)> = config
        .exposed_ports
        .keys()
        .filter_map(|port| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            Some((protocol.to_lowercase(), number.parse().ok()?))
        })
        .collect();
    ports.sort_by_key(|(protocol, port)| (protocol != "tcp", protocol.clone(), *port));
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_they_are_written_and_shown() {
        assert_eq!(parse("db").unwrap(), ("db", "db"));
        assert_eq!(parse("db:data").unwrap(), ("db", "data"));
        assert_eq!(parse("/db:/web/data").unwrap(), ("db", "data"));
        assert_eq!(parse("db:/data").unwrap(), ("db", "data"));
        parse("").unwrap_err();
        parse("a:b:c").unwrap_err();
    }

    #[test]
    fn a_removed_link_takes_its_line_alone() {
        let text =
            "127.0.0.1\tlocalhost\n10.0.0.2\tdata 0a1b db\n10.0.0.9\tdata other\n10.0.0.3\tweb\n";
        let left = without_link(text, "data", "0a1b");
        assert_eq!(left, text.replace("10.0.0.2\tdata 0a1b db\n", ""));
        assert_eq!(without_link(text, "db", "0a1b"), text);
    }

    /// What docker's daemon 20.10 and 28 set.
    #[test]
    fn a_link_tells_ports_name_and_environment() {
        let config = Config {
            exposed_ports: ["81/tcp", "80/tcp", "53/udp"]
                .map(|port| (port.to_owned(), api_types::Empty))
                .into(),
            env: Some(vec!["PATH=/bin".into(), "A=1".into()]),
            ..Default::default()
        };
        let address = Ipv4Addr::new(172, 17, 0, 2);
        assert_eq!(
            variables("web", "my-db", address, &config),
            [
                "MY_DB_PORT=tcp://172.17.0.2:80",
                "MY_DB_PORT_80_TCP=tcp://172.17.0.2:80",
                "MY_DB_PORT_80_TCP_ADDR=172.17.0.2",
                "MY_DB_PORT_80_TCP_PORT=80",
                "MY_DB_PORT_80_TCP_PROTO=tcp",
                "MY_DB_PORT_81_TCP=tcp://172.17.0.2:81",
                "MY_DB_PORT_81_TCP_ADDR=172.17.0.2",
                "MY_DB_PORT_81_TCP_PORT=81",
                "MY_DB_PORT_81_TCP_PROTO=tcp",
                "MY_DB_PORT_53_UDP=udp://172.17.0.2:53",
                "MY_DB_PORT_53_UDP_ADDR=172.17.0.2",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_PORT_80_TCP_START=tcp://172.17.0.2:80",
                "MY_DB_PORT_80_TCP_PORT_START=80",
                "MY_DB_PORT_80_TCP_END=tcp://172.17.0.2:81",
                "MY_DB_PORT_80_TCP_PORT_END=81",
                "MY_DB_NAME=/web/my-db",
                "MY_DB_ENV_A=1",
            ]
        );
    }
}

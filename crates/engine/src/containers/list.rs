//! `ps`: reads moments of containers and waits for nobody.

use std::sync::Arc;

use api_types::ContainerSummary;

use super::record::Status;
use super::registry::{Container, View};
use super::summary;
use crate::compile::mounts::Source;
use crate::compile::ports;
use crate::engine::Engine;
use crate::networks::places;
use crate::options::ListOptions;
use crate::outcome::{EngineError, Result};

const FILTERS: [&str; 16] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const STATES: [&str; 7] = [
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// What of the filters is looked up before containers are compared with it.
struct Bounds {
    /// Whether containers that do not run are listed too.
    all: bool,
    exited: Vec<i64>,
    /// Times of creation, nanoseconds.
    before: Option<i64>,
    since: Option<i64>,
    /// Ids of images.
    ancestors: Option<Vec<String>>,
}

impl Engine {
    /// Lists containers, the newest first.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<ContainerSummary>> {
        check(&options)?;
        // Nothing here is a task of a swarm.
        if options.filters.flag("is-task")? == Some(true) {
            return Ok(Vec::new());
        }
        let bounds = self.bounds(&options)?;
        let names = options.filters.patterns("name");
        let links = self.link_names();
        let mut list = Vec::new();
        for (container, view) in self.newest_first() {
            let shown = bounds.hold(&container, &view)
                && names.match_any(&[&format!("/{}", view.name), &view.name])
                && matches(self, &options, &container, &view);
            if !shown {
                continue;
            }
            if options
                .limit
                .is_some_and(|limit| limit > 0 && list.len() >= limit)
            {
                break;
            }
            let mut summary = summary::of(self, &container, &view);
            let further = links.get(container.id().as_str()).into_iter().flatten();
            summary.names.extend(further.cloned());
            summary.names.sort();
            if options.size {
                let (writable, whole) = self.sizes(&container).await?;
                summary.size_rw = writable as i64;
                summary.size_root_fs = whole as i64;
            }
            list.push(summary);
        }
        Ok(list)
    }

    fn newest_first(&self) -> Vec<(Arc<Container>, Arc<View>)> {
        let mut containers: Vec<_> = self
            .registry()
            .all()
            .into_iter()
            .map(|container| {
                let view = container.view();
                (container, view)
            })
            .collect();
        containers.sort_by(|(a, _), (b, _)| {
            b.spec
                .created
                .cmp(&a.spec.created)
                .then_with(|| a.id().cmp(b.id()))
        });
        containers
    }

    fn bounds(&self, options: &ListOptions) -> Result<Bounds> {
        let filters = &options.filters;
        let exited: Vec<i64> = filters
            .get("exited")
            .map(exit_code)
            .collect::<Result<_>>()?;
        let created = |key: &str| {
            filters
                .get(key)
                .next()
                .map(|name| self.registry().find(name).map(|found| found.spec.created))
                .transpose()
        };
        Ok(Bounds {
            all: options.all
                || options.limit.is_some()
                || filters.has("status")
                || !exited.is_empty(),
            before: created("before")?,
            since: created("since")?,
            ancestors: self.ancestors(options),
            exited,
        })
    }

    /// Ids of the images that the filter names; those that do not exist match nothing.
    fn ancestors(&self, options: &ListOptions) -> Option<Vec<String>> {
        options.filters.has("ancestor").then(|| {
            options
                .filters
                .get("ancestor")
                .filter_map(|name| self.images().find(name).ok())
                .map(|image| image.id.to_string())
                .collect()
        })
    }
}

impl Bounds {
    fn hold(&self, container: &Container, view: &View) -> bool {
        let run = &view.run;
        let has_exited = !run.status.is_up() && run.status != Status::Created;
        (self.all || run.status.is_up())
            && self
                .before
                .is_none_or(|bound| container.spec.created < bound)
            && self
                .since
                .is_none_or(|bound| container.spec.created > bound)
            && (self.exited.is_empty() || (has_exited && self.exited.contains(&run.exit_code)))
            && self
                .ancestors
                .as_ref()
                .is_none_or(|ancestors| ancestors.contains(&container.spec.image))
    }
}

/// Refuses filters that there are not and values that they can not have, in docker's words.
fn check(options: &ListOptions) -> Result<()> {
    let filters = &options.filters;
    filters.check(&FILTERS)?;
    for (key, what, known) in [
        ("status", "state", STATES.as_slice()),
        ("health", "health", &HEALTHS),
    ] {
        if let Some(wrong) = filters.get(key).find(|value| !known.contains(value)) {
            return Err(EngineError::invalid(format!(
                "invalid filter '{key}={wrong}': invalid value for {what} ({wrong}): must be one of {}",
                known.join(", ")
            )));
        }
    }
    for key in ["publish", "expose"] {
        for wanted in filters.get(key) {
            check_port_range(key, wanted)?;
        }
    }
    Ok(())
}

fn exit_code(text: &str) -> Result<i64> {
    text.parse().map_err(|_| {
        EngineError::invalid(format!(
            "invalid filter 'exited={text}': strconv.Atoi: parsing \"{text}\": invalid syntax"
        ))
    })
}

/// Refuses what is no port and no range of ports, in docker's words.
fn check_port_range(key: &str, wanted: &str) -> Result<()> {
    let numbers = wanted.split('/').next().unwrap_or_default();
    let refuse = |why: String| {
        Err(EngineError::invalid(format!(
            "error while looking up for {key} {wanted}: {why}"
        )))
    };
    if numbers.is_empty() {
        return refuse("empty string specified for ports".to_owned());
    }
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let mut bounds = [0u16; 2];
    for (bound, text) in bounds.iter_mut().zip([first, last]) {
        match text.parse() {
            Ok(number) => *bound = number,
            Err(_) => {
                let why = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                    "value out of range"
                } else {
                    "invalid syntax"
                };
                return refuse(format!("strconv.ParseUint: parsing \"{text}\": {why}"));
            }
        }
    }
    if bounds[0] > bounds[1] {
        return refuse(format!("invalid range specified for port: {numbers}"));
    }
    Ok(())
}

fn matches(engine: &Engine, options: &ListOptions, container: &Container, view: &View) -> bool {
    let filters = &options.filters;
    let spec = &container.spec;
    let port = |wanted: &str, have: u16, protocol: &str| {
        let (numbers, kind) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        kind == protocol && bounds.is_some_and(|(first, last)| (first..=last).contains(&have))
    };
    filters.any("id", |wanted| container.id().as_str().starts_with(wanted))
        && filters.any("status", |wanted| view.run.status.name() == wanted)
        && filters.any("health", |wanted| {
            view.run
                .health
                .as_ref()
                .map_or("none", |health| health.state.as_str())
                == wanted
        })
        && filters.any("network", |wanted| {
            let names = places::wanted(spec, &view.run);
            names.contains_key(wanted)
                || engine.find_network(wanted).is_ok_and(|found| {
                    names.contains_key(found.name())
                        || view
                            .run
                            .joined
                            .iter()
                            .any(|one| one.network == found.id(engine))
                })
        })
        && filters.any("publish", |wanted| {
            view.run
                .published
                .iter()
                .any(|have| port(wanted, have.host_port, have.protocol.name()))
        })
        && filters.any("expose", |wanted| {
            spec.config
                .exposed_ports
                .keys()
                .chain(
                    spec.host
                        .port_bindings
                        .iter()
                        .flatten()
                        .map(|(port, _)| port),
                )
                .map(|text| ports::exposed(text))
                .any(|(have, protocol)| port(wanted, have, protocol))
        })
        && filters.any("volume", |wanted| {
            spec.mounts.iter().any(|mount| {
                mount.target == wanted
                    || match &mount.source {
                        Source::Volume { name, .. } => name == wanted,
                        Source::Bind { path, .. } => path == wanted,
                        Source::Tmpfs { .. } => false,
                    }
            })
        })
        && filters.labels_match(&spec.config.labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_filters_are_checked() {
        let refused = |wanted: &str| {
            check_port_range("publish", wanted)
                .map_err(|error| error.to_string())
                .unwrap_err()
        };
        check_port_range("publish", "80-90/udp").unwrap();
        assert_eq!(
            refused("zz"),
            "error while looking up for publish zz: strconv.ParseUint: parsing \"zz\": invalid syntax"
        );
        assert!(refused("70000").ends_with("value out of range"));
        assert!(refused("9-1").ends_with("invalid range specified for port: 9-1"));
    }
}

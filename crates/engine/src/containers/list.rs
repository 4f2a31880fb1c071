//! `ps`: reads moments of containers and waits for nobody.

use std::sync::Arc;

use api_types::ContainerSummary;

use super::record::Status;
use super::registry::{Container, View};
use super::summary;
use crate::compile::mounts::Source;
use crate::compile::ports;
use crate::engine::Engine;
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

impl Engine {
    /// Lists containers, the newest first.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<ContainerSummary>> {
        options.filters.check(&FILTERS)?;
        for status in options.filters.get("status") {
            if ![
                "created",
                "running",
                "paused",
                "restarting",
                "removing",
                "exited",
                "dead",
            ]
            .contains(&status)
            {
                return Err(EngineError::invalid(format!(
                    "invalid filter 'status={status}': must be one of created, running, paused, restarting, removing, exited, dead"
                )));
            }
        }
        let exited: Vec<i64> = options
            .filters
            .get("exited")
            .map(|code| {
                code.parse()
                    .map_err(|_| EngineError::invalid(format!("invalid filter 'exited={code}'")))
            })
            .collect::<Result<_>>()?;
        let bound = |key: &str| {
            options
                .filters
                .get(key)
                .next()
                .map(|name| self.registry().find(name).map(|found| found.spec.created))
                .transpose()
        };
        let (before, since) = (bound("before")?, bound("since")?);
        let ancestors = self.ancestors(&options);
        let mut containers: Vec<(Arc<Container>, Arc<View>)> = self
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
        let all = options.all
            || options.limit.is_some()
            || options.filters.has("status")
            || !exited.is_empty();
        let mut list = Vec::new();
        for (container, view) in containers {
            let run = &view.run;
            let shown = (all || run.status.is_up())
                && before.is_none_or(|bound| container.spec.created < bound)
                && since.is_none_or(|bound| container.spec.created > bound)
                && (exited.is_empty()
                    || (exited.contains(&run.exit_code)
                        && !run.status.is_up()
                        && run.status != Status::Created))
                && ancestors
                    .as_ref()
                    .is_none_or(|ancestors| ancestors.contains(&container.spec.image))
                && matches(&options, &container, &view);
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
            if options.size {
                let (writable, whole) = self.sizes(&container).await?;
                summary.size_rw = writable as i64;
                summary.size_root_fs = whole as i64;
            }
            list.push(summary);
        }
        Ok(list)
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

fn matches(options: &ListOptions, container: &Container, view: &View) -> bool {
    let filters = &options.filters;
    let spec = &container.spec;
    let port = |wanted: &str, have: u16, protocol: &str| {
        let (numbers, kind) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        kind == protocol && bounds.is_some_and(|(first, last)| (first..=last).contains(&have))
    };
    filters.any("id", |wanted| container.id().as_str().starts_with(wanted))
        && filters.any("name", |wanted| name_matches(wanted, &view.name))
        && filters.any("status", |wanted| view.run.status.name() == wanted)
        && filters.any("health", |wanted| {
            view.run
                .health
                .as_ref()
                .map_or("none", |health| health.state.as_str())
                == wanted
        })
        && filters.any("is-task", |wanted| matches!(wanted, "false" | "0"))
        && filters.any("network", |wanted| {
            spec.host.network_mode == wanted
                || crate::networks::is_named(wanted, &spec.host.network_mode)
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
                .filter_map(|text| ports::parse_port(text).ok())
                .any(|(have, protocol)| port(wanted, have, protocol.name()))
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

/// Docker matches names as regular expressions; here the anchors and plain text that people use.
fn name_matches(wanted: &str, name: &str) -> bool {
    let (start, rest) = match wanted.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, wanted),
    };
    let (end, text) = match rest.strip_suffix('$') {
        Some(text) => (true, text),
        None => (false, rest),
    };
    let text = text.strip_prefix('/').unwrap_or(text);
    match (start, end) {
        (true, true) => name == text,
        (true, false) => name.starts_with(text),
        (false, true) => name.ends_with(text),
        (false, false) => name.contains(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_with_anchors() {
        assert!(name_matches("web", "my_web_1"));
        assert!(name_matches("^/web$", "web") && name_matches("^web", "web1"));
        assert!(!name_matches("^web$", "web1"));
    }
}

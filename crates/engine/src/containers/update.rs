//! Other limits and another restart policy for a container that exists.

use std::sync::Arc;

use api_types::{HostConfig, UpdateResponse};
use runtime::cgroup::Resources;
use shim::protocol::Request;

use super::launch::restart_policy;
use super::registry::Container;
use crate::compile::{block_io, limits, policy, refuse};
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

impl Engine {
    /// Changes what `asked` names: limits at once where the container runs, and for each later start; the restart policy
    /// from its next end on.
    pub async fn update(&self, id: &str, asked: HostConfig) -> Result<UpdateResponse> {
        self.check_alone(&asked)?;
        let container = self.registry().find(id)?;
        let engine = self.clone();
        self.to_the_end("update", async move {
            let _turn = container.turn.lock().await;
            let run = container.run();
            let before = run.host(&container.spec).clone();
            let (after, warnings) = engine.merged(&container, &before, &asked)?;
            let runs = run.status.is_up() && run.pid != 0;
            if runs {
                engine.set_limits(&container, &after, &asked).await?;
            }
            let kept = after.clone();
            let told = container.event("update", &[]);
            let written = engine
                .change(
                    &container,
                    vec![told],
                    move |run| run.changed_host = Some(Box::new(kept)),
                    |_| Ok(()),
                )
                .await;
            if let Err(error) = written {
                // What is not written down has not happened.
                if runs && let Err(error) = engine.set_limits(&container, &before, &before).await {
                    tracing::warn!(%error, container = container.id().short(), "limits could not be put back");
                }
                return Err(error);
            }
            if !asked.restart_policy.name.is_empty()
                && let Ok(link) = container.live_link()
            {
                link.tell(&Request::UpdatePolicy(restart_policy(&after)));
            }
            Ok(UpdateResponse {
                warnings: Some(warnings),
            })
        })
        .await
    }

    /// Checks what is asked for without a look at what was there. A limit of swap may come alone.
    fn check_alone(&self, asked: &HostConfig) -> Result<()> {
        refuse::check_resources(asked)?;
        let mut alone = asked.clone();
        if alone.memory == 0 {
            alone.memory_swap = 0;
        }
        let host = &self.inner().host;
        limits::check(&mut alone, host.processors, &host.online)?;
        block_io::check(&alone)?;
        policy::check_restart(&mut alone)
    }

    /// The configuration with what is asked for in it, and what the user should know.
    fn merged(
        &self,
        container: &Container,
        before: &HostConfig,
        asked: &HostConfig,
    ) -> Result<(HostConfig, Vec<String>)> {
        if let Some(why) = conflict(before, asked) {
            return Err(EngineError::conflict(format!(
                "Cannot update container {}: {why}",
                container.id()
            )));
        }
        let mut after = merge(before, asked);
        let host = &self.inner().host;
        limits::check(&mut after, host.processors, &host.online)?;
        block_io::check(&after)?;
        policy::check_restart(&mut after)?;
        let warnings = match limits::asks_what_is_rare(asked) {
            true => limits::step_back(&mut after, &self.inner().groups.layout().support()),
            false => Vec::new(),
        };
        Ok((after, warnings))
    }

    /// Gives the control group of a running container its limits.
    async fn set_limits(
        &self,
        container: &Arc<Container>,
        host: &HostConfig,
        asked: &HostConfig,
    ) -> Result<()> {
        let mut resources = self.resources_of(host)?;
        // Which devices may be used is no limit, and stays.
        resources.devices = None;
        resources.pids_max = asked
            .pids_limit
            .map(|limit| if limit > 0 { limit } else { -1 });
        if asked.blkio_weight == 0 {
            resources.block_io = Resources::default().block_io;
        }
        let id = container.id().to_string();
        self.blocking("update", move |engine| {
            let set = engine
                .inner()
                .groups
                .group(&id)
                .and_then(|group| group.set(&resources));
            set.map_err(|error| EngineError::Update {
                id,
                why: EngineError::from(error).to_string(),
            })
        })
        .await
    }
}

/// Why what is asked for does not go together with what was set before, in docker's words.
fn conflict(before: &HostConfig, asked: &HostConfig) -> Option<&'static str> {
    let by_nano = asked.nano_cpus > 0;
    let is_removed = before.auto_remove && !matches!(asked.restart_policy.name.as_str(), "" | "no");
    let causes = [
        (
            by_nano && before.cpu_period > 0,
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            by_nano && before.cpu_quota > 0,
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            asked.cpu_period > 0 && before.nano_cpus > 0,
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            asked.cpu_quota > 0 && before.nano_cpus > 0,
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            asked.memory != 0 && asked.memory > before.memory_swap && asked.memory_swap == 0,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        (
            is_removed,
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
    ];
    causes
        .into_iter()
        .find_map(|(is_so, why)| is_so.then_some(why))
}

fn merge(before: &HostConfig, asked: &HostConfig) -> HostConfig {
    let number = |asked: i64, before: i64| if asked == 0 { before } else { asked };
    let text =
        |asked: &String, before: &String| if asked.is_empty() { before } else { asked }.clone();
    HostConfig {
        blkio_weight: match asked.blkio_weight {
            0 => before.blkio_weight,
            weight => weight,
        },
        cpu_shares: number(asked.cpu_shares, before.cpu_shares),
        nano_cpus: number(asked.nano_cpus, before.nano_cpus),
        cpu_period: number(asked.cpu_period, before.cpu_period),
        cpu_quota: number(asked.cpu_quota, before.cpu_quota),
        cpuset_cpus: text(&asked.cpuset_cpus, &before.cpuset_cpus),
        cpuset_mems: text(&asked.cpuset_mems, &before.cpuset_mems),
        memory: number(asked.memory, before.memory),
        memory_swap: number(asked.memory_swap, before.memory_swap),
        memory_reservation: number(asked.memory_reservation, before.memory_reservation),
        pids_limit: asked.pids_limit.or(before.pids_limit),
        restart_policy: match asked.restart_policy.name.is_empty() {
            true => before.restart_policy.clone(),
            false => asked.restart_policy.clone(),
        },
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use api_types::RestartPolicy;

    use super::*;

    #[test]
    fn only_what_is_asked_for_changes() {
        let before = HostConfig {
            memory: 64 << 20,
            memory_swap: 128 << 20,
            cpu_shares: 512,
            pids_limit: Some(10),
            cpuset_cpus: "0".to_owned(),
            ..HostConfig::default()
        };
        let asked = HostConfig {
            memory: 32 << 20,
            pids_limit: Some(-1),
            ..HostConfig::default()
        };
        let after = merge(&before, &asked);
        assert_eq!((after.memory, after.memory_swap), (32 << 20, 128 << 20));
        assert_eq!((after.cpu_shares, after.pids_limit), (512, Some(-1)));
        assert_eq!(after.cpuset_cpus, "0");
        assert_eq!(merge(&before, &HostConfig::default()), before);
    }

    #[test]
    fn what_does_not_go_together_is_told_in_docker_s_words() {
        let before = HostConfig {
            nano_cpus: 1,
            memory_swap: 100,
            auto_remove: true,
            ..HostConfig::default()
        };
        let told = |asked: HostConfig| conflict(&before, &asked).unwrap_or_default();
        let base = HostConfig::default;
        assert_eq!(told(base()), "");
        let quota = HostConfig {
            cpu_quota: 1000,
            ..base()
        };
        assert!(told(quota).starts_with("Conflicting options: CPU Quota cannot be updated"));
        let memory = HostConfig {
            memory: 200,
            ..base()
        };
        assert!(told(memory.clone()).ends_with("update the memoryswap at the same time"));
        let both = HostConfig {
            memory_swap: 300,
            ..memory
        };
        assert_eq!(told(both), "");
        let policy = |name: &str| HostConfig {
            restart_policy: RestartPolicy {
                name: name.to_owned(),
                maximum_retry_count: 0,
            },
            ..base()
        };
        assert!(told(policy("always")).contains("AutoRemove is enabled"));
        assert_eq!(told(policy("no")), "");
    }
}

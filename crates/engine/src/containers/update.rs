//! Other limits and another restart policy for a container that exists.

use std::os::fd::AsFd;

use api_types::{HostConfig, UpdateResponse};
use runtime::cgroup::Resources;
use shim::protocol::Request;

use super::launch::restart_policy;
use super::registry::Container;
use crate::compile::{block_io, limits, policy};
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// What a control group has without being asked: cgroups(7), and the kernel's bfq scheduler.
const CPU_SHARES: i64 = 1024;
const BLOCK_IO_WEIGHT: u16 = 100;

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
            // Between two runs of one shim, too: the next one finds the same control group.
            let runs = container.live_link().is_ok();
            let former = former_limits(&before, &asked);
            if runs && let Err(error) = engine.limit(&container, &after, &asked).await {
                // It may have ended meanwhile, and its group with it: the next start makes another one.
                if container.live_link().is_ok() {
                    engine.put_back(&container, former).await;
                    return Err(error);
                }
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
                if runs {
                    engine.put_back(&container, former).await;
                }
                return Err(error);
            }
            if !asked.restart_policy.name.is_empty() && container.live_link().is_ok() {
                let policy = Request::UpdatePolicy(restart_policy(&after));
                if let Err(error) = container.ask(&policy).await
                    && container.run().status.is_up()
                {
                    // Whoever reaches it next tells it.
                    tracing::warn!(%error, container = container.id().short(), "a container's supervisor does not know its new restart policy yet");
                }
            }
            Ok(UpdateResponse {
                warnings: Some(warnings),
            })
        })
        .await
    }

    /// Checks what is asked for without a look at what was there. A limit of swap may come alone.
    fn check_alone(&self, asked: &HostConfig) -> Result<()> {
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
        // As docker: against the limit it is only held where both are asked for.
        let reservation = std::mem::take(&mut after.memory_reservation);
        limits::check(&mut after, host.processors, &host.online)?;
        after.memory_reservation = reservation;
        block_io::check(&after)?;
        policy::check_restart(&mut after)?;
        let warnings = match limits::asks_what_is_rare(asked) {
            true => limits::step_back(&mut after, &self.inner().groups.layout().support()),
            false => Vec::new(),
        };
        Ok((after, warnings))
    }

    /// Gives the control group of a running container its limits.
    async fn limit(
        &self,
        container: &Container,
        host: &HostConfig,
        asked: &HostConfig,
    ) -> Result<()> {
        let mut resources = self.resources_of(host)?;
        // Which devices may be used is no limit, and stays.
        resources.devices = None;
        resources.pids_max = asked.pids_limit.map(pids_max);
        if asked.blkio_weight == 0 {
            resources.block_io = Resources::default().block_io;
        }
        self.set_limits(container, resources).await
    }

    /// Undoes what an update did to the control group before it failed, as far as that can be.
    async fn put_back(&self, container: &Container, former: Resources) {
        if let Err(error) = self.set_limits(container, former).await
            && container.live_link().is_ok()
        {
            tracing::warn!(%error, container = container.id().short(), "limits could not be put back");
        }
    }

    /// What runs in the container gets the limits, and what will: in a hierarchy of version 1 in which the container had no
    /// group of its own there is one now, which later processes have to enter.
    async fn set_limits(&self, container: &Container, resources: Resources) -> Result<()> {
        let id = container.id().to_string();
        let group = self.group_place(container);
        let (tasks, unified) = self
            .blocking("update", move |engine| {
                let set = engine.group_at(&group).and_then(|group| {
                    group.set(&resources)?;
                    Ok(group.entry_fds()?)
                });
                set.map_err(|error| EngineError::Update {
                    id,
                    why: error.to_string(),
                })
            })
            .await?;
        let request = Request::Enter {
            unified: unified.is_some(),
        };
        let entries: Vec<_> = tasks.iter().chain(&unified).map(AsFd::as_fd).collect();
        match container.live_link()?.ask(&request, &entries).await {
            Err(error) if container.live_link().is_ok() => {
                tracing::warn!(%error, container = container.id().short(), "what a container executes from now on may be without a limit that it was given");
                Ok(())
            }
            told => told.map(|_| ()),
        }
    }
}

fn pids_max(limit: i64) -> i64 {
    if limit > 0 { limit } else { -1 }
}

/// The limits that `before` has of those that `asked` names; what was without a limit has none again.
fn former_limits(before: &HostConfig, asked: &HostConfig) -> Resources {
    let limit = |is_asked: bool, value: i64, unlimited: i64| {
        is_asked.then_some(if value == 0 { unlimited } else { value })
    };
    let unsigned = |value: Option<i64>| value.map(i64::unsigned_abs);
    let asks_memory = asked.memory != 0 || asked.memory_swap != 0;
    let asks_time = asked.cpu_quota != 0 || asked.cpu_period != 0 || asked.nano_cpus != 0;
    let (quota, period) = match before.nano_cpus {
        0 => (
            limit(asks_time, before.cpu_quota, -1),
            unsigned(limit(asks_time, before.cpu_period, limits::CFS_PERIOD)),
        ),
        nano => {
            let (quota, period) = runtime::cgroup::quota_of_cpus(nano.unsigned_abs());
            (asks_time.then_some(quota), asks_time.then_some(period))
        }
    };
    let list = |asked: &str, before: &String| (!asked.is_empty()).then(|| before.clone());
    let mut former = Resources {
        memory: limit(asks_memory, before.memory, -1),
        memory_swap: limit(asks_memory, before.memory_swap, -1),
        memory_reservation: limit(asked.memory_reservation != 0, before.memory_reservation, -1),
        cpu_shares: unsigned(limit(asked.cpu_shares != 0, before.cpu_shares, CPU_SHARES)),
        cpu_quota: quota,
        cpu_period: period,
        cpu_rt_runtime: (asked.cpu_realtime_runtime != 0).then_some(before.cpu_realtime_runtime),
        cpuset_cpus: list(&asked.cpuset_cpus, &before.cpuset_cpus),
        cpuset_mems: list(&asked.cpuset_mems, &before.cpuset_mems),
        pids_max: asked
            .pids_limit
            .map(|_| pids_max(before.pids_limit.unwrap_or(-1))),
        ..Default::default()
    };
    former.block_io.weight = (asked.blkio_weight != 0).then_some(match before.blkio_weight {
        0 => BLOCK_IO_WEIGHT,
        weight => weight,
    });
    former
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
        cpu_realtime_period: number(asked.cpu_realtime_period, before.cpu_realtime_period),
        cpu_realtime_runtime: number(asked.cpu_realtime_runtime, before.cpu_realtime_runtime),
        cpuset_cpus: text(&asked.cpuset_cpus, &before.cpuset_cpus),
        cpuset_mems: text(&asked.cpuset_mems, &before.cpuset_mems),
        memory: number(asked.memory, before.memory),
        memory_swap: number(asked.memory_swap, before.memory_swap),
        memory_reservation: number(asked.memory_reservation, before.memory_reservation),
        // An update that takes the limit away leaves a 0, as docker's does.
        pids_limit: asked
            .pids_limit
            .map(|limit| limit.max(0))
            .or(before.pids_limit),
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
    fn what_is_undone_is_what_was_asked_for() {
        let before = HostConfig {
            memory: 64 << 20,
            memory_swap: 128 << 20,
            nano_cpus: 500_000_000,
            ..HostConfig::default()
        };
        let asked = HostConfig {
            memory: 32 << 20,
            nano_cpus: 1_000_000_000,
            cpu_shares: 512,
            cpuset_cpus: "0".to_owned(),
            pids_limit: Some(10),
            memory_reservation: 16 << 20,
            blkio_weight: 500,
            ..HostConfig::default()
        };
        let former = former_limits(&before, &asked);
        assert_eq!(former.memory, Some(64 << 20));
        assert_eq!(former.memory_swap, Some(128 << 20));
        assert_eq!(former.memory_reservation, Some(-1));
        assert_eq!(
            (former.cpu_quota, former.cpu_period, former.cpu_shares),
            (Some(50_000), Some(100_000), Some(1024))
        );
        assert_eq!(
            (former.cpuset_cpus, former.cpuset_mems),
            (Some(String::new()), None)
        );
        assert_eq!(former.pids_max, Some(-1));
        assert_eq!(former.block_io.weight, Some(100));
        let nothing = former_limits(&before, &HostConfig::default());
        assert_eq!(nothing, Resources::default());
    }

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
        assert_eq!((after.cpu_shares, after.pids_limit), (512, Some(0)));
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

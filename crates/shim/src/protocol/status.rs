//! What a shim tells of its container when it is asked.

use types::ContainerId;

use super::launch::RestartPolicy;
use super::wire::{Field, Fields, WireError, Writer};

/// The most results of health checks that are kept, as docker keeps them.
pub(crate) const HEALTH_RESULTS: usize = 5;
/// The most bytes of a health check's output that are kept, as docker keeps them.
pub(crate) const HEALTH_OUTPUT: usize = 4096;
const EXEC_LIMIT: usize = 4096;

/// Where in its life a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// The first process has not reached its program yet.
    #[default]
    Starting,
    /// The namespaces are made; `Proceed` is awaited.
    Prepared,
    /// The first process runs.
    Running,
    /// It exited and will be started again.
    Restarting,
    /// It exited, and the shim will not start it again.
    Exited,
}

/// What follows an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartOutlook {
    /// Nothing.
    #[default]
    None,
    /// The shim starts the container again.
    After {
        /// Milliseconds after the exit.
        delay: u64,
    },
    /// The policy wants a start, but the shim kept no mounts for it: the policy came after the start.
    ByDaemon {
        /// Milliseconds after the exit.
        delay: u64,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LastExit {
    /// The exit status; 128 + n for the end by signal n.
    pub code: u8,
    /// The signal that ended it, 0 for none.
    pub signal: u8,
    /// Whether the kernel killed something in its cgroup for want of memory.
    pub oom: bool,
    /// When, in nanoseconds since 1970.
    pub time: u64,
}

/// A running exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecStatus {
    /// Its identity.
    pub id: ContainerId,
    /// Its process, as the shim numbers it.
    pub pid: u32,
}

/// What the health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HealthState {
    /// No verdict yet.
    #[default]
    Starting,
    /// The last run succeeded.
    Healthy,
    /// As many runs in a row failed as its configuration says.
    Unhealthy,
}

/// One run of the health check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthResult {
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended, in nanoseconds since 1970.
    pub end: u64,
    /// Its exit status; -1 if it ran too long or could not be started.
    pub exit_code: i32,
    /// The first 4096 bytes that it wrote.
    pub output: Vec<u8>,
}

/// The health of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthStatus {
    /// The verdict.
    pub state: HealthState,
    /// How many runs in a row failed.
    pub failing_streak: u32,
    /// The last runs, oldest first.
    pub results: Vec<HealthResult>,
}

/// Everything about a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Where in its life it is.
    pub phase: Phase,
    /// The first process; 0 while there is none.
    pub pid: u32,
    /// Its start time in clock ticks since boot (field 22 of /proc/PID/stat).
    pub start_ticks: u64,
    /// When it was started last, in nanoseconds since 1970.
    pub started: u64,
    /// The last exit.
    pub last_exit: Option<LastExit>,
    /// How many times the shim started it again.
    pub restarts: u32,
    /// Whether the next exit is wanted.
    pub stop_intent: bool,
    /// The restart policy.
    pub policy: RestartPolicy,
    /// The execs that run.
    pub execs: Vec<ExecStatus>,
    /// The health, if there is a check.
    pub health: Option<HealthStatus>,
    /// The number of the last event.
    pub sequence: u64,
    /// How many clients are attached to the container itself.
    pub attached: u32,
    /// How many log lines could not be written.
    pub lost_lines: u64,
}

impl RestartOutlook {
    pub(crate) fn parts(self) -> (u64, u64) {
        match self {
            RestartOutlook::None => (0, 0),
            RestartOutlook::After { delay } => (1, delay),
            RestartOutlook::ByDaemon { delay } => (2, delay),
        }
    }

    pub(crate) fn from_parts(kind: u64, delay: u64) -> Option<Self> {
        match kind {
            0 => Some(RestartOutlook::None),
            1 => Some(RestartOutlook::After { delay }),
            2 => Some(RestartOutlook::ByDaemon { delay }),
            _ => None,
        }
    }
}

impl HealthState {
    pub(crate) fn number(self) -> u64 {
        match self {
            HealthState::Starting => 0,
            HealthState::Healthy => 1,
            HealthState::Unhealthy => 2,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(HealthState::Starting),
            1 => Some(HealthState::Healthy),
            2 => Some(HealthState::Unhealthy),
            _ => None,
        }
    }
}

fn phase_number(phase: Phase) -> u64 {
    match phase {
        Phase::Starting => 0,
        Phase::Prepared => 1,
        Phase::Running => 2,
        Phase::Restarting => 3,
        Phase::Exited => 4,
    }
}

fn phase(field: Field<'_>) -> Result<Phase, WireError> {
    Ok(match field.number()? {
        0 => Phase::Starting,
        1 => Phase::Prepared,
        2 => Phase::Running,
        3 => Phase::Restarting,
        4 => Phase::Exited,
        _ => return Err(WireError::Field { tag: field.tag }),
    })
}

impl LastExit {
    fn write(&self, w: &mut Writer) {
        w.number(1, self.code.into());
        w.number(2, self.signal.into());
        w.flag(3, self.oom);
        w.number(4, self.time);
    }

    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let mut exit = LastExit::default();
        for field in fields {
            let field = field?;
            match field.tag {
                1 => exit.code = field.narrow()?,
                2 => exit.signal = field.narrow()?,
                3 => exit.oom = field.flag()?,
                4 => exit.time = field.number()?,
                _ => {}
            }
        }
        Ok(exit)
    }
}

impl ExecStatus {
    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let (mut id, mut pid) = (None, 0);
        for field in fields {
            let field = field?;
            match field.tag {
                1 => id = Some(field.parse()?),
                2 => pid = field.narrow()?,
                _ => {}
            }
        }
        Ok(ExecStatus {
            id: id.ok_or(WireError::Missing { tag: 1 })?,
            pid,
        })
    }
}

impl HealthResult {
    fn write(&self, w: &mut Writer) {
        w.number(1, self.start);
        w.number(2, self.end);
        w.signed(3, self.exit_code);
        w.content(4, &self.output);
    }

    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let mut result = HealthResult::default();
        for field in fields {
            let field = field?;
            match field.tag {
                1 => result.start = field.number()?,
                2 => result.end = field.number()?,
                3 => result.exit_code = field.signed()?,
                4 => result.output = field.content(HEALTH_OUTPUT)?,
                _ => {}
            }
        }
        Ok(result)
    }
}

impl HealthStatus {
    fn write(&self, w: &mut Writer) {
        w.number(1, self.state.number());
        w.number(2, self.failing_streak.into());
        for result in &self.results {
            w.nested(3, |w| result.write(w));
        }
    }

    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let mut health = HealthStatus::default();
        for field in fields {
            let field = field?;
            match field.tag {
                1 => {
                    health.state = HealthState::from_number(field.number()?)
                        .ok_or(WireError::Field { tag: 1 })?;
                }
                2 => health.failing_streak = field.narrow()?,
                3 if health.results.len() == HEALTH_RESULTS => {
                    return Err(WireError::Limit {
                        what: "health results",
                    });
                }
                3 => health.results.push(HealthResult::read(field.nested())?),
                _ => {}
            }
        }
        Ok(health)
    }
}

impl Status {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.number(1, phase_number(self.phase));
        w.number(2, self.pid.into());
        w.number(3, self.start_ticks);
        w.number(4, self.started);
        if let Some(exit) = &self.last_exit {
            w.nested(5, |w| exit.write(w));
        }
        w.number(6, self.restarts.into());
        w.flag(7, self.stop_intent);
        w.nested(8, |w| self.policy.write(w));
        for exec in &self.execs {
            w.nested(9, |w| {
                w.content(1, exec.id.as_str().as_bytes());
                w.number(2, exec.pid.into());
            });
        }
        if let Some(health) = &self.health {
            w.nested(10, |w| health.write(w));
        }
        w.number(11, self.sequence);
        w.number(12, self.attached.into());
        w.number(13, self.lost_lines);
    }

    pub(crate) fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let mut status = Status::default();
        for field in fields {
            let field = field?;
            match field.tag {
                1 => status.phase = phase(field)?,
                2 => status.pid = field.narrow()?,
                3 => status.start_ticks = field.number()?,
                4 => status.started = field.number()?,
                5 => status.last_exit = Some(LastExit::read(field.nested())?),
                6 => status.restarts = field.narrow()?,
                7 => status.stop_intent = field.flag()?,
                8 => status.policy = RestartPolicy::read(field.nested())?,
                9 if status.execs.len() == EXEC_LIMIT => {
                    return Err(WireError::Limit { what: "execs" });
                }
                9 => status.execs.push(ExecStatus::read(field.nested())?),
                10 => status.health = Some(HealthStatus::read(field.nested())?),
                11 => status.sequence = field.number()?,
                12 => status.attached = field.narrow()?,
                13 => status.lost_lines = field.number()?,
                _ => {}
            }
        }
        Ok(status)
    }
}

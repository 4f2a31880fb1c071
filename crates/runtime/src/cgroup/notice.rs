//! Notices of the kernel about a group's memory: that it ran out, and that it is short.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::directory::{Folder, keyed, read_from_start};
use super::{CgroupError, memory};

/// Version 1 file that ties an eventfd to another file's events.
const V1_CONTROL: &str = "cgroup.event_control";
const V1_PRESSURE: &str = "memory.pressure_level";
const V2_PRESSURE: &str = "memory.pressure";

/// How short memory is, in version 1's words (Documentation/admin-guide/cgroup-v1/memory.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Memory is being reclaimed: some of the group's tasks waited for it a tenth of a second within one.
    Low,
    /// The group swaps, or drops files that it needs again: some waited three tenths.
    Medium,
    /// The group is about to run out: all waited a tenth at the same time.
    Critical,
}

impl Pressure {
    /// The level's name; `None` for other words.
    pub fn parse(word: &str) -> Option<Pressure> {
        match word {
            "low" => Some(Pressure::Low),
            "medium" => Some(Pressure::Medium),
            "critical" => Some(Pressure::Critical),
            _ => None,
        }
    }

    fn v1(self) -> &'static str {
        match self {
            Pressure::Low => "low",
            Pressure::Medium => "medium",
            Pressure::Critical => "critical",
        }
    }

    /// A trigger by pressure stall information: microseconds of waiting within a window (psi.rst).
    fn v2(self) -> &'static str {
        match self {
            Pressure::Low => "some 100000 1000000",
            Pressure::Medium => "some 300000 1000000",
            Pressure::Critical => "full 100000 1000000",
        }
    }
}

/// Becomes ready for [`Watch::interest`] when the kernel has something to tell; [`Watch::take`] says whether it is what
/// was asked for.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// An eventfd of version 1 and the group's folder, whose removal is told through it as well.
    V1(OwnedFd),
    /// `memory.events` and how often memory ran out before.
    Events(Cell<u64>),
    /// A trigger.
    Stall,
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Watch {
    /// What to poll for.
    pub fn interest(&self) -> PollFlags {
        match self.kind {
            Kind::V1(_) => PollFlags::IN,
            Kind::Events(_) | Kind::Stall => PollFlags::PRI,
        }
    }

    /// Whether it happened since the last call. Call it when the descriptor is ready: the watch waits again then. At
    /// other times it tells what the kernel has not announced yet; only of pressure it then knows nothing and says yes.
    ///
    /// # Errors
    /// The group is gone; nothing will be told any more.
    pub fn take(&self) -> Result<bool, Errno> {
        match &self.kind {
            Kind::V1(folder) => {
                match rustix::io::read(&self.fd, &mut [0; 8]) {
                    Err(Errno::AGAIN) => return Ok(false),
                    other => other?,
                };
                let file = rustix::fs::AtFlags::empty();
                rustix::fs::statat(folder, V1_CONTROL, file).map_err(|_| Errno::NODEV)?;
                Ok(true)
            }
            Kind::Events(before) => {
                let text = read_from_start(self.fd.as_fd())
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NODEV))?;
                let now = ran_out(&text);
                Ok(now > before.replace(now))
            }
            Kind::Stall => Ok(true),
        }
    }
}

/// How often memory ran out, of a text of `memory.events`. What was killed counts too: a process can be killed for
/// want of memory outside of the group.
fn ran_out(text: &str) -> u64 {
    let number = |key| keyed(text, key).and_then(|value| value.parse::<u64>().ok());
    ["oom", "oom_kill"].into_iter().filter_map(number).sum()
}

/// Watches a version 1 group run out of memory.
pub(super) fn oom_v1(folder: &Folder<'_>) -> Result<Watch, CgroupError> {
    by_eventfd(folder, memory::V1_OOM, None)
}

/// Watches a version 2 group run out of memory.
pub(super) fn oom_v2(folder: &Folder<'_>) -> Result<Watch, CgroupError> {
    let fd = folder.open(memory::V2_EVENTS, OFlags::RDONLY)?;
    let text = read_from_start(fd.as_fd()).map_err(|source| CgroupError::Read {
        path: folder.full(memory::V2_EVENTS),
        source,
    })?;
    Ok(Watch {
        fd,
        kind: Kind::Events(Cell::new(ran_out(&text))),
    })
}

/// Watches a version 1 group be short of memory.
pub(super) fn pressure_v1(folder: &Folder<'_>, level: Pressure) -> Result<Watch, CgroupError> {
    by_eventfd(folder, V1_PRESSURE, Some(level.v1()))
}

/// Watches a version 2 group wait for memory, where the kernel keeps account of that.
pub(super) fn pressure_v2(folder: &Folder<'_>, level: Pressure) -> Result<Watch, CgroupError> {
    let fd = match folder.open(V2_PRESSURE, OFlags::RDWR | OFlags::NONBLOCK) {
        Err(CgroupError::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(CgroupError::Unsupported {
                setting: "notice of memory pressure (memory.pressure)",
            });
        }
        other => other?,
    };
    rustix::io::write(&fd, level.v2().as_bytes()).map_err(|errno| CgroupError::Write {
        path: folder.full(V2_PRESSURE),
        value: level.v2().to_owned(),
        source: errno.into(),
    })?;
    Ok(Watch {
        fd,
        kind: Kind::Stall,
    })
}

fn by_eventfd(
    folder: &Folder<'_>,
    file: &str,
    argument: Option<&str>,
) -> Result<Watch, CgroupError> {
    use std::os::fd::AsRawFd;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| {
        CgroupError::Open {
            path: "eventfd".into(),
            source: errno.into(),
        }
    })?;
    let watched = folder.open(file, OFlags::RDONLY)?;
    let mut line = format!("{} {}", event.as_raw_fd(), watched.as_raw_fd());
    if let Some(argument) = argument {
        line.push(' ');
        line.push_str(argument);
    }
    folder.write(V1_CONTROL, &line)?;
    Ok(Watch {
        fd: event,
        kind: Kind::V1(folder.open_folder()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_memory_are_counted() {
        let text = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(ran_out(text), 3);
        assert_eq!(ran_out(""), 0);
        assert_eq!(Pressure::parse("medium"), Some(Pressure::Medium));
        assert_eq!(Pressure::parse("high"), None);
    }
}

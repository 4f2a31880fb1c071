//! Groups that systemd makes: each is a scope, a unit that is not started from a file, asked for over D-Bus.
//!
//! systemd puts a process into a new scope and forgets a scope without processes, so a [`Keeper`] stands in it until the
//! container's own is there. Within the scope, which is delegated, everything is done as elsewhere.

mod address;
mod bus;
mod properties;
mod variant;
mod wire;

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::cgroup::{CgroupError, Group, Layout, Parent, Resources};
use bus::Bus;
use wire::{Value, Writer};

/// Why systemd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// The path is not of three parts.
    #[error(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
    )]
    Path {
        /// The path as given.
        path: String,
    },
    /// A slice's name that systemd does not take.
    #[error("invalid slice name: {slice:?}")]
    Slice {
        /// The name.
        slice: String,
    },
    /// There is none: neither its socket nor a bus is there.
    #[error("systemd not running on this host")]
    NotRunning,
    /// It is there, and cannot be asked.
    #[error("systemd: cannot connect to {path:?}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// An ordinary user's environment does not tell of a session.
    #[error(
        "systemd: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR tells where the user's own manager is"
    )]
    NoSession,
    /// Users' managers have no groups of version 1.
    #[error(
        "systemd: a user's own manager makes groups of version 2 only, and this host's are of version 1"
    )]
    Version1,
    /// In which group this process is cannot be read.
    #[error("systemd: reading /proc/self/cgroup: {source}")]
    Own {
        /// What the kernel says.
        source: io::Error,
    },
    /// The connection broke, or what came over it is not understood.
    #[error("systemd: talking over D-Bus: {source}")]
    Talk {
        /// What went wrong.
        source: io::Error,
    },
    /// A call was refused.
    #[error("systemd: {member}: {text} ({name})")]
    Refused {
        /// The method.
        member: String,
        /// The error's name.
        name: String,
        /// systemd's sentence.
        text: String,
    },
    /// A job did not end well.
    #[error("systemd: the job of unit {unit} ended with {result:?}")]
    Job {
        /// The unit.
        unit: String,
        /// systemd's word: `canceled`, `timeout`, `failed`, `dependency`, `skipped`.
        result: String,
    },
    /// The process that stands in could not be made.
    #[error("systemd: cannot make a process for the scope: {source}")]
    Keeper {
        /// What the kernel says.
        source: io::Error,
    },
}

/// A scope's names.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scope {
    /// The slice that it is in, such as `system.slice`.
    pub slice: String,
    /// Its own name, such as `docker-ID.scope`.
    pub unit: String,
    /// Where a user's own manager makes it: that manager's group, below which its slices are, with a leading slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
}

/// A property of a scope that somebody asks for, beside those of its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    name: String,
    value: Value,
}

impl Property {
    /// Reads a value in the text form of GVariant, such as `'text'`, `true`, `uint64 5` or `['a', 'b']`. systemd has all
    /// times in microseconds: `TimeoutStopSec` becomes `TimeoutStopUSec`.
    ///
    /// # Errors
    /// A part of a sentence: the name is none, or the text is no value.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(format!("{name:?} is no name of a property"));
        }
        let value = variant::parse(text)?;
        let stem = name.strip_suffix("Sec");
        let stem = stem.filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase()));
        Ok(match stem {
            None => Self {
                name: name.to_owned(),
                value,
            },
            Some(stem) => Self {
                name: format!("{stem}USec"),
                value: variant::microseconds(&value)?,
            },
        })
    }
}

impl Scope {
    /// Reads `SLICE:PREFIX:NAME`. Nothing stands for `system.slice:wharf:ID`; an empty slice for the usual one.
    ///
    /// # Errors
    /// Other forms, and slices that cannot be.
    pub fn parse(path: &str, id: &str) -> Result<Self, SystemdError> {
        Self::of_parts(path, id, "system.slice")
    }

    /// The same for the manager of the user that this process belongs to, whose usual slice is `user.slice`. It is asked
    /// for its group.
    ///
    /// # Errors
    /// As for [`Scope::parse`]; there is no such manager, or the host's groups are of version 1.
    pub fn parse_for_user(path: &str, id: &str, layout: &Layout) -> Result<Self, SystemdError> {
        let scope = Self::of_parts(path, id, "user.slice")?;
        if layout.version() != 2 {
            return Err(SystemdError::Version1);
        }
        let group = Bus::user()?.property("ControlGroup")?;
        Ok(Self {
            below: Some(group),
            ..scope
        })
    }

    fn of_parts(path: &str, id: &str, usual: &str) -> Result<Self, SystemdError> {
        let bad = || SystemdError::Path {
            path: path.to_owned(),
        };
        let (slice, prefix, name) = match path.split(':').collect::<Vec<_>>().as_slice() {
            [""] => ("", "wharf", id),
            [slice, prefix, name] if !name.is_empty() => (*slice, *prefix, *name),
            _ => return Err(bad()),
        };
        if prefix.contains('/') || name.contains('/') {
            return Err(bad());
        }
        let slice = if slice.is_empty() { usual } else { slice };
        let unit = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        let scope = Self {
            slice: slice.to_owned(),
            unit,
            below: None,
        };
        scope.slice_path()?;
        Ok(scope)
    }

    fn bus(&self) -> Result<Bus, SystemdError> {
        match self.below {
            None => Bus::system(),
            Some(_) => Bus::user(),
        }
    }

    /// Brings this process to where it may put others into the scope: an ordinary user moves processes within their
    /// manager's groups only, and those of a session begin elsewhere. It is done by a scope of its own, which systemd
    /// forgets when the process has ended.
    ///
    /// # Errors
    /// As for [`Scope::start`].
    pub fn approach(&self) -> Result<(), SystemdError> {
        let Some(below) = &self.below else {
            return Ok(());
        };
        let path = Path::new("/proc/self/cgroup");
        let own = sys::procfs::read_text(path).map_err(|source| SystemdError::Own { source })?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::"));
        if own.is_some_and(|own| Path::new(own).starts_with(below)) {
            return Ok(());
        }
        let pid = std::process::id();
        let mut body = Writer::default();
        body.text(&format!("wharf-runtime-{pid}.scope"));
        body.text("fail");
        body.properties(&[
            ("Description", Value::Text("wharf-runtime".to_owned())),
            ("Slice", Value::Text("user.slice".to_owned())),
            ("PIDs", Value::Numbers(vec![pid])),
            ("DefaultDependencies", Value::Bool(false)),
        ]);
        // No further units.
        body.array(8, |_| {});
        Bus::user()?.job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
    }

    /// The slice's path below the top: `a-b.slice` lies in `a.slice`. Empty for `-.slice`.
    fn slice_path(&self) -> Result<String, SystemdError> {
        let bad = || SystemdError::Slice {
            slice: self.slice.clone(),
        };
        let name = self.slice.strip_suffix(".slice").ok_or_else(bad)?;
        if name == "-" {
            return Ok(String::new());
        }
        if name.is_empty() || name.contains('/') || name.split('-').any(str::is_empty) {
            return Err(bad());
        }
        let ends = name.match_indices('-').map(|(at, _)| at);
        let prefixes = ends.chain([name.len()]).map(|end| &name[..end]);
        let folders: Vec<String> = prefixes.map(|prefix| format!("{prefix}.slice")).collect();
        Ok(folders.join("/"))
    }

    /// The group's path in each hierarchy, below its manager's and without a leading slash.
    pub fn path(&self) -> String {
        // It was looked at when the scope was read.
        match self.slice_path().unwrap_or_default().as_str() {
            "" => self.unit.clone(),
            slice => format!("{slice}/{}", self.unit),
        }
    }

    /// Makes the scope with a process in it, which stays until the answer is dropped. It has the `properties`, too, but for
    /// those that `resources` say otherwise.
    ///
    /// # Errors
    /// systemd is not there, or refuses; an existing unit of the name is a refusal too.
    pub fn start(
        &self,
        description: &str,
        resources: &Resources,
        properties: &[Property],
        layout: &Layout,
    ) -> Result<Keeper, SystemdError> {
        let mut bus = self.bus()?;
        let keeper = Keeper::new()?;
        let v2 = layout.version() == 2;
        let mut all = vec![
            ("Description", Value::Text(description.to_owned())),
            ("Slice", Value::Text(self.slice.clone())),
            ("Delegate", Value::Bool(true)),
            ("PIDs", Value::Numbers(vec![keeper.pid.unsigned_abs()])),
            ("DefaultDependencies", Value::Bool(false)),
            ("MemoryAccounting", Value::Bool(true)),
            ("CPUAccounting", Value::Bool(true)),
            ("TasksAccounting", Value::Bool(true)),
            (
                if v2 {
                    "IOAccounting"
                } else {
                    "BlockIOAccounting"
                },
                Value::Bool(true),
            ),
        ];
        all.extend(
            properties
                .iter()
                .map(|one| (one.name.as_str(), one.value.clone())),
        );
        all.extend(properties::of(resources, v2));
        let mut body = Writer::default();
        body.text(&self.unit);
        body.text("replace");
        body.properties(&all);
        // No further units.
        body.array(8, |_| {});
        bus.job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)?;
        Ok(keeper)
    }

    /// The group of a scope that was started, with its limits set.
    ///
    /// # Errors
    /// As for [`Parent::create`].
    pub fn group(&self, layout: &Layout, resources: &Resources) -> Result<Group, CgroupError> {
        let slice = self.slice_path().unwrap_or_default();
        Parent::open(layout, &slice)?.adopt(&self.unit, resources)
    }

    /// Tells systemd of changed limits. What it does not know of is nothing to tell.
    ///
    /// # Errors
    /// As for [`Scope::start`].
    pub fn set(&self, resources: &Resources, layout: &Layout) -> Result<(), SystemdError> {
        let all = properties::of(resources, layout.version() == 2);
        if all.is_empty() {
            return Ok(());
        }
        let mut body = Writer::default();
        body.text(&self.unit);
        // Until the unit ends, not longer.
        body.boolean(true);
        body.properties(&all);
        self.bus()?.manager("SetUnitProperties", "sba(sv)", body)?;
        Ok(())
    }

    /// Ends the scope, and forgets it if it failed. One that is gone is none.
    ///
    /// # Errors
    /// As for [`Scope::start`].
    pub fn stop(&self) -> Result<(), SystemdError> {
        let mut bus = self.bus()?;
        let mut body = Writer::default();
        body.text(&self.unit);
        body.text("replace");
        unless_gone(bus.job("StopUnit", "ss", body))?;
        let mut body = Writer::default();
        body.text(&self.unit);
        unless_gone(bus.manager("ResetFailedUnit", "s", body).map(|_| ()))
    }
}

/// Whether systemd takes the host down: it stops, restarts, or is switched off. False where systemd is not the host's first
/// process.
///
/// # Errors
/// systemd is there and does not answer, or its answer is not understood.
pub fn is_host_going_down() -> Result<bool, SystemdError> {
    match Bus::private() {
        // The word of `systemctl is-system-running`.
        Ok(mut bus) => Ok(bus.property("SystemState")? == "stopping"),
        Err(SystemdError::Connect { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn unless_gone(result: Result<(), SystemdError>) -> Result<(), SystemdError> {
    match result {
        Err(SystemdError::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => Ok(()),
        other => other,
    }
}

/// A process that does nothing until it is dropped.
#[derive(Debug)]
pub struct Keeper {
    pid: i32,
    pidfd: OwnedFd,
    /// It ends when this does.
    _held: OwnedFd,
}

impl Keeper {
    fn new() -> Result<Self, SystemdError> {
        let failed = |source| SystemdError::Keeper { source };
        let (mut reader, writer) = io::pipe().map_err(failed)?;
        match sys::fork::fork().map_err(failed)? {
            sys::fork::Forked::Child => {
                drop(writer);
                // Whatever ends the wait, the caller is gone or done.
                let _ = reader.read(&mut [0]);
                sys::process::exit(0)
            }
            sys::fork::Forked::Parent { pid } => {
                let pidfd = sys::process::pidfd_open(pid).map_err(|errno| failed(errno.into()))?;
                Ok(Self {
                    pid,
                    pidfd,
                    _held: writer.into(),
                })
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It is its parent's to wait for; killed it ends whatever it inherited of the pipe.
        let _ = sys::process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = sys::process::wait(self.pidfd.as_fd(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_three_parts_names_a_scope() {
        let path = |path: &str| Scope::parse(path, "box").map(|scope| scope.path());
        assert_eq!(path("").unwrap(), "system.slice/wharf-box.scope");
        assert_eq!(
            path("a-b.slice:docker:x").unwrap(),
            "a.slice/a-b.slice/docker-x.scope"
        );
        assert_eq!(path("-.slice::x").unwrap(), "x.scope");
        assert_eq!(path(":p:x").unwrap(), "system.slice/p-x.scope");
        for bad in [
            "/a",
            "a.slice:x",
            "a:b:c:d",
            "a.slice:b:",
            "a/b.slice:c:d",
            "a--b.slice:c:d",
        ] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert!(
            path("docker/x")
                .unwrap_err()
                .to_string()
                .contains("\"slice:prefix:name\"")
        );
    }

    #[test]
    fn properties_have_names_and_values() {
        let read = |name, text| Property::parse(name, text);
        assert_eq!(
            read("TimeoutStopSec", "5").unwrap(),
            Property {
                name: "TimeoutStopUSec".to_owned(),
                value: Value::Number(5_000_000),
            }
        );
        // No time, but a name that ends so.
        assert_eq!(read("ASec", "5").unwrap().name, "ASec");
        assert_eq!(
            read("TimeoutStopUSec", "uint64 5").unwrap().name,
            "TimeoutStopUSec"
        );
        for name in ["", "ab", "Collect-Mode", "Größe", "A.b"] {
            assert!(read(name, "1").unwrap_err().contains("no name"), "{name}");
        }
        assert!(
            read("TimeoutStopSec", "'5'")
                .unwrap_err()
                .contains("not a number")
        );
        assert!(
            read("CollectMode", "inactive")
                .unwrap_err()
                .contains("not understood")
        );
    }

    #[test]
    fn a_keeper_goes_with_its_value() {
        let keeper = Keeper::new().unwrap();
        let pid = keeper.pid;
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(keeper);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}

//! Capabilities, seccomp, resource limits, devices: what a container may do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use api_types::HostConfig;
use runtime::caps::{CapSet, Capability, host_bounding_set};
use runtime::plan::{CapSets, Rlimit, Seccomp};
use runtime::seccomp::{CompileEnv, Profile};

use crate::outcome::{EngineError, Result};

/// Docker's default capabilities.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The default set as bits.
fn default_caps() -> CapSet {
    DEFAULT
        .iter()
        .filter_map(|name| Capability::from_name(name))
        .fold(CapSet::EMPTY, CapSet::with)
}

/// The capabilities of a container: docker's default, less what is dropped, with what is added.
///
/// # Errors
/// Docker's sentence for a name that the kernel does not know.
pub(crate) fn capabilities(host: &HostConfig) -> Result<CapSet> {
    let parse = |field: &str, names: &Option<Vec<String>>| -> Result<(bool, CapSet)> {
        let mut all = false;
        let mut set = CapSet::EMPTY;
        for name in names.iter().flatten() {
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if bare == "ALL" {
                all = true;
                continue;
            }
            let capability = Capability::from_name(bare).ok_or_else(|| {
                EngineError::invalid(format!(
                    "invalid {field}: unknown capability: \"CAP_{bare}\""
                ))
            })?;
            set = set.with(capability);
        }
        Ok((all, set))
    };
    let (add_all, add) = parse("CapAdd", &host.cap_add)?;
    let (drop_all, drop) = parse("CapDrop", &host.cap_drop)?;
    if host.privileged {
        return Ok(host_bounding_set());
    }
    let base = match (add_all, drop_all) {
        (true, _) => drop.iter().fold(host_bounding_set(), CapSet::without),
        (false, true) => CapSet::EMPTY,
        (false, false) => drop.iter().fold(default_caps(), CapSet::without),
    };
    Ok(add.iter().fold(base, CapSet::with))
}

/// The five sets for a process of this user: others than root start with nothing effective.
pub(crate) fn sets(caps: CapSet, uid: u32) -> CapSets {
    let bits = caps.intersection(host_bounding_set()).bits();
    if uid == 0 {
        CapSets {
            bounding: bits,
            effective: bits,
            permitted: bits,
            inheritable: 0,
            ambient: 0,
        }
    } else {
        CapSets {
            bounding: bits,
            effective: 0,
            permitted: 0,
            inheritable: 0,
            ambient: 0,
        }
    }
}

/// What `--security-opt` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: SeccompChoice,
    /// Whether the container may write to its own control groups; `None` where a privileged one may.
    pub(crate) writable_cgroups: Option<bool>,
}

/// Which filter of system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum SeccompChoice {
    /// Docker's published profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in docker's JSON form.
    Json(String),
}

/// Reads the options.
///
/// # Errors
/// Docker's sentence for one that is malformed; AppArmor and SELinux settings mean nothing on a host without them, as in
/// docker ([`without_effect`] says so), and are refused on a host with them.
pub(crate) fn options(host: &HostConfig) -> Result<SecurityOptions> {
    let mut options = SecurityOptions::default();
    for option in host.security_opt.iter().flatten() {
        let invalid = || EngineError::invalid(format!("invalid --security-opt 2: \"{option}\""));
        let (name, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some(pair) => pair,
            None if matches!(option.as_str(), "no-new-privileges" | "writable-cgroups") => {
                (option.as_str(), "true")
            }
            None => return Err(invalid()),
        };
        match name {
            "no-new-privileges" => {
                options.no_new_privileges = truth(value).ok_or_else(invalid)?;
            }
            "seccomp" => {
                options.seccomp = match value {
                    "unconfined" => SeccompChoice::Unconfined,
                    "builtin" | "" => SeccompChoice::Default,
                    json => {
                        let profile = Profile::from_json(json)
                            .map_err(|error| EngineError::invalid(error.to_string()))?;
                        if profile.listener.is_some() {
                            return Err(EngineError::unsupported(
                                "a seccomp profile with a listenerPath",
                            ));
                        }
                        SeccompChoice::Json(json.to_owned())
                    }
                }
            }
            "apparmor" if value != "unconfined" && has_apparmor() => {
                return Err(EngineError::unsupported("the security option apparmor"));
            }
            "label" if value != "disable" && has_selinux() => {
                return Err(EngineError::unsupported("the security option label"));
            }
            "apparmor" | "label" => {}
            "systempaths" if value == "unconfined" => {
                return Err(EngineError::unsupported(
                    "the security option systempaths in this form: send empty MaskedPaths and ReadonlyPaths",
                ));
            }
            "writable-cgroups" => {
                options.writable_cgroups = Some(truth(value).ok_or_else(invalid)?);
            }
            _ => return Err(invalid()),
        }
    }
    Ok(options)
}

/// A truth value in the words that Go reads (`strconv.ParseBool`).
fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Some(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Whether the kernel enforces AppArmor profiles. Wharf loads none.
pub(crate) fn has_apparmor() -> bool {
    Path::new("/sys/kernel/security/apparmor").exists()
}

/// Whether an SELinux policy is loaded.
fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// A sentence for each option that was accepted and does nothing, because this host lacks what it is about.
pub(crate) fn without_effect(host: &HostConfig) -> Vec<String> {
    let system = |option: &String| {
        let (name, value) = option.split_once('=').or_else(|| option.split_once(':'))?;
        match (name, value) {
            ("apparmor", value) if value != "unconfined" && !has_apparmor() => Some("AppArmor"),
            ("label", value) if value != "disable" && !has_selinux() => Some("SELinux"),
            _ => None,
        }
    };
    let options = host.security_opt.iter().flatten();
    options
        .filter_map(|option| {
            let system = system(option)?;
            Some(format!(
                "The security option {option} has no effect: this host has no {system}."
            ))
        })
        .collect()
}

/// Filters that were compiled, by the capabilities that they depend on: the same few come again and again.
#[derive(Default)]
pub(crate) struct Filters {
    compiled: Mutex<Vec<(CapSet, Arc<Seccomp>)>>,
}

/// Kinds of containers whose default filter is remembered.
const REMEMBERED: usize = 16;

impl Filters {
    /// The filter of a container, or none.
    pub(crate) fn get(
        &self,
        choice: &SeccompChoice,
        privileged: bool,
        caps: CapSet,
    ) -> Result<Option<Arc<Seccomp>>> {
        match choice {
            SeccompChoice::Unconfined => Ok(None),
            SeccompChoice::Default if privileged => Ok(None),
            SeccompChoice::Json(json) => {
                let profile = Profile::from_json(json)
                    .map_err(|error| EngineError::invalid(error.to_string()))?;
                compile(&profile, caps).map(Some)
            }
            SeccompChoice::Default => {
                let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, filter)) = compiled.iter().find(|(known, _)| *known == caps) {
                    return Ok(Some(Arc::clone(filter)));
                }
                let filter = compile(&runtime::seccomp::default_profile(), caps)?;
                if compiled.len() == REMEMBERED {
                    compiled.remove(0);
                }
                compiled.push((caps, Arc::clone(&filter)));
                Ok(Some(filter))
            }
        }
    }
}

fn compile(profile: &Profile, caps: CapSet) -> Result<Arc<Seccomp>> {
    if profile.notifies() {
        return Err(EngineError::unsupported(
            "the seccomp action SCMP_ACT_NOTIFY",
        ));
    }
    let program = runtime::seccomp::compile(profile, &CompileEnv::host(caps))
        .map_err(|error| EngineError::invalid(error.to_string()))?;
    let program = program
        .into_iter()
        .map(|i| (i.code, i.jt, i.jf, i.k))
        .collect();
    Ok(Arc::new(Seccomp {
        program,
        flags: profile.flags,
    }))
}

/// `RLIMIT_*` numbers by docker's names.
const LIMITS: [(&str, u32); 15] = [
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

/// The resource limits that were asked for; -1 is none.
///
/// # Errors
/// Docker's sentence for an unknown name or a soft limit above the hard one.
pub(crate) fn rlimits(host: &HostConfig) -> Result<Vec<Rlimit>> {
    let mut limits = BTreeMap::new();
    for ulimit in host.ulimits.iter().flatten() {
        let resource = LIMITS
            .iter()
            .find(|(name, _)| *name == ulimit.name)
            .map(|(_, resource)| *resource)
            .ok_or_else(|| EngineError::invalid(format!("invalid ulimit type: {}", ulimit.name)))?;
        let value = |number: i64| {
            if number < 0 {
                u64::MAX
            } else {
                number.unsigned_abs()
            }
        };
        let (soft, hard) = (value(ulimit.soft), value(ulimit.hard));
        if soft > hard {
            return Err(EngineError::invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                ulimit.soft, ulimit.hard
            )));
        }
        limits.insert(
            resource,
            Rlimit {
                resource,
                soft,
                hard,
                explicit: true,
            },
        );
    }
    Ok(limits.into_values().collect())
}

/// Refuses explicit requests that this host can not meet: without CAP_SYS_RESOURCE nobody raises a hard limit or
/// lowers an OOM score.
pub(crate) fn check_privileges(host: &HostConfig) -> Result<()> {
    if host_bounding_set().contains(Capability::SYS_RESOURCE) {
        return Ok(());
    }
    let own = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    for limit in rlimits(host)? {
        let Some((name, _)) = LIMITS
            .iter()
            .find(|(_, resource)| *resource == limit.resource)
        else {
            continue;
        };
        let Some(most) = hard_limit(&own, name) else {
            continue;
        };
        if limit.hard > most {
            let wanted = if limit.hard == u64::MAX {
                "unlimited".to_owned()
            } else {
                limit.hard.to_string()
            };
            return Err(EngineError::invalid(format!(
                "ulimit {name}: a hard limit of {wanted} is above the engine's own ({most}), and raising it needs CAP_SYS_RESOURCE, which is missing here"
            )));
        }
    }
    let own_score = std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()
        .and_then(|text| text.trim().parse::<i64>().ok());
    match own_score {
        Some(own) if host.oom_score_adj < own && host.oom_score_adj != 0 => {
            Err(EngineError::invalid(format!(
                "oom score adj {}: a score below the engine's own ({own}) needs CAP_SYS_RESOURCE, which is missing here",
                host.oom_score_adj
            )))
        }
        _ => Ok(()),
    }
}

/// The hard limit in a text of the form of /proc/PID/limits; `None` where there is none or it is unlimited.
fn hard_limit(limits: &str, name: &str) -> Option<u64> {
    let title = match name {
        "core" => "Max core file size",
        "cpu" => "Max cpu time",
        "data" => "Max data size",
        "fsize" => "Max file size",
        "locks" => "Max file locks",
        "memlock" => "Max locked memory",
        "msgqueue" => "Max msgqueue size",
        "nice" => "Max nice priority",
        "nofile" => "Max open files",
        "nproc" => "Max processes",
        "rss" => "Max resident set",
        "rtprio" => "Max realtime priority",
        "rttime" => "Max realtime timeout",
        "sigpending" => "Max pending signals",
        "stack" => "Max stack size",
        _ => return None,
    };
    let line = limits.lines().find(|line| line.starts_with(title))?;
    line[title.len()..].split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_docker_does() {
        let caps = |add: &[&str], drop: &[&str]| {
            capabilities(&HostConfig {
                cap_add: names(add),
                cap_drop: names(drop),
                ..Default::default()
            })
            .unwrap()
        };
        let has = |set: CapSet, name: &str| set.contains(Capability::from_name(name).unwrap());
        assert_eq!(caps(&[], &[]).iter().count(), 14);
        assert!(has(caps(&["NET_ADMIN"], &[]), "NET_ADMIN"));
        assert!(!has(caps(&[], &["cap_chown"]), "CHOWN"));
        assert_eq!(caps(&["CHOWN"], &["ALL"]).iter().count(), 1);
        assert!(!has(caps(&["ALL"], &["KILL"]), "KILL"));
        let refused = capabilities(&HostConfig {
            cap_add: names(&["FLY"]),
            ..Default::default()
        })
        .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "invalid CapAdd: unknown capability: \"CAP_FLY\""
        );
    }

    #[test]
    fn security_options_are_read() {
        let read = |list: &[&str]| {
            options(&HostConfig {
                security_opt: names(list),
                ..Default::default()
            })
        };
        assert!(read(&["no-new-privileges"]).unwrap().no_new_privileges);
        assert!(read(&["no-new-privileges:true"]).unwrap().no_new_privileges);
        let writable = |option| read(&[option]).unwrap().writable_cgroups;
        assert_eq!(writable("no-new-privileges"), None);
        assert_eq!(writable("writable-cgroups=true"), Some(true));
        assert_eq!(writable("writable-cgroups"), Some(true));
        assert_eq!(writable("writable-cgroups=false"), Some(false));
        assert_eq!(
            read(&["writable-cgroups=potato"]).unwrap_err().to_string(),
            "invalid --security-opt 2: \"writable-cgroups=potato\""
        );
        assert_eq!(
            read(&["seccomp=unconfined"]).unwrap().seccomp,
            SeccompChoice::Unconfined
        );
        assert_eq!(
            read(&["bogus"]).unwrap_err().to_string(),
            "invalid --security-opt 2: \"bogus\""
        );
        assert!(read(&["seccomp={"]).is_err());
    }

    #[test]
    fn limits_are_read_by_name() {
        let ulimit = |name: &str, soft, hard| api_types::Ulimit {
            name: name.into(),
            soft,
            hard,
        };
        let limits = rlimits(&HostConfig {
            ulimits: Some(vec![ulimit("nofile", 10, -1)]),
            ..Default::default()
        })
        .unwrap();
        assert_eq!(
            (limits[0].resource, limits[0].soft, limits[0].hard),
            (libc::RLIMIT_NOFILE, 10, u64::MAX)
        );
        assert!(
            rlimits(&HostConfig {
                ulimits: Some(vec![ulimit("wings", 1, 1)]),
                ..Default::default()
            })
            .is_err()
        );
        assert!(
            rlimits(&HostConfig {
                ulimits: Some(vec![ulimit("core", 2, 1)]),
                ..Default::default()
            })
            .is_err()
        );
    }

    #[test]
    fn hard_limits_are_read_from_the_kernels_table() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 4096                 files     \n\
                    Max core file size        0                    unlimited            bytes     \n";
        assert_eq!(hard_limit(text, "nofile"), Some(4096));
        assert_eq!(hard_limit(text, "core"), None);
    }
}

//! The program, and who it runs as.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use runtime::caps::{CapSet, Capability, host_bounding_set};
use runtime::plan::{
    CapSets, MountKind, Plan, ProcessPlan, Rlimit, Scheduler, Seccomp, TargetKind,
};
use runtime::seccomp::{
    CompileEnv, FLAG_NEW_LISTENER, FLAG_TSYNC, FLAG_WAIT_KILLABLE_RECV, Listener, Profile,
};
use runtime::users;

use super::{check_process, labels, landlock, numa};
use crate::cli::is_nested;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::spec::{self, Process, Spec};

/// The largest passwd file that is read for a home folder.
const MAX_PASSWD: u64 = 1 << 20;

/// Limits that are lowered to what is allowed where they cannot be raised: engines ask for them without knowing the host.
const CLAMPED: [u32; 4] = [
    libc::RLIMIT_NOFILE,
    libc::RLIMIT_NPROC,
    libc::RLIMIT_MEMLOCK,
    libc::RLIMIT_CORE,
];

/// The first process of a container.
pub(super) fn compile(process: &Process, spec: &Spec, log: &Log) -> Result<ProcessPlan> {
    let seccomp = spec.linux().seccomp.as_ref().map(|seccomp| seccomp.get());
    let personality = personality(spec, log)?;
    let memory_policy = numa::policy(spec.linux().memory_policy.as_ref())?;
    Ok(ProcessPlan {
        personality,
        memory_policy,
        ..exec(process, seccomp, log, &|text| log.warning(text))?
    })
}

/// Any process; `seccomp` is the container's profile. `lowered` is told of limits that are not what the process asks for.
pub(crate) fn exec(
    process: &Process,
    seccomp: Option<&str>,
    log: &Log,
    lowered: &dyn Fn(&str),
) -> Result<ProcessPlan> {
    check_process(process)?;
    check_environment(process)?;
    affinity(process)?;
    let default_user = spec::User::default();
    let user = process.user.as_ref().unwrap_or(&default_user);
    let (uid, gid) = (user.uid.unwrap_or_default(), user.gid.unwrap_or_default());
    let groups = user.additional_gids.clone().unwrap_or_default();
    users::check_range(&[&[uid, gid], groups.as_slice()].concat())
        .map_err(|error| Error::Start(format!("unable to setup user: {error}")))?;
    let caps = capabilities(process, log)?;
    let bytes = |list: &Option<Vec<String>>| -> Vec<Vec<u8>> {
        let items = list.iter().flatten();
        items.map(|item| item.clone().into_bytes()).collect()
    };
    Ok(ProcessPlan {
        args: bytes(&process.args),
        env: environment(process.env.as_deref().unwrap_or_default()),
        cwd: super::mounts::clean(process.cwd.as_deref().unwrap_or_default()),
        create_cwd: true,
        uid,
        gid,
        groups,
        umask: user.umask,
        rlimits: rlimits(process, lowered)?,
        oom_score_adj: process.oom_score_adj.map(|value| (value, true)),
        caps,
        no_new_privs: process.no_new_privileges == Some(true),
        labels: labels::compile(process)?,
        landlock: landlock::compile(process.landlock.as_ref())?,
        seccomp: seccomp
            .map(|text| filter(text, CapSet::from_bits(caps.bounding)))
            .transpose()?,
        scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
        io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
        die_with_parent: false,
        ..ProcessPlan::default()
    })
}

/// Variables have a name and a value; the words are runc's.
fn check_environment(process: &Process) -> Result<()> {
    let mut ends = process.env.iter().flatten().map(|one| one.find('='));
    let wrong = ends.find_map(|end| match end {
        None => Some("missing '='"),
        Some(0) => Some("name cannot be empty"),
        Some(_) => None,
    });
    match wrong {
        Some(why) => Err(Error::Start(format!("invalid environment variable: {why}"))),
        None => Ok(()),
    }
}

/// Processors of a further process: before it enters the container's groups, and after.
pub(crate) fn affinity(process: &Process) -> Result<[Option<Vec<u8>>; 2]> {
    let set = |name: &str, list: &Option<String>| match list.as_deref().unwrap_or_default() {
        "" => Ok(None),
        list => processors(list).map(Some).ok_or_else(|| {
            let field = format!("process.execCPUAffinity.{name}");
            Error::field(field, format!("{list:?} is no list of processors"))
        }),
    };
    match &process.exec_cpu_affinity {
        None => Ok([None, None]),
        Some(asked) => Ok([set("initial", &asked.initial)?, set("final", &asked.last)?]),
    }
}

/// More processors than a kernel may be built for.
const MAX_PROCESSORS: usize = 8192;

/// A bit for each processor of a list such as `0-3,7`.
fn processors(list: &str) -> Option<Vec<u8>> {
    let mut set = vec![0u8; MAX_PROCESSORS / 8];
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        for processor in first..=last {
            *set.get_mut(processor / 8)? |= 1 << (processor % 8);
        }
    }
    Some(set)
}

pub(super) fn console_size(process: &Process) -> Option<(u16, u16)> {
    let size = process.console_size.as_ref()?;
    let (rows, columns) = (size.height.unwrap_or(0), size.width.unwrap_or(0));
    (rows != 0 || columns != 0).then_some((rows, columns))
}

/// The five sets, without what the host cannot give.
fn capabilities(process: &Process, log: &Log) -> Result<CapSets> {
    let none = spec::Capabilities::default();
    let asked = process.capabilities.as_ref().unwrap_or(&none);
    let host = host_bounding_set();
    let mut lacking: Vec<String> = Vec::new();
    let mut set = |list: &Option<Vec<String>>| -> u64 {
        let known = list.iter().flatten().filter_map(|name| {
            let found = Capability::from_name(name).filter(|found| host.contains(*found));
            if found.is_none() && !lacking.contains(name) {
                lacking.push(name.clone());
            }
            found
        });
        known.collect::<CapSet>().bits()
    };
    let mut sets = CapSets {
        bounding: set(&asked.bounding),
        effective: set(&asked.effective),
        permitted: set(&asked.permitted),
        inheritable: set(&asked.inheritable),
        ambient: set(&asked.ambient),
    };
    // The kernel lets a process keep only what it also hands down.
    let kept = sets.ambient & sets.permitted & sets.inheritable;
    for cap in CapSet::from_bits(sets.ambient & !kept).iter() {
        log.warning(&format!(
            "can't raise ambient capability {cap}: it is not permitted and inheritable"
        ));
    }
    sets.ambient = kept;
    if !lacking.is_empty() {
        lacking.sort_unstable();
        log.warning(&format!(
            "ignoring unknown or unavailable capabilities: [{}]",
            lacking.join(" ")
        ));
    }
    Ok(sets)
}

fn filter(text: &str, caps: CapSet) -> Result<Seccomp> {
    let profile = Profile::from_json(text)?;
    let program = runtime::seccomp::compile(&profile, &CompileEnv::host(caps))?;
    Ok(Seccomp {
        program: program
            .iter()
            .map(|one| (one.code, one.jt, one.jf, one.k))
            .collect(),
        flags: match profile.notifies() {
            // The kernel takes them together for a process of several threads alone.
            true => profile.flags & !FLAG_TSYNC | FLAG_NEW_LISTENER,
            false => profile.flags & !FLAG_WAIT_KILLABLE_RECV,
        },
    })
}

/// The filter of hooks that run where the program will; none by a profile that asks a listener, which has one process.
pub(crate) fn filter_of_hooks(text: &str, caps: u64) -> Result<Option<Seccomp>> {
    if Profile::from_json(text)?.notifies() {
        return Ok(None);
    }
    filter(text, CapSet::from_bits(caps)).map(Some)
}

/// Who answers for a profile that asks.
pub(crate) fn listener(seccomp: Option<&str>) -> Result<Option<Listener>> {
    let profile = seccomp.map(Profile::from_json).transpose()?;
    Ok(profile
        .filter(Profile::notifies)
        .and_then(|profile| profile.listener))
}

fn rlimits(process: &Process, lowered: &dyn Fn(&str)) -> Result<Vec<Rlimit>> {
    let mut limits: Vec<Rlimit> = Vec::new();
    let mut clamped = Vec::new();
    for (index, limit) in process.rlimits.iter().flatten().enumerate() {
        let name = limit.kind.as_deref().unwrap_or_default();
        let field = format!("process.rlimits[{index}].type");
        let Some(resource) = resource(name) else {
            return Err(Error::field(field, format!("{name:?} is no limit")));
        };
        if limits.iter().any(|other| other.resource == resource) {
            return Err(Error::field(field, format!("{name} is set twice")));
        }
        let (soft, hard) = (limit.soft.unwrap_or(0), limit.hard.unwrap_or(0));
        let explicit = !CLAMPED.contains(&resource);
        let most = if explicit { u64::MAX } else { most(resource) };
        if hard > most {
            clamped.push(name);
        }
        limits.push(Rlimit {
            resource,
            soft: soft.min(most),
            hard: hard.min(most),
            explicit,
        });
    }
    if !clamped.is_empty() {
        lowered(&format!(
            "limits above what is allowed here (the hard limit without CAP_SYS_RESOURCE, fs.nr_open with it) are lowered to it: {}",
            clamped.join(", ")
        ));
    }
    Ok(limits)
}

/// The highest that a limit can be set to.
fn most(resource: u32) -> u64 {
    if !may_raise() {
        return sys::process::limit(resource).map_or(u64::MAX, |own| own.1);
    }
    if resource != libc::RLIMIT_NOFILE {
        return u64::MAX;
    }
    let text = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap_or_default();
    text.trim().parse().unwrap_or(u64::MAX)
}

fn may_raise() -> bool {
    // The kernel asks for the right over the host.
    let effective = sys::process::capabilities().map_or(0, |own| own.effective);
    CapSet::from_bits(effective).contains(Capability::SYS_RESOURCE) && !is_nested()
}

fn resource(name: &str) -> Option<u32> {
    Some(match name {
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        _ => return None,
    })
}

fn scheduler(asked: &spec::Scheduler) -> Result<Scheduler> {
    let policy = match asked.policy.as_deref().unwrap_or_default() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => {
            let why = format!("{other:?} is no policy");
            return Err(Error::field("process.scheduler.policy", why));
        }
    };
    let mut flags = 0;
    for word in asked.flags.iter().flatten() {
        flags |= match word.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            other => {
                let why = format!("{other:?} is no flag");
                return Err(Error::field("process.scheduler.flags", why));
            }
        };
    }
    let priority = asked.priority.unwrap_or_default();
    Ok(Scheduler {
        policy,
        flags,
        nice: asked.nice.unwrap_or_default(),
        priority: u32::try_from(priority).map_err(|_| {
            Error::field(
                "process.scheduler.priority",
                format!("{priority} is negative"),
            )
        })?,
        runtime: asked.runtime.unwrap_or_default(),
        deadline: asked.deadline.unwrap_or_default(),
        period: asked.period.unwrap_or_default(),
    })
}

fn io_priority(asked: &spec::IoPriority) -> Result<u32> {
    let class = match asked.class.as_deref().unwrap_or_default() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => {
            let why = format!("{other:?} is no class");
            return Err(Error::field("process.ioPriority.class", why));
        }
    };
    let level = asked.priority.unwrap_or_default();
    match u32::try_from(level) {
        Ok(level @ 0..=7) => Ok(class << 13 | level),
        _ => Err(Error::field(
            "process.ioPriority.priority",
            format!("{level} is not from 0 to 7"),
        )),
    }
}

/// What personality(2) can add to an execution domain, by its names there (`linux/personality.h`).
const PERSONALITY_FLAGS: [(&str, u32); 11] = [
    ("UNAME26", 0x002_0000),
    ("ADDR_NO_RANDOMIZE", 0x004_0000),
    ("FDPIC_FUNCPTRS", 0x008_0000),
    ("MMAP_PAGE_ZERO", 0x010_0000),
    ("ADDR_COMPAT_LAYOUT", 0x020_0000),
    ("READ_IMPLIES_EXEC", 0x040_0000),
    ("ADDR_LIMIT_32BIT", 0x080_0000),
    ("SHORT_INODE", 0x100_0000),
    ("WHOLE_SECONDS", 0x200_0000),
    ("STICKY_TIMEOUTS", 0x400_0000),
    ("ADDR_LIMIT_3GB", 0x800_0000),
];

/// The specification knows of no flags yet, and runc passes over all; the kernel's own names are taken here.
fn personality(spec: &Spec, log: &Log) -> Result<Option<u32>> {
    let Some(asked) = &spec.linux().personality else {
        return Ok(None);
    };
    let domain = match asked.domain.as_deref().unwrap_or_default() {
        "LINUX" => 0,
        "LINUX32" => 8,
        other => {
            return Err(Error::field(
                "linux.personality.domain",
                format!("{other:?} is no execution domain"),
            ));
        }
    };
    let flags = asked.flags.iter().flatten();
    Ok(Some(flags.fold(domain, |all, flag| {
        match PERSONALITY_FLAGS.iter().find(|(name, _)| name == flag) {
            Some((_, bit)) => all | bit,
            None => {
                log.warning(&format!("ignoring unknown personality flag {flag:?}"));
                all
            }
        }
    })))
}

/// Adds HOME by the container's passwd where the environment has none.
pub(super) fn add_home(plan: &mut Plan, rootfs: &Path) {
    if has_home(&plan.process.env) {
        return;
    }
    let bound = plan
        .mounts
        .iter()
        .rev()
        .find_map(|mount| match &mount.kind {
            MountKind::Bind { source, .. }
                if mount.target == "/etc/passwd" && mount.create_target == TargetKind::File =>
            {
                Some(source)
            }
            _ => None,
        });
    let passwd = match bound {
        // Of what is no regular file, as of a device without an end, nothing is read.
        Some(source) => read_below(Path::new("/"), source),
        None => read_below(rootfs, "/etc/passwd"),
    };
    set_home(&mut plan.process, &passwd.unwrap_or_default());
}

/// The text of a file below a folder.
fn read_below(folder: &Path, path: &str) -> Option<String> {
    let folder = File::open(folder).ok()?;
    let root = sys::beneath::Root::new(folder.as_fd());
    root.read_to_string(path, MAX_PASSWD).ok()
}

fn has_home(env: &[Vec<u8>]) -> bool {
    env.iter().any(|entry| {
        entry
            .strip_prefix(b"HOME=")
            .is_some_and(|home| !home.is_empty())
    })
}

/// Adds HOME by the passwd of the container that process `pid` is in, where the environment has none.
pub(crate) fn add_home_within(process: &mut ProcessPlan, pid: i32) {
    let passwd = File::open(format!("/proc/{pid}/root")).and_then(|folder| {
        let root = sys::beneath::Root::new(folder.as_fd());
        root.read_to_string("/etc/passwd", MAX_PASSWD)
    });
    set_home(process, &passwd.unwrap_or_default());
}

/// Variables by name, the last of each: that of a program which looks from the front is then that of one which looks from
/// the back.
pub(crate) fn environment(variables: &[String]) -> Vec<Vec<u8>> {
    let mut names = std::collections::HashSet::new();
    let mut kept: Vec<&String> = variables
        .iter()
        .rev()
        .filter(|variable| {
            let name = variable.split_once('=').map(|(name, _)| name);
            name.is_none_or(|name| names.insert(name))
        })
        .collect();
    kept.reverse();
    kept.into_iter()
        .map(|variable| variable.clone().into_bytes())
        .collect()
}

/// Adds HOME by the text of a passwd file where the environment has none.
fn set_home(process: &mut ProcessPlan, passwd: &str) {
    if has_home(&process.env) {
        return;
    }
    let user = users::resolve(&process.uid.to_string(), &[], passwd, "");
    let home = user.map_or("/".to_owned(), |user| user.home);
    process.env.retain(|entry| !entry.starts_with(b"HOME="));
    process.env.push(format!("HOME={home}").into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_that_of_the_user() {
        let mut process = ProcessPlan {
            uid: 7,
            env: vec![b"HOME=".to_vec()],
            ..ProcessPlan::default()
        };
        set_home(
            &mut process,
            "root:x:0:0::/root:\nseven:x:7:7::/home/seven:\n",
        );
        assert_eq!(process.env, [b"HOME=/home/seven".to_vec()]);
        set_home(&mut process, "");
        assert_eq!(process.env, [b"HOME=/home/seven".to_vec()]);
        let mut process = ProcessPlan::default();
        set_home(&mut process, "");
        assert_eq!(process.env, [b"HOME=/".to_vec()]);
    }

    #[test]
    fn the_last_of_a_variables_values_counts() {
        let list = [
            "ONE=1", "HOME=/a", "TWO=2", "ONE=", "alone", "HOME=", "alone",
        ];
        let told = environment(&list.map(str::to_owned));
        let told: Vec<_> = told
            .iter()
            .map(|one| std::str::from_utf8(one).unwrap())
            .collect();
        assert_eq!(told, ["TWO=2", "ONE=", "alone", "HOME=", "alone"]);
    }

    #[test]
    fn lists_of_processors_are_read() {
        let set = |list| processors(list).map(|set| (set[0], set[1]));
        assert_eq!(set("0-2,9"), Some((0b111, 0b10)));
        assert_eq!(set("7"), Some((0x80, 0)));
        for wrong in ["", "a", "3-1", "1,", "8192", "0-99999999999"] {
            assert_eq!(processors(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn limits_are_told_apart() {
        let limit = |kind: &str| spec::Rlimit {
            kind: Some(kind.to_owned()),
            soft: Some(1),
            hard: Some(2),
        };
        let with = |limits: Vec<spec::Rlimit>| Process {
            rlimits: Some(limits),
            ..Process::default()
        };
        let lowered = |_: &str| ();
        let read = rlimits(
            &with(vec![limit("RLIMIT_NOFILE"), limit("RLIMIT_CPU")]),
            &lowered,
        )
        .unwrap();
        assert!(!read[0].explicit && read[1].explicit);
        let twice = with(vec![limit("RLIMIT_CPU"), limit("RLIMIT_CPU")]);
        assert!(
            rlimits(&twice, &lowered)
                .unwrap_err()
                .to_string()
                .contains("[1].type")
        );
        assert!(rlimits(&with(vec![limit("RLIMIT_X")]), &lowered).is_err());
    }
}

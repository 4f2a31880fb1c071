//! What stopped a process on its way to its program.
//!
//! A fault is data: the step, the kernel's error number and which of several things it was. The child writes it
//! without allocating; only the caller, who has the plan, makes a sentence of it.

use rustix::io::Errno;

use crate::plan::{MountEntry, MountKind, Plan, ProcessPlan};
use crate::procfs;

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The steps at which a start can stop, in about their order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Step {
            $($(#[$doc])* $name = $number,)*
        }

        impl Step {
            /// All steps.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

steps! {
    /// The caller's preparations: the channel, sources of bind mounts.
    Prepare = 1,
    /// Opening the source of a bind mount; the index is the mount's.
    MountSource = 2,
    /// Opening the root folder.
    RootSource = 3,
    /// Entering the pid namespace.
    PidNamespace = 4,
    /// Making the process and its namespaces.
    Clone = 5,
    /// Writing the maps of a user namespace; the index is 1 for newuidmap, 2 for newgidmap.
    IdMaps = 6,
    /// The channel to the caller.
    Channel = 7,
    /// Entering a cgroup; the index is that of the `tasks` file.
    Cgroup = 8,
    /// Joining a namespace; the index is its `CLONE_NEW*` flag.
    JoinNamespace = 9,
    /// Making the cgroup namespace.
    CgroupNamespace = 10,
    /// Becoming root of the user namespace.
    NamespaceRoot = 11,
    /// Leading a session.
    Session = 12,
    /// Making the caller's mounts slaves, so that nothing of ours reaches them.
    Isolate = 13,
    /// Putting the root mount in place.
    Root = 14,
    /// Configuring or making a file system; the index is the mount's.
    MountFilesystem = 15,
    /// Finding or making the target of a mount; the index is the mount's.
    MountTarget = 16,
    /// Attaching a mount; the index is the mount's.
    MountAttach = 17,
    /// Setting attributes or propagation of a mount; the index is the mount's.
    MountAttributes = 18,
    /// Making a device node; the index is the device's.
    Device = 19,
    /// Making a link; the index is the link's.
    Link = 20,
    /// Opening a terminal.
    Terminal = 21,
    /// Mounting the terminal at /dev/console.
    Console = 22,
    /// Setting a kernel parameter; the index is the parameter's.
    Sysctl = 23,
    /// Hiding a path; the index is the path's.
    Mask = 24,
    /// Making a path read-only; the index is the path's.
    ReadOnlyPath = 25,
    /// Making the root read-only.
    RootReadOnly = 26,
    /// Setting the host name.
    HostName = 27,
    /// Setting the domain name.
    DomainName = 28,
    /// Making or entering the working folder.
    WorkingFolder = 29,
    /// Setting a resource limit; the index is the limit's.
    Limit = 30,
    /// Setting the inclination to be killed.
    OomScore = 31,
    /// Scheduling policy, i/o priority or execution domain.
    Scheduling = 32,
    /// Joining a session keyring.
    Keyring = 33,
    /// Opening or placing standard input, output or error; the index is the descriptor.
    Stdio = 34,
    /// Setting supplementary groups.
    Groups = 35,
    /// Setting the group.
    Group = 36,
    /// Setting the user.
    User = 37,
    /// Dropping a capability from the bounding set; the index is its number.
    Bounding = 38,
    /// Setting the capability sets.
    Capabilities = 39,
    /// Raising an ambient capability; the index is its number.
    Ambient = 40,
    /// Setting no_new_privs.
    NoNewPrivileges = 41,
    /// Loading the seccomp filter.
    Seccomp = 42,
    /// Asking for a signal at the parent's end.
    ParentDeath = 43,
    /// Signal dispositions and descriptors.
    Cleanup = 44,
    /// Starting the program below our process 1.
    Init = 45,
    /// The program's name has no slash and no folder of PATH has such a program.
    Lookup = 46,
    /// The program's path cannot be looked at.
    Stat = 47,
    /// The program's path is a folder.
    IsDirectory = 48,
    /// The program may not be executed by this user.
    NotExecutable = 49,
    /// The kernel refuses the program.
    Execute = 50,
    /// Waiting at the gate for the word to start.
    Gate = 51,
    /// Making the time namespace, or setting its clocks.
    TimeNamespace = 53,
    /// Showing a bind mount's files as other users'; the index is the mount's.
    MountIds = 54,
    /// Telling security modules of the program; the index is the label's.
    Label = 55,
    /// Setting the processors to run on.
    Affinity = 56,
    /// Choosing the nodes that memory comes from.
    MemoryPolicy = 57,
    /// Giving up rights; the index is the path's, and their number where it is none of them.
    Landlock = 58,
    /// An option that the file system refuses; the index is the mount's, and above its 16 bits the option's.
    MountOption = 59,
    /// A mount would hide a part of the container's procfs, or all of it; the index is the mount's.
    ProcSafety = 52,
}

/// What stopped a process on its way to its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{step:?} ({index}): {}", words(*.errno))]
pub struct Fault {
    /// At which step.
    pub step: Step,
    /// The kernel's answer.
    pub errno: i32,
    /// Which of several; see [`Step`].
    pub index: u32,
}

/// The index of [`Step::MountOption`]: the mount's, and above its 16 bits the option's.
pub(crate) const fn option_index(mount: usize, option: usize) -> usize {
    option << 16 | mount & 0xffff
}

/// Length of a fault in the channel.
pub(crate) const RECORD: usize = 11;
/// First byte of a fault in the channel.
pub(crate) const TAG: u8 = b'F';

impl Fault {
    /// A fault at a step that knows only one thing.
    pub(crate) const fn new(step: Step, errno: Errno) -> Self {
        Self::indexed(step, 0, errno)
    }

    pub(crate) const fn indexed(step: Step, index: u32, errno: Errno) -> Self {
        Self {
            step,
            errno: errno.raw_os_error(),
            index,
        }
    }

    /// The fault's bytes in the channel.
    pub(crate) fn record(&self) -> [u8; RECORD] {
        let mut bytes = [TAG; RECORD];
        let fields = (self.step as u16).to_le_bytes().into_iter();
        let fields = fields
            .chain(self.errno.to_le_bytes())
            .chain(self.index.to_le_bytes());
        for (place, byte) in bytes.iter_mut().skip(1).zip(fields) {
            *place = byte;
        }
        bytes
    }

    /// Reads what [`Fault::record`] made.
    pub(crate) fn from_record(bytes: &[u8]) -> Option<Self> {
        let [TAG, s0, s1, e0, e1, e2, e3, i0, i1, i2, i3] = *bytes else {
            return None;
        };
        let number = u16::from_le_bytes([s0, s1]);
        Some(Self {
            step: Step::ALL
                .iter()
                .copied()
                .find(|step| *step as u16 == number)?,
            errno: i32::from_le_bytes([e0, e1, e2, e3]),
            index: u32::from_le_bytes([i0, i1, i2, i3]),
        })
    }

    /// The exit status that Docker's daemon gives a container or exec for it: 126 where something may not be executed
    /// or entered, 127 for what is not there or no folder, 128 for everything else. (The daemon looks for the kernel's
    /// words in the runtime's sentence, at whatever step: `setExitCodeFromError` in moby's daemon/errors.go.)
    pub fn exit_code(&self) -> i32 {
        match (self.step, self.errno) {
            (Step::Lookup, _) => 127,
            (_, libc::EACCES | libc::EISDIR) => 126,
            (_, libc::ENOENT | libc::ENOTDIR) => 127,
            _ => 128,
        }
    }

    /// The core of the sentence that clients see, in the words that Docker's tools look for.
    pub fn describe(&self, plan: &Plan) -> String {
        let index = self.index as usize;
        let why = words(self.errno);
        match self.step {
            Step::MountSource
            | Step::MountFilesystem
            | Step::MountTarget
            | Step::MountAttach
            | Step::MountAttributes
            | Step::MountIds
            | Step::ProcSafety => match plan.mounts.get(index) {
                Some(mount) => self.describe_mount(mount),
                None => format!("error mounting: {why}"),
            },
            Step::MountOption => match plan.mounts.get(index & 0xffff) {
                Some(mount) => self.describe_mount(mount),
                None => format!("error mounting: {why}"),
            },
            Step::Device => {
                let path = plan.devices.get(index).map_or("", |device| &device.path);
                format!("error creating device nodes: {path}: {why}")
            }
            Step::Link => {
                let path = plan.links.get(index).map_or("", |(_, path)| path);
                format!("error creating symbolic link {path}: {why}")
            }
            Step::Sysctl => {
                let name = plan.sysctls.get(index).map_or("", |(name, _)| name);
                format!("write sysctl key {name}: {why}")
            }
            Step::Mask => {
                let path = plan.masked.get(index).map_or("", String::as_str);
                format!("can't mask path {path:?}: {why}")
            }
            Step::ReadOnlyPath => {
                let path = plan.readonly.get(index).map_or("", String::as_str);
                format!("can't make {path:?} read-only: {why}")
            }
            Step::HostName => format!("sethostname: {why}"),
            Step::DomainName => format!("setdomainname: {why}"),
            _ => self.describe_process(&plan.process),
        }
    }

    /// As [`Fault::describe`], for a process that joins a container.
    pub fn describe_process(&self, process: &ProcessPlan) -> String {
        let why = words(self.errno);
        let program = process
            .args
            .first()
            .map_or(String::new(), |arg| quoted(arg));
        let plain = process
            .args
            .first()
            .map_or(String::new(), |arg| String::from_utf8_lossy(arg).into());
        let index = self.index;
        match self.step {
            Step::Lookup => format!("exec: {program}: executable file not found in $PATH"),
            Step::Stat => format!("exec: {program}: stat {plain}: {why}"),
            Step::IsDirectory | Step::NotExecutable => format!("exec: {program}: {why}"),
            Step::Execute => format!("exec {plain}: {why}"),
            Step::WorkingFolder => {
                format!(
                    "chdir to cwd ({:?}) set in config.json failed: {why}",
                    process.cwd
                )
            }
            Step::Limit => {
                let resource = process
                    .rlimits
                    .get(index as usize)
                    .map_or(0, |limit| limit.resource);
                format!("error setting rlimit type {resource}: {why}")
            }
            Step::Landlock => {
                let rules = process.landlock.as_ref();
                match rules.and_then(|rules| rules.paths.get(index as usize)) {
                    Some((path, _)) => format!("error applying Landlock to {path:?}: {why}"),
                    None => format!("error applying Landlock: {why}"),
                }
            }
            Step::OomScore => format!("error writing oom_score_adj: {why}"),
            Step::Cgroup => format!("error entering the container's cgroup: {why}"),
            Step::Label => {
                let labels = process.labels.get(index as usize);
                let (file, label) = labels.map_or(("", ""), |(file, label)| (file, label));
                format!("writing {label:?} to /proc/self/attr/{file}: {why}")
            }
            Step::IdMaps if index > 0 => {
                let (helper, ids) = if index == 1 {
                    ("newuidmap", "/etc/subuid")
                } else {
                    ("newgidmap", "/etc/subgid")
                };
                format!("writing the user namespace's id maps by {helper}, which asks {ids}: {why}")
            }
            Step::User => format!("setuid {}: {why}", process.uid),
            Step::Group => format!("setgid {}: {why}", process.gid),
            Step::Groups => format!("setgroups: {why}"),
            Step::Bounding | Step::Ambient | Step::Capabilities => {
                format!("unable to apply caps: {why}")
            }
            Step::Seccomp => format!("unable to init seccomp: {why}"),
            Step::JoinNamespace => format!("joining a {} namespace: {why}", namespace(index)),
            step => format!("{}: {why}", phrase(step)),
        }
    }

    fn describe_mount(&self, mount: &MountEntry) -> String {
        let why = words(self.errno);
        let source = match &mount.kind {
            MountKind::Fs { fstype, source, .. } if source.is_empty() => fstype,
            // The caller's own has no path; the target says which it is.
            MountKind::Detached { source, .. } if source.is_empty() => &mount.target,
            MountKind::Remount { .. } => &mount.target,
            MountKind::Fs { source, .. }
            | MountKind::Bind { source, .. }
            | MountKind::Copy { source, .. }
            | MountKind::Detached { source, .. } => source,
        };
        let target = &mount.target;
        match self.step {
            Step::MountSource => {
                format!("error mounting {source:?} to rootfs at {target:?}: stat {source}: {why}")
            }
            Step::MountTarget => format!(
                "error mounting {source:?} to rootfs at {target:?}: create mountpoint for {target} mount: {why}"
            ),
            Step::MountIds => format!(
                "error mounting {source:?} to rootfs at {target:?}: failed to set MOUNT_ATTR_IDMAP on {source}: {why}"
            ),
            Step::ProcSafety if self.errno == libc::ELOOP => format!(
                "error mounting {source:?} to rootfs at {target:?}: filesystem {source:?} must be mounted on ordinary directory"
            ),
            Step::ProcSafety => format!(
                "error mounting {source:?} to rootfs at {target:?}: create mountpoint for {target} mount: check proc-safety of {target} mount: {}",
                procfs::refusal(target)
            ),
            Step::MountAttributes
                if self.errno == libc::EINVAL
                    && matches!(mount.kind, MountKind::Remount { .. }) =>
            {
                format!(
                    "error mounting {target:?} to rootfs at {target:?}: remount {target}: nothing is mounted there: {why}"
                )
            }
            _ => format!(
                "error mounting {source:?} to rootfs at {target:?}: mount {source}:{target}{}: {why}",
                self.data(mount)
            ),
        }
    }

    /// The option that was refused, or all where any may have been: as runc tells them.
    fn data(&self, mount: &MountEntry) -> String {
        let options = match &mount.kind {
            MountKind::Fs { options, .. } | MountKind::Remount { options } => options.as_slice(),
            _ => &[],
        };
        let options = match self.step {
            Step::MountFilesystem if self.errno == libc::EINVAL => options,
            Step::MountOption => {
                let at = (self.index >> 16) as usize;
                options.get(at..=at).unwrap_or_default()
            }
            _ => &[],
        };
        let words = options.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        });
        match words.collect::<Vec<_>>().join(",").as_str() {
            "" => String::new(),
            words => format!(", data: {words}"),
        }
    }
}

/// The words for steps that name nothing of the plan.
fn phrase(step: Step) -> &'static str {
    match step {
        Step::Prepare => "preparing the start",
        Step::RootSource => "opening the root folder",
        Step::PidNamespace => "joining a pid namespace",
        Step::Clone => "unable to create new parent process: clone",
        Step::IdMaps => "writing the user namespace's id maps",
        Step::Channel => "talking to the new process",
        Step::CgroupNamespace => "unable to unshare the cgroup namespace",
        Step::NamespaceRoot => "becoming root of the user namespace",
        Step::Session => "setsid",
        Step::Isolate => "making the mounts of the caller slaves",
        Step::Root => "error preparing rootfs: pivot_root",
        Step::Terminal => "opening a terminal in the container's devpts",
        Step::Console => "error creating /dev/console",
        Step::RootReadOnly => "making the root read-only",
        Step::Scheduling => "error setting the scheduling policy",
        Step::MemoryPolicy => "error setting the memory policy",
        Step::Landlock => "error applying Landlock",
        Step::Label => "writing a label",
        Step::Affinity => "error setting the CPU affinity",
        Step::Keyring => "unable to join session keyring",
        Step::Stdio => "opening standard streams",
        Step::NoNewPrivileges => "prctl(PR_SET_NO_NEW_PRIVS)",
        Step::ParentDeath => "prctl(PR_SET_PDEATHSIG)",
        Step::Cleanup => "closing descriptors before the program",
        Step::TimeNamespace => "making the time namespace",
        Step::Gate => "waiting for the start",
        Step::Init => "starting the program below the container's init",
        // Described with what the plan says about them, before this is asked.
        Step::MountSource
        | Step::MountFilesystem
        | Step::MountTarget
        | Step::MountAttach
        | Step::MountAttributes
        | Step::MountIds
        | Step::MountOption
        | Step::ProcSafety => "error mounting",
        Step::Device => "error creating device nodes",
        Step::Link => "error creating a symbolic link",
        Step::Sysctl => "write sysctl key",
        Step::Mask => "can't mask path",
        Step::ReadOnlyPath => "can't make a path read-only",
        Step::HostName => "sethostname",
        Step::DomainName => "setdomainname",
        Step::WorkingFolder => "chdir to cwd",
        Step::Limit => "error setting rlimits",
        Step::OomScore => "error writing oom_score_adj",
        Step::Cgroup => "entering a cgroup",
        Step::JoinNamespace => "joining a namespace",
        Step::Groups => "setgroups",
        Step::Group => "setgid",
        Step::User => "setuid",
        Step::Bounding | Step::Capabilities | Step::Ambient => "unable to apply caps",
        Step::Seccomp => "unable to init seccomp",
        Step::Lookup | Step::Stat | Step::IsDirectory | Step::NotExecutable | Step::Execute => {
            "exec"
        }
    }
}

fn namespace(flag: u32) -> &'static str {
    match flag as i32 {
        libc::CLONE_NEWNET => "network",
        libc::CLONE_NEWIPC => "ipc",
        libc::CLONE_NEWUTS => "uts",
        libc::CLONE_NEWNS => "mount",
        libc::CLONE_NEWUSER => "user",
        libc::CLONE_NEWCGROUP => "cgroup",
        libc::CLONE_NEWPID => "pid",
        _ => "container's",
    }
}

/// A program's name between quotes, as Go's %q prints it for what names consist of.
fn quoted(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}

/// The C library's words for an error number, beginning with a small letter as Go prints them.
pub fn words(errno: i32) -> String {
    let full = std::io::Error::from_raw_os_error(errno).to_string();
    let text = full.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.starts_with("RFS") => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_survives_the_channel_and_has_words() {
        for (index, step) in Step::ALL.iter().enumerate() {
            let fault = Fault::indexed(*step, index as u32, Errno::PERM);
            assert_eq!(Fault::from_record(&fault.record()), Some(fault));
            let sentence = fault.describe(&Plan::default());
            let ends = sentence.ends_with("operation not permitted") || *step == Step::Lookup;
            assert!(ends && sentence.len() > 25, "{sentence}");
        }
        assert_eq!(Fault::from_record(b"F"), None);
        assert_eq!(
            Fault::from_record(&[TAG, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
            None
        );
    }

    #[test]
    fn programs_are_described_as_docker_does() {
        let plan = |name: &str| Plan {
            process: ProcessPlan {
                args: vec![name.into()],
                ..Default::default()
            },
            ..Default::default()
        };
        let cases = [
            (
                Step::Lookup,
                Errno::NOENT,
                "nope",
                "exec: \"nope\": executable file not found in $PATH",
                127,
            ),
            (
                Step::Stat,
                Errno::NOENT,
                "/nope",
                "exec: \"/nope\": stat /nope: no such file or directory",
                127,
            ),
            (
                Step::IsDirectory,
                Errno::ISDIR,
                "/etc",
                "exec: \"/etc\": is a directory",
                126,
            ),
            (
                Step::NotExecutable,
                Errno::ACCESS,
                "/x",
                "exec: \"/x\": permission denied",
                126,
            ),
            (
                Step::Execute,
                Errno::NOEXEC,
                "/x",
                "exec /x: exec format error",
                128,
            ),
            (
                Step::Clone,
                Errno::NOSPC,
                "/x",
                "unable to create new parent process: clone: no space left on device",
                128,
            ),
        ];
        for (step, errno, name, sentence, code) in cases {
            let fault = Fault::new(step, errno);
            assert_eq!(fault.describe(&plan(name)), sentence);
            assert_eq!(fault.exit_code(), code, "{sentence}");
        }
    }
}

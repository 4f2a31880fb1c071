//! A plan in the form that the child walks: strings that end with a NUL, arrays of pointers, paths taken apart.
//!
//! Everything that can be wrong with a plan's texts is found here, before there is a child.

mod place;
mod program;
mod title;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use place::node;
pub(crate) use place::{Node, Place, place_below};
pub(crate) use program::Program;
use program::program;
pub(crate) use title::Title;

use crate::plan::{
    COPY_UP, CgroupEntry, Device, ExecPlan, FdSlot, MountEntry, MountKind, NsMode, Plan, PlanError,
    RootChange, RootSource, TargetKind, TimeOffset, attr,
};
use crate::procfs::{self, Relation};

/// A [`Plan`] that can be carried out.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Node>,
    /// The devices' whole paths, where nodes are mounted and not made.
    pub(crate) device_places: Vec<Place>,
    pub(crate) links: Vec<(CString, Node)>,
    pub(crate) masked: Vec<CString>,
    pub(crate) readonly: Vec<CString>,
    /// Below the procfs: `sys/…`.
    pub(crate) sysctls: Vec<CString>,
    pub(crate) program: Program,
    /// The root folder, where it is opened within the container's namespaces.
    pub(crate) root: Option<CString>,
    /// Where the root is shown at first.
    pub(crate) shown_at: Option<CString>,
    /// Below the caller's root: what is dropped when the container's covers it.
    pub(crate) covered: Vec<CString>,
    /// Clocks of a new time namespace, as the kernel reads them.
    pub(crate) clocks: Vec<u8>,
    pub(crate) birthplace: Option<OwnedFd>,
    pub(crate) dismissed: Option<FdSlot>,
    pub(crate) title: Option<Title>,
}

/// An [`ExecPlan`] that can be carried out.
#[derive(Debug)]
pub struct PreparedExec {
    pub(crate) plan: ExecPlan,
    pub(crate) program: Program,
}

/// File systems at most that have to be made early in a user namespace.
pub(crate) const MAX_REVEALING: usize = 4;

/// What a mount is for the rest of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Kernel parameters and the process's own settings are written through it.
    Proc,
    /// Terminals come from it.
    Devpts,
    /// It is there already, and is changed.
    Remount,
    /// Nothing else.
    Plain,
}

#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) target: Place,
    /// What the target is to the container's procfs.
    pub(crate) relation: Relation,
    /// For a new file system: type and options. For one that is there: options.
    pub(crate) filesystem: Option<Filesystem>,
    pub(crate) role: Role,
    /// For a bind mount that is opened within the container's namespaces.
    pub(crate) source: Option<CString>,
    /// For a bind mount that the process opens while it sees the caller's tree, where it does so ([`Prepared::makes_ahead`]).
    pub(crate) early: Option<CString>,
    /// For a copy of what is mounted before: its path in the container.
    pub(crate) copied: Option<CString>,
    /// In a user namespace, for a file system that it may only mount while it sees another: its place among those.
    pub(crate) revealing: Option<usize>,
    /// Of those, one that is listed behind mounts which are made later.
    pub(crate) anew: bool,
    /// The attributes of a new file system's mount, without what comes late.
    pub(crate) attributes: u64,
    /// A tmpfs without a mode of its own: it takes that of the folder that it hides.
    pub(crate) takes_mode: bool,
    /// It begins with what it hides ([`COPY_UP`]).
    pub(crate) copies_up: bool,
    /// The target lies in what is mounted before.
    pub(crate) within_others: bool,
    /// Becomes read-only when everything has been mounted.
    pub(crate) late_read_only: bool,
    pub(crate) create: TargetKind,
}

#[derive(Debug)]
pub(crate) struct Filesystem {
    pub(crate) fstype: CString,
    pub(crate) options: Vec<(CString, Option<CString>)>,
    /// How many of them come before the plan's.
    pub(crate) added: usize,
}

impl Prepared {
    /// Has processes from now on enter these control groups.
    pub fn set_cgroup(&mut self, entry: CgroupEntry) {
        self.plan.cgroup = entry;
    }

    /// Checks a plan and makes it ready.
    ///
    /// # Errors
    /// A text with a NUL, a path that is not absolute, nothing to execute, or something that is not supported.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        refuse(&plan)?;
        let mut last = "";
        let mut devices = Vec::with_capacity(plan.devices.len());
        for device in &plan.devices {
            devices.push(node("device", &device.path, &mut last)?);
        }
        let mut links = Vec::with_capacity(plan.links.len());
        let mut last = "";
        for (says, at) in &plan.links {
            links.push((text("link", says)?, node("link", at, &mut last)?));
        }
        let mut device_places = Vec::new();
        if has_foreign_devices(&plan) {
            for device in &plan.devices {
                device_places.push(place_below("device", &device.path)?);
            }
        }
        let texts = |what, list: &[String]| -> Result<Vec<CString>, PlanError> {
            list.iter().map(|item| text(what, item)).collect()
        };
        Ok(Self {
            mounts: mounts(&plan)?,
            devices,
            device_places,
            links,
            masked: texts("masked path", &plan.masked)?,
            readonly: texts("read-only path", &plan.readonly)?,
            sysctls: plan
                .sysctls
                .iter()
                .map(|(name, _)| sysctl(name))
                .collect::<Result<_, _>>()?,
            program: program(&plan.process)?,
            root: match &plan.root {
                Some(RootSource::Path(path)) if plan.unprivileged => Some(text("root", path)?),
                _ => None,
            },
            shown_at: plan
                .shown_at
                .as_deref()
                .map(|path| text("root", path))
                .transpose()?,
            covered: match &plan.root_change {
                RootChange::Pivot => Vec::new(),
                RootChange::Cover(places) => {
                    let below = places.iter().map(|place| place.trim_start_matches('/'));
                    let below = below.filter(|place| !place.is_empty());
                    below
                        .map(|place| text("mount", place))
                        .collect::<Result<_, _>>()?
                }
            },
            clocks: clocks(&plan.time_offsets),
            birthplace: None,
            dismissed: None,
            title: plan.init.then(|| Title::of_init(&plan.process)).flatten(),
            plan,
        })
    }

    /// The plan that this was made of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Lets the process be born in an empty mount namespace, which makes the start cheaper: the container's root is put
    /// over the namespace's own and nothing has to be unmounted, which may take the kernel milliseconds.
    ///
    /// `namespace` holds one private mount, an empty read-only file system, for that stays beneath the container's
    /// root, where nothing but a process that may unmount the root finds it. The calling thread may
    /// share its working folder with no other (as threads do by default), and that becomes its root. In a user namespace
    /// this is not used.
    pub fn set_birthplace(&mut self, namespace: OwnedFd) {
        self.birthplace = Some(namespace);
    }

    /// Lets a detached mount of a file, given by its slot, go together with the caller's mounts, of which the container's
    /// process drops its copies: the end of a mount waits for a grace period of the kernel, and these have one for all. Where
    /// the process has no such copies, or cannot, the mount ends with its last descriptor as ever.
    pub fn dismiss(&mut self, slot: FdSlot) {
        self.dismissed = Some(slot);
    }

    /// What lists of processes show of the process while it waits at its gate, in place of the caller's command line.
    pub fn show_waiting_as(&mut self, text: &str) {
        self.title = Title::new(text.as_bytes().to_vec());
    }

    /// Whether the process makes all mounts ahead; see `has_to_keep_order`. Born elsewhere, it does not see the sources.
    pub(crate) fn makes_ahead(&self) -> bool {
        self.birthplace().is_none() && has_to_keep_order(&self.plan)
    }

    /// The namespace to be born in, where the plan allows it.
    pub(crate) fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        let namespaces = &self.plan.namespaces;
        let fits = namespaces.mount == NsMode::New
            && namespaces.user == NsMode::Host
            && self.plan.root.is_some()
            && self.plan.shown_at.is_none();
        self.birthplace.as_ref().filter(|_| fits).map(AsFd::as_fd)
    }

    /// Device nodes are mounted, not made: in a user namespace they could not be.
    pub(crate) fn binds_devices(&self) -> bool {
        has_foreign_devices(&self.plan)
    }
}

fn has_foreign_devices(plan: &Plan) -> bool {
    plan.namespaces.user != NsMode::Host || plan.nested
}

impl PreparedExec {
    /// Checks a plan and makes it ready.
    ///
    /// # Errors
    /// As for [`Prepared::new`].
    pub fn new(plan: ExecPlan) -> Result<Self, PlanError> {
        Ok(Self {
            program: program(&plan.process)?,
            plan,
        })
    }

    /// The plan that this was made of.
    pub fn plan(&self) -> &ExecPlan {
        &self.plan
    }
}

/// What is not built is refused by name.
fn refuse(plan: &Plan) -> Result<(), PlanError> {
    if plan.namespaces.time != NsMode::New && !plan.time_offsets.is_empty() {
        return Err(PlanError::Unsupported {
            what: "an offset of clocks without a new time namespace",
        });
    }
    if plan.unprivileged {
        let mapped = |mount: &MountEntry| {
            matches!(
                &mount.kind,
                MountKind::Bind { idmap: Some(_), .. } | MountKind::Copy { idmap: Some(_), .. }
            )
        };
        let what = match plan.namespaces.user {
            _ if plan.root.is_some() && plan.shown_at.is_none() => "a root that is not shown",
            _ if plan.mounts.iter().any(mapped) => "an idmapped mount",
            NsMode::Host => "a container without a user namespace",
            _ => "",
        };
        if !what.is_empty() {
            return Err(PlanError::WithoutRights { what });
        }
    }
    if plan.shown_at.is_some() && plan.root.is_none() {
        return Err(PlanError::Unsupported {
            what: "a place for a root folder that is not there",
        });
    }
    let makes_mounts = plan.root.is_some() || !plan.mounts.is_empty();
    if plan.namespaces.mount == NsMode::Host && makes_mounts {
        let what = match plan.namespaces.user {
            _ if plan.shown_at.is_none() => "a root folder or mounts without a mount namespace",
            NsMode::Host => "",
            _ => "a user namespace without a mount namespace",
        };
        if !what.is_empty() {
            return Err(PlanError::Unsupported { what });
        }
    }
    if plan.namespaces.uts == NsMode::Host && (plan.hostname.is_some() || plan.domainname.is_some())
    {
        return Err(PlanError::Unsupported {
            what: "a host name without a uts namespace",
        });
    }
    Ok(())
}

/// Lines of a process's `timens_offsets` (proc(5)).
fn clocks(offsets: &[TimeOffset]) -> Vec<u8> {
    let line = |one: &TimeOffset| format!("{} {} {}\n", one.clock, one.seconds, one.nanoseconds);
    offsets.iter().map(line).collect::<String>().into_bytes()
}

fn text(what: &'static str, text: &str) -> Result<CString, PlanError> {
    CString::new(text).map_err(|_| PlanError::Nul {
        what,
        text: text.to_owned(),
    })
}

fn bytes(what: &'static str, bytes: &[u8]) -> Result<CString, PlanError> {
    CString::new(bytes).map_err(|_| PlanError::Nul {
        what,
        text: String::from_utf8_lossy(bytes).into(),
    })
}

/// Whether the process itself makes and opens all mounts before any is attached, in their order: the kernel lists mounts in
/// the order in which they came to be, and not in that in which they were attached. Else the sources of bind mounts come
/// before new file systems.
fn has_to_keep_order(plan: &Plan) -> bool {
    let is_bind = |mount: &MountEntry| matches!(mount.kind, MountKind::Bind { .. });
    let is_new = |mount: &MountEntry| matches!(mount.kind, MountKind::Fs { .. });
    let mut mounts = plan.mounts.iter();
    plan.namespaces.mount == NsMode::New
        && plan.namespaces.user == NsMode::Host
        && plan.root.is_some()
        && plan.shown_at.is_none()
        && !plan.unprivileged
        && mounts.any(is_new)
        && mounts.any(is_bind)
}

fn mounts(plan: &Plan) -> Result<Vec<Mount>, PlanError> {
    let mut mounts = plan
        .mounts
        .iter()
        .map(mount)
        .collect::<Result<Vec<_>, _>>()?;
    if plan.unprivileged {
        for (entry, mount) in plan.mounts.iter().zip(&mut mounts) {
            if let MountKind::Bind { source, .. } = &entry.kind {
                mount.source = Some(text("mount source", source)?);
            }
        }
    }
    for (index, entry) in plan.mounts.iter().enumerate() {
        let mut before = plan.mounts.iter().take(index);
        if let Some(mount) = mounts.get_mut(index).filter(|mount| mount.takes_mode) {
            let target = Path::new(&entry.target);
            mount.within_others = before.any(|other| target.starts_with(&other.target));
        }
    }
    if has_to_keep_order(plan) {
        for (entry, mount) in plan.mounts.iter().zip(&mut mounts) {
            if let MountKind::Bind {
                source,
                idmap: None,
                ..
            } = &entry.kind
            {
                mount.early = Some(text("mount source", source)?);
            }
        }
    }
    if plan.namespaces.user != NsMode::Host {
        let is_revealing = |mount: &&mut Mount| {
            let fstype = mount
                .filesystem
                .as_ref()
                .map(|filesystem| filesystem.fstype.as_c_str());
            fstype.is_some_and(|fstype| fstype == c"proc" || fstype == c"sysfs")
        };
        for (place, mount) in mounts.iter_mut().filter(is_revealing).enumerate() {
            if place == MAX_REVEALING {
                return Err(PlanError::Unsupported {
                    what: "a user namespace with more than four mounts of proc and sysfs",
                });
            }
            mount.revealing = Some(place);
        }
        let others = mounts.iter().position(|mount| mount.revealing.is_none());
        let after = mounts.iter_mut().skip(others.unwrap_or(usize::MAX));
        for mount in after {
            mount.anew = mount.revealing.is_some();
        }
    }
    Ok(mounts)
}

impl Mount {
    /// Whether a new sysfs is mounted.
    pub(crate) fn is_sysfs(&self) -> bool {
        let new = self.filesystem.as_ref();
        new.is_some_and(|new| new.fstype.as_c_str() == c"sysfs")
    }
}

fn mount(entry: &MountEntry) -> Result<Mount, PlanError> {
    let mut role = Role::Plain;
    let mut filesystem = None;
    let mut late_read_only = false;
    let mut takes_mode = false;
    let mut copies_up = false;
    let mut attributes = entry.attrs.set & !entry.attrs.below_clear | entry.attrs.below_set;
    if let MountKind::Fs {
        fstype,
        source,
        options,
    } = &entry.kind
    {
        role = match fstype.as_str() {
            "proc" => Role::Proc,
            "devpts" => Role::Devpts,
            _ => Role::Plain,
        };
        takes_mode = fstype == "tmpfs" && options.iter().all(|(key, _)| key != "mode");
        late_read_only = fstype == "tmpfs" && attributes & attr::READ_ONLY != 0;
        if late_read_only {
            attributes &= !attr::READ_ONLY;
        }
        let source = if source.is_empty() { fstype } else { source };
        let mut list = vec![(c"source".to_owned(), Some(text("mount source", source)?))];
        list.extend(texts_of(options)?);
        if fstype == "tmpfs" {
            let all = list.len();
            list.retain(|(key, _)| key.as_bytes() != COPY_UP.as_bytes());
            copies_up = list.len() < all;
        }
        if let Some((_, subtype)) = fstype.split_once('.') {
            // `fuse.sshfs`: the kernel knows the part before the dot.
            list.push((c"subtype".to_owned(), Some(text("file system", subtype)?)));
        }
        filesystem = Some(Filesystem {
            fstype: text("file system", fstype)?,
            options: list,
            added: 1,
        });
    }
    if let MountKind::Remount { options } = &entry.kind {
        role = Role::Remount;
        filesystem = (!options.is_empty())
            .then(|| {
                Ok::<_, PlanError>(Filesystem {
                    fstype: CString::default(),
                    options: texts_of(options)?,
                    added: 0,
                })
            })
            .transpose()?;
    }
    let target = place_below("mount target", &entry.target)?;
    Ok(Mount {
        // The path was a text of Rust's.
        relation: target
            .path
            .to_str()
            .map_or(Relation::Inside, procfs::relation),
        target,
        filesystem,
        role,
        source: None,
        early: None,
        copied: match &entry.kind {
            MountKind::Copy { source, .. } => Some(place_below("mount source", source)?.path),
            _ => None,
        },
        revealing: None,
        anew: false,
        attributes,
        takes_mode,
        copies_up,
        within_others: false,
        late_read_only,
        create: entry.create_target,
    })
}

fn texts_of(
    options: &[(String, Option<String>)],
) -> Result<Vec<(CString, Option<CString>)>, PlanError> {
    let one = |(key, value): &(String, Option<String>)| {
        let value = value.as_deref().map(|value| text("mount option", value));
        Ok((text("mount option", key)?, value.transpose()?))
    };
    options.iter().map(one).collect()
}

fn sysctl(name: &str) -> Result<CString, PlanError> {
    let path = crate::sysctl::path(name).ok_or_else(|| PlanError::Path {
        what: "kernel parameter",
        path: name.to_owned(),
    })?;
    text("kernel parameter", &format!("sys/{path}"))
}

/// The device's number in the kernel's user-space encoding.
pub(crate) fn device_number(device: &Device) -> u64 {
    libc::makedev(device.major, device.minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ProcessPlan;

    #[test]
    fn what_cannot_be_carried_out_is_refused() {
        let base = || Plan {
            process: ProcessPlan {
                args: vec![b"/x".to_vec()],
                ..Default::default()
            },
            ..Default::default()
        };
        assert_eq!(
            Prepared::new(Plan::default()).err(),
            Some(PlanError::NoProgram)
        );
        let mut plan = base();
        plan.namespaces.uts = NsMode::Host;
        plan.hostname = Some("name".to_owned());
        assert!(matches!(
            Prepared::new(plan),
            Err(PlanError::Unsupported { .. })
        ));
        let plan = Plan {
            masked: vec!["/a\0b".into()],
            ..base()
        };
        assert!(matches!(
            Prepared::new(plan),
            Err(PlanError::Nul {
                what: "masked path",
                ..
            })
        ));
        let plan = Plan {
            links: vec![("x".into(), "dev/../x/..".into())],
            ..base()
        };
        assert!(matches!(Prepared::new(plan), Err(PlanError::Path { .. })));
        let plan = Plan {
            sysctls: vec![("net/../x".into(), "1".into())],
            ..base()
        };
        assert!(matches!(Prepared::new(plan), Err(PlanError::Path { .. })));
    }
}

//! Mounts and their options.

mod copy_up;
mod options;

use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use options::Options;
pub(super) use options::propagation;

use runtime::cgroup::View;
use runtime::plan::{
    COPY_UP, FdSlot, IdMap, MountEntry, MountIdMap, MountKind, Namespaces, NsMode, Propagation,
    TargetKind, attr,
};
use runtime::{defaults, spawn};

use crate::cli::{is_nested, is_unprivileged};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::mountinfo;
use crate::spec::{IdMapping, Mount, Spec};

/// The plan's mounts; those of groups stand for several, which are known when there is a group.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) entries: Vec<MountEntry>,
    /// Places of those of groups.
    pub(super) cgroups: Vec<usize>,
}

pub(super) fn compile(spec: &Spec, around: &mut Around<'_>) -> Result<Mounts> {
    let mut mounts = Mounts::default();
    for (index, mount) in spec.mounts.iter().flatten().enumerate() {
        let entry = entry(index, mount, &mounts.entries, around)?;
        if !is_bind(mount) && matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2")) {
            mounts.cgroups.push(index);
        }
        mounts.entries.push(entry);
    }
    Ok(mounts)
}

/// What mounts are compiled with.
pub(super) struct Around<'a> {
    pub(super) bundle: &'a Path,
    pub(super) rootfs: &'a Path,
    pub(super) namespaces: Namespaces,
    /// The container's own maps, for a new user namespace.
    pub(super) users: &'a [IdMap],
    pub(super) groups: &'a [IdMap],
    /// The label of new file systems' files.
    pub(super) label: Option<String>,
    pub(super) log: &'a Log,
    /// What the plan names by slot.
    pub(super) fds: &'a mut Vec<OwnedFd>,
}

impl Around<'_> {
    fn slot(&mut self, fd: OwnedFd) -> FdSlot {
        self.fds.push(fd);
        FdSlot((self.fds.len() - 1) as u16)
    }
}

/// Whether the mount shows something that is mounted already.
pub(super) fn is_bind(mount: &Mount) -> bool {
    let by_option = |word: &String| word == "bind" || word == "rbind";
    mount.kind.as_deref() == Some("bind") || mount.options.iter().flatten().any(by_option)
}

fn entry(
    index: usize,
    mount: &Mount,
    before: &[MountEntry],
    around: &mut Around<'_>,
) -> Result<MountEntry> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let asked = mount.destination.as_deref().unwrap_or_default();
    // A path that says where the root is on the host, too, is one of the container's.
    let rootfs = clean(&around.rootfs.to_string_lossy());
    let target = below(&rootfs, &clean(asked)).unwrap_or_else(|| clean(asked));
    if asked.is_empty() || target == "/" {
        let why = format!("{asked:?} is not a place below the root");
        return Err(Error::field(field("destination"), why));
    }
    if !asked.starts_with('/') {
        around.log.warning(&format!(
            "mount destination {asked} is not absolute, support for non-absolute mount destinations will be removed in a future release"
        ));
    }
    let mut options = options::read(mount.options.as_deref().unwrap_or_default());
    let fstype = mount.kind.as_deref().unwrap_or_default();
    let bind = is_bind(mount);
    let mut entry = MountEntry {
        target,
        attrs: options.attrs,
        propagation: options.propagation,
        create_target: TargetKind::Dir,
        kind: MountKind::Remount {
            options: Vec::new(),
        },
    };
    if !bind && wants_idmap(mount, &options) {
        let why = "only bind mounts can show files as other users'";
        return Err(Error::field(field("options"), why));
    }
    if options.remount {
        if !bind {
            entry.kind = MountKind::Remount {
                options: options.data,
            };
        }
    } else if bind {
        let source = around
            .bundle
            .join(mount.source.as_deref().unwrap_or_default());
        let is_file = std::fs::metadata(&source).is_ok_and(|found| !found.is_dir());
        if is_file {
            entry.create_target = TargetKind::File;
        }
        entry.attrs = options.of_bind();
        // What happens in the container stays there, unless something else is asked for.
        entry.propagation.get_or_insert(Propagation::Slave);
        let source = source.to_string_lossy().into_owned();
        let recursive = options.bind == Some(true);
        let idmap = idmap(index, mount, &options, around)?;
        let inner = below(&rootfs, &clean(&source)).filter(|inner| {
            let is_there = |mount: &MountEntry| meet(&mount.target, inner);
            inner != "/" && before.iter().any(is_there)
        });
        entry.kind = match inner {
            None => MountKind::Bind {
                source,
                recursive,
                idmap,
            },
            Some(source) => MountKind::Copy {
                source,
                recursive,
                idmap,
            },
        };
    } else if fstype.is_empty() {
        return Err(Error::field(field("type"), "it is missing"));
    } else if fstype == "tmpfs" && options.copy_up && is_unprivileged() {
        // It can be made in the container's user namespace alone.
        options.data.push((COPY_UP.to_owned(), None));
        file_system(&mut entry, mount, options.data, around);
    } else if fstype == "tmpfs" && options.copy_up {
        let tmpfs = copy_up::make(&entry.target, before, around.rootfs, &options.data)
            .map_err(|source| Error::io("filling the tmpfs for", Path::new(asked), source))?;
        entry.kind = MountKind::Detached {
            slot: around.slot(tmpfs),
            source: "tmpfs".to_owned(),
        };
    } else {
        file_system(&mut entry, mount, options.data, around);
    }
    Ok(entry)
}

/// The part of a path below a folder; `None` where it leads elsewhere.
fn below(folder: &str, path: &str) -> Option<String> {
    let rest = Path::new(path).strip_prefix(folder).ok()?;
    Some(format!("/{}", rest.to_string_lossy())).filter(|_| folder != "/")
}

/// Whether one of two places is the other, or lies below it.
fn meet(one: &str, other: &str) -> bool {
    Path::new(one).starts_with(other) || Path::new(other).starts_with(one)
}

/// A file system that is made for the container; or the caller's, where the kernel lets only its namespace's owner make one
/// and that is the caller.
fn file_system(
    entry: &mut MountEntry,
    mount: &Mount,
    mut data: Vec<(String, Option<String>)>,
    around: &Around<'_>,
) {
    let fstype = mount.kind.as_deref().unwrap_or_default();
    let source = mount.source.as_deref().unwrap_or_default();
    let namespaces = around.namespaces;
    let foreign = match fstype {
        "sysfs" if namespaces.net == NsMode::Host => Some("/sys"),
        "mqueue" if namespaces.ipc == NsMode::Host => Some("/dev/mqueue"),
        _ => None,
    };
    let within_users = namespaces.user != NsMode::Host || is_nested();
    if let (Some(path), true) = (foreign, within_users) {
        entry.propagation.get_or_insert(Propagation::Slave);
        entry.kind = MountKind::Bind {
            source: path.to_owned(),
            recursive: true,
            idmap: None,
        };
        return;
    }
    // Every devpts is an instance of its own, and newer kernels do not know the word any more.
    data.retain(|(key, _)| fstype != "devpts" || key != "newinstance");
    let read_only = entry.attrs.set & attr::READ_ONLY != 0;
    if read_only && source.starts_with('/') && !KERNELS.contains(&fstype) {
        // On a device: it may be one that cannot be written to.
        data.push(("ro".to_owned(), None));
    }
    if let Some(label) = &around.label
        && !matches!(fstype, "proc" | "sysfs")
    {
        data.push(("context".to_owned(), Some(label.clone())));
    }
    entry.kind = MountKind::Fs {
        fstype: fstype.to_owned(),
        source: source.to_owned(),
        options: data,
    };
}

/// Whether some mount is of a file system that is made of paths of the host (a device, an overlay's layers): it has to be
/// mounted while the host's tree is there.
pub(crate) fn names_host_paths(mounts: &[MountEntry]) -> bool {
    let is_path = |text: &str| text.split(':').any(|part| part.starts_with('/'));
    mounts.iter().any(|mount| match &mount.kind {
        MountKind::Fs {
            fstype,
            source,
            options,
        } => {
            let named = options.iter().filter_map(|(_, value)| value.as_deref());
            let on_device = !KERNELS.contains(&fstype.as_str()) && is_path(source);
            on_device || fstype != "tmpfs" && { named }.any(is_path)
        }
        _ => false,
    })
}

/// File systems without a device, whose source may be any word.
const KERNELS: [&str; 9] = [
    "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay", "ramfs",
];

fn wants_idmap(mount: &Mount, options: &Options) -> bool {
    let given = [&mount.uid_mappings, &mount.gid_mappings];
    options.idmap.is_some()
        || given
            .iter()
            .any(|maps| maps.as_ref().is_some_and(|maps| !maps.is_empty()))
}

/// Whose a bind mount's files are: by its own maps, else by the container's.
fn idmap(
    index: usize,
    mount: &Mount,
    options: &Options,
    around: &mut Around<'_>,
) -> Result<Option<MountIdMap>> {
    if !wants_idmap(mount, options) {
        return Ok(None);
    }
    let recursive = options.idmap == Some(true);
    let made = match (&mount.uid_mappings, &mount.gid_mappings) {
        (None, None) => match around.namespaces.user {
            NsMode::Join(namespace) => {
                return Ok(Some(MountIdMap {
                    namespace,
                    recursive,
                }));
            }
            NsMode::New => spawn::user_namespace(around.users, around.groups),
            NsMode::Host => {
                let why = "idmap needs uidMappings and gidMappings, or a user namespace";
                return Err(Error::field(format!("mounts[{index}].options"), why));
            }
        },
        (uids, gids) => {
            let map = |name: &str, lines: &Option<Vec<IdMapping>>| {
                let field = format!("mounts[{index}].{name}");
                super::namespaces::id_map(&field, lines.as_deref(), "a mapped mount")
            };
            spawn::user_namespace(&map("uidMappings", uids)?, &map("gidMappings", gids)?)
        }
    };
    let made = made.map_err(Error::call(
        "making the user namespace of an idmapped mount",
    ))?;
    Ok(Some(MountIdMap {
        namespace: around.slot(made),
        recursive,
    }))
}

/// An absolute path with `.` and `..` gone, as the words say and before any link is followed.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => parts.extend(name.to_str()),
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    format!("/{}", parts.join("/"))
}

/// Where mounts lie on the root of this process itself, and not on another of them.
///
/// # Errors
/// The list of mounts cannot be read.
pub(crate) fn below_root() -> Result<Vec<String>> {
    mountinfo::read(Path::new("/proc/self/mountinfo")).map(topmost)
}

/// The places that lie below no other, but for the root.
fn topmost(mounts: Vec<mountinfo::Mount>) -> Vec<String> {
    let mut places: Vec<String> = mounts
        .into_iter()
        .map(|mount| mount.place)
        .filter(|place| place != "/")
        .collect();
    places.sort_unstable();
    places.dedup_by(|later, former| Path::new(later).starts_with(former));
    places
}

/// What takes the place of one mount of groups.
#[derive(Debug, Default)]
pub(super) struct CgroupView {
    pub(super) mounts: Vec<MountEntry>,
    /// What each says, and where it is.
    pub(super) links: Vec<(String, String)>,
}

/// The container's groups: of version 2 the one tree, of version 1 a folder for each hierarchy.
pub(super) fn cgroup_view(
    asked: &MountEntry,
    views: &View,
    unified_view: Option<&Path>,
    own_view: bool,
) -> CgroupView {
    let target = &asked.target;
    let bind = |path: &Path| MountKind::Bind {
        source: path.to_string_lossy().into_owned(),
        recursive: false,
        idmap: None,
    };
    let mount = |target: String, kind: MountKind| MountEntry {
        target,
        kind,
        attrs: asked.attrs,
        propagation: Some(Propagation::Private),
        create_target: TargetKind::Dir,
    };
    let unified = |path: &Path| {
        // A new mount outside of a namespace of its own would change the options of the host's.
        let kind = if own_view {
            defaults::cgroup_unified().kind
        } else {
            bind(path)
        };
        CgroupView {
            mounts: vec![mount(target.clone(), kind)],
            links: Vec::new(),
        }
    };
    let by_name = matches!(&asked.kind, MountKind::Fs { fstype, .. } if fstype == "cgroup2");
    if let (true, Some(path)) = (by_name, unified_view) {
        return unified(path);
    }
    let views = match views {
        View::Unified(path) => return unified(path),
        View::Hierarchies(views) => views,
    };
    let mut folder = defaults::file_system(target, "tmpfs", asked.attrs, &[("mode", "755")]);
    if let MountKind::Fs { source, .. } = &mut folder.kind {
        "tmpfs".clone_into(source);
    }
    let mut view = CgroupView {
        mounts: vec![folder],
        links: Vec::new(),
    };
    for hierarchy in views {
        let kind = if own_view {
            let names: Vec<&str> = hierarchy.options.iter().map(String::as_str).collect();
            defaults::cgroup_hierarchy(&names)
        } else {
            bind(&hierarchy.folder)
        };
        view.mounts
            .push(mount(format!("{target}/{}", hierarchy.name), kind));
        if hierarchy.name.contains(',') {
            let links = hierarchy.name.split(',');
            view.links.extend(
                links.map(|controller| (hierarchy.name.clone(), format!("{target}/{controller}"))),
            );
        }
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_upon_mounts_are_left_out() {
        let line = |place: &str| format!("1 2 0:3 / {place} rw - tmpfs none rw\n");
        let text: String = [
            "/",
            "/proc/sys",
            "/proc",
            "/a\\040b",
            "/a\\040b/c",
            "/proc2",
        ]
        .map(line)
        .concat();
        let places = topmost(mountinfo::parse(&text));
        assert_eq!(places, ["/a b", "/proc", "/proc2"]);
    }

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean("/a/./b//../c/"), "/a/c");
        assert_eq!(clean("../../etc"), "/etc");
        assert_eq!(clean(""), "/");
    }
}

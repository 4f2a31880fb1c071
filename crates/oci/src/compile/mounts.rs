//! Mounts and their options.

use std::path::{Component, Path};

use runtime::cgroup::{Group, View};
use runtime::defaults;
use runtime::plan::{MountAttrs, MountEntry, MountKind, Propagation, TargetKind, attr};

use crate::error::{Error, Result};
use crate::log::Log;
use crate::spec::{Mount, Spec};

/// The plan's mounts; those of groups stand for several, which are known when there is a group.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) entries: Vec<MountEntry>,
    /// Places of those of groups.
    pub(super) cgroups: Vec<usize>,
}

pub(super) fn compile(spec: &Spec, bundle: &Path, log: &Log) -> Result<Mounts> {
    let mut mounts = Mounts::default();
    for (index, mount) in spec.mounts.iter().flatten().enumerate() {
        let entry = entry(index, mount, bundle, log)?;
        if !is_bind(mount) && matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2")) {
            mounts.cgroups.push(index);
        }
        mounts.entries.push(entry);
    }
    Ok(mounts)
}

/// Options of a mount, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    attrs: MountAttrs,
    /// Attributes of mounts below too.
    below: u64,
    propagation: Option<Propagation>,
    bind: Option<bool>,
    /// What the file system is to make of it.
    data: Vec<(String, Option<String>)>,
}

/// Whether the mount shows something that is mounted already.
pub(super) fn is_bind(mount: &Mount) -> bool {
    let by_option = |word: &String| word == "bind" || word == "rbind";
    mount.kind.as_deref() == Some("bind") || mount.options.iter().flatten().any(by_option)
}

fn entry(index: usize, mount: &Mount, bundle: &Path, log: &Log) -> Result<MountEntry> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let asked = mount.destination.as_deref().unwrap_or_default();
    let target = clean(asked);
    if asked.is_empty() || target == "/" {
        let why = format!("{asked:?} is not a place below the root");
        return Err(Error::field(field("destination"), why));
    }
    if !asked.starts_with('/') {
        log.warning(&format!(
            "mount destination {asked} is not absolute, support for non-absolute mount destinations will be removed in a future release"
        ));
    }
    for (name, mappings) in [
        ("uidMappings", &mount.uid_mappings),
        ("gidMappings", &mount.gid_mappings),
    ] {
        if mappings.as_ref().is_some_and(|lines| !lines.is_empty()) {
            return Err(Error::unsupported(field(name)));
        }
    }
    let words = mount.options.as_deref().unwrap_or_default();
    let options = options(words)
        .map_err(|word| Error::unsupported(format!("{}: the option {word:?}", field("options"))))?;
    let fstype = mount.kind.as_deref().unwrap_or_default();
    let source = mount.source.as_deref().unwrap_or_default();
    if is_bind(mount) {
        let source = bundle.join(source);
        let is_file = std::fs::metadata(&source).is_ok_and(|found| !found.is_dir());
        return Ok(MountEntry {
            target,
            kind: MountKind::Bind {
                source: source.to_string_lossy().into_owned(),
                recursive: options.bind == Some(true),
            },
            attrs: options.attrs,
            // What happens in the container stays there, unless something else is asked for.
            propagation: Some(options.propagation.unwrap_or(Propagation::Slave)),
            create_target: if is_file {
                TargetKind::File
            } else {
                TargetKind::Dir
            },
        });
    }
    if fstype.is_empty() {
        return Err(Error::field(field("type"), "it is missing"));
    }
    let mut data = options.data;
    // Every devpts is an instance of its own, and newer kernels do not know the word any more.
    data.retain(|(key, _)| fstype != "devpts" || key != "newinstance");
    Ok(MountEntry {
        target,
        kind: MountKind::Fs {
            fstype: fstype.to_owned(),
            source: source.to_owned(),
            options: data,
        },
        attrs: options.attrs,
        propagation: options.propagation,
        create_target: TargetKind::Dir,
    })
}

/// Reads options in order; a later one takes back what an earlier one said. The error is a word that is not built.
fn options(words: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let (mut own, mut below) = (0, 0);
    let mut access_time = None;
    for word in words {
        let (name, is_below) = match word.strip_prefix('r') {
            Some(rest) if attribute(rest).is_some() && attribute(word).is_none() => (rest, true),
            _ => (word.as_str(), false),
        };
        if let Some((bit, set)) = attribute(name) {
            let bits = if is_below { &mut below } else { &mut own };
            *bits = if set { *bits | bit } else { *bits & !bit };
            continue;
        }
        match name {
            "defaults" | "silent" | "loud" => {}
            "bind" => options.bind = Some(options.bind == Some(true)),
            "rbind" => options.bind = Some(true),
            "noatime" => access_time = Some(attr::NO_ATIME),
            "strictatime" => access_time = Some(attr::STRICT_ATIME),
            "relatime" | "atime" | "nostrictatime" => access_time = Some(0),
            "norelatime" => access_time = access_time.or(Some(0)),
            "remount" | "tmpcopyup" | "idmap" | "ridmap" => return Err(word.clone()),
            _ => {
                let plain = name.strip_prefix('r').unwrap_or(name);
                match (propagation(name), propagation(plain)) {
                    (Some(kind), _) | (None, Some(kind)) => options.propagation = Some(kind),
                    (None, None) => options.data.push(match name.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                        None => (name.to_owned(), None),
                    }),
                }
            }
        }
    }
    if below != 0 && own & !below != 0 {
        return Err("one for the mount alone beside one for all below".to_owned());
    }
    options.attrs = MountAttrs {
        set: own | below | access_time.unwrap_or(0),
        clear: access_time.map_or(0, |_| attr::ATIME_MASK),
        recursive: below != 0,
    };
    Ok(options)
}

/// The attribute that a word sets or takes back.
fn attribute(word: &str) -> Option<(u64, bool)> {
    Some(match word {
        "ro" => (attr::READ_ONLY, true),
        "rw" => (attr::READ_ONLY, false),
        "nosuid" => (attr::NO_SUID, true),
        "suid" => (attr::NO_SUID, false),
        "nodev" => (attr::NO_DEV, true),
        "dev" => (attr::NO_DEV, false),
        "noexec" => (attr::NO_EXEC, true),
        "exec" => (attr::NO_EXEC, false),
        "nodiratime" => (attr::NO_DIR_ATIME, true),
        "diratime" => (attr::NO_DIR_ATIME, false),
        "nosymfollow" => (attr::NO_SYMFOLLOW, true),
        "symfollow" => (attr::NO_SYMFOLLOW, false),
        _ => return None,
    })
}

/// How mounts are shared, by its word without `r`, which a bind mount's mounts below follow in any case.
pub(super) fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" => Propagation::Private,
        "slave" => Propagation::Slave,
        "shared" => Propagation::Shared,
        "unbindable" => Propagation::Unbindable,
        _ => return None,
    })
}

/// An absolute path with `.` and `..` gone, as the words say and before any link is followed.
pub(super) fn clean(path: &str) -> String {
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

/// What takes the place of one mount of groups.
#[derive(Debug, Default)]
pub(super) struct CgroupView {
    pub(super) mounts: Vec<MountEntry>,
    /// What each says, and where it is.
    pub(super) links: Vec<(String, String)>,
}

/// The container's groups: of version 2 the one tree, of version 1 a folder for each hierarchy.
pub(super) fn cgroup_view(asked: &MountEntry, group: &Group, own_view: bool) -> CgroupView {
    let target = &asked.target;
    let bind = |path: &Path| MountKind::Bind {
        source: path.to_string_lossy().into_owned(),
        recursive: false,
    };
    let mount = |target: String, kind: MountKind| MountEntry {
        target,
        kind,
        attrs: asked.attrs,
        propagation: Some(Propagation::Private),
        create_target: TargetKind::Dir,
    };
    let views = match group.views() {
        View::Unified(path) => {
            // A new mount outside of a namespace of its own would change the options of the host's.
            let kind = if own_view {
                defaults::cgroup_unified().kind
            } else {
                bind(&path)
            };
            return CgroupView {
                mounts: vec![mount(target.clone(), kind)],
                links: Vec::new(),
            };
        }
        View::Hierarchies(views) => views,
    };
    // The folder stays writable until all are in it, as runc leaves it.
    let mut attrs = asked.attrs;
    attrs.set &= !attr::READ_ONLY;
    let mut folder = defaults::file_system(target, "tmpfs", attrs, &[("mode", "755")]);
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

    fn read(words: &[&str]) -> Result<Options, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        options(&words)
    }

    #[test]
    fn the_last_word_counts() {
        let options = read(&["ro", "nosuid", "rw", "noatime", "strictatime"]).unwrap();
        assert_eq!(options.attrs.set, attr::NO_SUID | attr::STRICT_ATIME);
        assert_eq!(options.attrs.clear, attr::ATIME_MASK);
    }

    #[test]
    fn attributes_of_mounts_below_are_told_apart() {
        let options = read(&["rbind", "rro", "ro"]).unwrap();
        assert!(options.attrs.recursive && options.bind == Some(true));
        assert_eq!(options.attrs.set, attr::READ_ONLY);
        assert!(!read(&["rbind", "ro"]).unwrap().attrs.recursive);
        assert!(read(&["rro", "nosuid"]).is_err());
        // No attribute of mounts below, but one of the mount.
        assert_eq!(read(&["relatime"]).unwrap().attrs.set, 0);
    }

    #[test]
    fn the_rest_is_the_file_systems() {
        let options = read(&["mode=755", "size=64k", "sync", "rprivate"]).unwrap();
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            options.data,
            [
                pair("mode", Some("755")),
                pair("size", Some("64k")),
                pair("sync", None)
            ]
        );
        assert_eq!(options.propagation, Some(Propagation::Private));
        assert_eq!(read(&["tmpcopyup"]), Err("tmpcopyup".to_owned()));
    }

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean("/a/./b//../c/"), "/a/c");
        assert_eq!(clean("../../etc"), "/etc");
        assert_eq!(clean(""), "/");
    }
}

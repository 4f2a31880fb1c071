//! What is mounted into a container: binds, volumes, tmpfs, from the short and the long form, as one list.

mod long;

use std::collections::{BTreeMap, BTreeSet};

use api_types::{Config, HostConfig};
use runtime::procfs::{self, Relation};
use serde::{Deserialize, Serialize};

use crate::outcome::{EngineError, Result};

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Source {
    /// A path of the host.
    Bind {
        path: String,
        /// Whether a missing path is made (`-v`) or refused (`--mount`).
        create: bool,
        recursive: bool,
    },
    /// A named or anonymous volume; `name` is empty until one is made.
    Volume {
        name: String,
        anonymous: bool,
        copy: bool,
        subpath: String,
        labels: BTreeMap<String, String>,
        /// Options of the driver, for a volume that is yet to be made.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        options: BTreeMap<String, String>,
    },
    /// Memory, with its mount options.
    Tmpfs { options: String },
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountSpec {
    pub(crate) source: Source,
    /// Absolute and normal path inside the container.
    pub(crate) target: String,
    pub(crate) read_only: bool,
    /// Mounts below it stay writable.
    #[serde(default)]
    pub(crate) only_top_read_only: bool,
    /// `private rprivate slave rslave shared rshared`, or empty for the default.
    pub(crate) propagation: String,
    /// The options as they were written, for `inspect`.
    pub(crate) mode: String,
}

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "slave", "rslave", "shared", "rshared",
];

/// All mounts of a request in the order in which they are mounted: a folder before what lies in it. Those that are
/// `borrowed` from other containers give way to what the request names itself.
///
/// # Errors
/// Docker's sentences; a target that appears twice is refused.
pub(crate) fn collect(
    config: &Config,
    host: &HostConfig,
    borrowed: Vec<MountSpec>,
) -> Result<Vec<MountSpec>> {
    let mut all = Vec::new();
    for bind in host.binds.iter().flatten() {
        all.push(parse_bind(bind)?);
    }
    for mount in &host.mounts {
        all.push(long::long_form(mount)?);
    }
    for (target, options) in &host.tmpfs {
        check_tmpfs(options)?;
        let target = absolute(target).map_err(EngineError::invalid)?;
        all.push(MountSpec {
            source: Source::Tmpfs {
                options: options.clone(),
            },
            target,
            read_only: options.split(',').any(|option| option == "ro"),
            only_top_read_only: false,
            propagation: String::new(),
            mode: String::new(),
        });
    }
    let mut targets = BTreeSet::new();
    for mount in &all {
        if !targets.insert(mount.target.clone()) {
            return Err(EngineError::invalid(format!(
                "Duplicate mount point: {}",
                mount.target
            )));
        }
    }
    // Of two containers' the later one's counts.
    for mount in borrowed.into_iter().rev() {
        if targets.insert(mount.target.clone()) {
            all.push(mount);
        }
    }
    for path in config.volumes.iter().flat_map(BTreeMap::keys) {
        // A path that does not begin at the root is taken as one that does, as in docker.
        let target = absolute(&format!("/{path}")).map_err(|why| {
            EngineError::invalid(format!("invalid volume specification: '{path}': {why}"))
        })?;
        if targets.insert(target.clone()) {
            all.push(MountSpec {
                source: anonymous(),
                target,
                read_only: false,
                only_top_read_only: false,
                propagation: String::new(),
                mode: String::new(),
            });
        }
    }
    all.iter().try_for_each(keep_procfs)?;
    all.sort_by(|a, b| {
        depth(&a.target)
            .cmp(&depth(&b.target))
            .then_with(|| a.target.cmp(&b.target))
    });
    Ok(all)
}

/// Reads `CONTAINER[:OPTIONS]` of `--volumes-from`: the container, and whether its mounts become read-only.
///
/// # Errors
/// Docker's sentences for an empty text and for options that are none.
pub(crate) fn parse_from(text: &str) -> Result<(&str, bool)> {
    if text.is_empty() {
        return Err(EngineError::invalid(
            "volumes-from specification cannot be an empty string",
        ));
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    let options = Options::parse(mode)?;
    if options.no_copy || options.propagation.is_some() {
        return Err(EngineError::invalid(format!("invalid mode: {mode}")));
    }
    Ok((container, options.read_only))
}

/// The mounts of another container as one that borrows them has them. Memory of `--tmpfs` is not lent.
pub(crate) fn lent(mounts: &[MountSpec], read_only: bool) -> impl Iterator<Item = MountSpec> {
    let lent = mounts.iter().filter(|mount| match mount.source {
        Source::Bind { .. } | Source::Volume { .. } => true,
        Source::Tmpfs { .. } => false,
    });
    lent.cloned().map(move |mut mount| {
        mount.read_only |= read_only;
        if let Source::Volume { copy, .. } = &mut mount.source {
            *copy = false;
        }
        mount
    })
}

/// Refuses what the runtime would refuse at the start: mounts that hide the container's procfs. Whether a bind onto
/// /proc itself brings a procfs is seen there.
fn keep_procfs(mount: &MountSpec) -> Result<()> {
    let kind = match mount.source {
        Source::Bind { .. } => "bind",
        Source::Volume { .. } => "volume",
        Source::Tmpfs { .. } => "tmpfs",
    };
    match (procfs::relation(&mount.target), &mount.source) {
        (Relation::Apart, _) | (Relation::Proc, Source::Bind { .. }) => Ok(()),
        (Relation::Inside | Relation::Proc, _) => Err(EngineError::invalid(format!(
            "invalid mount config for type \"{kind}\": check proc-safety of {} mount: {}",
            mount.target,
            procfs::refusal(&mount.target)
        ))),
    }
}

/// Makes read-only binds leave what is mounted below them as it is.
pub(crate) fn keep_below_writable(mounts: &mut [MountSpec]) {
    for mount in mounts {
        mount.only_top_read_only |= mount.read_only && matches!(mount.source, Source::Bind { .. });
    }
}

fn depth(path: &str) -> usize {
    path.bytes().filter(|&byte| byte == b'/').count()
}

fn anonymous() -> Source {
    Source::Volume {
        name: String::new(),
        anonymous: true,
        copy: true,
        subpath: String::new(),
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    }
}

/// Reads `[SOURCE:]TARGET[:OPTIONS]`.
fn parse_bind(text: &str) -> Result<MountSpec> {
    let invalid = || EngineError::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] if !source.is_empty() => (*source, *target, ""),
        [source, target, mode] if !source.is_empty() && !mode.is_empty() => {
            (*source, *target, *mode)
        }
        _ => return Err(invalid()),
    };
    let kind = match source.starts_with('/') {
        true => "bind",
        false => "volume",
    };
    let refuse = |why: &str| {
        EngineError::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": {why}"
        ))
    };
    let options = Options::parse(mode)?;
    let target = absolute(target).map_err(|why| refuse(&why))?;
    let source = if source.is_empty() {
        anonymous()
    } else if source.starts_with('/') {
        if options.no_copy {
            return Err(refuse("field VolumeOptions must not be specified"));
        }
        Source::Bind {
            path: normal(source),
            create: true,
            recursive: true,
        }
    } else {
        if options.propagation.is_some() {
            return Err(refuse("field BindOptions must not be specified"));
        }
        Source::Volume {
            name: volume_name(source)?.to_owned(),
            anonymous: false,
            copy: !options.no_copy,
            subpath: String::new(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    };
    Ok(MountSpec {
        source,
        target,
        read_only: options.read_only,
        only_top_read_only: false,
        propagation: options.propagation.unwrap_or_default().to_owned(),
        mode: mode.to_owned(),
    })
}

#[derive(Default)]
struct Options<'a> {
    read_only: bool,
    no_copy: bool,
    propagation: Option<&'a str>,
}

impl<'a> Options<'a> {
    /// `z` and `Z` ask for an SELinux label; without SELinux they mean nothing, here as in docker.
    fn parse(mode: &'a str) -> Result<Options<'a>> {
        let invalid = || Err(EngineError::invalid(format!("invalid mode: {mode}")));
        let mut options = Options::default();
        // Of each kind one may be given.
        let (mut access, mut label, mut consistency) = (false, false, false);
        for option in mode.split(',').filter(|option| !option.is_empty()) {
            let twice = match option {
                "ro" | "readonly" => {
                    options.read_only = true;
                    std::mem::replace(&mut access, true)
                }
                "rw" => std::mem::replace(&mut access, true),
                "z" | "Z" => std::mem::replace(&mut label, true),
                "consistent" | "cached" | "delegated" | "default" => {
                    std::mem::replace(&mut consistency, true)
                }
                "nocopy" => std::mem::replace(&mut options.no_copy, true),
                _ if PROPAGATIONS.contains(&option) => {
                    options.propagation.replace(option).is_some()
                }
                _ => return invalid(),
            };
            if twice {
                return invalid();
            }
        }
        Ok(options)
    }
}

/// Options of the mount itself and of tmpfs that may be asked for. As in docker the last one that is none is told, and
/// an empty one is none.
fn check_tmpfs(options: &str) -> Result<()> {
    const FLAGS: [&str; 22] = [
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "sync",
        "async",
        "dirsync",
        "mand",
        "nomand",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "defaults",
    ];
    const VALUES: [&str; 7] = [
        "size",
        "mode",
        "uid",
        "gid",
        "nr_inodes",
        "nr_blocks",
        "mpol",
    ];
    if options.is_empty() {
        return Ok(());
    }
    for option in options.rsplit(',') {
        let known = match option.split_once('=') {
            Some((name, _)) => VALUES.contains(&name),
            None => FLAGS.contains(&option) || PROPAGATIONS.contains(&option),
        };
        if !known {
            let parts: Vec<_> = option
                .splitn(2, '=')
                .map(|part| format!("{part:?}"))
                .collect();
            return Err(EngineError::invalid(format!(
                "invalid tmpfs option [{}]",
                parts.join(" ")
            )));
        }
    }
    Ok(())
}

/// Checks the name of a volume, in docker's words.
pub(crate) fn volume_name(name: &str) -> Result<&str> {
    if types::valid_volume_name(name) {
        return Ok(name);
    }
    if name.len() == 1 {
        return Err(EngineError::invalid(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    Err(EngineError::invalid(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// A path inside a container that something can be mounted on, or why it is none.
fn absolute(target: &str) -> std::result::Result<String, String> {
    if !target.starts_with('/') {
        return Err(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        ));
    }
    match normal(target) {
        root if root == "/" => Err("invalid specification: destination can't be '/'".to_owned()),
        path => Ok(path),
    }
}

/// Removes `.`, `..` and repeated slashes from an absolute path, by its text alone.
pub(crate) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use api_types::Mount;

    use super::long::long_form;
    use super::*;

    fn refused(bind: &str) -> String {
        parse_bind(bind).unwrap_err().to_string()
    }

    #[test]
    fn the_short_form_is_read() {
        let mount = parse_bind("/srv//www/:/www:ro,rslave").unwrap();
        assert_eq!(
            mount.source,
            Source::Bind {
                path: "/srv/www".into(),
                create: true,
                recursive: true
            }
        );
        assert_eq!(
            (
                mount.target.as_str(),
                mount.read_only,
                mount.propagation.as_str()
            ),
            ("/www", true, "rslave")
        );
        let mount = parse_bind("data:/data:nocopy").unwrap();
        assert!(
            matches!(mount.source, Source::Volume { ref name, copy: false, .. } if name == "data")
        );
        assert!(matches!(
            parse_bind("/data").unwrap().source,
            Source::Volume {
                anonymous: true,
                ..
            }
        ));
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        assert_eq!(
            refused("/a:/b:/c:ro"),
            "invalid volume specification: '/a:/b:/c:ro'"
        );
        assert_eq!(
            refused("/a:b"),
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute"
        );
        assert_eq!(
            refused("/a:/"),
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"
        );
        assert_eq!(refused("/a:/b:bogus"), "invalid mode: bogus");
        assert_eq!(refused("/a:/b:ro,rw"), "invalid mode: ro,rw");
        assert!(refused("ab:/b:shared").ends_with("field BindOptions must not be specified"));
        assert!(refused("/a:/b:nocopy").ends_with("field VolumeOptions must not be specified"));
        assert!(refused("x:/b").starts_with("create x: volume name is too short"));
        assert!(refused("a/b:/c").contains("includes invalid characters for a local volume name"));
    }

    #[test]
    fn options_of_memory_are_refused_in_docker_s_words() {
        for good in [
            "",
            "defaults",
            "ro,size=1m,mode=700,mpol=default",
            "nodiratime",
            "rshared,size=1m",
        ] {
            assert!(check_tmpfs(good).is_ok(), "{good}");
        }
        for (bad, told) in [
            ("foo=bar", r#"["foo" "bar"]"#),
            ("zz,foo=b=c,ro", r#"["foo" "b=c"]"#),
            ("ro,", r#"[""]"#),
            ("size", r#"["size"]"#),
            ("=1", r#"["" "1"]"#),
        ] {
            assert_eq!(
                check_tmpfs(bad).unwrap_err().to_string(),
                format!("invalid tmpfs option {told}")
            );
        }
    }

    #[test]
    fn a_target_is_mounted_once_and_folders_come_before_what_they_hold() {
        let host = HostConfig {
            binds: Some(vec!["/x:/a/b".into(), "/y:/a".into()]),
            ..Default::default()
        };
        let volumes = ["/a", "/v"].map(|path| (path.to_owned(), Default::default()));
        let config = Config {
            volumes: Some(volumes.into()),
            ..Default::default()
        };
        let targets: Vec<_> = collect(&config, &host, Vec::new())
            .unwrap()
            .into_iter()
            .map(|mount| mount.target)
            .collect();
        assert_eq!(targets, ["/a", "/v", "/a/b"]);
        let twice = HostConfig {
            binds: Some(vec!["/x:/a".into(), "/y:/a".into()]),
            ..Default::default()
        };
        assert_eq!(
            collect(&Config::default(), &twice, Vec::new())
                .unwrap_err()
                .to_string(),
            "Duplicate mount point: /a"
        );
    }

    #[test]
    fn mounts_of_others_give_way_to_ones_own() {
        let theirs = |bind: &str| parse_bind(bind).unwrap();
        let memory = MountSpec {
            source: Source::Tmpfs {
                options: String::new(),
            },
            ..theirs("/x:/memory")
        };
        let first = [theirs("one:/a"), theirs("/one:/b"), memory];
        let second = [theirs("two:/a:ro"), theirs("two:/c")];
        let borrowed = lent(&first, true).chain(lent(&second, false)).collect();
        let host = HostConfig {
            binds: Some(vec!["/own:/c".into()]),
            ..Default::default()
        };
        let config = Config {
            volumes: Some([("/b".to_owned(), Default::default())].into()),
            ..Default::default()
        };
        let all = collect(&config, &host, borrowed).unwrap();
        let told: Vec<_> = all
            .iter()
            .map(|mount| (mount.target.as_str(), mount.read_only))
            .collect();
        assert_eq!(told, [("/a", true), ("/b", true), ("/c", false)]);
        assert!(
            matches!(&all[0].source, Source::Volume { name, copy: false, .. } if name == "two")
        );
        assert!(matches!(&all[1].source, Source::Bind { path, .. } if path == "/one"));
        assert!(matches!(&all[2].source, Source::Bind { path, .. } if path == "/own"));
    }

    #[test]
    fn containers_to_borrow_from_are_read() {
        assert_eq!(parse_from("web").unwrap(), ("web", false));
        assert_eq!(parse_from("web:ro").unwrap(), ("web", true));
        assert_eq!(parse_from("web:rw,z").unwrap(), ("web", false));
        let refused = |text| parse_from(text).unwrap_err().to_string();
        assert_eq!(refused("web:zz"), "invalid mode: zz");
        assert_eq!(refused("web:nocopy"), "invalid mode: nocopy");
        assert_eq!(
            refused(""),
            "volumes-from specification cannot be an empty string"
        );
    }

    #[test]
    fn what_would_hide_the_procfs_is_refused() {
        let binds = |bind: &str| HostConfig {
            binds: Some(vec![bind.to_owned()]),
            ..Default::default()
        };
        let tmpfs = HostConfig {
            tmpfs: [("/proc".to_owned(), String::new())].into(),
            ..Default::default()
        };
        let of_image = |path: &str| Config {
            volumes: Some([(path.to_owned(), Default::default())].into()),
            ..Default::default()
        };
        let none = || (Config::default(), HostConfig::default());
        let refused = |(config, host): (Config, HostConfig)| {
            collect(&config, &host, Vec::new())
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let sentence = |kind: &str, target: &str, why: &str| {
            Err(format!(
                "invalid mount config for type \"{kind}\": check proc-safety of {target} mount: \
                 \"{target}\" cannot be mounted because it is {why}"
            ))
        };
        assert_eq!(
            refused((none().0, binds("/x:/proc/sys/../1"))),
            sentence("bind", "/proc/1", "inside /proc")
        );
        assert_eq!(
            refused((none().0, binds("data:/proc"))),
            sentence("volume", "/proc", "not of type proc")
        );
        assert_eq!(
            refused((none().0, tmpfs)),
            sentence("tmpfs", "/proc", "not of type proc")
        );
        for path in ["/proc/1", "proc/1"] {
            assert_eq!(
                refused((of_image(path), none().1)),
                sentence("volume", "/proc/1", "inside /proc")
            );
        }
        for bind in ["/proc:/proc", "/x:/proc/meminfo", "/x:/process"] {
            assert_eq!(refused((none().0, binds(bind))), Ok(()));
        }
    }

    #[test]
    fn a_bind_of_the_long_form_refuses_a_missing_source() {
        let mount = Mount {
            kind: "bind".into(),
            source: "/s".into(),
            target: "/t".into(),
            ..Default::default()
        };
        assert!(matches!(
            long_form(&mount).unwrap().source,
            Source::Bind { create: false, .. }
        ));
        let mount = Mount {
            kind: "bind".into(),
            target: "/t".into(),
            ..Default::default()
        };
        assert_eq!(
            long_form(&mount).unwrap_err().to_string(),
            "invalid mount config for type \"bind\": field Source must not be empty"
        );
    }
}

//! The class of service of the container's processes (`linux.intelRdt`).

use std::path::{Path, PathBuf};

use runtime::resctrl::{DEFAULT_CLASS, Service};

use crate::cli::is_unprivileged;
use crate::error::{Error, Result};
use crate::mountinfo::{self, Mount};
use crate::spec::IntelRdt;

const FIELD: &str = "linux.intelRdt";
/// The file system's name.
const RESCTRL: &str = "resctrl";

/// What is asked for, and where the file system is mounted.
#[derive(Debug)]
pub(crate) struct Rdt {
    pub(crate) root: PathBuf,
    pub(crate) service: Service,
}

/// Reads the field, and looks for the file system, without which nothing comes of it.
pub(super) fn compile(asked: Option<&IntelRdt>) -> Result<Option<Rdt>> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    let service = service(asked)?;
    let cannot = |why: &str| Error::field(FIELD, format!("it cannot be applied: {why}"));
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.lines().any(|line| line.ends_with("\tresctrl")) {
        return Err(cannot("this kernel has no resctrl file system"));
    }
    if is_unprivileged() {
        return Err(cannot("it needs rights over the host"));
    }
    let mounts = mountinfo::read(Path::new("/proc/self/mountinfo"))?;
    match place(mounts) {
        Some(root) => Ok(Some(Rdt { root, service })),
        None => Err(cannot("the resctrl file system is not mounted")),
    }
}

fn place(mounts: Vec<Mount>) -> Option<PathBuf> {
    let mut mounts = mounts.into_iter();
    let found = mounts.find(|mount| mount.kind == RESCTRL && mount.root == "/");
    found.map(|mount| mount.place.into())
}

fn service(asked: &IntelRdt) -> Result<Service> {
    let wrong = |name: &str, why: String| Err(Error::field(format!("{FIELD}.{name}"), why));
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let class = set(&asked.clos_id);
    if let Some(name) = class.as_deref()
        && name != DEFAULT_CLASS
        && (matches!(name, "." | "..") || name.contains(['/', '\0', '\n']))
    {
        return wrong("closID", format!("{name:?} is no name of a class"));
    }
    let (caches, bandwidth) = (set(&asked.l3_cache_schema), set(&asked.mem_bw_schema));
    if let Some(line) = &bandwidth
        && (!line.starts_with("MB:") || line.contains('\n'))
    {
        let why = format!("{line:?} is not one line that begins with MB:");
        return wrong("memBwSchema", why);
    }
    let written = asked.schemata.clone().unwrap_or_default();
    if let Some((index, line)) =
        { written.iter().enumerate() }.find(|(_, line)| line.contains('\n'))
    {
        return wrong(
            &format!("schemata[{index}]"),
            format!("{line:?} is more than one line"),
        );
    }
    let caches = caches.iter().flat_map(|text| text.lines());
    Ok(Service {
        class,
        shares: caches.map(str::to_owned).chain(bandwidth).collect(),
        written,
        monitored: asked.enable_monitoring == Some(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Service> {
        service(&crate::spec::parse("test", text).unwrap())
    }

    #[test]
    fn a_class_and_its_lines_are_read() {
        let found = read(
            r#"{"closID": "gold", "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f;1=f",
                "schemata": ["L2:0=3", "L3:0=1"], "enableMonitoring": true}"#,
        );
        let found = found.unwrap();
        assert_eq!(found.class.as_deref(), Some("gold"));
        assert_eq!(found.shares, ["L3:0=f;1=f", "MB:0=20"]);
        assert_eq!(found.written, ["L2:0=3", "L3:0=1"]);
        assert!(found.monitored);
        assert_eq!(read("{}").unwrap(), Service::default());
        assert_eq!(
            read(r#"{"closID": "/"}"#).unwrap().class.as_deref(),
            Some("/")
        );
        for (text, field) in [
            (r#"{"closID": "a/b"}"#, "linux.intelRdt.closID"),
            (r#"{"closID": ".."}"#, "linux.intelRdt.closID"),
            (r#"{"memBwSchema": "L3:0=1"}"#, "linux.intelRdt.memBwSchema"),
            (
                r#"{"memBwSchema": "MB:0=1\nL3:0=1"}"#,
                "linux.intelRdt.memBwSchema",
            ),
            (
                r#"{"schemata": ["a", "b\nc"]}"#,
                "linux.intelRdt.schemata[1]",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn the_file_system_is_found_where_it_is_mounted() {
        let text = "1 0 0:20 / / rw - ext4 /dev/x rw\n2 1 0:9 /gold /part rw shared:3 - resctrl resctrl rw\n\
            3 1 0:9 / /sys/fs/re\\040sctrl rw,nosuid shared:3 master:1 - resctrl resctrl rw\n";
        let found = place(mountinfo::parse(text)).unwrap();
        assert_eq!(found, Path::new("/sys/fs/re sctrl"));
        assert_eq!(
            place(mountinfo::parse("1 0 0:20 / / rw - ext4 resctrl rw\n")),
            None
        );
    }
}

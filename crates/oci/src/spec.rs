//! A bundle's `config.json`, by the OCI runtime specification 1.3.
//!
//! Everything that the specification knows for Linux has a field here, so that what is asked for and not built can be
//! refused by name (`tests/runtime/schema.rs` compares with the published schema). What it does not know is passed over,
//! as it wants it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::objects::ObjectsOnly;

/// The version that documents of ours are written in.
pub(crate) const VERSION: &str = "1.3.0";
/// Its second number: a document of a later one may ask for what is not known here.
const MINOR: u64 = 3;
/// The file's name in a bundle.
pub(crate) const FILE: &str = "config.json";
/// The annotation that has `process.landlock` as a text.
const LANDLOCK: &str = "org.wharf.landlock";
/// The largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// A structure of the document. After `needs` stand the fields without which there is none, by both names.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident $(needs($($need:ident = $word:literal),*))? {
        $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize, Serialize)]
        #[serde(default, rename_all = "camelCase", remote = "Self")]
        pub(crate) struct $name {
            $($(#[$attr])* #[serde(skip_serializing_if = "Option::is_none")] pub(crate) $field: Option<$type>,)*
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                let made = Self::deserialize(ObjectsOnly(from))?;
                $($(if made.$need.is_none() {
                    return Err(serde::de::Error::missing_field($word));
                })*)?
                Ok(made)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
                Self::serialize(self, to)
            }
        }
    };
}

object!(
    /// The whole file.
    Spec {
        oci_version: String,
        process: Process,
        root: Root,
        hostname: String,
        domainname: String,
        mounts: Vec<Mount>,
        hooks: Hooks,
        annotations: BTreeMap<String, String>,
        linux: Linux,
        vm: Value,
    }
);

object!(Root {
    path: String,
    readonly: bool,
});

object!(Process {
    terminal: bool,
    console_size: ConsoleSize,
    user: User,
    args: Vec<String>,
    env: Vec<String>,
    cwd: String,
    capabilities: Capabilities,
    rlimits: Vec<Rlimit>,
    no_new_privileges: bool,
    apparmor_profile: String,
    oom_score_adj: i32,
    scheduler: Scheduler,
    selinux_label: String,
    io_priority: IoPriority,
    #[serde(rename = "execCPUAffinity")]
    exec_cpu_affinity: Affinity,
    landlock: Landlock,
});

object!(
    /// Not of the specification: the form that was proposed for it. See docs/runtime.md.
    Landlock {
        ruleset: LandlockRuleset,
        rules: LandlockRules,
    }
);

object!(LandlockRuleset {
    #[serde(rename = "handledAccessFS")]
    files: Vec<String>,
    #[serde(rename = "handledAccessNet")]
    network: Vec<String>,
    scoped: Vec<String>,
});

object!(LandlockRules {
    path_beneath: Vec<PathBeneath>,
    net_port: Vec<NetPort>,
});

object!(PathBeneath needs(paths = "paths", allowed_access = "allowedAccess") {
    paths: Vec<String>,
    allowed_access: Vec<String>,
});

object!(NetPort needs(ports = "ports", allowed_access = "allowedAccess") {
    ports: Vec<u16>,
    allowed_access: Vec<String>,
});

object!(Affinity {
    initial: String,
    #[serde(rename = "final")]
    last: String,
});

object!(ConsoleSize needs(height = "height", width = "width") {
    height: u16,
    width: u16,
});

object!(User {
    uid: u32,
    gid: u32,
    umask: u32,
    additional_gids: Vec<u32>,
    username: String,
});

object!(Capabilities {
    bounding: Vec<String>,
    effective: Vec<String>,
    permitted: Vec<String>,
    inheritable: Vec<String>,
    ambient: Vec<String>,
});

object!(Rlimit needs(kind = "type", soft = "soft", hard = "hard") {
    #[serde(rename = "type")]
    kind: String,
    soft: u64,
    hard: u64,
});

object!(Scheduler needs(policy = "policy") {
    policy: String,
    nice: i32,
    priority: i32,
    flags: Vec<String>,
    runtime: u64,
    deadline: u64,
    period: u64,
});

object!(IoPriority needs(class = "class") {
    class: String,
    priority: i32,
});

object!(Mount needs(destination = "destination") {
    destination: String,
    #[serde(rename = "type")]
    kind: String,
    source: String,
    options: Vec<String>,
    uid_mappings: Vec<IdMapping>,
    gid_mappings: Vec<IdMapping>,
});

object!(IdMapping needs(container_id = "containerID", host_id = "hostID", size = "size") {
    #[serde(rename = "containerID")]
    container_id: u32,
    #[serde(rename = "hostID")]
    host_id: u32,
    size: u32,
});

object!(
    /// Programs that run at points of a container's life.
    Hooks {
        prestart: Vec<Hook>,
        create_runtime: Vec<Hook>,
        create_container: Vec<Hook>,
        start_container: Vec<Hook>,
        poststart: Vec<Hook>,
        poststop: Vec<Hook>,
    }
);

object!(Hook needs(path = "path") {
    path: String,
    args: Vec<String>,
    env: Vec<String>,
    timeout: i64,
});

object!(Linux {
    uid_mappings: Vec<IdMapping>,
    gid_mappings: Vec<IdMapping>,
    time_offsets: BTreeMap<String, TimeOffset>,
    sysctl: BTreeMap<String, String>,
    resources: Resources,
    cgroups_path: String,
    namespaces: Vec<Namespace>,
    devices: Vec<Device>,
    net_devices: BTreeMap<String, NetDevice>,
    seccomp: Box<RawValue>,
    rootfs_propagation: String,
    masked_paths: Vec<String>,
    readonly_paths: Vec<String>,
    mount_label: String,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    personality: Personality,
});

object!(NetDevice { name: String });

object!(IntelRdt {
    #[serde(rename = "closID")]
    clos_id: String,
    schemata: Vec<String>,
    l3_cache_schema: String,
    mem_bw_schema: String,
    enable_monitoring: bool,
});

object!(MemoryPolicy {
    mode: String,
    nodes: String,
    flags: Vec<String>,
});

object!(TimeOffset {
    secs: i64,
    nanosecs: u32,
});

object!(Namespace needs(kind = "type") {
    #[serde(rename = "type")]
    kind: String,
    path: String,
});

object!(Device needs(path = "path", kind = "type") {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    major: i64,
    minor: i64,
    file_mode: u32,
    uid: u32,
    gid: u32,
});

object!(Personality {
    domain: String,
    flags: Vec<String>,
});

object!(
    /// What a container's group limits. Also the form of `update --resources`.
    Resources {
        devices: Vec<DeviceRule>,
        memory: Memory,
        cpu: Cpu,
        pids: Pids,
        #[serde(rename = "blockIO")]
        block_io: BlockIo,
        hugepage_limits: Vec<HugepageLimit>,
        network: Network,
        rdma: BTreeMap<String, Rdma>,
        unified: BTreeMap<String, String>,
    }
);

object!(BlockIo {
    weight: u16,
    leaf_weight: u16,
    weight_device: Vec<WeightDevice>,
    throttle_read_bps_device: Vec<ThrottleDevice>,
    throttle_write_bps_device: Vec<ThrottleDevice>,
    #[serde(rename = "throttleReadIOPSDevice")]
    throttle_read_iops_device: Vec<ThrottleDevice>,
    #[serde(rename = "throttleWriteIOPSDevice")]
    throttle_write_iops_device: Vec<ThrottleDevice>,
});

object!(WeightDevice needs(major = "major", minor = "minor") {
    major: i64,
    minor: i64,
    weight: u16,
    leaf_weight: u16,
});

object!(ThrottleDevice needs(major = "major", minor = "minor") {
    major: i64,
    minor: i64,
    rate: u64,
});

object!(HugepageLimit needs(page_size = "pageSize", limit = "limit") {
    page_size: String,
    limit: u64,
});

object!(Network {
    #[serde(rename = "classID")]
    class_id: u32,
    priorities: Vec<InterfacePriority>,
});

object!(InterfacePriority needs(name = "name", priority = "priority") {
    name: String,
    priority: u32,
});

object!(Rdma {
    hca_handles: u32,
    hca_objects: u32,
});

object!(DeviceRule needs(allow = "allow") {
    allow: bool,
    #[serde(rename = "type")]
    kind: String,
    major: i64,
    minor: i64,
    access: String,
});

object!(Memory {
    limit: i64,
    reservation: i64,
    swap: i64,
    kernel: i64,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: i64,
    swappiness: u64,
    #[serde(rename = "disableOOMKiller")]
    disable_oom_killer: bool,
    use_hierarchy: bool,
    check_before_update: bool,
});

object!(Cpu {
    shares: u64,
    quota: i64,
    burst: u64,
    period: u64,
    realtime_runtime: i64,
    realtime_period: u64,
    cpus: String,
    mems: String,
    idle: i64,
});

object!(Pids { limit: i64 });

impl Spec {
    /// Reads a bundle's file and looks whether it is one.
    ///
    /// # Errors
    /// The file is missing, is no JSON, has a field of a wrong type (which is named), or is of another version.
    pub(crate) fn load(bundle: &Path) -> Result<Self> {
        let path = bundle.join(FILE);
        let text = match read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoConfig);
            }
            other => other.map_err(|source| Error::io("reading", &path, source))?,
        };
        let mut spec: Self = parse(FILE, &text)?;
        spec.check_version()?;
        if let Some(process) = &mut spec.process {
            process.take_landlock(spec.annotations.as_ref())?;
        }
        Ok(spec)
    }

    pub(crate) fn check_version(&self) -> Result<()> {
        let version = self.oci_version.as_deref().unwrap_or_default();
        let wrong = |why: String| Err(Error::field("ociVersion", why));
        match numbers(version) {
            _ if version.is_empty() => wrong("it is missing".to_owned()),
            Some([1, ..=MINOR]) => Ok(()),
            Some([1..=u64::MAX, _]) => wrong(format!(
                "{version:?} is newer than what this runtime knows, which is {VERSION}"
            )),
            _ => wrong(format!(
                "{version:?} is not a version that this runtime knows, which is 1.x.x up to {VERSION}"
            )),
        }
    }

    pub(crate) fn linux(&self) -> &Linux {
        static NONE: Linux = Linux::NONE;
        self.linux.as_ref().unwrap_or(&NONE)
    }
}

impl Linux {
    const NONE: Self = Self {
        uid_mappings: None,
        gid_mappings: None,
        time_offsets: None,
        sysctl: None,
        resources: None,
        cgroups_path: None,
        namespaces: None,
        devices: None,
        net_devices: None,
        seccomp: None,
        rootfs_propagation: None,
        masked_paths: None,
        readonly_paths: None,
        mount_label: None,
        intel_rdt: None,
        memory_policy: None,
        personality: None,
    };
}

/// The first two numbers of a version of three, behind which an addition may stand (`1.0.2-dev`, `1.3.0+x`).
fn numbers(version: &str) -> Option<[u64; 2]> {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Option<Vec<u64>> = plain.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some(&[major, minor, _]) => Some([major, minor]),
        _ => None,
    }
}

/// Reads JSON of one of the types above. `what` is the document's name in errors.
pub(crate) fn parse<'t, T: Deserialize<'t>>(what: &str, text: &'t str) -> Result<T> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // Once more, slower, to learn which field it was.
        Err(plain) => {
            let mut from = serde_json::Deserializer::from_str(text);
            let field = match serde_path_to_error::deserialize::<_, T>(&mut from) {
                Err(error) => error.path().to_string(),
                Ok(_) => String::new(),
            };
            // It writes `.` for the whole and `?` for what it cannot tell.
            let field = match field.as_str() {
                "" | "." | "?" => String::new(),
                field => format!(" {field}:"),
            };
            Err(Error::Json {
                what: what.to_owned(),
                why: format!("{field} {plain}"),
            })
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let mut text = String::new();
    // A named pipe would hold the command up until somebody writes.
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let length = found.len();
    if length > MAX_BYTES {
        let why = format!("it has {length} bytes, the limit is {MAX_BYTES}");
        return Err(std::io::Error::other(why));
    }
    text.reserve_exact(length as usize + 1);
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

impl Process {
    /// Takes the rules of Landlock from the annotation of an engine that has no field for them.
    fn take_landlock(&mut self, annotations: Option<&BTreeMap<String, String>>) -> Result<()> {
        let text = annotations.and_then(|all| all.get(LANDLOCK));
        if let (None, Some(text)) = (&self.landlock, text.filter(|text| !text.is_empty())) {
            self.landlock = Some(parse(&format!("{FILE}: annotations: {LANDLOCK}"), text)?);
        }
        Ok(())
    }
}

/// Whether a value asks for nothing: null, zero, false, empty, or made of such.
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

/// Refuses a field that is not built.
pub(crate) fn refuse(field: &str, value: Option<&Value>) -> Result<()> {
    match value {
        Some(value) if !is_nothing(value) => Err(Error::unsupported(field)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_as_go_finds_them() {
        let text = r#"{"OCIversion": "1.0.0", "linux": {"resources": {
            "CPU": {"Cpus": "0", "QUOTA": 5}, "hugepageLimits": [{"pagesize": "2MB", "limit": 1}], "cpuX": {}}},
            "annotations": {"Limit": "kept"}}"#;
        let spec = parse::<Spec>(FILE, text).unwrap();
        assert_eq!(spec.oci_version.as_deref(), Some("1.0.0"));
        assert!(spec.annotations.unwrap().contains_key("Limit"));
        let resources = spec.linux.unwrap().resources.unwrap();
        let cpu = resources.cpu.unwrap();
        assert_eq!((cpu.cpus.as_deref(), cpu.quota), (Some("0"), Some(5)));
        let pages = &resources.hugepage_limits.unwrap()[0];
        assert_eq!(pages.page_size.as_deref(), Some("2MB"));
        let wrong = r#"{"Process": {"Args": ["a", 3]}}"#;
        let error = parse::<Spec>(FILE, wrong).unwrap_err().to_string();
        assert!(error.starts_with("config.json: Process.Args[1]"), "{error}");
        let twice = r#"{"hostname": "a", "hostName": "b"}"#;
        let error = parse::<Spec>(FILE, twice).unwrap_err().to_string();
        assert!(error.contains("duplicate field `hostname`"), "{error}");
    }

    #[test]
    fn a_wrong_type_is_told_with_its_field() {
        let cases = [
            (r#"{"ociVersion": 3}"#, "ociVersion"),
            (r#"{"process": {"user": {"uid": "0"}}}"#, "process.user.uid"),
            (r#"{"process": {"args": ["a", 3]}}"#, "process.args[1]"),
            (r#"{"process": []}"#, "process"),
            (
                r#"{"linux": {"seccomp": {"syscalls": []}, "resources": {"memory": {"limit": "1"}}}}"#,
                "linux.resources.memory.limit",
            ),
            (
                r#"{"mounts": [{"destination": {}}]}"#,
                "mounts[0].destination",
            ),
        ];
        for (text, field) in cases {
            let error = parse::<Spec>(FILE, text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("config.json: {field}: invalid type")),
                "{error}"
            );
        }
        let error = parse::<Spec>(FILE, "{").unwrap_err().to_string();
        assert!(error.starts_with("config.json: EOF"), "{error}");
    }

    #[test]
    fn unknown_fields_are_passed_over_and_null_is_nothing() {
        let text = r#"{"ociVersion": "1.0.2-dev", "future": {}, "mounts": null, "linux": {"seccomp": null}}"#;
        let spec: Spec = parse(FILE, text).unwrap();
        assert!(spec.mounts.is_none() && spec.check_version().is_ok());
        assert!(spec.linux().seccomp.is_none());
    }

    #[test]
    fn other_versions_are_refused() {
        for version in ["1.0.0", "1.0.2-dev", "1.2.1", "1.3.0+wharf", "1.3.7"] {
            let spec = Spec {
                oci_version: Some(version.to_owned()),
                ..Spec::default()
            };
            assert!(spec.check_version().is_ok(), "{version}");
        }
        for version in [
            "2.0.0",
            "1.4.0",
            "1.99.0-rc.1",
            "0.9.1",
            "1",
            "1.2",
            "1.2.0.4",
            "1.+2.0",
            "",
            "one",
            "-1.2.3",
            "1.99999999999999999999.0",
        ] {
            let spec = Spec {
                oci_version: Some(version.to_owned()),
                ..Spec::default()
            };
            let error = spec.check_version().unwrap_err().to_string();
            assert!(error.contains("ociVersion"), "{error}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_not_refused() {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for text in ["null", "{}", "[]", r#"{"weight": 0, "weightDevice": null}"#] {
            assert!(refuse("x", Some(&value(text))).is_ok(), "{text}");
        }
        let error = refuse("vm", Some(&value(r#"{"kernel": "a"}"#)));
        assert_eq!(
            error.unwrap_err().to_string(),
            "config.json: vm is not supported"
        );
    }
}

//! Profiles in JSON: Docker's format, and the `linux.seccomp` object of an OCI bundle.

use serde::Deserialize;

use crate::caps::{CapSet, Capability};

use super::profile::{
    Action, Arch, Architectures, Argument, Comparison, Condition, Listener, Profile, Rule,
};
use super::{
    FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_WAIT_KILLABLE_RECV, KernelVersion, SeccompError,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileJson {
    default_action: String,
    default_errno_ret: Option<u16>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMapJson>>,
    flags: Option<Vec<String>>,
    syscalls: Option<Vec<RuleJson>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMapJson {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleJson {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<ArgumentJson>>,
    #[serde(default)]
    includes: ConditionJson,
    #[serde(default)]
    excludes: ConditionJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArgumentJson {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConditionJson {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    /// Reads a profile. Names of calls that this program does not know are kept and have no effect; every other
    /// unknown word is an error, since ignoring it could allow what was meant to be denied.
    pub fn from_json(text: &str) -> Result<Profile, SeccompError> {
        let json: ProfileJson =
            serde_json::from_str(text).map_err(|source| broken(text, source))?;
        let listener = json
            .listener_path
            .filter(|path| !path.is_empty())
            .map(|path| Listener {
                path,
                metadata: json.listener_metadata.unwrap_or_default(),
            });
        let default_errno = json.default_errno_ret;
        let default_action = action(&json.default_action, default_errno)?;
        let profile = Profile {
            default_action,
            architectures: architectures(json.architectures, json.arch_map)?,
            flags: flags(json.flags)?,
            rules: json
                .syscalls
                .unwrap_or_default()
                .into_iter()
                .map(rule)
                .collect::<Result<_, _>>()?,
            listener,
        };
        check_listener(&profile)?;
        Ok(profile)
    }
}

/// Reads the text once more, slower, to learn which field is wrong.
fn broken(text: &str, source: serde_json::Error) -> SeccompError {
    let mut from = serde_json::Deserializer::from_str(text);
    let field = match serde_path_to_error::deserialize::<_, ProfileJson>(&mut from) {
        Err(error) => error.path().to_string(),
        Ok(_) => String::new(),
    };
    // It writes `.` for the whole and `?` for what it cannot tell.
    let field = match field.as_str() {
        "" | "." | "?" => String::new(),
        field => format!("{field}: "),
    };
    SeccompError::Json { field, source }
}

/// A supervisor can only be asked once it has the listener.
fn check_listener(profile: &Profile) -> Result<(), SeccompError> {
    if profile.default_action == Action::Notify {
        return Err(invalid("SCMP_ACT_NOTIFY cannot be used as default action"));
    }
    if !profile.notifies() {
        return Ok(());
    }
    if profile.listener.is_none() {
        return Err(invalid("SCMP_ACT_NOTIFY needs a listenerPath"));
    }
    let mut asking = profile.rules.iter();
    let hands_over = |rule: &Rule| {
        let asks = |call: &&&str| rule.names.iter().any(|name| name == **call);
        (rule.action == Action::Notify).then(|| HAND_OVER.iter().find(asks))?
    };
    match asking.find_map(hands_over) {
        Some(call) => Err(invalid(&format!(
            "SCMP_ACT_NOTIFY cannot be used for the {call} syscall, by which the listener is handed over"
        ))),
        None => Ok(()),
    }
}

/// Calls by which a process hands its listener over: ours, and runc's, so that what is written for one is for both.
const HAND_OVER: [&str; 2] = ["sendmsg", "write"];

fn invalid(what: &str) -> SeccompError {
    SeccompError::Invalid {
        what: what.to_owned(),
    }
}

fn unknown(kind: &'static str, word: &str) -> SeccompError {
    SeccompError::Unknown {
        kind,
        word: word.to_owned(),
    }
}

fn action(word: &str, number: Option<u16>) -> Result<Action, SeccompError> {
    let number_or_eperm = number.unwrap_or(libc::EPERM as u16);
    Ok(match word {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_ERRNO" => Action::Errno(number_or_eperm),
        "SCMP_ACT_TRACE" => Action::Trace(number_or_eperm),
        "SCMP_ACT_NOTIFY" => Action::Notify,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ALLOW" => Action::Allow,
        _ => return Err(unknown("action", word)),
    })
}

/// The specification's words for instruction sets of other machines (config-linux.md), and libseccomp's for those between.
const OTHERS: [&str; 18] = [
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

/// The instruction set called `word`; `None` for those of other machines.
fn arch(word: &str) -> Result<Option<Arch>, SeccompError> {
    Ok(match word {
        "SCMP_ARCH_X86_64" => Some(Arch::X86_64),
        "SCMP_ARCH_X86" => Some(Arch::X86),
        "SCMP_ARCH_X32" => Some(Arch::X32),
        "SCMP_ARCH_AARCH64" => Some(Arch::Aarch64),
        "SCMP_ARCH_ARM" => Some(Arch::Arm),
        "SCMP_ARCH_NATIVE" => Some(Arch::NATIVE),
        _ if OTHERS.contains(&word) => None,
        // runc's sentence.
        _ => {
            return Err(invalid(&format!(
                "string {word} is not a valid arch for seccomp"
            )));
        }
    })
}

fn architectures(
    listed: Option<Vec<String>>,
    by_native: Option<Vec<ArchMapJson>>,
) -> Result<Architectures, SeccompError> {
    let known = |words: Vec<String>| -> Result<Vec<Arch>, SeccompError> {
        Ok(words
            .iter()
            .map(|word| arch(word))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    };
    let listed = listed.unwrap_or_default();
    let by_native = by_native.unwrap_or_default();
    if !listed.is_empty() && !by_native.is_empty() {
        return Err(invalid("use either 'architectures' or 'archMap'"));
    }
    if by_native.is_empty() {
        return Ok(Architectures::Listed(known(listed)?));
    }
    let mut table = Vec::new();
    for entry in by_native {
        let others = known(entry.sub_architectures.unwrap_or_default())?;
        if let Some(native) = arch(&entry.architecture)? {
            table.push((native, others));
        }
    }
    Ok(Architectures::ByNative(table))
}

fn flags(words: Option<Vec<String>>) -> Result<u32, SeccompError> {
    let Some(words) = words else {
        return Ok(FLAG_SPEC_ALLOW);
    };
    words.iter().try_fold(0, |flags, word| {
        Ok(flags
            | match word.as_str() {
                "SECCOMP_FILTER_FLAG_TSYNC" => FLAG_TSYNC,
                "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FLAG_WAIT_KILLABLE_RECV,
                _ => return Err(unknown("flag", word)),
            })
    })
}

fn rule(json: RuleJson) -> Result<Rule, SeccompError> {
    if json.name.is_none() && json.names.is_none() {
        return Err(invalid("an entry of 'syscalls' has no 'names'"));
    }
    let names = match (
        json.name.filter(|name| !name.is_empty()),
        json.names.unwrap_or_default(),
    ) {
        (Some(_), names) if !names.is_empty() => {
            return Err(invalid(
                "'name' and 'names' were specified in one entry, use one of them",
            ));
        }
        (Some(name), _) => vec![name],
        (None, names) => names,
    };
    let action = action(&json.action, json.errno_ret)?;
    let args = json
        .args
        .unwrap_or_default()
        .iter()
        .map(argument)
        .collect::<Result<_, _>>()?;
    let condition = Condition {
        caps: caps(json.includes.caps)?,
        arches: json.includes.arches.unwrap_or_default(),
        min_kernel: json
            .includes
            .min_kernel
            .as_deref()
            .map(kernel)
            .transpose()?,
        without_caps: caps(json.excludes.caps)?,
        without_arches: json.excludes.arches.unwrap_or_default(),
        before_kernel: json
            .excludes
            .min_kernel
            .as_deref()
            .map(kernel)
            .transpose()?,
    };
    Ok(Rule {
        names,
        action,
        args,
        condition,
    })
}

fn argument(json: &ArgumentJson) -> Result<Argument, SeccompError> {
    if json.index > 5 {
        return Err(SeccompError::Invalid {
            what: format!("there is no argument {}", json.index),
        });
    }
    let (comparison, value) = match json.op.as_str() {
        "SCMP_CMP_EQ" => (Comparison::Eq, json.value),
        "SCMP_CMP_NE" => (Comparison::Ne, json.value),
        "SCMP_CMP_LT" => (Comparison::Lt, json.value),
        "SCMP_CMP_LE" => (Comparison::Le, json.value),
        "SCMP_CMP_GT" => (Comparison::Gt, json.value),
        "SCMP_CMP_GE" => (Comparison::Ge, json.value),
        "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEq(json.value), json.value_two),
        word => return Err(unknown("comparison", word)),
    };
    Ok(Argument {
        index: json.index,
        comparison,
        value,
    })
}

fn caps(names: Option<Vec<String>>) -> Result<CapSet, SeccompError> {
    let named =
        |name: &String| Capability::from_name(name).ok_or_else(|| unknown("capability", name));
    names.unwrap_or_default().iter().map(named).collect()
}

fn kernel(text: &str) -> Result<KernelVersion, SeccompError> {
    let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([major, minor, ..]) => Ok(KernelVersion(*major, *minor)),
        _ => Err(unknown("kernel version", text)),
    }
}

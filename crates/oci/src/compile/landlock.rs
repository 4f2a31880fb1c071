//! Rules of Landlock, in the form that was proposed for the specification.

use runtime::plan::Landlock;

use crate::error::{Error, Result};
use crate::spec;

/// A right: its name, its bit, and the version of the kernel's interface since which there is one (landlock(7)).
type Right = (&'static str, u32, u32);

/// Rights over files.
pub(crate) const FILES: [Right; 16] = [
    ("execute", 0, 1),
    ("write_file", 1, 1),
    ("read_file", 2, 1),
    ("read_dir", 3, 1),
    ("remove_dir", 4, 1),
    ("remove_file", 5, 1),
    ("make_char", 6, 1),
    ("make_dir", 7, 1),
    ("make_reg", 8, 1),
    ("make_sock", 9, 1),
    ("make_fifo", 10, 1),
    ("make_block", 11, 1),
    ("make_sym", 12, 1),
    ("refer", 13, 2),
    ("truncate", 14, 3),
    ("ioctl_dev", 15, 5),
];
/// Rights over ports.
const NETWORK: [Right; 2] = [("bind_tcp", 0, 4), ("connect_tcp", 1, 4)];
/// What may be kept from processes outside.
const SCOPES: [Right; 2] = [("abstract_unix_socket", 0, 6), ("signal", 1, 6)];

const FIELD: &str = "process.landlock";

pub(super) fn compile(asked: Option<&spec::Landlock>) -> Result<Option<Landlock>> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    let version = sys::process::landlock_version();
    if version == 0 {
        let why = "it cannot be applied: this kernel has no Landlock, or it is off";
        return Err(Error::field(FIELD, why));
    }
    compile_for(asked, version).map(Some)
}

fn compile_for(asked: &spec::Landlock, version: u32) -> Result<Landlock> {
    let none = spec::LandlockRuleset::default();
    let ruleset = asked.ruleset.as_ref().unwrap_or(&none);
    let set = |name: &str, rights: &[Right], words: &Option<Vec<String>>| {
        let field = format!("{FIELD}.ruleset.{name}");
        bits(&field, rights, words.as_deref(), version)
    };
    let mut landlock = Landlock {
        files: set("handledAccessFS", &FILES, &ruleset.files)?,
        network: set("handledAccessNet", &NETWORK, &ruleset.network)?,
        scoped: set("scoped", &SCOPES, &ruleset.scoped)?,
        ..Landlock::default()
    };
    if landlock.files | landlock.network | landlock.scoped == 0 {
        return Err(Error::field(
            format!("{FIELD}.ruleset"),
            "it handles nothing",
        ));
    }
    let no_rules = spec::LandlockRules::default();
    let rules = asked.rules.as_ref().unwrap_or(&no_rules);
    for (index, rule) in rules.path_beneath.iter().flatten().enumerate() {
        let field = format!("{FIELD}.rules.pathBeneath[{index}]");
        let words = rule.allowed_access.as_deref();
        let access = allowed(&field, &FILES, words, version, landlock.files)?;
        for path in rule.paths.iter().flatten() {
            if !path.starts_with('/') {
                let why = format!("{path:?} is no absolute path");
                return Err(Error::field(format!("{field}.paths"), why));
            }
            landlock.paths.push((path.clone(), access));
        }
    }
    for (index, rule) in rules.net_port.iter().flatten().enumerate() {
        let field = format!("{FIELD}.rules.netPort[{index}]");
        let words = rule.allowed_access.as_deref();
        let access = allowed(&field, &NETWORK, words, version, landlock.network)?;
        let ports = rule.ports.iter().flatten();
        landlock.ports.extend(ports.map(|port| (*port, access)));
    }
    Ok(landlock)
}

/// The rights that a rule gives, which are of those that are handled.
fn allowed(
    field: &str,
    rights: &[Right],
    words: Option<&[String]>,
    version: u32,
    handled: u64,
) -> Result<u64> {
    let field = format!("{field}.allowedAccess");
    match bits(&field, rights, words, version)? {
        0 => Err(Error::field(field, "it allows nothing")),
        set if set & !handled != 0 => {
            let why = "it allows what the ruleset does not handle";
            Err(Error::field(field, why))
        }
        set => Ok(set),
    }
}

fn bits(field: &str, rights: &[Right], words: Option<&[String]>, version: u32) -> Result<u64> {
    let mut set = 0;
    for word in words.unwrap_or_default() {
        match rights.iter().find(|(name, ..)| name == word) {
            None => return Err(Error::field(field, format!("{word:?} is no right"))),
            Some((_, _, since)) if *since > version => {
                let why = format!(
                    "{word:?} needs version {since} of Landlock, and this kernel has {version}"
                );
                return Err(Error::field(field, why));
            }
            Some((_, bit, _)) => set |= 1 << bit,
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, version: u32) -> Result<Landlock> {
        compile_for(&spec::parse("rules", text)?, version)
    }

    #[test]
    fn words_become_rights() {
        let text = r#"{
            "ruleset": {"handledAccessFS": ["execute", "truncate"], "handledAccessNet": ["bind_tcp"], "scoped": ["signal"]},
            "rules": {
                "pathBeneath": [{"paths": ["/bin", "/usr"], "allowedAccess": ["execute"]}],
                "netPort": [{"ports": [80], "allowedAccess": ["bind_tcp"]}]
            }
        }"#;
        let rules = read(text, 6).unwrap();
        assert_eq!((rules.files, rules.network, rules.scoped), (0x4001, 1, 2));
        assert_eq!(
            rules.paths,
            [("/bin".to_owned(), 1), ("/usr".to_owned(), 1)]
        );
        assert_eq!(rules.ports, [(80, 1)]);
        let older = read(text, 2).unwrap_err().to_string();
        assert!(older.contains("\"truncate\" needs version 3"), "{older}");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, words) in [
            ("{}", "process.landlock.ruleset: it handles nothing"),
            (
                r#"{"ruleset": {"scoped": ["x"]}}"#,
                "scoped: \"x\" is no right",
            ),
            (
                r#"{"ruleset": {"handledAccessFS": ["execute"]}, "rules": {"pathBeneath": [{"paths": ["bin"], "allowedAccess": ["execute"]}]}}"#,
                "pathBeneath[0].paths",
            ),
            (
                r#"{"ruleset": {"handledAccessFS": ["execute"]}, "rules": {"pathBeneath": [{"paths": [], "allowedAccess": ["read_dir"]}]}}"#,
                "does not handle",
            ),
            (
                r#"{"ruleset": {"handledAccessFS": ["execute"]}, "rules": {"pathBeneath": [{"paths": []}]}}"#,
                "allowedAccess",
            ),
        ] {
            let error = read(text, 7).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

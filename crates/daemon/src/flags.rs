//! The command line of the daemon: dockerd's flags, each honoured or refused by name.

use thiserror::Error;

use crate::flag_table::{FLAGS, Flag, Takes, held_flag, is_refused_flag};

/// Why the command line was not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FlagError {
    /// No such flag in dockerd either.
    #[error("unknown flag: {flag}")]
    Unknown {
        /// The flag as typed.
        flag: String,
    },
    /// dockerd has it, this engine does not.
    #[error("--{name} is a flag of dockerd that wharf does not support yet")]
    Refused {
        /// The flag's long name.
        name: String,
    },
    /// dockerd can be told so, this engine can not.
    #[error("--{name}={value} is a setting of dockerd that wharf does not support yet")]
    RefusedValue {
        /// The flag's long name.
        name: String,
        /// What was typed.
        value: String,
    },
    /// A flag that takes a value came last.
    #[error("flag needs an argument: --{name}")]
    NoValue {
        /// The flag's long name.
        name: &'static str,
    },
    /// `--debug=perhaps`.
    #[error("invalid argument {value:?} for \"--{name}\": true or false is expected")]
    NotBoolean {
        /// The flag's long name.
        name: &'static str,
        /// What was typed.
        value: String,
    },
    /// An argument that is no flag.
    #[error("the daemon takes no arguments, but got {argument:?}")]
    Argument {
        /// What was typed.
        argument: String,
    },
}

/// What was typed, flag by flag, before any default or file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    values: Vec<(&'static str, String)>,
}

impl Invocation {
    /// Reads the arguments behind `wharf daemon`.
    ///
    /// # Errors
    /// [`FlagError`] names the first argument that is not understood.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, FlagError> {
        let mut args = args.into_iter();
        let mut parsed = Invocation::default();
        while let Some(arg) = args.next() {
            if let Some(long) = arg.strip_prefix("--").filter(|long| !long.is_empty()) {
                let (name, inline) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                if let Some((name, values)) = held_flag(name) {
                    hold(name, values, inline, &mut args)?;
                    continue;
                }
                let flag = FLAGS
                    .iter()
                    .find(|flag| flag.name == name)
                    .ok_or_else(|| unknown(name, &arg))?;
                parsed.take(flag, inline, &mut args)?;
            } else if let Some(shorts) = arg.strip_prefix('-').filter(|shorts| !shorts.is_empty()) {
                parsed.shorts(shorts, &arg, &mut args)?;
            } else {
                return Err(FlagError::Argument { argument: arg });
            }
        }
        Ok(parsed)
    }

    /// A cluster of short flags: `-D`, `-Dl debug`, `-Hunix:///x`, `-H=unix:///x`.
    fn shorts(
        &mut self,
        mut rest: &str,
        arg: &str,
        args: &mut impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        while let Some(short) = rest.chars().next() {
            if let ('s', Some((name, values))) = (short, held_flag("storage-driver")) {
                let rest = &rest[1..];
                let inline = rest.strip_prefix('=').unwrap_or(rest);
                let inline = (!rest.is_empty()).then(|| inline.to_owned());
                return hold(name, values, inline, args);
            }
            let flag = FLAGS
                .iter()
                .find(|flag| flag.short == Some(short))
                .ok_or_else(|| FlagError::Unknown {
                    flag: arg.to_owned(),
                })?;
            rest = &rest[short.len_utf8()..];
            if flag.takes == Takes::Switch && !rest.starts_with('=') {
                self.take(flag, None, args)?;
                continue;
            }
            let inline =
                (!rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest).to_owned());
            return self.take(flag, inline, args);
        }
        Ok(())
    }

    fn take(
        &mut self,
        flag: &Flag,
        inline: Option<String>,
        args: &mut impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        let value = match (flag.takes, inline) {
            (Takes::Switch, inline) => switched(flag.name, inline)?,
            (_, Some(value)) => value,
            (_, None) => args.next().ok_or(FlagError::NoValue { name: flag.name })?,
        };
        if flag.takes != Takes::List {
            self.values.retain(|(name, _)| *name != flag.name);
        }
        self.values.push((flag.name, value));
        Ok(())
    }

    /// The value of a flag that is given once.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a flag that may be repeated, in order.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.values
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Whether a switch was turned on.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// Whether a flag was given at all.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// Passes over a setting that holds anyway.
fn hold(
    name: &'static str,
    values: &[&str],
    inline: Option<String>,
    args: &mut impl Iterator<Item = String>,
) -> Result<(), FlagError> {
    let is_switch = values
        .iter()
        .any(|value| matches!(*value, "true" | "false"));
    let value = match (is_switch, inline) {
        (true, inline) => switched(name, inline)?,
        (false, Some(value)) => value,
        (false, None) => args.next().ok_or(FlagError::NoValue { name })?,
    };
    match values.contains(&value.as_str()) {
        true => Ok(()),
        false => Err(FlagError::RefusedValue {
            name: name.to_owned(),
            value,
        }),
    }
}

/// The value of a switch, in Go's words (`strconv.ParseBool`).
fn switched(name: &'static str, inline: Option<String>) -> Result<String, FlagError> {
    let Some(value) = inline else {
        return Ok("true".to_owned());
    };
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
        _ => Err(FlagError::NotBoolean { name, value }),
    }
}

fn unknown(name: &str, typed: &str) -> FlagError {
    if is_refused_flag(name) {
        FlagError::Refused {
            name: name.to_owned(),
        }
    } else {
        FlagError::Unknown {
            flag: typed.split('=').next().unwrap_or(typed).to_owned(),
        }
    }
}

/// The help text, from the table of flags.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "Usage:  wharf daemon [OPTIONS]\n\nThe container engine's daemon\n\nOptions:\n",
    );
    for flag in FLAGS {
        let short = flag
            .short
            .map_or("    ".to_owned(), |short| format!("-{short}, "));
        let value = match flag.takes {
            Takes::Switch => "",
            Takes::Value => " string",
            Takes::List => " list",
        };
        text.push_str(&format!(
            "  {short}--{:<27} {}\n",
            format!("{}{value}", flag.name),
            flag.help
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Invocation, FlagError> {
        Invocation::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn every_way_of_writing_a_flag_is_understood() {
        let parsed = parse(&[
            "-D",
            "-Hunix:///a",
            "-H",
            "unix:///b",
            "--host=unix:///c",
            "--data-root",
            "/x",
            "-l=warn",
        ])
        .unwrap();
        assert!(parsed.switch("debug"));
        assert_eq!(parsed.list("host"), ["unix:///a", "unix:///b", "unix:///c"]);
        assert_eq!(parsed.value("data-root"), Some("/x"));
        assert_eq!(parsed.value("log-level"), Some("warn"));
        assert!(!parse(&["--debug=false"]).unwrap().switch("debug"));
    }

    #[test]
    fn the_last_value_counts() {
        assert_eq!(
            parse(&["-p", "/a", "--pidfile", "/b"])
                .unwrap()
                .value("pidfile"),
            Some("/b")
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(
            parse(&["--frobnicate"]).unwrap_err().to_string(),
            "unknown flag: --frobnicate"
        );
        let told = |arg: &str| parse(&[arg]).unwrap_err().to_string();
        assert!(told("--tlsverify").starts_with("--tlsverify is a flag of dockerd"));
        assert!(told("--iptables=false").starts_with("--iptables=false is a setting of dockerd"));
        let held = [
            "--iptables=1",
            "--ipv6=f",
            "--storage-driver",
            "overlay2",
            "-s",
            "overlayfs",
        ];
        assert_eq!(parse(&held).unwrap(), Invocation::default());
        assert_eq!(
            parse(&["--storage-driver"]).unwrap_err(),
            FlagError::NoValue {
                name: "storage-driver"
            }
        );
        assert_eq!(
            parse(&["--bip"]).unwrap_err(),
            FlagError::NoValue { name: "bip" }
        );
        assert!(matches!(
            parse(&["start"]).unwrap_err(),
            FlagError::Argument { .. }
        ));
        assert!(matches!(
            parse(&["--debug=perhaps"]).unwrap_err(),
            FlagError::NotBoolean { .. }
        ));
    }

    #[test]
    fn help_shows_every_flag_and_no_flag_is_both_honoured_and_refused() {
        let text = help();
        for flag in FLAGS {
            assert!(text.contains(&format!("--{}", flag.name)));
            assert!(!is_refused_flag(flag.name));
            assert_eq!(held_flag(flag.name), None);
        }
    }
}

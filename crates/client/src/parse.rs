//! Arguments as docker's parser reads them.

use crate::flag::{Flag, Kind, Support};

/// Why arguments were not understood; the texts are those that docker's users know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("unknown flag: {0}")]
    UnknownFlag(String),
    #[error("unknown shorthand flag: {letter:?} in {cluster}")]
    UnknownLetter { letter: char, cluster: String },
    #[error("flag needs an argument: {0}")]
    NoValue(String),
    #[error("invalid argument {value:?} for \"{flag}\" flag: {why}")]
    Invalid {
        value: String,
        flag: String,
        why: String,
    },
    #[error("--{0} is a flag of docker that wharf does not support yet")]
    Refused(&'static str),
    #[error("--help")]
    Help,
}

/// The flags and arguments of one command.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    values: Vec<(&'static Flag, String)>,
    /// What is no flag, in order.
    pub(crate) args: Vec<String>,
}

impl Parsed {
    /// Reads `args`. With `interspersed`, flags may stand behind arguments; without, the first
    /// argument ends the flags (`run IMAGE command --flag-of-the-command`).
    ///
    /// # Errors
    /// The first argument that is not understood; [`ParseError::Help`] for `--help`.
    pub(crate) fn read(
        flags: &'static [&'static [Flag]],
        interspersed: bool,
        args: Vec<String>,
    ) -> Result<Self, ParseError> {
        let mut parsed = Parsed::default();
        let mut rest = args.into_iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                parsed.args.extend(rest);
                break;
            } else if let Some(long) = arg.strip_prefix("--") {
                parsed.long(flags, long, &mut rest)?;
            } else if arg.len() > 1 && arg.starts_with('-') {
                parsed.letters(flags, &arg, &mut rest)?;
            } else {
                parsed.args.push(arg);
                if !interspersed {
                    parsed.args.extend(rest);
                    break;
                }
            }
        }
        Ok(parsed)
    }

    fn long(
        &mut self,
        flags: &'static [&'static [Flag]],
        long: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), ParseError> {
        let (name, inline) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let Some(flag) = flags
            .iter()
            .copied()
            .flatten()
            .find(|flag| flag.name == name)
        else {
            return Err(if name == "help" {
                ParseError::Help
            } else {
                ParseError::UnknownFlag(format!("--{name}"))
            });
        };
        let value = match (flag.kind, inline) {
            (_, Some(value)) => value,
            (Kind::Bool, None) => "true".to_owned(),
            (_, None) => rest
                .next()
                .ok_or_else(|| ParseError::NoValue(format!("--{name}")))?,
        };
        self.set(flag, value)
    }

    fn letters(
        &mut self,
        flags: &'static [&'static [Flag]],
        cluster: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), ParseError> {
        let mut letters = cluster[1..].chars();
        while let Some(letter) = letters.next() {
            let Some(flag) = flags
                .iter()
                .copied()
                .flatten()
                .find(|flag| flag.short == Some(letter))
            else {
                return Err(if letter == 'h' {
                    ParseError::Help
                } else {
                    ParseError::UnknownLetter {
                        letter,
                        cluster: cluster.to_owned(),
                    }
                });
            };
            let behind = letters.as_str();
            if flag.kind == Kind::Bool && !behind.starts_with('=') {
                self.set(flag, "true".to_owned())?;
                continue;
            }
            let value = match behind.strip_prefix('=') {
                Some(value) => value.to_owned(),
                None if !behind.is_empty() => behind.to_owned(),
                None => rest
                    .next()
                    .ok_or_else(|| ParseError::NoValue(format!("{letter:?} in {cluster}")))?,
            };
            return self.set(flag, value);
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: String) -> Result<(), ParseError> {
        let value = if flag.kind == Kind::Bool {
            boolean(flag, &value)?.to_string()
        } else {
            value
        };
        let zero = matches!(value.as_str(), "" | "0" | "false" | "default");
        if flag.support == Support::Refused && !zero {
            return Err(ParseError::Refused(flag.name));
        }
        if !matches!(flag.kind, Kind::List(_)) {
            self.values.retain(|(known, _)| known.name != flag.name);
        }
        self.values.push((flag, value));
        Ok(())
    }

    /// Whether a switch is on.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.one(name) == Some("true")
    }

    /// The value of a flag, if it was given.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(flag, _)| flag.name == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a flag, in order.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.values
            .iter()
            .filter(|(flag, _)| flag.name == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// The value of a flag, read by `read`.
    ///
    /// # Errors
    /// [`ParseError::Invalid`] with the words of `read` when it was given and is not understood.
    pub(crate) fn value<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ParseError> {
        let Some((flag, value)) = self.values.iter().find(|(flag, _)| flag.name == name) else {
            return Ok(None);
        };
        read(value).map(Some).map_err(|why| ParseError::Invalid {
            value: value.clone(),
            flag: flag.shown(),
            why,
        })
    }

    /// Every value of a flag, read by `read`.
    ///
    /// # Errors
    /// [`ParseError::Invalid`] for the first that is not understood.
    pub(crate) fn values<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ParseError> {
        self.values
            .iter()
            .filter(|(flag, _)| flag.name == name)
            .map(|(flag, value)| {
                read(value).map_err(|why| ParseError::Invalid {
                    value: value.clone(),
                    flag: flag.shown(),
                    why,
                })
            })
            .collect()
    }
}

/// Go's `strconv.ParseBool`.
fn boolean(flag: &Flag, value: &str) -> Result<bool, ParseError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ParseError::Invalid {
            value: value.to_owned(),
            flag: flag.shown(),
            why: format!("strconv.ParseBool: parsing {value:?}: invalid syntax"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[&[Flag]] = &[&[
        Flag::switch("interactive", "").letter('i'),
        Flag::switch("tty", "").letter('t'),
        Flag::one("name", "string", "").letter('n'),
        Flag::list("env", "list", "").letter('e'),
        Flag::one("gpus", "gpu-request", "").refused(),
    ]];

    fn read(args: &[&str]) -> Result<Parsed, ParseError> {
        Parsed::read(
            FLAGS,
            false,
            args.iter().map(|arg| (*arg).to_owned()).collect(),
        )
    }

    #[test]
    fn clusters_values_and_the_end_of_flags() {
        let parsed = read(&[
            "-it", "-eA=1", "-e", "B=2", "--env=C", "-n=x", "image", "-i", "--what",
        ])
        .unwrap();
        assert!(parsed.switch("interactive") && parsed.switch("tty"));
        assert_eq!(parsed.list("env"), ["A=1", "B=2", "C"]);
        assert_eq!(parsed.one("name"), Some("x"));
        assert_eq!(parsed.args, ["image", "-i", "--what"]);
    }

    #[test]
    fn faults_are_in_dockers_words() {
        let text = |args: &[&str]| read(args).unwrap_err().to_string();
        assert_eq!(text(&["--foo=1"]), "unknown flag: --foo");
        assert_eq!(text(&["-ix"]), "unknown shorthand flag: 'x' in -ix");
        assert_eq!(text(&["--name"]), "flag needs an argument: --name");
        assert_eq!(text(&["-e"]), "flag needs an argument: 'e' in -e");
        assert!(
            text(&["--tty=perhaps"]).starts_with(
                "invalid argument \"perhaps\" for \"-t, --tty\" flag: strconv.ParseBool"
            )
        );
        assert_eq!(read(&["--help"]).unwrap_err(), ParseError::Help);
    }

    #[test]
    fn a_refused_flag_is_named_unless_it_asks_for_nothing() {
        assert_eq!(
            read(&["--gpus", "all"]).unwrap_err(),
            ParseError::Refused("gpus")
        );
        assert!(read(&["--gpus="]).is_ok());
    }

    #[test]
    fn a_switch_can_be_turned_off_again() {
        assert!(!read(&["-t", "--tty=false"]).unwrap().switch("tty"));
    }
}

//! Arguments as docker's parser reads them.

use crate::flag::{Flag, Kind, Support};
use crate::number;

/// What every command knows. Its letter is on its way out, is in no text, and gives way to a flag of the command's.
static HELP: Flag = Flag::switch("help", "Print usage");
const HELP_LETTER: char = 'h';

/// Why arguments were not understood; the texts are those that docker's users know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("bad flag syntax: {0}")]
    Syntax(String),
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
}

/// The flags and arguments of one command.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    values: Vec<(&'static Flag, String)>,
    /// What is no flag, in order.
    pub(crate) args: Vec<String>,
    /// What is to be told of flags that are on their way out.
    pub(crate) notes: Vec<String>,
}

impl Parsed {
    /// Reads `args`. With `interspersed`, flags may stand behind arguments; without, the first
    /// argument ends the flags (`run IMAGE command --flag-of-the-command`).
    ///
    /// `--help` is a flag as others are: see [`Parsed::wants_help`].
    ///
    /// # Errors
    /// The first argument that is not understood.
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
                parsed.letters(flags, &arg[1..], &mut rest)?;
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

    /// Whether the help text is asked for.
    pub(crate) fn wants_help(&self) -> bool {
        self.switch(HELP.name)
    }

    fn long(
        &mut self,
        flags: &'static [&'static [Flag]],
        long: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), ParseError> {
        if long.starts_with(['-', '=']) {
            return Err(ParseError::Syntax(format!("--{long}")));
        }
        let (name, inline) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let flag = all(flags)
            .find(|flag| flag.is(name))
            .ok_or_else(|| ParseError::UnknownFlag(format!("--{name}")))?;
        let value = match (flag.kind, inline) {
            (_, Some(value)) => value,
            (Kind::Bool, None) => "true".to_owned(),
            (_, None) => rest
                .next()
                .ok_or_else(|| ParseError::NoValue(format!("--{name}")))?,
        };
        self.set(flag, value)
    }

    /// Reads letters behind one dash. Messages name the letter and what was left of its cluster.
    fn letters(
        &mut self,
        flags: &'static [&'static [Flag]],
        cluster: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), ParseError> {
        let mut letters = cluster.chars();
        loop {
            let left = format!("-{}", letters.as_str());
            let Some(letter) = letters.next() else {
                return Ok(());
            };
            let flag = match all(flags).find(|flag| flag.short == Some(letter)) {
                Some(flag) => flag,
                None if letter == HELP_LETTER => {
                    self.notes.push(format!(
                        "Flag shorthand -{letter} has been deprecated, use --help"
                    ));
                    &HELP
                }
                None => {
                    return Err(ParseError::UnknownLetter {
                        letter,
                        cluster: left,
                    });
                }
            };
            let behind = letters.as_str();
            let value = match behind.strip_prefix('=') {
                Some(value) if !value.is_empty() => value.to_owned(),
                _ if flag.kind == Kind::Bool => {
                    self.set(flag, "true".to_owned())?;
                    continue;
                }
                _ if !behind.is_empty() => behind.to_owned(),
                _ => rest
                    .next()
                    .ok_or_else(|| ParseError::NoValue(format!("{letter:?} in {left}")))?,
            };
            return self.set(flag, value);
        }
    }

    fn set(&mut self, flag: &'static Flag, value: String) -> Result<(), ParseError> {
        let zero = matches!(value.as_str(), "" | "0" | "0s" | "false" | "default");
        if flag.support == Support::Refused && !zero {
            return Err(ParseError::Refused(flag.name));
        }
        let read = match (flag.check, flag.kind) {
            _ if flag.support == Support::Refused => Ok(value.clone()),
            (Some(check), _) => check(&value),
            (None, Kind::Bool) => number::boolean(&value).map(|value| value.to_string()),
            (None, Kind::One("int")) => number::integer(&value).map(|value| value.to_string()),
            (None, _) => Ok(value.clone()),
        };
        let value = read.map_err(|why| ParseError::Invalid {
            value,
            flag: flag.shown(),
            why,
        })?;
        if let Some(instead) = flag.instead {
            self.notes.push(format!(
                "Flag --{} has been deprecated, {instead}",
                flag.name
            ));
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

/// The flags of a command, and what all commands know.
fn all(flags: &'static [&'static [Flag]]) -> impl Iterator<Item = &'static Flag> {
    flags.iter().copied().flatten().chain([&HELP])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[&[Flag]] = &[&[
        Flag::switch("interactive", "").letter('i'),
        Flag::switch("tty", "").letter('t'),
        Flag::one("name", "string", "").letter('n').also("nom"),
        Flag::one("size", "int", ""),
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
        assert_eq!(text(&["-ix"]), "unknown shorthand flag: 'x' in -x");
        assert_eq!(text(&["--name"]), "flag needs an argument: --name");
        assert_eq!(text(&["-e"]), "flag needs an argument: 'e' in -e");
        assert!(
            text(&["--tty=perhaps"]).starts_with(
                "invalid argument \"perhaps\" for \"-t, --tty\" flag: strconv.ParseBool"
            )
        );
        assert_eq!(text(&["--=x"]), "bad flag syntax: --=x");
        assert_eq!(
            text(&["--size", "x"]),
            "invalid argument \"x\" for \"--size\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn help_is_a_flag_whose_letter_is_on_its_way_out() {
        assert!(read(&["--help"]).unwrap().wants_help());
        assert!(!read(&["--help=false"]).unwrap().wants_help());
        let parsed = read(&["-ih"]).unwrap();
        assert!(parsed.wants_help() && parsed.notes.len() == 1);
        assert_eq!(
            read(&["--help", "--foo"]).unwrap_err(),
            ParseError::UnknownFlag("--foo".to_owned())
        );
    }

    #[test]
    fn older_names_are_understood() {
        let parsed = read(&["--nom", "x"]).unwrap();
        assert_eq!((parsed.one("name"), parsed.notes.len()), (Some("x"), 0));
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

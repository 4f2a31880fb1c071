//! The command line, with runc's verbs and flags and Go's way of writing them: one dash or two, `--flag value` or
//! `--flag=value`. Those of the verb may stand behind its arguments, too, but for verbs that take another command's.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::log::{Format, Log};
use crate::state::DEFAULT_ROOT;

/// The program's name in its messages.
pub(crate) const NAME: &str = "wharf-runtime";

/// The program that `checkpoint` and `restore` need, without `--criu`.
const CRIU: &str = "criu";

/// A flag: its name, a short one, and whether it takes a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) short: Option<&'static str>,
    pub(crate) takes_value: bool,
}

/// A flag that is there or not.
pub(crate) const fn switch(name: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        takes_value: false,
    }
}

/// A flag with a value.
pub(crate) const fn value(name: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        takes_value: true,
    }
}

impl Flag {
    /// The same with a second name.
    pub(crate) const fn or(self, short: &'static str) -> Self {
        Self {
            short: Some(short),
            ..self
        }
    }
}

/// Flags and arguments that were given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    flags: Vec<(&'static str, String)>,
    pub(crate) args: Vec<String>,
}

impl Given {
    /// Takes `words` apart. Behind an argument, what looks like a flag and is not in `known` is an argument.
    ///
    /// # Errors
    /// A flag before the arguments that is not in `known`, or one that lacks its value.
    pub(crate) fn parse(known: &[Flag], words: &[String]) -> Result<Self> {
        Self::read(known, words, true)
    }

    /// As [`Given::parse`], with no flags behind the first argument: what follows is for another command.
    pub(crate) fn parse_leading(known: &[Flag], words: &[String]) -> Result<Self> {
        Self::read(known, words, false)
    }

    fn read(known: &[Flag], words: &[String], behind: bool) -> Result<Self> {
        let mut given = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            let Some(bare) = bare.filter(|_| word != "-") else {
                given.args.push(word.clone());
                if behind {
                    continue;
                }
                break;
            };
            if bare.is_empty() {
                break;
            }
            let (name, inline) = match bare.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (bare, None),
            };
            let flag = known
                .iter()
                .find(|flag| flag.name == name || flag.short == Some(name));
            let Some(flag) = flag else {
                if !given.args.is_empty() {
                    given.args.push(word.clone());
                    continue;
                }
                if matches!(name, "h" | "help") {
                    return Err(Error::Help(known.to_vec()));
                }
                let text = format!("flag provided but not defined: -{name}");
                return Err(Error::Usage(text));
            };
            let value = match (flag.takes_value, inline) {
                (_, Some(value)) => value,
                (false, None) => "true".to_owned(),
                (true, None) => words
                    .next()
                    .cloned()
                    .ok_or_else(|| Error::Usage(format!("flag needs an argument: -{name}")))?,
            };
            if !flag.takes_value && truth(&value).is_none() {
                let text = format!("invalid boolean value {value:?} for -{name}");
                return Err(Error::Usage(text));
            }
            given.flags.push((flag.name, value));
        }
        given.args.extend(words.cloned());
        Ok(given)
    }

    /// The last value of a flag.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let named = self.flags.iter().rfind(|(flag, _)| *flag == name);
        named.map(|(_, value)| value.as_str())
    }

    /// All values of a flag that may be given more than once.
    pub(crate) fn values<'g>(&'g self, name: &'g str) -> impl Iterator<Item = &'g str> {
        let named = self.flags.iter().filter(move |(flag, _)| *flag == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.value(name).and_then(truth) == Some(true)
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    /// A flag's value as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let number = |value: &str| {
            let text =
                format!("invalid value {value:?} for flag -{name}: it is no number of its kind");
            value.parse().map_err(|_| Error::Usage(text))
        };
        self.value(name).map(number).transpose()
    }

    /// The one argument that most verbs have: the container's name.
    pub(crate) fn id(&self, verb: &str) -> Result<&str> {
        match self.args.as_slice() {
            [id] => Ok(id),
            _ => Err(Error::Usage(format!(
                "{NAME}: {verb:?} requires exactly 1 argument(s)"
            ))),
        }
    }
}

/// Go's spellings of a truth value.
fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What stands before the verb.
#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) root: PathBuf,
    pub(crate) log: Log,
    /// The user has no rights over the host, or says so: groups are made where that is allowed.
    pub(crate) rootless: bool,
    /// The program that writes processes down.
    pub(crate) criu: PathBuf,
    /// systemd makes the groups.
    pub(crate) systemd_cgroup: bool,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) verb: String,
    pub(crate) words: Vec<String>,
}

const GLOBAL: [Flag; 9] = [
    switch("debug"),
    value("log"),
    value("log-format"),
    value("root"),
    value("criu"),
    switch("systemd-cgroup"),
    value("rootless"),
    switch("help").or("h"),
    switch("version").or("v"),
];

/// Reads what stands before the verb. The log is made first, so that everything else can be told there.
pub(crate) fn global(words: &[String]) -> (Global, Result<Command>) {
    let given = match Given::parse_leading(&GLOBAL, words) {
        Ok(given) => given,
        Err(error) => return (Global::plain(), Err(error)),
    };
    let mut global = Global {
        root: given.path("root").unwrap_or_else(default_root),
        rootless: is_unprivileged()
            || given
                .value("rootless")
                .and_then(truth)
                .unwrap_or_else(is_nested),
        log: Log {
            file: given.path("log"),
            format: Format::Text,
            debug: given.is_on("debug"),
            lends_stderr: given.args.first().is_some_and(|verb| verb == "create")
                && !rustix::termios::isatty(std::io::stderr()),
        },
        criu: given.path("criu").unwrap_or_else(|| PathBuf::from(CRIU)),
        systemd_cgroup: given.is_on("systemd-cgroup"),
    };
    let command = command(&given, &mut global.log).and_then(|()| {
        // A log that nobody can be told by: what went wrong then stands on standard error alone.
        global.log.check().inspect_err(|_| global.log.file = None)
    });
    let command = match command {
        Ok(()) if given.is_on("help") => Ok("help"),
        Ok(()) if given.is_on("version") => Ok("version"),
        Ok(()) => Ok(given.args.first().map_or("help", String::as_str)),
        Err(error) => Err(error),
    };
    let command = command.map(|verb| Command {
        verb: verb.to_owned(),
        words: given.args.iter().skip(1).cloned().collect(),
    });
    (global, command)
}

/// Whether this command runs as an ordinary user.
pub(crate) fn is_unprivileged() -> bool {
    !rustix::process::geteuid().is_root()
}

/// Whether this command is in a user namespace that is not the first: its root has no rights over the host.
pub(crate) fn is_nested() -> bool {
    static NESTED: OnceLock<bool> = OnceLock::new();
    /// The number of the first one (`linux/nsfs.h`).
    const FIRST: u64 = 0xEFFF_FFFD;
    *NESTED.get_or_init(|| {
        rustix::fs::stat("/proc/self/ns/user").is_ok_and(|found| found.st_ino != FIRST)
    })
}

/// Where containers are known without `--root`: an ordinary user's in the folder that lasts as long as their session, also
/// where an engine of theirs has made them root of a user namespace.
fn default_root() -> PathBuf {
    let session = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    match session {
        Some(folder) if is_unprivileged() || is_users_root() => PathBuf::from(folder).join(NAME),
        _ => PathBuf::from(DEFAULT_ROOT),
    }
}

/// Whether groups that systemd makes are for the user's own manager, and not for the system's.
pub(crate) fn has_own_manager() -> bool {
    is_unprivileged() || is_users_root()
}

fn is_users_root() -> bool {
    is_nested() && std::env::var_os("USER").is_none_or(|name| name != "root")
}

impl Global {
    fn plain() -> Self {
        Self {
            root: default_root(),
            log: Log::default(),
            rootless: is_unprivileged() || is_nested(),
            criu: PathBuf::from(CRIU),
            systemd_cgroup: false,
        }
    }
}

fn command(given: &Given, log: &mut Log) -> Result<()> {
    log.format = match given.value("log-format") {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(other) => {
            return Err(Error::Usage(format!("invalid log-format: {other}")));
        }
    };
    match given.value("rootless") {
        None | Some("auto") => Ok(()),
        Some(value) if truth(value).is_some() => Ok(()),
        Some(value) => {
            let text = format!("invalid value {value:?} for --rootless: true, false or auto");
            Err(Error::Usage(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    const KNOWN: [Flag; 3] = [
        switch("detach").or("d"),
        value("bundle").or("b"),
        value("env"),
    ];

    #[test]
    fn flags_are_written_as_in_go() {
        let given = Given::parse_leading(
            &KNOWN,
            &words(&[
                "-d",
                "--bundle=/a",
                "-b",
                "/b",
                "-env",
                "A=1",
                "--env",
                "B=2",
                "box",
                "-d=x",
            ]),
        )
        .unwrap();
        assert!(given.is_on("detach"));
        assert_eq!(given.value("bundle"), Some("/b"));
        assert_eq!(given.values("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(given.args, ["box", "-d=x"]);
        let given = Given::parse(&KNOWN, &words(&["--detach=false", "--", "-d"])).unwrap();
        assert!(!given.is_on("detach"));
        assert_eq!(given.args, ["-d"]);
    }

    #[test]
    fn flags_may_stand_behind_arguments() {
        let line = words(&["box", "--bundle", "/a", "-9", "-d", "--", "--env", "A=1"]);
        let given = Given::parse(&KNOWN, &line).unwrap();
        assert_eq!(given.value("bundle"), Some("/a"));
        assert!(given.is_on("detach"));
        assert_eq!(given.args, ["box", "-9", "--env", "A=1"]);
        assert!(Given::parse(&KNOWN, &words(&["box", "--bundle"])).is_err());
    }

    #[test]
    fn unknown_and_incomplete_flags_are_refused() {
        for (line, text) in [
            (&["--bogus"][..], "flag provided but not defined: -bogus"),
            (&["--bundle"], "flag needs an argument: -bundle"),
            (
                &["--detach=perhaps"],
                "invalid boolean value \"perhaps\" for -detach",
            ),
        ] {
            let error = Given::parse(&KNOWN, &words(line)).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn what_stands_before_the_verb_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let log = log.to_str().unwrap();
        let (broken, error) = super::global(&words(&["--log", "/no/such/log", "state"]));
        let told = error.unwrap_err().to_string();
        assert_eq!(told, "open /no/such/log: no such file or directory");
        assert_eq!(broken.log.file, None);
        let (global, command) = global(&words(&[
            "--root",
            "/r",
            "--log",
            log,
            "--log-format",
            "json",
            "state",
            "box",
        ]));
        assert_eq!(global.root, PathBuf::from("/r"));
        assert_eq!(global.log.format, Format::Json);
        let command = command.unwrap();
        assert_eq!(
            (command.verb.as_str(), command.words),
            ("state", words(&["box"]))
        );
        assert!(
            super::global(&words(&["--systemd-cgroup", "state"]))
                .0
                .systemd_cgroup
        );
        let rootless = |value: &str| super::global(&words(&["--rootless", value, "state"]));
        assert!(rootless("true").0.rootless && rootless("auto").1.is_ok());
        assert!(rootless("maybe").1.is_err());
    }
}

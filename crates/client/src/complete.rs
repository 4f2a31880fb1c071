//! Completion: a shell gives the words so far, and gets what may come next, from the tables that the parser reads and from
//! the engine, which knows the names.

mod inside;
pub(crate) mod names;
mod plugin;

use std::time::Duration;

use crate::Outside;
use crate::commands;
use crate::flag::{Flag, Support};
use crate::help;
use crate::invoke::{GLOBAL, find};
use crate::parse::{ParseError, Parsed};
use crate::session::Session;
use crate::verb::Verb;
use names::Names;

/// The word by which shells ask; `docker` has the same.
pub(crate) const WORD: &str = "__complete";
/// The status that says: a file's name.
const FILE: u8 = 3;
/// Nobody who types waits longer for an engine that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What may come next: a word, and what it means.
type Candidates = Vec<(String, String)>;

/// What is to be completed.
#[derive(Debug, PartialEq)]
enum Wanted {
    /// One of these.
    Words(Candidates),
    /// A command, a group, or a plugin's command.
    Commands,
    /// What the plugin for a command says to these words.
    Plugin(String, Vec<String>),
    /// The name of something that the engine has.
    Names(Names),
    /// The name of a file here, or that of a container in front of a path in it.
    FileOrContainer,
    /// The name of a file in a container.
    Inside,
    /// The name of a file.
    File,
    /// Something that nobody can guess.
    Nothing,
}

/// Tells what may follow `words`, the last of which is being typed: a candidate on each line, a tab and what it means
/// behind it. The status is 3 where the name of a file may stand, too.
pub(crate) fn run(program: &str, words: &[String], outside: Outside) -> u8 {
    let (typed, words) = match words.split_last() {
        Some((typed, words)) => (typed.as_str(), words),
        None => ("", words),
    };
    let (global, wanted) = wanted(words, typed);
    let status = match wanted {
        Wanted::File | Wanted::FileOrContainer => FILE,
        _ => 0,
    };
    let watched = || {
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            std::process::exit(status.into());
        });
    };
    let of_engine = |ask: fn(&Session, Names, &str) -> Candidates, names: Names| {
        watched();
        // What the engine does not tell is not known; there is nobody to tell why.
        Session::new(program, &global, outside)
            .map(|session| ask(&session, names, typed))
            .unwrap_or_default()
    };
    let candidates = match wanted {
        Wanted::File => return FILE,
        Wanted::Nothing => return 0,
        Wanted::Words(candidates) => candidates,
        Wanted::Commands => {
            watched();
            let session = Session::new(program, &global, outside);
            let plugins = session.map(|session| plugin::names(&session));
            top()
                .into_iter()
                .chain(plugins.unwrap_or_default())
                .collect()
        }
        Wanted::Plugin(name, words) => {
            watched();
            let Ok(session) = Session::new(program, &global, outside) else {
                return 0;
            };
            let (candidates, files) = plugin::ask(&session, &name, &words, typed);
            print(candidates, typed);
            return if files { FILE } else { 0 };
        }
        Wanted::Names(names) => of_engine(|session, names, _| names.ask(session), names),
        Wanted::FileOrContainer => {
            let with_colon = |session: &Session, names: Names, _: &str| {
                let names = names.ask(session).into_iter();
                names.map(|(name, about)| (name + ":", about)).collect()
            };
            of_engine(with_colon, Names::Containers)
        }
        Wanted::Inside => of_engine(
            |session, _, typed| inside::ask(session, typed),
            Names::Containers,
        ),
    };
    print(candidates, typed);
    status
}

/// Prints those that begin with what was typed.
fn print(candidates: Candidates, typed: &str) {
    for (word, about) in candidates {
        let is_whole = !word.contains(['\n', '\t']);
        if word.starts_with(typed) && is_whole {
            println!("{word}\t{}", about.lines().next().unwrap_or_default());
        }
    }
}

fn wanted(words: &[String], typed: &str) -> (Parsed, Wanted) {
    let global = match Parsed::read(&[GLOBAL], false, words.to_vec()) {
        Ok(global) => global,
        Err(error) => return (Parsed::default(), after(&error, words, &[GLOBAL])),
    };
    let words = &global.args[..];
    let wanted = match (find(words), words.split_first()) {
        (Some(call), _) => of_verb(call.verb, &call.args, typed),
        (None, None) if typed.starts_with('-') => flags(&[GLOBAL]),
        (None, None) => Wanted::Commands,
        (None, Some((first, rest))) if first == "help" => match rest {
            [] => Wanted::Words(top()),
            [group] => Wanted::Words(group_verbs(group)),
            _ => Wanted::Nothing,
        },
        (None, Some((first, rest))) if !commands::is_own(first) => {
            Wanted::Plugin(first.clone(), rest.to_vec())
        }
        (None, Some((first, []))) => Wanted::Words(group_verbs(first)),
        _ => Wanted::Nothing,
    };
    (global, wanted)
}

/// Commands, groups and what else may stand first.
fn top() -> Candidates {
    let single = commands::ALL.iter().flat_map(|verb| {
        let paths = verb.paths.iter().filter(|path| !path.contains(' '));
        paths.map(|path| ((*path).to_owned(), verb.about.to_owned()))
    });
    let groups =
        commands::groups().map(|group| (group.to_owned(), help::group_about(group).to_owned()));
    let mut all: Candidates = single.chain(groups).collect();
    let (daemon, about) = help::DAEMON;
    all.push((daemon.to_owned(), about.to_owned()));
    all.push(("help".to_owned(), "Help about any command".to_owned()));
    all.sort();
    all
}

fn group_verbs(group: &str) -> Candidates {
    let mut all: Candidates = commands::ALL
        .iter()
        .flat_map(|verb| verb.paths.iter().map(move |path| (*path, verb.about)))
        .filter_map(|(path, about)| {
            let rest = path.strip_prefix(group)?.strip_prefix(' ')?;
            Some((rest.to_owned(), about.to_owned()))
        })
        .collect();
    all.sort();
    all
}

fn of_verb(verb: &'static Verb, words: &[String], typed: &str) -> Wanted {
    let parsed = match Parsed::read(verb.flags, verb.interspersed, words.to_vec()) {
        Ok(parsed) => parsed,
        Err(error) => return after(&error, words, verb.flags),
    };
    let at = parsed.args.len();
    let is_inside = !verb.interspersed && at > 0;
    if verb.paths.contains(&"cp") && !typed.starts_with('-') {
        return match inside::split(typed) {
            _ if at > 1 => Wanted::Nothing,
            Some(_) => Wanted::Inside,
            None if typed.starts_with(['/', '.']) => Wanted::File,
            None => Wanted::FileOrContainer,
        };
    }
    if typed.starts_with('-') && !is_inside && !words.iter().any(|word| word == "--") {
        return flags(verb.flags);
    }
    argument(verb, at)
}

/// What an argument of a verb is, by the words of its usage line.
fn argument(verb: &Verb, at: usize) -> Wanted {
    let name = verb.paths[0];
    let words: Vec<_> = verb
        .usage
        .split_whitespace()
        .filter(|word| *word != "[OPTIONS]")
        .collect();
    let Some(word) = words.get(at).or_else(|| {
        let repeated = |word: &&&str| word.trim_end_matches(']').ends_with("...");
        words.last().filter(repeated)
    }) else {
        return Wanted::Nothing;
    };
    let has = |part: &str| word.contains(part);
    if has("CONTAINER") {
        let of = match name {
            "start" => Names::Stopped,
            "attach" | "exec" | "kill" | "pause" | "port" | "stop" | "top" => Names::Running,
            _ => Names::Containers,
        };
        return Wanted::Names(of);
    }
    if has("NAME|ID") {
        return Wanted::Names(Names::All);
    }
    let is_local = matches!(name, "push" | "tag" | "images" | "rmi" | "run" | "create")
        || name.starts_with("image ")
        || matches!(name, "save" | "history");
    if (has("IMAGE") || has("REPOSITORY") || has("NAME[")) && is_local {
        return Wanted::Names(Names::Images);
    }
    if has("NETWORK") && name != "network create" {
        return Wanted::Names(Names::Networks);
    }
    if has("VOLUME") && name != "volume create" {
        return Wanted::Names(Names::Volumes);
    }
    if has("CONTEXT") && !matches!(name, "context create" | "context import") {
        return Wanted::Names(Names::Contexts);
    }
    match has("FILE") || has("ARG") || has("COMMAND") || has("PATH") {
        true => Wanted::File,
        false => Wanted::Nothing,
    }
}

fn flags(tables: &'static [&'static [Flag]]) -> Wanted {
    let known = tables.iter().copied().flatten();
    let mut all: Candidates = known
        .filter(|flag| flag.support == Support::Yes && flag.instead.is_none())
        .map(|flag| (format!("--{}", flag.name), flag.help.to_owned()))
        .collect();
    all.push(("--help".to_owned(), "Print usage".to_owned()));
    all.sort();
    Wanted::Words(all)
}

/// What follows words that are not whole: the value of the flag that stands last.
fn after(error: &ParseError, words: &[String], tables: &'static [&'static [Flag]]) -> Wanted {
    let (ParseError::NoValue(_), Some(last)) = (error, words.last()) else {
        return Wanted::Nothing;
    };
    let mut known = tables.iter().copied().flatten();
    let flag = match last.strip_prefix("--") {
        Some(name) => known.find(|flag| flag.is(name)),
        None => known.find(|flag| flag.short.is_some() && flag.short == last.chars().last()),
    };
    flag.map_or(Wanted::Nothing, value)
}

/// What a flag takes.
fn value(flag: &Flag) -> Wanted {
    let words = |all: &[&str]| {
        Wanted::Words(
            all.iter()
                .map(|word| ((*word).to_owned(), String::new()))
                .collect(),
        )
    };
    match flag.name {
        "network" => Wanted::Names(Names::Networks),
        "volumes-from" | "link" => Wanted::Names(Names::Containers),
        "context" | "from" => Wanted::Names(Names::Contexts),
        "log-driver" => words(&["journald", "json-file", "local", "none", "syslog"]),
        "restart" => words(&["always", "no", "on-failure", "unless-stopped"]),
        "pull" => words(&["always", "missing", "never"]),
        "log-level" => words(&["debug", "error", "fatal", "info", "warn"]),
        "signal" | "stop-signal" => words(&[
            "SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2",
        ]),
        "type" => words(&["container", "image", "network", "volume"]),
        "format" => words(&["json", "table"]),
        "platform" => words(&["linux/amd64", "linux/arm64"]),
        "cidfile" | "config" | "env-file" | "input" | "label-file" | "mount" | "output"
        | "tlscacert" | "tlscert" | "tlskey" | "volume" | "docker" => Wanted::File,
        _ => Wanted::Nothing,
    }
}

/// The script by which a shell asks.
pub(crate) fn script(shell: &str) -> Option<&'static str> {
    match shell {
        "bash" => Some(include_str!("complete/wharf.bash")),
        "zsh" => Some(include_str!("complete/wharf.zsh")),
        "fish" => Some(include_str!("complete/wharf.fish")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Wanted {
        let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let typed = words.pop().unwrap();
        wanted(&words, &typed).1
    }

    fn has(line: &str, word: &str) -> bool {
        match ask(line) {
            Wanted::Words(all) => all.iter().any(|(known, _)| known == word),
            Wanted::Commands => top().iter().any(|(known, _)| known == word),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_and_flags_come_from_the_tables() {
        assert!(has("", "run") && has("", "container") && has("", "daemon"));
        assert!(!has("", "system dial-stdio"));
        assert!(has("container ", "ls") && has("help container ", "ls"));
        assert!(has("-", "--host") && has("run -", "--rm") && !has("run -", "--host"));
        assert!(has("start -", "--attach"));
        assert!(
            !has("start -", "--checkpoint"),
            "what is refused is not offered"
        );
        assert!(has("-H x ps --", "--all"));
        assert!(has("run --restart ", "always") && has("-l ", "debug"));
        assert_eq!(
            ask("nosuch "),
            Wanted::Plugin("nosuch".to_owned(), Vec::new())
        );
        assert_eq!(ask("run --nosuch "), Wanted::Nothing);
    }

    #[test]
    fn arguments_are_told_by_usage_lines() {
        for (line, names) in [
            ("stop ", Names::Running),
            ("stop a ", Names::Running),
            ("start ", Names::Stopped),
            ("rm -f ", Names::Containers),
            ("container rm a ", Names::Containers),
            ("logs --tail 5 ", Names::Containers),
            ("run -it ", Names::Images),
            ("rmi ", Names::Images),
            ("image inspect ", Names::Images),
            ("run --network ", Names::Networks),
            ("network rm ", Names::Networks),
            ("network connect ", Names::Networks),
            ("network connect a ", Names::Containers),
            ("volume rm ", Names::Volumes),
            ("inspect ", Names::All),
            ("context use ", Names::Contexts),
            ("-c ", Names::Contexts),
            ("exec -it ", Names::Running),
        ] {
            assert_eq!(ask(line), Wanted::Names(names), "{line}");
        }
        for line in [
            "run busybox ",
            "exec box ",
            "run box -",
            "load -i ",
            "run -v ",
        ] {
            assert_eq!(ask(line), Wanted::File, "{line}");
        }
        for (line, wanted) in [
            ("cp ", Wanted::FileOrContainer),
            ("cp -a we", Wanted::FileOrContainer),
            ("cp web:", Wanted::Inside),
            ("container cp web:/etc/pa", Wanted::Inside),
            ("cp here web:/", Wanted::Inside),
            ("cp ./a:b", Wanted::File),
            ("cp /etc/pa", Wanted::File),
            ("cp a b ", Wanted::Nothing),
        ] {
            assert_eq!(ask(line), wanted, "{line}");
        }
        for line in [
            "network create ",
            "volume create ",
            "pull ",
            "run --name ",
            "version ",
        ] {
            assert_eq!(ask(line), Wanted::Nothing, "{line}");
        }
    }
}

//! One invocation: global flags, the verb, and how its end is told.

use crate::Outside;
use crate::commands;
use crate::complete;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::help;
use crate::parse::Parsed;
use crate::plugins;
use crate::session::{Session, tell};
use crate::verb::{Takes, Verb};

/// Flags in front of the verb.
pub(crate) const GLOBAL: &[Flag] = &[
    Flag::one("config", "string", "Location of client config files"),
    Flag::one("context", "string", "Name of the context to use").letter('c'),
    Flag::switch("debug", "Enable debug mode").letter('D'),
    Flag::list("host", "list", "Daemon socket to connect to").letter('H'),
    Flag::one(
        "log-level",
        "string",
        "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
    )
    .letter('l'),
    Flag::switch("tls", "Use TLS; implied by --tlsverify"),
    Flag::one("tlscacert", "string", "Trust certs signed only by this CA"),
    Flag::one("tlscert", "string", "Path to TLS certificate file"),
    Flag::one("tlskey", "string", "Path to TLS key file"),
    Flag::switch("tlsverify", "Use TLS and verify the remote"),
    Flag::switch("version", "Print version information and quit").letter('v'),
];

/// A verb, the path that messages name it by, and what stands behind it.
pub(crate) struct Call {
    pub(crate) verb: &'static Verb,
    name: &'static str,
    pub(crate) args: Vec<String>,
}

/// Runs the program: finds the verb, runs it, tells its failure.
pub(crate) fn run(args: Vec<String>, outside: Outside) -> u8 {
    let program = program_name();
    sys::signals::exit_at(&[libc::SIGINT, libc::SIGTERM]);
    let global = match Parsed::read(&[GLOBAL], false, args) {
        Ok(global) => global,
        Err(error) => {
            tell(&format!(
                "{error}\n\nUsage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information"
            ));
            return 125;
        }
    };
    global.notes.iter().for_each(|note| tell(note));
    if global.wants_help() {
        return match Session::new(&program, &global, outside) {
            Ok(session) => help_about(&session, &global.args),
            Err(failure) => {
                tell(&failure.to_string());
                1
            }
        };
    }
    if global.switch("version") {
        println!("Wharf version {}", env!("CARGO_PKG_VERSION"));
        return 0;
    }
    if let Some((complete::WORD, words)) = split_first(&global.args) {
        return complete::run(&program, words, outside);
    }
    let level = global.one("log-level").unwrap_or("info");
    if !is_level(level) {
        tell(&format!("Unable to parse logging level: {level}"));
        return 1;
    }
    let Some(call) = find(&global.args) else {
        return without_verb(&program, &global, outside);
    };
    let outcome = Parsed::read(call.verb.flags, call.verb.interspersed, call.args)
        .map_err(Failure::from)
        .and_then(|parsed| {
            // Docker tells these on standard output, and tools may read them there.
            parsed.notes.iter().for_each(|note| println!("{note}"));
            if parsed.wants_help() {
                print!("{}", help::of_verb(&program, call.verb, call.name));
                return Ok(0);
            }
            count(&program, call.verb, call.name, parsed.args.len())?;
            (call.verb.run)(&Session::new(&program, &global, outside)?, &parsed)
        });
    match outcome {
        Ok(status) => status,
        Err(failure) => explain(&program, call.verb, call.name, &failure),
    }
}

fn split_first(words: &[String]) -> Option<(&str, &[String])> {
    words
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
}

/// `docker` for a link of that name, so that messages name what was typed.
pub(crate) fn program_name() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    match std::path::Path::new(&name)
        .file_name()
        .and_then(|name| name.to_str())
    {
        Some("docker") => "docker".to_owned(),
        _ => "wharf".to_owned(),
    }
}

fn is_level(text: &str) -> bool {
    const LEVELS: &[&str] = &[
        "", "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic",
    ];
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text))
}

/// The verb with the longest path that the words begin with.
pub(crate) fn find(words: &[String]) -> Option<Call> {
    for length in (1..=words.len().min(2)).rev() {
        let path = words[..length].join(" ");
        if let Some(verb) = commands::ALL
            .iter()
            .chain(commands::HIDDEN)
            .find(|verb| verb.paths.contains(&path.as_str()))
        {
            return Some(Call {
                verb,
                name: verb.named(&path),
                args: words[length..].to_vec(),
            });
        }
    }
    None
}

fn without_verb(program: &str, global: &Parsed, outside: Outside) -> u8 {
    let session = match Session::new(program, global, outside) {
        Ok(session) => session,
        Err(failure) => {
            tell(&failure.to_string());
            return 1;
        }
    };
    let words = &global.args[..];
    let Some((first, rest)) = words.split_first() else {
        tell(help::of_program(program, &session.plugins().all()).trim_end_matches('\n'));
        return 0;
    };
    if first == "help" {
        return help_about(&session, rest);
    }
    if let Some(status) = by_plugin(&session, first) {
        return status;
    }
    if let Some(path) = commands::unbuilt(words) {
        tell(&format!(
            "{program}: '{path}' is a command of docker that wharf does not support yet\n\nRun '{program} --help' for more information"
        ));
        return 1;
    }
    let Some(group) = commands::groups().find(|group| group == first) else {
        tell(&format!(
            "{program}: unknown command: {program} {first}\n\nRun '{program} --help' for more information"
        ));
        return 1;
    };
    let usage = help::usage_of_group(program, group);
    let more = format!("Run '{program} {group} --help' for more information");
    match Parsed::read(&[], false, rest.to_vec()) {
        Err(error) => {
            tell(&format!("{error}\n\nUsage:  {usage}\n\n{more}"));
            125
        }
        Ok(parsed) if parsed.wants_help() => {
            parsed.notes.iter().for_each(|note| println!("{note}"));
            print!("{}", help::of_group(program, group));
            0
        }
        Ok(parsed) => match parsed.args.first() {
            // Nobody asked for it: a script that reads standard output shall find nothing there.
            None => {
                tell(help::of_group(program, group).trim_end_matches('\n'));
                0
            }
            Some(word) => {
                tell(&format!(
                    "{program}: unknown command: {program} {group} {word}\n\nUsage:  {usage}\n\n{more}"
                ));
                1
            }
        },
    }
}

/// Does a command that is a plugin's.
fn by_plugin(session: &Session, name: &str) -> Option<u8> {
    if commands::is_own(name) {
        return None;
    }
    let plugin = session.plugins().find(name)?;
    Some(match plugins::run(&plugin, session.unsaid_host()) {
        Ok(status) => status,
        Err(failure) => {
            tell(&failure.to_string());
            1
        }
    })
}

/// The help text of the command that the words name, all of them.
fn help_about(session: &Session, words: &[String]) -> u8 {
    let program = &session.program;
    let (text, rest) = match (find(words), words.split_first()) {
        (Some(call), _) => (help::of_verb(program, call.verb, call.name), call.args),
        (None, None) => (
            help::of_program(program, &session.plugins().all()),
            Vec::new(),
        ),
        (None, Some((first, rest))) => match commands::groups().find(|group| group == first) {
            Some(group) => (help::of_group(program, group), rest.to_vec()),
            None => match by_plugin(session, first) {
                Some(status) => return status,
                None => (String::new(), words.to_vec()),
            },
        },
    };
    if !rest.is_empty() {
        tell(&format!("unknown help topic: {}", rest.join(" ")));
        return 1;
    }
    print!("{text}");
    0
}

/// Checks the number of arguments, in docker's words.
fn count(program: &str, verb: &Verb, name: &str, number: usize) -> Result<(), Failure> {
    let plural = |number: usize| if number == 1 { "" } else { "s" };
    let name = format!("'{program} {name}'");
    let wrong = match verb.takes {
        Takes::Nothing if number > 0 => format!("{name} accepts no arguments"),
        Takes::Exactly(wanted) if number != wanted => {
            format!("{name} requires {wanted} argument{}", plural(wanted))
        }
        Takes::AtLeast(least) if number < least => {
            format!("{name} requires at least {least} argument{}", plural(least))
        }
        Takes::AtMost(most) if number > most => {
            format!("{name} requires at most {most} argument{}", plural(most))
        }
        Takes::Between(least, most) if !(least..=most).contains(&number) => format!(
            "{name} requires at least {least} and at most {most} argument{}",
            plural(most)
        ),
        _ => return Ok(()),
    };
    Err(Failure::Usage(wrong))
}

/// Tells a failure as docker's client does, and gives the exit status.
fn explain(program: &str, verb: &Verb, name: &str, failure: &Failure) -> u8 {
    let short = verb.paths[0];
    // What the arguments mean is told alike by `create`.
    let like_run = match failure {
        Failure::Invalid(_) | Failure::Local { .. } => matches!(short, "run" | "create"),
        _ => short == "run",
    };
    let usage = help::usage(program, verb, name);
    let more = format!("Run '{program} {name} --help' for more information");
    let status = match failure {
        Failure::Status(status) => return *status,
        Failure::Parse(error) => {
            tell(&format!("{error}\n\n{usage}\n\n{more}"));
            125
        }
        Failure::Usage(text) => {
            let see = if matches!(verb.takes, Takes::AtLeast(_)) {
                more.replacen("Run", "See", 1)
            } else {
                more
            };
            tell(&format!("{program}: {text}\n\n{usage}\n\n{see}"));
            1
        }
        Failure::Template(text) => {
            tell(text);
            64
        }
        Failure::Plain(_) | Failure::Endpoint(_) => {
            tell(&failure.to_string());
            1
        }
        // How to start one follows.
        Failure::NoDaemon { .. } | Failure::Forbidden { .. } if like_run && program != "docker" => {
            tell(&format!("{program}: {failure}"));
            125
        }
        _ if like_run => {
            tell(&format!(
                "{program}: {failure}\n\nRun '{program} {short} --help' for more information"
            ));
            125
        }
        _ => {
            tell(&failure.to_string());
            1
        }
    };
    if matches!(failure, Failure::NoDaemon { .. }) && program != "docker" {
        tell(
            "\nStart one with 'wharf daemon' (as root) or 'systemctl start wharf', or name another with -H or DOCKER_HOST.",
        );
    }
    if matches!(failure, Failure::Forbidden { .. }) && program != "docker" {
        tell(
            "\nThe engine listens to root, and to the group that its socket belongs to ('wharf daemon --group'): use sudo, or join that group.",
        );
    }
    status
}

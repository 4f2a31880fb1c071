//! Help texts, made from the tables of verbs and flags.

use std::fmt::Write;

use crate::commands;
use crate::flag::{Flag, Kind, Support};
use crate::plugins::Plugin;
use crate::verb::Verb;

/// Verbs that a newcomer needs first, in the order in which they are needed.
const COMMON: &[&str] = &["run", "exec", "ps", "pull", "images", "version", "info"];

/// The usage line of a verb that was reached by a name: `Usage:  wharf run [OPTIONS] IMAGE [COMMAND] [ARG...]`.
pub(crate) fn usage(program: &str, verb: &Verb, name: &str) -> String {
    let usage = verb.usage.replace("{program}", program);
    format!("Usage:  {program} {name} {usage}")
        .trim_end()
        .to_owned()
}

/// The whole help text of a verb.
pub(crate) fn of_verb(program: &str, verb: &Verb, name: &str) -> String {
    let mut text = format!("{}\n\n{}\n", usage(program, verb, name), verb.about);
    if verb.paths.len() > 1 {
        let (grouped, single): (Vec<&str>, Vec<&str>) =
            verb.paths.iter().partition(|path| path.contains(' '));
        let names: Vec<_> = grouped
            .into_iter()
            .chain(single)
            .map(|path| format!("{program} {path}"))
            .collect();
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    let mut flags: Vec<_> = verb
        .flags
        .iter()
        .copied()
        .flatten()
        .filter(|flag| flag.support == Support::Yes && flag.instead.is_none())
        .collect();
    if !flags.is_empty() {
        flags.sort_by_key(|flag| flag.name);
        text.push_str("\nOptions:\n");
        options(&mut text, &flags);
    }
    text
}

/// A line for each flag, in two columns.
fn options(text: &mut String, flags: &[&Flag]) {
    let left: Vec<_> = flags.iter().map(|flag| column(flag)).collect();
    let width = left.iter().map(String::len).max().unwrap_or(0);
    for (flag, left) in flags.iter().zip(&left) {
        let _ = writeln!(text, "  {left:<width$}   {}", flag.help);
    }
}

/// `-e, --env list`, with room where the letter would be.
fn column(flag: &Flag) -> String {
    let short = flag
        .short
        .map_or("    ".to_owned(), |short| format!("-{short}, "));
    match flag.kind {
        Kind::Bool => format!("{short}--{}", flag.name),
        Kind::One(shown) | Kind::List(shown) => format!("{short}--{} {shown}", flag.name),
    }
}

/// The program's other role: no command of the client, but the first that a newcomer needs.
pub(crate) const DAEMON: (&str, &str) =
    ("daemon", "Run the engine that the other commands speak to");

/// What somebody types who has never used the program.
const FIRST_STEPS: &str = "
First Steps:
  systemctl start wharf            Start the engine (without systemd: wharf daemon, as root)
  wharf run --rm wharf/isolation   Run a container from the image inside the program
  wharf run -it --rm debian bash   Fetch an image and work in a container of it
  wharf ps -a                      See what runs, and what has ended
  wharf help run                   Read about a command
";

/// The text of `wharf` and `wharf --help`.
pub(crate) fn of_program(program: &str, plugins: &[Plugin]) -> String {
    let mut text =
        format!("Usage:  {program} [OPTIONS] COMMAND\n\nContainers that start in milliseconds\n");
    if program != "docker" {
        text.push_str(FIRST_STEPS);
    }
    text.push_str("\nCommon Commands:\n");
    let single = || {
        commands::ALL.iter().flat_map(|verb| {
            verb.paths
                .iter()
                .filter(|path| !path.contains(' '))
                .map(move |path| (*path, *verb))
        })
    };
    for name in COMMON {
        if let Some((path, verb)) = single().find(|(path, _)| path == name) {
            let _ = writeln!(text, "  {path:<11} {}", verb.about);
        }
    }
    text.push_str("\nManagement Commands:\n");
    // A star tells that it is another program's.
    let (good, bad): (Vec<_>, Vec<_>) = plugins.iter().partition(|plugin| plugin.fault.is_none());
    let starred = |plugin: &&Plugin| {
        let about = plugin.text("ShortDescription").to_owned();
        (format!("{}*", plugin.name), about)
    };
    let mut groups: Vec<_> = commands::groups()
        .map(|group| (group.to_owned(), group_about(group).to_owned()))
        .chain(good.iter().map(starred))
        .collect();
    groups.sort_unstable();
    for (group, about) in groups {
        let _ = writeln!(text, "  {group:<11} {about}");
    }
    text.push_str("\nCommands:\n");
    let mut rest: Vec<_> = single()
        .filter(|(path, _)| !COMMON.contains(path))
        .map(|(path, verb)| (path, verb.about))
        .chain([DAEMON])
        .collect();
    rest.sort_unstable();
    for (path, about) in rest {
        let _ = writeln!(text, "  {path:<11} {about}");
    }
    if !bad.is_empty() {
        text.push_str("\nInvalid Plugins:\n");
    }
    for plugin in bad {
        let why = plugin.fault.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  {:<11} {why}", plugin.name);
    }
    text.push_str("\nGlobal Options:\n");
    let flags: Vec<_> = crate::invoke::GLOBAL
        .iter()
        .filter(|flag| flag.support == Support::Yes)
        .collect();
    options(&mut text, &flags);
    let _ = write!(
        text,
        "\nRun '{program} COMMAND --help' for more information on a command.\n"
    );
    text
}

/// The usage line of a group, as messages show it.
pub(crate) fn usage_of_group(program: &str, group: &str) -> String {
    // Docker's own group of volumes says what follows, the others do not.
    let rest = if group == "volume" { " COMMAND" } else { "" };
    format!("{program} {group}{rest}")
}

/// The text of a group such as `container`.
pub(crate) fn of_group(program: &str, group: &str) -> String {
    let mut text = format!(
        "Usage:  {program} {group} COMMAND\n\n{}\n\nCommands:\n",
        group_about(group)
    );
    let prefix = format!("{group} ");
    let mut rows: Vec<_> = commands::ALL
        .iter()
        .filter_map(|verb| {
            verb.paths
                .iter()
                .find_map(|path| Some((path.strip_prefix(prefix.as_str())?, verb.about)))
        })
        .collect();
    rows.sort_unstable();
    for (name, about) in rows {
        let _ = writeln!(text, "  {name:<11} {about}");
    }
    let _ = write!(
        text,
        "\nRun '{program} {group} COMMAND --help' for more information on a command.\n"
    );
    text
}

pub(crate) fn group_about(group: &str) -> &'static str {
    match group {
        "container" => "Manage containers",
        "image" => "Manage images",
        "manifest" => "Manage Docker image manifests and manifest lists",
        "network" => "Manage networks",
        "system" => "Manage the engine",
        "volume" => "Manage volumes",
        "context" => "Manage contexts",
        _ => "",
    }
}

//! Manual pages, made from the tables of verbs and flags: a page for the program, one for each group and each verb, and
//! one line for each other name of a verb.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::commands;
use crate::failure::Failure;
use crate::flag::{Flag, Kind, Support};
use crate::help;
use crate::invoke::GLOBAL;
use crate::verb::Verb;

/// Writes every page into a folder, which is made if it is missing.
///
/// # Errors
/// What could not be written.
pub(crate) fn write(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(Failure::local(format!("cannot make {}", folder.display())))?;
    for (name, text) in pages() {
        let path = folder.join(name);
        fs::write(&path, text)
            .map_err(Failure::local(format!("cannot write {}", path.display())))?;
    }
    Ok(())
}

/// Each page with its file's name.
fn pages() -> Vec<(String, String)> {
    let mut all = vec![("wharf.1".to_owned(), of_program())];
    all.extend(commands::groups().map(|group| (file(group), of_group(group))));
    for verb in commands::ALL {
        let (first, others) = (verb.paths[0], &verb.paths[1..]);
        all.push((file(first), of_verb(verb)));
        let link = format!(".so man1/{}\n", file(first));
        // A verb may have the name of a group, which has a page of its own.
        all.extend(others.iter().map(|path| (file(path), link.clone())));
    }
    all
}

fn file(path: &str) -> String {
    format!("wharf-{}.1", path.replace(' ', "-"))
}

/// Text as roff shows it as it is.
fn plain(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let lines: Vec<_> = escaped
        .lines()
        .map(|line| match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}"),
            false => line.to_owned(),
        })
        .collect();
    lines.join("\n")
}

/// The beginning of a page.
fn head(name: &str, about: &str) -> String {
    let title = name.replace(' ', "-");
    format!(
        ".TH {} 1 \"\" \"Wharf {}\" \"Wharf\"\n.SH NAME\n{} \\- {}\n",
        plain(&title.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        plain(&title),
        plain(about)
    )
}

/// Whether a help text shows a flag.
fn is_shown(flag: &&Flag) -> bool {
    flag.support == Support::Yes && flag.instead.is_none()
}

fn options(text: &mut String, heading: &str, flags: impl Iterator<Item = &'static Flag>) {
    let mut flags: Vec<_> = flags.filter(is_shown).collect();
    if flags.is_empty() {
        return;
    }
    flags.sort_by_key(|flag| flag.name);
    let _ = writeln!(text, ".SH {heading}");
    for flag in flags {
        let short = flag
            .short
            .map_or(String::new(), |short| format!("\\fB\\-{short}\\fR, "));
        let value = match flag.kind {
            Kind::Bool => String::new(),
            Kind::One(shown) | Kind::List(shown) => format!(" \\fI{}\\fR", plain(shown)),
        };
        let again = match flag.kind {
            Kind::List(_) => " May be given several times.",
            _ => "",
        };
        let _ = writeln!(
            text,
            ".TP\n{short}\\fB\\-\\-{}\\fR{value}\n{}{again}",
            plain(flag.name),
            sentence(flag.help)
        );
    }
}

/// Text with a full stop behind it.
fn sentence(text: &str) -> String {
    let text = plain(text);
    match text.ends_with(['.', ':']) {
        true => text,
        false => format!("{text}."),
    }
}

fn of_verb(verb: &Verb) -> String {
    let name = format!("wharf {}", verb.paths[0]);
    let mut text = head(&name, verb.about);
    let usage = verb.usage.replace("{program}", "wharf");
    let mut ways = usage.lines();
    let first = plain(ways.next().unwrap_or_default());
    let _ = writeln!(text, ".SH SYNOPSIS\n\\fB{}\\fR {first}", plain(&name));
    // Others have the verb's name in them.
    for way in ways {
        let mut rest = way.trim();
        for path in verb.paths {
            let whole = format!("wharf {path}");
            if let Some(behind) = rest.strip_prefix(whole.as_str()) {
                rest = behind;
                break;
            }
        }
        let _ = writeln!(text, ".br\n\\fB{}\\fR{}", plain(&name), plain(rest));
    }
    let _ = writeln!(text, ".SH DESCRIPTION\n{}", sentence(verb.about));
    let others: Vec<_> = verb.paths[1..]
        .iter()
        .map(|path| format!("\\fBwharf {}\\fR", plain(path)))
        .collect();
    if !others.is_empty() {
        let _ = writeln!(text, ".PP\nThe same as {}.", others.join(" and "));
    }
    if !verb.interspersed {
        text.push_str(
            ".PP\nOptions stand before the first argument; what follows belongs to the command in the container.\n",
        );
    }
    options(&mut text, "OPTIONS", verb.flags.iter().copied().flatten());
    if matches!(verb.paths[0], "run" | "exec" | "start" | "attach") {
        text.push_str(
            ".SH EXIT STATUS\nThat of the command. 125 when the engine could not do it, 126 when the command can not be executed, 127 when it is not there, and 128 and a signal's number when that signal ended it.\n",
        );
    }
    text.push_str(
        ".SH SEE ALSO\n\\fBwharf\\fR(1), which has the options that stand before the command.\n",
    );
    text
}

fn of_group(group: &str) -> String {
    let name = format!("wharf {group}");
    let about = help::group_about(group);
    let mut text = head(&name, about);
    let _ = writeln!(
        text,
        ".SH SYNOPSIS\n\\fB{}\\fR \\fICOMMAND\\fR\n.SH COMMANDS",
        plain(&name)
    );
    let prefix = format!("{group} ");
    let mut rows: Vec<_> = commands::ALL
        .iter()
        .flat_map(|verb| verb.paths.iter().map(move |path| (*path, verb.about)))
        .filter(|(path, _)| path.starts_with(&prefix))
        .collect();
    rows.sort_unstable();
    list(&mut text, rows.into_iter());
    text.push_str(".SH SEE ALSO\n\\fBwharf\\fR(1)\n");
    text
}

/// Commands with their pages and what they do.
fn list<'a>(text: &mut String, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    for (path, about) in rows {
        let page = plain(&format!("wharf-{}", path.replace(' ', "-")));
        let _ = writeln!(text, ".TP\n\\fB{page}\\fR(1)\n{}", sentence(about));
    }
}

fn of_program() -> String {
    let mut text = head("wharf", "containers that start in milliseconds");
    text.push_str(
        ".SH SYNOPSIS\n\\fBwharf\\fR [OPTIONS] \\fICOMMAND\\fR [ARG...]\n.SH DESCRIPTION\nWharf runs containers. One program is the engine (\\fBwharf daemon\\fR) and its client, which has the commands of docker.\n",
    );
    options(&mut text, "OPTIONS", GLOBAL.iter());
    text.push_str(".SH COMMANDS\n");
    let mut rows: Vec<_> = commands::ALL
        .iter()
        .flat_map(|verb| verb.paths.iter().map(move |path| (*path, verb.about)))
        .filter(|(path, _)| !path.contains(' '))
        .chain(commands::groups().map(|group| (group, help::group_about(group))))
        .collect();
    rows.sort_unstable();
    rows.dedup_by_key(|(path, _)| *path);
    list(&mut text, rows.into_iter());
    text.push_str(".SH ENVIRONMENT\n");
    for (name, about) in VARIABLES {
        let _ = writeln!(text, ".TP\n\\fB{name}\\fR\n{}", plain(about));
    }
    text.push_str(".SH FILES\n");
    for (name, about) in FILES {
        let _ = writeln!(text, ".TP\n\\fI{}\\fR\n{}", plain(name), plain(about));
    }
    text
}

const VARIABLES: &[(&str, &str)] = &[
    (
        "DOCKER_HOST",
        "The engine: unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT][/PATH].",
    ),
    ("DOCKER_CONTEXT", "The name of the context to use."),
    ("DOCKER_CONFIG", "The folder of the client's configuration."),
    (
        "DOCKER_TLS_VERIFY",
        "Anything: connections over TCP are encrypted, and the engine's certificate is verified.",
    ),
    (
        "DOCKER_CERT_PATH",
        "The folder of ca.pem, cert.pem and key.pem.",
    ),
    (
        "DOCKER_API_VERSION",
        "The version of the API that is spoken.",
    ),
    (
        "DOCKER_DEFAULT_PLATFORM",
        "The platform of images when none is named.",
    ),
];

const FILES: &[(&str, &str)] = &[
    ("/run/wharf.sock", "The engine's socket."),
    (
        "~/.docker/config.json",
        "The client's configuration, which is docker's.",
    ),
    ("~/.docker/contexts", "Contexts, which are docker's."),
    ("~/.docker/cli-plugins", "Docker's plugins."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_verb_has_a_page_and_every_name_leads_to_one() {
        let all = pages();
        let by_name: BTreeMap<_, _> = all.iter().cloned().collect();
        assert_eq!(by_name.len(), all.len(), "no page is written twice");
        for verb in commands::ALL {
            for path in verb.paths {
                let page = &by_name[&file(path)];
                let page = match page.strip_prefix(".so man1/") {
                    Some(other) => &by_name[other.trim()],
                    None => page,
                };
                for flag in verb.flags.iter().copied().flatten().filter(is_shown) {
                    let name = format!("\\-\\-{}\\fR", plain(flag.name));
                    assert!(page.contains(&name), "{path} {}", flag.name);
                }
            }
        }
    }

    #[test]
    fn text_stays_as_it_is() {
        assert_eq!(plain(".a\n'b -c \\d"), "\\&.a\n\\&'b \\-c \\ed");
    }
}

//! Completion of plugins' commands, which plugins do themselves by the word of docker's own: they are called with it, their
//! name and the words so far, and print a candidate on each line and last a colon and a number.

use std::process::{Command, Stdio};

use super::{Candidates, WORD};
use crate::session::Session;

/// Bits of that number: nothing can be said; no file is meant.
const FAULT: u8 = 1;
const NO_FILE: u8 = 4;
/// Candidates beyond these are nobody's help.
const MOST: usize = 4096;
/// The beginning of lines that explain.
const HELP: &str = "_activeHelp_ ";

/// The commands of all plugins that can be used.
pub(super) fn names(session: &Session) -> Candidates {
    let plugins = session.plugins().all().into_iter();
    plugins
        .filter(|plugin| plugin.fault.is_none())
        .map(|plugin| {
            let about = plugin.text("ShortDescription").to_owned();
            (plugin.name, about)
        })
        .collect()
}

/// What a plugin says to these words, and whether the name of a file may stand there, too.
pub(super) fn ask(
    session: &Session,
    name: &str,
    words: &[String],
    typed: &str,
) -> (Candidates, bool) {
    let Some(plugin) = session.plugins().find(name) else {
        return (Candidates::new(), false);
    };
    let mut command = Command::new(&plugin.path);
    command
        .args([WORD, name])
        .args(words)
        .arg(typed)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    if let Some(host) = session.unsaid_host() {
        command.env("DOCKER_HOST", host);
    }
    match command.output() {
        Ok(said) => read(&String::from_utf8_lossy(&said.stdout)),
        Err(_) => (Candidates::new(), false),
    }
}

fn read(text: &str) -> (Candidates, bool) {
    let mut lines: Vec<&str> = text.lines().take(MOST).collect();
    let directive = lines
        .pop()
        .and_then(|line| line.strip_prefix(':')?.parse::<u8>().ok());
    let Some(directive) = directive.filter(|directive| directive & FAULT == 0) else {
        return (Candidates::new(), false);
    };
    let candidates = lines
        .into_iter()
        .filter(|line| !line.starts_with(HELP))
        .map(|line| {
            let (word, about) = line.split_once('\t').unwrap_or((line, ""));
            (word.to_owned(), about.to_owned())
        })
        .collect();
    (candidates, directive & NO_FILE == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_prints_is_read() {
        let (words, files) = read("up\tCreate\n_activeHelp_ well\ndown\n:4\n");
        let all = [("up", "Create"), ("down", "")];
        assert_eq!(words, all.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(!files);
        assert!(read("a\n:0\n").1);
        for text in ["", "a\n", "a\n:1\n", ":x"] {
            assert_eq!(read(text), (Candidates::new(), false), "{text:?}");
        }
    }
}

//! One file a verb, or a small family of verbs.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::parse::{ParseError, Parsed};
use crate::session::Session;
use crate::template::{self, Template};
use crate::verb::Verb;

mod archive;
mod commit;
mod context;
mod copy;
mod df;
mod dial;
mod diff;
mod each;
mod follow;
mod images;
mod inspect;
mod logs;
mod manifest;
mod networks;
mod prune;
mod ps;
pub(crate) mod pull;
mod push;
mod registry;
mod run;
mod shell;
mod start;
mod stats;
mod system;
mod top;
mod update;
mod version;
mod volumes;

/// Every verb.
pub(crate) static ALL: &[&Verb] = &[
    &archive::EXPORT,
    &archive::LOAD,
    &archive::SAVE,
    &commit::COMMIT,
    &commit::IMPORT,
    &context::CREATE,
    &context::EXPORT,
    &context::IMPORT,
    &context::INSPECT,
    &context::LS,
    &context::RM,
    &context::SHOW,
    &context::UPDATE,
    &context::USE,
    &copy::COPY,
    &df::DF,
    &diff::DIFF,
    &each::KILL,
    &each::PAUSE,
    &each::RENAME,
    &each::RESTART,
    &each::RM,
    &each::STOP,
    &each::UNPAUSE,
    &each::WAIT,
    &images::HISTORY,
    &images::IMAGES,
    &images::RMI,
    &images::TAG,
    &inspect::CONTAINER_INSPECT,
    &inspect::IMAGE_INSPECT,
    &inspect::INSPECT,
    &inspect::NETWORK_INSPECT,
    &inspect::PORT,
    &inspect::VOLUME_INSPECT,
    &logs::EVENTS,
    &logs::LOGS,
    &manifest::ANNOTATE,
    &manifest::CREATE,
    &manifest::INSPECT,
    &manifest::PUSH,
    &manifest::RM,
    &networks::CONNECT,
    &networks::CREATE,
    &networks::DISCONNECT,
    &prune::CONTAINER_PRUNE,
    &prune::IMAGE_PRUNE,
    &prune::NETWORK_PRUNE,
    &prune::SYSTEM_PRUNE,
    &prune::VOLUME_PRUNE,
    &ps::PS,
    &pull::PULL,
    &push::PUSH,
    &registry::LOGIN,
    &registry::LOGOUT,
    &registry::SEARCH,
    &run::RUN,
    &start::ATTACH,
    &start::CREATE,
    &start::EXEC,
    &start::START,
    &stats::STATS,
    &system::INFO,
    &top::TOP,
    &update::UPDATE,
    &version::VERSION,
    &volumes::NETWORK_LS,
    &volumes::NETWORK_RM,
    &volumes::VOLUME_CREATE,
    &volumes::VOLUME_LS,
    &volumes::VOLUME_RM,
];

/// Verbs that programs use, and that no list shows.
pub(crate) static HIDDEN: &[&Verb] = &[&dial::DIAL, &shell::COMPLETION, &shell::MAN];

/// Whether a word is a command or a group of commands of the program's own.
pub(crate) fn is_own(word: &str) -> bool {
    let mut paths = ALL.iter().chain(HIDDEN).flat_map(|verb| verb.paths);
    matches!(word, "help" | "daemon") || paths.any(|path| path.split(' ').next() == Some(word))
}

/// The first words of paths with two: `container`, `image`, ….
pub(crate) fn groups() -> impl Iterator<Item = &'static str> {
    let mut found: Vec<_> = ALL
        .iter()
        .flat_map(|verb| verb.paths)
        .filter_map(|path| Some(path.split_once(' ')?.0))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter()
}

/// Commands of docker 28 that are not built, in their groups. A group alone stands for all of it.
const UNBUILT: &[&str] = &[
    "build",
    "builder",
    "checkpoint",
    "config",
    "image build",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
    "volume update",
];

/// The command of docker's that words name and that is not built.
pub(crate) fn unbuilt(words: &[String]) -> Option<&'static str> {
    UNBUILT.iter().copied().find(|path| {
        let mut parts = path.split(' ');
        words
            .iter()
            .zip(parts.by_ref())
            .all(|(word, part)| word == part)
            && parts.next().is_none()
    })
}

/// Reads one `--filter` value.
///
/// # Errors
/// Docker's words for what is no `name=value`.
fn filter(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('=') {
        Ok(text.to_owned())
    } else {
        Err("bad format of filter (expected name=value)".to_owned())
    }
}

/// `--filter` values as the API takes them: `{"name":{"value":true}}`; empty without any.
///
/// # Errors
/// Docker's words for a value that is no `name=value`.
fn filters(values: &[String]) -> Result<String, Failure> {
    let mut found: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for text in values.iter().filter(|text| !text.is_empty()) {
        let bad = || ParseError::Invalid {
            value: text.clone(),
            flag: "-f, --filter".to_owned(),
            why: "bad format of filter (expected name=value)".to_owned(),
        };
        let (name, value) = text.split_once('=').ok_or_else(bad)?;
        found
            .entry(name.trim().to_lowercase())
            .or_default()
            .insert(value.trim().to_owned(), true.into());
    }
    Ok(if found.is_empty() {
        String::new()
    } else {
        json!(found).to_string()
    })
}

/// `--format`, or what the configuration file says for this list when `-q` is not there.
fn format(session: &Session, parsed: &Parsed, setting: &str) -> Result<String, Failure> {
    match parsed.one("format") {
        Some(format) => Ok(format.to_owned()),
        None if parsed.switch("quiet") => Ok(String::new()),
        None => Ok(session.setting(setting).to_owned()),
    }
}

/// Order of texts in which numbers count as such: `2` before `10`.
fn natural(one: &str, other: &str) -> Ordering {
    let digits = |text: &str| {
        text.find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (mut one, mut other) = (one, other);
    loop {
        let order = match (digits(one), digits(other)) {
            (0, _) | (_, 0) => {
                let (left, right) = (one.chars().next(), other.chars().next());
                let length = |letter: Option<char>| letter.map_or(0, char::len_utf8);
                one = &one[length(left)..];
                other = &other[length(right)..];
                match (left, right) {
                    (None, None) => return Ordering::Equal,
                    pair => pair.0.cmp(&pair.1),
                }
            }
            (left, right) => {
                let (first, second) = (
                    one[..left].trim_start_matches('0'),
                    other[..right].trim_start_matches('0'),
                );
                let order = (first.len(), first, left).cmp(&(second.len(), second, right));
                one = &one[left..];
                other = &other[right..];
                order
            }
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The values of `--platform` as the API takes them.
///
/// # Errors
/// Docker's sentence for one that is no platform.
fn platform_documents(parsed: &Parsed) -> Result<Vec<String>, Failure> {
    let given = parsed.list("platform");
    let given = given.iter().flat_map(|text| text.split(','));
    given
        .filter(|text| !text.is_empty())
        .map(|text| {
            platform_document(text)
                .map_err(|failure| Failure::Invalid(format!("invalid platform: {failure}")))
        })
        .collect()
}

/// A platform as the API takes it: a document.
fn platform_document(text: &str) -> Result<String, Failure> {
    let platform: types::Platform = text
        .parse()
        .map_err(|error: types::PlatformError| Failure::Invalid(error.to_string()))?;
    let mut document = json!({"architecture": platform.architecture(), "os": platform.os()});
    if let Some(variant) = platform.variant() {
        document["variant"] = variant.into();
    }
    Ok(document.to_string())
}

/// Prints a document by a template, or as JSON without one. Docker writes what came before a fault, and ends the line.
fn print_document(template: Option<&Template>, document: &template::Value) -> Result<u8, Failure> {
    let Some(template) = template else {
        println!("{}", document.to_json());
        return Ok(0);
    };
    let (text, end) = template.render_partly(document);
    println!("{text}");
    end.map(|()| 0)
        .map_err(|fault| Failure::Invalid(fault.to_string()))
}

/// An id without its algorithm, its first twelve digits if it is to be short.
fn short(id: &str, truncate: bool) -> &str {
    if !truncate {
        return id;
    }
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

/// Text of at most so many letters, the last of which is `…` when something was cut.
fn ellipsis(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// Labels as one text: `a=b,c=d`, in order.
fn labels(labels: &Map<String, Value>) -> String {
    let mut all: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    all.sort();
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_in_their_order() {
        let mut texts = ["a10", "a9", "b", "a", "a09x"];
        texts.sort_by(|one, other| natural(one, other));
        assert_eq!(texts, ["a", "a9", "a09x", "a10", "b"]);
    }

    #[test]
    fn what_is_not_built_is_known_by_name() {
        let find = |text: &str| {
            let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            unbuilt(&words)
        };
        assert_eq!(find("build a b"), Some("build"));
        assert_eq!(find("image build a"), Some("image build"));
        assert_eq!(find("swarm init"), Some("swarm"));
        assert_eq!(find("container nosuch"), None);
    }
}

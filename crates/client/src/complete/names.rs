//! Names of what an engine has.

use serde_json::Value;

use super::Candidates;
use crate::contexts::Contexts;
use crate::session::Session;

/// Whose names are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Every container's.
    Containers,
    /// Those of containers that run.
    Running,
    /// Those of containers that do not.
    Stopped,
    /// Images' tags.
    Images,
    /// Networks'.
    Networks,
    /// Volumes'.
    Volumes,
    /// Contexts'.
    Contexts,
    /// Those of all that `inspect` shows.
    All,
}

impl Names {
    /// Asks for them; what can not be had is left out.
    pub(crate) fn ask(self, session: &Session) -> Candidates {
        let mut all = match self {
            Names::Containers => containers(session, |_| true),
            Names::Running => containers(session, |state| state == "running"),
            Names::Stopped => containers(session, |state| state != "running"),
            Names::Images => images(session),
            Names::Networks => named(&get(session, "/networks"), "Driver"),
            Names::Volumes => named(&get(session, "/volumes")["Volumes"], "Driver"),
            Names::Contexts => contexts(session),
            Names::All => [
                Names::Containers,
                Names::Images,
                Names::Networks,
                Names::Volumes,
            ]
            .iter()
            .flat_map(|names| names.ask(session))
            .collect(),
        };
        all.sort();
        all
    }
}

fn get(session: &Session, path: &str) -> Value {
    session.get(path).unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn containers(session: &Session, fits: fn(&str) -> bool) -> Candidates {
    list(&get(session, "/containers/json?all=1"))
        .filter(|one| fits(one["State"].as_str().unwrap_or_default()))
        .filter_map(|one| {
            // A link's name is that of another container.
            let name = list(&one["Names"])
                .filter_map(|name| name.as_str()?.strip_prefix('/'))
                .find(|name| !name.contains('/'))?;
            let about = format!("{}, {}", text(&one["Image"]), text(&one["Status"]));
            Some((name.to_owned(), about))
        })
        .collect()
}

fn images(session: &Session) -> Candidates {
    let answer = get(session, "/images/json");
    list(&answer)
        .flat_map(|one| list(&one["RepoTags"]))
        .filter_map(Value::as_str)
        .filter(|tag| *tag != "<none>:<none>")
        .map(|tag| (tag.to_owned(), String::new()))
        .collect()
}

fn named(answer: &Value, about: &str) -> Candidates {
    list(answer)
        .map(|one| (text(&one["Name"]), text(&one[about])))
        .collect()
}

fn contexts(session: &Session) -> Candidates {
    let all = Contexts::in_folder(session.config_folder()).all();
    let mut all: Candidates = all
        .unwrap_or_default()
        .iter()
        .map(|context| (context.name().to_owned(), context.description().to_owned()))
        .collect();
    all.push((crate::host::DEFAULT_CONTEXT.to_owned(), String::new()));
    all
}

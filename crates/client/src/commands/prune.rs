//! The prune verbs, each alone and all together.

use std::io::{BufRead, Write};

use serde_json::Value;

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::Session;
use crate::units;
use crate::verb::{Takes, Verb};

const FLAGS: &[Flag] = &[
    Flag::list("filter", "filter", "Provide filter values").checked(super::filter),
    Flag::switch("force", "Do not prompt for confirmation").letter('f'),
];
const ALL: &[Flag] = &[Flag::switch(
    "all",
    "Remove all that is unused, not just what has no name",
)
.letter('a')];
const VOLUMES: &[Flag] = &[Flag::switch("volumes", "Prune anonymous volumes")];

/// What was removed.
#[derive(Default)]
struct Removed {
    /// Bytes that are free again.
    bytes: f64,
    /// A heading and a line for each; empty when there was nothing.
    lines: String,
}

impl Removed {
    fn new(heading: &str, names: &str, answer: &Value) -> Self {
        if names.is_empty() {
            return Removed::default();
        }
        Removed {
            bytes: answer["SpaceReclaimed"].as_f64().unwrap_or(0.0),
            lines: format!("{heading}\n{names}"),
        }
    }

    fn tell(&self) {
        if !self.lines.is_empty() {
            println!("{}", self.lines);
        }
    }
}

fn tell_total(bytes: f64) {
    println!("Total reclaimed space: {}", units::size(bytes));
}

const fn prune(
    path: &'static [&'static str],
    about: &'static str,
    flags: &'static [&'static [Flag]],
    run: fn(&Session, &Parsed) -> Result<u8, Failure>,
) -> Verb {
    Verb {
        paths: path,
        usage: "[OPTIONS]",
        about,
        flags,
        interspersed: true,
        takes: Takes::Nothing,
        run,
    }
}

pub(super) static CONTAINER_PRUNE: Verb = prune(
    &["container prune"],
    "Remove all stopped containers",
    &[FLAGS],
    |session, parsed| {
        confirm(
            parsed,
            "WARNING! This will remove all stopped containers.\n",
        )?;
        finish(containers(session, &asked(session, parsed))?)
    },
);

pub(super) static IMAGE_PRUNE: Verb = prune(
    &["image prune"],
    "Remove unused images",
    &[ALL, FLAGS],
    |session, parsed| {
        let all = parsed.switch("all");
        confirm(
            parsed,
            if all {
                "WARNING! This will remove all images without at least one container associated to them.\n"
            } else {
                "WARNING! This will remove all dangling images.\n"
            },
        )?;
        finish(images(session, all, &asked(session, parsed))?)
    },
);

pub(super) static NETWORK_PRUNE: Verb = prune(
    &["network prune"],
    "Remove all unused networks",
    &[FLAGS],
    |session, parsed| {
        confirm(
            parsed,
            "WARNING! This will remove all custom networks not used by at least one container.\n",
        )?;
        networks(session, &asked(session, parsed))?.tell();
        Ok(0)
    },
);

pub(super) static VOLUME_PRUNE: Verb = prune(
    &["volume prune"],
    "Remove unused local volumes",
    &[ALL, FLAGS],
    |session, parsed| {
        let all = parsed.switch("all");
        let mut filters = asked(session, parsed);
        if all && filters.iter().any(|text| name(text) == "all") {
            return Err(Failure::Invalid(
                "conflicting options: cannot specify both --all and --filter all=1".to_owned(),
            ));
        }
        confirm(
            parsed,
            if all {
                "WARNING! This will remove all local volumes not used by at least one container.\n"
            } else {
                "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
            },
        )?;
        if all {
            filters.push("all=true".to_owned());
        }
        finish(volumes(session, &filters)?)
    },
);

pub(super) static SYSTEM_PRUNE: Verb = prune(
    &["system prune"],
    "Remove unused data",
    &[ALL, FLAGS, VOLUMES],
    everything,
);

fn everything(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let (all, with_volumes) = (parsed.switch("all"), parsed.switch("volumes"));
    let by_time = |text: &String| name(text) == "until";
    if with_volumes && parsed.list("filter").iter().any(by_time) {
        return Err(Failure::Invalid(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"".to_owned(),
        ));
    }
    let filters = asked(session, parsed);
    confirm(parsed, &warning(all, with_volumes, &filters))?;
    let mut total = 0.0;
    let mut done = |removed: Removed| {
        removed.tell();
        total += removed.bytes;
    };
    done(containers(session, &filters)?);
    done(networks(session, &filters)?);
    if with_volumes {
        done(volumes(session, &filters)?);
    }
    done(images(session, all, &filters)?);
    done(build_cache(session, all, &filters)?);
    tell_total(total);
    Ok(0)
}

/// What `system prune` says before it asks.
fn warning(all: bool, volumes: bool, filters: &[String]) -> String {
    let mut text = String::from("WARNING! This will remove:\n");
    let mut line = |what: &str| text.push_str(&format!("  - {what}\n"));
    line("all stopped containers");
    line("all networks not used by at least one container");
    if volumes {
        line("all anonymous volumes not used by at least one container");
    }
    line(match all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    });
    line(match all {
        true => "all build cache",
        false => "unused build cache",
    });
    text.push('\n');
    let mut shown: Vec<_> = filters
        .iter()
        .filter(|text| matches!(name(text), "label" | "label!" | "until"))
        .collect();
    shown.sort_by(|one, other| super::natural(one, other));
    shown.dedup();
    if !shown.is_empty() {
        text.push_str("  Items to be pruned will be filtered with:\n");
        for filter in shown {
            text.push_str(&format!("  - {filter}\n"));
        }
        text.push('\n');
    }
    text
}

/// The name of a filter.
fn name(filter: &str) -> &str {
    filter.split('=').next().unwrap_or_default().trim()
}

/// The filters of the command line, and those of the configuration file that they do not contradict.
fn asked(session: &Session, parsed: &Parsed) -> Vec<String> {
    let mut filters = parsed.list("filter");
    let configured = session.config()["pruneFilters"].as_array();
    for text in configured.into_iter().flatten().filter_map(Value::as_str) {
        let Some((name, value)) = text.split_once('=') else {
            continue;
        };
        let opposite = match name {
            "label" => format!("label!={value}"),
            "label!" => format!("label={value}"),
            _ => String::new(),
        };
        if !filters.contains(&opposite) {
            filters.push(text.to_owned());
        }
    }
    filters
}

fn containers(session: &Session, filters: &[String]) -> Result<Removed, Failure> {
    let answer = post(session, Query::new("/containers/prune"), filters)?;
    let names = lines(&answer["ContainersDeleted"]);
    Ok(Removed::new("Deleted Containers:", &names, &answer))
}

fn networks(session: &Session, filters: &[String]) -> Result<Removed, Failure> {
    let answer = post(session, Query::new("/networks/prune"), filters)?;
    let names = lines(&answer["NetworksDeleted"]);
    Ok(Removed::new("Deleted Networks:", &names, &answer))
}

fn volumes(session: &Session, filters: &[String]) -> Result<Removed, Failure> {
    let answer = post(session, Query::new("/volumes/prune"), filters)?;
    let names = lines(&answer["VolumesDeleted"]);
    Ok(Removed::new("Deleted Volumes:", &names, &answer))
}

fn images(session: &Session, all: bool, filters: &[String]) -> Result<Removed, Failure> {
    let mut filters = filters.to_vec();
    filters.push(format!("dangling={}", !all));
    let answer = post(session, Query::new("/images/prune"), &filters)?;
    let names = super::images::pruned(&answer);
    Ok(Removed::new("Deleted Images:", &names, &answer))
}

fn build_cache(session: &Session, all: bool, filters: &[String]) -> Result<Removed, Failure> {
    let query = Query::new("/build/prune").with_switch("all", all);
    let answer = post(session, query, filters)?;
    let names = lines(&answer["CachesDeleted"]);
    Ok(Removed::new(
        "Deleted build cache objects:",
        &names,
        &answer,
    ))
}

fn lines(list: &Value) -> String {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|name| format!("{name}\n"))
        .collect()
}

fn post(session: &Session, query: Query, filters: &[String]) -> Result<Value, Failure> {
    let query = query.with_some("filters", &super::filters(filters)?);
    session.post(query.text(), None)
}

fn finish(removed: Removed) -> Result<u8, Failure> {
    removed.tell();
    tell_total(removed.bytes);
    Ok(0)
}

/// Asks before something is removed, unless `--force` is there.
///
/// # Errors
/// Status 0 when the answer is no: nothing was done, as was asked for.
fn confirm(parsed: &Parsed, warning: &str) -> Result<(), Failure> {
    if parsed.switch("force") {
        return Ok(());
    }
    let mut line = String::new();
    let _ = crate::terminal::answer(|| {
        print!("{warning}Are you sure you want to continue? [y/N] ");
        let _ = std::io::stdout().flush();
        std::io::stdin().lock().read_line(&mut line)
    });
    if line.trim().eq_ignore_ascii_case("y") {
        Ok(())
    } else {
        Err(Failure::Status(0))
    }
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn what_will_be_removed_is_said_in_docker_s_words() {
        assert_eq!(
            warning(false, false, &[]),
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  - all dangling images\n  \
             - unused build cache\n\n"
        );
        let filters = ["until=24h", "label=a10", "label=a9"].map(str::to_owned);
        assert_eq!(
            warning(true, true, &filters),
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  \
             - all anonymous volumes not used by at least one container\n  \
             - all images without at least one container associated to them\n  \
             - all build cache\n\n  Items to be pruned will be filtered with:\n  \
             - label=a9\n  - label=a10\n  - until=24h\n\n"
        );
    }
}

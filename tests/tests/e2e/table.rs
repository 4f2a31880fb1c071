//! `docs/flags.md`, the help texts and the parser know the same flags: those of docker 28, each
//! with a test or refused by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{Engine, Finished, run};

/// One flag of one verb.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    kind: String,
    /// The name of its test, or `*refused*`.
    test: String,
}

type Table = BTreeMap<(String, String), Row>;

fn tree(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of `docs/flags.md`. A heading such as `## run and create` names their verbs.
fn documented() -> Table {
    let mut table = Table::new();
    let mut verbs: Vec<String> = Vec::new();
    for line in tree("../docs/flags.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            verbs = heading.split(" and ").map(str::to_owned).collect();
        }
        let Some(cells) = line.strip_prefix("| `--") else {
            continue;
        };
        let cells: Vec<_> = cells.split('|').map(str::trim).collect();
        let [flag, kind, test, ""] = cells[..] else {
            panic!("a row of three cells is expected: {line}");
        };
        for verb in &verbs {
            let row = Row {
                kind: kind.to_owned(),
                test: test.trim_matches('`').to_owned(),
            };
            let key = (verb.clone(), format!("--{}", flag.trim_matches('`')));
            assert_eq!(table.insert(key, row), None, "listed twice: {line}");
        }
    }
    table
}

/// What docker 28 has.
fn docker() -> Vec<(String, String, String, String)> {
    tree("data/docker-28-flags.tsv")
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<_> = line.split('\t').map(str::to_owned).collect();
            let [verb, flag, short, kind] = &cells[..] else {
                panic!("{line}");
            };
            (verb.clone(), flag.clone(), short.clone(), kind.clone())
        })
        .filter(|(_, flag, _, _)| flag != "--help")
        .collect()
}

fn wharf(args: &[&str]) -> Finished {
    let mut command = Command::new(Engine::program());
    command.args(args).env("DOCKER_HOST", "unix:///nonexistent");
    run(command, b"")
}

#[test]
fn the_table_lists_every_flag_of_docker_and_no_other() {
    let mut table = documented();
    for (verb, flag, _, kind) in docker() {
        let row = table.remove(&(verb.clone(), flag.clone()));
        let row = row.unwrap_or_else(|| panic!("docs/flags.md lacks {flag} of {verb}"));
        assert_eq!(row.kind, kind, "{flag} of {verb}");
    }
    assert!(table.is_empty(), "flags that docker 28 lacks: {table:?}");
}

#[test]
fn every_named_test_is_there() {
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    for ((verb, flag), row) in documented() {
        if row.test == "*refused*" {
            continue;
        }
        let start = sources
            .find(&format!("#[test]\nfn {}() {{", row.test))
            .unwrap_or_else(|| panic!("{flag} of {verb}: no test {}", row.test));
        let body = &sources[start..];
        let body = &body[..body.find("\n}\n").unwrap()];
        let short = docker()
            .into_iter()
            .find(|known| known.0 == verb && known.1 == flag)
            .unwrap()
            .2;
        // A letter may stand in a cluster: `-it`.
        let used = body.contains(&format!("{flag}\""))
            || body.contains(&format!("{flag} "))
            || body.contains(&format!("{flag}="))
            || body.contains(&format!("\"-{short}\"")) && !short.is_empty()
            || ["it", "dit", "ti"].iter().any(|cluster| {
                cluster.contains(&short)
                    && !short.is_empty()
                    && body.contains(&format!("\"-{cluster}\""))
            });
        assert!(used, "{} does not use {flag} of {verb}", row.test);
    }
}

#[test]
fn help_shows_what_is_supported_and_nothing_else() {
    let table = documented();
    for verb in ["run", "create", "exec"] {
        let help = wharf(&[verb, "--help"]).ok().stdout;
        for ((_, flag), row) in table.iter().filter(|((of, _), _)| of == verb) {
            let shown = help.lines().any(|line| {
                line.split_whitespace()
                    .take(2)
                    .any(|word| word == flag.as_str())
            });
            assert_eq!(shown, row.test != "*refused*", "{flag} of {verb}");
        }
        for line in help.lines().filter(|line| line.trim().starts_with('-')) {
            let word = line.split_whitespace().find(|word| word.starts_with("--"));
            let key = (verb.to_owned(), word.unwrap().to_owned());
            assert!(table.contains_key(&key), "{key:?} is in no table");
        }
    }
}

/// A value that the flag takes.
fn sample(flag: &str) -> &'static str {
    match flag {
        "--add-host" => "name:1.2.3.4",
        "--attach" => "stdin",
        "--blkio-weight-device" => "/dev/a:10",
        "--device-read-bps"
        | "--device-read-iops"
        | "--device-write-bps"
        | "--device-write-iops" => "/dev/a:1",
        "--device-cgroup-rule" => "c 1:1 r",
        "--dns" => "1.2.3.4",
        "--dns-search" => "example.org",
        "--health-interval"
        | "--health-start-interval"
        | "--health-start-period"
        | "--health-timeout" => "1s",
        "--mount" => "target=/a",
        "--sysctl" => "net.core.somaxconn=1",
        "--ulimit" => "nofile=1",
        _ => "1",
    }
}

#[test]
fn the_parser_knows_every_flag_and_refuses_by_name() {
    let table = documented();
    for (verb, flag, short, kind) in docker() {
        let refused = table[&(verb.clone(), flag.clone())].test == "*refused*";
        let value = (kind != "bool").then(|| sample(&flag));
        let mut spellings = vec![flag.clone()];
        if !short.is_empty() {
            spellings.push(format!("-{short}"));
        }
        for spelling in spellings {
            let mut args = vec![verb.as_str(), spelling.as_str()];
            args.extend(value);
            // What is understood gets as far as the request for help.
            args.push("--help");
            let done = wharf(&args);
            if refused {
                assert_ne!(done.status, 0, "{args:?}");
                let sentence =
                    format!("{flag} is a flag of docker that wharf does not support yet");
                assert!(
                    done.stderr.starts_with(&sentence),
                    "{args:?}: {}",
                    done.stderr
                );
            } else {
                let done = done.ok();
                assert!(
                    done.stdout.starts_with("Usage:"),
                    "{args:?}: {}",
                    done.stdout
                );
            }
        }
    }
}

//! Instructions that change a configuration, as they stand in a Dockerfile and behind `--change`.

use crate::{span, words};

/// The longest list that is read, in bytes.
pub const MAX_TEXT: usize = 1 << 20;

/// A command: words that are executed, or a line for a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `["a", "b"]`.
    Exec(Vec<String>),
    /// Anything else; empty for nothing at all.
    Shell(String),
}

/// A check of health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// None, whatever the image has.
    None,
    /// This command; times are nanoseconds, 0 means the default.
    Check {
        /// What is run.
        command: Command,
        /// Between two checks.
        interval: i64,
        /// For one check.
        timeout: i64,
        /// After the start, when failures do not count.
        start_period: i64,
        /// Between two checks meanwhile.
        start_interval: i64,
        /// Failures in a row.
        retries: i64,
    },
}

/// One instruction. Variables in its texts are not replaced yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// What is run.
    Cmd(Command),
    /// What is run before it.
    Entrypoint(Command),
    /// Variables.
    Env(Vec<(String, String)>),
    /// Ports.
    Expose(Vec<String>),
    /// Notes.
    Label(Vec<(String, String)>),
    /// Whose process it is.
    User(String),
    /// Folders that are volumes.
    Volume(Vec<String>),
    /// Where it begins.
    Workdir(String),
    /// What ends it.
    StopSignal(String),
    /// Whether it is well.
    Healthcheck(Health),
    /// For builds from the image: an instruction as it is written.
    OnBuild(String),
}

/// Why a list of instructions is none, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InstructionError(String);

fn wrong<T>(text: impl Into<String>) -> Result<T, InstructionError> {
    Err(InstructionError(text.into()))
}

/// Reads instructions, one a line; a backslash at a line's end takes the next one with it, `#` begins a comment.
///
/// # Errors
/// The first that is not understood, or that changes no configuration.
pub fn instructions(text: &str) -> Result<Vec<Instruction>, InstructionError> {
    if text.len() > MAX_TEXT {
        return wrong(format!("more than {MAX_TEXT} bytes of instructions"));
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for part in text.lines() {
        if part.trim_start().starts_with('#') || part.trim().is_empty() {
            continue;
        }
        let part = if line.is_empty() {
            part.trim_start()
        } else {
            part
        };
        match part.trim_end().strip_suffix('\\') {
            Some(part) => line.push_str(part),
            None => {
                line.push_str(part);
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    if lines.is_empty() {
        return wrong("file with no instructions");
    }
    // All names first, as Docker does.
    let split = |line: &str| {
        let line = line.trim();
        let end = line.find(char::is_whitespace).unwrap_or(line.len());
        (
            line[..end].to_ascii_lowercase(),
            line[end..].trim().to_owned(),
        )
    };
    let lines: Vec<(String, String)> = lines.iter().map(|line| split(line)).collect();
    const KNOWN: [&str; 11] = [
        "cmd",
        "entrypoint",
        "env",
        "expose",
        "healthcheck",
        "label",
        "onbuild",
        "stopsignal",
        "user",
        "volume",
        "workdir",
    ];
    if let Some((name, _)) = lines
        .iter()
        .find(|(name, _)| !KNOWN.contains(&name.as_str()))
    {
        return wrong(format!("{name} is not a valid change command"));
    }
    lines.iter().map(|(name, rest)| one(name, rest)).collect()
}

fn one(name: &str, rest: &str) -> Result<Instruction, InstructionError> {
    let shown = name.to_ascii_uppercase();
    if name == "onbuild" {
        return on_build(rest);
    }
    let (flags, rest) = flags(rest);
    if name != "healthcheck"
        && let Some((flag, _)) = flags.first()
    {
        return wrong(format!("unknown flag: {flag}"));
    }
    let exactly_one = || match rest {
        "" => wrong(format!("{shown} requires exactly one argument")),
        text => Ok(text.to_owned()),
    };
    let at_least_one = |list: Vec<String>| match list.is_empty() {
        true => wrong(format!("{shown} requires at least one argument")),
        false => Ok(list),
    };
    Ok(match name {
        "cmd" => Instruction::Cmd(command(rest)?),
        "entrypoint" => Instruction::Entrypoint(command(rest)?),
        "env" => Instruction::Env(pairs(&shown, rest)?),
        "label" => Instruction::Label(pairs(&shown, rest)?),
        "expose" => {
            let all = rest.split_whitespace().map(str::to_owned).collect();
            Instruction::Expose(at_least_one(all)?)
        }
        "user" => Instruction::User(exactly_one()?),
        "workdir" => Instruction::Workdir(exactly_one()?),
        "stopsignal" => Instruction::StopSignal(exactly_one()?),
        "volume" => {
            let all = match json(rest)? {
                Some(list) => list,
                None => rest.split_whitespace().map(str::to_owned).collect(),
            };
            Instruction::Volume(at_least_one(all)?)
        }
        _ => Instruction::Healthcheck(health(&flags, rest)?),
    })
}

/// `--name=value` in front of the arguments, and those.
fn flags(rest: &str) -> (Vec<(&str, &str)>, &str) {
    let (mut found, mut rest) = (Vec::new(), rest);
    while let Some(behind) = rest.strip_prefix("--") {
        let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
        let (flag, after) = behind.split_at(end);
        rest = after.trim_start();
        if flag.is_empty() {
            break;
        }
        found.push(flag.split_once('=').unwrap_or((flag, "")));
    }
    (found, rest)
}

fn command(rest: &str) -> Result<Command, InstructionError> {
    Ok(match json(rest)? {
        Some(words) => Command::Exec(words),
        None => Command::Shell(rest.to_owned()),
    })
}

/// A list in JSON; nothing for what is no JSON.
fn json(rest: &str) -> Result<Option<Vec<String>>, InstructionError> {
    if !rest.starts_with('[') {
        return Ok(None);
    }
    let Ok(list) = serde_json::from_str::<Vec<serde_json::Value>>(rest) else {
        return Ok(None);
    };
    let words = list.into_iter().map(|value| match value {
        serde_json::Value::String(word) => Ok(word),
        _ => wrong("when using JSON array syntax, arrays must be comprised of strings only"),
    });
    words.collect::<Result<_, _>>().map(Some)
}

/// `name=value` each, or one name and a value behind a blank.
fn pairs(shown: &str, rest: &str) -> Result<Vec<(String, String)>, InstructionError> {
    let words = words::split(rest);
    let Some(first) = words.first() else {
        return wrong(format!("{shown} requires at least one argument"));
    };
    if !first.contains('=') {
        return match rest.split_once(char::is_whitespace) {
            Some((name, value)) => Ok(vec![(name.to_owned(), value.trim_start().to_owned())]),
            None => wrong(format!("{shown} must have two arguments")),
        };
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => wrong(format!("{shown} names can not be blank")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => wrong(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            )),
        })
        .collect()
}

fn on_build(rest: &str) -> Result<Instruction, InstructionError> {
    let trigger = rest.split_whitespace().next().unwrap_or_default();
    match trigger.to_ascii_uppercase().as_str() {
        "" => wrong("ONBUILD requires at least one argument"),
        "ONBUILD" => wrong("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        trigger @ ("MAINTAINER" | "FROM") => {
            wrong(format!("{trigger} isn't allowed as an ONBUILD trigger"))
        }
        _ => Ok(Instruction::OnBuild(rest.to_owned())),
    }
}

fn health(flags: &[(&str, &str)], rest: &str) -> Result<Health, InstructionError> {
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (kind, rest) = (rest[..end].to_ascii_uppercase(), rest[end..].trim());
    match kind.as_str() {
        "" => return wrong("HEALTHCHECK requires at least one argument"),
        "NONE" if !rest.is_empty() => return wrong("HEALTHCHECK NONE takes no arguments"),
        "NONE" => return Ok(Health::None),
        "CMD" => {}
        kind => return wrong(format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)")),
    }
    let command = command(rest)?;
    if matches!(&command, Command::Exec(words) if words.is_empty()) || rest.is_empty() {
        return wrong("Missing command after HEALTHCHECK CMD");
    }
    let mut times = [0; 4];
    let mut retries = 0;
    for (flag, value) in flags {
        let names = ["interval", "timeout", "start-period", "start-interval"];
        if let Some(at) = names.iter().position(|name| name == flag) {
            times[at] = span_of(flag, value)?;
        } else if *flag == "retries" {
            retries = match value.parse::<i64>() {
                Ok(count) if count >= 0 => count,
                Ok(count) => return wrong(format!("--retries cannot be negative ({count})")),
                Err(_) => {
                    return wrong(format!(
                        "strconv.ParseInt: parsing {value:?}: invalid syntax"
                    ));
                }
            };
        } else {
            return wrong(format!("unknown flag: {flag}"));
        }
    }
    let [interval, timeout, start_period, start_interval] = times;
    Ok(Health::Check {
        command,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    })
}

/// Nanoseconds, at least a millisecond of them or none.
fn span_of(flag: &str, text: &str) -> Result<i64, InstructionError> {
    if text.is_empty() {
        return Ok(0);
    }
    let Some(time) = span::nanoseconds(text) else {
        return wrong(format!("time: invalid duration {text:?}"));
    };
    if time < 1_000_000 && time != 0 {
        return wrong(format!("Interval {flag:?} cannot be less than 1ms"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_in_docker_s_words() {
        for (text, told) in [
            ("", "file with no instructions"),
            ("# nothing", "file with no instructions"),
            ("RUN x", "run is not a valid change command"),
            ("CMD a\nFOO", "foo is not a valid change command"),
            ("ENV", "ENV requires at least one argument"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV =x", "ENV names can not be blank"),
            ("LABEL a", "LABEL must have two arguments"),
            ("LABEL =x", "LABEL names can not be blank"),
            ("WORKDIR", "WORKDIR requires exactly one argument"),
            ("USER", "USER requires exactly one argument"),
            ("VOLUME", "VOLUME requires at least one argument"),
            ("EXPOSE", "EXPOSE requires at least one argument"),
            ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
            ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
            ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
            (
                "HEALTHCHECK foo",
                "Unknown type \"FOO\" in HEALTHCHECK (try CMD)",
            ),
            (
                "HEALTHCHECK --interval=x CMD a",
                "time: invalid duration \"x\"",
            ),
            ("ONBUILD", "ONBUILD requires at least one argument"),
            ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
            ("CMD --foo x", "unknown flag: foo"),
        ] {
            assert_eq!(instructions(text).unwrap_err().to_string(), told, "{text}");
        }
    }

    #[test]
    fn instructions_are_read() {
        let text = "cmd [\"a\", \"b\"]\n  ENTRYPOINT x \\\n y\nENV A=1 B=\"c d\"\nENV c d  e\nvolume [\"/a b\"]\nONBUILD  RUN z\nHEALTHCHECK --retries=3 --interval=5s CMD foo";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            instructions(text).unwrap(),
            [
                Instruction::Cmd(Command::Exec(vec!["a".into(), "b".into()])),
                Instruction::Entrypoint(Command::Shell("x  y".into())),
                Instruction::Env(vec![pair("A", "1"), pair("B", "\"c d\"")]),
                Instruction::Env(vec![pair("c", "d  e")]),
                Instruction::Volume(vec!["/a b".into()]),
                Instruction::OnBuild("RUN z".into()),
                Instruction::Healthcheck(Health::Check {
                    command: Command::Shell("foo".into()),
                    interval: 5_000_000_000,
                    timeout: 0,
                    start_period: 0,
                    start_interval: 0,
                    retries: 3,
                }),
            ]
        );
    }
}

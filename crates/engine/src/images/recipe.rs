//! Instructions applied to a configuration: `--change` of `commit` and `import`.

use api_types::{Config, Empty, HealthConfig, Words};
use build::instruction::{Command, Health};
use build::{Instruction, expand, instructions};

use crate::compile::policy;
use crate::outcome::{EngineError, Result};

/// The shell of commands that are one line.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies a list of instructions, one or more lines each. None is no change.
///
/// # Errors
/// Docker's sentences.
pub(crate) fn apply(config: &mut Config, changes: &[String]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let all = instructions(&changes.join("\n"));
    let all = all.map_err(|error| EngineError::invalid(error.to_string()))?;
    let mut commanded = false;
    for instruction in all {
        commanded |= matches!(instruction, Instruction::Cmd(_));
        one(config, instruction, commanded)?;
    }
    Ok(())
}

fn one(config: &mut Config, instruction: Instruction, commanded: bool) -> Result<()> {
    let variables = config.env.clone().unwrap_or_default();
    let resolve = |text: &str| {
        let lookup = |name: &str| {
            let mut all = variables
                .iter()
                .filter_map(|variable| variable.split_once('='));
            all.find(|(known, _)| *known == name)
                .map(|(_, value)| value.to_owned())
        };
        expand(text, &lookup).map_err(EngineError::invalid)
    };
    match instruction {
        Instruction::Cmd(command) => {
            config.cmd = Some(Words(words(config, command)));
            config.args_escaped = false;
        }
        Instruction::Entrypoint(command) => {
            let empty = Command::Shell(String::new());
            config.entrypoint = match command == empty || command == Command::Exec(Vec::new()) {
                true => None,
                false => Some(Words(words(config, command))),
            };
            // The former command was meant for the former entry point.
            if !commanded {
                config.cmd = None;
            }
        }
        Instruction::Env(pairs) => {
            for (name, value) in pairs {
                let (name, value) = (resolve(&name)?, resolve(&value)?);
                let text = format!("{name}={value}");
                let all = config.env.get_or_insert_default();
                let same = |variable: &String| variable.split('=').next() == Some(name.as_str());
                match all.iter().position(same) {
                    Some(at) => all[at] = text,
                    None => all.push(text),
                }
            }
        }
        Instruction::Label(pairs) => {
            for (name, value) in pairs {
                config.labels.insert(resolve(&name)?, resolve(&value)?);
            }
        }
        Instruction::Expose(ports) => {
            for text in ports {
                for port in resolve(&text)?.split_whitespace() {
                    expose(config, port)?;
                }
            }
        }
        Instruction::User(user) => config.user = resolve(&user)?,
        Instruction::Workdir(path) => config.working_dir = working_dir(config, &resolve(&path)?),
        Instruction::Volume(paths) => {
            for path in paths {
                let path = resolve(&path)?;
                if path.trim().is_empty() {
                    return Err(EngineError::invalid(
                        "VOLUME specified can not be an empty string",
                    ));
                }
                let volumes = config.volumes.get_or_insert_default();
                volumes.insert(path, Empty {});
            }
        }
        Instruction::StopSignal(signal) => {
            let signal = resolve(&signal)?;
            policy::parse_signal(&signal)?;
            config.stop_signal = signal;
        }
        Instruction::Healthcheck(health) => config.healthcheck = Some(check(health)),
        Instruction::OnBuild(text) => config.on_build.push(text),
    }
    Ok(())
}

/// What a command executes.
fn words(config: &Config, command: Command) -> Vec<String> {
    match command {
        Command::Exec(words) => words,
        Command::Shell(line) => {
            let shell = match config.shell.is_empty() {
                true => SHELL.map(str::to_owned).to_vec(),
                false => config.shell.clone(),
            };
            let line = Some(line).filter(|line| !line.is_empty());
            shell.into_iter().chain(line).collect()
        }
    }
}

/// `80`, `80/udp`, `80-90/tcp`.
fn expose(config: &mut Config, text: &str) -> Result<()> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let invalid = || EngineError::invalid(format!("invalid containerPort: {ports}"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (
        first.parse().map_err(|_| invalid())?,
        last.parse().map_err(|_| invalid())?,
    );
    if last < first {
        return Err(invalid());
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(EngineError::invalid(format!("invalid proto: {protocol}")));
    }
    for port in first..=last {
        let port = format!("{port}/{protocol}");
        config.exposed_ports.entry(port).or_default();
    }
    Ok(())
}

/// A working folder seen from the present one.
fn working_dir(config: &Config, path: &str) -> String {
    let mut parts = Vec::new();
    let from = match path.starts_with('/') {
        true => "",
        false => config.working_dir.as_str(),
    };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn check(health: Health) -> HealthConfig {
    match health {
        Health::None => HealthConfig {
            test: vec!["NONE".to_owned()],
            ..HealthConfig::default()
        },
        Health::Check {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => HealthConfig {
            test: match command {
                Command::Exec(words) => ["CMD".to_owned()].into_iter().chain(words).collect(),
                Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line],
            },
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<Config> {
        let mut config = Config {
            env: Some(vec!["A=b".into()]),
            cmd: Some(Words(vec!["old".into()])),
            working_dir: "/tmp".into(),
            ..Config::default()
        };
        let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
        apply(&mut config, &changes).map(|()| config)
    }

    #[test]
    fn instructions_change_a_configuration_as_in_docker() {
        let config = changed(&[
            "ENV Q=$A P=\"$A x\" R='$A'",
            "EXPOSE 80-82 99/sctp",
            "WORKDIR rel/../x y",
            "VOLUME [\"/a b\"]",
            "VOLUME /x",
            "LABEL \"a b\"=\"c d\" g=h\\ i",
            "HEALTHCHECK --retries=3 CMD [\"a\"]",
        ])
        .unwrap();
        assert_eq!(config.env.unwrap(), ["A=b", "Q=b", "P=b x", "R=$A"]);
        let ports: Vec<_> = config.exposed_ports.into_keys().collect();
        assert_eq!(ports, ["80/tcp", "81/tcp", "82/tcp", "99/sctp"]);
        assert_eq!(config.working_dir, "/tmp/x y");
        let volumes: Vec<_> = config.volumes.unwrap().into_keys().collect();
        assert_eq!(volumes, ["/a b", "/x"]);
        assert_eq!(config.labels["a b"], "c d");
        assert_eq!(config.labels["g"], "h i");
        assert_eq!(config.healthcheck.unwrap().test, ["CMD", "a"]);
        assert_eq!(config.cmd.unwrap().0, ["old"]);
    }

    #[test]
    fn an_entry_point_takes_the_command_away_unless_that_is_given_too() {
        let of = |changes: &[&str]| {
            let config = changed(changes).unwrap();
            let list = |words: Option<Words>| words.map(|words| words.0);
            (list(config.entrypoint), list(config.cmd))
        };
        let shell = |line: &str| Some(vec!["/bin/sh".into(), "-c".into(), line.into()]);
        assert_eq!(of(&["ENTRYPOINT echo hi"]), (shell("echo hi"), None));
        assert_eq!(of(&["CMD a", "ENTRYPOINT b"]), (shell("b"), shell("a")));
        assert_eq!(of(&["CMD"]).1.unwrap(), ["/bin/sh", "-c"]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (change, told) in [
            ("EXPOSE xx", "invalid containerPort: xx"),
            ("EXPOSE 82-80", "invalid containerPort: 82-80"),
            ("EXPOSE 80/foo", "invalid proto: foo"),
            ("VOLUME \"\"", "VOLUME specified can not be an empty string"),
        ] {
            assert_eq!(changed(&[change]).unwrap_err().to_string(), told);
        }
    }
}

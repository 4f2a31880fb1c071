//! Docker's CLI plugins, by docker's protocol: programs called `docker-NAME` in known folders that tell about themselves
//! when they are called with `docker-cli-plugin-metadata`, and do the command `NAME` when they are called with the whole
//! command line.

mod metadata;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};

use crate::commands;

pub(crate) use run::run;

const PREFIX: &str = "docker-";
/// Where plugins are besides the folder of the configuration and those that the configuration names.
const FOLDERS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];
/// More files than this are not looked at in a folder.
const MOST: usize = 4096;
/// So many plugins are asked at the same time.
const AT_ONCE: usize = 16;

/// A program that may be a plugin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plugin {
    /// The command that it is for.
    pub(crate) name: String,
    /// The program.
    pub(crate) path: PathBuf,
    /// What it tells of itself, as far as it did.
    metadata: Value,
    /// Why it can not be used.
    pub(crate) fault: Option<String>,
}

impl Plugin {
    /// Asks a program what it is.
    fn ask(name: &str, path: PathBuf) -> Self {
        let (metadata, fault) = match metadata(name, &path) {
            Ok(metadata) => {
                let fault = fault(&metadata);
                (metadata, fault)
            }
            Err(fault) => (Value::Null, Some(fault)),
        };
        Plugin {
            name: name.to_owned(),
            path,
            metadata,
            fault,
        }
    }

    /// A text of what it tells; empty when it does not.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.metadata[field].as_str().unwrap_or_default()
    }

    /// The plugin as docker's `info` has it for templates.
    pub(crate) fn document(&self) -> Value {
        let mut document = match &self.metadata {
            Value::Object(_) => self.metadata.clone(),
            _ => json!({}),
        };
        document["Name"] = self.name.as_str().into();
        document["Path"] = self.path.to_string_lossy().into();
        if let Some(fault) = &self.fault {
            document["Err"] = fault.as_str().into();
        }
        document
    }
}

/// What a program tells about itself.
fn metadata(name: &str, path: &Path) -> Result<Value, String> {
    if !is_name(name) {
        return Err(format!(
            "plugin candidate {name:?} did not match \"^[a-z][a-z0-9]*$\""
        ));
    }
    if commands::is_own(name) {
        return Err(format!("plugin {name:?} duplicates builtin command"));
    }
    let failed = |why: String| format!("failed to fetch metadata: {why}");
    let text = metadata::ask(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
}

/// What is wrong with what a plugin told.
fn fault(metadata: &Value) -> Option<String> {
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    match text("SchemaVersion") {
        "0.1.0" => {}
        other => {
            return Some(format!(
                "plugin SchemaVersion {other:?} is not valid, must be 0.1.0"
            ));
        }
    }
    text("Vendor")
        .is_empty()
        .then(|| "plugin metadata does not define a vendor".to_owned())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// Where plugins may be.
pub(crate) struct Plugins {
    folders: Vec<PathBuf>,
}

impl Plugins {
    /// Those that a configuration knows.
    pub(crate) fn of(config: &Value, config_folder: &Path) -> Self {
        let more = config["cliPluginsExtraDirs"].as_array();
        let more = more.into_iter().flatten().filter_map(Value::as_str);
        Plugins {
            folders: more
                .map(PathBuf::from)
                .chain([config_folder.join("cli-plugins")])
                .chain(FOLDERS.map(PathBuf::from))
                .collect(),
        }
    }

    /// The plugin for a command, if one can be used.
    pub(crate) fn find(&self, name: &str) -> Option<Plugin> {
        if !is_name(name) {
            return None;
        }
        let file = format!("{PREFIX}{name}");
        let path = self
            .folders
            .iter()
            .map(|folder| folder.join(&file))
            .find(|path| path.is_file())?;
        let plugin = Plugin::ask(name, path);
        plugin.fault.is_none().then_some(plugin)
    }

    /// Every plugin by name, the first of each, with those that can not be used.
    pub(crate) fn all(&self) -> Vec<Plugin> {
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        for folder in &self.folders {
            // One that can not be read has none.
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            for entry in entries.take(MOST) {
                let name = entry.file_name();
                let name = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
                if let Some(name) = name.filter(|_| entry.path().is_file()) {
                    found.entry(name.to_owned()).or_insert(entry.path());
                }
            }
        }
        let found: Vec<_> = found.into_iter().collect();
        let ask = |(name, path): &(String, PathBuf)| Plugin::ask(name, path.clone());
        found
            .chunks(AT_ONCE)
            .flat_map(|some| {
                thread::scope(|scope| {
                    let asked: Vec<_> = some
                        .iter()
                        .map(|one| scope.spawn(move || ask(one)))
                        .collect();
                    asked
                        .into_iter()
                        .filter_map(|plugin| plugin.join().ok())
                        .collect::<Vec<_>>()
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_a_plugin_tells_is_checked_as_docker_checks_it() {
        let told = |text: &str| fault(&serde_json::from_str(text).unwrap());
        assert_eq!(told(r#"{"SchemaVersion":"0.1.0","Vendor":"x"}"#), None);
        assert_eq!(
            told("{}").unwrap(),
            "plugin SchemaVersion \"\" is not valid, must be 0.1.0"
        );
        assert_eq!(
            told(r#"{"SchemaVersion":"0.1.0"}"#).unwrap(),
            "plugin metadata does not define a vendor"
        );
    }

    #[test]
    fn folders_of_the_configuration_come_first_and_candidates_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let (extra, own) = (temp.path().join("extra"), temp.path().join("cli-plugins"));
        for folder in [&extra, &own] {
            fs::create_dir(folder).unwrap();
        }
        let make = |folder: &Path, name: &str, script: &str, mode: u32| {
            let path = folder.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let good = "echo '{\"SchemaVersion\":\"0.1.0\",\"Vendor\":\"me\",\"Version\":\"1\"}'";
        make(&extra, "docker-hello", good, 0o755);
        make(&own, "docker-hello", "exit 1", 0o755);
        make(&own, "docker-bad", "exit 3", 0o755);
        make(&own, "docker-ps", good, 0o755);
        make(&own, "docker-Upper", good, 0o755);
        make(&own, "docker-plain", good, 0o644);
        make(&own, "other", good, 0o755);
        let plugins = Plugins {
            folders: Plugins::of(&json!({"cliPluginsExtraDirs": [extra]}), temp.path()).folders
                [..2]
                .to_vec(),
        };
        let faults: Vec<_> = plugins
            .all()
            .into_iter()
            .map(|plugin| (plugin.name, plugin.fault.unwrap_or_default()))
            .collect();
        let fault = |name: &str| {
            let found = faults.iter().find(|(known, _)| known == name).unwrap();
            found.1.clone()
        };
        assert_eq!(faults.len(), 5);
        assert_eq!(fault("hello"), "");
        assert_eq!(fault("bad"), "failed to fetch metadata: exit status 3");
        assert_eq!(fault("ps"), "plugin \"ps\" duplicates builtin command");
        assert!(fault("Upper").contains("did not match"));
        assert!(fault("plain").ends_with("docker-plain: permission denied"));
        let hello = plugins.find("hello").unwrap();
        assert_eq!(
            (hello.path, hello.metadata["Version"].as_str()),
            (extra.join("docker-hello"), Some("1"))
        );
        for name in ["bad", "ps", "Upper", "plain", "other", "../x"] {
            assert_eq!(plugins.find(name), None, "{name}");
        }
    }
}

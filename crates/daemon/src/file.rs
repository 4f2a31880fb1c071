//! The configuration file: dockerd's keys, each honoured, held to what is so anyway, or refused by name.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::ConfigError;
use crate::flag_table::{flag_of, held_key, is_key, is_refused_key};
use crate::flags::Invocation;

/// A configuration file larger than this is not one.
const LIMIT: u64 = 1 << 20;

/// The keys of `daemon.json` that are honoured.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct File {
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) data_root: Option<PathBuf>,
    pub(crate) exec_root: Option<PathBuf>,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) log_level: Option<String>,
    pub(crate) debug: Option<bool>,
    pub(crate) bridge: Option<String>,
    pub(crate) bip: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) cgroup_parent: Option<String>,
    pub(crate) default_address_pools: Option<Vec<FilePool>>,
    pub(crate) default_cgroupns_mode: Option<String>,
    pub(crate) default_ipc_mode: Option<String>,
    pub(crate) default_runtime: Option<String>,
    pub(crate) default_shm_size: Option<Size>,
    pub(crate) default_ulimits: Option<BTreeMap<String, FileUlimit>>,
    pub(crate) dns: Option<Vec<String>>,
    pub(crate) dns_opts: Option<Vec<String>>,
    pub(crate) dns_search: Option<Vec<String>>,
    pub(crate) group: Option<String>,
    pub(crate) host_gateway_ip: Option<String>,
    pub(crate) init: Option<bool>,
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) live_restore: Option<bool>,
    pub(crate) max_concurrent_downloads: Option<u32>,
    pub(crate) max_concurrent_uploads: Option<u32>,
    pub(crate) max_download_attempts: Option<u32>,
    pub(crate) mtu: Option<u32>,
    pub(crate) no_new_privileges: Option<bool>,
    pub(crate) userland_proxy: Option<bool>,
    pub(crate) log_driver: Option<String>,
    pub(crate) log_opts: Option<BTreeMap<String, String>>,
    pub(crate) insecure_registries: Option<Vec<String>>,
    pub(crate) registry_mirrors: Option<Vec<String>>,
    /// Mirrors of any registry, by its name: wharf's own key.
    pub(crate) mirrors: Option<BTreeMap<String, Vec<String>>>,
    pub(crate) proxies: Option<FileProxies>,
}

/// The object `proxies`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct FileProxies {
    pub(crate) http_proxy: Option<String>,
    pub(crate) https_proxy: Option<String>,
    pub(crate) no_proxy: Option<String>,
}

/// An element of `default-address-pools`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilePool {
    #[serde(alias = "Base")]
    pub(crate) base: String,
    #[serde(alias = "Size")]
    pub(crate) size: i64,
}

/// A value of `default-ulimits`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct FileUlimit {
    /// Said twice by dockerd's own examples.
    #[serde(default)]
    pub(crate) name: Option<String>,
    pub(crate) hard: i64,
    pub(crate) soft: i64,
}

/// Bytes, or a text such as `64M`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Size {
    Bytes(u64),
    Text(String),
}

/// Reads the file, if there is one: it has to be there only when somebody named it.
///
/// # Errors
/// What it can not be read for, and keys and values that are not taken, by name.
pub(crate) fn read(path: &Path, typed: &Invocation) -> Result<File, ConfigError> {
    let named = typed.given("config-file");
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let text = match fs::metadata(path) {
        Ok(meta) if meta.len() > LIMIT => {
            return Err(failed(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "larger than 1 MiB",
            )));
        }
        Ok(_) => fs::read_to_string(path).map_err(failed)?,
        Err(source) if source.kind() == io::ErrorKind::NotFound && !named => {
            return Ok(File::default());
        }
        Err(source) => return Err(failed(source)),
    };
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let failed = |source| ConfigError::Parse {
        path: path.to_owned(),
        source,
    };
    // Read as an object first: a list would be taken for the values of one.
    let mut keys = serde_json::from_str::<Map<String, Value>>(&text).map_err(failed)?;
    let refused = hold(&mut keys).or_else(|| refused_keys(keys.keys()));
    if let Some(sentence) = refused {
        let path = path.to_owned();
        return Err(ConfigError::Key { path, sentence });
    }
    refuse_twice(path, typed, &keys)?;
    // From the text if nothing was taken out: what is wrong is told with its line.
    let mut values = serde_json::from_str::<Map<String, Value>>(&text).map_err(failed)?;
    if keys.len() == values.len() {
        return serde_json::from_str(&text).map_err(failed);
    }
    values.retain(|key, _| keys.contains_key(key));
    serde_json::from_value(Value::Object(values)).map_err(failed)
}

/// Takes out the settings that say what holds anyway; answers with why one is not taken.
fn hold(keys: &mut Map<String, Value>) -> Option<String> {
    let mut refused = None;
    keys.retain(|key, value| {
        let Some(held) = held_key(key) else {
            return true;
        };
        let wrong = |word: &String| !word.is_empty() && !held.contains(&word.as_str());
        let Some(word) = words(value).into_iter().find(wrong) else {
            return false;
        };
        refused.get_or_insert_with(|| {
            format!("wharf does not support this setting of dockerd yet: {key} ({word})")
        });
        true
    });
    refused
}

/// The values of a setting, each as it would be typed.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().flat_map(words).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            })
            .collect(),
        other => vec![other.to_string()],
    }
}

/// Why keys are not taken: dockerd knows them, by the name of the flag or by that of several, or nobody does.
fn refused_keys<'a>(keys: impl Iterator<Item = &'a String>) -> Option<String> {
    let (theirs, nobodys): (Vec<_>, Vec<_>) = keys
        .map(String::as_str)
        .filter(|key| !is_key(key))
        .partition(|key| is_refused_key(key));
    if !nobodys.is_empty() {
        Some(format!(
            "the following directives don't match any configuration option: {}",
            nobodys.join(", ")
        ))
    } else if !theirs.is_empty() {
        Some(format!(
            "wharf does not support these options of dockerd yet: {}",
            theirs.join(", ")
        ))
    } else {
        None
    }
}

fn refuse_twice(
    path: &Path,
    typed: &Invocation,
    keys: &Map<String, Value>,
) -> Result<(), ConfigError> {
    let mut names: Vec<&str> = Vec::new();
    for (key, value) in keys {
        match flag_of(key) {
            Some(flag) if typed.given(flag.name) => names.push(key),
            _ if key == "proxies" => {
                let inside = value.as_object().into_iter().flat_map(Map::keys);
                names.extend(inside.map(String::as_str).filter(|name| typed.given(name)));
            }
            _ => {}
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Twice {
        path: path.to_owned(),
        names: names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag_table::FLAGS;

    #[test]
    fn every_key_of_the_file_is_known() {
        // serde names them all when it refuses another one.
        let refused = serde_json::from_str::<File>(r#"{"x":1}"#)
            .unwrap_err()
            .to_string();
        let (_, expected) = refused.split_once("expected one of ").unwrap();
        let keys: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        assert!(keys.len() > 30, "{keys:?}");
        for key in &keys {
            assert!(is_key(key) && held_key(key).is_none(), "{key}");
            assert!(!is_refused_key(key), "{key}");
        }
        for key in FLAGS.iter().filter_map(|flag| flag.key) {
            assert!(keys.contains(&key), "{key}");
        }
    }
}

//! `--mount`, `--volume`, `--tmpfs`.

use std::collections::BTreeMap;

use api_types::{BindOptions, Mount, TmpfsOptions, VolumeDriverConfig, VolumeOptions};

use super::values;

/// One `--mount` value: `type=bind,source=/a,target=/b,readonly`.
///
/// # Errors
/// Docker's words.
pub(crate) fn mount(text: &str) -> Result<Mount, String> {
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    for field in fields(text)? {
        let (key, value) = field
            .split_once('=')
            .map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        set(&mut mount, &key.to_ascii_lowercase(), value, &field)?;
    }
    check(mount)
}

/// Fields of one line of comma-separated values; a field with commas stands in quotes.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut found = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match (letter, quoted) {
            ('"', _) => quoted = !quoted,
            (',', false) => found.push(String::new()),
            _ => {
                if let Some(last) = found.last_mut() {
                    last.push(letter);
                }
            }
        }
    }
    if quoted {
        Err("parse error: extraneous or missing \" in quoted-field".to_owned())
    } else {
        Ok(found)
    }
}

fn set(mount: &mut Mount, key: &str, value: Option<&str>, field: &str) -> Result<(), String> {
    let switch = |value: Option<&str>| match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    };
    match key {
        "readonly" | "ro" => mount.read_only = switch(value)?,
        "volume-nocopy" => volume(mount).no_copy = switch(value)?,
        "bind-nonrecursive" => bind(mount).non_recursive = switch(value)?,
        _ => {
            let value =
                value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
            set_value(mount, key, value, field)?;
        }
    }
    Ok(())
}

fn set_value(mount: &mut Mount, key: &str, value: &str, field: &str) -> Result<(), String> {
    match key {
        "type" => mount.kind = value.to_ascii_lowercase(),
        "source" | "src" => mount.source = absolute(&mount.kind, value),
        "target" | "dst" | "destination" => mount.target = value.to_owned(),
        "consistency" => mount.consistency = value.to_ascii_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_ascii_lowercase(),
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => bind(mount).non_recursive = true,
            "writable" => bind(mount).read_only_non_recursive = true,
            "readonly" => bind(mount).read_only_force_recursive = true,
            _ => {
                return Err(format!(
                    "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ));
            }
        },
        "volume-subpath" => volume(mount).subpath = value.to_owned(),
        "volume-driver" => driver(mount).name = value.to_owned(),
        "volume-opt" => {
            drop(pair(value).map(|(key, value)| driver(mount).options.insert(key, value)))
        }
        "volume-label" => {
            drop(pair(value).map(|(key, value)| volume(mount).labels.insert(key, value)))
        }
        "tmpfs-size" => {
            tmpfs(mount).size_bytes =
                values::bytes(value).map_err(|_| format!("invalid value for {key}: {value}"))?
        }
        "tmpfs-mode" => {
            tmpfs(mount).mode = u32::from_str_radix(value, 8)
                .map_err(|_| format!("invalid value for {key}: {value}"))?;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

/// A relative source of a bind is below the folder in which the command was typed.
fn absolute(kind: &str, value: &str) -> String {
    if kind == "bind" && value.starts_with('.') {
        below_here(value)
    } else {
        value.to_owned()
    }
}

/// An absolute path for one that starts in the current folder.
pub(crate) fn below_here(path: &str) -> String {
    match std::path::absolute(path) {
        Ok(path) => path.display().to_string(),
        Err(_) => path.to_owned(),
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn driver(mount: &mut Mount) -> &mut VolumeDriverConfig {
    volume(mount).driver_config.get_or_insert_default()
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

fn check(mount: Mount) -> Result<Mount, String> {
    if mount.kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    let mismatch = [
        ("volume", "volume-*", mount.volume_options.is_some()),
        ("bind", "bind-*", mount.bind_options.is_some()),
        ("tmpfs", "tmpfs-*", mount.tmpfs_options.is_some()),
    ];
    match mismatch
        .into_iter()
        .find(|(kind, _, given)| *given && *kind != mount.kind)
    {
        Some((_, options, _)) => Err(format!(
            "cannot mix '{options}' options with mount type '{}'",
            mount.kind
        )),
        None => Ok(mount),
    }
}

/// One `--volume` value: a bind as `Binds` has it, or the path of an anonymous volume.
pub(crate) enum Volume {
    /// `source:target[:options]`, the source absolute if it began with `.` or `~/`-less paths.
    Bind(String),
    /// A path inside the container.
    Anonymous(String),
}

/// Reads a `--volume` value. The engine checks the parts.
///
/// # Errors
/// Docker's words for an empty part.
pub(crate) fn volume_flag(text: &str) -> Result<Volume, String> {
    let Some((source, rest)) = text.split_once(':') else {
        return Ok(Volume::Anonymous(text.to_owned()));
    };
    if source.is_empty() || rest.is_empty() {
        return Err(format!(
            "invalid spec: {text}: empty section between colons"
        ));
    }
    if rest.matches(':').count() > 1 {
        return Err(format!("invalid spec: {text}: too many colons"));
    }
    if source == "." || source == ".." || source.starts_with("./") || source.starts_with("../") {
        return Ok(Volume::Bind(format!("{}:{rest}", below_here(source))));
    }
    Ok(Volume::Bind(text.to_owned()))
}

/// `--tmpfs` values: path, and options behind a colon.
pub(crate) fn tmpfs_flag(values: &[String]) -> BTreeMap<String, String> {
    values
        .iter()
        .map(|value| {
            value
                .split_once(':')
                .map_or((value.clone(), String::new()), |(path, options)| {
                    (path.to_owned(), options.to_owned())
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_field_by_field() {
        let bind = mount("type=bind,source=/a,target=/b,readonly,bind-propagation=rslave").unwrap();
        assert_eq!(
            (
                bind.kind.as_str(),
                bind.source.as_str(),
                bind.target.as_str(),
                bind.read_only
            ),
            ("bind", "/a", "/b", true)
        );
        assert_eq!(bind.bind_options.unwrap().propagation, "rslave");
        let tmpfs = mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700")
            .unwrap()
            .tmpfs_options
            .unwrap();
        assert_eq!((tmpfs.size_bytes, tmpfs.mode), (1 << 20, 0o700));
        assert_eq!(
            mount("\"target=/with,comma\"").unwrap().target,
            "/with,comma"
        );
    }

    #[test]
    fn faults_of_a_mount_are_in_dockers_words() {
        assert_eq!(
            mount("type=bind,source=/a").unwrap_err(),
            "target is required"
        );
        assert_eq!(
            mount("target=/a,what=1").unwrap_err(),
            "unexpected key 'what' in 'what=1'"
        );
        assert_eq!(
            mount("target").unwrap_err(),
            "invalid field 'target' must be a key=value pair"
        );
        assert_eq!(
            mount("type=bind,target=/a,tmpfs-size=1").unwrap_err(),
            "cannot mix 'tmpfs-*' options with mount type 'bind'"
        );
    }
}

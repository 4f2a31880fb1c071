//! `--mount`, `--volume`, `--tmpfs`.

use std::collections::BTreeMap;
use std::path::Component;

use api_types::{
    BindOptions, ImageMountOptions, Mount, TmpfsOptions, VolumeDriverConfig, VolumeOptions,
};

use super::values;
use crate::number;

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

/// The check of `--mount`: the text stays as it is.
pub(crate) fn mount_checked(text: &str) -> Result<String, String> {
    mount(text).map(|_| text.to_owned())
}

/// Fields of one line of comma-separated values. A field with commas stands in quotes, all of it, and a quote in it twice.
///
/// # Errors
/// The words of Go's reader.
pub(super) fn fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let fault =
        |column: usize, why: &str| Err(format!("parse error on line 1, column {column}: {why}"));
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let column = text.len() - rest.len() + 1;
        let Some(inside) = rest.strip_prefix('"') else {
            let end = rest.find(',').unwrap_or(rest.len());
            if let Some(at) = rest[..end].find('"') {
                return fault(column + at, "bare \" in non-quoted-field");
            }
            found.push(rest[..end].to_owned());
            match rest.get(end + 1..) {
                Some(behind) => rest = behind,
                None => return Ok(found),
            }
            continue;
        };
        let mut field = String::new();
        let mut left = inside;
        loop {
            let Some(end) = left.find('"') else {
                return fault(text.len() + 1, "extraneous or missing \" in quoted-field");
            };
            field.push_str(&left[..end]);
            left = &left[end + 1..];
            match left.strip_prefix('"') {
                Some(behind) => {
                    field.push('"');
                    left = behind;
                }
                None => break,
            }
        }
        found.push(field);
        match left.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if left.is_empty() => return Ok(found),
            None => {
                return fault(
                    text.len() - left.len(),
                    "extraneous or missing \" in quoted-field",
                );
            }
        }
    }
}

fn set(mount: &mut Mount, key: &str, value: Option<&str>, field: &str) -> Result<(), String> {
    let switch = |value: Option<&str>| match value {
        None => Ok(true),
        Some(value) => {
            number::boolean(value).map_err(|_| format!("invalid value for {key}: {value}"))
        }
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
        "source" | "src" => mount.source = absolute(value),
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
        "image-subpath" => image(mount).subpath = value.to_owned(),
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

/// A source that begins with a dot is below the folder in which the command was typed.
fn absolute(value: &str) -> String {
    if value.starts_with('.') {
        below_here(value)
    } else {
        value.to_owned()
    }
}

/// An absolute path for one that starts in the current folder.
pub(crate) fn below_here(path: &str) -> String {
    let Ok(whole) = std::path::absolute(path) else {
        return path.to_owned();
    };
    // As text, as docker does it: links on the way are not followed.
    let mut parts = Vec::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    format!("/{}", parts.join("/"))
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn image(mount: &mut Mount) -> &mut ImageMountOptions {
    mount.image_options.get_or_insert_default()
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    let options = mount.volume_options.get_or_insert_default();
    options.driver_config.get_or_insert_default();
    options
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
        ("image", "image-*", mount.image_options.is_some()),
        ("bind", "bind-*", mount.bind_options.is_some()),
        ("tmpfs", "tmpfs-*", mount.tmpfs_options.is_some()),
    ];
    if let Some(bind) = &mount.bind_options {
        check_recursion(bind, mount.read_only)?;
    }
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

fn check_recursion(bind: &BindOptions, read_only: bool) -> Result<(), String> {
    let option = match (bind.read_only_non_recursive, bind.read_only_force_recursive) {
        (_, true) => "readonly",
        (true, false) => "writable",
        (false, false) => return Ok(()),
    };
    let wants = |what: &str| {
        Err(format!(
            "option 'bind-recursive={option}' requires '{what}' to be specified in conjunction"
        ))
    };
    if !read_only {
        return wants("readonly");
    }
    if option == "readonly" && bind.propagation != "rprivate" {
        return wants("bind-propagation=rprivate");
    }
    Ok(())
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
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if text.len() <= 2 {
        return Ok(Volume::Anonymous(text.to_owned()));
    }
    let fault = |why: &str| Err(format!("invalid spec: {text}: {why}"));
    let parts = parts(text);
    if parts.iter().any(|part| part.is_empty()) {
        return fault("empty section between colons");
    }
    match parts.as_slice() {
        [path] => Ok(Volume::Anonymous((*path).to_owned())),
        [_, _] | [_, _, _] => Ok(Volume::Bind(bound(text))),
        _ => fault("too many colons"),
    }
}

/// What colons separate. Docker takes one letter in front of a colon for a drive of Windows.
fn parts(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(':') {
        let part = &text[start..at];
        if part.chars().count() == 1 && part.starts_with(char::is_alphabetic) {
            continue;
        }
        found.push(part);
        start = at + 1;
    }
    found.push(&text[start..]);
    found
}

/// A bind whose source, if it begins with a dot, is below the folder in which the command was typed.
fn bound(text: &str) -> String {
    match text.split_once(':') {
        Some((source, rest)) if source.starts_with('.') => {
            format!("{}:{rest}", below_here(source))
        }
        _ => text.to_owned(),
    }
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
    fn volumes_are_split_at_their_colons() {
        let is_bind = |text: &str| match volume_flag(text) {
            Ok(Volume::Bind(bind)) => bind == text,
            _ => false,
        };
        assert!(is_bind("/a:/b:ro,z") && is_bind("vol:/b"));
        assert!(matches!(volume_flag("a:/b"), Ok(Volume::Anonymous(path)) if path == "a:/b"));
        assert!(matches!(volume_flag("../x:/b"), Ok(Volume::Bind(bind)) if !bind.contains("..")));
        let fault = |text: &str| volume_flag(text).err().unwrap();
        assert_eq!(fault(""), "invalid empty volume spec");
        assert_eq!(
            fault("/a:"),
            "invalid spec: /a:: empty section between colons"
        );
        assert_eq!(
            fault("/a:/b:cc:dd"),
            "invalid spec: /a:/b:cc:dd: too many colons"
        );
    }

    #[test]
    fn quotes_are_gos() {
        assert_eq!(fields("\"a,\"\"b\",c").unwrap(), ["a,\"b", "c"]);
        assert_eq!(fields("a,").unwrap(), ["a", ""]);
        assert_eq!(fields("").unwrap_err(), "EOF");
        assert_eq!(
            fields("a=\"b\"").unwrap_err(),
            "parse error on line 1, column 3: bare \" in non-quoted-field"
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

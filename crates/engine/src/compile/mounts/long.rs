//! The long form of a mount, as `--mount` and HostConfig.Mounts have it.

use api_types::{BindOptions, Mount};

use super::{MountSpec, PROPAGATIONS, Source, check_tmpfs, normal, volume_name};
use crate::outcome::{EngineError, Result};

/// Reads one mount.
///
/// # Errors
/// Docker's sentences.
pub(super) fn long_form(mount: &Mount) -> Result<MountSpec> {
    let invalid = |why: &str| {
        Err(EngineError::invalid(format!(
            "invalid mount config for type \"{}\": {why}",
            mount.kind
        )))
    };
    if mount.target.is_empty() {
        return invalid("field Target must not be empty");
    }
    if !mount.target.starts_with('/') {
        return invalid(&format!(
            "invalid mount path: '{}' mount path must be absolute",
            mount.target
        ));
    }
    let target = normal(&mount.target);
    if target == "/" {
        return invalid("invalid specification: destination can't be '/'");
    }
    for (kind, given) in [
        ("bind", mount.bind_options.is_some()),
        ("volume", mount.volume_options.is_some()),
        ("tmpfs", mount.tmpfs_options.is_some()),
        ("image", mount.image_options.is_some()),
    ] {
        if given && kind != mount.kind {
            let mut field = kind.to_owned();
            field[..1].make_ascii_uppercase();
            return invalid(&format!("field {field}Options must not be specified"));
        }
    }
    let mut propagation = String::new();
    let mut only_top_read_only = false;
    let source = match mount.kind.as_str() {
        "bind" => {
            if mount.source.is_empty() {
                return invalid("field Source must not be empty");
            }
            if !mount.source.starts_with('/') {
                return invalid(&format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                ));
            }
            let options = mount.bind_options.clone().unwrap_or_default();
            if !options.propagation.is_empty()
                && !PROPAGATIONS.contains(&options.propagation.as_str())
            {
                return invalid(&format!(
                    "invalid propagation mode: {}",
                    options.propagation
                ));
            }
            check_recursion(mount, &options)?;
            only_top_read_only = options.read_only_non_recursive;
            propagation = options.propagation;
            Source::Bind {
                path: normal(&mount.source),
                create: options.create_mountpoint,
                recursive: !options.non_recursive,
            }
        }
        "volume" => {
            let options = mount.volume_options.clone().unwrap_or_default();
            if let Some(driver) = &options.driver_config {
                if !matches!(driver.name.as_str(), "" | "local") {
                    return Err(EngineError::NoSuchPlugin {
                        volume: mount.source.clone(),
                        name: driver.name.clone(),
                    });
                }
                if !driver.options.is_empty() {
                    return Err(EngineError::unsupported("a volume driver with options"));
                }
            }
            if !mount.source.is_empty() {
                volume_name(&mount.source)?;
            } else if mount.read_only {
                return invalid("must not set ReadOnly mode when using anonymous volumes");
            }
            if options.subpath.starts_with('/')
                || options.subpath.split('/').any(|part| part == "..")
            {
                return invalid("subpath must be a relative path within the volume");
            }
            Source::Volume {
                name: mount.source.clone(),
                anonymous: mount.source.is_empty(),
                copy: !options.no_copy,
                subpath: options.subpath,
                labels: options.labels,
            }
        }
        "tmpfs" => {
            if !mount.source.is_empty() {
                return invalid("field Source must not be specified");
            }
            Source::Tmpfs {
                options: tmpfs_options(mount)?,
            }
        }
        "image" => {
            return Err(EngineError::unsupported(format!(
                "a mount of type \"{}\"",
                mount.kind
            )));
        }
        other => {
            return Err(EngineError::invalid(format!(
                "invalid mount config for type \"{other}\": mount type unknown"
            )));
        }
    };
    Ok(MountSpec {
        source,
        target,
        read_only: mount.read_only,
        only_top_read_only,
        propagation,
        mode: String::new(),
    })
}

/// Which of the mounts below a read-only one are read-only too: all, unless it is said otherwise.
fn check_recursion(mount: &Mount, options: &BindOptions) -> Result<()> {
    let conflict = |what: &str| {
        Err(EngineError::invalid(format!(
            "mount options conflict: {what}"
        )))
    };
    match (
        options.read_only_non_recursive,
        options.read_only_force_recursive,
    ) {
        (true, true) => conflict("ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
        (true, _) if !mount.read_only => conflict("!ReadOnly && BindOptions.ReadOnlyNonRecursive"),
        (_, true) if !mount.read_only => {
            conflict("!ReadOnly && BindOptions.ReadOnlyForceRecursive")
        }
        _ => Ok(()),
    }
}

fn tmpfs_options(mount: &Mount) -> Result<String> {
    let options = mount.tmpfs_options.clone().unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    if options.size_bytes < 0 {
        return Err(EngineError::invalid(
            "invalid mount config for type \"tmpfs\": size must not be negative",
        ));
    }
    if options.size_bytes > 0 {
        words.push(format!("size={}", options.size_bytes));
    }
    if options.mode != 0 {
        words.push(format!("mode={:o}", options.mode));
    }
    for option in &options.options {
        words.push(option.join("="));
    }
    if mount.read_only {
        words.push("ro".to_owned());
    }
    let words = words.join(",");
    check_tmpfs(&words)?;
    Ok(words)
}

//! The long form of a mount, as `--mount` and HostConfig.Mounts have it.

use api_types::{BindOptions, Mount};

use super::{MountSpec, PROPAGATIONS, Source, check_tmpfs, normal, volume_name};
use crate::outcome::{EngineError, Result};

/// Reads one mount.
///
/// # Errors
/// Docker's sentences.
pub(super) fn long_form(mount: &Mount) -> Result<MountSpec> {
    let target = target(mount)?;
    check_options(mount)?;
    let mut spec = MountSpec {
        source: Source::Tmpfs {
            options: String::new(),
        },
        target,
        read_only: mount.read_only,
        only_top_read_only: false,
        propagation: String::new(),
        mode: String::new(),
    };
    match mount.kind.as_str() {
        "bind" => bind(mount, &mut spec)?,
        "volume" => spec.source = volume(mount)?,
        "tmpfs" if mount.source.is_empty() => {
            spec.source = Source::Tmpfs {
                options: tmpfs_options(mount)?,
            };
        }
        "tmpfs" => return Err(invalid(mount, "field Source must not be specified")),
        "image" => {
            return Err(EngineError::unsupported(format!(
                "a mount of type \"{}\"",
                mount.kind
            )));
        }
        _ => return Err(invalid(mount, "mount type unknown")),
    }
    Ok(spec)
}

fn invalid(mount: &Mount, why: &str) -> EngineError {
    EngineError::invalid(format!(
        "invalid mount config for type \"{}\": {why}",
        mount.kind
    ))
}

/// Where the mount goes.
fn target(mount: &Mount) -> Result<String> {
    if mount.target.is_empty() {
        return Err(invalid(mount, "field Target must not be empty"));
    }
    let target = absolute(mount, &mount.target)?;
    if target == "/" {
        return Err(invalid(
            mount,
            "invalid specification: destination can't be '/'",
        ));
    }
    Ok(target)
}

/// The path in its shortest form.
fn absolute(mount: &Mount, path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(invalid(
            mount,
            &format!("invalid mount path: '{path}' mount path must be absolute"),
        ));
    }
    Ok(normal(path))
}

/// A type has no options but its own.
fn check_options(mount: &Mount) -> Result<()> {
    for (kind, name, given) in [
        ("bind", "Bind", mount.bind_options.is_some()),
        ("volume", "Volume", mount.volume_options.is_some()),
        ("tmpfs", "Tmpfs", mount.tmpfs_options.is_some()),
        ("image", "Image", mount.image_options.is_some()),
    ] {
        if given && kind != mount.kind {
            return Err(invalid(
                mount,
                &format!("field {name}Options must not be specified"),
            ));
        }
    }
    Ok(())
}

fn bind(mount: &Mount, spec: &mut MountSpec) -> Result<()> {
    if mount.source.is_empty() {
        return Err(invalid(mount, "field Source must not be empty"));
    }
    let path = absolute(mount, &mount.source)?;
    let options = mount.bind_options.clone().unwrap_or_default();
    if !options.propagation.is_empty() && !PROPAGATIONS.contains(&options.propagation.as_str()) {
        return Err(invalid(
            mount,
            &format!("invalid propagation mode: {}", options.propagation),
        ));
    }
    check_recursion(mount, &options)?;
    spec.only_top_read_only = options.read_only_non_recursive;
    spec.propagation = options.propagation;
    spec.source = Source::Bind {
        path,
        create: options.create_mountpoint,
        recursive: !options.non_recursive,
    };
    Ok(())
}

fn volume(mount: &Mount) -> Result<Source> {
    let options = mount.volume_options.clone().unwrap_or_default();
    if let Some(driver) = &options.driver_config
        && !matches!(driver.name.as_str(), "" | "local")
    {
        return Err(EngineError::NoSuchPlugin {
            volume: mount.source.clone(),
            name: driver.name.clone(),
        });
    }
    if !mount.source.is_empty() {
        volume_name(&mount.source)?;
    } else if mount.read_only {
        return Err(invalid(
            mount,
            "must not set ReadOnly mode when using anonymous volumes",
        ));
    }
    let mut parts = options.subpath.split('/');
    if options.subpath.starts_with('/') || parts.any(|part| part == "..") {
        return Err(invalid(
            mount,
            "subpath must be a relative path within the volume",
        ));
    }
    Ok(Source::Volume {
        name: mount.source.clone(),
        anonymous: mount.source.is_empty(),
        copy: !options.no_copy,
        subpath: options.subpath,
        labels: options.labels,
        options: options.driver_config.unwrap_or_default().options,
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
        return Err(invalid(mount, "size must not be negative"));
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

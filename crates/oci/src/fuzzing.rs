//! Doors to what only this crate knows, for the fuzz targets in `fuzz/`.

use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::compile;
use crate::log::{Format, Log};
use crate::place;
use crate::spec::{self, FILE, Resources, Spec};

/// Reads a bundle's configuration and compiles it as far as that only looks at the host. Whatever is refused is told in a
/// sentence; what is read survives being written down.
pub fn configuration(text: &str) {
    if let Ok(resources) = spec::parse::<Resources>("resources", text) {
        let _ = compile::limits(&resources, &silent().log);
    }
    let spec: Spec = match spec::parse(FILE, text) {
        Ok(spec) => spec,
        Err(error) => return assert!(error.to_string().starts_with("config.json:")),
    };
    if let Err(error) = spec.check_version() {
        assert!(error.to_string().starts_with("config.json: ociVersion: "));
    }
    let written = |spec: &Spec| serde_json::to_string(spec).unwrap_or_default();
    let once = written(&spec);
    match spec::parse::<Spec>(FILE, &once) {
        Ok(again) => assert_eq!(written(&again), once),
        Err(error) => panic!("{error}: {once}"),
    }
    if let Err(error) = place::properties(spec.annotations.as_ref()) {
        let told = error.to_string();
        assert!(told.contains("org.systemd.property."), "{told}");
    }
    match compile::container(&harmless(spec), Path::new("/no/bundle"), "box", &silent()) {
        Ok(compiled) => drop(runtime::Prepared::new(compiled.plan)),
        Err(error) => assert!(error.to_string().len() > 10, "{error}"),
    }
}

/// Nobody reads the warnings.
fn silent() -> Global {
    Global {
        root: PathBuf::from("/no/root"),
        log: Log {
            file: Some(PathBuf::from("/dev/null")),
            format: Format::Json,
            debug: false,
            lends_stderr: false,
        },
        rootless: false,
        criu: PathBuf::new(),
        systemd_cgroup: false,
    }
}

/// Without what makes something on the host when it is compiled.
fn harmless(mut spec: Spec) -> Spec {
    for namespace in spec
        .linux
        .iter_mut()
        .flat_map(|linux| linux.namespaces.iter_mut().flatten())
    {
        namespace.path = None;
    }
    for mount in spec.mounts.iter_mut().flatten() {
        mount.uid_mappings = None;
        mount.gid_mappings = None;
        if let Some(options) = &mut mount.options {
            options.retain(|word| !matches!(word.as_str(), "idmap" | "ridmap" | "tmpcopyup"));
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn what_was_found_before_is_read() {
        let seeds = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../fuzz/seeds/runtime_config"
        );
        let mut count = 0;
        for entry in fs::read_dir(seeds).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            if let Ok(text) = std::str::from_utf8(&bytes) {
                super::configuration(text);
            }
            count += 1;
        }
        assert!(count > 3, "{count} files");
    }

    /// Whatever its length, a file is refused or read.
    #[test]
    fn every_part_of_a_configuration_is_refused() {
        let whole = include_str!("../../../fuzz/seeds/runtime_config/full");
        for (length, _) in whole.trim_end().char_indices() {
            let part = crate::spec::parse::<crate::spec::Spec>("config.json", &whole[..length]);
            assert!(part.is_err(), "{length}");
        }
        super::configuration(whole);
    }
}

//! Doors to what only this crate knows, for the fuzz targets in `fuzz/`.

use api_types::{Config, HostConfig, NetworkingConfig};

use crate::compile::{Facts, check_on, health, keys, mounts, policy};

/// Checks a container's configuration as for its creation.
pub fn configuration(mut config: Config, mut host: HostConfig, networking: &NetworkingConfig) {
    let facts = Facts {
        processors: 4,
        online: "0-3",
        log_driver: "json-file",
        log_options: &Default::default(),
    };
    if check_on(&mut config, &mut host, networking, &facts).is_ok() {
        let _ = mounts::collect(&config, &host, Vec::new());
        let _ = health::parse(&config);
    }
}

/// Reads a signal's name and the keys that leave a terminal.
pub fn words(text: &str) {
    let _ = policy::parse_signal(text);
    let _ = keys::parse(text, "detach");
}

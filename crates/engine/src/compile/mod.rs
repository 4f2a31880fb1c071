//! From a request in docker's words to what runs: inheritance, validation, and the plan of a start.
//!
//! The first three steps are pure and happen at create; [`check`] is their order. The plan is made at each start,
//! because users are looked up in the container's own files and sources are opened by descriptor.

pub(crate) mod block_io;
pub(crate) mod devices;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod log_remote;
pub(crate) mod log_tag;
pub(crate) mod logging;
pub(crate) mod merge;
pub(crate) mod modes;
pub(crate) mod mounts;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod ports;
pub(crate) mod refuse;
pub(crate) mod security;

use std::collections::BTreeMap;

use api_types::{Config, HostConfig, NetworkingConfig};

use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use modes::Modes;
use runtime::sysctl::Own;

/// Checks a request that has inherited from its image, and writes defaults down.
///
/// # Errors
/// Docker's sentence for the first thing that is wrong, or the name of the first thing that is not built.
pub(crate) fn check(
    config: &mut Config,
    host: &mut HostConfig,
    networking: &NetworkingConfig,
    engine: &Engine,
) -> Result<Modes> {
    let facts = Facts {
        processors: engine.inner().host.processors,
        online: &engine.inner().host.online,
        log_driver: &engine.config().log_driver,
        log_options: &engine.config().log_opts,
    };
    check_on(config, host, networking, &facts)
}

/// What a request is checked against.
pub(crate) struct Facts<'a> {
    pub(crate) processors: usize,
    /// The processors' numbers, as a list.
    pub(crate) online: &'a str,
    /// What containers get that ask for no log.
    pub(crate) log_driver: &'a str,
    pub(crate) log_options: &'a BTreeMap<String, String>,
}

/// [`check`] without an engine.
pub(crate) fn check_on(
    config: &mut Config,
    host: &mut HostConfig,
    networking: &NetworkingConfig,
    facts: &Facts<'_>,
) -> Result<Modes> {
    refuse::check(host, networking)?;
    check_config(config)?;
    limits::check(host, facts.processors, facts.online)?;
    block_io::check(host)?;
    policy::check_restart(host)?;
    logging::logging(host, facts.log_driver, facts.log_options)?;
    security::capabilities(host)?;
    security::options(host)?;
    security::rlimits(host)?;
    security::check_privileges(host)?;
    devices::check_devices(host)?;
    check_sysctls(host)?;
    ports::wanted(config, host)?;
    Modes::parse(host)
}

fn check_config(config: &mut Config) -> Result<()> {
    if !config.working_dir.is_empty() {
        if !config.working_dir.starts_with('/') {
            return Err(EngineError::invalid(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                config.working_dir
            )));
        }
        config.working_dir = mounts::normal(&config.working_dir);
    }
    for variable in config.env.iter().flatten() {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(EngineError::invalid(format!(
                "invalid environment variable: {variable}"
            )));
        }
    }
    if !config.stop_signal.is_empty() {
        policy::parse_signal(&config.stop_signal)?;
    }
    health::parse(config)?;
    if config.hostname.len() > 63 {
        return Err(EngineError::invalid(format!(
            "invalid hostname: {}",
            config.hostname
        )));
    }
    Ok(())
}

/// Kernel parameters that belong to a namespace of the container, as far as is known before there is one: what it shares
/// with another is looked at when it starts.
fn check_sysctls(host: &HostConfig) -> Result<()> {
    let own = Own {
        network: host.network_mode != "host",
        ipc: host.ipc_mode != "host",
        uts: host.uts_mode != "host",
    };
    own_sysctls(host, own)
}

/// The same with what is known.
///
/// # Errors
/// runc's sentence, as docker passes it on.
pub(crate) fn own_sysctls(host: &HostConfig, own: Own) -> Result<()> {
    let mut names = host.sysctls.keys();
    names
        .try_for_each(|name| own.check(name))
        .map_err(|error| EngineError::invalid(error.to_string()))
}

//! What daemon.json and flags say for containers that say nothing themselves.

use std::net::IpAddr;

use engine::{AddressPool, ContainerDefaults, Ulimit};

use crate::config::ConfigError;
use crate::file::{File, Size};
use crate::given::Given;

/// Reads the defaults of containers.
///
/// # Errors
/// A sentence for the first that can not be read, or that no container could have.
pub(crate) fn defaults(
    given: Given<'_>,
    file: &mut File,
) -> Result<ContainerDefaults, ConfigError> {
    read_defaults(given, file).map_err(|sentence| ConfigError::Value { sentence })
}

fn read_defaults(given: Given<'_>, file: &mut File) -> Result<ContainerDefaults, String> {
    let address = |text: String| {
        text.parse::<IpAddr>()
            .map_err(|_| format!("invalid IP address: {text}"))
    };
    let text = |flag, in_file: &mut Option<String>| given.text(flag, in_file.take());
    let servers = given.list("dns", file.dns.take());
    let defaults = ContainerDefaults {
        cgroupns_mode: text("default-cgroupns-mode", &mut file.default_cgroupns_mode)
            .unwrap_or_default(),
        ipc_mode: text("default-ipc-mode", &mut file.default_ipc_mode).unwrap_or_default(),
        shm_size: shm_size(given, file)?,
        ulimits: ulimits(given, file)?,
        init: given.switch("init", file.init, false),
        no_new_privileges: given.switch("no-new-privileges", file.no_new_privileges, false),
        dns: servers.into_iter().map(address).collect::<Result<_, _>>()?,
        dns_options: given.list("dns-opt", file.dns_opts.take()),
        dns_search: given.list("dns-search", file.dns_search.take()),
        host_gateway: text("host-gateway-ip", &mut file.host_gateway_ip)
            .map(address)
            .transpose()?,
    };
    if !matches!(defaults.ipc_mode.as_str(), "" | "private" | "shareable") {
        return Err(format!(
            "IPC mode \"{}\" is not supported as default value; use \"private\" or \"shareable\"",
            defaults.ipc_mode
        ));
    }
    if !matches!(defaults.cgroupns_mode.as_str(), "" | "private" | "host") {
        return Err(format!(
            "Default cgroup namespace mode ({}) is invalid; use \"host\" or \"private\"",
            defaults.cgroupns_mode
        ));
    }
    defaults.check().map_err(|error| error.to_string())?;
    Ok(defaults)
}

fn shm_size(given: Given<'_>, file: &mut File) -> Result<i64, String> {
    let invalid = |text: &str| format!("invalid size: '{text}'");
    let read = |text: &str| {
        let bytes = engine::parse_size(text).and_then(|bytes| i64::try_from(bytes).ok());
        bytes.ok_or_else(|| invalid(text))
    };
    match (
        given.0.value("default-shm-size"),
        file.default_shm_size.take(),
    ) {
        (Some(text), _) => read(text),
        (None, Some(Size::Text(text))) => read(&text),
        (None, Some(Size::Bytes(bytes))) => {
            i64::try_from(bytes).map_err(|_| invalid(&bytes.to_string()))
        }
        (None, None) => Ok(0),
    }
}

fn ulimits(given: Given<'_>, file: &mut File) -> Result<Vec<Ulimit>, String> {
    if let Some(in_file) = file.default_ulimits.take() {
        let named = in_file.into_iter().map(|(key, one)| Ulimit {
            name: one.name.filter(|name| !name.is_empty()).unwrap_or(key),
            hard: one.hard,
            soft: one.soft,
        });
        return Ok(named.collect());
    }
    given
        .list("default-ulimit", None)
        .iter()
        .map(|text| Ulimit::parse(text))
        .collect()
}

/// Where networks take their subnets from that name none.
///
/// # Errors
/// A sentence for what is no pool, as it is typed.
pub(crate) fn address_pools(
    given: Given<'_>,
    file: &mut File,
) -> Result<Vec<AddressPool>, ConfigError> {
    if let Some(pools) = file.default_address_pools.take() {
        let pools = pools.into_iter().map(|pool| AddressPool {
            base: pool.base,
            size: pool.size,
        });
        return Ok(pools.collect());
    }
    given
        .list("default-address-pool", None)
        .iter()
        .map(|text| pool(text).map_err(|sentence| ConfigError::Value { sentence }))
        .collect()
}

/// `base=ADDRESS/BITS,size=BITS`.
fn pool(text: &str) -> Result<AddressPool, String> {
    let mut pool = AddressPool::default();
    for field in text.split(',') {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        match name.to_ascii_lowercase().as_str() {
            "base" => value.clone_into(&mut pool.base),
            "size" => {
                let size = value.parse();
                pool.size = size.map_err(|_| format!("invalid size value: {value}"))?;
            }
            _ => return Err(format!("unexpected key '{name}' in '{field}'")),
        }
    }
    Ok(pool)
}

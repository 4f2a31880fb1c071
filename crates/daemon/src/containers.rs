//! What daemon.json and flags say for containers that say nothing themselves.

use std::net::IpAddr;

use engine::{AddressPool, ContainerDefaults, Ulimit};

use crate::file::{File, FilePool, Size};
use crate::flags::Invocation;

/// Reads the defaults of containers; each is in the file or among the flags.
///
/// # Errors
/// A sentence for the first that can not be read, or that no container could have.
pub(crate) fn defaults(typed: &Invocation, file: &mut File) -> Result<ContainerDefaults, String> {
    let text = |name: &str, in_file: Option<String>| {
        let typed = typed.value(name).map(str::to_owned);
        typed.or(in_file).unwrap_or_default()
    };
    let switch = |name: &str, in_file: Option<bool>| typed.switch(name) || in_file == Some(true);
    let list =
        |name: &str, in_file: Option<Vec<String>>| in_file.unwrap_or_else(|| typed.list(name));
    let address = |text: String| {
        text.parse::<IpAddr>()
            .map_err(|_| format!("invalid IP address: {text}"))
    };
    let host_gateway = text("host-gateway-ip", file.host_gateway_ip.take());
    let dns = list("dns", file.dns.take());
    let defaults = ContainerDefaults {
        cgroupns_mode: text("default-cgroupns-mode", file.default_cgroupns_mode.take()),
        ipc_mode: text("default-ipc-mode", file.default_ipc_mode.take()),
        shm_size: shm_size(typed, file.default_shm_size.take())?,
        ulimits: ulimits(typed, file)?,
        init: switch("init", file.init),
        no_new_privileges: switch("no-new-privileges", file.no_new_privileges),
        dns: dns.into_iter().map(address).collect::<Result<_, _>>()?,
        dns_options: list("dns-opt", file.dns_opts.take()),
        dns_search: list("dns-search", file.dns_search.take()),
        host_gateway: Some(host_gateway)
            .filter(|text| !text.is_empty())
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

fn shm_size(typed: &Invocation, in_file: Option<Size>) -> Result<i64, String> {
    let invalid = |text: &str| format!("invalid size: '{text}'");
    let read = |text: &str| {
        let bytes = engine::parse_size(text).and_then(|bytes| i64::try_from(bytes).ok());
        bytes.ok_or_else(|| invalid(text))
    };
    match (typed.value("default-shm-size"), in_file) {
        (Some(text), _) => read(text),
        (None, Some(Size::Text(text))) => read(&text),
        (None, Some(Size::Bytes(bytes))) => {
            i64::try_from(bytes).map_err(|_| invalid(&bytes.to_string()))
        }
        (None, None) => Ok(0),
    }
}

fn ulimits(typed: &Invocation, file: &mut File) -> Result<Vec<Ulimit>, String> {
    if let Some(in_file) = file.default_ulimits.take() {
        let named = in_file.into_iter().map(|(key, one)| Ulimit {
            name: one.name.filter(|name| !name.is_empty()).unwrap_or(key),
            hard: one.hard,
            soft: one.soft,
        });
        return Ok(named.collect());
    }
    typed
        .list("default-ulimit")
        .iter()
        .map(|text| Ulimit::parse(text))
        .collect()
}

/// Where networks take their subnets from that name none.
///
/// # Errors
/// A sentence for what is no pool, as it is typed.
pub(crate) fn address_pools(
    typed: &Invocation,
    in_file: Option<Vec<FilePool>>,
) -> Result<Vec<AddressPool>, String> {
    if let Some(pools) = in_file {
        let pools = pools.into_iter().map(|pool| AddressPool {
            base: pool.base,
            size: pool.size,
        });
        return Ok(pools.collect());
    }
    typed
        .list("default-address-pool")
        .iter()
        .map(|text| pool(text))
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

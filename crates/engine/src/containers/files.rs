//! /etc/hosts, /etc/hostname and /etc/resolv.conf of a container: written into its folder, mounted at each start.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use super::registry::Container;
use api_types::HostConfig;
use network::files::{
    DnsSettings, ExtraHost, host_resolv_conf, hostname, hosts, resolv_conf, resolv_conf_by_engine,
    resolv_conf_like_host,
};

use crate::compile::modes::{Modes, NetworkMode};
use crate::config::ContainerDefaults;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// Name of a container's /etc/resolv.conf in its folder.
const RESOLV: &str = "resolv.conf";

/// Name of a container's /etc/hosts in its folder.
pub(crate) const HOSTS: &str = "hosts";

/// Path inside a container, file name in its folder.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("/etc/resolv.conf", RESOLV),
    ("/etc/hostname", "hostname"),
    ("/etc/hosts", HOSTS),
];

impl Engine {
    /// Writes the files that this start needs and opens each as a mount of its own.
    pub(crate) fn etc_files(
        &self,
        container: &Container,
        modes: &Modes,
        addresses: &[IpAddr],
        asks: bool,
    ) -> Result<Vec<(&'static str, OwnedFd)>> {
        let folder = match &modes.network {
            // The neighbour's names are this container's names.
            NetworkMode::Container(name) => {
                self.paths().container(self.registry().find(name)?.id())
            }
            _ => {
                let folder = self.paths().container(container.id());
                self.write_etc_files(&folder, container, modes, addresses, asks)?;
                folder
            }
        };
        FILES
            .iter()
            .filter(|(target, _)| {
                !container
                    .spec
                    .mounts
                    .iter()
                    .any(|mount| mount.target == *target)
            })
            .map(|(target, name)| Ok((*target, clone_path(&folder.join(name), false)?)))
            .collect()
    }

    fn write_etc_files(
        &self,
        folder: &Path,
        container: &Container,
        modes: &Modes,
        addresses: &[IpAddr],
        asks: bool,
    ) -> Result<()> {
        let (config, host) = (&container.spec.config, &container.spec.host);
        let gateway = self
            .inner()
            .network
            .as_ref()
            .map(|network| IpAddr::V4(network.bridge_info().gateway));
        let defaults = &self.config().containers;
        let gateway = defaults.host_gateway.or(gateway);
        let mut extra = extra_hosts(host.extra_hosts.as_deref().unwrap_or_default(), gateway)?;
        extra.extend(self.link_hosts(container)?);
        let settings = dns_settings(host, defaults)?;
        let resolver = host_resolv_conf(Path::new("/"))
            .map_err(EngineError::io("read the host's resolv.conf"))?;
        let of_host = matches!(modes.network, NetworkMode::Host);
        let hosts = match extra.is_empty() && of_host {
            true => fs::read_to_string("/etc/hosts").unwrap_or_default(),
            // In the host's network too, so that what is added can mean another address than on the host.
            false => hosts(
                &config.hostname,
                &config.domainname,
                addresses,
                &extra,
                has_ipv6(&host.sysctls),
            ),
        };
        let resolv = match (of_host, asks) {
            (true, _) => resolv_conf_like_host(&resolver, &settings),
            (false, true) => resolv_conf_by_engine(&resolver, &settings),
            (false, false) => resolv_conf(&resolver, &settings),
        };
        for (name, text) in [
            (HOSTS, hosts),
            (RESOLV, resolv),
            ("hostname", hostname(&config.hostname)),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).map_err(EngineError::io(format!("write {}", path.display())))?;
        }
        Ok(())
    }
}

impl Engine {
    /// Has a container that runs ask the engine for names from now on.
    ///
    /// # Errors
    /// What hinders the writing of its file.
    pub(crate) fn ask_engine_for_names(&self, container: &Container) -> Result<()> {
        let resolver = host_resolv_conf(Path::new("/"))
            .map_err(EngineError::io("read the host's resolv.conf"))?;
        let text = resolv_conf_by_engine(
            &resolver,
            &dns_settings(&container.spec.host, &self.config().containers)?,
        );
        let path = self.paths().container(container.id()).join(RESOLV);
        fs::write(&path, text).map_err(EngineError::io(format!("write {}", path.display())))
    }
}

/// Whether a container has IPv6 on its loopback interface: the kernel has it, and no parameter turns it off.
pub(crate) fn has_ipv6(sysctls: &BTreeMap<String, String>) -> bool {
    static OF_KERNEL: OnceLock<bool> = OnceLock::new();
    let off = |interface: &str| {
        let name = format!("net.ipv6.conf.{interface}.disable_ipv6");
        sysctls.get(&name).is_some_and(|value| value.trim() == "1")
    };
    *OF_KERNEL.get_or_init(|| Path::new("/proc/sys/net/ipv6").exists())
        && (sysctls.is_empty() || !off("all") && !off("lo"))
}

/// Reads `--add-host` values.
///
/// # Errors
/// Docker's sentences.
pub(crate) fn extra_hosts(list: &[String], gateway: Option<IpAddr>) -> Result<Vec<ExtraHost>> {
    list.iter()
        .map(|entry| {
            ExtraHost::parse(entry, gateway)
                .map_err(|error| EngineError::invalid(error.to_string()))
        })
        .collect()
}

/// Reads `--dns` and its like; the daemon's word counts for each that a container does not have.
///
/// # Errors
/// Docker's sentence for what is no address.
pub(crate) fn dns_settings(host: &HostConfig, defaults: &ContainerDefaults) -> Result<DnsSettings> {
    let asked: Vec<IpAddr> = host
        .dns
        .iter()
        .flatten()
        .map(|text| {
            text.parse()
                .map_err(|_| EngineError::invalid(format!("bad nameserver address: {text}")))
        })
        .collect::<Result<_>>()?;
    let list = |asked: &Option<Vec<String>>, default: &Vec<String>| {
        let asked = asked.as_ref().filter(|asked| !asked.is_empty());
        asked.unwrap_or(default).clone()
    };
    Ok(DnsSettings {
        servers: match asked.is_empty() {
            true => defaults.dns.clone(),
            false => asked,
        },
        search: list(&host.dns_search, &defaults.dns_search),
        options: list(&host.dns_options, &defaults.dns_options),
    })
}

/// Opens a path of the host as a detached mount.
pub(crate) fn clone_path(path: &Path, recursive: bool) -> Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    let text = std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| EngineError::invalid(format!("invalid path: {}", path.display())))?;
    sys::mount::clone_tree(rustix::fs::CWD, &text, recursive).map_err(|errno| EngineError::Io {
        what: format!("open {}", path.display()),
        source: errno.into(),
    })
}

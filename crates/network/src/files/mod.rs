//! The files by which programs in a container find names: pure texts, written by whoever makes the
//! container.

mod hosts;
mod resolv;

pub use hosts::{
    ExtraHost, ExtraHostError, HOST_GATEWAY, add_own, hostname, hosts, remove_address,
};
pub use resolv::{
    DnsSettings, HostResolver, host_resolv_conf, resolv_conf, resolv_conf_by_engine,
    resolv_conf_like_host,
};

//! /etc/hosts of a container that runs, as its networks and links come and go.

use network::Endpoint;

use crate::containers::files;
use crate::containers::registry::Container;
use crate::engine::Engine;

impl Engine {
    /// Lets the container know its own name by further addresses.
    pub(super) fn name_addresses(&self, container: &Container, endpoint: &Endpoint) {
        let config = &container.spec.config;
        let (host, domain) = (&config.hostname, &config.domainname);
        self.edit_hosts(container, |text| {
            endpoint.addresses().fold(text.to_owned(), |text, address| {
                network::files::add_own(&text, host, domain, address)
            })
        });
    }

    /// The reverse of [`Engine::name_addresses`].
    pub(super) fn forget_addresses(&self, container: &Container, endpoint: &Endpoint) {
        self.edit_hosts(container, |text| {
            endpoint.addresses().fold(text.to_owned(), |text, address| {
                network::files::remove_address(&text, address)
            })
        });
    }

    /// Changes a container's /etc/hosts in its place, where it is mounted. Blocks on the disk.
    pub(super) fn edit_hosts(&self, container: &Container, edit: impl FnOnce(&str) -> String) {
        let path = self.paths().container(container.id()).join(files::HOSTS);
        let edited = std::fs::read_to_string(&path).and_then(|text| {
            let new = edit(&text);
            if new == text {
                Ok(())
            } else {
                std::fs::write(&path, new)
            }
        });
        if let Err(error) = edited {
            tracing::warn!(%error, container = container.id().short(), "a container's /etc/hosts does not follow its networks");
        }
    }
}

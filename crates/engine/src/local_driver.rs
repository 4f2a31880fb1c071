//! Options of the local volume driver: what a volume is, where it is not just a folder.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use volume::Device;

use crate::compile::mounts::Source;
use crate::compile::policy::parse_size;
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// How long an end waits until what nobody uses any more is unmounted.
const UNMOUNTS: Duration = Duration::from_secs(2);

/// Checks the options of a volume that is to be made.
///
/// # Errors
/// Docker's sentences.
pub(crate) fn check(volume: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let refuse = |why: String| Err(EngineError::invalid(format!("create {volume}: {why}")));
    let known = ["type", "o", "device", "size"];
    if let Some(name) = options.keys().find(|name| !known.contains(&name.as_str())) {
        return refuse(format!("invalid option: {name:?}"));
    }
    let given = |name: &str| options.get(name).map_or("", String::as_str);
    let names_port = |device: &str| {
        let host = device.trim_start_matches('/').split('/').next();
        host.is_some_and(|host| {
            host.rsplit_once(':')
                .is_some_and(|(_, port)| !port.is_empty())
        })
    };
    if given("type") == "cifs" && names_port(given("device")) {
        return refuse("port not allowed in CIFS device URL, include 'port' in 'o='".to_owned());
    }
    // None at all is no quota.
    if let Some(size) = options.get("size").filter(|size| *size != "0") {
        return match parse_size(size) {
            None => refuse(format!("invalid size: '{size}'")),
            Some(_) => refuse("quota size requested but no quota support".to_owned()),
        };
    }
    for (option, needed) in [
        ("device", "type"),
        ("type", "device"),
        ("o", "device"),
        ("o", "type"),
    ] {
        if options.contains_key(option) && !options.contains_key(needed) {
            return refuse(format!("missing required option: {needed:?}"));
        }
    }
    Ok(())
}

/// What is mounted on a volume with these options; `None` where it is a folder.
///
/// # Errors
/// A device that is not named, or a server that is not named by its address.
fn device(options: &BTreeMap<String, String>) -> Result<Option<Device>> {
    let given = |name: &str| options.get(name).cloned().unwrap_or_default();
    let device = Device {
        kind: given("type"),
        source: given("device"),
        options: given("o"),
    };
    if device.kind.is_empty() && device.source.is_empty() {
        return Ok(None);
    }
    if device.source.is_empty() {
        return Err(EngineError::invalid("missing device in volume options"));
    }
    if matches!(device.kind.as_str(), "nfs" | "cifs") {
        let address = device.options.split(',').find_map(|option| {
            let value = option.strip_prefix("addr=")?;
            (!value.is_empty()).then_some(value)
        });
        if let Some(address) = address
            && address.parse::<Ipv4Addr>().is_err()
        {
            return Err(EngineError::unsupported(format!(
                "looking up the address {address:?} of a network volume (give an IPv4 address)"
            )));
        }
    }
    Ok(Some(device))
}

impl Engine {
    fn options_of(&self, volume: &str) -> BTreeMap<String, String> {
        let volumes = self.inner().volumes.lock();
        volumes
            .get(volume)
            .map(|doc| doc.options.clone())
            .unwrap_or_default()
    }

    /// Mounts what a volume is, for a container that is about to use it.
    pub(crate) fn attach_volume(&self, container: &Container, name: &str) -> Result<()> {
        let options = self.options_of(name);
        if options.is_empty() {
            return Ok(());
        }
        match device(&options)? {
            Some(device) => {
                let store = &self.inner().volume_store;
                Ok(store.attach(name, &device, container.id().as_str())?)
            }
            None => Ok(()),
        }
    }

    /// The volumes of a container that are more than folders, each once.
    fn attached_volumes(&self, container: &Container) -> Vec<String> {
        let volumes = self.inner().volumes.lock();
        let mut names: Vec<String> = container
            .spec
            .mounts
            .iter()
            .filter_map(|mount| match &mount.source {
                Source::Volume { name, .. } => Some(name),
                _ => None,
            })
            .filter(|name| {
                volumes
                    .get(*name)
                    .is_some_and(|doc| !doc.options.is_empty())
            })
            .cloned()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A container uses its volumes no more, whether their rows are still there or not: what nobody else uses is
    /// unmounted. May wait for a server that does not answer.
    pub(crate) fn release_volumes(&self, container: &Container) {
        for error in self.inner().volume_store.release(container.id().as_str()) {
            tracing::error!(%error, container = container.id().short(), "a volume that nobody uses could not be unmounted");
        }
    }

    /// The same at a container's end; nothing for all but a few. What hangs is left to itself after a moment: nobody
    /// who waits for the container's end waits for a file system.
    pub(crate) async fn release_volumes_of(&self, container: &Arc<Container>) {
        if !self.inner().volume_store.has(container.id().as_str()) {
            return;
        }
        let (engine, container) = (self.clone(), Arc::clone(container));
        // Ends with the unmount.
        let releasing = tokio::spawn(async move {
            let places = &engine.inner().places.sources;
            let released = engine.blocking_of(places, "unmount", move |engine| {
                engine.release_volumes(&container);
                Ok(())
            });
            if let Err(error) = released.await {
                tracing::error!(%error, "volumes could not be unmounted");
            }
        });
        if tokio::time::timeout(UNMOUNTS, releasing).await.is_err() {
            tracing::warn!("a volume takes long to be unmounted; nobody waits for it any more");
        }
    }

    /// After a start of the engine: who uses which volume, and an end to mounts that nobody needs any more.
    pub(crate) fn recover_volume_mounts(&self) {
        let store = &self.inner().volume_store;
        for container in self.registry().all() {
            if container.run().status.is_up() {
                for name in self.attached_volumes(&container) {
                    store.adopt(&name, container.id().as_str());
                }
            }
        }
        let with_options: Vec<String> = {
            let volumes = self.inner().volumes.lock();
            let with_options = volumes.iter().filter(|(_, doc)| !doc.options.is_empty());
            with_options.map(|(name, _)| name.clone()).collect()
        };
        for name in with_options {
            match store.detach_unused(&name, Duration::ZERO) {
                Ok(()) | Err(volume::VolumeError::Used { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, volume = name, "a volume that nobody uses could not be unmounted")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn options_are_refused_in_docker_s_words() {
        let told = |pairs: &[(&str, &str)]| check("v", &options(pairs)).unwrap_err().to_string();
        assert_eq!(told(&[("foo", "bar")]), "create v: invalid option: \"foo\"");
        assert_eq!(
            told(&[("type", "tmpfs")]),
            "create v: missing required option: \"device\""
        );
        assert_eq!(
            told(&[("o", "size=1m")]),
            "create v: missing required option: \"device\""
        );
        assert_eq!(
            told(&[("device", "tmpfs")]),
            "create v: missing required option: \"type\""
        );
        assert_eq!(told(&[("size", "x")]), "create v: invalid size: 'x'");
        assert_eq!(
            told(&[("size", "10m")]),
            "create v: quota size requested but no quota support"
        );
        assert_eq!(
            told(&[("type", "cifs"), ("device", "//h:44/x")]),
            "create v: port not allowed in CIFS device URL, include 'port' in 'o='"
        );
        for good in [
            &[][..],
            &[("size", "0")],
            &[("type", ""), ("device", "")],
            &[("type", "cifs"), ("device", "//h/x:1"), ("o", "addr=h")],
        ] {
            assert!(check("v", &options(good)).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn what_is_mounted_is_read_from_the_options() {
        assert_eq!(device(&options(&[])).unwrap(), None);
        let none = options(&[("type", ""), ("device", "")]);
        assert_eq!(device(&none).unwrap(), None);
        let memory = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
        assert_eq!(
            device(&options(&memory)).unwrap().unwrap(),
            Device {
                kind: "tmpfs".to_owned(),
                source: "tmpfs".to_owned(),
                options: "size=1m".to_owned()
            }
        );
        let nfs = |address: &str| {
            let o = format!("addr={address},rw");
            device(&options(&[("type", "nfs"), ("device", ":/x"), ("o", &o)]))
        };
        assert!(nfs("1.2.3.4").is_ok());
        assert!(nfs("host").unwrap_err().to_string().contains("\"host\""));
        let lost = options(&[("type", "tmpfs"), ("device", "")]);
        assert!(device(&lost).is_err());
    }
}

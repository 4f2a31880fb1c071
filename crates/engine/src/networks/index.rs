//! User networks: their documents in the store, and the mirror of these in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use network::{SegmentConfig, Subnet};
use serde::{Deserialize, Serialize};
use types::ContainerId;

use super::ipv6::Ipv6Doc;
use crate::outcome::{EngineError, Result};

/// What the store keeps of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkDoc {
    pub(crate) version: u32,
    /// 64 hex digits.
    pub(crate) id: String,
    pub(crate) name: String,
    /// Nanoseconds since 1970.
    pub(crate) created: i64,
    /// Name of the bridge on the host.
    pub(crate) bridge: String,
    /// The subnet's own address, the length of its prefix, and the bridge's address.
    pub(crate) base: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Ipv4Addr,
    /// The part of the subnet that is given out, if it is not all of it.
    pub(crate) range: Option<(Ipv4Addr, u8)>,
    /// Addresses that are not given out, by name.
    pub(crate) auxiliary: BTreeMap<String, Ipv4Addr>,
    /// Whether a user chose the subnet: only then may a container ask for an address in it.
    pub(crate) chosen: bool,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    /// Whether containers reach each other.
    pub(crate) among: bool,
    pub(crate) masqueraded: bool,
    pub(crate) mtu: Option<u32>,
    /// Where ports are published that name no address of the host.
    pub(crate) host_ip: Ipv4Addr,
    /// Options of driver and of address management as they were given.
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) ipam_options: Option<BTreeMap<String, String>>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether the bridge was there before, and is somebody else's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) foreign: bool,
    /// What it has of IPv6, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ipv6: Option<Ipv6Doc>,
}

impl NetworkDoc {
    /// Version of the document; a field with a serde default does not change it.
    pub(crate) const VERSION: u32 = 1;

    pub(crate) fn subnet(&self) -> Option<Subnet> {
        Subnet::containing(self.base, self.prefix)
    }

    /// The network as `network` knows it; `None` for a document that nobody wrote.
    pub(crate) fn segment(&self) -> Option<SegmentConfig> {
        let subnet = self.subnet()?;
        let range = match self.range {
            Some((base, prefix)) => Subnet::containing(base, prefix)?,
            None => subnet,
        };
        Some(SegmentConfig {
            id: self.id.clone(),
            bridge: self.bridge.clone(),
            subnet,
            gateway: self.gateway,
            range,
            reserved: self.auxiliary.values().copied().collect(),
            internal: self.internal,
            among: self.among,
            masqueraded: self.masqueraded,
            mtu: self.mtu,
            foreign: self.foreign,
            ipv6: match &self.ipv6 {
                Some(ipv6) => Some(ipv6.config()?),
                None => None,
            },
        })
    }
}

struct Entry {
    doc: Arc<NetworkDoc>,
    /// The containers that are on it or about to be.
    members: BTreeSet<String>,
    /// It is being made or removed: nobody may join.
    closed: bool,
}

#[derive(Default)]
struct Index {
    by_id: HashMap<String, Entry>,
    names: HashMap<String, String>,
}

/// The user networks of one engine.
#[derive(Default)]
pub(crate) struct Networks {
    index: Mutex<Index>,
    /// Held for writing while one is made, and for reading until the bridge of one that was removed is gone: its subnet,
    /// and its name on the host, may be asked for next.
    pub(crate) changing: Arc<tokio::sync::RwLock<()>>,
}

impl Networks {
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a network that is written down.
    ///
    /// # Errors
    /// Docker's sentence when the name is taken.
    pub(crate) fn add(&self, doc: NetworkDoc, closed: bool) -> Result<Arc<NetworkDoc>> {
        let mut index = self.lock();
        if index.names.contains_key(&doc.name) {
            return Err(EngineError::conflict(format!(
                "network with name {} already exists",
                doc.name
            )));
        }
        let doc = Arc::new(doc);
        index.names.insert(doc.name.clone(), doc.id.clone());
        let entry = Entry {
            doc: Arc::clone(&doc),
            members: BTreeSet::new(),
            closed,
        };
        index.by_id.insert(doc.id.clone(), entry);
        Ok(doc)
    }

    /// Lets containers join, or not.
    pub(crate) fn set_closed(&self, id: &str, closed: bool) {
        if let Some(entry) = self.lock().by_id.get_mut(id) {
            entry.closed = closed;
        }
    }

    /// Forgets a network.
    pub(crate) fn remove(&self, id: &str) {
        let mut index = self.lock();
        if let Some(entry) = index.by_id.remove(id) {
            index.names.remove(&entry.doc.name);
        }
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<NetworkDoc>> {
        let index = self.lock();
        index
            .by_id
            .values()
            .map(|entry| Arc::clone(&entry.doc))
            .collect()
    }

    /// By its id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<NetworkDoc>> {
        self.lock()
            .by_id
            .get(id)
            .map(|entry| Arc::clone(&entry.doc))
    }

    /// By full id, by name, or by the beginning of an id that only one has.
    ///
    /// # Errors
    /// Docker's sentence for a beginning that several have.
    pub(crate) fn find(&self, wanted: &str) -> Result<Option<Arc<NetworkDoc>>> {
        let index = self.lock();
        let named = || index.by_id.get(index.names.get(wanted)?);
        if let Some(entry) = index.by_id.get(wanted).or_else(named) {
            return Ok(Some(Arc::clone(&entry.doc)));
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut found = index
            .by_id
            .values()
            .filter(|one| one.doc.id.starts_with(wanted));
        match (found.next(), found.count()) {
            (Some(entry), 0) => Ok(Some(Arc::clone(&entry.doc))),
            (Some(_), others) => Err(EngineError::invalid(format!(
                "network {wanted} is ambiguous ({} matches found based on ID prefix)",
                others + 1
            ))),
            (None, _) => Ok(None),
        }
    }

    /// Writes down that a container is on a network, or about to be: it stays until [`Networks::leave`].
    ///
    /// # Errors
    /// [`EngineError::NoSuchNetwork`] when it is being removed.
    pub(crate) fn join(&self, id: &str, container: &ContainerId) -> Result<()> {
        match self.lock().by_id.get_mut(id) {
            Some(entry) if !entry.closed => {
                entry.members.insert(container.to_string());
                Ok(())
            }
            _ => Err(EngineError::NoSuchNetwork {
                name: id.to_owned(),
            }),
        }
    }

    /// The container is not on the network any more.
    pub(crate) fn leave(&self, id: &str, container: &ContainerId) {
        if let Some(entry) = self.lock().by_id.get_mut(id) {
            entry.members.remove(container.as_str());
        }
    }

    /// Ids of the containers on a network.
    pub(crate) fn members(&self, id: &str) -> Vec<String> {
        let index = self.lock();
        let entry = index.by_id.get(id);
        entry
            .map(|entry| entry.members.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Closes a network that nobody is on; the members of one that is used, none of one that is closed or gone.
    pub(crate) fn close(&self, id: &str) -> std::result::Result<(), Vec<String>> {
        match self.lock().by_id.get_mut(id) {
            Some(entry) if entry.closed || !entry.members.is_empty() => {
                Err(entry.members.iter().cloned().collect())
            }
            Some(entry) => {
                entry.closed = true;
                Ok(())
            }
            None => Err(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(id: &str, name: &str) -> NetworkDoc {
        NetworkDoc {
            version: 1,
            id: format!("{id:0<64}"),
            name: name.to_owned(),
            created: 1,
            bridge: format!("br-{id}"),
            base: Ipv4Addr::new(10, 0, 0, 0),
            prefix: 24,
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            range: Some((Ipv4Addr::new(10, 0, 0, 128), 25)),
            auxiliary: BTreeMap::new(),
            chosen: true,
            internal: false,
            attachable: false,
            among: true,
            masqueraded: true,
            mtu: None,
            host_ip: Ipv4Addr::UNSPECIFIED,
            options: BTreeMap::new(),
            ipam_options: None,
            labels: BTreeMap::new(),
            ipv6: None,
            foreign: false,
        }
    }

    #[test]
    fn networks_are_found_by_name_id_and_beginning() {
        let networks = Networks::default();
        networks.add(doc("abc1", "web"), false).unwrap();
        networks.add(doc("abd2", "abc"), false).unwrap();
        let name = |wanted: &str| {
            let found = networks.find(wanted).unwrap();
            found.map(|found| found.name.clone())
        };
        assert_eq!(name("web").as_deref(), Some("web"));
        assert_eq!(name("abc1").as_deref(), Some("web"));
        assert_eq!(name("abc").as_deref(), Some("abc"), "a name goes first");
        assert_eq!((name(""), name("x")), (None, None));
        let id = doc("abc1", "").id;
        networks.add(doc("fff", &id), false).unwrap();
        assert_eq!(
            name(&id).as_deref(),
            Some("web"),
            "an id goes before a name"
        );
        assert!(
            networks
                .find("ab")
                .unwrap_err()
                .to_string()
                .contains("ambiguous")
        );
        let taken = networks.add(doc("eee", "web"), false).unwrap_err();
        assert_eq!(taken.to_string(), "network with name web already exists");
    }

    #[test]
    fn who_is_on_a_network_keeps_it() {
        let networks = Networks::default();
        let one = networks.add(doc("abc1", "web"), true).unwrap();
        let id = ContainerId::random().unwrap();
        assert!(networks.join(&one.id, &id).is_err(), "it is being made");
        networks.set_closed(&one.id, false);
        networks.join(&one.id, &id).unwrap();
        assert_eq!(networks.close(&one.id), Err(vec![id.to_string()]));
        networks.leave(&one.id, &id);
        networks.close(&one.id).unwrap();
        assert!(networks.join(&one.id, &id).is_err(), "it is being removed");
        networks.remove(&one.id);
        assert!(networks.find("web").unwrap().is_none());
    }

    #[test]
    fn a_document_is_a_segment() {
        let segment = doc("abc1", "web").segment().unwrap();
        assert_eq!(segment.subnet.to_string(), "10.0.0.0/24");
        assert_eq!(segment.range.to_string(), "10.0.0.128/25");
    }
}

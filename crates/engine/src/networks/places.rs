//! Which networks a container is to be on, and its places on them while it runs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use api_types::EndpointSettings;
use network::{Endpoint, HOME, Plug, Wish};

use super::ipv6::Ipv6Doc;
use super::{Found, NetworkDoc};
use crate::containers::files;
use crate::containers::record::{EndpointRecord, JoinedRecord, Run, Spec};
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// Networks by the names that they were asked for by, with what was asked for there.
pub(crate) type Wanted = BTreeMap<String, EndpointSettings>;

/// The networks that a container is to be on.
pub(crate) fn wanted(spec: &Spec, run: &Run) -> Wanted {
    if spec.config.network_disabled {
        return Wanted::new();
    }
    if let Some(changed) = &run.changed_networks {
        return changed.clone();
    }
    let mode = spec.host.network_mode.as_str();
    let mut wanted = Wanted::new();
    for (name, settings) in spec.networking.endpoints_config.iter().flatten() {
        let name = match name.as_str() {
            "default" => "bridge",
            name => name,
        };
        wanted.insert(name.to_owned(), settings.clone());
    }
    wanted.entry(mode.to_owned()).or_default();
    wanted
}

/// The names under which others on a user network find the container: its own, its aliases, the beginning of its id
/// and its host name.
pub(crate) fn names(container: &Container, settings: &EndpointSettings) -> Vec<String> {
    let mut names = vec![container.name()];
    names.extend(settings.aliases.iter().flatten().cloned());
    names.push(container.id().short().to_owned());
    names.push(container.spec.config.hostname.clone());
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

/// A container's place on one network in the making.
#[derive(Debug)]
pub(crate) struct Place {
    /// The network's name.
    pub(crate) name: String,
    /// `None` for the engine's own bridge.
    pub(crate) doc: Option<Arc<NetworkDoc>>,
    pub(crate) settings: EndpointSettings,
}

impl Place {
    /// Id of the network, as `network` knows it.
    pub(crate) fn segment(&self) -> &str {
        self.doc.as_ref().map_or(HOME, |doc| doc.id.as_str())
    }

    /// The address that was asked for.
    ///
    /// # Errors
    /// Docker's sentences for one that can not be had there.
    pub(crate) fn address(&self) -> Result<Option<Ipv4Addr>> {
        let asked = self.settings.ipam_config.as_ref();
        let text = asked.map_or("", |asked| asked.ipv4_address.as_str());
        let doc = self.doc.as_ref().filter(|doc| doc.chosen);
        let subnet = doc.and_then(|doc| doc.subnet());
        self.asked(
            text,
            "IPv4",
            subnet.map(|one| move |address| one.contains(address)),
        )
    }

    /// The same of IPv6.
    ///
    /// # Errors
    /// As [`Place::address`].
    pub(crate) fn ipv6_address(&self) -> Result<Option<Ipv6Addr>> {
        let asked = self.settings.ipam_config.as_ref();
        let text = asked.map_or("", |asked| asked.ipv6_address.as_str());
        let doc = self.doc.as_ref().and_then(|doc| doc.ipv6.as_ref());
        let subnet = doc.filter(|doc| doc.chosen).and_then(Ipv6Doc::subnet);
        self.asked(
            text,
            "IPv6",
            subnet.map(|one| move |address| one.contains(address)),
        )
    }

    /// Reads an address. `contains` tells whether the subnet that a user chose has it; there is none without.
    fn asked<T: std::str::FromStr + Copy>(
        &self,
        text: &str,
        family: &str,
        contains: Option<impl Fn(T) -> bool>,
    ) -> Result<Option<T>> {
        if text.is_empty() {
            return Ok(None);
        }
        let refused =
            |why: String| EngineError::invalid(format!("invalid endpoint settings:\n{why}"));
        if self.doc.is_none() {
            return Err(refused(IP_ON_BUILT_IN.to_owned()));
        }
        let address: T = text
            .parse()
            .map_err(|_| refused(format!("invalid {family} address: {text}")))?;
        match contains {
            None => Err(refused(IP_WITHOUT_SUBNET.to_owned())),
            Some(contains) if contains(address) => Ok(Some(address)),
            Some(_) => Err(refused(format!(
                "no configured subnet contains the IP address {text}"
            ))),
        }
    }

    /// Whether it can be the way out.
    fn leads_out(&self) -> bool {
        self.doc.as_ref().is_none_or(|doc| !doc.internal)
    }
}

const IP_ON_BUILT_IN: &str = "user specified IP address is supported on user defined networks only";
const IP_WITHOUT_SUBNET: &str = "user specified IP address is supported only when connecting to networks with user configured subnets";
const ALIAS_ON_BUILT_IN: &str =
    "network-scoped alias is supported only for containers in user defined networks";

/// Refuses what no network here, or none of this kind, can give: at create and at connect.
///
/// # Errors
/// Docker's sentences, and [`EngineError::Unsupported`] with a field's name in the API.
pub(crate) fn check_settings(name: &str, settings: &EndpointSettings) -> Result<()> {
    let of_user = !matches!(name, "" | "default" | "bridge" | "host" | "none")
        && !name.starts_with("container:");
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    if !of_user && (!ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty()) {
        wrong.push(IP_ON_BUILT_IN.to_owned());
    }
    let aliases = settings.aliases.as_ref();
    if !of_user && aliases.is_some_and(|aliases| !aliases.is_empty()) {
        wrong.push(ALIAS_ON_BUILT_IN.to_owned());
    }
    if !ipam.ipv4_address.is_empty() && ipam.ipv4_address.parse::<Ipv4Addr>().is_err() {
        wrong.push(format!("invalid IPv4 address: {}", ipam.ipv4_address));
    }
    if !ipam.ipv6_address.is_empty() && ipam.ipv6_address.parse::<Ipv6Addr>().is_err() {
        wrong.push(format!("invalid IPv6 address: {}", ipam.ipv6_address));
    }
    let mac = settings.mac_address.trim();
    if !mac.is_empty() && mac.parse::<network::MacAddr>().is_err() {
        wrong.push(format!("invalid MAC address: {mac}"));
    }
    for address in &ipam.link_local_ips {
        let parsed = address.parse::<std::net::IpAddr>();
        if !parsed.is_ok_and(|address| !address.is_unspecified()) {
            wrong.push(format!("invalid link-local IP address: {address}"));
        }
    }
    if !wrong.is_empty() {
        let wrong = wrong.join("\n");
        return Err(EngineError::invalid(format!(
            "invalid endpoint settings:\n{wrong}"
        )));
    }
    let field = |name: &str| format!("NetworkingConfig.EndpointsConfig.{name}");
    for (name, asked) in [
        (
            "IPAMConfig.LinkLocalIPs of IPv6",
            ipam.link_local_ips.iter().any(|one| one.contains(':')),
        ),
        (
            "DriverOpts for a name or settings of the interface",
            settings.driver_opts.iter().flatten().any(|(name, _)| {
                // What the bridge's driver knows; others it keeps, and means nothing by them.
                matches!(
                    name.as_str(),
                    "com.docker.network.endpoint.ifname" | "com.docker.network.endpoint.sysctls"
                )
            }),
        ),
    ] {
        if asked {
            return Err(EngineError::unsupported(field(name)));
        }
    }
    Ok(())
}

/// The place whose network is the way out: the highest priority, then the first name, as in docker.
pub(crate) fn way_out<'a>(places: impl Iterator<Item = &'a Place>) -> Option<&'a Place> {
    places
        .filter(|place| place.leads_out())
        .min_by(|one, other| {
            let key = |place: &'a Place| (-place.settings.gw_priority, place.name.as_str());
            key(one).cmp(&key(other))
        })
}

/// The same of IPv6, among those that have it.
pub(crate) fn way_out6<'a>(places: impl Iterator<Item = &'a Place>) -> Option<&'a Place> {
    way_out(places.filter(|place| place.doc.as_ref().is_some_and(|doc| doc.ipv6.is_some())))
}

/// A place that a container has taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) place: Place,
    pub(crate) interface: String,
    pub(crate) endpoint: Endpoint,
}

impl Taken {
    pub(crate) fn record(&self) -> Result<JoinedRecord> {
        Ok(JoinedRecord {
            network: self.place.segment().to_owned(),
            interface: self.interface.clone(),
            place: crate::containers::surroundings::endpoint_record(&self.endpoint)?,
        })
    }
}

impl Engine {
    /// Looks up what a container is to be on: the engine's own bridge first, then its main network, then the others by
    /// their names. Each becomes a link inside, in this order.
    ///
    /// # Errors
    /// [`EngineError::NoSuchNetwork`], and docker's sentences for what can not be together.
    pub(crate) fn places_of(&self, wanted: &Wanted, main: &str) -> Result<Vec<Place>> {
        let mut places: Vec<(bool, Place)> = Vec::new();
        for (name, settings) in wanted {
            let doc = match self.find_network(name)? {
                Found::BuiltIn("bridge") => None,
                Found::BuiltIn(_) => return Err(EngineError::invalid(HOST_OR_NONE)),
                Found::Made(doc) => Some(doc),
            };
            let place = Place {
                name: doc
                    .as_ref()
                    .map_or("bridge", |doc| doc.name.as_str())
                    .to_owned(),
                doc,
                settings: settings.clone(),
            };
            if places.iter().any(|(_, other)| other.name == place.name) {
                continue;
            }
            place.address()?;
            place.ipv6_address()?;
            places.push((name == main, place));
        }
        places.sort_by_key(|(is_main, place)| (place.doc.is_some(), !is_main, place.name.clone()));
        Ok(places.into_iter().map(|(_, place)| place).collect())
    }

    /// Gives a namespace a link to a user network, or to the engine's own bridge, under the next free name.
    ///
    /// # Errors
    /// Those of the network; nothing is left then.
    pub(crate) fn take_place(
        &self,
        container: &Container,
        netns: &impl AsFd,
        place: Place,
        interface: String,
    ) -> Result<Taken> {
        let network = self.inner().network.as_ref().ok_or(EngineError::Closing)?;
        let (address, ipv6) = (place.address()?, place.ipv6_address()?);
        let ipv6 = match ipv6 {
            _ if !files::has_ipv6(&container.spec.host.sysctls) => Wish::Nothing,
            Some(address) => Wish::This(address),
            None => Wish::Any,
        };
        if let Some(doc) = &place.doc {
            self.inner().networks.join(&doc.id, container.id())?;
        }
        let plug = Plug {
            network: place.segment(),
            container: container.id(),
            interface: &interface,
            address,
            ipv6,
        };
        let plugged = network.plug(netns.as_fd(), plug);
        let plugged = plugged.and_then(|mut endpoint| {
            match adorn(
                network,
                netns.as_fd(),
                &interface,
                &place.settings,
                &mut endpoint,
            ) {
                Ok(()) => Ok(endpoint),
                Err(error) => {
                    network.release(&endpoint);
                    Err(error)
                }
            }
        });
        match plugged {
            Ok(endpoint) => Ok(Taken {
                place,
                interface,
                endpoint,
            }),
            Err(error) => {
                if let Some(doc) = &place.doc {
                    self.inner().networks.leave(&doc.id, container.id());
                }
                Err(error.into())
            }
        }
    }

    /// Gives places back that were never written down.
    pub(crate) fn leave_places(&self, container: &Container, taken: &[Taken]) {
        if taken.is_empty() {
            return;
        }
        self.forget_names(container);
        for one in taken {
            if let Some(network) = &self.inner().network {
                network.release(&one.endpoint);
            }
            self.inner()
                .networks
                .leave(one.place.segment(), container.id());
        }
    }

    /// Gives a container's addresses on user networks back, and its names; the links go with their namespace.
    pub(crate) fn leave_networks(
        &self,
        container: &Container,
        joined: &[JoinedRecord],
        asks: bool,
    ) {
        if asks {
            self.forget_names(container);
        }
        for one in joined {
            if let Some(network) = &self.inner().network {
                network.release(&endpoint(container, one));
            }
            self.inner().networks.leave(&one.network, container.id());
        }
    }
}

/// Gives a link inside what was asked for beside its address.
///
/// # Errors
/// Those of the network; the link stays as it is then.
pub(crate) fn adorn(
    network: &network::Network,
    netns: BorrowedFd<'_>,
    interface: &str,
    settings: &EndpointSettings,
    endpoint: &mut Endpoint,
) -> std::result::Result<(), network::NetworkError> {
    let mac: Option<network::MacAddr> = settings.mac_address.trim().parse().ok();
    let asked = settings.ipam_config.iter();
    let link_local: Vec<Ipv4Addr> = asked
        .flat_map(|asked| &asked.link_local_ips)
        .filter_map(|address| address.parse().ok())
        .collect();
    if mac.is_none() && link_local.is_empty() {
        return Ok(());
    }
    network.adorn(netns, interface, mac, &link_local)?;
    endpoint.mac = mac.unwrap_or(endpoint.mac);
    Ok(())
}

const HOST_OR_NONE: &str = "container cannot be connected to multiple networks with one of the networks in private (none) mode";

/// The network's own form of a stored place.
pub(crate) fn endpoint(container: &Container, joined: &JoinedRecord) -> Endpoint {
    place_endpoint(container, &joined.network, &joined.place)
}

/// The same of a place on any network.
pub(crate) fn place_endpoint(
    container: &Container,
    network: &str,
    record: &EndpointRecord,
) -> Endpoint {
    Endpoint {
        container: container.id().clone(),
        network: network.to_owned(),
        address: record.address,
        prefix: record.prefix,
        gateway: record.gateway,
        mac: network::MacAddr::of_ipv4(record.address),
        ipv6: record.ipv6.map(|place| network::Place6 {
            address: place.address,
            prefix: place.prefix,
            gateway: place.gateway,
        }),
        veth: record.link.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, settings: &EndpointSettings) -> String {
        check_settings(name, settings).unwrap_err().to_string()
    }

    #[test]
    fn what_only_networks_of_users_can_is_refused_of_others() {
        let settings = EndpointSettings {
            aliases: Some(vec!["db".into()]),
            ipam_config: Some(api_types::EndpointIpamConfig {
                ipv4_address: "10.0.0.7".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        check_settings("mine", &settings).unwrap();
        assert_eq!(
            refused("bridge", &settings),
            format!("invalid endpoint settings:\n{IP_ON_BUILT_IN}\n{ALIAS_ON_BUILT_IN}")
        );
        let mac = |text: &str| EndpointSettings {
            mac_address: text.into(),
            ..Default::default()
        };
        check_settings("bridge", &mac("02:00:00:00:00:01")).unwrap();
        assert_eq!(
            refused("mine", &mac("02:00")),
            "invalid endpoint settings:\ninvalid MAC address: 02:00"
        );
    }

    #[test]
    fn the_way_out_is_the_highest_priority_and_then_the_first_name() {
        let place = |name: &str, priority| Place {
            name: name.to_owned(),
            doc: None,
            settings: EndpointSettings {
                gw_priority: priority,
                ..Default::default()
            },
        };
        let of = |places: &[Place]| way_out(places.iter()).map(|place| place.name.clone());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[place("b", 0), place("a", 0)]).as_deref(), Some("a"));
        assert_eq!(of(&[place("b", 1), place("a", 0)]).as_deref(), Some("b"));
    }
}

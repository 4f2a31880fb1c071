//! Who is where under which names. Each question costs the same with one container and with a thousand.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::protocol::{Member, Place};

/// Networks with the names on them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    members: HashMap<String, (u64, Member)>,
    /// Network, and a name in small letters: who has it.
    names: HashMap<(String, String), BTreeSet<IpAddr>>,
    /// Network and address: whose it is, as `name.network`.
    addresses: HashMap<(String, IpAddr), String>,
}

/// What the table knows of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// These have it.
    Addresses(Vec<IpAddr>),
    /// Nobody has.
    Nobody,
}

impl Table {
    /// Writes a container down, in place of what was known of it.
    pub(crate) fn put(&mut self, generation: u64, member: Member) {
        self.remove(&member.id);
        for place in &member.places {
            for name in &place.names {
                let key = (place.network.clone(), name.to_ascii_lowercase());
                let holders = self.names.entry(key).or_default();
                holders.extend(place.addresses());
            }
            if let Some(name) = place.names.first() {
                let name = format!("{name}.{}", place.network_name);
                let keys = place
                    .addresses()
                    .map(|address| (place.network.clone(), address));
                self.addresses.extend(keys.map(|key| (key, name.clone())));
            }
        }
        self.members.insert(member.id.clone(), (generation, member));
    }

    /// Forgets a container.
    pub(crate) fn remove(&mut self, id: &str) {
        let Some((_, member)) = self.members.remove(id) else {
            return;
        };
        for place in &member.places {
            for name in &place.names {
                let key = (place.network.clone(), name.to_ascii_lowercase());
                if let Some(holders) = self.names.get_mut(&key) {
                    for address in place.addresses() {
                        holders.remove(&address);
                    }
                    if holders.is_empty() {
                        self.names.remove(&key);
                    }
                }
            }
            for address in place.addresses() {
                self.addresses.remove(&(place.network.clone(), address));
            }
        }
    }

    /// Whether it knows nobody.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Containers that were put in another generation.
    pub(crate) fn others(&self, generation: u64) -> Vec<String> {
        let others = self.members.iter().filter(|(_, (of, _))| *of != generation);
        others.map(|(id, _)| id.clone()).collect()
    }

    /// A container, as it was put.
    pub(crate) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id).map(|(_, member)| member)
    }

    /// Looks a name up for a container: on each of its networks, then as `NAME.NETWORK`, where both may have dots.
    pub(crate) fn find(&self, asker: &Member, name: &str) -> Known {
        let bare = asker.places.iter().find_map(|place| self.on(place, name));
        let found = bare.or_else(|| {
            name.match_indices('.').rev().find_map(|(at, _)| {
                let (name, network) = (&name[..at], &name[at + 1..]);
                let mut places = asker.places.iter();
                let place = places.find(|one| one.network_name.eq_ignore_ascii_case(network))?;
                self.on(place, name)
            })
        });
        found.map_or(Known::Nobody, |found| {
            Known::Addresses(found.iter().copied().collect())
        })
    }

    fn on(&self, place: &Place, name: &str) -> Option<&BTreeSet<IpAddr>> {
        let link = place
            .links
            .iter()
            .find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        let name = link.map_or(name, |(_, target)| target);
        self.names
            .get(&(place.network.clone(), name.to_ascii_lowercase()))
    }

    /// Whose an address is, on a network of the container that asks.
    pub(crate) fn name_of(&self, asker: &Member, address: IpAddr) -> Option<&str> {
        asker.places.iter().find_map(|place| {
            let found = self.addresses.get(&(place.network.clone(), address));
            found.map(String::as_str)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn ip6(last: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into())
    }

    fn member(id: &str, places: &[(&str, u8, &[&str])]) -> Member {
        let place = |(network, last, names): &(&str, u8, &[&str])| Place {
            network: format!("id of {network}"),
            network_name: (*network).to_owned(),
            address: ip(*last),
            ipv6: network.starts_with("dual").then(|| ip6(*last)),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            links: [("database".to_owned(), "db".to_owned())].into(),
        };
        Member {
            id: id.to_owned(),
            places: places.iter().map(place).collect(),
            ..Member::default()
        }
    }

    fn found(table: &Table, asker: &Member, name: &str) -> Vec<u8> {
        match table.find(asker, name) {
            Known::Addresses(all) => all
                .iter()
                .map(|one| match one {
                    IpAddr::V4(one) => one.octets()[3],
                    IpAddr::V6(one) => one.octets()[15] + 100,
                })
                .collect(),
            Known::Nobody => Vec::new(),
        }
    }

    #[test]
    fn names_are_found_on_one_s_own_networks() {
        let mut table = Table::default();
        let web = member(
            "web",
            &[
                ("front", 2, &["web", "www.example"]),
                ("back.end", 3, &["web"]),
            ],
        );
        let db = member("db", &[("back.end", 4, &["DB", "shared"])]);
        let alone = member("alone", &[("other", 5, &["alone"])]);
        for one in [&web, &db, &alone] {
            table.put(1, one.clone());
        }
        table.put(1, member("db2", &[("back.end", 6, &["db2", "shared"])]));
        assert_eq!(found(&table, &web, "db"), [4]);
        assert_eq!(found(&table, &web, "database"), [4], "a link");
        assert_eq!(found(&table, &web, "shared"), [4, 6]);
        assert_eq!(found(&table, &web, "web"), [2], "the first network");
        assert_eq!(found(&table, &web, "web.back.end"), [3]);
        assert_eq!(found(&table, &web, "www.example.front"), [2]);
        assert_eq!(found(&table, &db, "www.example"), [0; 0]);
        assert_eq!(table.find(&alone, "db"), Known::Nobody);
        assert_eq!(table.find(&web, "alone.other"), Known::Nobody);
        assert_eq!(table.name_of(&web, ip(4).into()), Some("DB.back.end"));
        assert_eq!(table.name_of(&alone, ip(4).into()), None);
    }

    #[test]
    fn names_have_addresses_of_both_families() {
        let mut table = Table::default();
        let web = member("web", &[("dual", 2, &["web", "shared"])]);
        table.put(1, web.clone());
        table.put(1, member("db", &[("dual", 3, &["db", "shared"])]));
        assert_eq!(found(&table, &web, "shared"), [2, 3, 102, 103]);
        assert_eq!(table.name_of(&web, ip6(3).into()), Some("db.dual"));
        table.remove("db");
        assert_eq!(found(&table, &web, "shared"), [2, 102]);
        assert_eq!(table.name_of(&web, ip6(3).into()), None);
        table.remove("web");
        assert!(table.names.is_empty() && table.addresses.is_empty());
    }

    #[test]
    fn who_goes_is_found_no_more() {
        let mut table = Table::default();
        let web = member("web", &[("front", 2, &["web", "shared"])]);
        table.put(1, web.clone());
        table.put(2, member("db", &[("front", 3, &["db", "shared"])]));
        assert_eq!(table.others(2), ["web"]);
        table.put(2, web.clone());
        assert!(table.others(2).is_empty());
        table.remove("db");
        assert_eq!(found(&table, &web, "shared"), [2]);
        assert_eq!(table.name_of(&web, ip(3).into()), None);
        table.put(2, member("web", &[("front", 2, &["renamed"])]));
        assert_eq!(table.find(&web, "web"), Known::Nobody);
        table.remove("web");
        table.remove("web");
        assert!(table.names.is_empty() && table.addresses.is_empty() && table.members.is_empty());
    }
}

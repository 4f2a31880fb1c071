//! User networks with IPv6 beside IPv4.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use network::{
    Config6, Endpoint, Live, Network, NetworkError, Plug, SegmentConfig, Subnet, Subnet6,
    loopback_only,
};
use types::ContainerId;

use super::host::{Host, any, ask, at, command, serve};

const HOST6: &str = "2001:db8:77::1";
const OUTSIDE6: &str = "2001:db8:77::9";

fn segment(id: &str, third: u8) -> SegmentConfig {
    let subnet = Subnet::containing([10, 91, third, 0].into(), 24).unwrap();
    let subnet6: Subnet6 = format!("fd91:0:0:{third}::/64").parse().unwrap();
    SegmentConfig {
        id: id.to_owned(),
        bridge: format!("br-{id}"),
        subnet,
        gateway: subnet.first_host(),
        range: subnet,
        reserved: Vec::new(),
        internal: false,
        among: true,
        masqueraded: true,
        mtu: None,
        ipv6: Some(Config6 {
            subnet: subnet6,
            gateway: Ipv6Addr::from_bits(subnet6.base().to_bits() + 1),
            range: subnet6,
            reserved: Vec::new(),
        }),
        foreign: false,
    }
}

/// A host with a machine outside that it reaches by both families, and one that has a route to the containers.
fn host() -> Host {
    let host = Host::new();
    for (netns, link, address) in [
        (&host.netns, "up0", HOST6),
        (&host.outside, "eth0", OUTSIDE6),
    ] {
        // Namespaces of containers have IPv6 at no link that nobody gave it; and nobody waits here for its detection of
        // duplicates.
        for setting in ["accept_dad", "disable_ipv6"] {
            command(
                netns,
                &format!("sysctl -q -w net.ipv6.conf.{link}.{setting}=0"),
            );
        }
        command(netns, &format!("ip addr add {address}/64 dev {link} nodad"));
    }
    command(
        &host.outside,
        &format!("ip route add fd91::/16 via {HOST6}"),
    );
    host
}

fn open(host: &Host, configs: &[SegmentConfig]) -> Network {
    let network = host.open();
    host.run(|| {
        network.forward_ipv6().unwrap();
        for config in configs {
            network.add_segment(config).unwrap();
        }
    });
    network
}

struct Member {
    netns: OwnedFd,
    endpoint: Endpoint,
}

impl Member {
    fn ipv6(&self) -> Ipv6Addr {
        self.endpoint.ipv6.unwrap().address
    }
}

fn plug(
    network: &Network,
    netns: &OwnedFd,
    id: &str,
    ipv6: Option<Ipv6Addr>,
) -> Result<Endpoint, NetworkError> {
    let plug = Plug {
        network: id,
        container: &ContainerId::random().unwrap(),
        interface: "eth0",
        address: None,
        ipv6: ipv6.map_or(network::Wish::Any, network::Wish::This),
    };
    network.plug(netns.as_fd(), plug)
}

fn member(network: &Network, id: &str) -> Member {
    let netns = loopback_only().unwrap();
    let endpoint = plug(network, &netns, id, None).unwrap();
    let (way, way6) = (endpoint.gateway, endpoint.ipv6.unwrap().gateway);
    network
        .set_gateway(netns.as_fd(), Some(("eth0", way)))
        .unwrap();
    network
        .set_ipv6_gateway(netns.as_fd(), ("eth0", way6))
        .unwrap();
    Member { netns, endpoint }
}

fn everywhere(port: u16) -> SocketAddr {
    at(Ipv6Addr::UNSPECIFIED, port)
}

fn outside(port: u16) -> SocketAddr {
    at(OUTSIDE6.parse::<IpAddr>().unwrap(), port)
}

#[test]
fn both_families_reach_their_own_and_the_world_and_not_each_other() {
    let host = host();
    let network = open(&host, &[segment("a", 1), segment("b", 2)]);
    let (one, two) = (member(&network, "a"), member(&network, "a"));
    let other = member(&network, "b");
    assert_eq!(one.ipv6().to_string(), "fd91:0:0:1::2");
    serve(&one.netns, everywhere(80), "one");
    let seen = ask(&two.netns, at(one.ipv6(), 80)).unwrap();
    assert_eq!(seen, format!("one {}", two.ipv6()));
    let seen = ask(&two.netns, at(one.endpoint.address, 80)).unwrap();
    assert!(seen.ends_with(&two.endpoint.address.to_string()), "{seen}");
    assert!(ask(&other.netns, at(one.ipv6(), 80)).is_err());
    assert!(ask(&host.outside, at(one.ipv6(), 80)).is_err());
    host.run(|| std::net::TcpStream::connect(at(one.ipv6(), 80)))
        .unwrap();
    serve(&host.outside, everywhere(82), "world");
    let seen = ask(&one.netns, outside(82)).unwrap();
    assert_eq!(seen, format!("world {HOST6}"), "masqueraded");
}

#[test]
fn an_internal_network_and_one_without_masquerade_have_it_for_both_families() {
    let host = host();
    let internal = SegmentConfig {
        internal: true,
        ..segment("a", 1)
    };
    let open_one = SegmentConfig {
        masqueraded: false,
        ..segment("b", 2)
    };
    let network = open(&host, &[internal, open_one]);
    let (one, two) = (member(&network, "a"), member(&network, "b"));
    serve(&host.outside, everywhere(82), "world");
    assert!(ask(&one.netns, outside(82)).is_err());
    let seen = ask(&two.netns, outside(82)).unwrap();
    assert_eq!(seen, format!("world {}", two.ipv6()));
}

#[test]
fn addresses_are_claimed_given_back_and_taken_over() {
    let host = host();
    let config = segment("a", 1);
    let network = open(&host, std::slice::from_ref(&config));
    let netns = loopback_only().unwrap();
    let wanted: Ipv6Addr = "fd91:0:0:1::77".parse().unwrap();
    let first = plug(&network, &netns, "a", Some(wanted)).unwrap();
    assert_eq!(first.ipv6.unwrap().address, wanted);
    let away = loopback_only().unwrap();
    for (address, outside) in [("fd91:0:0:1::77", false), ("fd91:0:0:2::77", true)] {
        let refused = plug(&network, &away, "a", Some(address.parse().unwrap())).unwrap_err();
        assert_eq!(
            matches!(refused, NetworkError::AddressOutside { .. }),
            outside,
            "{refused}"
        );
    }
    drop(network);
    // The next daemon.
    let network = open(&host, &[config]);
    let live = Live {
        endpoint: first.clone(),
        bindings: Vec::new(),
    };
    let stranded = host.run(|| network.recover(&[live])).unwrap();
    assert!(stranded.is_empty(), "{stranded:?}");
    assert!(plug(&network, &away, "a", Some(wanted)).is_err());
    network.unplug(&first).unwrap();
    let second = plug(&network, &away, "a", Some(wanted)).unwrap();
    assert_eq!(second.ipv6.unwrap().address, wanted);
    assert!(
        host.run(|| network.overlaps_ipv6("fd91::/16".parse().unwrap()))
            .unwrap()
    );
    assert!(
        !host
            .run(|| network.overlaps_ipv6("fd92::/16".parse().unwrap()))
            .unwrap()
    );
}

/// A host that takes its address from a router goes on to do so when it begins to forward.
#[test]
fn a_host_that_forwards_listens_to_its_router_all_the_same() {
    let host = host();
    let conf = |name: &str| format!("/proc/sys/net/ipv6/conf/{name}");
    let network = host.open();
    host.run(|| {
        fs::write(conf("up0/accept_ra"), "1").unwrap();
        assert!(network.forward_ipv6().unwrap());
        assert!(!network.forward_ipv6().unwrap());
        let read = |name| fs::read_to_string(conf(name)).unwrap().trim().to_owned();
        assert_eq!(read("up0/accept_ra"), "2");
        assert_eq!(read("all/forwarding"), "1");
    });
    // IPv4 is as it was.
    let one = host.container(&network);
    serve(&host.outside, any(82), "world");
    assert!(ask(&one.netns, at(super::host::OUTSIDE, 82)).is_ok());
}

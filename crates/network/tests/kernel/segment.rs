//! User networks: bridges beside the engine's own, links that come and go in a namespace that lives.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use crate::host::{HOST, Host, OUTSIDE, any, ask, at, command, serve};
use network::{
    Binding, Endpoint, HOME, HostPort, Live, Network, NetworkError, Plug, PortMapping, Protocol,
    SegmentConfig, Subnet, loopback_only,
};
use types::ContainerId;

fn subnet(text: &str) -> Subnet {
    let (base, prefix) = text.split_once('/').unwrap();
    Subnet::containing(base.parse().unwrap(), prefix.parse().unwrap()).unwrap()
}

fn segment(id: &str, third: u8) -> SegmentConfig {
    let subnet = subnet(&format!("10.90.{third}.0/24"));
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
        ipv6: None,
        foreign: false,
    }
}

struct Member {
    netns: OwnedFd,
    endpoint: Endpoint,
}

/// A container on one network, with its default route there.
fn member(network: &Network, id: &str) -> Member {
    let netns = loopback_only().unwrap();
    let container = ContainerId::random().unwrap();
    let endpoint = plug(network, &netns, &container, (id, "eth0"), None).unwrap();
    network
        .set_gateway(netns.as_fd(), Some(("eth0", endpoint.gateway)))
        .unwrap();
    Member { netns, endpoint }
}

fn plug(
    network: &Network,
    netns: &OwnedFd,
    container: &ContainerId,
    (id, interface): (&str, &str),
    address: Option<Ipv4Addr>,
) -> Result<Endpoint, NetworkError> {
    network.plug(
        netns.as_fd(),
        Plug {
            network: id,
            container,
            interface,
            address,
            ipv6: network::Wish::Any,
        },
    )
}

fn reaches(from: &OwnedFd, address: Ipv4Addr, port: u16) -> bool {
    ask(from, at(address, port)).is_ok()
}

fn with(host: &Host, configs: &[SegmentConfig]) -> Network {
    let network = host.open();
    host.run(|| {
        for config in configs {
            network.add_segment(config).unwrap();
        }
    });
    network
}

#[test]
fn networks_reach_their_own_and_the_world_and_not_each_other() {
    let host = Host::new();
    let network = with(&host, &[segment("a", 1), segment("b", 2)]);
    let one = member(&network, "a");
    let two = member(&network, "a");
    let other = member(&network, "b");
    let home = host.container(&network);
    serve(&one.netns, any(80), "one");
    let seen = ask(&two.netns, at(one.endpoint.address, 80)).unwrap();
    assert_eq!(seen, format!("one {}", two.endpoint.address));
    assert!(!reaches(&other.netns, one.endpoint.address, 80));
    assert!(!reaches(&home.netns, one.endpoint.address, 80));
    assert!(!reaches(&host.outside, one.endpoint.address, 80));
    serve(&host.outside, any(82), "world");
    for netns in [&one.netns, &other.netns, &home.netns] {
        let seen = ask(netns, at(OUTSIDE, 82)).unwrap();
        assert_eq!(seen, format!("world {HOST}"), "masqueraded");
    }
}

#[test]
fn an_internal_network_ends_at_the_host() {
    let host = Host::new();
    let internal = SegmentConfig {
        internal: true,
        ..segment("a", 1)
    };
    let network = with(&host, &[internal]);
    let one = member(&network, "a");
    let two = member(&network, "a");
    serve(&one.netns, any(80), "one");
    assert!(reaches(&two.netns, one.endpoint.address, 80));
    serve(&host.outside, any(82), "world");
    assert!(!reaches(&one.netns, OUTSIDE, 82));
    assert!(!reaches(&host.outside, one.endpoint.address, 80));
}

#[test]
fn without_communication_among_them_containers_reach_the_world_alone() {
    let host = Host::new();
    let apart = SegmentConfig {
        among: false,
        ..segment("a", 1)
    };
    let network = with(&host, &[apart]);
    let one = member(&network, "a");
    let two = member(&network, "a");
    serve(&one.netns, any(80), "one");
    assert!(!reaches(&two.netns, one.endpoint.address, 80));
    // Nor by way of the host.
    command(
        &two.netns,
        &format!(
            "ip route add {}/32 via {}",
            one.endpoint.address, one.endpoint.gateway
        ),
    );
    assert!(!reaches(&two.netns, one.endpoint.address, 80));
    serve(&host.outside, any(82), "world");
    assert!(reaches(&two.netns, OUTSIDE, 82));
}

#[test]
fn links_come_and_go_while_a_container_runs() {
    let host = Host::new();
    let network = with(&host, &[segment("a", 1), segment("b", 2)]);
    let one = member(&network, "a");
    let two = member(&network, "b");
    serve(&two.netns, any(80), "two");
    assert!(!reaches(&one.netns, two.endpoint.address, 80));
    let id = &one.endpoint.container;
    let wanted = Ipv4Addr::new(10, 90, 2, 77);
    let second = plug(&network, &one.netns, id, ("b", "eth1"), Some(wanted)).unwrap();
    assert_eq!(second.address, wanted);
    let seen = ask(&one.netns, at(two.endpoint.address, 80)).unwrap();
    assert_eq!(seen, format!("two {wanted}"));
    let taken = plug(&network, &two.netns, id, ("b", "eth7"), Some(wanted)).unwrap_err();
    assert!(matches!(taken, NetworkError::AddressTaken { .. }));

    network
        .set_gateway(one.netns.as_fd(), Some(("eth1", second.gateway)))
        .unwrap();
    let routes = command(&one.netns, "ip route");
    assert!(
        routes.contains("default via 10.90.2.1 dev eth1"),
        "{routes}"
    );
    assert!(!routes.contains("via 10.90.1.1"), "{routes}");

    host.run(|| network.unplug(&second)).unwrap();
    host.run(|| network.unplug(&second)).unwrap();
    assert!(!command(&one.netns, "ip link").contains("eth1"));
    assert!(!reaches(&one.netns, two.endpoint.address, 80));
    network.set_gateway(one.netns.as_fd(), None).unwrap();
    network
        .set_gateway(one.netns.as_fd(), Some(("eth0", one.endpoint.gateway)))
        .unwrap();
    network.set_gateway(one.netns.as_fd(), None).unwrap();
    assert!(!command(&one.netns, "ip route").contains("default"));
}

#[test]
fn published_ports_follow_a_container_to_another_network() {
    let host = Host::new();
    let network = with(&host, &[segment("a", 1), segment("b", 2)]);
    let one = member(&network, "a");
    serve(&one.netns, any(80), "one");
    let mapping = PortMapping {
        protocol: Protocol::Tcp,
        host_ips: vec![Ipv4Addr::UNSPECIFIED.into()],
        host_port: HostPort::Exactly(8080),
        container_port: 80,
    };
    let _held = host
        .run(|| network.publish(&one.endpoint, &[mapping]))
        .unwrap();
    let published = || ask(&host.outside, at(HOST, 8080)).ok();
    assert_eq!(published().unwrap(), format!("one {OUTSIDE}"));
    // From another network of the engine, too.
    let other = member(&network, "b");
    assert!(reaches(&other.netns, HOST, 8080));

    let id = &one.endpoint.container;
    let second = plug(&network, &one.netns, id, ("b", "eth1"), None).unwrap();
    host.run(|| network.move_ports(&second)).unwrap();
    host.run(|| network.unplug(&one.endpoint)).unwrap();
    network
        .set_gateway(one.netns.as_fd(), Some(("eth1", second.gateway)))
        .unwrap();
    assert_eq!(published().unwrap(), format!("one {OUTSIDE}"));
    host.run(|| network.detach(&second)).unwrap();
    assert!(published().is_none());
}

#[test]
fn the_next_daemon_finds_networks_and_removes_what_is_nobody_s() {
    let host = Host::new();
    let (a, b) = (segment("a", 1), segment("b", 2));
    let network = with(&host, &[a.clone(), b.clone()]);
    let one = member(&network, "a");
    let lost = member(&network, "a");
    serve(&one.netns, any(80), "one");
    drop(network);

    let network = host.open();
    host.run(|| network.add_segment(&a)).unwrap();
    let live = Live {
        endpoint: one.endpoint.clone(),
        bindings: Vec::<Binding>::new(),
    };
    let stranded = host.run(|| network.recover(&[live])).unwrap();
    assert!(stranded.is_empty(), "{stranded:?}");
    let links = command(&host.netns, "ip link");
    assert!(links.contains("br-a") && !links.contains("br-b"), "{links}");
    assert!(links.contains(&one.endpoint.veth) && !links.contains(&lost.endpoint.veth));
    let next = member(&network, "a");
    assert_ne!(next.endpoint.address, one.endpoint.address);
    assert!(reaches(&next.netns, one.endpoint.address, 80));

    host.run(|| network.remove_segment("a", "br-a")).unwrap();
    host.run(|| network.tear_down()).unwrap();
    let links = command(&host.netns, "ip link");
    assert!(
        !links.contains("br-a") && !links.contains("docker0"),
        "{links}"
    );
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let host = Host::new();
    let network = with(&host, &[segment("a", 1)]);
    assert!(network.overlaps(subnet("10.90.1.128/25")));
    assert!(!network.overlaps(subnet("10.91.0.0/16")));
    assert_ne!(
        host.run(|| network.free_subnet()).unwrap(),
        network.bridge_info().subnet
    );
    command(&host.netns, "ip link add br-x type bridge");
    let theirs = SegmentConfig {
        bridge: "br-x".to_owned(),
        ..segment("x", 3)
    };
    let refused = host.run(|| network.add_segment(&theirs)).unwrap_err();
    assert!(matches!(refused, NetworkError::NotOurBridge { .. }));
    host.run(|| network.remove_segment("x", "br-x")).unwrap();
    assert!(
        command(&host.netns, "ip link").contains("br-x"),
        "it is somebody else's"
    );
    let netns = loopback_only().unwrap();
    let id = ContainerId::random().unwrap();
    let nowhere = plug(&network, &netns, &id, ("nowhere", "eth0"), None).unwrap_err();
    assert!(matches!(nowhere, NetworkError::NoSuchSegment { .. }));
    // The engine's own bridge is one of them.
    let home = plug(&network, &netns, &id, (HOME, "eth3"), None).unwrap();
    assert_eq!(home.gateway, network.bridge_info().gateway);
}

//! A daemon that dies, and the next one.

use std::net::{IpAddr, Ipv4Addr};

use network::{
    Attached, HostPort, Live, NetConfig, Network, NetworkError, PortMapping, Protocol, Published,
};

use crate::host::{HOST, Host, any, ask, at, command, config, eventually, serve};

fn publish(host: &Host, network: &Network, made: &Attached, port: u16) -> Vec<Published> {
    let mapping = PortMapping {
        protocol: Protocol::Tcp,
        host_ips: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        host_port: HostPort::Exactly(port),
        container_port: 80,
    };
    host.run(|| network.publish(&made.endpoint, &[mapping]))
        .unwrap()
}

fn live(made: &Attached, held: &[Published]) -> Live {
    Live {
        endpoint: made.endpoint.clone(),
        bindings: held.iter().map(|published| published.binding).collect(),
    }
}

#[test]
fn the_living_keep_everything_and_the_dead_nothing() {
    let host = Host::new();
    let before = host.open();
    let (kept, lost) = (host.container(&before), host.container(&before));
    serve(&kept.netns, any(80), "kept");
    serve(&lost.netns, any(80), "lost");
    let kept_port = publish(&host, &before, &kept, 8081);
    let lost_port = publish(&host, &before, &lost, 8082);
    drop(before);
    ask(&host.outside, at(HOST, 8081)).unwrap();

    let after = host.open();
    ask(&host.outside, at(HOST, 8081)).unwrap();
    assert!(
        after
            .recover(&[live(&kept, &kept_port)])
            .unwrap()
            .is_empty()
    );
    drop(lost_port);
    ask(&host.outside, at(HOST, 8081)).unwrap();
    assert!(ask(&host.outside, at(HOST, 8082)).is_err());
    let links = command(&host.netns, "ip -o link");
    assert!(links.contains(&kept.endpoint.veth), "{links}");
    assert!(!links.contains(&lost.endpoint.veth), "{links}");

    // The living one's address and port are taken, the dead one's are free.
    let next = host.container(&after);
    assert_eq!(next.endpoint.address, lost.endpoint.address);
    let third = host.container(&after);
    assert_ne!(third.endpoint.address, kept.endpoint.address);
    let mapping = PortMapping {
        protocol: Protocol::Tcp,
        host_ips: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        host_port: HostPort::Exactly(8081),
        container_port: 80,
    };
    let refused = host
        .run(|| after.publish(&next.endpoint, &[mapping]))
        .unwrap_err();
    assert!(refused.to_string().contains("port is already allocated"));
    after.detach(&kept.endpoint).unwrap();
    assert!(ask(&host.outside, at(HOST, 8081)).is_err());
}

/// A bridge that somebody removed while no daemon lived.
#[test]
fn a_bridge_that_is_made_anew_has_the_living_again() {
    let host = Host::new();
    let before = host.open();
    let (one, two) = (host.container(&before), host.container(&before));
    serve(&one.netns, any(80), "one");
    serve(&two.netns, any(80), "two");
    let port = publish(&host, &before, &one, 8081);
    drop(before);
    command(&host.netns, "ip link delete docker0");
    assert!(ask(&host.outside, at(HOST, 8081)).is_err());

    let after = host.open();
    let stranded = after
        .recover(&[live(&one, &port), live(&two, &[])])
        .unwrap();
    assert!(stranded.is_empty(), "{stranded:?}");
    eventually(|| ask(&host.outside, at(HOST, 8081)));
    // Each other, and itself by its port.
    ask(&one.netns, at(two.endpoint.address, 80)).unwrap();
    ask(&one.netns, at(HOST, 8081)).unwrap();
}

/// The daemon is started again with another subnet.
#[test]
fn containers_of_another_subnet_are_told_and_do_no_harm() {
    let host = Host::new();
    let before = host.open();
    let left = host.container(&before);
    let port = publish(&host, &before, &left, 8081);
    drop(before);

    let after = host.open_with(NetConfig {
        bip: Some("10.5.0.1/24".parse().unwrap()),
        ..config()
    });
    let stranded = after.recover(&[live(&left, &port)]).unwrap();
    assert_eq!(stranded.len(), 1);
    assert_eq!(stranded[0].container, left.endpoint.container);
    assert!(matches!(
        stranded[0].why,
        NetworkError::AddressOutside { .. }
    ));
    let next = host.container(&after);
    serve(&next.netns, any(80), "next");
    drop(port);
    let _port = publish(&host, &after, &next, 8081);
    ask(&host.outside, at(HOST, 8081)).unwrap();
    after.unpublish(&left.endpoint.container).unwrap();
    after.detach(&left.endpoint).unwrap();
    ask(&host.outside, at(HOST, 8081)).unwrap();
}

#[test]
fn a_bridge_with_ports_of_somebody_else_stays() {
    let host = Host::new();
    let network = host.open();
    command(&host.netns, "ip link add foreign type veth peer name peer");
    command(&host.netns, "ip link set foreign master docker0");
    network.tear_down().unwrap();
    let links = command(&host.netns, "ip -o link");
    assert!(links.contains("docker0"), "{links}");
    command(&host.netns, "ip link delete foreign");
    network.tear_down().unwrap();
    let links = command(&host.netns, "ip -o link");
    assert!(!links.contains("docker0"), "{links}");
}

#[test]
fn another_instance_s_things_are_left_alone() {
    let host = Host::new();
    let ours = host.open();
    let theirs = host.open_with(network::NetConfig {
        instance: "ffff0000".parse().unwrap(),
        ..crate::host::config()
    });
    let made = host.container(&theirs);
    serve(&made.netns, any(80), "theirs");
    let _held = publish(&host, &theirs, &made, 8081);
    ours.recover(&[]).unwrap();
    ask(&host.outside, at(HOST, 8081)).unwrap();
    ours.tear_down().unwrap();
    ask(&host.outside, at(HOST, 8081)).unwrap();
}

//! A daemon that dies, and the next one.

use std::net::{IpAddr, Ipv4Addr};

use network::{Attached, HostPort, Live, Network, PortMapping, Protocol, Published};

use crate::host::{HOST, Host, any, ask, at, command, serve};

fn publish(host: &Host, network: &Network, made: &Attached, port: u16) -> Vec<Published> {
    let mapping = PortMapping {
        protocol: Protocol::Tcp,
        host_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
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
    after.recover(&[live(&kept, &kept_port)]).unwrap();
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
        host_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
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

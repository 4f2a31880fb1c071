//! Published ports, seen from everywhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use network::{Attached, HostPort, Network, NetworkError, PortMapping, Protocol, Published};
use sys::namespace::with_netns;

use crate::host::{
    HOST, Host, OUTSIDE, any, ask, ask_udp, at, command, config, eventually, send_loopback_to,
    serve, serve_udp, udp,
};

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn tcp(host_port: HostPort) -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp,
        host_ips: vec![ANY],
        host_port,
        container_port: 80,
    }
}

fn publish(
    host: &Host,
    network: &Network,
    container: &Attached,
    mapping: PortMapping,
) -> Result<Vec<Published>, NetworkError> {
    host.run(|| network.publish(&container.endpoint, &[mapping]))
}

fn listen(netns: &OwnedFd, address: SocketAddr) -> std::io::Result<TcpListener> {
    with_netns(netns.as_fd(), || TcpListener::bind(address))?
}

#[test]
fn a_port_is_reached_from_everywhere() {
    let host = Host::new();
    let network = host.open();
    let gateway = network.bridge_info().gateway;
    let web = host.container(&network);
    let peer = host.container(&network);
    serve(&web.netns, any(80), "web");
    let _held = publish(&host, &network, &web, tcp(HostPort::Exactly(8080))).unwrap();

    let says = |netns: &OwnedFd, to: IpAddr| ask(netns, at(to, 8080)).unwrap();
    let host_ip = IpAddr::V4(HOST);
    // From outside with its own address, from the host by each of its addresses.
    assert_eq!(says(&host.outside, host_ip), format!("web {OUTSIDE}"));
    assert_eq!(says(&host.netns, host_ip), format!("web {HOST}"));
    assert_eq!(says(&host.netns, LOOPBACK), format!("web {gateway}"));
    assert_eq!(says(&host.netns, gateway.into()), format!("web {gateway}"));
    // From another container and from itself.
    for to in [host_ip, gateway.into()] {
        assert_eq!(says(&peer.netns, to), format!("web {gateway}"));
        assert_eq!(says(&web.netns, to), format!("web {gateway}"));
    }
    // What does not translate must not be translated: the same port elsewhere.
    serve(&host.outside, any(8080), "elsewhere");
    assert_eq!(
        says(&peer.netns, OUTSIDE.into()),
        format!("elsewhere {HOST}")
    );
    assert_eq!(
        says(&host.netns, OUTSIDE.into()),
        format!("elsewhere {HOST}")
    );
}

#[test]
fn the_same_without_the_firewall_on_bridged_frames() {
    let host = Host::new();
    let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if host.run(|| std::fs::write(setting, "0")).is_err() {
        return; // a kernel without it has nothing to switch off
    }
    let network = host.open();
    let gateway = network.bridge_info().gateway;
    let web = host.container(&network);
    let peer = host.container(&network);
    serve(&web.netns, any(80), "web");
    let _held = publish(&host, &network, &web, tcp(HostPort::Exactly(8080))).unwrap();
    for netns in [&peer.netns, &web.netns] {
        let seen = ask(netns, at(HOST, 8080)).unwrap();
        assert_eq!(seen, format!("web {gateway}"));
    }
}

#[test]
fn a_port_on_loopback_is_the_host_s_alone() {
    let host = Host::new();
    let network = host.open();
    let web = host.container(&network);
    serve(&web.netns, any(80), "web");
    let mapping = PortMapping {
        host_ips: vec![LOOPBACK],
        ..tcp(HostPort::Exactly(8080))
    };
    let _held = publish(&host, &network, &web, mapping.clone()).unwrap();
    ask(&host.netns, at(LOOPBACK, 8080)).unwrap();
    assert!(ask(&host.netns, at(HOST, 8080)).is_err());
    assert!(ask(&host.outside, at(HOST, 8080)).is_err());
    // A neighbour that sends to 127.0.0.1 over the wire, and a container that does.
    let evil = host.container(&network);
    send_loopback_to(&host.outside, HOST);
    send_loopback_to(&evil.netns, network.bridge_info().gateway);
    for netns in [&host.outside, &evil.netns] {
        assert!(ask(netns, at(LOOPBACK, 8080)).is_err());
    }
}

#[test]
fn a_container_does_not_reach_the_host_s_loopback() {
    let host = Host::new();
    let network = host.open();
    let gateway = network.bridge_info().gateway;
    serve(&host.netns, at(LOOPBACK, 5432), "secret");
    let evil = host.container(&network);
    send_loopback_to(&evil.netns, gateway);
    let wall = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/docker0/route_localnet");
    assert_eq!(
        host.run(wall).unwrap().trim(),
        "1",
        "else there is nothing to guard"
    );
    assert!(ask(&evil.netns, at(LOOPBACK, 5432)).is_err());
}

#[test]
fn ports_are_refused_to_everybody_else_and_free_at_once() {
    let host = Host::new();
    let network = host.open();
    let (one, two) = (host.container(&network), host.container(&network));
    let mapping = tcp(HostPort::Exactly(8080));
    let held = publish(&host, &network, &one, mapping.clone()).unwrap();

    let allocated = publish(&host, &network, &two, mapping.clone()).unwrap_err();
    assert_eq!(
        allocated.to_string(),
        "Bind for 0.0.0.0:8080 failed: port is already allocated"
    );
    // Another program; the standard library sets SO_REUSEADDR as servers do.
    let taken = listen(&host.netns, any(8080)).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    // Another engine.
    let other = host.open_with(network::NetConfig {
        instance: "ffff0000".parse().unwrap(),
        ..config()
    });
    let stranger = host.container(&other);
    let refused = publish(&host, &other, &stranger, mapping.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "failed to bind host port 0.0.0.0:8080/tcp: address already in use"
    );

    network.detach(&one.endpoint).unwrap();
    drop(held);
    serve(&two.netns, any(80), "two");
    let _held = publish(&host, &network, &two, mapping.clone()).unwrap();
    assert!(
        ask(&host.outside, at(HOST, 8080))
            .unwrap()
            .starts_with("two")
    );
}

#[test]
fn a_listener_of_the_host_keeps_its_port() {
    let host = Host::new();
    let network = host.open();
    let one = host.container(&network);
    let listener = listen(&host.netns, at(LOOPBACK, 8080)).unwrap();
    let refused = publish(&host, &network, &one, tcp(HostPort::Exactly(8080))).unwrap_err();
    assert!(matches!(
        refused,
        NetworkError::PortRefused { port: 8080, .. }
    ));
    // All or none: the first of the two is free again.
    let both = [tcp(HostPort::Exactly(8079)), tcp(HostPort::Exactly(8080))];
    host.run(|| network.publish(&one.endpoint, &both))
        .unwrap_err();
    assert!(!command(&host.netns, "nft list ruleset").contains("8079"));
    drop(listener);
    let held = eventually(|| host.run(|| network.publish(&one.endpoint, &both)));
    assert_eq!(held.len(), 2);
}

#[test]
fn old_connections_of_a_server_do_not_keep_its_port() {
    let host = Host::new();
    let network = host.open();
    let one = host.container(&network);
    let listener = listen(&host.netns, any(8080)).unwrap();
    let client = host.run(|| TcpStream::connect(at(LOOPBACK, 8080))).unwrap();
    let (server, _) = listener.accept().unwrap();
    drop((server, client, listener)); // who closes first is left in TIME_WAIT: the server
    assert!(command(&host.netns, "ss -tan state time-wait").contains(":8080"));
    let mapping = tcp(HostPort::Exactly(8080));
    let _held = eventually(|| publish(&host, &network, &one, mapping.clone()));
    let taken = listen(&host.netns, any(8080)).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    serve(&one.netns, any(80), "one");
    ask(&host.netns, at(LOOPBACK, 8080)).unwrap();
}

#[test]
fn a_reservation_on_its_way_out_is_waited_for() {
    let host = Host::new();
    let network = host.open();
    let (one, two) = (host.container(&network), host.container(&network));
    let mapping = tcp(HostPort::Exactly(8080));
    let held = publish(&host, &network, &one, mapping.clone()).unwrap();
    network.detach(&one.endpoint).unwrap();
    let late = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(held);
    });
    publish(&host, &network, &two, mapping.clone()).unwrap();
    late.join().unwrap();
}

#[test]
fn ports_of_ranges_and_ephemeral_ones() {
    let host = Host::new();
    let network = host.open();
    let one = host.container(&network);
    host.run(|| std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "50000 50002"))
        .unwrap();
    let _foreign = listen(&host.netns, any(50001)).unwrap();
    let port = |host_port| {
        let held = publish(&host, &network, &one, tcp(host_port))?;
        Ok::<_, NetworkError>((held[0].binding.host_port, held))
    };
    let (first, _a) = port(HostPort::Any).unwrap();
    let (second, _b) = port(HostPort::Any).unwrap();
    assert_eq!([first, second], [50000, 50002]);
    let none = port(HostPort::Any).unwrap_err();
    assert!(matches!(
        none,
        NetworkError::NoFreePort {
            first: 50000,
            last: 50002,
            ..
        }
    ));

    let (_, _c) = port(HostPort::Exactly(9000)).unwrap();
    assert_eq!(port(HostPort::FirstOf(9000, 9001)).unwrap().0, 9001);
}

#[test]
fn a_port_is_the_same_on_all_its_addresses() {
    let host = Host::new();
    let network = host.open();
    let (one, two) = (host.container(&network), host.container(&network));
    let any6: IpAddr = "::".parse().unwrap();
    let on = |host_ips: &[IpAddr], host_port| PortMapping {
        host_ips: host_ips.to_vec(),
        ..tcp(host_port)
    };
    assert!(host.run(|| network.has_ipv6()));
    let both = on(&[ANY, any6], HostPort::Exactly(8080));
    let held = publish(&host, &network, &one, both.clone()).unwrap();
    let bindings: Vec<_> = held.iter().map(|one| one.binding.host_ip).collect();
    assert_eq!(bindings, [ANY, any6]);
    // What is not translated listens.
    let loopback6: IpAddr = "::1".parse().unwrap();
    with_netns(host.netns.as_fd(), || {
        TcpStream::connect(at(loopback6, 8080))
    })
    .unwrap()
    .unwrap();
    let refused = publish(&host, &network, &two, on(&[any6], HostPort::Exactly(8080)));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "Bind for :::8080 failed: port is already allocated"
    );
    network.detach(&one.endpoint).unwrap();
    drop(held);
    publish(&host, &network, &two, both).unwrap();
    network.detach(&two.endpoint).unwrap();

    // Somebody has it on one of them.
    let _foreign = listen(&host.netns, at(loopback6, 9000)).unwrap();
    let both = on(&[ANY, any6], HostPort::Exactly(9000));
    let refused = publish(&host, &network, &one, both).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "failed to bind host port [::]:9000/tcp: address already in use"
    );
    let both = on(&[ANY, any6], HostPort::FirstOf(9000, 9001));
    let held = publish(&host, &network, &one, both).unwrap();
    let ports: Vec<_> = held.iter().map(|one| one.binding.host_port).collect();
    assert_eq!(ports, [9001, 9001]);
}

fn udp_port(host_port: u16) -> PortMapping {
    PortMapping {
        protocol: Protocol::Udp,
        host_ips: vec![ANY],
        host_port: HostPort::Exactly(host_port),
        container_port: 53,
    }
}

#[test]
fn udp_reaches_whoever_has_the_port_now() {
    let host = Host::new();
    let network = host.open();
    let (one, two) = (host.container(&network), host.container(&network));
    serve_udp(&one.netns, any(53), "one");
    serve_udp(&two.netns, any(53), "two");
    // Two clients that keep their sockets, so their flows are tracked from before the port is published.
    let outside = udp(&host.outside, any(0));
    let local = udp(&host.netns, any(0));
    let by_host = at(HOST, 5353);
    let by_loopback = at(LOOPBACK, 5353);
    let nobody = |answer: std::io::Result<String>| assert!(answer.is_err());
    nobody(ask_udp(&outside, by_host));
    nobody(ask_udp(&local, by_loopback));
    for (container, word) in [(&one, "one"), (&two, "two")] {
        let held = publish(&host, &network, container, udp_port(5353)).unwrap();
        assert_eq!(ask_udp(&outside, by_host).unwrap(), word);
        assert_eq!(ask_udp(&local, by_loopback).unwrap(), word);
        network.detach(&container.endpoint).unwrap();
        drop(held);
        nobody(ask_udp(&outside, by_host));
    }
}

/// One port, whose flows the kernel picks, and so many that they are listed instead.
#[test]
fn other_flows_are_not_forgotten() {
    let host = Host::new();
    let network = host.open();
    let one = host.container(&network);
    serve_udp(&host.netns, any(7000), "host");
    let outside = udp(&host.outside, any(0));
    let tracked = || {
        host.run(|| std::fs::read_to_string("/proc/thread-self/net/nf_conntrack"))
            .unwrap()
    };
    let ours = format!("sport={}", outside.local_addr().unwrap().port());
    ask_udp(&outside, at(HOST, 7000)).unwrap();
    for ports in [5000..5001, 6000..6050] {
        let last = ports.end - 1;
        assert!(ask_udp(&outside, at(HOST, last)).is_err());
        let before = tracked();
        assert!(before.contains(&format!("{ours} dport={last}")), "{before}");
        let mappings: Vec<_> = ports.map(udp_port).collect();
        let _held = host
            .run(|| network.publish(&one.endpoint, &mappings))
            .unwrap();
        let after = tracked();
        assert!(!after.contains(&format!("{ours} dport={last}")), "{after}");
        assert!(after.contains(&format!("{ours} dport=7000")), "{after}");
    }
}

#[test]
fn a_port_that_is_waited_for_holds_up_no_other() {
    let host = Host::new();
    let network = host.open();
    let (one, two) = (host.container(&network), host.container(&network));
    let held = publish(&host, &network, &one, tcp(HostPort::Exactly(8081))).unwrap();
    // Given back, while a process that is just ending still has the reservation.
    network.unpublish(&one.endpoint.container).unwrap();
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| publish(&host, &network, &one, tcp(HostPort::Exactly(8081))).unwrap());
        let _other = publish(&host, &network, &two, tcp(HostPort::Exactly(8082))).unwrap();
        network.unpublish(&two.endpoint.container).unwrap();
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap();
    });
}

#[test]
fn an_address_is_free_when_its_connections_are_forgotten() {
    let host = Host::new();
    let network = host.open_with(network::NetConfig {
        bip: Some("10.5.0.1/30".parse().unwrap()),
        ..config()
    });
    let one = host.container(&network);
    serve_udp(&host.outside, any(53), "world");
    let socket = udp(&one.netns, any(0));
    ask_udp(&socket, at(OUTSIDE, 53)).unwrap();
    let tracked = || host.run(|| std::fs::read_to_string("/proc/thread-self/net/nf_conntrack"));
    assert!(tracked().unwrap().contains("src=10.5.0.2"));
    network.detach(&one.endpoint).unwrap();
    network.tend().unwrap();
    assert!(!tracked().unwrap().contains("10.5.0.2"));
    assert_eq!(
        host.container(&network).endpoint.address,
        one.endpoint.address
    );
}

#[test]
fn a_flushed_firewall_is_made_again() {
    let host = Host::new();
    let network = host.open();
    let (one, two) = (host.container(&network), host.container(&network));
    serve(&one.netns, any(80), "one");
    serve(&two.netns, any(80), "two");
    let _one = publish(&host, &network, &one, tcp(HostPort::Exactly(8081))).unwrap();
    command(&host.netns, "nft flush ruleset");
    assert!(ask(&host.outside, at(HOST, 8081)).is_err());
    let _two = publish(&host, &network, &two, tcp(HostPort::Exactly(8082))).unwrap();
    ask(&host.outside, at(HOST, 8081)).unwrap();
    ask(&host.outside, at(HOST, 8082)).unwrap();
    command(&host.netns, "nft flush ruleset");
    network.detach(&two.endpoint).unwrap();
    ask(&host.outside, at(HOST, 8081)).unwrap();
    assert!(ask(&host.outside, at(HOST, 8082)).is_err());
}

#[test]
fn chains_that_drop_are_named() {
    let host = Host::new();
    let network = host.open();
    assert!(network.dropping_chains().unwrap().is_empty());
    command(&host.netns, "nft add table ip filter");
    command(
        &host.netns,
        "nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
    );
    command(
        &host.netns,
        "nft add chain ip filter INPUT { type filter hook input priority 0 ; policy drop ; }",
    );
    let found = network.dropping_chains().unwrap();
    let names: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["ip filter FORWARD"]);
}

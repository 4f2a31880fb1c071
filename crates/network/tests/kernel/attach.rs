//! Bridge, sandboxes, addresses.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Instant;

use crate::host::{HOST, Host, OUTSIDE, any, ask, at, command, config, serve};
use network::{NetConfig, Network, NetworkError};
use types::ContainerId;

#[test]
fn containers_host_and_world_reach_each_other_at_once() {
    let host = Host::new();
    let network = host.open();
    assert_eq!(network.bridge_info().name, "docker0");
    let gateway = network.bridge_info().gateway;
    let one = host.container(&network);
    let begin = Instant::now();
    serve(&one.netns, any(80), "one");
    assert_eq!(
        ask(&host.netns, at(one.endpoint.address, 80)).unwrap(),
        format!("one {gateway}")
    );
    println!("first connection after {:?}", begin.elapsed());

    serve(&host.netns, any(81), "host");
    let seen = ask(&one.netns, at(gateway, 81)).unwrap();
    assert_eq!(seen, format!("host {}", one.endpoint.address));

    let two = host.container(&network);
    let seen = ask(&two.netns, at(one.endpoint.address, 80)).unwrap();
    assert_eq!(seen, format!("one {}", two.endpoint.address));

    serve(&host.outside, any(82), "world");
    let seen = ask(&two.netns, at(OUTSIDE, 82)).unwrap();
    assert_eq!(seen, format!("world {HOST}"), "masqueraded");
}

/// Else any container could become the host's IPv6 router.
#[test]
fn the_bridge_takes_no_router_advertisements() {
    let host = Host::new();
    let conf = |link: &str, name: &str| format!("/proc/sys/net/ipv6/conf/{link}/{name}");
    host.run(|| {
        fs::write(conf("default", "accept_ra"), "1").unwrap();
        fs::write(conf("default", "disable_ipv6"), "0").unwrap();
    });
    for _ in 0..2 {
        let network = host.open();
        let bridge = &network.bridge_info().name;
        host.run(|| {
            for (name, value) in [("accept_ra", "0"), ("disable_ipv6", "1")] {
                let path = conf(bridge, name);
                assert_eq!(fs::read_to_string(&path).unwrap().trim(), value, "{path}");
            }
            // What a daemon finds that starts again.
            fs::write(conf(bridge, "disable_ipv6"), "0").unwrap();
            fs::write(conf(bridge, "accept_ra"), "1").unwrap();
        });
    }
}

/// A closed port that refuses is an answer as good as any; a lost packet is repeated after a second only.
#[test]
fn the_first_packet_is_not_lost() {
    for stock in [0, 1] {
        for _ in 0..12 {
            let host = Host::new();
            let network = host.open_with(NetConfig { stock, ..config() });
            network.tend().unwrap();
            for _ in 0..2 {
                let made = host.container(&network);
                let address = at(made.endpoint.address, 9);
                let from_host = ask(&host.netns, address).unwrap_err().kind();
                assert_eq!(from_host, std::io::ErrorKind::ConnectionRefused);
                let made = host.container(&network);
                let to_host = ask(&made.netns, at(made.endpoint.gateway, 9));
                let to_host = to_host.unwrap_err().kind();
                assert_eq!(to_host, std::io::ErrorKind::ConnectionRefused);
            }
        }
    }
}

#[test]
fn an_endpoint_is_as_the_kernel_shows_it() {
    let host = Host::new();
    let network = host.open();
    let made = host.container(&network);
    let endpoint = &made.endpoint;
    assert_eq!(endpoint.address, Ipv4Addr::new(172, 17, 0, 2));
    let inside = command(&made.netns, "ip -d addr show eth0");
    assert!(
        inside.contains("inet 172.17.0.2/16 brd 172.17.255.255"),
        "{inside}"
    );
    assert!(
        inside.contains("02:42:ac:11:00:02") && inside.contains("UP"),
        "{inside}"
    );
    assert!(!inside.contains("inet6"), "{inside}");
    let routes = command(&made.netns, "ip route");
    assert!(
        routes.contains("default via 172.17.0.1 dev eth0"),
        "{routes}"
    );
    let loopback = command(&made.netns, "ip addr show lo");
    assert!(
        loopback.contains("127.0.0.1/8") && loopback.contains("::1/128"),
        "{loopback}"
    );
    let outside = command(&host.netns, &format!("ip link show {}", endpoint.veth));
    assert!(outside.contains("master docker0"), "{outside}");
}

#[test]
fn from_outside_only_published_ports_are_reached() {
    let host = Host::new();
    let network = host.open();
    let made = host.container(&network);
    serve(&made.netns, any(80), "hidden");
    let refused = ask(&host.outside, at(made.endpoint.address, 80)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn a_stock_is_filled_and_used() {
    let host = Host::new();
    let network = host.open_with(NetConfig {
        stock: 2,
        ..config()
    });
    network.tend().unwrap();
    let links = command(&host.netns, "ip -o link show type veth");
    assert_eq!(links.matches("wh0a1b").count(), 2);
    assert!(
        !links.contains("master"),
        "prepared ones are no ports: {links}"
    );
    let made = host.container(&network);
    assert!(links.contains(&made.endpoint.veth), "out of the stock");
    serve(&made.netns, any(80), "stocked");
    ask(&host.netns, at(made.endpoint.address, 80)).unwrap();
}

#[test]
fn addresses_are_released_and_reused_last() {
    let host = Host::new();
    let network = host.open_with(NetConfig {
        bip: Some("10.5.0.1/29".parse().unwrap()),
        ..config()
    });
    let mut all: Vec<_> = (0..5).map(|_| host.container(&network)).collect();
    let sandbox = network.take_sandbox().unwrap();
    let id = ContainerId::random().unwrap();
    let full = network.attach(sandbox, &id, None).unwrap_err();
    assert!(
        matches!(full, NetworkError::SubnetExhausted { .. }),
        "{full}"
    );

    for index in [3, 1] {
        network.detach(&all[index].endpoint).unwrap();
        network.detach(&all[index].endpoint).unwrap();
    }
    let expected = [all[3].endpoint.address, all[1].endpoint.address];
    all.remove(3);
    all.remove(1);
    for address in expected {
        assert_eq!(host.container(&network).endpoint.address, address);
    }
}

#[test]
fn a_named_address_is_given_or_refused() {
    let host = Host::new();
    let network = host.open();
    let id = ContainerId::random().unwrap();
    let wanted = Ipv4Addr::new(172, 17, 9, 9);
    let first = network
        .attach(network.take_sandbox().unwrap(), &id, Some(wanted))
        .unwrap();
    assert_eq!(first.endpoint.address, wanted);
    let again = network.attach(network.take_sandbox().unwrap(), &id, Some(wanted));
    assert!(matches!(again, Err(NetworkError::AddressTaken { .. })));
}

#[test]
fn a_veth_goes_with_its_namespace() {
    let host = Host::new();
    let network = host.open();
    let made = host.container(&network);
    network.detach(&made.endpoint).unwrap();
    drop(made.netns);
    let deadline = Instant::now() + std::time::Duration::from_secs(10);
    while command(&host.netns, "ip -o link").contains(&made.endpoint.veth) {
        assert!(Instant::now() < deadline, "the veth is still there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_namespace_made_by_somebody_else_is_adopted() {
    let host = Host::new();
    let network = host.open();
    let netns = sys::namespace::new_netns().unwrap();
    let sandbox = network.adopt(netns).unwrap();
    let id = ContainerId::random().unwrap();
    let made = network.attach(sandbox, &id, None).unwrap();
    serve(&made.netns, any(80), "adopted");
    ask(&host.netns, at(made.endpoint.address, 80)).unwrap();
    ask(&made.netns, at(Ipv4Addr::LOCALHOST, 80)).unwrap();
}

#[test]
fn a_bridge_in_use_is_left_alone_and_one_s_own_found_again() {
    let host = Host::new();
    command(&host.netns, "ip link add docker0 type bridge");
    command(&host.netns, "ip addr add 172.17.0.1/16 dev docker0");
    command(&host.netns, "ip link set docker0 up");
    let network = host.open();
    assert!(network.notes().bridge_made);
    let info = network.bridge_info().clone();
    assert_eq!(info.name, "wh0a1b2c3d");
    assert_eq!(info.subnet.to_string(), "172.18.0.0/16");
    drop(network);
    let again = host.open();
    assert!(!again.notes().bridge_made);
    assert_eq!(*again.bridge_info(), info);
    again.tear_down().unwrap();
    let links = command(&host.netns, "ip -o link");
    assert!(
        !links.contains("wh0a1b2c3d") && links.contains("docker0"),
        "{links}"
    );
    assert!(!command(&host.netns, "nft list ruleset").contains("wharf"));
}

#[test]
fn forwarding_is_switched_on_and_said() {
    let host = Host::new();
    host.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0"))
        .unwrap();
    assert!(host.open().notes().forwarding_switched_on);
    assert!(!host.open().notes().forwarding_switched_on);
}

#[test]
fn a_full_bridge_is_named() {
    let host = Host::new();
    let network = host.open();
    // Other links fill it faster than containers would.
    let lines: String = (0..network::BRIDGE_PORTS)
        .map(|n| format!("link add d{n} type veth peer name p{n}\nlink set d{n} master docker0\n"))
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    command(&host.netns, &format!("ip -batch {}", file.path().display()));
    let id = ContainerId::random().unwrap();
    let refused = network.attach(network.take_sandbox().unwrap(), &id, None);
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, NetworkError::BridgeFull { .. }),
        "{refused}"
    );
    // The address of the failed attempt came back.
    command(&host.netns, "ip link set d0 nomaster");
    host.container(&network);
}

#[test]
fn a_given_bridge_is_used_as_it_is() {
    let host = Host::new();
    command(&host.netns, "ip link add br7 type bridge");
    let given = || NetConfig {
        bridge: Some("br7".to_owned()),
        ..config()
    };
    let refused = host.run(|| Network::open(given())).unwrap_err();
    assert!(
        matches!(refused, NetworkError::BridgeWithoutAddress { .. }),
        "{refused}"
    );
    command(&host.netns, "ip addr add 10.8.0.1/24 dev br7");
    let network = host.open_with(given());
    let made = host.container(&network);
    serve(&made.netns, any(80), "given");
    ask(&host.netns, at(made.endpoint.address, 80)).unwrap();
    network.tear_down().unwrap();
    assert!(
        command(&host.netns, "ip -o link").contains("br7"),
        "not ours to remove"
    );
}

//! Beside Docker's daemon, whose chains drop what they do not know.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::host::{HOST, Host, OUTSIDE, any, ask, at, command, serve};
use network::{HostPort, Network, PortMapping, Protocol, Published, loopback_only};

/// What Docker's daemon (20.10) does to the firewall, as far as it matters here: `dock1` is a network of its, `dock2` an
/// internal one, and a container of the first publishes port 80 (which port of the host does not matter).
fn like_docker(host: &Host) {
    for line in [
        "-P FORWARD DROP",
        "-N DOCKER",
        "-N DOCKER-ISOLATION-STAGE-1",
        "-N DOCKER-ISOLATION-STAGE-2",
        "-N DOCKER-USER",
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -j DOCKER-ISOLATION-STAGE-1",
        "-A FORWARD -o dock1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -o dock1 -j DOCKER",
        "-A FORWARD -i dock1 ! -o dock1 -j ACCEPT",
        "-A FORWARD -i dock1 -o dock1 -j ACCEPT",
        "-A FORWARD -i dock2 -o dock2 -j ACCEPT",
        "-A DOCKER -d 10.77.1.2/32 ! -i dock1 -o dock1 -p tcp -m tcp --dport 80 -j ACCEPT",
        "-A DOCKER-ISOLATION-STAGE-1 ! -s 10.77.2.0/24 -o dock2 -j DROP",
        "-A DOCKER-ISOLATION-STAGE-1 ! -d 10.77.2.0/24 -i dock2 -j DROP",
        "-A DOCKER-ISOLATION-STAGE-1 -i dock1 ! -o dock1 -j DOCKER-ISOLATION-STAGE-2",
        "-A DOCKER-ISOLATION-STAGE-1 -j RETURN",
        "-A DOCKER-ISOLATION-STAGE-2 -o dock1 -j DROP",
        "-A DOCKER-ISOLATION-STAGE-2 -j RETURN",
        "-A DOCKER-USER -j RETURN",
    ] {
        command(&host.netns, &format!("iptables {line}"));
    }
}

/// A container of Docker's on its bridge `dockN`, at 10.77.N.2.
fn of_docker(host: &Host, number: u8) -> OwnedFd {
    let container = loopback_only().unwrap();
    let (bridge, port) = (format!("dock{number}"), format!("dv{number}"));
    let place = format!("/proc/{}/fd/{}", std::process::id(), host.netns.as_raw_fd());
    command(
        &container,
        &format!("ip link add {port} type veth peer name eth0"),
    );
    command(&container, &format!("ip link set {port} netns {place}"));
    for line in [
        format!("link add {bridge} type bridge"),
        format!("addr add 10.77.{number}.1/24 dev {bridge}"),
        format!("link set {bridge} up"),
        format!("link set {port} master {bridge}"),
        format!("link set {port} up"),
    ] {
        command(&host.netns, &format!("ip {line}"));
    }
    for line in [
        format!("addr add 10.77.{number}.2/24 dev eth0"),
        "link set eth0 up".to_owned(),
        format!("route add default via 10.77.{number}.1"),
    ] {
        command(&container, &format!("ip {line}"));
    }
    container
}

fn publish(host: &Host, network: &Network, to: &network::Attached) -> Vec<Published> {
    let mapping = PortMapping {
        protocol: Protocol::Tcp,
        host_ips: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        host_port: HostPort::Exactly(8080),
        container_port: 80,
    };
    host.run(|| network.publish(&to.endpoint, &[mapping]))
        .unwrap()
}

fn ours(host: &Host) -> Vec<String> {
    let all = command(&host.netns, "iptables -S DOCKER-USER");
    let rules = all.lines().filter(|line| line.contains("docker0"));
    rules.map(str::to_owned).collect()
}

fn reaches_the_world(host: &Host, network: &Network) -> bool {
    let made = host.container(network);
    ask(&made.netns, at(OUTSIDE, 82)).is_ok_and(|seen| seen == format!("world {HOST}"))
}

#[test]
fn its_chain_for_others_lets_the_bridges_through_and_keeps_what_others_wrote() {
    let host = Host::new();
    serve(&host.outside, any(82), "world");
    like_docker(&host);
    command(
        &host.netns,
        "iptables -I DOCKER-USER -s 198.51.100.1 -j DROP",
    );
    let network = host.open();
    assert!(!reaches_the_world(&host, &network));
    let chains = host.run(|| network.dropping_chains()).unwrap();
    assert_eq!(chains[0].to_string(), "ip filter FORWARD");

    assert!(host.run(|| network.pass_docker()).unwrap());
    assert!(!host.run(|| network.pass_docker()).unwrap(), "it is so");
    assert!(reaches_the_world(&host, &network));
    assert_eq!(host.run(|| network.dropping_chains()).unwrap(), []);
    assert_eq!(ours(&host).len(), 2, "{:?}", ours(&host));

    // Somebody flushes it; the next daemon finds it so.
    command(&host.netns, "iptables -F DOCKER-USER");
    command(
        &host.netns,
        "iptables -A DOCKER-USER -s 198.51.100.1 -j DROP",
    );
    assert!(!reaches_the_world(&host, &network));
    drop(network);
    let network = host.open();
    assert!(host.run(|| network.pass_docker()).unwrap());
    assert!(reaches_the_world(&host, &network));

    host.run(|| network.tear_down()).unwrap();
    let left = command(&host.netns, "iptables -S DOCKER-USER");
    assert!(
        !left.contains("docker0") && left.contains("198.51.100.1"),
        "{left}"
    );
    let all = command(&host.netns, "iptables -S");
    assert!(!all.contains("WHARF"), "{all}");
}

#[test]
fn what_its_owner_drops_stays_dropped() {
    let host = Host::new();
    like_docker(&host);
    let network = host.open();
    let web = host.container(&network);
    serve(&web.netns, any(80), "web");
    let _held = publish(&host, &network, &web);
    assert!(host.run(|| network.pass_docker()).unwrap());
    assert!(ask(&host.outside, at(HOST, 8080)).is_ok());

    let reached = || ask(&host.outside, at(HOST, 8080)).is_ok();
    let settles = || {
        host.run(|| network.pass_docker()).unwrap();
        assert!(!host.run(|| network.pass_docker()).unwrap(), "it is so");
    };
    // Before our rules, and behind them where nothing returns first.
    for put in ["-I", "-A"] {
        if put == "-A" {
            command(&host.netns, "iptables -D DOCKER-USER -j RETURN");
        }
        let rule = "DOCKER-USER ! -s 198.51.100.1/32 -i up0 -j DROP";
        command(&host.netns, &format!("iptables {put} {rule}"));
        settles();
        assert!(!reached(), "{put}");
        let listed = command(&host.netns, "iptables -S DOCKER-USER");
        assert!(listed.contains(rule), "{listed}");
        command(&host.netns, &format!("iptables -D {rule}"));
        assert!(reached(), "{put}");
    }
    host.run(|| network.tear_down()).unwrap();
}

#[test]
fn its_containers_and_ours_are_apart_unless_published() {
    let host = Host::new();
    like_docker(&host);
    let (theirs, internal) = (of_docker(&host, 1), of_docker(&host, 2));
    let network = host.open();
    let web = host.container(&network);
    for netns in [&theirs, &internal, &web.netns] {
        serve(netns, any(80), "published");
        serve(netns, any(81), "not published");
    }
    let _held = publish(&host, &network, &web);
    assert!(host.run(|| network.pass_docker()).unwrap());

    let (one, two) = (Ipv4Addr::new(10, 77, 1, 2), Ipv4Addr::new(10, 77, 2, 2));
    let reaches = |from: &OwnedFd, address: Ipv4Addr, port| ask(from, at(address, port)).is_ok();
    assert!(reaches(&web.netns, one, 80), "what Docker published");
    assert!(!reaches(&web.netns, one, 81));
    assert!(!reaches(&web.netns, two, 80));
    assert!(reaches(&theirs, HOST, 8080), "what we published");
    let own = web.endpoint.address;
    assert!(!reaches(&theirs, own, 81) && !reaches(&theirs, own, 80));
    assert!(!reaches(&internal, HOST, 8080) && !reaches(&internal, own, 81));
    // Docker's daemon starts anew: it empties its chains and fills them again.
    command(&host.netns, "iptables -F DOCKER-ISOLATION-STAGE-2");
    command(
        &host.netns,
        "iptables -A DOCKER-ISOLATION-STAGE-2 -o dock1 -j DROP",
    );
    assert!(!reaches(&web.netns, one, 81));
    host.run(|| network.tear_down()).unwrap();
    let all = command(&host.netns, "iptables -S");
    assert!(!all.contains("wharf") && !all.contains("WHARF"), "{all}");
}

#[test]
fn without_its_chain_nothing_is_touched() {
    let host = Host::new();
    command(&host.netns, "iptables -P FORWARD DROP");
    let before = command(&host.netns, "iptables -S");
    let network = host.open();
    assert!(!host.run(|| network.pass_docker()).unwrap());
    assert_eq!(command(&host.netns, "iptables -S"), before);
    assert_eq!(host.run(|| network.dropping_chains()).unwrap().len(), 1);
}

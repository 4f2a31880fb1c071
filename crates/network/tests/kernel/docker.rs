//! Beside Docker's daemon, whose chains drop what they do not know.

use crate::host::{HOST, Host, OUTSIDE, any, ask, at, command, serve};
use network::Network;

/// What Docker's daemon does to the firewall, as far as it matters here.
fn like_docker(host: &Host) {
    for line in [
        "iptables -P FORWARD DROP",
        "iptables -N DOCKER-USER",
        "iptables -A DOCKER-USER -j RETURN",
        "iptables -I FORWARD -j DOCKER-USER",
    ] {
        command(&host.netns, line);
    }
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

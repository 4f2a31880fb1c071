//! What a container's network costs at the pace of people: one every 25 ms.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use network::{HostPort, NetConfig, Network, PortMapping, Protocol};
use types::ContainerId;

use crate::host::{Host, config};

const PAUSE: Duration = Duration::from_millis(25);
const ROUNDS: usize = 60;

/// Medians of taking, attaching, publishing, in microseconds, and of all three.
#[derive(Debug)]
#[allow(dead_code)] // shown by Debug
struct Medians {
    take: u128,
    attach: u128,
    publish: u128,
    all: u128,
    detach: u128,
}

fn measure(host: &Host, network: &Network, first_port: u16) -> Medians {
    let mut columns: [Vec<u128>; 5] = Default::default();
    // Namespaces that end take locks in the background: they are kept, so that each step is seen alone.
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        network.tend().unwrap();
        std::thread::sleep(PAUSE);
        let id = ContainerId::random().unwrap();
        let port = first_port + round as u16;
        let (netns, times) = host.run(|| {
            let begin = Instant::now();
            let sandbox = network.take_sandbox().unwrap();
            let taken = Instant::now();
            let made = network.attach(sandbox, &id, None).unwrap();
            let attached = Instant::now();
            let held = network.publish(&made.endpoint, &[tcp(port)]).unwrap();
            let published = Instant::now();
            drop(held);
            network.detach(&made.endpoint).unwrap();
            let detached = Instant::now();
            let times = [
                taken - begin,
                attached - taken,
                published - attached,
                published - begin,
                detached - published,
            ];
            (made.netns, times)
        });
        kept.push(netns);
        for (column, time) in columns.iter_mut().zip(times) {
            column.push(time.as_micros());
        }
    }
    let [take, attach, publish, all, detach] = columns.map(|mut column| {
        column.sort_unstable();
        column[column.len() / 2]
    });
    Medians {
        take,
        attach,
        publish,
        all,
        detach,
    }
}

fn tcp(port: u16) -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp,
        host_ips: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        host_port: HostPort::Exactly(port),
        container_port: 80,
    }
}

/// Prints figures; run by hand: `cargo test --release -p wharf-network --test kernel pace -- --ignored --nocapture`.
#[test]
#[ignore = "measures, takes ten seconds"]
fn medians_apart() {
    let host = Host::new();
    let network = host.open();
    println!("no stock     {:?}", measure(&host, &network, 10000));
    network.tear_down().unwrap();

    let network = host.open_with(NetConfig {
        stock: 2,
        ..config()
    });
    println!("stock        {:?}", measure(&host, &network, 10000));
    let other = host.container(&network);
    let mappings: Vec<_> = (20000..21000).map(tcp).collect();
    let _held = host
        .run(|| network.publish(&other.endpoint, &mappings))
        .unwrap();
    println!("1,000 ports  {:?}", measure(&host, &network, 10000));
    println!("empty again  {:?}", {
        network.detach(&other.endpoint).unwrap();
        measure(&host, &network, 10000)
    });
}

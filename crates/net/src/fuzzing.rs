//! Doors to what only this crate knows, for the fuzz targets in `fuzz/`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dns::message::{Query, SERVER_FAILURE, code_of, refuse};

/// Reads what a container sends and answers it. Answers are such as a client takes for one to its question.
pub fn query(packet: &[u8]) {
    let Some(query) = Query::read(packet) else {
        let _ = refuse(packet);
        return;
    };
    let ipv4 = (0..200).map(|last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
    let ipv6 = (0..200).map(|last| IpAddr::V6(Ipv6Addr::from_bits(last)));
    let many: Vec<IpAddr> = ipv4.chain(ipv6).collect();
    let _ = query.reverse();
    for datagram in [true, false] {
        for answer in [
            query.addresses(&many[..1], datagram),
            query.addresses(&many, datagram),
            query.names("web.mine", datagram),
            query.failure(SERVER_FAILURE),
        ] {
            assert!(query.is_answered_by(&answer, query.id()));
            assert!(code_of(&answer) == 0 || code_of(&answer) == SERVER_FAILURE);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_door_opens() {
        for kind in [1, 12, 28] {
            super::query(&crate::dns::message::tests::query("web", kind));
        }
        super::query(&[0; 12]);
    }
}

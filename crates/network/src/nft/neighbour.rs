//! Docker's daemon on the same host: its chain for rules of others.
//!
//! That daemon lets the policy of iptables' FORWARD be DROP, and a packet has to be accepted by every table. Its chain
//! DOCKER-USER comes first there, is meant for rules of others, and is kept by it as it is. With an accept for each bridge
//! in both directions this engine's own table alone decides on its packets. The rules are as iptables over nft writes
//! them, with a comment that names the instance; where iptables does not work over nft there is no such chain to be seen.

use sys::netlink::{Attributes, Batch, DumpError, Socket, Writer, text_of, u8_of};

use super::rule::Rule;
use super::{DELETE_RULE, GET_CHAIN, GET_RULE, IPV4, NEW_RULE, UNSPECIFIED, header};

const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";

const CREATE: u16 = libc::NLM_F_CREATE as u16;

/// Kind of a comment in a rule's user data (libnftnl).
const COMMENT: u8 = 0;

/// A rule of ours: its handle, and its comment.
type Found = (Vec<u8>, String);

/// Which way a bridge's packets go.
const WAYS: [&str; 2] = ["in", "out"];

/// The comment of a rule.
fn comment(instance: &str, way: &str, bridge: &str) -> String {
    format!("wharf-{instance} {way} {bridge}")
}

/// Whether Docker's daemon has its chain here.
pub(crate) fn has_docker_chain(socket: &mut Socket) -> Result<bool, DumpError> {
    let mut found = false;
    socket.dump(
        "firewall chains",
        GET_CHAIN,
        |w| header(w, UNSPECIFIED),
        |_, body| {
            let Some(attributes) = body.get(4..).map(Attributes) else {
                return;
            };
            let is = |kind, name| attributes.get(kind).and_then(text_of) == Some(name);
            found |= u8_of(body) == Some(IPV4) && is(1, TABLE) && is(3, CHAIN);
        },
    )?;
    Ok(found)
}

/// What makes Docker's chain accept what these bridges forward, and nothing else of this instance's; `None` when it is so.
pub(crate) fn accept(
    socket: &mut Socket,
    instance: &str,
    bridges: &[String],
) -> Result<Option<Batch>, DumpError> {
    let found = rules(socket, instance)?;
    let wanted: Vec<(String, &str, &str)> = bridges
        .iter()
        .flat_map(|bridge| WAYS.map(|way| (comment(instance, way, bridge), way, bridge.as_str())))
        .collect();
    let mut batch = Batch::transaction();
    let mut changes = false;
    for (handle, text) in &found {
        if !wanted.iter().any(|(one, _, _)| one == text) {
            delete(&mut batch, handle);
            changes = true;
        }
    }
    for (text, way, bridge) in &wanted {
        if !found.iter().any(|(_, one)| one == text) {
            insert(&mut batch, text, way, bridge);
            changes = true;
        }
    }
    Ok(changes.then_some(batch))
}

/// Rules of this instance in the chain.
fn rules(socket: &mut Socket, instance: &str) -> Result<Vec<Found>, DumpError> {
    let ours = format!("wharf-{instance} ");
    let mut found = Vec::new();
    let request = |w: &mut Writer| {
        header(w, IPV4);
        w.text(1, TABLE);
        w.text(2, CHAIN);
    };
    socket.dump("firewall rules", GET_RULE, request, |_, body| {
        let Some(attributes) = body.get(4..).map(Attributes) else {
            return;
        };
        let is = |kind, name| attributes.get(kind).and_then(text_of) == Some(name);
        let (Some(handle), Some(text)) = (attributes.get(3), attributes.get(7).and_then(read))
        else {
            return;
        };
        if is(1, TABLE) && is(2, CHAIN) && text.starts_with(&ours) {
            found.push((handle.to_vec(), text.to_owned()));
        }
    })?;
    found.dedup();
    Ok(found)
}

/// The comment in a rule's user data.
fn read(data: &[u8]) -> Option<&str> {
    let (kind, length) = (*data.first()?, usize::from(*data.get(1)?));
    (kind == COMMENT).then(|| text_of(data.get(2..2 + length)?))?
}

fn delete(batch: &mut Batch, handle: &[u8]) {
    batch.push("forget a bridge for Docker's chain", DELETE_RULE, 0, |w| {
        header(w, IPV4);
        w.text(1, TABLE);
        w.text(2, CHAIN);
        w.attribute(3, handle);
    });
}

/// Before all others.
fn insert(batch: &mut Batch, text: &str, way: &str, bridge: &str) {
    batch.push("accept a bridge in Docker's chain", NEW_RULE, CREATE, |w| {
        header(w, IPV4);
        w.text(1, TABLE);
        w.text(2, CHAIN);
        w.nested(4, |w| {
            let mut rule = Rule(w);
            match way {
                "in" => rule.comes_from_as_iptables(bridge),
                _ => rule.leaves_by_as_iptables(bridge),
            }
            .counter()
            .accept();
        });
        let mut data = vec![COMMENT, text.len() as u8 + 1];
        data.extend(text.bytes());
        data.push(0);
        w.attribute(7, &data);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_read_back() {
        let text = comment("0a1b2c3d", "out", "docker0");
        let mut data = vec![COMMENT, text.len() as u8 + 1];
        data.extend(text.bytes());
        data.push(0);
        assert_eq!(read(&data), Some("wharf-0a1b2c3d out docker0"));
        assert_eq!(read(&data[..9]), None);
        assert_eq!((read(&[]), read(&[1, 2, b'a', 0])), (None, None));
    }
}

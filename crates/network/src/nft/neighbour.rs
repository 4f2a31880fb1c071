//! Docker's daemon on the same host: its chain for rules of others.
//!
//! That daemon lets the policy of iptables' FORWARD be DROP, and a packet has to be accepted by every table. Its chain
//! DOCKER-USER comes first there, is meant for rules of others, and is kept by it as it is. Two rules a bridge send what
//! comes from it and goes to it to a chain of ours: behind all rules of the host's owner, who may drop what he likes there,
//! and before the RETURN that Docker's daemon puts at the end. That chain asks Docker's own what they let through between
//! networks (an accept in DOCKER-USER would come before them), and accepts the rest, on which this engine's table decides.
//! The rules are as iptables over nft writes them, with a comment that names the instance; where iptables does not work over
//! nft there is no such chain to be seen.

use sys::netlink::{Attributes, Batch, DumpError, Socket, Writer, text_of, u8_of};

use super::rule::Rule;
use super::{
    APPEND, DELETE_CHAIN, DELETE_RULE, GET_CHAIN, GET_RULE, IPV4, NEW_CHAIN, NEW_RULE, RETURN,
    UNSPECIFIED, header,
};

const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";

/// Docker's chains that keep its networks apart from others, in the order in which they are asked: what drops for internal
/// networks, what accepts published ports (and in newer releases drops the rest), what drops between networks. Which of
/// them there are depends on the release.
const APART: [&str; 4] = [
    "DOCKER-ISOLATION-STAGE-1",
    "DOCKER-INTERNAL",
    "DOCKER",
    "DOCKER-ISOLATION-STAGE-2",
];

const CREATE: u16 = libc::NLM_F_CREATE as u16;

/// Kind of a comment in a rule's user data (libnftnl).
const COMMENT: u8 = 0;

/// A rule of a chain.
struct Found {
    handle: Vec<u8>,
    /// Empty where it has none.
    comment: String,
    /// Whether it returns from the chain, whatever comes.
    returns: bool,
}

/// Which way a bridge's packets go.
const WAYS: [&str; 2] = ["from", "to"];

/// The comment of a rule.
fn comment(instance: &str, way: &str, bridge: &str) -> String {
    format!("wharf-{instance} {way} {bridge}")
}

/// The chain of ours.
fn own_chain(instance: &str) -> String {
    format!("WHARF-{instance}")
}

/// Whether Docker's daemon has its chain here.
pub(crate) fn has_docker_chain(socket: &mut Socket) -> Result<bool, DumpError> {
    Ok(chains(socket)?.iter().any(|chain| chain == CHAIN))
}

/// What sends these bridges' packets through our chain, and nothing else of this instance's; `None` when it is so. Without
/// bridges nothing of ours remains.
pub(crate) fn accept(
    socket: &mut Socket,
    instance: &str,
    bridges: &[String],
) -> Result<Option<Batch>, DumpError> {
    let all = chains(socket)?;
    let own = own_chain(instance);
    let there = all.contains(&own);
    let mut batch = Batch::transaction();
    let mut changes = false;
    if !bridges.is_empty() {
        let asked: Vec<&str> = APART
            .into_iter()
            .filter(|one| all.iter().any(|chain| chain == one))
            .collect();
        changes |= fill(socket, &mut batch, (&own, instance, there), &asked)?;
    }
    let wanted: Vec<(String, &str, &str)> = bridges
        .iter()
        .flat_map(|bridge| WAYS.map(|way| (comment(instance, way, bridge), way, bridge.as_str())))
        .collect();
    let found = rules(socket, CHAIN)?;
    let (kept, stray, before) = sort(&found, instance, |text| {
        wanted.iter().any(|(one, _, _)| one == text)
    });
    for rule in stray {
        delete(&mut batch, CHAIN, Some(&rule.handle));
        changes = true;
    }
    for (text, way, bridge) in &wanted {
        if !kept.iter().any(|rule| rule.comment == *text) {
            let place = before.map(|rule| rule.handle.as_slice());
            insert(&mut batch, (CHAIN, text, place), |rule| match *way {
                "from" => rule.comes_from_as_iptables(bridge).counter().jump(&own),
                _ => rule.leaves_by_as_iptables(bridge).counter().jump(&own),
            });
            changes = true;
        }
    }
    if bridges.is_empty() && there {
        delete(&mut batch, &own, None);
        batch.push("remove our chain", DELETE_CHAIN, 0, |w| {
            header(w, IPV4);
            w.text(1, TABLE);
            w.text(3, &own);
        });
        changes = true;
    }
    Ok(changes.then_some(batch))
}

/// Of the chain's rules: ours that stay, ours that go, and the one before which new ones are put, if not at the end. Ours
/// stay where no rule of another stands between them and that place.
fn sort<'a>(
    found: &'a [Found],
    instance: &str,
    wanted: impl Fn(&str) -> bool,
) -> (Vec<&'a Found>, Vec<&'a Found>, Option<&'a Found>) {
    let ours = format!("wharf-{instance} ");
    let end = found
        .iter()
        .position(|rule| rule.returns && rule.comment.is_empty())
        .unwrap_or(found.len());
    let others = found[..end]
        .iter()
        .rposition(|rule| !rule.comment.starts_with("wharf-"));
    let first = others.map_or(0, |last| last + 1);
    let mut kept: Vec<&Found> = Vec::new();
    let mut stray = Vec::new();
    for (index, rule) in found.iter().enumerate() {
        if !rule.comment.starts_with(&ours) {
            continue;
        }
        let in_place = (first..end).contains(&index)
            && wanted(&rule.comment)
            && !kept.iter().any(|one| one.comment == rule.comment);
        if in_place {
            kept.push(rule);
        } else {
            stray.push(rule);
        }
    }
    (kept, stray, found.get(end))
}

/// Has our chain hold what it should. Whether that is a change.
fn fill(
    socket: &mut Socket,
    batch: &mut Batch,
    (own, instance, there): (&str, &str, bool),
    asked: &[&str],
) -> Result<bool, DumpError> {
    let text = |what: &str| format!("wharf-{instance} {what}");
    let wanted: Vec<String> = ["answers"]
        .iter()
        .chain(asked)
        .chain(&["accept"])
        .map(|what| text(what))
        .collect();
    if there {
        let found = rules(socket, own)?;
        if found.iter().map(|rule| &rule.comment).eq(&wanted) {
            return Ok(false);
        }
    }
    batch.push("make our chain", NEW_CHAIN, CREATE, |w| {
        header(w, IPV4);
        w.text(1, TABLE);
        w.text(3, own);
    });
    if there {
        delete(batch, own, None);
    }
    insert(batch, (own, &text("answers"), None), |rule| {
        rule.is_established_as_iptables().counter().accept();
    });
    for chain in asked {
        insert(batch, (own, &text(chain), None), |rule| {
            rule.counter().jump(chain);
        });
    }
    insert(batch, (own, &text("accept"), None), |rule| {
        rule.counter().accept();
    });
    Ok(true)
}

/// Names of all chains of the table.
fn chains(socket: &mut Socket) -> Result<Vec<String>, DumpError> {
    let mut found = Vec::new();
    socket.dump(
        "firewall chains",
        GET_CHAIN,
        |w| header(w, UNSPECIFIED),
        |_, body| {
            let Some(attributes) = body.get(4..).map(Attributes) else {
                return;
            };
            let is_here =
                u8_of(body) == Some(IPV4) && attributes.get(1).and_then(text_of) == Some(TABLE);
            if let Some(name) = attributes.get(3).and_then(text_of).filter(|_| is_here) {
                found.push(name.to_owned());
            }
        },
    )?;
    Ok(found)
}

/// The rules of a chain in their order.
fn rules(socket: &mut Socket, chain: &str) -> Result<Vec<Found>, DumpError> {
    let mut found: Vec<Found> = Vec::new();
    let request = |w: &mut Writer| {
        header(w, IPV4);
        w.text(1, TABLE);
        w.text(2, chain);
    };
    socket.dump("firewall rules", GET_RULE, request, |_, body| {
        let Some(attributes) = body.get(4..).map(Attributes) else {
            return;
        };
        let is = |kind, name| attributes.get(kind).and_then(text_of) == Some(name);
        let Some(handle) = attributes.get(3).filter(|_| is(1, TABLE) && is(2, chain)) else {
            return;
        };
        // A dump that was begun anew tells some a second time.
        if found.iter().any(|rule| rule.handle == handle) {
            return;
        }
        found.push(Found {
            handle: handle.to_vec(),
            comment: attributes.get(7).and_then(read).unwrap_or("").to_owned(),
            returns: returns(attributes.nest(4)),
        });
    })?;
    Ok(found)
}

/// Whether a rule's expressions count at the most, and return.
fn returns(expressions: Attributes<'_>) -> bool {
    let mut last = false;
    for (_, content) in expressions {
        let expression = Attributes(content);
        match expression.get(1).and_then(text_of) {
            Some("counter") => {}
            Some("immediate") => {
                let code = expression.nest(2).nest(2).nest(2).get(1);
                last = code == Some(&RETURN.to_be_bytes()[..]);
            }
            _ => return false,
        }
    }
    last
}

/// The comment in a rule's user data.
fn read(data: &[u8]) -> Option<&str> {
    let (kind, length) = (*data.first()?, usize::from(*data.get(1)?));
    (kind == COMMENT).then(|| text_of(data.get(2..2 + length)?))?
}

/// Deletes one rule of a chain, or all.
fn delete(batch: &mut Batch, chain: &str, handle: Option<&[u8]>) {
    batch.push("forget a bridge for Docker's chain", DELETE_RULE, 0, |w| {
        header(w, IPV4);
        w.text(1, TABLE);
        w.text(2, chain);
        if let Some(handle) = handle {
            w.attribute(3, handle);
        }
    });
}

/// Puts a rule before the one of a handle, or at the end.
fn insert(
    batch: &mut Batch,
    (chain, text, before): (&str, &str, Option<&[u8]>),
    content: impl FnOnce(&mut Rule<'_>),
) {
    let flags = if before.is_some() {
        CREATE
    } else {
        CREATE | APPEND
    };
    batch.push(
        "let a bridge through Docker's chains",
        NEW_RULE,
        flags,
        |w| {
            header(w, IPV4);
            w.text(1, TABLE);
            w.text(2, chain);
            w.nested(4, |w| content(&mut Rule(w)));
            if let Some(handle) = before {
                w.attribute(6, handle);
            }
            let mut data = vec![COMMENT, text.len() as u8 + 1];
            data.extend(text.bytes());
            data.push(0);
            w.attribute(7, &data);
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_read_back() {
        let text = comment("0a1b2c3d", "to", "docker0");
        let mut data = vec![COMMENT, text.len() as u8 + 1];
        data.extend(text.bytes());
        data.push(0);
        assert_eq!(read(&data), Some("wharf-0a1b2c3d to docker0"));
        assert_eq!(read(&data[..9]), None);
        assert_eq!((read(&[]), read(&[1, 2, b'a', 0])), (None, None));
    }

    fn rule(number: u8, comment: &str, returns: bool) -> Found {
        Found {
            handle: vec![number],
            comment: comment.to_owned(),
            returns,
        }
    }

    #[test]
    fn ours_stay_behind_those_of_others_and_before_the_return() {
        let handles =
            |rules: Vec<&Found>| rules.iter().map(|one| one.handle[0]).collect::<Vec<_>>();
        let sorted = |found: &[Found]| {
            let (kept, stray, before) = sort(found, "me", |text| text != "wharf-me from gone");
            (
                handles(kept),
                handles(stray),
                before.map(|one| one.handle[0]),
            )
        };
        let chain = [
            rule(1, "", false),
            rule(2, "wharf-me from a", false),
            rule(3, "wharf-you from b", false),
            rule(4, "wharf-me to a", false),
            rule(5, "wharf-me to a", false),
            rule(6, "wharf-me from gone", false),
            rule(7, "", true),
            rule(8, "wharf-me to b", false),
        ];
        assert_eq!(sorted(&chain), (vec![2, 4], vec![5, 6, 8], Some(7)));
        let above = [
            rule(1, "wharf-me from a", false),
            rule(2, "its owner's", false),
        ];
        assert_eq!(sorted(&above), (vec![], vec![1], None));
        assert_eq!(sorted(&[]), (vec![], vec![], None));
    }
}

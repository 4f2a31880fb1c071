//! Answers in the shape of the version that a client speaks.
//!
//! The engine makes every body in its newest shape. For a client that speaks the newest version it is written as it
//! is; for others, the rows of one table ([`gates`]) that concern body and version are carried out on it.

mod disk_usage;
mod gates;
#[cfg(test)]
mod golden;
pub(crate) mod request;

use std::io;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use disk_usage::disk_usage;
use gates::{Change, Fill, GATES, Gate};

use crate::failure::Failure;
use crate::reply::{self, JSON, Reply};
use crate::version::Version;

/// The bodies whose shape depends on the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One container.
    Container,
    /// A list of containers.
    ContainerList,
    /// One image.
    Image,
    /// A list of images.
    ImageList,
    /// A list of networks.
    NetworkList,
    /// One network.
    Network,
    /// Engine and host.
    Info,
    /// One event.
    Event,
    /// The end of a wait.
    Wait,
}

/// An answer in JSON, in the shape of a version.
pub(crate) fn json<T: Serialize>(
    status: StatusCode,
    kind: Kind,
    version: Version,
    body: &T,
) -> Result<Reply, Failure> {
    let text = text(kind, version, body).map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot write the answer: {error}"),
        )
    })?;
    Ok(Reply::Http(reply::whole(status, JSON, text)))
}

/// One line of a stream of JSON, in the shape of a version.
pub(crate) fn line<T: Serialize>(kind: Kind, version: Version, body: &T) -> io::Result<Bytes> {
    Ok(text(kind, version, body)?.into())
}

fn text<T: Serialize>(kind: Kind, version: Version, body: &T) -> serde_json::Result<Vec<u8>> {
    let mut text = match rows(kind, version).next() {
        None => serde_json::to_vec(body)?,
        Some(_) => {
            let mut value = serde_json::to_value(body)?;
            reshape(kind, version, &mut value);
            serde_json::to_vec(&value)?
        }
    };
    text.push(b'\n');
    Ok(text)
}

/// Brings a body from the newest shape into that of a version.
pub(crate) fn reshape(kind: Kind, version: Version, body: &mut Value) {
    for gate in rows(kind, version) {
        let mut path: Vec<&str> = gate.at.split('.').filter(|part| !part.is_empty()).collect();
        path.reverse();
        visit(body, &path, &mut |object| carry_out(gate, object));
    }
}

fn rows(kind: Kind, version: Version) -> impl Iterator<Item = &'static Gate> {
    GATES
        .iter()
        .filter(move |gate| gate.kind == kind && gate.concerns(version))
}

/// Calls back for each object at a path (its parts in reverse order); `*` stands for every member or element.
fn visit(value: &mut Value, path: &[&str], act: &mut impl FnMut(&mut Map<String, Value>)) {
    let Some((part, rest)) = path.split_last() else {
        if let Value::Object(object) = value {
            act(object);
        }
        return;
    };
    match (value, *part) {
        (Value::Array(elements), "*") => elements
            .iter_mut()
            .for_each(|element| visit(element, rest, act)),
        (Value::Object(members), "*") => members
            .values_mut()
            .for_each(|member| visit(member, rest, act)),
        (Value::Object(members), name) => {
            if let Some(member) = members.get_mut(name) {
                visit(member, rest, act);
            }
        }
        _ => {}
    }
}

fn carry_out(gate: &Gate, object: &mut Map<String, Value>) {
    match &gate.change {
        Change::Since(_) | Change::OnlyBefore(_) => {
            object.shift_remove(gate.field);
        }
        Change::Until(_, fill) => {
            if !object.contains_key(gate.field) {
                let value = match fill {
                    Fill::Null => Value::Null,
                    Fill::False => Value::Bool(false),
                    Fill::Zero => Value::from(0),
                    Fill::Text(text) => Value::from(*text),
                    Fill::EmptyMap => Value::Object(Map::new()),
                    Fill::EmptyList => Value::Array(Vec::new()),
                    Fill::Copy(other) => object.get(*other).cloned().unwrap_or_default(),
                    Fill::Made(make) => make(object),
                };
                object.insert(gate.field.to_owned(), value);
            }
        }
        Change::Was(_, rewrite) => rewrite(object),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_object_at_a_path_is_visited() {
        let mut value = json!({"a": {"x": {"n": 1}, "y": {"n": 2}}, "l": [{"n": 3}, 4]});
        let mut seen = Vec::new();
        visit(&mut value, &["*", "a"], &mut |object| {
            seen.push(object["n"].clone())
        });
        visit(&mut value, &["*", "l"], &mut |object| {
            seen.push(object["n"].clone())
        });
        visit(&mut value, &["*", "nothing"], &mut |_| {
            panic!("there is nothing")
        });
        assert_eq!(seen, [json!(1), json!(2), json!(3)]);
    }

    #[test]
    fn the_newest_version_is_written_as_it_is() {
        for kind in [
            Kind::Container,
            Kind::ContainerList,
            Kind::Image,
            Kind::ImageList,
            Kind::Info,
            Kind::Event,
            Kind::Wait,
        ] {
            let rows: Vec<_> = rows(kind, crate::version::NEWEST)
                .map(|gate| gate.field)
                .collect();
            let removed = match kind {
                // Read from old clients, so the type has them, and never written to new ones.
                Kind::Container => vec!["MacAddress", "KernelMemory", "KernelMemoryTCP"],
                _ => vec![],
            };
            assert_eq!(rows, removed, "{kind:?}");
        }
    }
}

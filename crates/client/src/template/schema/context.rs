//! Contexts.

use std::rc::Rc;

use serde_json::Value as Json;

use super::{embedded, field, maybe, named, structure};
use crate::template::value::{ANY, ANY_MAP, BOOL, Is, TEXT, Type, Value};

/// A context's files by endpoint.
static FILES: Type = Type::Map("", &TEXT, &ENDPOINT_FILES);
static ENDPOINT_FILES: Type = Type::List("store.EndpointFiles", &TEXT);

structure! {
    /// A context as `inspect` tells of it. It embeds what it says of itself under the name of a field of that, so that
    /// templates find `.Metadata` outside, `.Name` and `.Endpoints` inside.
    INSPECT = "context.contextWithTLSListing" [
        embedded("Metadata", &METADATA),
        field("TLSMaterial", &FILES),
        field("Storage", &STORAGE),
    ];
    METADATA = "store.Metadata" [
        maybe("Name", &TEXT),
        maybe("Metadata", &ANY),
        maybe("Endpoints", &ANY_MAP),
    ];
    STORAGE = "store.StorageInfo" [field("MetadataPath", &TEXT), field("TLSPath", &TEXT)];
    /// What docker's client knows to be in a context's own words.
    ABOUT = "command.DockerContext" [
        maybe("Description", &TEXT),
        named("AdditionalFields", "", &ANY_MAP),
    ];
    /// The same of its engine.
    ENDPOINT = "context.EndpointMetaBase" [maybe("Host", &TEXT), field("SkipTLSVerify", &BOOL)];
}

/// Reads a context's document. What it says of itself and of its engine are structures to docker's client, whatever the
/// interfaces that hold them.
pub(crate) fn read(document: &Json) -> Value {
    let about = held(&document["Metadata"], &["Description"], &ABOUT);
    let endpoints = match Value::read(&document["Endpoints"], &ANY_MAP) {
        Value {
            of,
            is: Is::Map(entries),
        } => {
            let typed = entries.iter().map(|(name, value)| {
                let json = &document["Endpoints"][&**name];
                let value = match &**name {
                    "docker" => held(json, &["Host", "SkipTLSVerify"], &ENDPOINT),
                    _ => value.clone(),
                };
                (Rc::clone(name), value)
            });
            Value {
                of,
                is: Is::Map(typed.collect()),
            }
        }
        nothing => nothing,
    };
    let name = Value::read(&document["Name"], &TEXT);
    Value {
        of: &INSPECT,
        is: Is::Struct(Rc::new([
            Value {
                of: &METADATA,
                is: Is::Struct(Rc::new([name, about, endpoints])),
            },
            Value::read(&document["TLSMaterial"], &FILES),
            Value::read(&document["Storage"], &STORAGE),
        ])),
    }
}

/// A structure that an interface holds, where it has no members but those that are known.
fn held(json: &Json, known: &[&str], of: &'static Type) -> Value {
    let is_known =
        |map: &serde_json::Map<String, Json>| map.keys().all(|name| known.contains(&name.as_str()));
    match json.as_object() {
        Some(map) if !is_known(map) => Value::read(json, &ANY),
        _ => Value {
            of: &ANY,
            is: Is::Some(Rc::new(match json.is_object() {
                true => Value::read(json, of),
                false => Value::zero(of),
            })),
        },
    }
}

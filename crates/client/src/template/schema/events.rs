//! Events.

use super::{maybe_named, named, pointer, structure};
use crate::template::value::{INT64, TEXT, TEXT_MAP, Type};

static KIND: Type = Type::Text("events.Type");
static ACTION: Type = Type::Text("events.Action");

pointer! {
    MESSAGE_POINTER = MESSAGE_OF;
}

/// What happened.
pub(crate) static MESSAGE: &Type = &MESSAGE_POINTER;

structure! {
    MESSAGE_OF = "events.Message" [
        maybe_named("Status", "status", &TEXT),
        maybe_named("ID", "id", &TEXT),
        maybe_named("From", "from", &TEXT),
        named("Type", "Type", &KIND),
        named("Action", "Action", &ACTION),
        named("Actor", "Actor", &ACTOR),
        maybe_named("Scope", "scope", &TEXT),
        maybe_named("Time", "time", &INT64),
        maybe_named("TimeNano", "timeNano", &INT64),
    ];
    ACTOR = "events.Actor" [named("ID", "ID", &TEXT), named("Attributes", "Attributes", &TEXT_MAP)];
}

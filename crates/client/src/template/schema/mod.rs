//! The structures into which docker's client (28.2) reads what the API answers: the fields in their order, by the names
//! that templates and JSON have for them, and which ones JSON leaves out when they say nothing.
//!
//! What they are was found out with that client: `printf "%#v"` and `json` of templates print them.

use super::value::{Field, Type, Unsaid};

pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod events;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod system;
pub(crate) mod volume;

/// A field that JSON has by the same name.
const fn field(name: &'static str, of: &'static Type) -> Field {
    named(name, name, of)
}

/// A field that JSON has by a name of its own.
const fn named(name: &'static str, json: &'static str, of: &'static Type) -> Field {
    Field {
        name,
        json,
        of,
        unsaid: Unsaid::Never,
        embedded: false,
    }
}

/// A field that JSON leaves out when it says nothing.
const fn maybe(name: &'static str, of: &'static Type) -> Field {
    maybe_named(name, name, of)
}

/// The same by a name of its own.
const fn maybe_named(name: &'static str, json: &'static str, of: &'static Type) -> Field {
    Field {
        name,
        json,
        of,
        unsaid: Unsaid::Empty,
        embedded: false,
    }
}

/// A structure whose fields count as those of the one around it.
const fn embedded(name: &'static str, of: &'static Type) -> Field {
    Field {
        name,
        json: "",
        of,
        unsaid: Unsaid::Never,
        embedded: true,
    }
}

/// A structure as a type.
macro_rules! structure {
    ($($(#[$about:meta])* $visible:vis $name:ident = $go:literal [$($field:expr),* $(,)?];)*) => {
        $($(#[$about])* $visible static $name: crate::template::value::Type =
            crate::template::value::Type::Struct(&crate::template::value::Struct {
                name: $go,
                fields: &[$($field),*],
                text: None,
            });)*
    };
}
use structure;

/// A pointer to a structure.
macro_rules! pointer {
    ($($name:ident = $to:expr;)*) => {
        $(static $name: crate::template::value::Type =
            crate::template::value::Type::Pointer(&$to);)*
    };
}
use pointer;

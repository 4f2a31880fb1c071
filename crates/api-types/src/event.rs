//! Events.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// Something that happened.
    pub struct Event {
        /// Kind of the thing: `container`, `image`, `volume`, `network`, `daemon`.
        kind: String = "Type",
        /// What happened to it.
        action: String = "Action",
        /// The thing.
        actor: Actor = "Actor",
        /// `local`.
        scope: String = "scope" omitempty,
        /// Seconds since 1970.
        time: i64 = "time" omitempty,
        /// Nanoseconds since 1970.
        time_nano: i64 = "timeNano" omitempty,
    }
}

wire! {
    /// The thing to which something happened.
    pub struct Actor {
        /// Its id.
        id: String = "ID",
        /// What else identifies it: name, image, labels, and the event's own words.
        attributes: BTreeMap<String, String> = "Attributes",
    }
}

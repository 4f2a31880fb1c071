//! Statements of the tables: plain functions on a connection, called inside the writer's transactions.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::schema::NAMESPACE;
use crate::outcome::{EngineError, Result};

/// Writes a document.
pub(crate) fn to_json<T: Serialize>(what: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| EngineError::StoreRow {
        what: what.to_owned(),
        source,
    })
}

/// Reads a document.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| EngineError::StoreRow {
        what: what.to_owned(),
        source,
    })
}

/// A container as it is stored; the documents are texts, made and read by `containers::record`.
#[derive(Debug, Clone)]
pub(crate) struct ContainerRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) image: String,
    pub(crate) doc: String,
    pub(crate) run: String,
}

impl ContainerRow {
    pub(crate) fn insert(&self, connection: &Connection) -> Result<()> {
        connection
            .prepare_cached("INSERT INTO containers (ns, id, name, state, image, doc, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![NAMESPACE, self.id, self.name, self.state, self.image, self.doc, self.run])?;
        Ok(())
    }

    pub(crate) fn set_run(connection: &Connection, id: &str, state: &str, run: &str) -> Result<()> {
        connection
            .prepare_cached("UPDATE containers SET state = ?3, run = ?4 WHERE ns = ?1 AND id = ?2")?
            .execute(params![NAMESPACE, id, state, run])?;
        Ok(())
    }

    pub(crate) fn rename(connection: &Connection, id: &str, name: &str) -> Result<()> {
        connection
            .prepare_cached("UPDATE containers SET name = ?3 WHERE ns = ?1 AND id = ?2")?
            .execute(params![NAMESPACE, id, name])?;
        Ok(())
    }

    pub(crate) fn delete(connection: &Connection, id: &str) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM containers WHERE ns = ?1 AND id = ?2")?
            .execute(params![NAMESPACE, id])?;
        connection
            .prepare_cached("DELETE FROM execs WHERE container = ?1")?
            .execute(params![id])?;
        connection
            .prepare_cached("DELETE FROM endpoints WHERE container = ?1")?
            .execute(params![id])?;
        Ok(())
    }

    pub(crate) fn all(connection: &Connection) -> Result<Vec<ContainerRow>> {
        let mut statement = connection.prepare_cached(
            "SELECT id, name, state, image, doc, run FROM containers WHERE ns = ?1",
        )?;
        let rows = statement.query_map(params![NAMESPACE], |row| {
            Ok(ContainerRow {
                id: row.get(0)?,
                name: row.get(1)?,
                state: row.get(2)?,
                image: row.get(3)?,
                doc: row.get(4)?,
                run: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Addresses in use, by network.
pub(crate) mod endpoints {
    use super::*;

    pub(crate) fn put(
        connection: &Connection,
        network: &str,
        container: &str,
        address: &str,
    ) -> Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO endpoints (network, container, address) VALUES (?1, ?2, ?3)
                 ON CONFLICT (network, container) DO UPDATE SET address = excluded.address",
            )?
            .execute(params![network, container, address])?;
        Ok(())
    }

    /// All of a container's.
    pub(crate) fn delete(connection: &Connection, container: &str) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM endpoints WHERE container = ?1")?
            .execute(params![container])?;
        Ok(())
    }

    /// The one on this network.
    pub(crate) fn delete_one(
        connection: &Connection,
        network: &str,
        container: &str,
    ) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM endpoints WHERE network = ?1 AND container = ?2")?
            .execute(params![network, container])?;
        Ok(())
    }
}

/// An image: its configuration's digest and what the engine remembers about it.
#[derive(Debug, Clone)]
pub(crate) struct ImageRow {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) doc: String,
}

impl ImageRow {
    pub(crate) fn put(&self, connection: &Connection) -> Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO images (ns, id, created, doc) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (ns, id) DO UPDATE SET doc = excluded.doc",
            )?
            .execute(params![NAMESPACE, self.id, self.created, self.doc])?;
        Ok(())
    }

    pub(crate) fn delete(connection: &Connection, id: &str) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM images WHERE ns = ?1 AND id = ?2")?
            .execute(params![NAMESPACE, id])?;
        Ok(())
    }

    pub(crate) fn all(connection: &Connection) -> Result<Vec<ImageRow>> {
        let mut statement =
            connection.prepare_cached("SELECT id, created, doc FROM images WHERE ns = ?1")?;
        let rows = statement.query_map(params![NAMESPACE], |row| {
            Ok(ImageRow {
                id: row.get(0)?,
                created: row.get(1)?,
                doc: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Names of images: full reference → image, with the digest that the name pointed to in its registry.
pub(crate) mod refs {
    use super::*;

    pub(crate) fn put(
        connection: &Connection,
        name: &str,
        image: &str,
        target: &str,
    ) -> Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO refs (ns, name, image, target) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (ns, name) DO UPDATE SET image = excluded.image, target = excluded.target",
            )?
            .execute(params![NAMESPACE, name, image, target])?;
        Ok(())
    }

    pub(crate) fn delete(connection: &Connection, name: &str) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM refs WHERE ns = ?1 AND name = ?2")?
            .execute(params![NAMESPACE, name])?;
        Ok(())
    }

    /// All of them: name, image, target.
    pub(crate) fn all(connection: &Connection) -> Result<Vec<(String, String, String)>> {
        let mut statement =
            connection.prepare_cached("SELECT name, image, target FROM refs WHERE ns = ?1")?;
        let rows = statement.query_map(params![NAMESPACE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Whether a layer's folder is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerState {
    /// Being unpacked: its folder is void after a crash.
    Making,
    /// Complete.
    Ready,
}

/// An unpacked layer.
#[derive(Debug, Clone)]
pub(crate) struct LayerRow {
    pub(crate) number: u64,
    pub(crate) chain: String,
    pub(crate) diff: String,
    pub(crate) size: u64,
    pub(crate) state: LayerState,
}

/// The only variant of layers today; idmapped ones will have their own.
const PLAIN: &str = "plain";

impl LayerRow {
    pub(crate) fn put(&self, connection: &Connection) -> Result<()> {
        let state = match self.state {
            LayerState::Making => "making",
            LayerState::Ready => "ready",
        };
        connection
            .prepare_cached(
                "INSERT INTO layers (number, chain, variant, diff, size, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (number) DO UPDATE SET size = excluded.size, state = excluded.state",
            )?
            .execute(params![self.number as i64, self.chain, PLAIN, self.diff, self.size as i64, state])?;
        Ok(())
    }

    pub(crate) fn delete(connection: &Connection, number: u64) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM layers WHERE number = ?1")?
            .execute(params![number as i64])?;
        Ok(())
    }

    pub(crate) fn all(connection: &Connection) -> Result<Vec<LayerRow>> {
        let mut statement = connection.prepare_cached(
            "SELECT number, chain, diff, size, state FROM layers WHERE variant = ?1",
        )?;
        let rows = statement.query_map(params![PLAIN], |row| {
            let state: String = row.get(4)?;
            Ok(LayerRow {
                number: row.get::<_, i64>(0)? as u64,
                chain: row.get(1)?,
                diff: row.get(2)?,
                size: row.get::<_, i64>(3)? as u64,
                state: if state == "ready" {
                    LayerState::Ready
                } else {
                    LayerState::Making
                },
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// A volume.
#[derive(Debug, Clone)]
pub(crate) struct VolumeRow {
    pub(crate) name: String,
    pub(crate) anonymous: bool,
    pub(crate) doc: String,
}

impl VolumeRow {
    pub(crate) fn put(&self, connection: &Connection) -> Result<()> {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO volumes (ns, name, anonymous, doc) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![NAMESPACE, self.name, self.anonymous, self.doc])?;
        Ok(())
    }

    pub(crate) fn delete(connection: &Connection, name: &str) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM volumes WHERE ns = ?1 AND name = ?2")?
            .execute(params![NAMESPACE, name])?;
        Ok(())
    }

    pub(crate) fn all(connection: &Connection) -> Result<Vec<VolumeRow>> {
        let mut statement =
            connection.prepare_cached("SELECT name, anonymous, doc FROM volumes WHERE ns = ?1")?;
        let rows = statement.query_map(params![NAMESPACE], |row| {
            Ok(VolumeRow {
                name: row.get(0)?,
                anonymous: row.get(1)?,
                doc: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// A network that a user made.
#[derive(Debug, Clone)]
pub(crate) struct NetworkRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) doc: String,
}

impl NetworkRow {
    pub(crate) fn insert(&self, connection: &Connection) -> Result<()> {
        connection
            .prepare_cached("INSERT INTO networks (ns, id, name, doc) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![NAMESPACE, self.id, self.name, self.doc])?;
        Ok(())
    }

    pub(crate) fn delete(connection: &Connection, id: &str) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM networks WHERE ns = ?1 AND id = ?2")?
            .execute(params![NAMESPACE, id])?;
        Ok(())
    }

    pub(crate) fn all(connection: &Connection) -> Result<Vec<NetworkRow>> {
        let mut statement =
            connection.prepare_cached("SELECT id, name, doc FROM networks WHERE ns = ?1")?;
        let rows = statement.query_map(params![NAMESPACE], |row| {
            Ok(NetworkRow {
                id: row.get(0)?,
                name: row.get(1)?,
                doc: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Something whose name is free already and whose remains are still to be cleaned.
#[derive(Debug, Clone)]
pub(crate) struct TombstoneRow {
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) key: String,
}

impl TombstoneRow {
    /// Writes a tombstone and gives its sequence number.
    pub(crate) fn insert(connection: &Connection, kind: &str, key: &str) -> Result<i64> {
        connection
            .prepare_cached("INSERT INTO tombstones (kind, key) VALUES (?1, ?2)")?
            .execute(params![kind, key])?;
        Ok(connection.last_insert_rowid())
    }

    pub(crate) fn delete(connection: &Connection, sequence: i64) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM tombstones WHERE sequence = ?1")?
            .execute(params![sequence])?;
        Ok(())
    }

    pub(crate) fn all(connection: &Connection) -> Result<Vec<TombstoneRow>> {
        let mut statement = connection
            .prepare_cached("SELECT sequence, kind, key FROM tombstones ORDER BY sequence")?;
        let rows = statement.query_map([], |row| {
            Ok(TombstoneRow {
                sequence: row.get(0)?,
                kind: row.get(1)?,
                key: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// The history of events, bounded.
pub(crate) mod events {
    use super::*;

    /// Events that are kept; older ones go when the daemon is idle.
    pub(crate) const KEPT: i64 = 10_000;

    pub(crate) fn insert(connection: &Connection, time: i64, doc: &str) -> Result<i64> {
        connection
            .prepare_cached("INSERT INTO events (time, doc) VALUES (?1, ?2)")?
            .execute(params![time, doc])?;
        let sequence = connection.last_insert_rowid();
        if sequence % 256 == 0 {
            connection
                .prepare_cached("DELETE FROM events WHERE sequence <= ?1")?
                .execute(params![sequence - KEPT])?;
        }
        Ok(sequence)
    }

    /// The document of the last such event of an object from `since` on.
    pub(crate) fn last(
        connection: &Connection,
        since: i64,
        action: &str,
        id: &str,
    ) -> Result<Option<String>> {
        let mut statement = connection.prepare_cached(
            "SELECT doc FROM events WHERE time >= ?1 AND json_extract(doc, '$.Action') = ?2
             AND json_extract(doc, '$.Actor.ID') = ?3 ORDER BY sequence DESC LIMIT 1",
        )?;
        Ok(statement
            .query_row(params![since, action, id], |row| row.get(0))
            .optional()?)
    }

    /// Sequence and document of what happened from `since` on and has a sequence above `after`, the oldest first, so many
    /// at most.
    pub(crate) fn page(
        connection: &Connection,
        after: i64,
        since: i64,
        most: usize,
    ) -> Result<Vec<(i64, String)>> {
        let mut statement = connection.prepare_cached(
            "SELECT sequence, doc FROM events WHERE sequence > ?1 AND time >= ?2
             ORDER BY sequence LIMIT ?3",
        )?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![after, since, most], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Executed processes whose end a client may still ask for.
pub(crate) mod execs {
    use super::*;

    pub(crate) fn put(connection: &Connection, id: &str, container: &str, doc: &str) -> Result<()> {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO execs (id, container, doc) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![id, container, doc])?;
        Ok(())
    }

    pub(crate) fn delete(connection: &Connection, id: &str) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM execs WHERE id = ?1")?
            .execute(params![id])?;
        Ok(())
    }

    pub(crate) fn delete_of(connection: &Connection, container: &str) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM execs WHERE container = ?1")?
            .execute(params![container])?;
        Ok(())
    }

    pub(crate) fn all(connection: &Connection) -> Result<Vec<(String, String)>> {
        let mut statement = connection.prepare_cached("SELECT id, doc FROM execs")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

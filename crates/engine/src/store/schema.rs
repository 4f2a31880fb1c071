//! The tables, drawn, and their migrations.
//!
//! ```text
//! meta        key PK        value
//! containers  (ns,id) PK    name UNIQUE in ns   state  image  doc  run
//! images      (ns,id) PK    created  doc
//! refs        (ns,name) PK  image → images.id   target  doc
//! layers      number PK     (chain,variant) UNIQUE   diff  size  state
//! volumes     (ns,name) PK  anonymous  doc
//! networks    (ns,id) PK    name UNIQUE in ns   doc
//! endpoints   (network,container) PK   address
//! execs       id PK         container  doc
//! events      sequence PK   time  doc
//! tombstones  sequence PK   kind  key
//! ```
//!
//! `doc` is a serde document with a version inside; `run` of a container is the part that changes while it lives,
//! kept apart so that a start or an exit rewrites little.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::outcome::{EngineError, Result};

/// The namespace of docker's objects; other front ends will have their own.
pub(crate) const NAMESPACE: &str = "docker";

/// Migrations in order; the schema number is how many have run.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE containers (ns TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
        image TEXT NOT NULL, doc TEXT NOT NULL, run TEXT NOT NULL, PRIMARY KEY (ns, id), UNIQUE (ns, name)) WITHOUT ROWID;
    CREATE TABLE images (ns TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL, doc TEXT NOT NULL,
        PRIMARY KEY (ns, id)) WITHOUT ROWID;
    CREATE TABLE refs (ns TEXT NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL, target TEXT NOT NULL,
        PRIMARY KEY (ns, name)) WITHOUT ROWID;
    CREATE TABLE layers (number INTEGER PRIMARY KEY, chain TEXT NOT NULL, variant TEXT NOT NULL, diff TEXT NOT NULL,
        size INTEGER NOT NULL, state TEXT NOT NULL, UNIQUE (chain, variant));
    CREATE TABLE volumes (ns TEXT NOT NULL, name TEXT NOT NULL, anonymous INTEGER NOT NULL, doc TEXT NOT NULL,
        PRIMARY KEY (ns, name)) WITHOUT ROWID;
    CREATE TABLE endpoints (network TEXT NOT NULL, container TEXT NOT NULL, address TEXT NOT NULL,
        PRIMARY KEY (network, container)) WITHOUT ROWID;
    CREATE TABLE execs (id TEXT PRIMARY KEY, container TEXT NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE events (sequence INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, doc TEXT NOT NULL);
    CREATE TABLE tombstones (sequence INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL);
    ",
    // Nobody ever wrote to these.
    "
    DROP TABLE IF EXISTS blobs;
    DROP TABLE IF EXISTS leases;
    DROP TABLE IF EXISTS networks;
    ",
    "
    CREATE TABLE networks (ns TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, doc TEXT NOT NULL,
        PRIMARY KEY (ns, id), UNIQUE (ns, name)) WITHOUT ROWID;
    ",
];

/// Runs the migrations that the file has not seen.
pub(crate) fn migrate(connection: &Connection, path: &Path) -> Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    )?;
    let known = MIGRATIONS.len() as i64;
    let found: i64 = meta(connection, "schema")?
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    if found > known {
        return Err(EngineError::StoreNewer {
            path: path.display().to_string(),
            found,
            known,
        });
    }
    for (number, migration) in (1..).zip(MIGRATIONS).skip(found.max(0) as usize) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let outcome = connection
            .execute_batch(migration)
            .map_err(EngineError::from)
            .and_then(|()| set_meta(connection, "schema", &i64::to_string(&number)));
        connection.execute_batch(if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        })?;
        outcome?;
    }
    Ok(())
}

/// Reads one value of `meta`.
pub(crate) fn meta(connection: &Connection, key: &str) -> Result<Option<String>> {
    Ok(connection
        .query_row(
            "SELECT CAST(value AS TEXT) FROM meta WHERE key = ?1",
            params![key],
            |row| row.get(0),
        )
        .optional()?)
}

/// Writes one value of `meta`.
pub(crate) fn set_meta(connection: &Connection, key: &str, value: &str) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?
        .execute(params![key, value])?;
    Ok(())
}

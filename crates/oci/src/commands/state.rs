//! `state`: what is known of a container, as JSON.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

use super::print;
use crate::cli::{Given, Global};
use crate::error::{Error, Result};
use crate::state::{Container, Status};

/// runc's form: that of the specification, and more.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: &'static str,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    owner: String,
    /// Not runc's: the kernel killed a process of the container for want of memory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    oom_killed: bool,
}

impl<'a> State<'a> {
    pub(super) fn of(container: &'a Container, owner: String) -> Self {
        let record = &container.record;
        let status = container.status();
        Self {
            oci_version: &record.oci_version,
            id: &record.id,
            pid: if status == Status::Stopped {
                0
            } else {
                record.pid
            },
            status: status.word(),
            bundle: &record.bundle,
            rootfs: &record.rootfs,
            created: &record.created,
            annotations: &record.annotations,
            owner,
            // A group that is gone has nothing to tell.
            oom_killed: container
                .group()
                .and_then(|group| Ok(group.oom_kills()?))
                .is_ok_and(|kills| kills > 0),
        }
    }

    /// The cells of `list`.
    pub(super) fn row(&self) -> Vec<String> {
        vec![
            self.id.to_owned(),
            self.pid.to_string(),
            self.status.to_owned(),
            self.bundle.display().to_string(),
            self.created.to_owned(),
            self.owner.clone(),
        ]
    }
}

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let given = Given::parse(&[], words)?;
    let container = Container::open(&global.root, given.id("state")?)?;
    let state = State::of(&container, String::new());
    let text = serde_json::to_string_pretty(&state).map_err(|error| Error::Output(error.into()))?;
    print(&text)
}

//! `pause` and `resume`.

use crate::cli::{Given, Global};
use crate::error::{Error, Result};
use crate::state::{Container, Status};

pub(super) fn run(global: &Global, words: &[String], frozen: bool) -> Result<u8> {
    let given = Given::parse(&[], words)?;
    let verb = if frozen { "pause" } else { "resume" };
    let container = Container::open_locked(&global.root, given.id(verb)?)?;
    let error = |text: &str| Err(Error::State(text.to_owned()));
    match (container.status(), frozen) {
        (Status::Running | Status::Created, true) | (Status::Paused, false) => {
            container.group()?.freeze(frozen)?;
            Ok(0)
        }
        (Status::Paused, true) => error("container already paused"),
        (Status::Stopped | Status::Creating, true) => error("container not running"),
        (_, false) => error("container not paused"),
    }
}

//! `create`: a container whose process waits to be started.

use std::ffi::OsString;

use crate::cli::{Given, Global};
use crate::create::{FLAGS, Request, make};
use crate::error::Result;
use crate::guard;

pub(super) fn run(global: &Global, words: &[String], args: &[OsString]) -> Result<u8> {
    let given = Given::parse(&FLAGS, words)?;
    let id = given.id("create")?;
    let program = guard::ensure(args)?;
    let request = Request {
        global,
        id,
        given: &given,
        gated: true,
        attached: false,
    };
    let made = make(&request, program)?;
    global
        .log
        .debug(&format!("process {} waits to be started", made.spawned.pid));
    Ok(0)
}

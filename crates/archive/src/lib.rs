//! Trees as tar archives, both ways: [`tar`] reads and writes the format, [`pack`] writes what is beneath a folder,
//! [`extract`] makes files of an archive.
//!
//! Either side may be a stranger's. A tree that is packed may change while it is read, and names in an archive may lead
//! anywhere: every path is resolved by the kernel beneath a folder that is open, no device and no fifo is opened, and
//! what is remembered has a limit. Everything is synchronous.

pub mod extract;
pub mod pack;
pub mod tar;

use std::io;

/// The system's reason as C programs say it: lower case, without the number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

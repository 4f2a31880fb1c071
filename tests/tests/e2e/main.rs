//! The real program, driven as a person or a tool would: the built binary, Docker's client, raw
//! HTTP. Every test runs on a private engine and ends with the leak check (see `testkit`).
//!
//! Needs root and the packages that `make deps` installs.

mod flags;
mod http;
mod killed;
mod lifecycle;
mod network;
mod recovery;
mod run;
mod storage;
mod streams;

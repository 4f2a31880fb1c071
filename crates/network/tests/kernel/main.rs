//! The network against a real kernel: each test has a host of its own, which is a network namespace.

#![allow(clippy::unwrap_used)] // a test that can not go on shall panic

mod attach;
mod docker;
mod dual;
mod host;
mod pace;
mod publish;
mod recover;
mod segment;

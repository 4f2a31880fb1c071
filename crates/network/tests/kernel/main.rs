//! The network against a real kernel: each test has a host of its own, which is a network namespace.

mod attach;
mod host;
mod pace;
mod publish;
mod recover;

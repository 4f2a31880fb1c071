//! The real program, driven as a person or a tool would: the built binary, Docker's client, raw
//! HTTP. Every test runs on a private engine and ends with the leak check (see `testkit`).
//!
//! Needs root and the packages that `make deps` installs.

mod activation;
mod census;
mod commit;
mod compare;
mod contexts;
mod copy;
mod crowd;
mod database;
mod day;
mod disk;
mod documents;
mod dropin;
mod duplex;
mod early;
mod events;
mod flags;
mod flags_host;
mod flags_rare;
mod followers;
mod guide;
mod health;
mod http;
mod hung;
mod ipv6;
mod killed;
mod leaving;
mod lifecycle;
mod lingering;
mod names;
mod network;
mod networks;
mod plugins;
mod programs;
mod recovery;
mod registry;
mod remote;
mod resize;
mod router;
mod run;
mod severed;
mod shell;
mod shims;
mod sshd;
mod stalled;
mod stats;
mod storage;
mod streams;
mod table;
mod top;
mod trace;
mod update;
mod wire;

//! Images: names, layers, and how they come and go.

mod built_in;
mod commit;
mod fetch;
mod history;
pub(crate) mod index;
pub(crate) mod layers;
mod list;
mod load;
mod pattern;
mod progress;
mod prune;
pub(crate) mod pull;
mod push;
mod recipe;
mod registries;
mod remove;
mod save;
mod tag;

//! Images: where their content is kept, what describes it, and how it travels.
//!
//! [`store::ContentStore`] keeps blobs by digest; [`manifest`] and [`config`] read what
//! describes an image; [`registry`] fetches images over the distribution API; [`archive`]
//! reads and writes them as tar files. Which names exist is not known here: an image is pure
//! data.

#![warn(missing_docs)]

pub mod archive;
pub mod compression;
pub mod config;
mod error;
pub mod manifest;
pub mod pace;
mod progress;
pub mod registry;
pub mod store;

pub use config::ImageConfig;
pub use error::ImageError;
pub use manifest::{Descriptor, Layer};
pub use progress::{Progress, Silent, words};
pub use store::{BlobReader, BlobWriter, ContentStore, Staged};

//! Layers of images as overlayfs lower folders, and containers' roots mounted over them.
//!
//! A layer is a number and a folder, `layers/N/fs`, written once from a tar stream by [`LayerStore::unpack`] and never
//! changed. A container's root is a detached overlay mount ([`LayerStore::mount`]) of its image's layers, a shared
//! layer with mount points, and an upper folder of its own. What the upper folder adds is told by
//! [`LayerStore::changes`] and written as a layer by [`LayerStore::write_changes`].
//!
//! The crate knows nothing of images, blobs or containers; numbers come from the caller, who knows which are in use.
//! Everything is synchronous and may be called from several threads.

mod changes;
mod error;
mod export;
mod init;
mod mount;
mod store;
mod unpack;
mod usage;
mod whiteout;

pub use archive::tar;
pub use changes::{Change, ChangeKind};
pub use error::SnapshotError;
pub use export::export;
pub use mount::{MAX_LAYERS, MountOptions};
pub use store::{LayerStore, Recovered};
pub use unpack::{Limits, Unpacked};
pub use usage::{Usage, usage_dir};

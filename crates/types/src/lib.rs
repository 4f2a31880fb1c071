//! Plain values that every part of the engine shares: identifiers, digests, image references,
//! platforms and the rules for names.
//!
//! Nothing here does I/O; [`ContainerId::random`] asks the kernel for random bytes, no more.

#![warn(missing_docs)]

mod build;
pub mod detach;
mod digest;
mod id;
mod name;
mod platform;
mod reference;

pub use build::Build;
pub use digest::{Digest, DigestError, DigestReader, DigestWriter, Hasher};
pub use id::{ContainerId, IdError, InstanceId};
pub use name::{CONTAINER_NAME_RULE, valid_container_name, valid_volume_name};
pub use platform::{Platform, PlatformError};
pub use reference::{DEFAULT_DOMAIN, DEFAULT_TAG, Reference, ReferenceError};

/// The most layers of an image, and the most that are mounted for a container, beside the layer of its mount points:
/// what overlayfs takes in every form of its options, and what other engines build. An image with more is refused
/// before its layers are fetched.
pub const MAX_LAYERS: usize = 127;

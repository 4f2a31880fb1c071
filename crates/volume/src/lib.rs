//! Local volumes: folders at `volumes/NAME/_data` that outlive containers.
//!
//! A volume appears and vanishes whole, is filled from an image's folder at its first use ([`VolumeStore::copy_up`]),
//! and is given to a container as a detached mount ([`VolumeStore::open_tree`]). Who uses which volume is the caller's
//! knowledge.

mod bind;
mod device;
mod error;
mod fill;
mod store;
mod turns;

pub use bind::{BindOptions, bind};
pub use device::Device;
pub use error::VolumeError;
pub use store::VolumeStore;

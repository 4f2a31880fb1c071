//! The class of each fault of the crates below: matches without a wildcard, so that a new fault does not compile
//! until somebody decides what clients see.

use std::io;

use image::ImageError;
use image::archive::ArchiveError;
use image::registry::RegistryError;
use net::HelperError;
use network::NetworkError;
use runtime::cgroup::CgroupError;
use shim::ShimError;
use shim::protocol::Refusal;
use snapshot::SnapshotError;
use volume::VolumeError;

use super::Class;

/// A system error: want of space or memory is told apart.
pub(super) fn of_io(source: &io::Error) -> Class {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            Class::Exhausted
        }
        _ => Class::Internal,
    }
}

pub(super) fn of_shim(error: &ShimError) -> Class {
    match error {
        ShimError::Io { source, .. } => of_io(source),
        ShimError::Wire { .. } | ShimError::Launcher { .. } => Class::Internal,
        ShimError::Closed => Class::Conflict,
        ShimError::Refused { refusal } => match refusal {
            Refusal::Fault { .. } => Class::InvalidArgument,
            Refusal::NotRunning
            | Refusal::ExecExists
            | Refusal::Without { .. }
            | Refusal::Invalid { .. } => Class::Conflict,
            Refusal::NoSuchExec => Class::NotFound,
            Refusal::Unsupported { .. } => Class::Unsupported,
            Refusal::System { .. } => Class::Internal,
        },
    }
}

pub(super) fn of_network(error: &NetworkError) -> Class {
    match error {
        NetworkError::BridgeAndAddress { .. } | NetworkError::AddressOutside { .. } => {
            Class::InvalidArgument
        }
        NetworkError::NoSuchBridge { .. } | NetworkError::NoSuchSegment { .. } => Class::NotFound,
        NetworkError::NotOurBridge { .. }
        | NetworkError::BridgeWithoutAddress { .. }
        | NetworkError::AddressTaken { .. } => Class::Conflict,
        NetworkError::PortAllocated { .. } | NetworkError::PortRefused { .. } => Class::Internal,
        NetworkError::NoFreeSubnet
        | NetworkError::BridgeFull { .. }
        | NetworkError::SubnetExhausted { .. }
        | NetworkError::NoFreePort { .. } => Class::Exhausted,
        NetworkError::MissingFeature { .. } => Class::Unsupported,
        NetworkError::Namespace { source, .. }
        | NetworkError::Link { source, .. }
        | NetworkError::Firewall { source, .. }
        | NetworkError::List { source, .. }
        | NetworkError::Conntrack { source }
        | NetworkError::Socket { source }
        | NetworkError::Setting { source, .. } => of_io(source),
    }
}

pub(super) fn of_names(error: &HelperError) -> Class {
    match error {
        HelperError::Io { source, .. } => of_io(source),
        HelperError::Strange | HelperError::Refused { .. } => Class::Internal,
        HelperError::TooLong => Class::InvalidArgument,
    }
}

pub(super) fn of_snapshot(error: &SnapshotError) -> Class {
    match error {
        SnapshotError::Folder { source, .. }
        | SnapshotError::Entry { source, .. }
        | SnapshotError::Tree { source, .. }
        | SnapshotError::Mount { source, .. }
        | SnapshotError::Thread(source)
        | SnapshotError::Write(source)
        | SnapshotError::Stream { source, .. } => of_io(source),
        SnapshotError::Exists { .. } => Class::Internal,
        SnapshotError::Missing { .. } => Class::NotFound,
        SnapshotError::Archive { .. }
        | SnapshotError::Escapes { .. }
        | SnapshotError::Limit { .. }
        | SnapshotError::WrongDigest { .. } => Class::InvalidArgument,
        SnapshotError::TooDeep { .. } => Class::Unsupported,
    }
}

pub(super) fn of_volume(error: &VolumeError) -> Class {
    match error {
        VolumeError::InvalidName { .. }
        | VolumeError::ShortName
        | VolumeError::LongName
        | VolumeError::Escape { .. }
        | VolumeError::Subpath { .. } => Class::InvalidArgument,
        VolumeError::Missing { .. } => Class::NotFound,
        VolumeError::Attach { .. } => Class::Internal,
        VolumeError::Used { .. } | VolumeError::Underway { .. } => Class::Conflict,
        VolumeError::CopyUp { source, .. }
        | VolumeError::Folder { source, .. }
        | VolumeError::Store { source, .. }
        | VolumeError::Mount { source, .. } => of_io(source),
    }
}

pub(super) fn of_image(error: &ImageError) -> Class {
    match error {
        ImageError::Store { source, .. } => of_io(source),
        ImageError::BlobMissing { .. }
        | ImageError::NoPlatform { .. }
        | ImageError::PlatformMismatch { .. } => Class::NotFound,
        ImageError::DigestMismatch { .. }
        | ImageError::SizeMismatch { .. }
        | ImageError::Interrupted { .. } => Class::Internal,
        ImageError::TooLarge { .. }
        | ImageError::Manifest(_)
        | ImageError::RemoteManifest { .. } => Class::InvalidArgument,
        ImageError::Registry(error) => of_registry(error),
        ImageError::Archive(error) => match error {
            ArchiveError::Write { source } => of_io(source),
            ArchiveError::NoPlatform { .. } => Class::NotFound,
            ArchiveError::Header { .. }
            | ArchiveError::Truncated
            | ArchiveError::Read { .. }
            | ArchiveError::TooMany { .. }
            | ArchiveError::NoImage
            | ArchiveError::Document { .. }
            | ArchiveError::Missing { .. }
            | ArchiveError::LayerCount { .. }
            | ArchiveError::DiffId { .. }
            | ArchiveError::Tag { .. } => Class::InvalidArgument,
        },
    }
}

fn of_registry(error: &RegistryError) -> Class {
    match error {
        RegistryError::ManifestUnknown { .. }
        | RegistryError::NameUnknown { .. }
        | RegistryError::Denied { .. } => Class::NotFound,
        RegistryError::Unauthorized { .. } => Class::Unauthorized,
        RegistryError::Address { .. } | RegistryError::TooManyTags { .. } => Class::InvalidArgument,
        RegistryError::Download { status, .. } | RegistryError::Told { status, .. } => {
            match status.as_u16() {
                400 => Class::InvalidArgument,
                401 => Class::Unauthorized,
                403 => Class::Forbidden,
                404 => Class::NotFound,
                _ => Class::Internal,
            }
        }
        // As Docker's daemon: at 401 its client asks for a password, and waits where nobody is to give one.
        RegistryError::NoCredentials { .. } => Class::Internal,
        RegistryError::NoSearch { .. } => Class::Unsupported,
        RegistryError::Transport { .. }
        | RegistryError::Refused { .. }
        | RegistryError::Login { .. }
        | RegistryError::Answer { .. }
        | RegistryError::Garbage { .. }
        | RegistryError::Status { .. }
        | RegistryError::ManifestDigest { .. }
        | RegistryError::BlobDigest { .. } => Class::Internal,
        RegistryError::Attempts { source, .. } => of_registry(source),
    }
}

pub(super) fn of_cgroup(error: &CgroupError) -> Class {
    match error {
        CgroupError::NotMounted
        | CgroupError::NoController { .. }
        | CgroupError::Unsupported { .. } => Class::Unsupported,
        CgroupError::BelowUse { .. }
        | CgroupError::InUse { .. }
        | CgroupError::NoRealtime { .. }
        | CgroupError::NoPageSize { .. }
        | CgroupError::BadUnified { .. }
        | CgroupError::NoUnified { .. }
        | CgroupError::BadPath { .. } => Class::InvalidArgument,
        CgroupError::Layout { source, .. }
        | CgroupError::Make { source, .. }
        | CgroupError::Open { source, .. }
        | CgroupError::Write { source, .. }
        | CgroupError::Read { source, .. }
        | CgroupError::Remove { source, .. }
        | CgroupError::Signal { source, .. }
        | CgroupError::DeviceProgram { source, .. } => of_io(source),
        CgroupError::Content { .. }
        | CgroupError::Timeout { .. }
        | CgroupError::Populated { .. }
        | CgroupError::Held
        | CgroupError::Restless { .. } => Class::Internal,
        CgroupError::Gone { .. } => Class::NotFound,
    }
}

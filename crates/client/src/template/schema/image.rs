//! Images.

use super::container::{CONFIG, TEXT_SET};
use super::{embedded, field, maybe, maybe_named, named, pointer, structure};
use crate::template::value::{BOOL, INT, INT64, TEXT, TEXT_MAP, TEXTS, Type};

static TIME: Type = Type::Time;
static SPAN: Type = Type::Duration;
static DIGEST: Type = Type::Text("digest.Digest");
static BYTE: Type = Type::Uint("uint8");
static BYTES: Type = Type::List("", &BYTE);
static MANIFESTS: Type = Type::List("", &MANIFEST);
static MANIFEST_KIND: Type = Type::Text("image.ManifestKind");

/// What a descriptor points to, by a pointer.
pub(super) static DESCRIPTOR: Type = Type::Pointer(&DESCRIPTOR_OF);
/// How health is looked after, by a pointer.
pub(super) static HEALTHCHECK: Type = Type::Pointer(&HEALTHCHECK_OF);

pointer! {
    CONTAINER_CONFIG = CONFIG;
    IMAGE_CONFIG = IMAGE_CONFIG_OF;
    PLATFORM = PLATFORM_OF;
    IMAGE_DATA = IMAGE_DATA_OF;
    ATTESTATION = ATTESTATION_OF;
}

structure! {
    /// An image as `inspect` tells of it.
    pub(crate) INSPECT = "image.InspectResponse" [
        named("ID", "Id", &TEXT),
        field("RepoTags", &TEXTS),
        field("RepoDigests", &TEXTS),
        field("Parent", &TEXT),
        field("Comment", &TEXT),
        maybe("Created", &TEXT),
        maybe("Container", &TEXT),
        maybe("ContainerConfig", &CONTAINER_CONFIG),
        field("DockerVersion", &TEXT),
        field("Author", &TEXT),
        field("Config", &IMAGE_CONFIG),
        field("Architecture", &TEXT),
        maybe("Variant", &TEXT),
        field("Os", &TEXT),
        maybe("OsVersion", &TEXT),
        field("Size", &INT64),
        maybe("VirtualSize", &INT64),
        field("GraphDriver", &DRIVER_DATA),
        field("RootFS", &ROOT_FS),
        field("Metadata", &METADATA),
        maybe("Descriptor", &DESCRIPTOR),
        maybe("Manifests", &MANIFESTS),
    ];
    IMAGE_CONFIG_OF = "v1.DockerOCIImageConfig" [
        embedded("ImageConfig", &OCI_CONFIG),
        embedded("DockerOCIImageConfigExt", &CONFIG_EXTENSION),
    ];
    OCI_CONFIG = "v1.ImageConfig" [
        maybe("User", &TEXT),
        maybe("ExposedPorts", &TEXT_SET),
        maybe("Env", &TEXTS),
        maybe("Entrypoint", &TEXTS),
        maybe("Cmd", &TEXTS),
        maybe("Volumes", &TEXT_SET),
        maybe("WorkingDir", &TEXT),
        maybe("Labels", &TEXT_MAP),
        maybe("StopSignal", &TEXT),
        maybe("ArgsEscaped", &BOOL),
    ];
    CONFIG_EXTENSION = "v1.DockerOCIImageConfigExt" [
        maybe("Healthcheck", &HEALTHCHECK),
        maybe("OnBuild", &TEXTS),
        maybe("Shell", &TEXTS),
    ];
    HEALTHCHECK_OF = "v1.HealthcheckConfig" [
        maybe("Test", &TEXTS),
        maybe("Interval", &SPAN),
        maybe("Timeout", &SPAN),
        maybe("StartPeriod", &SPAN),
        maybe("StartInterval", &SPAN),
        maybe("Retries", &INT),
    ];
    /// Where the layers lie.
    pub(super) DRIVER_DATA = "storage.DriverData" [field("Data", &TEXT_MAP), field("Name", &TEXT)];
    ROOT_FS = "image.RootFS" [maybe("Type", &TEXT), maybe("Layers", &TEXTS)];
    METADATA = "image.Metadata" [field("LastTagTime", &TIME)];
    DESCRIPTOR_OF = "v1.Descriptor" [
        named("MediaType", "mediaType", &TEXT),
        named("Digest", "digest", &DIGEST),
        named("Size", "size", &INT64),
        maybe_named("URLs", "urls", &TEXTS),
        maybe_named("Annotations", "annotations", &TEXT_MAP),
        maybe_named("Data", "data", &BYTES),
        maybe_named("Platform", "platform", &PLATFORM),
        maybe_named("ArtifactType", "artifactType", &TEXT),
    ];
    PLATFORM_OF = "v1.Platform" [
        named("Architecture", "architecture", &TEXT),
        named("OS", "os", &TEXT),
        maybe_named("OSVersion", "os.version", &TEXT),
        maybe_named("OSFeatures", "os.features", &TEXTS),
        maybe_named("Variant", "variant", &TEXT),
    ];
    MANIFEST = "image.ManifestSummary" [
        field("ID", &TEXT),
        field("Descriptor", &DESCRIPTOR_OF),
        field("Available", &BOOL),
        field("Size", &MANIFEST_SIZE),
        field("Kind", &MANIFEST_KIND),
        maybe("ImageData", &IMAGE_DATA),
        maybe("AttestationData", &ATTESTATION),
    ];
    MANIFEST_SIZE = "struct { Content int64 \"json:\\\"Content\\\"\"; Total int64 \"json:\\\"Total\\\"\" }" [
        field("Content", &INT64),
        field("Total", &INT64),
    ];
    IMAGE_DATA_OF = "image.ImageProperties" [
        field("Platform", &PLATFORM_OF),
        field("Size", &UNPACKED_SIZE),
        field("Containers", &TEXTS),
    ];
    UNPACKED_SIZE = "struct { Unpacked int64 \"json:\\\"Unpacked\\\"\" }" [field("Unpacked", &INT64)];
    ATTESTATION_OF = "image.AttestationProperties" [field("For", &DIGEST)];
}

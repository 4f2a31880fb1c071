//! Images.

use std::collections::BTreeMap;

use crate::config::ImageConfig;
use crate::container::GraphDriver;
use crate::wire::wire;

wire! {
    /// Everything about one image.
    pub struct ImageInspect {
        /// Id: the digest of its configuration.
        id: String = "Id",
        /// Names with tags.
        repo_tags: Vec<String> = "RepoTags",
        /// Names with digests.
        repo_digests: Vec<String> = "RepoDigests",
        /// Id of the image it was built upon, when it was built here by the old builder.
        parent: String = "Parent" omitempty,
        /// A word from who made it.
        comment: String = "Comment" omitempty,
        /// When it was made (RFC 3339 with nanoseconds).
        created: String = "Created" omitempty,
        /// Version of the engine that made it.
        docker_version: String = "DockerVersion" omitempty,
        /// Who made it.
        author: String = "Author" omitempty,
        /// What containers inherit.
        config: Option<ImageConfig> = "Config",
        /// Processor, in Go's words.
        architecture: String = "Architecture",
        /// Variant of the processor.
        variant: String = "Variant" omitempty,
        /// Operating system.
        os: String = "Os",
        /// Version of the operating system (Windows).
        os_version: String = "OsVersion" omitempty,
        /// Bytes of its layers.
        size: i64 = "Size",
        /// Where its layers are.
        graph_driver: Option<GraphDriver> = "GraphDriver" omitempty,
        /// Its layers.
        root_fs: RootFs = "RootFS",
        /// What the engine adds.
        metadata: ImageMetadata = "Metadata",
        /// What its name points to in a registry.
        descriptor: Option<Descriptor> = "Descriptor" omitempty,
    }
}

wire! {
    /// The layers of an image.
    pub struct RootFs {
        /// `layers`.
        kind: String = "Type" omitempty,
        /// Digest of each layer's files, bottom first.
        layers: Vec<String> = "Layers" omitempty,
    }
}

wire! {
    /// What the engine adds to an image.
    pub struct ImageMetadata {
        /// When it was last tagged here; `0001-01-01T00:00:00Z` for never.
        last_tag_time: String = "LastTagTime" omitempty,
    }
}

wire! {
    /// A pointer to content.
    pub struct Descriptor {
        /// Media type.
        media_type: String = "mediaType",
        /// Digest.
        digest: String = "digest",
        /// Bytes.
        size: i64 = "size",
        /// Where else it may be.
        urls: Vec<String> = "urls" omitempty,
        /// Words about it.
        annotations: BTreeMap<String, String> = "annotations" omitempty,
        /// Platform.
        platform: Option<DescriptorPlatform> = "platform" omitempty,
        /// Media type of what it is, if it is not an image.
        artifact_type: String = "artifactType" omitempty,
    }
}

wire! {
    /// The platform of content.
    pub struct DescriptorPlatform {
        /// Processor, in Go's words.
        architecture: String = "architecture",
        /// Operating system.
        os: String = "os",
        /// Version of the operating system.
        os_version: String = "os.version" omitempty,
        /// Features of the operating system.
        os_features: Vec<String> = "os.features" omitempty,
        /// Variant of the processor.
        variant: String = "variant" omitempty,
    }
}

wire! {
    /// What a registry has under a name.
    pub struct DistributionInspect {
        /// What the name points to.
        descriptor: Descriptor = "Descriptor",
        /// What it is for; `null` where that is not known.
        platforms: Option<Vec<DescriptorPlatform>> = "Platforms",
    }
}

wire! {
    /// One image in a list.
    pub struct ImageSummary {
        /// How many containers use it; -1 for not counted.
        containers: i64 = "Containers",
        /// When it was made, in seconds since 1970.
        created: i64 = "Created",
        /// Id.
        id: String = "Id",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// Id of the image it was built upon.
        parent_id: String = "ParentId",
        /// What its name points to in a registry.
        descriptor: Option<Descriptor> = "Descriptor" omitempty,
        /// Names with digests.
        repo_digests: Vec<String> = "RepoDigests",
        /// Names with tags.
        repo_tags: Vec<String> = "RepoTags",
        /// Bytes that it shares with others; -1 for not counted.
        shared_size: i64 = "SharedSize",
        /// Bytes of its layers.
        size: i64 = "Size",
    }
}

wire! {
    /// One step of how an image was made.
    pub struct HistoryItem {
        /// Words from who made it.
        comment: String = "Comment",
        /// When, in seconds since 1970.
        created: i64 = "Created",
        /// The step.
        created_by: String = "CreatedBy",
        /// Id of the image that it made, or `<missing>`.
        id: String = "Id",
        /// Bytes that it added.
        size: i64 = "Size",
        /// Names of the image that it made.
        tags: Option<Vec<String>> = "Tags",
    }
}

wire! {
    /// A name or an image that is gone: one of both.
    pub struct ImageDeleted {
        /// The id that was deleted.
        deleted: String = "Deleted" omitempty,
        /// The name that was removed.
        untagged: String = "Untagged" omitempty,
    }
}

wire! {
    /// A repository that a search found.
    pub struct SearchResult {
        /// How many people like it.
        star_count: i64 = "star_count",
        /// Whether the registry's owners make it.
        is_official: bool = "is_official",
        /// Its name.
        name: String = "name",
        /// Whether it is built by the registry.
        is_automated: bool = "is_automated",
        /// What it says of itself.
        description: String = "description",
    }
}

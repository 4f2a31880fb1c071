//! The image configuration: what a container of the image runs, and what its layers contain.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use types::{Digest, Platform};

use crate::manifest::{MAX_LAYERS, ManifestError, or_default, parse_object};

/// The largest configuration that is read, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// A parsed image configuration beside the bytes it was read from. The digest of the bytes is
/// the image's id.
#[derive(Debug, Clone)]
pub struct ImageConfig {
    raw: Vec<u8>,
    document: ConfigDocument,
}

/// The fields of an image configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigDocument {
    /// When the image was made, RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, deserialize_with = "or_default")]
    pub author: String,
    /// Processor architecture.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// The architecture's variant.
    #[serde(default)]
    pub variant: Option<String>,
    /// Operating system.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// The operating system's version, where there is one.
    #[serde(default, rename = "os.version")]
    pub os_version: Option<String>,
    /// What a container runs unless its creator says otherwise.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ContainerDefaults,
    /// The layers' content.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
    /// How the image was made, the oldest step first.
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<HistoryEntry>,
    /// The engine that made it.
    #[serde(default, deserialize_with = "or_default")]
    pub docker_version: String,
    /// A remark of a commit.
    #[serde(default, deserialize_with = "or_default")]
    pub comment: String,
}

/// The digests of the uncompressed layers, the lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// One for each layer.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// By which command.
    #[serde(default, deserialize_with = "or_default")]
    pub created_by: String,
    /// By whom.
    #[serde(default, deserialize_with = "or_default")]
    pub author: String,
    /// A remark.
    #[serde(default, deserialize_with = "or_default")]
    pub comment: String,
    /// Whether the step changed only the configuration and made no layer.
    #[serde(default, deserialize_with = "or_default")]
    pub empty_layer: bool,
}

/// What a container of the image runs unless its creator says otherwise, in Docker's names.
/// `None` is absent or null, which is not the same as empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerDefaults {
    /// User, and group after a colon, by name or number.
    #[serde(default, deserialize_with = "or_default")]
    pub user: String,
    /// Ports that the program listens on, such as `80/tcp`.
    #[serde(default, with = "set")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// `NAME=value`.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// What is executed, before [`ContainerDefaults::cmd`].
    #[serde(default, deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments, or the command if there is no entry point.
    #[serde(default, deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// Folders that get an anonymous volume.
    #[serde(default, with = "set")]
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// The first process's working folder.
    #[serde(default, deserialize_with = "or_default")]
    pub working_dir: String,
    /// Free-form notes.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// What `stop` sends first, by name or number.
    #[serde(default, deserialize_with = "or_default")]
    pub stop_signal: String,
    /// Seconds that `stop` waits.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
    /// How to tell whether the container is healthy.
    #[serde(default)]
    pub healthcheck: Option<Healthcheck>,
    /// The shell of commands given as one string.
    #[serde(default, deserialize_with = "words")]
    pub shell: Option<Vec<String>>,
    /// Instructions for the builds that start from this image.
    #[serde(default)]
    pub on_build: Option<Vec<String>>,
    /// Whether the command is escaped already (Windows).
    #[serde(default, deserialize_with = "or_default")]
    pub args_escaped: bool,
    /// The name of the container that the image was made from.
    #[serde(default, deserialize_with = "or_default")]
    pub hostname: String,
    /// Its domain.
    #[serde(default, deserialize_with = "or_default")]
    pub domainname: String,
    /// Whether standard input is attached.
    #[serde(default, deserialize_with = "or_default")]
    pub attach_stdin: bool,
    /// Whether standard output is attached.
    #[serde(default, deserialize_with = "or_default")]
    pub attach_stdout: bool,
    /// Whether standard error is attached.
    #[serde(default, deserialize_with = "or_default")]
    pub attach_stderr: bool,
    /// Whether a terminal is made.
    #[serde(default, deserialize_with = "or_default")]
    pub tty: bool,
    /// Whether standard input stays open.
    #[serde(default, deserialize_with = "or_default")]
    pub open_stdin: bool,
    /// Whether standard input ends with its first client.
    #[serde(default, deserialize_with = "or_default")]
    pub stdin_once: bool,
    /// The parent image's name or id.
    #[serde(default, deserialize_with = "or_default")]
    pub image: String,
}

/// How to tell whether a container is healthy. Times are nanoseconds; 0 means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    #[serde(default)]
    pub test: Option<Vec<String>>,
    /// Between two checks.
    #[serde(default, deserialize_with = "or_default")]
    pub interval: i64,
    /// For one check.
    #[serde(default, deserialize_with = "or_default")]
    pub timeout: i64,
    /// After the start, when failures do not count.
    #[serde(default, deserialize_with = "or_default")]
    pub start_period: i64,
    /// Between two checks while starting.
    #[serde(default, deserialize_with = "or_default")]
    pub start_interval: i64,
    /// Failures in a row until it is unhealthy.
    #[serde(default, deserialize_with = "or_default")]
    pub retries: i64,
}

/// The value of a set's member in Docker's JSON: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Sets as maps of empty objects; readers take any value, since some tools write `null`.
mod set {
    use super::*;

    pub(super) fn deserialize<'de, D>(
        deserializer: D,
    ) -> Result<Option<BTreeMap<String, Empty>>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let map = Option::<BTreeMap<String, IgnoredAny>>::deserialize(deserializer)?;
        Ok(map.map(|map| map.into_keys().map(|key| (key, Empty {})).collect()))
    }

    pub(super) fn serialize<S>(
        value: &Option<BTreeMap<String, Empty>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        value.serialize(serializer)
    }
}

/// A list of words, or one word alone, as old images have it.
fn words<'de, D>(deserializer: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(
        Option::<Words>::deserialize(deserializer)?.map(|words| match words {
            Words::Many(list) => list,
            Words::One(word) => vec![word],
        }),
    )
}

impl ImageConfig {
    /// Reads a configuration and keeps its bytes.
    ///
    /// # Errors
    /// [`ManifestError`] if it is not JSON of this form, larger than [`MAX_CONFIG_BYTES`], or
    /// has more than [`MAX_LAYERS`] layers.
    pub fn parse(raw: Vec<u8>) -> Result<ImageConfig, ManifestError> {
        if raw.len() as u64 > MAX_CONFIG_BYTES {
            return Err(ManifestError::Form {
                reason: format!("the image configuration is larger than {MAX_CONFIG_BYTES} bytes"),
            });
        }
        let document: ConfigDocument =
            parse_object(&raw).map_err(|source| ManifestError::Json {
                what: "image configuration",
                source,
            })?;
        let count = document.rootfs.diff_ids.len();
        if count > MAX_LAYERS {
            return Err(ManifestError::TooManyLayers { count });
        }
        Ok(ImageConfig { raw, document })
    }

    /// A configuration for an image made here, serialised once.
    ///
    /// # Errors
    /// As [`ImageConfig::parse`].
    pub fn from_document(document: ConfigDocument) -> Result<ImageConfig, ManifestError> {
        let raw = serde_json::to_vec(&document).map_err(|source| ManifestError::Json {
            what: "image configuration",
            source,
        })?;
        ImageConfig::parse(raw)
    }

    /// The image's id: the digest of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.raw)
    }

    /// The bytes as they came.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The fields.
    pub fn document(&self) -> &ConfigDocument {
        &self.document
    }

    /// What a container runs.
    pub fn container(&self) -> &ContainerDefaults {
        &self.document.config
    }

    /// The digests of the uncompressed layers, the lowest first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.document.rootfs.diff_ids
    }

    /// What the image is for; the host's system and architecture where it does not say.
    pub fn platform(&self) -> Platform {
        let host = Platform::host();
        let or = |given: &str, host: &str| {
            if given.is_empty() {
                host.to_owned()
            } else {
                given.to_owned()
            }
        };
        Platform::new(
            &or(&self.document.os, host.os()),
            &or(&self.document.architecture, host.architecture()),
            self.document.variant.as_deref(),
        )
    }

    /// The chain ids of the layers: each names a layer together with all below it.
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::with_capacity(self.diff_ids().len());
        for diff_id in self.diff_ids() {
            let next = match chain.last() {
                None => *diff_id,
                Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
            };
            chain.push(next);
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_names_are_read_and_bytes_are_kept() {
        let raw = br#"{"architecture":"arm64","variant":"v8","os":"linux","created":"2026-01-02T03:04:05Z",
            "config":{"Env":["A=b"],"Cmd":["sh"],"Entrypoint":null,"Volumes":{"/data":{}},
            "ExposedPorts":{"80/tcp":null},"Labels":null,"StopSignal":"SIGQUIT","Shell":"bash",
            "Healthcheck":{"Test":["CMD","true"],"Interval":5000000000}},
            "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
            "history":[{"created_by":"x","empty_layer":true}],"unknown":{"x":1}}"#;
        let config = ImageConfig::parse(raw.to_vec()).unwrap();
        assert_eq!(config.raw(), raw);
        assert_eq!(config.digest(), Digest::sha256(raw));
        assert_eq!(config.platform().to_string(), "linux/arm64");
        let container = config.container();
        assert_eq!(container.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(container.entrypoint, None);
        assert_eq!(container.shell.as_deref(), Some(&["bash".to_owned()][..]));
        assert!(container.volumes.as_ref().unwrap().contains_key("/data"));
        assert!(
            container
                .exposed_ports
                .as_ref()
                .unwrap()
                .contains_key("80/tcp")
        );
        assert_eq!(
            container.healthcheck.as_ref().unwrap().interval,
            5_000_000_000
        );
        assert!(config.document().history[0].empty_layer);
    }

    #[test]
    fn nulls_are_defaults_and_wrong_types_are_errors() {
        let config =
            ImageConfig::parse(br#"{"config":null,"rootfs":null,"history":null}"#.to_vec());
        assert_eq!(config.unwrap().document(), &ConfigDocument::default());
        for text in [
            &b"[]"[..],
            b"",
            b"{\"config\":7}",
            b"{\"rootfs\":{\"diff_ids\":[1]}}",
        ] {
            assert!(ImageConfig::parse(text.to_vec()).is_err());
        }
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let one = Digest::sha256(b"1");
        let two = Digest::sha256(b"2");
        let rootfs = RootFs {
            kind: "layers".into(),
            diff_ids: vec![one, two],
        };
        let document = ConfigDocument {
            rootfs,
            ..ConfigDocument::default()
        };
        let chain = ImageConfig::from_document(document).unwrap().chain_ids();
        assert_eq!(
            chain,
            [one, Digest::sha256(format!("{one} {two}").as_bytes())]
        );
    }
}

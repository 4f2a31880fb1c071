//! Lists of manifests that are being put together, in docker's files: `manifests/LIST/MANIFEST` in the folder of the client's
//! configuration. Each client reads what the other wrote.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use types::{Digest, Reference};

use super::text;
use crate::failure::Failure;
use crate::file;
use crate::registries::{Document, RemoteImage};

/// More manifests than this are no list.
const MOST: usize = 1024;
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What an image is for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub(super) os_version: String,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub(super) os_features: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
}

/// What names a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

/// An image of a list: docker's document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Manifest {
    #[serde(rename = "Ref")]
    reference: String,
    pub(super) descriptor: Descriptor,
    /// The manifest's text in base 64. Older clients left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    #[serde(
        rename = "SchemaV2Manifest",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    docker: Option<Box<RawValue>>,
    #[serde(
        rename = "OCIManifest",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    oci: Option<Box<RawValue>>,
}

impl Manifest {
    /// Of an image that is in a registry under a name.
    ///
    /// # Errors
    /// Its texts are no JSON.
    pub(super) fn of(name: &str, image: &RemoteImage) -> Result<Self, Failure> {
        let invalid = |error: serde_json::Error| {
            Failure::Invalid(format!("{name} is no image for a list: {error}"))
        };
        let platform = match &image.platform {
            Some(platform) => serde_json::from_value(platform.clone()),
            None => serde_json::from_slice(&image.config),
        };
        let manifest = &image.manifest;
        let text = String::from_utf8_lossy(&manifest.bytes);
        let value = RawValue::from_string(text::compact(&text)).map_err(invalid)?;
        let (docker, oci) = match manifest.media_type.as_str() {
            OCI_MANIFEST => (None, Some(value)),
            _ => (Some(value), None),
        };
        Ok(Manifest {
            reference: name.to_owned(),
            descriptor: Descriptor {
                media_type: manifest.media_type.clone(),
                digest: manifest.digest,
                size: manifest.bytes.len() as u64,
                platform: Some(platform.map_err(invalid)?),
            },
            raw: Some(STANDARD.encode(&manifest.bytes)),
            docker,
            oci,
        })
    }

    /// Its name.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn name(&self) -> Result<Reference, Failure> {
        parse(&self.reference)
    }

    /// The manifest as it stands in its registry.
    ///
    /// # Errors
    /// The file does not have it any more.
    pub(super) fn document(&self) -> Result<Document, Failure> {
        let digest = self.descriptor.digest;
        let laid_out = self.docker.as_ref().or(self.oci.as_ref()).map(|value| {
            let text = value.get();
            // Those that have no text in base 64 were written without space; this is how tools lay manifests out.
            let units = ["   ", "  ", "\t"].map(|unit| text::indent(text, unit).into_bytes());
            let plain = [text.as_bytes().to_vec(), text::compact(text).into_bytes()];
            units.into_iter().chain(plain)
        });
        let raw = self.raw.as_ref().and_then(|raw| STANDARD.decode(raw).ok());
        let bytes = raw
            .into_iter()
            .chain(laid_out.into_iter().flatten())
            .find(|bytes| Digest::sha256(bytes) == digest);
        let lost = || {
            Failure::Invalid(format!(
                "invalid manifest file: {} is not {digest}",
                self.reference
            ))
        };
        Ok(Document {
            media_type: self.descriptor.media_type.clone(),
            digest,
            bytes: bytes.ok_or_else(lost)?,
        })
    }

    /// The blobs that it names.
    ///
    /// # Errors
    /// The file does not have the manifest any more.
    pub(super) fn blobs(&self) -> Result<Vec<Digest>, Failure> {
        #[derive(Deserialize)]
        struct Named {
            digest: Digest,
        }
        #[derive(Deserialize)]
        struct Names {
            config: Named,
            #[serde(default)]
            layers: Vec<Named>,
        }
        let names: Names = serde_json::from_slice(&self.document()?.bytes)
            .map_err(|error| Failure::Invalid(format!("invalid manifest file: {error}")))?;
        let layers = names.layers.into_iter().map(|layer| layer.digest);
        Ok([names.config.digest].into_iter().chain(layers).collect())
    }

    /// As docker writes it.
    pub(super) fn json(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        text::without_markup(&text)
    }
}

/// A name with a tag, or a digest.
///
/// # Errors
/// It is none.
pub(super) fn parse(name: &str) -> Result<Reference, Failure> {
    let name = Reference::parse_normalized(name);
    let name = name.map_err(|error| Failure::Invalid(error.to_string()))?;
    Ok(match name.digest() {
        Some(_) => name,
        None => name.with_default_tag(),
    })
}

/// The lists of a configuration's folder.
pub(super) struct Lists(PathBuf);

impl Lists {
    pub(super) fn of(configuration: &Path) -> Self {
        Lists(configuration.join("manifests"))
    }

    fn folder(&self, list: &Reference) -> PathBuf {
        self.0.join(file_name(list))
    }

    /// All of a list, in the order of their files' names; nothing if there is none.
    ///
    /// # Errors
    /// Files that can not be read.
    pub(super) fn all(&self, list: &Reference) -> Result<Option<Vec<Manifest>>, Failure> {
        let folder = self.folder(list);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(opening(&folder)(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            if paths.len() == MOST {
                return Err(Failure::Plain(format!(
                    "{} holds more than {MOST} manifests",
                    folder.display()
                )));
            }
            paths.push(entry.map_err(opening(&folder))?.path());
        }
        paths.sort();
        let all = paths.iter().filter_map(|path| read(path).transpose());
        all.collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// One of a list; nothing if it has none of that name.
    ///
    /// # Errors
    /// A file that can not be read.
    pub(super) fn one(
        &self,
        list: &Reference,
        name: &Reference,
    ) -> Result<Option<Manifest>, Failure> {
        read(&self.folder(list).join(file_name(name)))
    }

    /// Puts one into a list, in place of the one of that name.
    ///
    /// # Errors
    /// The file can not be written.
    pub(super) fn keep(
        &self,
        list: &Reference,
        name: &Reference,
        manifest: &Manifest,
    ) -> Result<(), Failure> {
        let folder = self.folder(list);
        fs::create_dir_all(&folder)
            .map_err(Failure::local(format!("mkdir {}", folder.display())))?;
        let path = folder.join(file_name(name));
        fs::write(&path, manifest.json()).map_err(opening(&path))
    }

    /// Forgets a list.
    ///
    /// # Errors
    /// Its files can not be removed.
    pub(super) fn forget(&self, list: &Reference) -> Result<(), Failure> {
        let folder = self.folder(list);
        fs::remove_dir_all(&folder).map_err(Failure::local(format!("remove {}", folder.display())))
    }
}

fn opening(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    Failure::local(format!("open {}", path.display()))
}

fn read(path: &Path) -> Result<Option<Manifest>, Failure> {
    let text = file::content_if_there(path).map_err(opening(path))?;
    if text.is_empty() {
        return Ok(None);
    }
    let manifest = serde_json::from_slice(&text);
    manifest.map(Some).map_err(|error| {
        Failure::Invalid(format!("invalid manifest file {}: {error}", path.display()))
    })
}

/// A name as the name of a file.
fn file_name(name: &Reference) -> String {
    name.to_string().replace(':', "-").replace('/', "_")
}

//! All images and their names in memory: a mirror of their rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use api_types::ImageConfig;
use image::ContentStore;
use serde::{Deserialize, Serialize};
use types::{Digest, Platform, Reference, ReferenceError};

use crate::outcome::{EngineError, Result};
use crate::store::rows::{self, ImageRow, LayerRow};

/// Version of the stored document.
const VERSION: u32 = 1;

/// What the store keeps of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImageDoc {
    pub(crate) version: u32,
    /// The image's own configuration, byte for byte: its SHA-256 is the image's id.
    pub(crate) config: String,
    /// Nanoseconds since 1970, when a name was last given; 0 for never.
    pub(crate) tagged: i64,
    /// The manifest that described it where it came from, if any.
    pub(crate) manifest: Option<Digest>,
    /// Compressed layers as they came, the lowest first: media type, digest, size. Kept for `save`.
    pub(crate) blobs: Vec<BlobDoc>,
    /// Built into the program: not removed as long as the program is.
    pub(crate) built_in: bool,
}

/// A layer's blob as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BlobDoc {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// An image, parsed.
#[derive(Debug)]
pub(crate) struct Image {
    /// Digest of its configuration.
    pub(crate) id: Digest,
    /// When it was built, nanoseconds since 1970; 0 when it does not say.
    pub(crate) created: i64,
    pub(crate) doc: ImageDoc,
    pub(crate) parsed: image::ImageConfig,
    /// What containers inherit.
    pub(crate) config: ImageConfig,
    /// Chain ids, the lowest layer's first.
    pub(crate) chains: Vec<Digest>,
}

impl Image {
    /// Parses an image's own configuration.
    ///
    /// # Errors
    /// The configuration is not one.
    pub(crate) fn parse(doc: ImageDoc) -> Result<Image> {
        #[derive(Deserialize)]
        struct Inherited {
            config: Option<ImageConfig>,
        }
        let parsed =
            image::ImageConfig::parse(doc.config.clone().into_bytes()).map_err(|source| {
                EngineError::Image {
                    source: image::ImageError::from(source),
                }
            })?;
        let inherited: Inherited = rows::from_json("an image", &doc.config)?;
        let created = parsed
            .document()
            .created
            .as_deref()
            .and_then(crate::clock::parse_rfc3339)
            .unwrap_or(0);
        let chains = parsed.chain_ids();
        Ok(Image {
            id: parsed.digest(),
            created,
            config: inherited.config.unwrap_or_default(),
            chains,
            parsed,
            doc,
        })
    }

    /// Reads a row.
    pub(crate) fn read(row: &ImageRow) -> Result<Image> {
        let what = format!("image {}", row.id);
        let doc: ImageDoc = rows::from_json(&what, &row.doc)?;
        if doc.version > VERSION {
            return Err(EngineError::StoreNewer {
                path: what,
                found: doc.version.into(),
                known: VERSION.into(),
            });
        }
        Image::parse(doc)
    }

    /// The row of this image.
    pub(crate) fn row(&self) -> Result<ImageRow> {
        Ok(ImageRow {
            id: self.id.to_string(),
            created: self.created,
            doc: rows::to_json("an image", &self.doc)?,
        })
    }

    /// Its blobs: configuration, manifest, layers as they came. One that came from nowhere has none.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        let layers = self.doc.blobs.iter().map(|blob| blob.digest);
        let documents = self.doc.manifest.map(|manifest| [self.id, manifest]);
        documents.into_iter().flatten().chain(layers)
    }

    /// The document of a new image.
    pub(crate) fn document(
        config: String,
        manifest: Option<Digest>,
        blobs: Vec<BlobDoc>,
        built_in: bool,
    ) -> ImageDoc {
        ImageDoc {
            version: VERSION,
            config,
            tagged: 0,
            manifest,
            blobs,
            built_in,
        }
    }
}

/// A name's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) image: Digest,
    /// The manifest or index that the name pointed to in its registry; `None` for names given here.
    pub(crate) remote: Option<Digest>,
}

/// Images, names and layers.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) images: HashMap<Digest, Arc<Image>>,
    /// Full references (`docker.io/library/debian:latest`).
    pub(crate) names: BTreeMap<String, Target>,
    /// By chain id.
    pub(crate) layers: HashMap<Digest, LayerRow>,
    /// Chain ids and blobs that an operation in progress uses, with how often.
    leased: HashMap<Digest, usize>,
    next_layer: u64,
    /// Bytes of the program that the built-in image holds.
    pub(crate) program: u64,
}

/// The index of one engine.
#[derive(Default)]
pub(crate) struct Index {
    state: RwLock<State>,
    /// Held while a blob is looked at and unlinked, and while one is leased: what is leased is there for good, or known
    /// to be missing. Not for threads of the runtime, since unlinking waits for the disk.
    unlinking: Mutex<()>,
}

impl Index {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a blob unless an image or a lease needs it.
    ///
    /// # Errors
    /// What the content store says.
    pub(crate) fn remove_if_unused(&self, content: &ContentStore, blob: &Digest) -> Result<()> {
        // As long as it is open its space is not given back, which is what takes its time.
        let open = content.blob(blob);
        let unlinking = self.unlinking();
        if !self.read().needs_blob(blob) {
            content.remove(blob)?;
        }
        drop(unlinking);
        drop(open);
        Ok(())
    }

    fn unlinking(&self) -> MutexGuard<'_, ()> {
        self.unlinking
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds an image by name, id, or a prefix of the id that only one has.
    ///
    /// # Errors
    /// [`EngineError::NoSuchImage`] with the familiar name, [`EngineError::Ambiguous`], or docker's sentence for a
    /// text that can be no reference.
    pub(crate) fn find(&self, wanted: &str) -> Result<Arc<Image>> {
        self.read().find(wanted)
    }
}

impl State {
    /// [`State::find`] among images for one of these platforms; none is wanted if there are none.
    ///
    /// # Errors
    /// As that, and [`EngineError::WrongPlatform`].
    pub(crate) fn find_for(&self, wanted: &str, platforms: &[Platform]) -> Result<Arc<Image>> {
        let image = self.find(wanted)?;
        let actual = image.parsed.platform();
        match platforms.first() {
            Some(first) if !platforms.iter().any(|wanted| wanted.matches(&actual)) => {
                Err(EngineError::WrongPlatform {
                    image: wanted.to_owned(),
                    wanted: first.to_string(),
                    actual: actual.to_string(),
                })
            }
            _ => Ok(image),
        }
    }

    pub(crate) fn find(&self, wanted: &str) -> Result<Arc<Image>> {
        let by_id = |id: &Digest| self.images.get(id).cloned();
        if let Some(image) = wanted.parse::<Digest>().ok().as_ref().and_then(by_id) {
            return Ok(image);
        }
        if let Ok(id) = Digest::from_hex(wanted)
            && let Some(image) = by_id(&id)
        {
            return Ok(image);
        }
        let reference = Reference::parse_normalized(wanted);
        if let Ok(reference) = &reference
            && let Some(target) = self.resolve(reference)
            && let Some(image) = by_id(&target.image)
        {
            return Ok(image);
        }
        let prefix = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        if !prefix.is_empty()
            && prefix
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            let mut found = self
                .images
                .iter()
                .filter(|(id, _)| id.hex().starts_with(prefix))
                .map(|(_, image)| image);
            match (found.next(), found.next()) {
                (Some(image), None) => return Ok(Arc::clone(image)),
                (Some(_), Some(_)) => {
                    return Err(EngineError::Ambiguous {
                        prefix: wanted.to_owned(),
                    });
                }
                (None, _) => {}
            }
        }
        match reference {
            Ok(reference) => Err(EngineError::NoSuchImage {
                name: reference.with_default_tag().familiar(),
            }),
            // A whole id without its algorithm is no name, and may be asked for.
            Err(ReferenceError::LooksLikeId { name }) => Err(EngineError::NoSuchImage {
                name: format!("sha256:{name}"),
            }),
            Err(error) => Err(EngineError::invalid(error.to_string())),
        }
    }

    /// What a reference means here: its tag, or for a digest the name whose target or image has it.
    pub(crate) fn resolve(&self, reference: &Reference) -> Option<Target> {
        if let Some(digest) = reference.digest() {
            let repository = reference.name();
            let is_it = |target: &Target| target.remote == Some(*digest) || target.image == *digest;
            return self
                .names
                .iter()
                .find(|(name, target)| repository_of(name) == repository && is_it(target))
                .map(|(_, target)| *target);
        }
        self.names
            .get(&reference.clone().with_default_tag().to_string())
            .copied()
    }

    /// Names of an image, in order.
    pub(crate) fn names_of<'a>(
        &'a self,
        image: &'a Digest,
    ) -> impl Iterator<Item = (&'a str, &'a Target)> {
        self.names
            .iter()
            .filter(move |(_, target)| target.image == *image)
            .map(|(name, target)| (name.as_str(), target))
    }

    /// Layer numbers of an image, the top one first, when all are unpacked.
    pub(crate) fn layer_numbers(&self, image: &Image) -> Option<Vec<u64>> {
        image
            .chains
            .iter()
            .rev()
            .map(|chain| self.layers.get(chain).map(|layer| layer.number))
            .collect()
    }

    /// The lowest layer of an image that is not unpacked.
    pub(crate) fn missing_layer<'a>(&self, image: &'a Image) -> Option<&'a Digest> {
        image
            .chains
            .iter()
            .find(|chain| !self.layers.contains_key(chain))
    }

    /// Bytes of an image's layers.
    pub(crate) fn size_of(&self, image: &Image) -> u64 {
        image
            .chains
            .iter()
            .filter_map(|chain| self.layers.get(chain))
            .map(|layer| layer.size)
            .sum()
    }

    /// Bytes of an image's layers, or what those of the built-in image will take: they are unpacked at first use.
    pub(crate) fn shown_size(&self, image: &Image) -> u64 {
        match self.size_of(image) {
            0 if image.doc.built_in => self.program,
            size => size,
        }
    }

    /// A number that no layer had before.
    pub(crate) fn draw_layer_number(&mut self) -> u64 {
        self.next_layer += 1;
        self.next_layer
    }

    /// The next number to draw lies above this one.
    pub(crate) fn layer_numbers_above(&mut self, number: u64) {
        self.next_layer = self.next_layer.max(number);
    }

    /// Keeps something from being collected while an operation uses it.
    pub(crate) fn lease(&mut self, digest: Digest) {
        *self.leased.entry(digest).or_default() += 1;
    }

    /// Ends one lease.
    pub(crate) fn unlease(&mut self, digest: &Digest) {
        if let Some(count) = self.leased.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                self.leased.remove(digest);
            }
        }
    }

    /// Layers that no image and no lease needs.
    pub(crate) fn unused_layers(&self, in_containers: &HashSet<u64>) -> Vec<LayerRow> {
        let used: HashSet<&Digest> = self
            .images
            .values()
            .flat_map(|image| &image.chains)
            .collect();
        self.layers
            .iter()
            .filter(|(chain, layer)| {
                !used.contains(chain)
                    && !self.leased.contains_key(chain)
                    && !in_containers.contains(&layer.number)
            })
            .map(|(_, layer)| layer.clone())
            .collect()
    }

    /// Blobs that images need.
    pub(crate) fn blobs_of_images(&self) -> HashSet<Digest> {
        self.images
            .values()
            .flat_map(|image| image.blobs())
            .collect()
    }

    /// Whether an image or a lease needs a blob.
    fn needs_blob(&self, blob: &Digest) -> bool {
        let leased = self.leased.contains_key(blob);
        leased
            || self
                .images
                .values()
                .any(|image| image.blobs().any(|own| own == *blob))
    }
}

/// A full reference without its tag or digest.
pub(crate) fn repository_of(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rfind(':') {
        Some(colon) if !name[colon..].contains('/') => &name[..colon],
        _ => name,
    }
}

/// Ends its leases when it is dropped.
pub(crate) struct Lease {
    index: Arc<Index>,
    digests: Vec<Digest>,
}

impl Lease {
    pub(crate) fn new(index: &Arc<Index>) -> Lease {
        Lease {
            index: Arc::clone(index),
            digests: Vec::new(),
        }
    }

    /// Adds a layer, by its chain id, that is used from now on.
    pub(crate) fn add(&mut self, digest: Digest) {
        self.index.write().lease(digest);
        self.digests.push(digest);
    }

    /// Adds blobs that are used from now on: whether one is there may be asked after this. May wait for the disk.
    pub(crate) fn add_blobs(&mut self, blobs: impl IntoIterator<Item = Digest>) {
        let index = Arc::clone(&self.index);
        let _quiet = index.unlinking();
        blobs.into_iter().for_each(|blob| self.add(blob));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.index.write();
        for digest in &self.digests {
            state.unlease(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let config = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let image =
            Image::parse(Image::document(config.to_owned(), None, Vec::new(), false)).unwrap();
        let mut state = State::default();
        let remote = Some(Digest::sha256(b"manifest"));
        state.names.insert(
            "docker.io/library/debian:latest".to_owned(),
            Target {
                image: image.id,
                remote,
            },
        );
        state.images.insert(image.id, Arc::new(image));
        state
    }

    #[test]
    fn images_are_found_by_name_digest_id_and_prefix() {
        let state = state();
        let id = *state.images.keys().next().unwrap();
        let remote = Digest::sha256(b"manifest");
        for wanted in [
            "debian",
            "debian:latest",
            "docker.io/library/debian",
            &id.to_string(),
            &id.hex(),
            &id.hex()[..7],
            &format!("debian@{remote}"),
        ] {
            assert_eq!(state.find(wanted).unwrap().id, id, "{wanted}");
        }
        assert_eq!(
            state.find("nope").unwrap_err().to_string(),
            "No such image: nope:latest"
        );
        let unknown = "a".repeat(64);
        assert_eq!(
            state.find(&unknown).unwrap_err().to_string(),
            format!("No such image: sha256:{unknown}")
        );
        assert!(matches!(
            state.find("UPPER"),
            Err(EngineError::Invalid { .. })
        ));
    }

    #[test]
    fn what_is_leased_is_not_collected() {
        let mut state = State::default();
        let chain = Digest::sha256(b"chain");
        let row = LayerRow {
            number: 1,
            chain: chain.to_string(),
            diff: String::new(),
            size: 0,
            state: crate::store::LayerState::Ready,
        };
        state.layers.insert(chain, row);
        state.lease(chain);
        assert!(state.unused_layers(&HashSet::new()).is_empty());
        state.unlease(&chain);
        assert_eq!(state.unused_layers(&HashSet::new()).len(), 1);
        assert!(state.unused_layers(&HashSet::from([1])).is_empty());
    }
}

//! Unpacking layers: each once, however many pulls need it.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use types::Digest;

use super::index::Image;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, LayerRow, LayerState};

/// Layers that are being unpacked: whoever comes second waits for the first.
#[derive(Default)]
pub(crate) struct Unpacking {
    locks: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Unpacking {
    fn lock_of(&self, chain: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds any more are forgotten.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(chain).or_default())
    }
}

/// Bytes that one layer may unpack to.
pub(crate) const LAYER_LIMIT: u64 = 1 << 42;

impl Engine {
    /// Whether a layer is unpacked.
    pub(crate) fn layer(&self, chain: &Digest) -> Option<u64> {
        self.images()
            .read()
            .layers
            .get(chain)
            .map(|layer| layer.number)
    }

    /// The layer of this chain id, unpacked from `open`'s uncompressed archive unless it is there. `parents` are the
    /// chain ids below it, the lowest first, all unpacked. `name` is the digest that a fault tells. The caller holds a
    /// lease on the chain id.
    pub(crate) async fn ensure_layer(
        &self,
        chain: Digest,
        parents: &[Digest],
        diff: Digest,
        name: Digest,
        open: impl FnOnce() -> Result<Box<dyn Read + Send>> + Send + 'static,
    ) -> Result<u64> {
        let lock = self.inner().unpacking.lock_of(chain);
        let _turn = lock.lock().await;
        if let Some(number) = self.layer(&chain) {
            return Ok(number);
        }
        let parents: Vec<u64> = parents
            .iter()
            .rev()
            .map(|parent| self.layer(parent).ok_or_else(|| missing(parent)))
            .collect::<Result<_>>()?;
        let number = self.images().write().draw_layer_number();
        let row = LayerRow {
            number,
            chain: chain.to_string(),
            diff: diff.to_string(),
            size: 0,
            state: LayerState::Making,
        };
        let making = row.clone();
        self.commit(Durability::Kill, Vec::new(), move |connection| {
            making.put(connection)
        })
        .await?;
        let unpacked = self
            .blocking_of(&self.inner().places.unpacks, "unpack", move |engine| {
                let mut stream = open()?;
                let unpacked = engine.inner().layers.unpack(
                    number,
                    &parents,
                    &mut *stream,
                    Some(&diff),
                    &snapshot::Limits::default(),
                );
                unpacked.map_err(|source| EngineError::Layer {
                    layer: name,
                    source,
                })
            })
            .await;
        match unpacked {
            Ok(unpacked) => {
                let row = LayerRow {
                    size: unpacked.size,
                    state: LayerState::Ready,
                    ..row
                };
                let ready = row.clone();
                let written = self
                    .commit(Durability::Kill, Vec::new(), move |connection| {
                        ready.put(connection)
                    })
                    .await;
                if let Err(error) = written {
                    self.drop_layer(number).await;
                    return Err(error);
                }
                self.images().write().layers.insert(chain, row);
                Ok(number)
            }
            Err(error) => {
                self.drop_layer(number).await;
                Err(error)
            }
        }
    }

    /// Removes what came of a layer that was not made: its space may be what is lacking. The fault that led here is
    /// the one to tell; the next start of the daemon removes what stays.
    async fn drop_layer(&self, number: u64) {
        let removed = self
            .blocking("unpack", move |engine| {
                Ok(engine.inner().layers.remove(number)?)
            })
            .await;
        let deleted = self
            .commit(Durability::Kill, Vec::new(), move |connection| {
                LayerRow::delete(connection, number)
            })
            .await;
        if let Err(error) = removed.map(drop).and(deleted.map(drop)) {
            tracing::warn!(layer = number, %error, "a layer that was not made is left in part");
        }
    }

    /// The numbers of an image's layers, the top one first; those of the built-in image are unpacked at first use.
    pub(crate) async fn unpacked_layers(&self, image: &Arc<Image>) -> Result<Vec<u64>> {
        let known = self.images().read().layer_numbers(image);
        if let Some(numbers) = known {
            return Ok(numbers);
        }
        if image.doc.built_in {
            self.unpack_built_in(image).await?;
        }
        let numbers = self.images().read().layer_numbers(image);
        numbers.ok_or_else(|| {
            EngineError::conflict(format!(
                "layers of image {} are missing: pull it again",
                image.id
            ))
        })
    }
}

/// What an image needs is not there.
pub(super) fn missing(chain: &Digest) -> EngineError {
    EngineError::conflict(format!("layer {chain} is missing"))
}

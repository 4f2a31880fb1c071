//! What a container changed of its image, and its whole root as an archive: `docker diff` and `docker export`.

use std::io::{BufWriter, Write};
use std::os::fd::AsFd;

use api_types::PathChange;
use image::pace::{Paced, Patient};
use snapshot::ChangeKind;

use super::view::Purpose;
use crate::engine::Engine;
use crate::outcome::Result;
use crate::paths;

/// Bytes of an archive that are written at a time.
const BUFFER: usize = 64 * 1024;

impl Engine {
    /// What the container changed of its image, by path.
    pub async fn changes(&self, name: &str) -> Result<Vec<PathChange>> {
        let container = self.registry().find(name)?;
        let kind = &self.inner().places.copies;
        self.blocking_of(kind, "diff", move |engine| {
            let folder = paths::open_folder(&engine.paths().container(container.id()))?;
            let layers = &engine.inner().layers;
            if !layers.has_upper(folder.as_fd()) {
                // It was never started, nor was anything copied into it.
                return Ok(Vec::new());
            }
            let changes = layers.changes(&container.spec.layers, folder.as_fd())?;
            let told = changes.into_iter().map(|change| PathChange {
                path: change.path.to_string_lossy().into_owned(),
                kind: match change.kind {
                    ChangeKind::Modified => 0,
                    ChangeKind::Added => 1,
                    ChangeKind::Deleted => 2,
                },
            });
            Ok(told.collect())
        })
        .await
    }

    /// Writes a container's root as an archive, without what is mounted on it. Writing may answer that it would block,
    /// see [`Paced`].
    pub async fn export(&self, name: &str, out: Box<dyn Write + Send>) -> Result<()> {
        let container = self.registry().find(name)?;
        let engine = self.clone();
        self.to_the_end("export", async move {
            let kind = &engine.inner().places.copies;
            let event = container.event("export", &[]);
            engine
                .with_view(
                    &container,
                    Purpose::Root,
                    kind,
                    move |engine, view, wanted| {
                        let out = Patient(Paced::new(out, wanted));
                        let mut out = BufWriter::with_capacity(BUFFER, out);
                        snapshot::export(view.root().dir(), &mut out)?;
                        out.flush()
                            .map_err(crate::outcome::EngineError::io("write the archive"))?;
                        engine.tell_later(event);
                        Ok(())
                    },
                )
                .await
        })
        .await
    }
}

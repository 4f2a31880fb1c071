//! Removing names and images.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api_types::ImageDeleted;
use types::{Digest, Platform, Reference};

use super::index::{Image, Target, repository_of};
use super::pull::familiar;
use crate::engine::Engine;
use crate::events;
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, ImageRow, LayerRow, rows};

/// For so long a pull that was given up can be continued where it was.
const PARTIALS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

impl Engine {
    /// Ids of images that containers were made from.
    pub(crate) fn images_of_containers(&self) -> HashSet<String> {
        self.registry()
            .all()
            .iter()
            .map(|container| container.spec.image.clone())
            .collect()
    }

    /// Removes a name, and the image with its last name; by id all its names. Layers that nothing needs go too. The image
    /// must be for `platform`, if one is given.
    ///
    /// # Errors
    /// Docker's sentences when containers use it or several repositories name it.
    pub async fn image_remove(
        &self,
        image: &str,
        platform: Option<Platform>,
        force: bool,
    ) -> Result<Vec<ImageDeleted>> {
        let (engine, wanted) = (self.clone(), image.to_owned());
        self.to_the_end("image remove", async move {
            let removed = {
                let _gate = engine.inner().gate.write().await;
                let platform: Vec<Platform> = platform.into_iter().collect();
                engine.images().read().find_for(&wanted, &platform)?;
                engine.remove_image(&wanted, force).await?
            };
            engine.collect_quietly().await;
            Ok(removed)
        })
        .await
    }

    pub(super) async fn remove_image(
        &self,
        wanted: &str,
        force: bool,
    ) -> Result<Vec<ImageDeleted>> {
        let (image, named) = self.images_named(wanted)?;
        let names: Vec<String> = self
            .images()
            .read()
            .names_of(&image.id)
            .map(|(name, _)| name.to_owned())
            .collect();
        let short = image.id.short();
        if let Some((repository, digest)) = self.digest_of_tags(&image, wanted) {
            return self.forget_digest(&image, &repository, digest).await;
        }
        if let Some(name) = named {
            let going = with_digests(name, &names);
            if names.len() > going.len() {
                return self.untag(&image, going, false).await;
            }
            self.refuse_if_used(
                &image,
                &format!("unable to remove repository reference \"{wanted}\""),
                force,
                false,
            )?;
            let keep = force && self.users_of(&image).next().is_some();
            return self.untag(&image, going, !keep).await;
        }
        let what = format!("unable to delete {short}");
        self.refuse_if_running(&image, &what)?;
        let repositories: HashSet<&str> = names.iter().map(|name| repository_of(name)).collect();
        if repositories.len() > 1 && !force {
            return Err(EngineError::conflict(format!(
                "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )));
        }
        self.refuse_if_used(&image, &what, force, true)?;
        self.untag(&image, names, true).await
    }

    /// The image, and the one name that was meant unless it was its id.
    fn images_named(&self, wanted: &str) -> Result<(Arc<Image>, Option<String>)> {
        let state = self.images().read();
        let image = state.find(wanted)?;
        let is_id = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        if let Ok(reference) = Reference::parse_normalized(wanted) {
            let name = match reference.digest() {
                Some(digest) => {
                    let repository = reference.name();
                    state
                        .names_of(&image.id)
                        .find(|(name, target)| {
                            repository_of(name) == repository
                                && (target.remote == Some(*digest) || target.image == *digest)
                        })
                        .map(|(name, _)| name.to_owned())
                }
                None => Some(reference.with_default_tag().to_string()).filter(|name| {
                    state
                        .names
                        .get(name)
                        .is_some_and(|target| target.image == image.id)
                }),
            };
            if name.is_some() && !image.id.hex().starts_with(is_id) {
                return Ok((image, name));
            }
        }
        Ok((image, None))
    }

    /// Repository and digest, when that is what was meant and only tags point to it.
    fn digest_of_tags(&self, image: &Image, wanted: &str) -> Option<(String, Digest)> {
        let reference = Reference::parse_normalized(wanted).ok()?;
        let digest = *reference.digest()?;
        let repository = reference.name();
        let state = self.images().read();
        let is_tag = |(name, target): (&str, &Target)| {
            repository_of(name) == repository
                && !name.contains('@')
                && target.remote == Some(digest)
        };
        let own = format!("{repository}@{digest}");
        let tags_alone = !state.names.contains_key(&own) && state.names_of(&image.id).any(is_tag);
        tags_alone.then(|| (repository.to_owned(), digest))
    }

    /// Takes a digest from the tags that were pulled by it; the tags stay, as with Docker.
    async fn forget_digest(
        &self,
        image: &Image,
        repository: &str,
        digest: Digest,
    ) -> Result<Vec<ImageDeleted>> {
        let id = image.id.to_string();
        let tags: Vec<String> = self
            .images()
            .read()
            .names_of(&image.id)
            .filter(|(name, target)| {
                repository_of(name) == repository && target.remote == Some(digest)
            })
            .map(|(name, _)| name.to_owned())
            .collect();
        let attributes = [("name".to_owned(), id.clone())].into();
        let told = vec![events::event("image", "untag", &id, attributes)];
        let rows = tags.clone();
        self.commit(Durability::PowerCut, told, move |connection| {
            rows.iter()
                .try_for_each(|name| rows::refs::put(connection, name, &id, ""))
        })
        .await?;
        let mut state = self.images().write();
        for name in &tags {
            if let Some(target) = state.names.get_mut(name) {
                target.remote = None;
            }
        }
        Ok(vec![ImageDeleted {
            untagged: format!("{}@{digest}", familiar(repository)),
            ..Default::default()
        }])
    }

    fn users_of<'a>(
        &self,
        image: &'a Image,
    ) -> impl Iterator<Item = Arc<crate::containers::registry::Container>> + use<'a> {
        let id = image.id.to_string();
        self.registry()
            .all()
            .into_iter()
            .filter(move |container| container.spec.image == id)
    }

    /// Docker's sentence for an image that a running container uses: no force helps, whatever else speaks against it.
    fn refuse_if_running(&self, image: &Image, what: &str) -> Result<()> {
        let mut users = self.users_of(image);
        match users.find(|container| container.run().status.is_up()) {
            None => Ok(()),
            Some(container) => Err(EngineError::conflict(format!(
                "conflict: {what} (cannot be forced) - image is being used by running container {}",
                container.id().short()
            ))),
        }
    }

    /// A running container holds the name that it was made with, unless forced; a stopped one its image as well.
    fn refuse_if_used(&self, image: &Image, what: &str, force: bool, by_id: bool) -> Result<()> {
        for container in self.users_of(image) {
            let user = container.id().short();
            let short = image.id.short();
            if container.run().status.is_up() {
                if !force {
                    return Err(EngineError::conflict(format!(
                        "conflict: {what} (must force) - container {user} is using its referenced image {short}"
                    )));
                }
            } else if !force {
                return Err(EngineError::conflict(if by_id {
                    format!(
                        "conflict: {what} (must be forced) - image is being used by stopped container {user}"
                    )
                } else {
                    format!(
                        "conflict: {what} (must force) - container {user} is using its referenced image {short}"
                    )
                }));
            }
        }
        Ok(())
    }

    /// Removes names, and the image with them when asked; the answer in docker's form.
    async fn untag(
        &self,
        image: &Arc<Image>,
        names: Vec<String>,
        delete: bool,
    ) -> Result<Vec<ImageDeleted>> {
        let delete = delete && !(image.doc.built_in && self.users_of(image).next().is_some());
        let id = image.id.to_string();
        let about = |action: &str| {
            events::event(
                "image",
                action,
                &id,
                [("name".to_owned(), id.clone())].into(),
            )
        };
        let mut told: Vec<_> = names.iter().map(|_| about("untag")).collect();
        let mut answer = self.untagged(&names);
        if delete {
            answer.push(ImageDeleted {
                deleted: id.clone(),
                ..Default::default()
            });
            answer.extend(
                self.layers_only_of(&image.id)
                    .into_iter()
                    .map(|chain| ImageDeleted {
                        deleted: chain,
                        ..Default::default()
                    }),
            );
            told.push(about("delete"));
        }
        let rows = names.clone();
        self.commit(Durability::PowerCut, told, move |connection| {
            rows.iter()
                .try_for_each(|name| rows::refs::delete(connection, name))?;
            if delete {
                ImageRow::delete(connection, &id)
            } else {
                Ok(())
            }
        })
        .await?;
        let mut state = self.images().write();
        for name in &names {
            state.names.remove(name);
        }
        if delete {
            state.images.remove(&image.id);
        }
        Ok(answer)
    }

    /// What is answered for names that go: each, and its repository's digest with the last name that has it.
    fn untagged(&self, names: &[String]) -> Vec<ImageDeleted> {
        let untagged = |untagged: String| ImageDeleted {
            untagged,
            ..Default::default()
        };
        let state = self.images().read();
        let mut answer = Vec::new();
        for name in names {
            answer.push(untagged(familiar(name)));
            // A name by digest is told already.
            let remote = state.names.get(name).and_then(|target| target.remote);
            if let Some(digest) = remote.filter(|_| !name.contains('@')) {
                let repository = repository_of(name);
                let others = state.names.iter().any(|(other, target)| {
                    other != name
                        && repository_of(other) == repository
                        && target.remote == Some(digest)
                });
                if !others {
                    answer.push(untagged(format!("{}@{digest}", familiar(repository))));
                }
            }
        }
        answer
    }

    /// Chain ids, the top one first, that no other image and no container needs.
    fn layers_only_of(&self, id: &Digest) -> Vec<String> {
        let in_containers = self.layers_in_containers();
        let state = self.images().read();
        let Some(image) = state.images.get(id) else {
            return Vec::new();
        };
        let elsewhere: HashSet<&Digest> = state
            .images
            .values()
            .filter(|other| other.id != *id)
            .flat_map(|other| &other.chains)
            .collect();
        image
            .chains
            .iter()
            .rev()
            .filter(|chain| !elsewhere.contains(chain))
            .filter(|chain| {
                state
                    .layers
                    .get(chain)
                    .is_none_or(|layer| !in_containers.contains(&layer.number))
            })
            .map(Digest::to_string)
            .collect()
    }

    fn layers_in_containers(&self) -> HashSet<u64> {
        self.registry()
            .all()
            .iter()
            .flat_map(|container| container.spec.layers.clone())
            .collect()
    }

    /// Removes layers and blobs that nothing refers to, and what is left of transfers that nobody came back for. Those
    /// that are under way keep what they need by their leases.
    pub(crate) async fn collect(&self) -> Result<()> {
        self.collect_layers().await?;
        self.blocking("collect", |engine| {
            let (content, images) = (&engine.inner().content, engine.images());
            let used = images.read().blobs_of_images();
            for (digest, _) in content.list()? {
                if !used.contains(&digest) {
                    images.remove_if_unused(content, &digest)?;
                }
            }
            content.prune_ingest(PARTIALS_KEPT)?;
            Ok(())
        })
        .await
    }

    /// The same behind an operation whose outcome it does not change: what stays is removed the next time.
    pub(crate) async fn collect_quietly(&self) {
        if let Err(error) = self.collect().await {
            tracing::warn!(%error, "what no image needs is not removed");
        }
    }

    /// Removes what is left of transfers that were given up; gives the bytes that it took.
    pub(crate) async fn prune_partials(&self) -> Result<u64> {
        self.blocking("prune", |engine| {
            Ok(engine.inner().content.prune_ingest(Duration::ZERO)?)
        })
        .await
    }

    /// Removes layers that nothing refers to: rows first, then folders.
    pub(crate) async fn collect_layers(&self) -> Result<()> {
        let unused = {
            let _gate = self.inner().gate.write().await;
            let in_containers = self.layers_in_containers();
            let unused = self.images().read().unused_layers(&in_containers);
            let numbers: Vec<u64> = unused.iter().map(|layer| layer.number).collect();
            if numbers.is_empty() {
                return Ok(());
            }
            // Within the gate: nobody may begin to use what goes, nor find it gone when it stays.
            let rows = numbers.clone();
            self.commit(Durability::Kill, Vec::new(), move |connection| {
                rows.iter()
                    .try_for_each(|number| LayerRow::delete(connection, *number))
            })
            .await?;
            self.images()
                .write()
                .layers
                .retain(|_, layer| !numbers.contains(&layer.number));
            numbers
        };
        self.blocking("collect", move |engine| {
            engine.drop_spares()?;
            for number in unused {
                engine.inner().layers.remove(number)?;
            }
            Ok(())
        })
        .await
    }
}

/// A name, and with the last tag of a repository the digests by which the image is known there, as in docker.
fn with_digests(name: String, names: &[String]) -> Vec<String> {
    let repository = repository_of(&name);
    let others: Vec<&String> = names
        .iter()
        .filter(|other| **other != name && repository_of(other) == repository)
        .collect();
    let has_tag = others.iter().any(|other| !other.contains('@'));
    if name.contains('@') || has_tag {
        return vec![name];
    }
    let digests: Vec<String> = others.into_iter().cloned().collect();
    std::iter::once(name).chain(digests).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tag_takes_the_digests_of_its_repository() {
        let names = ["x/a:1", "x/a@sha256:1", "x/b:1", "x/b@sha256:1"].map(str::to_owned);
        let going = |name: &str, names: &[String]| with_digests(name.to_owned(), names);
        assert_eq!(going("x/a:1", &names), ["x/a:1", "x/a@sha256:1"]);
        assert_eq!(going("x/a@sha256:1", &names), ["x/a@sha256:1"]);
        let more = [&names[..], &["x/a:2".to_owned()]].concat();
        assert_eq!(going("x/a:1", &more), ["x/a:1"]);
    }
}

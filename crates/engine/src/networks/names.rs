//! Names on user networks: what the helper (role `net`) is told, and when it is made again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api_types::EndpointSettings;
use net::Helper;
use net::protocol::{Member, Place, Request};
use network::Stranded;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::places::{self, Taken, Wanted};
use super::{Found, NetworkDoc};
use crate::containers::files;
use crate::containers::record::Run;
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::neighbour::Neighbour;
use crate::outcome::{EngineError, Result};

/// Before a helper that could not be made is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The helper, and how its table is kept.
pub(crate) struct Names {
    pub(super) helper: Helper,
    /// Which listing of all containers the present one is.
    pub(super) generation: AtomicU64,
    /// How many helpers have died: who was told of meanwhile has to be told of again.
    epoch: AtomicU64,
    /// How many helpers had been made when the last one was told of all containers.
    told: AtomicU64,
    /// Told when a helper was made or found.
    pub(super) made: Notify,
}

/// A place of a container under the names that it has there.
#[derive(Debug)]
pub(crate) struct Named {
    doc: Arc<NetworkDoc>,
    settings: EndpointSettings,
    address: Ipv4Addr,
    ipv6: Option<Ipv6Addr>,
}

impl Named {
    pub(crate) fn of(taken: &Taken) -> Option<Named> {
        Some(Named {
            doc: taken.place.doc.clone()?,
            settings: taken.place.settings.clone(),
            address: taken.endpoint.address,
            ipv6: taken.endpoint.ipv6.map(|place| place.address),
        })
    }
}

impl Names {
    pub(crate) fn new(folder: std::path::PathBuf) -> Names {
        Names {
            helper: Helper::new(folder),
            generation: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            told: AtomicU64::new(0),
            made: Notify::new(),
        }
    }
}

impl Engine {
    /// Has the helper know a container, and serve it. `home` says that it is on the engine's own bridge as well; `netns` is
    /// its namespace where that is at hand, and `fresh` that nobody listens there yet.
    ///
    /// # Errors
    /// When no helper can be made, and [`EngineError::Network`] where there can be no sockets.
    pub(crate) fn tell_names(
        &self,
        container: &Container,
        named: &[Named],
        home: bool,
        netns: Option<BorrowedFd<'_>>,
        fresh: bool,
    ) -> Result<()> {
        let names = &self.inner().names;
        let request = Request::Put {
            generation: names.generation.load(Ordering::Relaxed),
            container: self.member(container, named, home)?,
        };
        let mut again = true;
        loop {
            if names.helper.ensure()? {
                names.made.notify_one();
            }
            match self.put(container, &request, netns, fresh) {
                // It died meanwhile, and another one is made.
                Err(EngineError::Names {
                    source: net::HelperError::Io { .. },
                }) if again => again = false,
                outcome => return outcome,
            }
        }
    }

    fn put(
        &self,
        container: &Container,
        request: &Request,
        netns: Option<BorrowedFd<'_>>,
        fresh: bool,
    ) -> Result<()> {
        let helper = &self.inner().names.helper;
        if !fresh && helper.ask(request, &[])? {
            return Ok(());
        }
        let opened: OwnedFd;
        let netns = match netns {
            Some(netns) => netns,
            None => {
                let run = container.run();
                let neighbour = Neighbour::of(&run).ok_or_else(|| EngineError::NotRunning {
                    id: container.id().to_string(),
                })?;
                opened = neighbour.namespace("net")?;
                opened.as_fd()
            }
        };
        let (datagrams, streams) = network::listen_for_names(netns, fresh)?;
        helper.ask(request, &[datagrams.as_fd(), streams.as_fd()])?;
        Ok(())
    }

    fn member(&self, container: &Container, named: &[Named], home: bool) -> Result<Member> {
        let host = &container.spec.host;
        let mut places: Vec<&Named> = named.iter().collect();
        places.sort_by_key(|one| (-one.settings.gw_priority, one.doc.name.clone()));
        Ok(Member {
            id: container.id().to_string(),
            forwards: home || named.is_empty() || named.iter().any(|one| !one.doc.internal),
            servers: files::dns_settings(host, &self.config().containers)?.servers,
            places: places
                .into_iter()
                .map(|one| {
                    Ok(Place {
                        network: one.doc.id.clone(),
                        network_name: one.doc.name.clone(),
                        address: one.address,
                        ipv6: one.ipv6,
                        names: places::names(container, &one.settings),
                        links: self.links(&one.settings),
                    })
                })
                .collect::<Result<_>>()?,
        })
    }

    /// Aliases by which a container alone knows others, with the names of these.
    /// One that is not there may come later, by this name.
    fn links(&self, settings: &EndpointSettings) -> BTreeMap<String, String> {
        let links = settings.links.iter().flatten();
        links
            .map(|link| {
                let (name, alias) = link.split_once(':').unwrap_or((link, link));
                let target = match self.registry().find(name) {
                    Ok(target) => target.name(),
                    Err(_) => name.trim_start_matches('/').to_owned(),
                };
                (alias.trim_start_matches('/').to_owned(), target)
            })
            .collect()
    }

    /// [`Engine::tell_names`] of a container with these places.
    pub(crate) fn retell_names(
        &self,
        container: &Container,
        run: &Run,
        wanted: &Wanted,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let named: Vec<Named> = run
            .joined
            .iter()
            .filter_map(|joined| {
                let doc = self.inner().networks.get(&joined.network)?;
                let found = Found::Made(Arc::clone(&doc));
                let settings = wanted.iter().find(|(key, _)| self.is_key_of(key, &found));
                Some(Named {
                    settings: settings.map(|(_, one)| one.clone()).unwrap_or_default(),
                    address: joined.place.address,
                    ipv6: joined.place.ipv6.map(|place| place.address),
                    doc,
                })
            })
            .collect();
        self.tell_names(container, &named, run.endpoint.is_some(), netns, false)
    }

    /// The same of a container as it is by now, if it asks for names at all.
    pub(crate) fn refresh_names(&self, container: &Container) -> Result<()> {
        let run = container.run();
        if !run.asks || !run.status.is_up() {
            return Ok(());
        }
        let wanted = places::wanted(&container.spec, &run);
        let told = self.retell_names(container, &run, &wanted, None);
        // An end does not wait for this: it shows before the helper is told of it.
        if !container.run().asks {
            self.forget_names(container);
        }
        told
    }

    /// How many helpers have died.
    pub(crate) fn names_epoch(&self) -> u64 {
        self.inner().names.epoch.load(Ordering::Relaxed)
    }

    /// Has the helper forget a container, and with it the last hold on its namespace.
    pub(crate) fn forget_names(&self, container: &Container) {
        let id = container.id().to_string();
        let helper = &self.inner().names.helper;
        if let Err(error) = helper.ask(&Request::Drop { id }, &[]) {
            // One that is gone has forgotten everything.
            tracing::debug!(%error, "the helper for names was not told of an end");
        }
    }

    /// Finds the helper of the daemon before, and brings what it serves up to date; nothing leads to containers that are
    /// stranded.
    pub(crate) fn recover_names(&self, stranded: &[Stranded]) -> Result<()> {
        let names = &self.inner().names;
        let generation = u64::try_from(crate::clock::now()).unwrap_or(1);
        names.generation.store(generation, Ordering::Relaxed);
        let served = self.served_by_helper();
        if !names.helper.find()? && served.is_empty() {
            // One that ended while no daemon lived left its folder.
            return self.dismiss_names();
        }
        for container in &served {
            if let Err(error) = self.refresh_names(container) {
                // It ended, as will be heard; or it is between two runs, and is told of at the next.
                tracing::debug!(%error, container = container.id().short(), "a container is not served with names");
            }
            // The address of one that is stranded may be another one's.
            if !stranded.iter().any(|one| one.container == *container.id()) {
                self.keep_doors(container);
            }
        }
        if served.is_empty() {
            return self.dismiss_names();
        }
        if names.helper.find()? {
            names.helper.ask(&Request::Sweep { generation }, &[])?;
        }
        names.made.notify_one();
        Ok(())
    }

    /// The containers that run and ask for names or have ports that the helper reads.
    fn served_by_helper(&self) -> Vec<Arc<Container>> {
        let served = |container: &Arc<Container>| {
            let run = container.run();
            run.status.is_up() && (run.asks || run.doors().next().is_some())
        };
        let all = self.registry().all().into_iter();
        all.filter(served).collect()
    }

    /// Ends the helper, when nobody is served.
    pub(crate) fn dismiss_names(&self) -> Result<()> {
        Ok(self.inner().names.helper.quit()?)
    }

    /// One task: a helper that dies is made again, and told everything.
    pub(crate) fn follow_names(&self) {
        let engine = self.clone();
        let closing = self.closing();
        tokio::spawn(async move {
            tokio::pin!(closing);
            loop {
                tokio::select! {
                    () = engine.inner().names.made.notified() => {}
                    () = &mut closing => return,
                }
                loop {
                    tokio::select! {
                        () = engine.helper_ends() => {}
                        () = &mut closing => return,
                    }
                    let again = engine
                        .blocking("names", |engine| engine.remake_names())
                        .await;
                    match again {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => {
                            tracing::warn!(%error, "names on networks are not answered");
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            }
        });
    }

    /// Ready when no helper lives any more.
    async fn helper_ends(&self) {
        let watch = self
            .blocking("names", |engine| Ok(engine.inner().names.helper.watch()?))
            .await;
        let Ok(watch) = watch else { return };
        // The newer constructor is unsafe; what it asks for holds: it keeps one descriptor for its life.
        #[allow(deprecated)]
        let watch = AsyncFd::with_interest(watch, Interest::READABLE);
        if let Ok(watch) = watch {
            let _ = watch.readable().await;
        }
    }

    /// Makes another helper where one is needed; false where none is.
    fn remake_names(&self) -> Result<bool> {
        let names = &self.inner().names;
        let ended = names.helper.ended();
        let made = names.helper.made();
        if names.told.swap(made, Ordering::AcqRel) == made && !ended {
            // It is the one that was told everything.
            return Ok(true);
        }
        names.epoch.fetch_add(1, Ordering::Relaxed);
        let served = self.served_by_helper();
        if served.is_empty() {
            return Ok(false);
        }
        tracing::warn!("the helper for names and ports had died; another one is made in its place");
        if names.helper.ensure()? {
            names.told.store(names.helper.made(), Ordering::Release);
        }
        for container in served {
            let engine = self.clone();
            // Ends once it is the container's turn; whoever has it may be ending the container.
            tokio::spawn(async move {
                let _turn = container.turn.lock().await;
                let target = Arc::clone(&container);
                let told = engine
                    .blocking("names", move |engine| {
                        engine.keep_doors(&target);
                        engine.refresh_names(&target)
                    })
                    .await;
                if let Err(error) = told {
                    tracing::warn!(%error, container = container.id().short(), "a container is not served with names");
                }
            });
        }
        Ok(true)
    }
}

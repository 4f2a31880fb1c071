//! Where a container's mounts and joined namespaces come from.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::files::clone_path;
use super::registry::Container;
use crate::compile::modes::{IpcMode, Modes};
use crate::compile::mounts::{MountSpec, Source};
use crate::compile::plan::OpenMount;
use crate::engine::Engine;
use crate::neighbour::Neighbour;
use crate::outcome::{EngineError, Result};
use crate::volumes::VolumeDoc;

const IPC: &str = "IPC";

impl Engine {
    /// Refuses what `--mount` is to bind and is not there. It may lie in a file system that does not answer.
    pub(super) async fn check_sources(&self, mounts: &[MountSpec]) -> Result<()> {
        let must_exist = mounts.iter().filter_map(|mount| match &mount.source {
            Source::Bind {
                path,
                create: false,
                ..
            } => Some(path.clone()),
            _ => None,
        });
        let paths: Vec<String> = must_exist.collect();
        if paths.is_empty() {
            return Ok(());
        }
        self.blocking_of(&self.inner().places.sources, "create", move |_| {
            let mut paths = paths.iter();
            match paths.find(|path| !Path::new(path).exists()) {
                Some(path) => Err(EngineError::invalid(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {path}"
                ))),
                None => Ok(()),
            }
        })
        .await
    }

    /// The process of the neighbour whose processes or IPC are shared.
    fn neighbour(&self, name: &str, namespace: &'static str) -> Result<Neighbour> {
        let joining = |source| EngineError::Joining {
            namespace,
            source: Box::new(source),
        };
        let neighbour = self.registry().find(name).map_err(joining)?;
        Neighbour::of(&neighbour.run()).ok_or_else(|| {
            joining(EngineError::NotRunning {
                id: neighbour.id().to_string(),
            })
        })
    }

    /// The process namespace of a neighbour that runs.
    pub(super) fn join_pid(&self, name: &str) -> Result<OwnedFd> {
        self.neighbour(name, "PID")?.namespace("pid")
    }

    /// The process of the neighbour whose network is shared.
    pub(super) fn network_neighbour(&self, name: &str) -> Result<Neighbour> {
        const JOINING: &str = "joining network namespace of container";
        let neighbour = self.registry().find(name).map_err(|error| {
            let reason = match error {
                // 404 would say that the container which is started is not there.
                EngineError::NoSuchContainer { .. } => EngineError::Ports {
                    sentence: error.to_string(),
                },
                other => other,
            };
            EngineError::Networking {
                doing: JOINING,
                source: Box::new(reason),
            }
        })?;
        let run = neighbour.run();
        Neighbour::of(&run).ok_or_else(|| {
            EngineError::conflict(format!(
                "cannot join network namespace of a non running container: container {} is {}",
                neighbour.name(),
                run.status.name()
            ))
        })
    }

    /// The IPC namespace and /dev/shm of a neighbour that runs and lends them.
    pub(super) fn join_ipc(&self, name: &str) -> Result<(OwnedFd, OwnedFd)> {
        let neighbour = self.neighbour(name, IPC)?;
        let donor = self.registry().find(name)?;
        if donor.spec.host.ipc_mode != "shareable" {
            let sentence = format!(
                "container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                donor.id()
            );
            return Err(EngineError::Joining {
                namespace: IPC,
                source: Box::new(EngineError::invalid(sentence)),
            });
        }
        Ok((neighbour.namespace("ipc")?, neighbour.shared_memory()?))
    }

    /// Opens the sources of all mounts; a volume that was never used is filled from the image first.
    pub(super) fn open_mounts<'a>(
        &self,
        container: &'a Container,
        root: &OwnedFd,
        used: &mut Vec<String>,
    ) -> Result<Vec<OpenMount<'a>>> {
        container.spec.mounts.iter().map(|spec| match &spec.source {
            Source::Tmpfs { .. } => Ok(OpenMount { spec, tree: None, path: String::new(), folder: true }),
            Source::Bind { path, create, recursive } => {
                let path = Path::new(path);
                if !path.exists() {
                    if !create {
                        return Err(EngineError::invalid(format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {}",
                            path.display()
                        )));
                    }
                    std::fs::create_dir_all(path).map_err(|source| {
                        EngineError::invalid(format!("error while creating mount source path '{}': {}", path.display(), crate::outcome::words(&source)))
                    })?;
                }
                if let Some(wanted) = Peers::wanted(&spec.propagation) {
                    wanted.check(path)?;
                }
                Ok(OpenMount {
                    spec,
                    tree: Some(clone_path(path, *recursive)?),
                    path: path.display().to_string(),
                    folder: path.is_dir(),
                })
            }
            Source::Volume { name, anonymous, copy, subpath, .. } => {
                let fresh = self.inner().volumes.lock().get(name).is_some_and(|doc: &VolumeDoc| !doc.used);
                let store = &self.inner().volume_store;
                self.attach_volume(container, name)?;
                let subpath = (!subpath.is_empty()).then(|| Path::new(subpath.as_str()));
                // Once for each container, as long as nobody has put anything in.
                if *copy && (fresh || container.run().started_at == 0) {
                    // A volume that goes with its container need not outlive a power cut.
                    let lasting = !(*anonymous && container.spec.host.auto_remove);
                    store.copy_up(root.as_fd(), Path::new(&spec.target), name, subpath, lasting)?;
                }
                if fresh {
                    used.push(name.clone());
                }
                let tree = store.open_tree(name, subpath, &volume::BindOptions::default())?;
                let folder = rustix::fs::fstat(&tree).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
                Ok(OpenMount {
                    spec,
                    tree: Some(tree),
                    path: store.path(name).display().to_string(),
                    folder,
                })
            }
        }).collect()
    }
}

/// What the mount that holds a bind's source must be, so that mounts go from one side to the other as asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peers {
    /// Both ways.
    Shared,
    /// From the host alone.
    SharedOrSlave,
}

impl Peers {
    /// What a propagation needs; private ones need nothing.
    fn wanted(propagation: &str) -> Option<Peers> {
        match propagation {
            "shared" | "rshared" => Some(Peers::Shared),
            "slave" | "rslave" => Some(Peers::SharedOrSlave),
            _ => None,
        }
    }

    /// Refuses a source whose mount has no peers, in Docker's words.
    fn check(self, path: &Path) -> Result<()> {
        // The kernel knows its mounts: no server needs to be asked.
        let flags = AtFlags::STATX_DONT_SYNC;
        let found = rustix::fs::statx(CWD, path, flags, StatxFlags::MNT_ID).map_err(|errno| {
            EngineError::Io {
                what: format!("look at {}", path.display()),
                source: errno.into(),
            }
        })?;
        let table = std::fs::read_to_string("/proc/self/mountinfo")
            .map_err(EngineError::io("read the mount table"))?;
        match self.missing(&table, found.stx_mnt_id) {
            Some((place, sentence)) => Err(EngineError::invalid(format!(
                "path {} is mounted on {place} but it is not a {sentence} mount",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Where a mount is, and what it is not; fields as proc_pid_mountinfo(5) has them.
    fn missing(self, table: &str, id: u64) -> Option<(&str, &'static str)> {
        let id = id.to_string();
        let mut fields = table
            .lines()
            .map(|line| line.split(' '))
            .find(|fields| fields.clone().next() == Some(id.as_str()))?;
        let place = fields.nth(4)?;
        let peers = |kind: &str| {
            fields
                .clone()
                .skip(1)
                .take_while(|&field| field != "-")
                .any(|field| field.starts_with(kind))
        };
        match self {
            Peers::Shared if !peers("shared:") => Some((place, "shared")),
            Peers::SharedOrSlave if !peers("shared:") && !peers("master:") => {
                Some((place, "shared or slave"))
            }
            _ => None,
        }
    }
}

/// What a container finds at /dev when it shares the host's IPC.
pub(super) fn host_ipc(modes: &Modes) -> Result<Vec<(&'static str, OwnedFd)>> {
    if modes.ipc != IpcMode::Host {
        return Ok(Vec::new());
    }
    ["/dev/shm", "/dev/mqueue"]
        .into_iter()
        .filter(|path| Path::new(path).is_dir())
        .map(|path| Ok((path, clone_path(Path::new(path), true)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 21 0:30 / /s rw,relatime shared:7 - tmpfs none rw
31 21 0:31 / /m rw,relatime master:7 - tmpfs none rw
32 21 0:32 / /shared: rw,relatime - tmpfs none rw,shared:1
33 21 0:32 / /b rw,relatime shared:9 master:7 - tmpfs none rw
";

    #[test]
    fn a_mount_without_peers_is_refused() {
        let of = |wanted: &str, id| Peers::wanted(wanted).unwrap().missing(TABLE, id);
        assert_eq!(of("rshared", 21), Some(("/", "shared")));
        assert_eq!(of("slave", 21), Some(("/", "shared or slave")));
        assert_eq!(of("shared", 30), None);
        assert_eq!(of("rslave", 30), None);
        assert_eq!(of("shared", 31), Some(("/m", "shared")));
        assert_eq!(of("rslave", 31), None);
        assert_eq!(of("slave", 32), Some(("/shared:", "shared or slave")));
        assert_eq!(of("shared", 33), None);
        assert!(Peers::wanted("rprivate").is_none());
    }
}

//! The leak check: what the kernel and the disk hold for one engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;

/// Folders deeper than this are not walked: no engine makes them.
const DEEPEST: usize = 64;

/// A count of everything that an engine makes: kernel objects, descriptors and files, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    facts: BTreeSet<(&'static str, String)>,
    /// How often each thing without a lasting name is there: mounts, descriptors, veths.
    counts: BTreeMap<(&'static str, String), usize>,
}

/// How many more of a kind may be there than before: network namespaces and shims that are kept
/// ready come and go with recent demand, and each holds a descriptor or two. Tests make many
/// more containers than this, so a leak shows.
fn slack(kind: &str) -> usize {
    match kind {
        "descriptor of the daemon" | "descriptor of the launcher" => 4,
        "veth" => 2,
        _ => 0,
    }
}

impl Census {
    /// Counts now.
    ///
    /// Mounts in every mount namespace of the sandbox, cgroups of this instance in every
    /// hierarchy, controllers of the unified tree, links and nftables rules of the sandbox's network, network namespaces,
    /// processes, the daemon's and the launcher's descriptors, and files below the engine's folders.
    pub(crate) fn take(sandbox: &Sandbox, instance: &str, folders: &[PathBuf]) -> Self {
        let mut census = Census::default();
        let mut seen = BTreeSet::new();
        for process in sandbox.processes() {
            // Launcher, shims and the one that is kept ready share a command line.
            match container_of_shim(&process.folder) {
                Some(id) => census.count("shim of container", id),
                None => {
                    census.count("process", process.command.clone());
                    if process.command.ends_with(" launcher") {
                        census.descriptors("descriptor of the launcher", &process.folder);
                    }
                }
            }
            census.namespace(&process.folder, &mut seen);
            if process.command.contains(" daemon ") {
                census.descriptors("descriptor of the daemon", &process.folder);
            }
        }
        census.cgroups(instance);
        census.links(sandbox, instance);
        census.listing("rule", sandbox, &["nft", "list", "ruleset"], |line| {
            Some(line.trim().to_owned())
        });
        for folder in folders {
            census.files(folder, folder, DEEPEST);
        }
        census
    }

    fn add(&mut self, kind: &'static str, what: String) {
        self.facts.insert((kind, what));
    }

    fn namespace(&mut self, process: &Path, seen: &mut BTreeSet<String>) {
        let id = |kind: &str| {
            fs::read_link(process.join("ns").join(kind))
                .map(|link| link.to_string_lossy().into_owned())
        };
        if let Ok(net) = id("net") {
            self.add("network namespace", net);
        }
        let Ok(mounts) = id("mnt") else { return };
        if seen.insert(mounts) {
            let text = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
            for line in text.lines() {
                let target = line.split(' ').nth(4).unwrap_or("?");
                let kind = line.split(" - ").nth(1).unwrap_or("?");
                self.count("mount", format!("{target} {kind}"));
            }
        }
    }

    fn count(&mut self, kind: &'static str, what: String) {
        *self.counts.entry((kind, what)).or_default() += 1;
    }

    /// What a process that outlives containers holds open, by what it is, since numbers move.
    fn descriptors(&mut self, kind: &'static str, process: &Path) {
        let links = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        for link in links {
            let text = link.to_string_lossy().into_owned();
            // socket:[123]: the number is the inode's and changes with every connection.
            let name = text.split(":[").next().unwrap_or("?").to_owned();
            self.count(kind, name);
        }
    }

    fn cgroups(&mut self, instance: &str) {
        let name = format!("wharf-{instance}");
        for hierarchy in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            self.files_named("cgroup", &hierarchy.path().join(&name));
        }
        self.files_named("cgroup", &Path::new("/sys/fs/cgroup").join(&name));
        self.handed_down();
    }

    /// Controllers that the top of the unified tree hands to its groups. Those that a container may ask for stay
    /// afterwards, as `info` says.
    fn handed_down(&mut self) {
        for top in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            let file = Path::new(top).join("cgroup.subtree_control");
            let text = fs::read_to_string(file).unwrap_or_default();
            let names = text.split_ascii_whitespace();
            for name in names.filter(|name| !["hugetlb", "io", "rdma", "misc"].contains(name)) {
                self.add("controller of the unified tree", name.to_owned());
            }
        }
    }

    /// Folders alone, below this one: the engine's own group is made once and stays.
    fn files_named(&mut self, kind: &'static str, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            self.add(kind, entry.path().display().to_string());
            self.files_named(kind, &entry.path());
        }
    }

    fn listing(
        &mut self,
        kind: &'static str,
        sandbox: &Sandbox,
        line: &[&str],
        name: impl Fn(&str) -> Option<String>,
    ) {
        let output = sandbox.network_command(line[0]).args(&line[1..]).output();
        let output = output.unwrap_or_else(|error| panic!("{line:?}: {error}"));
        for text in String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(name)
        {
            self.add(kind, text);
        }
    }

    /// Links by name; the veths of this instance by their number, since each has a name of its own
    /// and some are kept ready for the next containers.
    fn links(&mut self, sandbox: &Sandbox, instance: &str) {
        let mut all = Census::default();
        all.listing("link", sandbox, &["ip", "-o", "link", "show"], link_name);
        let veth = format!("wh{}", instance.get(..4).unwrap_or(instance));
        let (veths, others): (Vec<_>, Vec<_>) = all
            .facts
            .into_iter()
            .partition(|(_, name)| name.starts_with(&veth));
        for _ in veths {
            self.count("veth", "of this engine".to_owned());
        }
        self.facts.extend(others);
    }

    fn files(&mut self, root: &Path, folder: &Path, depth: usize) {
        if depth == 0 {
            return;
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // The store's own journal grows and shrinks as it likes; folders are made ahead for
            // the next containers.
            let kept = ["store.db", "spare-"];
            if path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                kept.iter().any(|start| name.starts_with(start))
            }) {
                continue;
            }
            self.add(
                "file",
                path.strip_prefix(root).map_or_else(
                    |_| path.display().to_string(),
                    |path| path.display().to_string(),
                ),
            );
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.files(root, &path, depth - 1);
            }
        }
    }

    /// What stands here and not in the other.
    pub fn beyond(&self, before: &Census) -> Difference {
        let mut facts: Vec<_> = self.facts.difference(&before.facts).cloned().collect();
        for ((kind, what), number) in &self.counts {
            let had = before
                .counts
                .get(&(*kind, what.clone()))
                .copied()
                .unwrap_or(0);
            if *number > had + slack(kind) {
                facts.push((*kind, format!("{number} × {what}, and {had} before")));
            }
        }
        Difference { facts }
    }
}

/// Facts of one census that another lacks.
pub struct Difference {
    facts: Vec<(&'static str, String)>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Whether there is something of a kind.
    pub fn has(&self, kind: &str) -> bool {
        self.facts.iter().any(|(found, _)| *found == kind)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, what) in self.facts.iter().take(60) {
            writeln!(f, "  {kind}: {what}")?;
        }
        if self.facts.len() > 60 {
            writeln!(f, "  and {} more", self.facts.len() - 60)?;
        }
        Ok(())
    }
}

/// The id of the container whose exit journal a process has open, as nobody has but its shim. The journal may be removed.
fn container_of_shim(process: &Path) -> Option<String> {
    fs::read_dir(process.join("fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .find_map(|link| {
            let link = link.to_string_lossy().into_owned();
            let place = link
                .trim_end_matches(" (deleted)")
                .strip_suffix("/journal")?;
            let (shims, id) = place.rsplit_once('/')?;
            shims.ends_with("/shims").then(|| id.to_owned())
        })
}

/// `3: eth0@if4: <…>` → `eth0`.
fn link_name(line: &str) -> Option<String> {
    Some(line.split(": ").nth(1)?.split('@').next()?.to_owned())
}

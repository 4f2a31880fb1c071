//! Classes of service of processors (Intel RDT and what is like it): folders of the resctrl file system, in which a class has
//! its share of caches and memory bandwidth, and a monitoring group its counters.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file of a folder that lists the class's shares, a line for each kind.
const SCHEMATA: &str = "schemata";
/// The file of a folder by which processes enter.
const TASKS: &str = "tasks";
/// The folder of a class's monitoring groups.
const MONITORS: &str = "mon_groups";
/// The folder of a group's counters.
const COUNTERS: &str = "mon_data";
/// What the kernel says about the last thing that it refused.
const LAST: &str = "info/last_cmd_status";
/// The name of the class that all are in which are in no other.
pub const DEFAULT_CLASS: &str = "/";

/// Why a class of service could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ResctrlError {
    /// The class is to be there, and is not.
    #[error(
        "resctrl: there is no class {}, which has to be there since no schema is asked for",
        path.display()
    )]
    Missing {
        /// Its folder.
        path: PathBuf,
    },
    /// The class is there, and has other shares.
    #[error(
        "resctrl: {} has {has:?}, which is not {asked:?} as asked for",
        path.display()
    )]
    Differs {
        /// Its folder.
        path: PathBuf,
        /// The line that is asked for.
        asked: String,
        /// The class's own, or nothing.
        has: String,
    },
    /// The kernel refused something.
    #[error("resctrl: {action} {}: {}{}", path.display(), plain(source), told(said))]
    Refused {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
        /// What it said besides.
        said: String,
    },
}

fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or(error.to_string(), crate::words)
}

fn told(said: &str) -> String {
    match said {
        "" | "ok" => String::new(),
        said => format!(" ({said})"),
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// The class's name, or [`DEFAULT_CLASS`]. Without one it is the container's own, and ends with it.
    pub class: Option<String>,
    /// Lines of the file `schemata` that a class which is there has to have already.
    pub shares: Vec<String>,
    /// Lines that are written whoever the class is of, after the others.
    pub written: Vec<String>,
    /// A monitoring group of the container's own.
    pub monitored: bool,
}

/// Where a container is in the file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assigned {
    /// Where the file system is mounted.
    root: PathBuf,
    /// The class's folder.
    class: PathBuf,
    /// The class is the container's own.
    owned: bool,
    /// Its monitoring group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<PathBuf>,
}

/// What the counters say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The class's lines.
    pub schemata: Vec<String>,
    /// Those of the default class.
    pub default_schemata: Vec<String>,
    /// For each cache, by its number.
    pub caches: Vec<CacheFigures>,
}

/// Counters of one cache; `None` for what the processor does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Bytes in the cache.
    pub occupancy: Option<u64>,
    /// Bytes that went to and from memory.
    pub total: Option<u64>,
    /// Of these, of memory that is near.
    pub local: Option<u64>,
}

impl Assigned {
    /// Tells where the container `id` is to be, and makes nothing. `root` is where the file system is mounted.
    pub fn new(root: &Path, service: &Service, id: &str) -> Self {
        let class = match service.class.as_deref() {
            None => root.join(id),
            Some(DEFAULT_CLASS) => root.to_owned(),
            Some(name) => root.join(name),
        };
        Self {
            root: root.to_owned(),
            owned: service.class.is_none() && !class.exists(),
            monitor: service.monitored.then(|| class.join(MONITORS).join(id)),
            class,
        }
    }

    /// Makes what is missing, and sets the class's shares.
    ///
    /// # Errors
    /// A class that is there has other shares than asked for, or is missing and has none asked for; or the kernel refuses.
    /// Nothing is left then that was not there.
    pub fn make(&self, service: &Service) -> Result<(), ResctrlError> {
        self.make_with(service, &|_| ())
    }

    /// The same; `filled` is told of each folder that is made, in which the kernel makes files at once.
    fn make_with(&self, service: &Service, filled: &dyn Fn(&Path)) -> Result<(), ResctrlError> {
        let is_new = !self.class.exists();
        if is_new {
            if service.class.is_some() && service.shares.is_empty() && service.written.is_empty() {
                let path = self.class.clone();
                return Err(ResctrlError::Missing { path });
            }
            self.make_folder(&self.class, filled)?;
        }
        let made = self.fill(service, is_new, filled);
        if made.is_err() && is_new {
            // The first failure is the one to tell.
            let _ = fs::remove_dir(&self.class);
        }
        made
    }

    fn fill(
        &self,
        service: &Service,
        is_new: bool,
        filled: &dyn Fn(&Path),
    ) -> Result<(), ResctrlError> {
        if is_new || service.class.is_none() {
            self.write(&service.shares)?;
        } else {
            self.compare(&service.shares)?;
        }
        self.write(&service.written)?;
        let Some(monitor) = &self.monitor else {
            return Ok(());
        };
        self.make_folder(monitor, filled)
    }

    fn make_folder(&self, path: &Path, filled: &dyn Fn(&Path)) -> Result<(), ResctrlError> {
        fs::create_dir(path).map_err(self.refused("making", path))?;
        filled(path);
        Ok(())
    }

    /// Gives the class other shares; nothing comes of no lines.
    ///
    /// # Errors
    /// The kernel's answer, with what it says about the lines.
    pub fn write(&self, lines: &[String]) -> Result<(), ResctrlError> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.class.join(SCHEMATA);
        let mut text = lines.join("\n");
        text.push('\n');
        let written = OpenOptions::new()
            .write(true)
            .open(&path)
            // At once: the kernel takes each write for itself.
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(self.refused("writing", &path))
    }

    /// Looks whether the class has the shares.
    fn compare(&self, asked: &[String]) -> Result<(), ResctrlError> {
        if asked.is_empty() {
            return Ok(());
        }
        let has = self.schemata(&self.class)?;
        for line in asked {
            let own = has.iter().find(|own| kind(own) == kind(line));
            let own = own.map_or("", String::as_str);
            if !holds(own, line) {
                return Err(ResctrlError::Differs {
                    path: self.class.clone(),
                    asked: line.clone(),
                    has: own.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn schemata(&self, folder: &Path) -> Result<Vec<String>, ResctrlError> {
        let path = folder.join(SCHEMATA);
        let text = fs::read_to_string(&path).map_err(self.refused("reading", &path))?;
        Ok(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Files to which a process with one thread writes `0` to enter: that of the class, then that of the monitoring group.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn entry_fds(&self) -> Result<Vec<OwnedFd>, ResctrlError> {
        let folders = [Some(&self.class), self.monitor.as_ref()];
        let open = |folder: &PathBuf| {
            let path = folder.join(TASKS);
            let opened = OpenOptions::new().write(true).open(&path);
            opened
                .map(OwnedFd::from)
                .map_err(self.refused("opening", &path))
        };
        folders.into_iter().flatten().map(open).collect()
    }

    /// Removes what is the container's own: the monitoring group, and the class that has no name of its own.
    ///
    /// # Errors
    /// The kernel's answer. What is gone already is no error.
    pub fn remove(&self) -> Result<(), ResctrlError> {
        let class = self.owned.then_some(&self.class);
        for folder in self.monitor.iter().chain(class) {
            match fs::remove_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.refused("removing", folder)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the class's shares and the counters of its monitoring group, or of all in the class where there is none.
    ///
    /// # Errors
    /// The shares cannot be read. Counters that cannot are left out.
    pub fn figures(&self) -> Result<Figures, ResctrlError> {
        let group = self.monitor.as_ref().unwrap_or(&self.class);
        let counters = fs::read_dir(group.join(COUNTERS));
        let mut caches: Vec<(u32, PathBuf)> = counters
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name();
                let number = name.to_str()?.strip_prefix("mon_L3_")?;
                Some((number.parse().ok()?, entry.path()))
            })
            .collect();
        caches.sort_unstable();
        let count = |folder: &Path, name: &str| {
            let text = fs::read_to_string(folder.join(name)).ok()?;
            text.trim().parse().ok()
        };
        Ok(Figures {
            schemata: self.schemata(&self.class)?,
            default_schemata: self.schemata(&self.root)?,
            caches: caches
                .iter()
                .map(|(_, folder)| CacheFigures {
                    occupancy: count(folder, "llc_occupancy"),
                    total: count(folder, "mbm_total_bytes"),
                    local: count(folder, "mbm_local_bytes"),
                })
                .collect(),
        })
    }

    fn refused(
        &self,
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> ResctrlError + use<> {
        let path = path.to_owned();
        let last = self.root.join(LAST);
        move |source| ResctrlError::Refused {
            action,
            path,
            source,
            said: fs::read_to_string(last)
                .unwrap_or_default()
                .trim()
                .to_owned(),
        }
    }
}

/// What a line is about: `L3`, `MB` and others.
fn kind(line: &str) -> &str {
    line.split(':').next().unwrap_or_default().trim()
}

/// Whether a line has all that another asks for. The kernel fills numbers up with zeros and lists all caches.
fn holds(own: &str, asked: &str) -> bool {
    let shares = |line: &str| -> Vec<(String, String)> {
        let (_, list) = line.split_once(':').unwrap_or_default();
        list.split(';')
            .filter_map(|share| {
                let (cache, value) = share.split_once('=')?;
                let bare = |text: &str| {
                    let text = text.trim().to_ascii_lowercase();
                    text.trim_start_matches('0').to_owned()
                };
                Some((bare(cache), bare(value)))
            })
            .collect()
    };
    let own_shares = shares(own);
    kind(own) == kind(asked) && shares(asked).iter().all(|share| own_shares.contains(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel makes in a folder.
    fn fill(folder: &Path) {
        fs::write(
            folder.join(SCHEMATA),
            "    L3:0=fffff;1=fffff\n    MB:0= 100;1= 100\n",
        )
        .unwrap();
        fs::write(folder.join(TASKS), "").unwrap();
        let is_monitor = folder.parent().unwrap().ends_with(MONITORS);
        if !is_monitor {
            fs::create_dir(folder.join(MONITORS)).unwrap();
        }
        for (cache, bytes) in [(0, 4096), (1, 8192)] {
            let counters = folder.join(format!("{COUNTERS}/mon_L3_0{cache}"));
            fs::create_dir_all(&counters).unwrap();
            fs::write(counters.join("llc_occupancy"), format!("{bytes}\n")).unwrap();
            fs::write(counters.join("mbm_total_bytes"), "Unavailable\n").unwrap();
        }
    }

    /// A folder as the file system has it once mounted.
    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("info")).unwrap();
        fs::write(root.path().join(LAST), "ok\n").unwrap();
        fill(root.path());
        root
    }

    /// What the kernel does when a folder is removed: its files are no obstacle.
    fn empty(folder: &Path) {
        for name in [SCHEMATA, TASKS] {
            let _ = fs::remove_file(folder.join(name));
        }
        let _ = fs::remove_dir_all(folder.join(COUNTERS));
        let _ = fs::remove_dir(folder.join(MONITORS));
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_class_of_the_containers_own_is_made_and_ends_with_it() {
        let root = root();
        let service = Service {
            shares: lines(&["L3:0=f", "MB:0=20"]),
            written: lines(&["L2:0=3"]),
            monitored: true,
            ..Service::default()
        };
        let place = Assigned::new(root.path(), &service, "box");
        assert!(!root.path().join("box").exists());
        place.make_with(&service, &fill).unwrap();
        // Each write is a whole: the last of them is what an ordinary file begins with.
        let written = read(&root.path().join("box/schemata"));
        assert!(written.starts_with("L2:0=3\nMB:0=20\n"), "{written}");
        let entries = place.entry_fds().unwrap();
        assert_eq!(entries.len(), 2);
        for (entry, path) in entries
            .iter()
            .zip(["box/tasks", "box/mon_groups/box/tasks"])
        {
            rustix::io::write(entry, b"0").unwrap();
            assert_eq!(read(&root.path().join(path)), "0");
        }
        let figures = place.figures().unwrap();
        let occupancies: Vec<_> = figures.caches.iter().map(|cache| cache.occupancy).collect();
        assert_eq!(occupancies, [Some(4096), Some(8192)]);
        assert_eq!(figures.caches[0].total, None);
        assert_eq!(figures.default_schemata[0], "L3:0=fffff;1=fffff");
        // What is written down is read again.
        let text = serde_json::to_string(&place).unwrap();
        let again: Assigned = serde_json::from_str(&text).unwrap();
        empty(&root.path().join("box/mon_groups/box"));
        fs::remove_dir(root.path().join("box/mon_groups/box")).unwrap();
        empty(&root.path().join("box"));
        again.remove().unwrap();
        assert!(!root.path().join("box").exists());
        // Once more is no error.
        again.remove().unwrap();
    }

    #[test]
    fn a_class_with_a_name_stays() {
        let root = root();
        let mut service = Service {
            class: Some("gold".to_owned()),
            ..Service::default()
        };
        let place = Assigned::new(root.path(), &service, "box");
        let error = place.make_with(&service, &fill).unwrap_err().to_string();
        assert!(
            error.contains("gold, which has to be there since no schema is asked for"),
            "{error}"
        );
        service.shares = lines(&["L3:0=7f0"]);
        place.make_with(&service, &fill).unwrap();
        let class = root.path().join("gold");
        assert!(read(&class.join(SCHEMATA)).starts_with("L3:0=7f0\n"));
        // Another container's has to ask for what it has; what is its own is written in any case.
        fs::write(class.join(SCHEMATA), "    L3:0=007f0;1=0001f\n").unwrap();
        service.shares = lines(&["L3:1=1F"]);
        place.make_with(&service, &fill).unwrap();
        assert_eq!(read(&class.join(SCHEMATA)), "    L3:0=007f0;1=0001f\n");
        for (asked, has) in [("L3:0=3", "L3:0=007f0;1=0001f"), ("MB:0=10", "")] {
            service.shares = lines(&[asked]);
            let error = place.make_with(&service, &fill).unwrap_err().to_string();
            let words = format!("has {has:?}, which is not {asked:?}");
            assert!(error.contains(&words), "{error}");
        }
        empty(&class);
        place.remove().unwrap();
        assert!(class.exists());
    }

    #[test]
    fn the_default_class_is_the_root() {
        let root = root();
        let service = Service {
            class: Some(DEFAULT_CLASS.to_owned()),
            monitored: true,
            ..Service::default()
        };
        let place = Assigned::new(root.path(), &service, "box");
        place.make_with(&service, &fill).unwrap();
        assert!(root.path().join("mon_groups/box/tasks").exists());
        let monitor = root.path().join("mon_groups/box");
        empty(&monitor);
        place.remove().unwrap();
        assert!(!monitor.exists() && root.path().join(TASKS).exists());
    }

    #[test]
    fn what_fails_leaves_nothing_and_tells_what_the_kernel_says() {
        let root = root();
        fs::write(
            root.path().join(LAST),
            "Mask f0f has non-consecutive 1-bits\n",
        )
        .unwrap();
        let service = Service {
            shares: lines(&["L3:0=f0f"]),
            ..Service::default()
        };
        let place = Assigned::new(root.path(), &service, "box");
        // The folder has no such file.
        let error = place.make(&service).unwrap_err().to_string();
        assert!(
            error.contains("writing") && error.ends_with("(Mask f0f has non-consecutive 1-bits)"),
            "{error}"
        );
        assert!(!root.path().join("box").exists());
    }

    #[test]
    fn shares_are_compared_as_numbers() {
        assert!(holds("L3:0=007f0;1=1f", " L3 : 0=7F0"));
        assert!(holds("MB:0= 20;1= 70", "MB:1=70;0=20"));
        assert!(!holds("L3:0=7f0", "L3:0=7f0;1=1f"));
        assert!(!holds("L3:0=7f0", "MB:0=7f0"));
        assert!(!holds("", "L3:0=7f0"));
    }
}

//! Groups of a test's own, and shells in them.

use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use runtime::Prepared;
use runtime::cgroup::{Group, Layout, Parent, Resources};
use runtime::plan::{CgroupEntry, FdSlot, Plan};
use runtime::spawn::{Spawned, Stdio, Stream, spawn};

use super::{end, plan, root};

/// A parent of this test's own, removed with everything beneath it.
pub struct Tree(pub Parent);

impl Tree {
    pub fn new(test: &str) -> Tree {
        let layout = Layout::detect().unwrap();
        Tree(
            Parent::open(
                &layout,
                &format!("wharf-test-{}-{test}", std::process::id()),
            )
            .unwrap(),
        )
    }

    pub fn group(&self, name: &str, resources: &Resources) -> Group {
        self.0.create(name, resources).unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for name in self.0.children().unwrap() {
            let group = self.0.group(&name).unwrap();
            group.kill().unwrap();
            group.wait_empty(Duration::from_secs(5)).unwrap();
            group.remove().unwrap();
        }
        assert!(self.0.clone().remove().unwrap(), "the parent stays");
    }
}

/// A shell in a group.
pub struct Shell {
    pub spawned: Spawned,
    output: PipeReader,
    _root: tempfile::TempDir,
}

impl Shell {
    pub fn start(group: &Group, script: &str) -> Shell {
        Shell::with(group, script, |_| {}).unwrap()
    }

    /// One whose plan is changed first; the error is what kept it from its program.
    pub fn with(
        group: &Group,
        script: &str,
        change: impl FnOnce(&mut Plan),
    ) -> Result<Shell, runtime::Fault> {
        let root = root();
        let (mut fds, unified) = group.entry_fds().unwrap();
        let slot = |index: usize| FdSlot(u16::try_from(index).unwrap());
        let mut plan = plan(root.path(), script);
        change(&mut plan);
        plan.cgroup = CgroupEntry {
            dirs: (0..fds.len()).map(slot).collect(),
            unified: None,
        };
        if let Some(unified) = unified {
            plan.cgroup.unified = Some(slot(fds.len()));
            fds.push(unified);
        }
        let (output, writer) = std::io::pipe().unwrap();
        let out = Stream::Fd(writer.as_fd());
        let stdio = Stdio {
            stdin: Stream::Null,
            stdout: out,
            stderr: out,
        };
        let spawned = spawn(&Prepared::new(plan).unwrap(), &fds, stdio)?;
        Ok(Shell {
            spawned,
            output,
            _root: root,
        })
    }

    /// What it wrote until it and everything that has its output ended.
    pub fn finish(self) -> String {
        end(self.spawned, self.output).output
    }

    /// Waits for the next line of its output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let mut byte = [0];
        while self.output.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(char::from(byte[0]));
        }
        line
    }
}

pub fn run(group: &Group, script: &str) -> String {
    Shell::start(group, script).finish()
}

/// Waits until `condition` holds, ten seconds at most.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The folders of a group in the file system, in every hierarchy.
pub fn folders(path: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let tops = mounts.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        fields[2]
            .starts_with("cgroup")
            .then(|| PathBuf::from(fields[1]))
    });
    tops.map(|top| top.join(path))
        .filter(|folder| folder.exists())
        .collect()
}

/// The last processor that this process may use.
pub fn last_cpu() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap()
        .trim();
    list.rsplit([',', '-']).next().unwrap().to_owned()
}

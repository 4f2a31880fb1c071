//! A bundle with busybox, the command, and the look for leftovers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

/// A bundle, its container's name, and the folder where the command knows containers. Gone with the value, which looks
/// whether the command has left nothing.
pub(crate) struct Bundle {
    folder: tempfile::TempDir,
    pub(crate) id: String,
    pub(crate) config: Value,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            status: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Its output, of a command that went well.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert!(self.status == Some(0) && self.err.is_empty(), "{self:?}");
        self.out
    }

    /// The sentence of one that failed.
    #[track_caller]
    pub(crate) fn sentence(self) -> String {
        assert!(!matches!(self.status, None | Some(0)), "{self:?}");
        let lines: Vec<&str> = self.err.lines().collect();
        assert_eq!(lines.len(), 1, "one line: {self:?}");
        let (_, message) = lines[0].split_once("level=error msg=").expect("an error");
        serde_json::from_str(message).expect("quoted")
    }
}

/// The root folder that all bundles have in common.
fn rootfs() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        // Shared by runs, since nobody removes what a static holds.
        let root = std::env::temp_dir().join("wharf-oci-rootfs");
        for folder in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        if !root.join("bin/busybox").exists() {
            let next = root.join(format!("bin/next-{}", std::process::id()));
            fs::copy("/usr/bin/busybox", &next).unwrap();
            fs::rename(next, root.join("bin/busybox")).unwrap();
        }
        for name in [
            "sh", "cat", "ls", "id", "true", "sleep", "grep", "mount", "touch", "tty", "stty",
            "env",
        ] {
            let _ = symlink("busybox", root.join("bin").join(name));
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nseven:x:7:7::/seven:/bin/sh\n",
        )
        .unwrap();
        root
    })
}

/// The command. `WHARF_RUNTIME` names it where the one that was built with the tests is not at hand.
pub(crate) fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let named = std::env::var("WHARF_RUNTIME");
        named.unwrap_or_else(|_| env!("CARGO_BIN_EXE_wharf-runtime").to_owned())
    })
}

impl Bundle {
    /// A bundle that runs `sh -c SCRIPT`.
    pub(crate) fn new(script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("wharf-oci-{}-{number}", std::process::id());
        let folder = tempfile::Builder::new()
            .prefix("wharf-oci-")
            .tempdir()
            .unwrap();
        let sample = folder.path().join("sample");
        fs::create_dir(&sample).unwrap();
        let made = Command::new(program())
            .args(["spec", "--bundle"])
            .arg(&sample)
            .output()
            .unwrap();
        Ended::of(&made).good();
        let text = fs::read_to_string(sample.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["root"]["path"] = json!(rootfs());
        config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        Self { folder, id, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with `words`, on this bundle's container's root folder; `ID` stands for its name.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let text = serde_json::to_vec(&self.config).unwrap();
        fs::write(self.path("config.json"), text).unwrap();
        self.command_as_it_is(words)
    }

    /// The same with whatever lies in the bundle.
    fn command_as_it_is(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--root").arg(self.path("root"));
        command.args(
            words
                .iter()
                .map(|word| if *word == "ID" { &self.id } else { *word }),
        );
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command(words).output().unwrap())
    }

    pub(crate) fn run_as_it_is(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command_as_it_is(words).output().unwrap())
    }

    /// Runs a bundle that cannot be run; what is told has all of `words`, and nothing is left.
    #[track_caller]
    pub(crate) fn refused(&self, verb: &str, words: &[&str], about: &str) {
        assert_eq!(self.objection(verb, words), None, "{about}");
    }

    /// What is wrong with how a bundle is refused.
    pub(crate) fn objection(&self, verb: &str, words: &[&str]) -> Option<String> {
        let ended = self.run(&[verb, "ID"]);
        let message = ended
            .err
            .split_once("level=error msg=")
            .map(|(_, message)| message);
        let sentence: Option<String> = match message {
            Some(text) => serde_json::from_str(text).ok(),
            // What the kernel said of the program.
            None => Some(ended.err.clone()).filter(|line| line.starts_with("exec ")),
        };
        let lines = ended.err.lines().count();
        let missing = words
            .iter()
            .find(|word| sentence.as_ref().is_some_and(|told| !told.contains(*word)));
        let mut left = self.leftovers();
        left.extend(self.processes());
        let good = !matches!(ended.status, None | Some(0)) && sentence.is_some() && lines == 1;
        match (good, missing, left.is_empty()) {
            (true, None, true) => None,
            _ => Some(format!("{ended:?} lacks {missing:?}, left: {left:?}")),
        }
    }

    /// The same for any command; what criu writes beside does not count.
    #[track_caller]
    pub(crate) fn refused_with(&self, words: &[&str], told: &str) {
        let ended = self.run(words);
        assert!(!matches!(ended.status, None | Some(0)), "{ended:?}");
        assert!(ended.err.contains(told), "{told}: {ended:?}");
        assert_eq!(self.leftovers(), [""; 0], "{ended:?}");
    }

    /// Waits until the container is known.
    #[track_caller]
    pub(crate) fn await_known(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while self.run(&["state", "ID"]).status != Some(0) || self.status() != "running" {
            assert!(std::time::Instant::now() < deadline, "it is not there");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Processes that are this bundle's command still.
    fn processes(&self) -> Vec<String> {
        let here = self.folder.path().to_string_lossy().into_owned();
        let all = fs::read_dir("/proc").unwrap();
        all.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| {
                // One that waits at its gate tells the container's name alone.
                line.contains(&here) || line.split(' ').any(|word| word == self.id)
            })
            .collect()
    }

    /// Makes the container, whose output goes to the file `out` of the bundle.
    #[track_caller]
    pub(crate) fn create(&self, more: &[&str]) {
        self.quietly(&[&["create"], more, &["ID"]].concat());
    }

    /// Runs a command whose container outlives it and so must not have a pipe of ours.
    #[track_caller]
    pub(crate) fn quietly(&self, words: &[&str]) {
        let out = fs::File::create(self.path("out")).unwrap();
        let err = fs::File::create(self.path("err")).unwrap();
        let status = self
            .command(words)
            .stdout(out)
            .stderr(err)
            .status()
            .unwrap();
        let told = fs::read_to_string(self.path("err")).unwrap();
        assert!(status.success() && told.is_empty(), "{told}");
    }

    pub(crate) fn out(&self) -> String {
        fs::read_to_string(self.path("out")).unwrap()
    }

    /// Waits until the container has written this.
    #[track_caller]
    pub(crate) fn await_out(&self, text: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while self.out() != text {
            assert!(std::time::Instant::now() < deadline, "{:?}", self.out());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.run(&["state", "ID"]).good()).unwrap()
    }

    /// Waits until the container has the status.
    #[track_caller]
    pub(crate) fn await_status(&self, status: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while self.status() != status {
            assert!(
                std::time::Instant::now() < deadline,
                "{} is not {status}",
                self.status()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Adds to a list of the configuration.
    pub(crate) fn push(&mut self, list: &str, value: Value) {
        let list = self
            .config
            .pointer_mut(list)
            .unwrap()
            .as_array_mut()
            .unwrap();
        list.push(value);
    }

    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        let containers = fs::read_dir(self.path("root")).into_iter().flatten();
        left.extend(containers.map(|entry| format!("{:?}", entry.unwrap().path())));
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten() {
            let group = hierarchy.unwrap().path().join(&self.id);
            if group.exists() {
                left.push(format!("{group:?}"));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let here = self.folder.path().to_string_lossy().into_owned();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&here))
                .map(str::to_owned),
        );
        left
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.run(&["delete", "--force", "ID"]);
            return;
        }
        let left = self.leftovers();
        let _ = self.run(&["delete", "--force", "ID"]);
        assert!(left.is_empty(), "left: {left:#?}");
    }
}

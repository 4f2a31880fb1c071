//! The engines, their image, and a bundle of the same for crun.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::image::ImageBuilder;
use testkit::{Engine, Kind, Options};

/// The name of the image that every engine gets.
pub(crate) const IMAGE: &str = "bench";
/// The program inside it; with an argument it sleeps.
pub(crate) const PROGRAM: &str = "/bin/true";

/// A program that was built beside this one.
pub(crate) fn beside(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().with_file_name(name)
}

/// A private engine with the image.
pub(crate) fn engine(kind: Kind) -> Engine {
    let options = Options {
        exec_root_in_memory: true,
        ..Options::default()
    };
    let engine = Engine::start(kind, options);
    let archive = engine.folder().join("bench.tar");
    let program = fs::read(beside("wharf-bench-program")).unwrap();
    let image = ImageBuilder::new()
        .folder("bin")
        .file("bin/true", 0o755, &program)
        .config("Cmd", serde_json::json!([PROGRAM]));
    fs::write(&archive, image.archive("bench:latest")).unwrap();
    engine.load(&archive);
    engine
}

/// A client's command on an engine. A socket's path is reached from any network namespace, so
/// that no time goes into entering the sandbox.
pub(crate) fn client(program: impl AsRef<Path>, engine: &Engine, args: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .args(args)
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.socket().display()),
        )
        .env("DOCKER_CONFIG", engine.folder())
        .env_remove("DOCKER_CONTEXT");
    command
}

/// Wharf's client on an engine.
pub(crate) fn wharf(engine: &Engine, args: &[&str]) -> Command {
    client(Engine::program(), engine, args)
}

/// Docker's client on an engine.
pub(crate) fn docker(engine: &Engine, args: &[&str]) -> Command {
    client("docker", engine, args)
}

/// The engine's own client: what its users type.
pub(crate) fn own(engine: &Engine, args: &[&str]) -> Command {
    match engine.kind() {
        Kind::Wharf => wharf(engine, args),
        Kind::Dockerd => docker(engine, args),
    }
}

/// A folder with the image's content, for the floor and crun.
pub(crate) struct Bundle {
    folder: tempfile::TempDir,
    crun: Option<Crun>,
}

/// A mount namespace in which crun works: on a host with both kinds of control groups it refuses
/// to run while the unified tree is mounted.
struct Crun {
    holder: Child,
}

impl Drop for Crun {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Bundle {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("wharf-bench-")
            .tempdir()
            .unwrap();
        let root = folder.path().join("rootfs");
        for name in ["bin", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy(beside("wharf-bench-program"), root.join("bin/true")).unwrap();
        let crun = crun_namespace(folder.path());
        Bundle { folder, crun }
    }

    /// The folder that serves as an image.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("rootfs")
    }

    /// The floor's own times for so many starts.
    pub(crate) fn floor(&self, runs: usize, pause: Duration) -> Vec<Duration> {
        self.starts("wharf-floor", runs, pause)
    }

    /// What a program says that starts containers from this folder by itself.
    pub(crate) fn starts(&self, program: &str, runs: usize, pause: Duration) -> Vec<Duration> {
        let output = Command::new(beside(program))
            .arg(self.root())
            .args([
                PROGRAM.to_owned(),
                (runs + 1).to_string(),
                pause.as_millis().to_string(),
            ])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        // The first start of a process fills its caches.
        text.lines()
            .skip(1)
            .map(|line| Duration::from_micros(line.parse().unwrap()))
            .collect()
    }

    /// `crun run` of a bundle with crun's own defaults; `None` where crun is missing or refuses.
    pub(crate) fn crun(&self) -> Option<Command> {
        let crun = self.crun.as_ref()?;
        let mut command = Command::new("nsenter");
        command
            .args(["-m", "-t", &crun.holder.id().to_string()])
            .args(["--", "crun", "run", "--bundle"])
            .arg(self.folder.path())
            .arg(format!("wharf-bench-{}", std::process::id()));
        Some(command)
    }
}

fn crun_namespace(folder: &Path) -> Option<Crun> {
    let spec = Command::new("crun")
        .arg("spec")
        .current_dir(folder)
        .status();
    if !spec.is_ok_and(|status| status.success()) {
        return None;
    }
    let path = folder.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!([PROGRAM]);
    fs::write(&path, config.to_string()).unwrap();
    let mut holder = Command::new("unshare")
        .args(["-m", "sh", "-c"])
        .arg("umount /sys/fs/cgroup/unified 2>/dev/null; echo; exec sleep 100000")
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    // One byte: the namespace is ready.
    let mut ready = [0];
    std::io::Read::read_exact(holder.stdout.as_mut()?, &mut ready).ok()?;
    let crun = Crun { holder };
    let works = Command::new("nsenter")
        .args(["-m", "-t", &crun.holder.id().to_string()])
        .args(["--", "crun", "run", "--bundle"])
        .arg(folder)
        .arg(format!("wharf-bench-{}", std::process::id()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    works.then_some(crun)
}

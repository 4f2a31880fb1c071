//! Images for tests, made from what Debian's packages bring.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// An image that tests make themselves, written as docker-archive.
pub struct ImageBuilder {
    below: Vec<Vec<u8>>,
    layer: tar::Builder<Vec<u8>>,
    config: serde_json::Value,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// An image without files.
    pub fn new() -> Self {
        ImageBuilder {
            below: Vec::new(),
            layer: tar::Builder::new(Vec::new()),
            config: serde_json::json!({}),
        }
    }

    /// Adds a folder, mode 0755.
    pub fn folder(mut self, path: &str) -> Self {
        self.add(path, tar::EntryType::Directory, 0o755, None, b"");
        self
    }

    /// Adds a file.
    pub fn file(mut self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.add(path, tar::EntryType::Regular, mode, None, content);
        self
    }

    /// Adds a symbolic link.
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.add(path, tar::EntryType::Symlink, 0o777, Some(target), b"");
        self
    }

    /// Ends a layer; what follows is in the next one, above it.
    pub fn next_layer(mut self) -> Self {
        let done = std::mem::replace(&mut self.layer, tar::Builder::new(Vec::new()));
        self.below.push(done.into_inner().unwrap());
        self
    }

    /// Sets a field of the image's `config` object.
    pub fn config(mut self, field: &str, value: serde_json::Value) -> Self {
        self.config[field] = value;
        self
    }

    fn add(
        &mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        link: Option<&str>,
        content: &[u8],
    ) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1_600_000_000);
        match link {
            Some(target) => self.layer.append_link(&mut header, path, target).unwrap(),
            None => self.layer.append_data(&mut header, path, content).unwrap(),
        }
    }

    /// The archive, as `docker save` would write it, with this name.
    pub fn archive(self, name: &str) -> Vec<u8> {
        let mut layers = self.below;
        layers.push(self.layer.into_inner().unwrap());
        archive(&layers, &self.config, name)
    }
}

/// A docker-archive of these layers, the lowest first.
fn archive(layers: &[Vec<u8>], config: &serde_json::Value, name: &str) -> Vec<u8> {
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    archive_of(&[(name, &layers, config)])
}

/// A docker-archive of several images: name, layers from the lowest, `config` object. A layer of several is in it once.
fn archive_of(images: &[(&str, &[&[u8]], &serde_json::Value)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content).unwrap();
    };
    let mut written: Vec<String> = Vec::new();
    let mut manifest = Vec::new();
    for (name, layers, config) in images {
        let sums: Vec<String> = layers.iter().map(|layer| hex(layer)).collect();
        for (sum, layer) in sums.iter().zip(*layers) {
            if !written.contains(sum) {
                add(&format!("{sum}/layer.tar"), layer);
                written.push(sum.clone());
            }
        }
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": sums.iter().map(|sum| format!("sha256:{sum}")).collect::<Vec<_>>()},
            "history": layers.iter().map(|_| serde_json::json!({"created": "2024-01-01T00:00:00Z", "created_by": "test"})).collect::<Vec<_>>(),
        })
        .to_string();
        let config_name = format!("{}.json", hex(config.as_bytes()));
        add(&config_name, config.as_bytes());
        let paths: Vec<String> = sums.iter().map(|sum| format!("{sum}/layer.tar")).collect();
        manifest
            .push(serde_json::json!({"Config": config_name, "RepoTags": [name], "Layers": paths}));
    }
    add(
        "manifest.json",
        serde_json::Value::from(manifest).to_string().as_bytes(),
    );
    archive.into_inner().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The folder in which images are kept between runs: beside the build's output.
fn cache() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(4).unwrap().join("test-images");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A cached file, made once; tests of all processes wait for the one that makes it.
fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let path = cache().join(name);
    let lock = fs::File::create(cache().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !path.exists() {
        let part = cache().join(format!("{name}.part"));
        make(&part);
        fs::rename(part, &path).unwrap();
    }
    path
}

/// `busybox:latest`: Debian's busybox-static with a link for each of its commands, root and a
/// user (`app`, 1000), `/tmp`.
///
/// # Panics
/// When /bin/busybox (package busybox-static) is missing.
pub fn busybox() -> PathBuf {
    cached("busybox-1.tar", |path| {
        let program = fs::read("/bin/busybox").expect("Debian's package busybox-static is needed");
        let list = std::process::Command::new("/bin/busybox")
            .arg("--list")
            .output()
            .unwrap();
        let mut image = ImageBuilder::new()
            .folder("bin")
            .folder("etc")
            .folder("root")
            .folder("home")
            .folder("tmp")
            .folder("var");
        image = image.file("bin/busybox", 0o755, &program);
        for command in String::from_utf8(list.stdout)
            .unwrap()
            .lines()
            .filter(|command| *command != "busybox")
        {
            image = image.link(&format!("bin/{command}"), "busybox");
        }
        let image = image
            .file(
                "etc/passwd",
                0o644,
                b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n",
            )
            .file(
                "etc/group",
                0o644,
                b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n",
            )
            .config("Cmd", serde_json::json!(["sh"]))
            .config(
                "Env",
                serde_json::json!([
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                ]),
            );
        fs::File::create(path)
            .unwrap()
            .write_all(&image.archive("busybox:latest"))
            .unwrap();
    })
}

/// `three:latest`: three layers of twenty entries together, with a file that the third hides and
/// one that it changes; a shell is in it.
///
/// # Panics
/// When /bin/busybox (package busybox-static) is missing.
pub fn three_layers() -> Vec<u8> {
    let program = fs::read("/bin/busybox").expect("Debian's package busybox-static is needed");
    ImageBuilder::new()
        .folder("bin")
        .file("bin/busybox", 0o755, &program)
        .link("bin/sh", "busybox")
        .link("bin/cat", "busybox")
        .folder("etc")
        .file("etc/one", 0o644, b"one\n")
        .folder("tmp")
        .next_layer()
        .folder("data")
        .file("data/a", 0o644, b"hidden\n")
        .file("data/b", 0o644, b"old\n")
        .folder("data/deep")
        .file("data/deep/c", 0o600, b"c\n")
        .file("etc/two", 0o644, b"two\n")
        .link("data/link", "deep/c")
        .next_layer()
        .file("data/.wh.a", 0o644, b"")
        .file("data/b", 0o644, b"new\n")
        .file("data/d", 0o644, b"d\n")
        .folder("top")
        .file("top/x", 0o644, b"x\n")
        .file("etc/three", 0o644, b"three\n")
        .archive("three:latest")
}

/// `debian:latest`: a small Debian made by debootstrap, with apt, a shell and nginx.
///
/// # Panics
/// When debootstrap is missing or Debian's packages are out of reach.
pub fn debian() -> PathBuf {
    cached("debian-2.tar", |path| {
        let layer = debootstrap("nginx-light", "");
        let config = serde_json::json!({"Cmd": ["bash"]});
        fs::write(path, archive(&[layer], &config, "debian:latest")).unwrap();
    })
}

/// `postgres:1` and `postgres:2`: a small Debian with PostgreSQL 15, and what starts it as other images of it do: it keeps
/// its data in `/data`, which it fills when that is empty, and trusts who comes over the network. The second has a layer
/// more, with other settings.
///
/// # Panics
/// When debootstrap is missing or Debian's packages are out of reach.
pub fn postgres() -> PathBuf {
    cached("postgres-1.tar", |path| {
        let base = debootstrap(
            "postgresql-15",
            "mkdir data && chown postgres:postgres data",
        );
        let programs = "/usr/lib/postgresql/15/bin";
        let start = |settings: &str| {
            format!(
                "#!/bin/sh\nset -e\n[ -s /data/PG_VERSION ] || initdb --auth=trust -D /data\n\
                 grep -q '^host all all all' /data/pg_hba.conf || echo 'host all all all trust' >>/data/pg_hba.conf\n\
                 exec postgres -D /data -c listen_addresses='*' {settings}\n"
            )
        };
        let layer = |settings: &str| {
            let image = ImageBuilder::new().file("start", 0o755, start(settings).as_bytes());
            image.layer.into_inner().unwrap()
        };
        let first = layer("");
        let second = layer("-c work_mem=16MB");
        let config = serde_json::json!({
            "Cmd": ["/start"],
            "User": "postgres",
            "Env": [format!("PATH={programs}:/usr/bin:/bin"), "LC_ALL=C.UTF-8"],
            "ExposedPorts": {"5432/tcp": {}},
            "Volumes": {"/data": {}},
            "StopSignal": "SIGINT",
        });
        let images = archive_of(&[
            ("postgres:1", &[&base, &first], &config),
            ("postgres:2", &[&base, &first, &second], &config),
        ]);
        fs::write(path, images).unwrap();
    })
}

/// A small Debian with a package, as one layer; the script runs in its root at the end.
fn debootstrap(package: &str, script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let status = std::process::Command::new("debootstrap")
        .args([
            "--variant=minbase",
            &format!("--include={package}"),
            "bookworm",
        ])
        .arg(&root)
        .stdout(std::process::Stdio::null())
        .status();
    assert!(
        status
            .expect("Debian's package debootstrap is needed")
            .success(),
        "debootstrap"
    );
    let done = std::process::Command::new("chroot")
        .arg(&root)
        .args(["sh", "-c", script])
        .status()
        .unwrap();
    assert!(done.success(), "{script}");
    let layer = std::process::Command::new("tar")
        .args([
            "--numeric-owner",
            "--exclude=./var/cache/apt/archives/*.deb",
            "--exclude=./usr/share/doc/*",
            "--exclude=./usr/share/locale/*",
            "--exclude=./var/lib/apt/lists/*",
            "-C",
        ])
        .arg(&root)
        .args(["-cf", "-", "."])
        .output()
        .unwrap();
    assert!(
        layer.status.success(),
        "tar: {}",
        String::from_utf8_lossy(&layer.stderr)
    );
    layer.stdout
}

//! Debian's docker-registry in an engine's network, and the tools that fill it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Engine, TokenServer, eventually, run};

/// A running registry; its data go with the engine's folder.
pub(super) struct Registry {
    /// A process in the engine's network.
    holder: u32,
    child: Child,
    folder: PathBuf,
    port: u16,
    guarded: bool,
}

/// Whom a registry lets in.
enum Guard<'a> {
    Nobody,
    /// `user` with the password `pw`.
    Password,
    /// Who has a token of this server.
    Tokens(&'a TokenServer),
    /// Who has this certificate.
    Certificate(&'a Path),
}

/// The line of `user` with the password `pw`, for htpasswd's file.
const USER: &str = "user:$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q\n";

impl Registry {
    /// Starts an empty one at 127.0.0.1:5000 of the engine's network.
    pub(super) fn start(engine: &Engine) -> Self {
        Self::start_with(engine, 5000, &Guard::Nobody, false)
    }

    /// The same, which lets in only `user` with the password `pw`.
    pub(super) fn start_guarded(engine: &Engine) -> Self {
        Self::start_with(engine, 5000, &Guard::Password, false)
    }

    /// One at 127.0.0.1:5443 that speaks https alone, with a certificate that nobody knows.
    pub(super) fn start_encrypted(engine: &Engine) -> Self {
        Self::start_with(engine, 5443, &Guard::Nobody, true)
    }

    /// The same, which lets in only `user` with the password `pw`.
    pub(super) fn start_encrypted_and_guarded(engine: &Engine) -> Self {
        Self::start_with(engine, 5443, &Guard::Password, true)
    }

    /// The same, which lets in only who has the certificate `client.cert` of this folder, whose key is `client.key`.
    pub(super) fn start_asking_for_certificate(engine: &Engine, folder: &Path) -> Self {
        Self::start_with(engine, 5443, &Guard::Certificate(folder), true)
    }

    /// One at 127.0.0.1:5000 that wants tokens.
    pub(super) fn start_with_tokens(engine: &Engine, tokens: &TokenServer) -> Self {
        Self::start_with(engine, 5000, &Guard::Tokens(tokens), false)
    }

    /// The certificate of an encrypted one.
    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    fn start_with(engine: &Engine, port: u16, guard: &Guard, encrypted: bool) -> Self {
        let folder = engine.folder().join(format!("registry-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let ca = match guard {
            Guard::Certificate(of) => {
                format!(", clientcas: [{}]", of.join("client.cert").display())
            }
            _ => String::new(),
        };
        let tls = match encrypted {
            true => {
                let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
                make_certificate("reg.example", &certificate, &key);
                let (certificate, key) = (certificate.display(), key.display());
                format!(", tls: {{certificate: {certificate}, key: {key}{ca}}}")
            }
            false => String::new(),
        };
        let config = folder.join("config.yml");
        let users = folder.join("users");
        fs::write(&users, USER).unwrap();
        let guarded = matches!(guard, Guard::Password | Guard::Tokens(_));
        let asks_elsewhere = matches!(guard, Guard::Tokens(_));
        let own = match guard {
            Guard::Certificate(of) => Some(of.to_owned()),
            _ => None,
        };
        let guard = match guard {
            Guard::Password => format!(
                "auth: {{htpasswd: {{realm: here, path: {}}}}}\n",
                users.display()
            ),
            Guard::Tokens(server) => server.configuration(),
            Guard::Nobody | Guard::Certificate(_) => String::new(),
        };
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"{tls}}}\n{guard}",
                folder.join("store").display()
            ),
        )
        .unwrap();
        let child = engine
            .sandbox()
            .network_command("docker-registry")
            .args(["serve", config.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's package docker-registry is needed");
        let registry = Registry {
            holder: engine.sandbox().holder(),
            child,
            folder,
            port,
            guarded,
        };
        eventually("the registry answers", Duration::from_secs(30), || {
            let mut curl = registry.network("curl");
            if guarded {
                curl.args(["-u", "user:pw"]);
            }
            if let Some(own) = &own {
                curl.arg("--cert").arg(own.join("client.cert"));
                curl.arg("--key").arg(own.join("client.key"));
            }
            let scheme = if encrypted { "https" } else { "http" };
            let flags = if asks_elsewhere { "-sk" } else { "-skf" };
            curl.args([flags, &format!("{scheme}://127.0.0.1:{port}/v2/")]);
            (run(curl, b"").status == 0).then_some(())
        });
        registry
    }

    /// `127.0.0.1:5000/IMAGE`.
    pub(super) fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    /// A folder of its own for a tool's work.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Where the registry keeps a blob.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = "store/docker/registry/v2/blobs/sha256";
        self.folder
            .join(format!("{blobs}/{}/{hex}/data", &hex[..2]))
    }

    /// How many blobs a repository has.
    pub(super) fn blobs_of(&self, repository: &str) -> usize {
        let links = format!("store/docker/registry/v2/repositories/{repository}/_layers/sha256");
        let blobs = fs::read_dir(self.folder.join(links)).into_iter().flatten();
        blobs
            .filter(|blob| {
                blob.as_ref()
                    .is_ok_and(|blob| blob.path().join("link").exists())
            })
            .count()
    }

    fn network(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder));
        command.args(["--", program]);
        // What skopeo and buildah remember of registries would spare them the upload.
        command
            .env("HOME", &self.folder)
            .env("XDG_DATA_HOME", &self.folder);
        command.current_dir(&self.folder);
        command
    }

    /// skopeo, which must succeed.
    #[track_caller]
    pub(super) fn skopeo(&self, args: &[&str]) -> String {
        let mut command = self.network("skopeo");
        command.arg("--insecure-policy").args(args);
        run(command, b"").ok().stdout
    }

    /// umoci, which must succeed.
    #[track_caller]
    pub(super) fn umoci(&self, args: &[&str]) {
        let mut command = self.network("umoci");
        command.args(args);
        run(command, b"").ok();
    }

    /// buildah with a storage of its own, which must succeed.
    #[track_caller]
    pub(super) fn buildah(&self, args: &[&str]) -> String {
        let mut command = self.network("buildah");
        let place = |name: &str| self.folder.join(name).display().to_string();
        command
            .args([
                "--root",
                &place("buildah-root"),
                "--runroot",
                &place("buildah-run"),
            ])
            .args(["--storage-driver", "vfs"])
            .args(args)
            .env("BUILDAH_ISOLATION", "chroot");
        run(command, b"").ok().stdout
    }

    /// The manifest of an image, as it lies there.
    pub(super) fn manifest(&self, image: &str) -> serde_json::Value {
        let place = format!("docker://{}", self.name(image));
        let text = self.skopeo(&["inspect", "--raw", "--tls-verify=false", &place]);
        serde_json::from_str(&text).unwrap()
    }

    /// The digest of an image's manifest.
    pub(super) fn digest(&self, image: &str) -> String {
        let place = format!("docker://{}", self.name(image));
        let format = [
            "inspect",
            "--format",
            "{{.Digest}}",
            "--tls-verify=false",
            &place,
        ];
        self.skopeo(&format).trim().to_owned()
    }

    /// Uploads from another place, in skopeo's notation.
    #[track_caller]
    pub(super) fn upload(&self, source: &str, image: &str) {
        let target = format!("docker://{}", self.name(image));
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        let who: &[&str] = match self.guarded {
            true => &["--dest-creds", "user:pw"],
            false => &[],
        };
        self.skopeo(&[&["copy", "-q"][..], &tls, who, &[source, &target]].concat());
    }

    /// The small image twice: with a gzip layer and Docker's manifest, and with a zstd layer and
    /// an OCI manifest.
    pub(super) fn fill_by_skopeo(&self, gzip: &str, zstd: &str) {
        let busybox = busybox();
        self.upload(&busybox, gzip);
        let layers = self.manifest(gzip)["layers"].clone();
        assert_eq!(
            layers[0]["mediaType"],
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        );
        let layout = format!("oci:{}:one", self.scratch("zstd").display());
        let compress = ["--dest-compress", "--dest-compress-format", "zstd"];
        self.skopeo(&[&["copy", "-q"][..], &compress, &[&busybox, &layout]].concat());
        // Without this flag skopeo takes the gzip layer, which it knows to be the same.
        let target = format!("docker://{}", self.name(zstd));
        let flags = [
            "copy",
            "-q",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ];
        self.skopeo(&[&flags[..], &[&layout, &target]].concat());
        let layers = self.manifest(zstd)["layers"].clone();
        assert_eq!(
            layers[0]["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+zstd"
        );
    }

    /// An OCI layout with the image `made` of two layers: a file more, a file less, a command.
    pub(super) fn layout_by_umoci(&self) -> PathBuf {
        let layout = self.scratch("umoci").join("layout");
        let bundle = self.scratch("umoci").join("bundle");
        let image = |tag: &str| format!("{}:{tag}", layout.display());
        self.skopeo(&["copy", "-q", &busybox(), &format!("oci:{}", image("base"))]);
        self.umoci(&[
            "unpack",
            "--image",
            &image("base"),
            bundle.to_str().unwrap(),
        ]);
        fs::write(bundle.join("rootfs/made"), "by umoci\n").unwrap();
        fs::remove_file(bundle.join("rootfs/bin/wget")).unwrap();
        self.umoci(&[
            "repack",
            "--image",
            &image("made"),
            bundle.to_str().unwrap(),
        ]);
        let command = ["--config.cmd", "cat", "--config.cmd", "/made"];
        self.umoci(&[&["config", "--image", &image("made")][..], &command].concat());
        layout
    }

    /// The image of [`Registry::layout_by_umoci`].
    pub(super) fn fill_by_umoci(&self, image: &str) {
        let layout = self.layout_by_umoci();
        self.upload(&format!("oci:{}:made", layout.display()), image);
    }

    /// `PREFIX/amd64:1`, `PREFIX/arm64:1` and an index of both, `PREFIX/list:1`. Both print their
    /// platform, and both hold this machine's programs.
    pub(super) fn fill_by_buildah(&self, prefix: &str) {
        let base = self.name("base:1");
        self.upload(&busybox(), "base:1");
        self.buildah(&["pull", "-q", "--tls-verify=false", &base]);
        self.buildah(&["manifest", "create", "list"]);
        for arch in ["amd64", "arm64"] {
            let part = self.name(&format!("{prefix}/{arch}:1"));
            let file = self.scratch("buildah").join("arch");
            fs::write(&file, format!("{arch}\n")).unwrap();
            let made = self.buildah(&["from", "--pull-never", &base]);
            let made = made.trim();
            self.buildah(&["copy", "-q", made, file.to_str().unwrap(), "/arch"]);
            self.buildah(&["config", "--arch", arch, "--cmd", "cat /arch", made]);
            self.buildah(&["commit", "-q", "--rm", made, &part]);
            self.buildah(&["push", "-q", "--tls-verify=false", &part]);
            let place = format!("docker://{part}");
            self.buildah(&[
                "manifest",
                "add",
                "--tls-verify=false",
                "--arch",
                arch,
                "list",
                &place,
            ]);
        }
        let place = format!("docker://{}", self.name(&format!("{prefix}/list:1")));
        self.buildah(&[
            "manifest",
            "push",
            "-q",
            "--tls-verify=false",
            "--all",
            "list",
            &place,
        ]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes a certificate of a name that nobody vouches for, and its key; as openssl does unless it is told otherwise, it is
/// marked as an authority.
pub(super) fn make_certificate(name: &str, certificate: &Path, key: &Path) {
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-addext", &format!("subjectAltName=DNS:{name}")])
        .args(["-subj", &format!("/CN={name}"), "-out"])
        .arg(certificate)
        .arg("-keyout")
        .arg(key);
    run(openssl, b"").ok();
}

/// The small test image, in skopeo's notation.
pub(super) fn busybox() -> String {
    format!("docker-archive:{}", testkit::image::busybox().display())
}

/// A tar archive of a folder's content.
pub(super) fn tar(folder: &Path, archive: &Path) {
    let mut command = Command::new("tar");
    command
        .arg("-C")
        .arg(folder)
        .arg("-cf")
        .arg(archive)
        .arg(".");
    run(command, b"").ok();
}

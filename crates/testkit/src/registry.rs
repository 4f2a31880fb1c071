//! A registry of images: Debian's `docker-registry`, filled by skopeo.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::command::{eventually, run};
use crate::sandbox::Sandbox;

/// The port on the loopback device of the sandbox's network.
const PORT: u16 = 5000;

/// A registry that runs until it is dropped.
pub struct Registry {
    server: Child,
}

impl Registry {
    /// Starts one on 127.0.0.1:5000 of a sandbox, with its files in `folder`.
    ///
    /// # Panics
    /// When Debian's packages docker-registry or skopeo are missing, or it does not answer.
    #[track_caller]
    pub fn start(sandbox: &Sandbox, folder: &Path) -> Registry {
        let config = folder.join("registry.yml");
        let storage = folder.join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: 127.0.0.1:{PORT}}}\n",
                storage.display()
            ),
        )
        .unwrap();
        let server = sandbox
            .network_command("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsenter(1) runs");
        let registry = Registry { server };
        eventually("the registry answers", Duration::from_secs(20), || {
            let mut command = sandbox.network_command("/bin/busybox");
            command.args([
                "wget",
                "-q",
                "-O",
                "-",
                &format!("http://127.0.0.1:{PORT}/v2/"),
            ]);
            (run(command, b"").status == 0).then_some(())
        });
        registry
    }

    /// Copies a docker-archive into it, and gives the name by which an engine pulls it.
    #[track_caller]
    pub fn push(&self, sandbox: &Sandbox, archive: &Path, name: &str) -> String {
        let reference = format!("localhost:{PORT}/{name}");
        let mut command = sandbox.network_command("skopeo");
        command
            .args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"])
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://{reference}"));
        run(command, b"").ok();
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

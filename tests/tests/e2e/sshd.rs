//! Engines behind a real sshd(8), on the loopback of a sandbox with keys of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Engine, Finished, Kind, Program, Terminal, eventually, run};

const HOST: &str = "ssh://root@127.0.0.1:2222";

/// A server, and the folder with a `ssh` that knows its key.
struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// Who logs in finds `wharf` and `docker`, which both are the program under test.
    fn start(engine: &Engine, sshd: &Program) -> Self {
        let folder = engine.folder().join("ssh");
        let far = folder.join("far");
        fs::create_dir_all(&far).unwrap();
        for name in ["wharf", "docker"] {
            symlink(Engine::program(), far.join(name)).unwrap();
        }
        for name in ["host", "user", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(name));
            run(keygen, b"").ok();
        }
        let shown = folder.display();
        let server = format!(
            "Port 2222\nListenAddress 127.0.0.1\nHostKey {shown}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             AuthorizedKeysFile {shown}/user.pub\n\
             SetEnv PATH={}:/usr/bin:/bin DOCKER_HOST=unix://{}\n",
            far.display(),
            engine.socket().display()
        );
        fs::write(folder.join("server"), server).unwrap();
        let host = fs::read_to_string(folder.join("host.pub")).unwrap();
        fs::write(folder.join("known"), format!("[127.0.0.1]:2222 {host}")).unwrap();
        // A user without rights is needed beside root; the host may have none of that name.
        let users = "root:x:0:0:root:/root:/bin/sh\nsshd:x:65534:65534::/run/sshd:/bin/false\n";
        fs::write(folder.join("passwd"), users).unwrap();
        for (name, key) in [("ssh", "user"), ("stranger/ssh", "stranger")] {
            let config = format!(
                "Host *\n UserKnownHostsFile {shown}/known\n GlobalKnownHostsFile /dev/null\n IdentityFile {shown}/{key}\n\
                 IdentitiesOnly yes\n IdentityAgent none\n BatchMode yes\n"
            );
            let path = folder.join("near").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let config_path = path.with_extension("config");
            fs::write(&config_path, config).unwrap();
            let script = format!(
                "#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n",
                config_path.display()
            );
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let script = format!(
            "mount --bind {shown}/passwd /etc/passwd && mount -t tmpfs none /run && mkdir -m 755 /run/sshd && \
             exec {} -D -e -f {shown}/server",
            sshd.path.display()
        );
        let mut command = engine.sandbox().network_command("unshare");
        sshd.with_libraries(&mut command);
        let log = fs::File::create(folder.join("log")).unwrap();
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        eventually("the server listens", Duration::from_secs(20), || {
            fs::read_to_string(folder.join("log"))
                .unwrap()
                .contains("Server listening")
                .then_some(())
        });
        Server { child, folder }
    }

    /// A client that finds `ssh` in one of the folders first.
    fn client(&self, mut command: Command, near: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let near = self.folder.join(near);
        command
            .env("PATH", format!("{}:{path}", near.display()))
            .env_remove("DOCKER_HOST");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_installed(program: &str) -> bool {
    Path::new("/usr/bin").join(program).exists()
}

#[test]
fn engines_are_reached_through_a_real_sshd() {
    let sshd = Program::find("openssh-server", "usr/sbin/sshd");
    let Some(sshd) = sshd.filter(|_| is_installed("ssh") && is_installed("ssh-keygen")) else {
        return testkit::skip("openssh-server");
    };
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        engine.load_busybox();
        let server = Server::start(engine, &sshd);
        let near = |command: Command| server.client(command, "near");
        let echo = ["run", "-i", "--rm", "busybox", "sh", "-c", "cat; exit 3"];
        let with_host = |args: &[&'static str]| [&["-H", HOST], args].concat();
        for command in [
            engine.wharf(&with_host(&echo)),
            engine.docker(&with_host(&echo)),
        ] {
            let done = run(near(command), b"typed").fails_with(3);
            assert_eq!((done.text(), done.stderr.as_str()), ("typed", ""));
        }
        // Much, by the variable.
        let much = [
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "yes | head -c 3000000",
        ];
        for command in [engine.wharf(&much), engine.docker(&much)] {
            let mut command = near(command);
            command.env("DOCKER_HOST", HOST);
            assert_eq!(run(command, b"").ok().stdout.len(), 3_000_000);
        }
        // By a context, which both clients read.
        let made = format!("host={HOST}");
        run(
            near(engine.wharf(&["context", "create", "far", "--docker", &made])),
            b"",
        )
        .ok();
        let name = ["-c", "far", "version", "-f", "{{.Server.Platform.Name}}"];
        let here = engine.w(&name[2..]).ok().stdout;
        for command in [engine.wharf(&name), engine.docker(&name)] {
            assert_eq!(run(near(command), b"").ok().stdout, here);
        }
        terminals(engine, &near);
        refusals(engine, &server);
    });
}

/// A shell over the connection, left and found again.
fn terminals(engine: &Engine, near: &dyn Fn(Command) -> Command) {
    let start = ["-H", HOST, "run", "-it", "--name", "shell", "busybox"];
    let mut terminal = Terminal::start(near(engine.wharf(&start)), 30, 100);
    terminal.send("stty size; echo $((6 * 7))\n");
    terminal.expect("30 100");
    terminal.expect("42");
    terminal.send("\u{10}\u{11}");
    terminal.finish();
    let attach = ["-H", HOST, "attach", "shell"];
    let mut terminal = Terminal::start(near(engine.wharf(&attach)), 20, 70);
    terminal.send("echo $((7 * 8))\n");
    terminal.expect("56");
    terminal.send("exit 4\n");
    assert_eq!(terminal.finish().0, 4);
    let exec = [
        "-H", HOST, "run", "-d", "--name", "other", "busybox", "sleep", "1000",
    ];
    run(near(engine.docker(&exec)), b"").ok();
    let exec = ["-H", HOST, "exec", "-it", "other", "sh"];
    let mut terminal = Terminal::start(near(engine.docker(&exec)), 30, 100);
    terminal.send("echo $((8 * 9)); exit 5\n");
    terminal.expect("72");
    assert_eq!(terminal.finish().0, 5);
}

/// What ssh and the far side say reaches whoever asked.
fn refusals(engine: &Engine, server: &Server) {
    let refused = |host: &str, near: &str| -> Finished {
        let command = server.client(engine.wharf(&["-H", host, "ps"]), near);
        run(command, b"").fails_with(1)
    };
    for (host, near, why) in [
        ("ssh://root@127.0.0.1:1", "near", "Connection refused"),
        (HOST, "near/stranger", "Permission denied (publickey)"),
        (
            "ssh://root@127.0.0.1:2222/nonexistent.sock",
            "near",
            "/nonexistent.sock",
        ),
    ] {
        let said = refused(host, near).stderr;
        assert!(said.contains(why), "{host}: {said}");
        assert!(
            said.contains("make sure the URL is valid"),
            "{host}: {said}"
        );
    }
    // Somebody else answers there: ssh's warning is many lines, the last word is that nothing was done.
    fs::copy(server.folder.join("stranger.pub"), server.folder.join("x")).unwrap();
    let key = fs::read_to_string(server.folder.join("x")).unwrap();
    fs::write(
        server.folder.join("known"),
        format!("[127.0.0.1]:2222 {key}"),
    )
    .unwrap();
    let said = refused(HOST, "near").stderr;
    assert!(said.contains("Host key verification failed"), "{said}");
}

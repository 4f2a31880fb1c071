//! Engines of other hosts: by ssh(1), and over TCP with certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Engine, Finished, TlsFront, run};

/// A program called `ssh` that executes the words of the far side here, with the programs of one folder, and writes
/// down how it was called.
fn fake_ssh(engine: &Engine) -> (PathBuf, PathBuf) {
    let folder = engine.folder();
    let (near, far) = (folder.join("near"), folder.join("far"));
    for folder in [&near, &far] {
        fs::create_dir_all(folder).unwrap();
    }
    let script = format!(
        "#!/bin/sh\nfor word; do echo \"<$word>\"; done >> {log}\n\
         while [ \"$1\" != -- ]; do shift; done\nshift 2\n\
         echo a banner >&2\n\
         unset DOCKER_CONTEXT DOCKER_CONFIG\n\
         DOCKER_HOST=unix://{socket} PATH={far}:/usr/bin:/bin\nexport DOCKER_HOST PATH\n\
         exec sh -c \"$*\"\n",
        log = folder.join("log").display(),
        socket = engine.socket().display(),
        far = far.display(),
    );
    program(&near.join("ssh"), &script);
    (near, far)
}

fn program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A client whose ssh(1) is another.
fn by(engine: &Engine, near: &Path, args: &[&str]) -> Command {
    let mut command = engine.wharf(args);
    let path = std::env::var("PATH").unwrap();
    command
        .env("PATH", format!("{}:{path}", near.display()))
        .env_remove("DOCKER_HOST");
    command
}

#[test]
fn an_engine_is_reached_by_ssh() {
    Engine::run(|engine| {
        engine.load_busybox();
        let (near, far) = fake_ssh(engine);
        std::os::unix::fs::symlink(Engine::program(), far.join("wharf")).unwrap();
        program(&far.join("docker"), "#!/bin/sh\necho not me >&2; exit 9\n");
        let ssh = |args: &[&str]| -> Finished {
            run(
                by(
                    engine,
                    &near,
                    &[&["-H", "ssh://me@there:22"], args].concat(),
                ),
                b"typed",
            )
        };
        let done = ssh(&[
            "run",
            "-i",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "cat; echo; exit 3",
        ]);
        let done = done.fails_with(3);
        assert_eq!((done.text(), done.stderr.as_str()), ("typed", ""));
        let log = fs::read_to_string(engine.folder().join("log")).unwrap();
        assert!(
            log.starts_with(
                "<-o>\n<ConnectTimeout=30>\n<-T>\n<-l>\n<me>\n<-p>\n<22>\n<-->\n<there>\n<sh -c "
            ),
            "{log}"
        );
        // Much in both directions.
        let archive = testkit::image::busybox();
        ssh(&["load", "-q", "-i", archive.to_str().unwrap()]).ok();
        let done = ssh(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "yes | head -c 3000000",
        ])
        .ok();
        assert_eq!(done.stdout.len(), 3_000_000);
        // By a context, and by the variable.
        let home = engine.folder().join("home");
        let mut made = by(
            engine,
            &near,
            &["context", "create", "far", "--docker", "host=ssh://there"],
        );
        made.env("DOCKER_CONFIG", &home);
        run(made, b"").ok();
        let mut shown = by(
            engine,
            &near,
            &["-c", "far", "version", "-f", "{{.Server.Os}}"],
        );
        shown.env("DOCKER_CONFIG", &home);
        assert_eq!(run(shown, b"").ok().text(), "linux");
        let mut shown = by(engine, &near, &["ps", "-q"]);
        shown.env("DOCKER_HOST", "ssh://there");
        run(shown, b"").ok();
    });
}

#[test]
fn a_far_side_with_docker_alone_is_reached_by_docker_s_words() {
    Engine::run(|engine| {
        let (near, far) = fake_ssh(engine);
        let script = format!(
            "#!/bin/sh\necho \"$*\" > {}\nexec {} \"$@\"\n",
            engine.folder().join("far-log").display(),
            Engine::program().display()
        );
        program(&far.join("docker"), &script);
        let host = format!("ssh://there{}", engine.socket().display());
        run(by(engine, &near, &["-H", &host, "ps"]), b"").ok();
        assert_eq!(
            fs::read_to_string(engine.folder().join("far-log")).unwrap(),
            format!(
                "--host unix://{} system dial-stdio\n",
                engine.socket().display()
            )
        );
    });
}

#[test]
fn why_a_far_side_is_not_reached_is_told() {
    Engine::run(|engine| {
        let near = engine.folder().join("near");
        fs::create_dir(&near).unwrap();
        program(
            &near.join("ssh"),
            "#!/bin/sh\necho no way in >&2; exit 255\n",
        );
        let done = run(by(engine, &near, &["-H", "ssh://there", "ps"]), b"").fails_with(1);
        for part in [
            "error during connect: Get \"http://docker.example.com/v",
            "/containers/json\": command [ssh -o ConnectTimeout=30 -T -- there ",
            "has exited with exit status 255, make sure the URL is valid",
            "stderr=no way in\n",
        ] {
            assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
        }
        // A path with nothing but what the test itself is started by.
        let bare = engine.folder().join("bare");
        fs::create_dir(&bare).unwrap();
        let nsenter = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join("nsenter"))
            .find(|path| path.exists())
            .unwrap();
        std::os::unix::fs::symlink(nsenter, bare.join("nsenter")).unwrap();
        let mut none = by(engine, &near, &["-H", "ssh://there", "ps"]);
        none.env("PATH", &bare);
        let done = run(none, b"").fails_with(1);
        let sentence = "exec: \"ssh\": executable file not found in $PATH";
        assert!(done.stderr.contains(sentence), "{}", done.stderr);
    });
}

#[test]
fn docker_s_client_reaches_an_engine_by_dial_stdio() {
    Engine::run(|engine| {
        engine.load_busybox();
        let (near, far) = fake_ssh(engine);
        let script = format!("#!/bin/sh\nexec {} \"$@\"\n", Engine::program().display());
        program(&far.join("docker"), &script);
        let mut command =
            engine.docker(&["-H", "ssh://there", "run", "-i", "--rm", "busybox", "cat"]);
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", near.display()))
            .env_remove("DOCKER_HOST");
        assert_eq!(run(command, b"typed").ok().stdout, "typed");
    });
}

/// An authority, a server's certificate for 127.0.0.1, and a client's.
fn certificates(folder: &Path) {
    let script = "set -e\n\
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem\n\
        issue() { openssl req -newkey rsa:2048 -nodes -subj /CN=$1 -keyout $1.key -out $1.csr\n\
        printf \"$2\" > $1.ext\n\
        openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $1.ext -out $1.pem; }\n\
        issue server 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n'\n\
        issue client 'extendedKeyUsage=clientAuth\\n'\n\
        mkdir config other; cp ca.pem config/ca.pem; cp client.pem config/cert.pem; cp client.key config/key.pem\n\
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other/key.pem -out other/ca.pem\n";
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder);
    run(command, b"").ok();
}

#[test]
fn an_engine_is_reached_over_tls() {
    Engine::run(|engine| {
        engine.load_busybox();
        let folder = engine.folder();
        certificates(&folder);
        let front = TlsFront::start(engine.sandbox(), &folder, &engine.socket());
        let host = format!("tcp://127.0.0.1:{}", front.port());
        let config = folder.join("config").display().to_string();
        let other = folder.join("other").display().to_string();
        let client = |variables: &[(&str, &str)], args: &[&str], input: &[u8]| -> Finished {
            let mut command = engine.wharf(args);
            command
                .env("DOCKER_HOST", &host)
                .env("DOCKER_CONFIG", &config);
            command.envs(variables.iter().copied());
            run(command, input)
        };
        let verify = [
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", config.as_str()),
        ];
        let args = ["run", "-i", "--rm", "busybox", "sh", "-c", "cat; exit 4"];
        let typed = "typed\n".repeat(100_000);
        let done = client(&verify, &args, typed.as_bytes()).fails_with(4);
        assert_eq!((done.stdout.len(), done.stderr.as_str()), (typed.len(), ""));
        client(&[], &["--tlsverify", "ps"], b"").ok();
        client(&[("DOCKER_TLS", "1")], &["ps"], b"").ok();
        let archive = testkit::image::busybox();
        client(
            &verify,
            &["load", "-q", "-i", archive.to_str().unwrap()],
            b"",
        )
        .ok();
        // A certificate that nobody known has signed.
        let pem = |name: &str| format!("{other}/{name}");
        let done = client(
            &[],
            &["--tlsverify", "--tlscacert", &pem("ca.pem"), "ps"],
            b"",
        );
        let done = done.fails_with(1);
        let sentence =
            "tls: failed to verify certificate: x509: certificate signed by unknown authority";
        assert!(done.stderr.contains(sentence), "{}", done.stderr);
        assert!(
            done.stderr.contains("Get \"https://127.0.0.1:"),
            "{}",
            done.stderr
        );
        client(&[], &["--tls", "--tlscacert", &pem("ca.pem"), "ps"], b"").ok();
        // Nobody, and somebody whom the engine's side does not know.
        let away = [
            ("DOCKER_CERT_PATH", folder.to_str().unwrap()),
            ("DOCKER_TLS_VERIFY", "1"),
        ];
        let done = client(&away, &["ps"], b"").fails_with(1);
        let sentence = "remote error: tls: certificate required";
        assert!(done.stderr.contains(sentence), "{}", done.stderr);
        // A context with certificates.
        let made =
            format!("host={host},ca={config}/ca.pem,cert={config}/cert.pem,key={config}/key.pem");
        client(&[], &["context", "create", "far", "--docker", &made], b"").ok();
        client(&[], &["-c", "far", "ps"], b"").ok();
        let bare =
            format!("host={host},cert={config}/cert.pem,key={config}/key.pem,skip-tls-verify=true");
        client(&[], &["context", "create", "lax", "--docker", &bare], b"").ok();
        client(&[], &["-c", "lax", "ps"], b"").ok();
        // The same by docker's client, to see that the front is right.
        let mut docker = engine.docker(&["ps"]);
        docker.env("DOCKER_HOST", &host).envs(verify);
        run(docker, b"").ok();
        client(&[], &["ps"], b"").fails_with(1);
    });
}

#[test]
fn certificates_that_can_not_be_used_are_told() {
    Engine::run(|engine| {
        let folder = engine.folder();
        let here = |args: &[&str]| {
            let mut command = engine.wharf(args);
            command
                .env("DOCKER_CONFIG", &folder)
                .env_remove("DOCKER_HOST");
            run(command, b"").fails_with(1).stderr
        };
        let missing = format!(
            "Failed to initialize: unable to resolve docker endpoint: open {}/ca.pem: no such file or directory\n",
            folder.display()
        );
        assert_eq!(
            here(&["-H", "tcp://127.0.0.1:9", "--tlsverify", "ps"]),
            missing
        );
        assert_eq!(here(&["-H", "tcp://127.0.0.1:9", "--tls", "ps"]), missing);
        fs::write(folder.join("ca.pem"), "CA").unwrap();
        assert_eq!(
            here(&["-H", "tcp://127.0.0.1:9", "--tlsverify", "ps"]),
            "Failed to initialize: failed to retrieve context tls info: ca.pem seems invalid\n"
        );
        let told = here(&["-H", "unix:///x", "--tlsverify", "ps"]);
        assert!(
            told.contains("TLS is for tcp:// hosts, and unix:///x is none"),
            "{told}"
        );
    });
}

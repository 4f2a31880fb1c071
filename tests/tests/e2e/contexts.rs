//! Contexts: made, used and shown as docker's client does, in files that each client reads of the other.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{Engine, Finished, Kind, run};

/// A client with a home of its own and nothing that says which engine is meant.
fn client(program: impl AsRef<std::ffi::OsStr>, home: &Path, line: &str) -> Finished {
    let mut command = Command::new(program);
    for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"] {
        command.env_remove(name);
    }
    let mut words = line.split_whitespace().peekable();
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        if !name.starts_with("DOCKER_") {
            break;
        }
        command.env(name, value);
        words.next();
    }
    command.args(words.map(|word| match word {
        "''" => "",
        word => word,
    }));
    command.env("HOME", home).current_dir(home);
    run(command, b"")
}

fn docker(home: &Path, line: &str) -> Finished {
    client("docker", home, line)
}

fn wharf(home: &Path, line: &str) -> Finished {
    client(Engine::program(), home, line)
}

/// Whether the docker that is here has the words of Docker 28.
fn is_docker_28() -> bool {
    let done = run(
        {
            let mut command = Command::new("docker");
            command.arg("--version");
            command
        },
        b"",
    );
    done.stdout.contains("version 28.")
}

/// What a client said, without what the two may differ in.
fn masked(done: &Finished, home: &Path) -> (i32, String, String) {
    let mask = |text: &str| {
        let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
        words
            .join(" ")
            .replace(&home.display().to_string(), "HOME")
            .replace("unix:///run/wharf.sock", "unix:///var/run/docker.sock")
            .replace("wharf", "docker")
    };
    (done.status, mask(&done.stdout), mask(&done.stderr))
}

/// A certificate with its key, as `ca.pem`, `cert.pem` and `key.pem`.
fn make_certificate(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=engine".split(' '))
        .args("-keyout key.pem -out ca.pem".split(' '))
        .current_dir(folder);
    run(openssl, b"").ok();
    fs::copy(folder.join("ca.pem"), folder.join("cert.pem")).unwrap();
}

const LINES: &str = "
    context ls
    context show
    context inspect
    context create
    context create a1 b1
    context create a
    context create ''
    context create bad/name
    context create default
    context create far --description far-away --docker host=tcp://1.2.3.4:2375
    context create far --docker host=tcp://1.2.3.4:2375
    context create x1 --docker host
    context create x1 --docker ''
    context create x1 --docker host=a,bogus=1
    context create x1 --docker host=a,skip-tls-verify=bogus
    context create x1 --docker host=tcp://1.2.3.4:1,ca=nofile
    context create x1 --docker from=nowhere
    context create x1 --from nowhere
    context create x1 --from far --docker host=a
    context create x1 --default-stack-orchestrator=swarm
    context create tls --docker host=tcp://1.2.3.4:2376,ca=ca.pem,cert=cert.pem,key=key.pem
    context inspect tls
    context create skip --docker host=tcp://1.2.3.4:2376,skip-tls-verify=true
    context create copy --from tls --description copied
    context create copy2 --docker from=tls,skip-tls-verify=true
    context create copy10 --from default --description mine
    context create bare
    context create nohost --docker host=
    context ls
    context ls -q
    context list --format json
    context ls --format {{.Name}}:{{.Current}}:{{.Description}}:{{.DockerEndpoint}}:{{.Error}}
    context ls --format {{.Bogus}}
    context ls --format {{
    context ls extra
    context inspect far default copy skip nohost
    context inspect nowhere far other
    context inspect -f {{.Endpoints.docker.Host}}:{{.Storage.TLSPath}}:{{.TLSMaterial}} tls default
    context inspect -f json far
    context inspect -f {{json} far
    context inspect -f {{.}} far default copy skip
    context inspect -f {{.|json}} far default copy skip tls
    context inspect -f {{.Metadata}}:{{.Metadata.Metadata}}:{{.Metadata.Metadata.Description}} far default
    context inspect -f {{.Metadata|json}}:{{.Storage|json}}:{{.Endpoints|json}} far skip
    context inspect -f {{.Metadata.Description}} far
    context inspect -f {{.Endpoints.docker}}:{{.Endpoints.kubernetes}}:{{.Storage}} far skip
    context inspect -f {{.Endpoints.docker.Nope}} far
    context inspect -f {{.Nope}} far
    context inspect -f {{.Name}} nowhere
    context use nowhere
    context use a
    context use
    context use far tls
    context use far
    context show
    context ls
    context inspect
    DOCKER_HOST=tcp://9.9.9.9:1 context ls
    DOCKER_HOST=tcp://9.9.9.9:1 context show
    DOCKER_HOST=tcp://9.9.9.9:1 context use tls
    DOCKER_HOST=tcp://9.9.9.9:1 context use default
    DOCKER_CONTEXT=tls context show
    DOCKER_CONTEXT=nowhere context ls
    DOCKER_CONTEXT=tls context rm tls
    -c skip context show
    -c nowhere context show
    -c nowhere context ls
    -H x:1 context ls
    -H x:1 context show
    -H x:1 -c far context show
    -c nowhere ps
    context use far
    context rm far
    context rm default
    context rm nowhere
    context rm
    context rm copy nowhere copy2 far
    context rm -f nowhere
    context rm --force far
    context show
    context update
    context update tls extra
    context update nowhere --description x
    context update default --description x
    context update skip --description told
    context update skip
    context update skip --description ''
    context inspect skip
    context update skip --docker host=tcp://7.7.7.7:7
    context inspect skip
    context update tls --docker bogus=1
    context update tls --docker ca=nofile
    context inspect tls
    context export
    context export a b c
    context export tls
    context export tls
    context export tls out.tar
    context import
    context import one
    context import default tls.dockercontext
    context import back nofile
    context import back tls.dockercontext
    context import back tls.dockercontext
    context inspect back
    context update back --docker host=tcp://8.8.8.8:8
    context inspect back
    context remove back
    context bogus
    context ls
    context ls -q
";

#[test]
fn both_clients_say_the_same_of_contexts() {
    if !is_docker_28() {
        return testkit::skip("the client of Docker 28");
    }
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    make_certificate(homes[0].path());
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        fs::copy(homes[0].path().join(name), homes[1].path().join(name)).unwrap();
    }
    let mut report = String::new();
    for line in LINES.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let expected = masked(&docker(homes[0].path(), line), homes[0].path());
        let found = masked(&wharf(homes[1].path(), line), homes[1].path());
        if expected != found {
            report.push_str(&format!("{line}\n  {expected:?}\n  {found:?}\n"));
        }
    }
    assert!(report.is_empty(), "{report}");
    let files = |home: &Path| {
        let mut all = Vec::new();
        list(home, home, &mut all);
        all
    };
    let (expected, found) = (files(homes[0].path()), files(homes[1].path()));
    let differs: Vec<_> = expected
        .iter()
        .filter(|file| !found.contains(file))
        .chain(found.iter().filter(|file| !expected.contains(file)))
        .map(|(name, mode, content)| (name, mode, String::from_utf8_lossy(content)))
        .collect();
    assert!(differs.is_empty(), "{differs:?}");
}

/// Every file below a folder with its mode and content; keys of archives' entries and all.
fn list(top: &Path, folder: &Path, all: &mut Vec<(String, u32, Vec<u8>)>) {
    use std::os::unix::fs::PermissionsExt;
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(top).unwrap().display().to_string();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        if path.is_dir() {
            // Docker leaves folders for certificates that are gone.
            list(top, &path, all);
        } else {
            // Docker's archives end without the two empty blocks that POSIX asks for.
            let is_archive = name.ends_with(".dockercontext") || name.ends_with(".tar");
            let content = match is_archive {
                true => Vec::new(),
                // Each client has its own engine that is there by itself.
                false => fs::read_to_string(&path)
                    .unwrap()
                    .replace("unix:///run/wharf.sock", "unix:///var/run/docker.sock")
                    .into_bytes(),
            };
            all.push((name, mode, content));
        }
    }
}

#[test]
fn each_client_reads_the_other_s_contexts() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_certificate(home);
    let clients: [fn(&Path, &str) -> Finished; 2] = [docker, wharf];
    for (at, name) in ["by-docker", "by-wharf"].iter().enumerate() {
        let (one, other) = (clients[at], clients[1 - at]);
        let made = "host=tcp://1.2.3.4:2376,ca=ca.pem,cert=cert.pem,key=key.pem";
        one(
            home,
            &format!("context create {name} --description {name} --docker {made}"),
        )
        .ok();
        one(home, &format!("context use {name}")).ok();
        assert_eq!(other(home, "context show").ok().text(), *name);
        let format = "{{.Name}}:{{.Endpoints.docker.Host}}:{{.Endpoints.docker.SkipTLSVerify}}:{{.TLSMaterial}}";
        let shown = other(home, &format!("context inspect -f {format}")).ok();
        let expected =
            format!("{name}:tcp://1.2.3.4:2376:false:map[docker:[ca.pem cert.pem key.pem]]");
        assert_eq!(shown.text(), expected);
        let listed = other(
            home,
            "context ls --format {{.Name}}:{{.Current}}:{{.Description}}",
        )
        .ok();
        assert!(
            listed.stdout.contains(&format!("{name}:true:{name}\n")),
            "{}",
            listed.stdout
        );
        one(home, &format!("context export {name} {name}.tar")).ok();
        other(home, &format!("context import {name}.2 {name}.tar")).ok();
        let shown = one(home, &format!("context inspect -f {format} {name}.2")).ok();
        assert_eq!(
            shown.text(),
            expected.replacen(name, &format!("{name}.2"), 1)
        );
        other(home, &format!("context rm -f {name} {name}.2")).ok();
        assert_eq!(one(home, "context ls -q").ok().text(), "default");
        assert_eq!(one(home, "context show").ok().text(), "default");
    }
}

#[test]
fn a_configuration_that_is_broken_is_left_alone_by_context_use() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join(".docker/config.json");
    fs::create_dir(home.path().join(".docker")).unwrap();
    wharf(home.path(), "context create far --docker host=tcp://x:1").ok();
    fs::write(&config, "{\"auths\": {").unwrap();
    let done = wharf(home.path(), "context use far").fails_with(1);
    assert!(
        done.stderr.contains("Error parsing config file"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), "{\"auths\": {");
    let other = "{\n\t\"auths\": {\n\t\t\"x\": {}\n\t},\n\t\"psFormat\": \"y\"\n}";
    fs::write(&config, other).unwrap();
    wharf(home.path(), "context use far").ok();
    wharf(home.path(), "context use default").ok();
    assert_eq!(fs::read_to_string(&config).unwrap(), other);
}

#[test]
fn a_context_leads_to_its_engine() {
    Engine::run(|engine| {
        let home = engine.folder();
        let program = match engine.kind() {
            Kind::Wharf => Engine::program(),
            Kind::Dockerd => "docker".into(),
        };
        let here = |line: &str| client(&program, &home, line);
        let host = format!("host=unix://{}", engine.socket().display());
        here(&format!("context create mine --docker {host}")).ok();
        here("context create nobody --docker host=unix:///nonexistent").ok();
        let id = here("-c mine create --name box busybox");
        assert!(id.status != 0 && id.stderr.contains("busybox"));
        engine.load_busybox();
        here("-c mine create --name box busybox").ok();
        here("context use mine").ok();
        assert_eq!(here("ps -a --format {{.Names}}").ok().text(), "box");
        assert_eq!(here("info -f {{.ClientInfo.Context}}").ok().text(), "mine");
        let done = here("-c nobody ps").fails_with(1);
        assert!(
            done.stderr
                .starts_with("Cannot connect to the Docker daemon at unix:///nonexistent")
        );
        here("DOCKER_CONTEXT=nobody ps").fails_with(1);
        here("DOCKER_HOST=unix:///nonexistent ps").fails_with(1);
        here("rm box").ok();
    });
}

#[test]
fn a_host_that_has_no_address_is_named() {
    Engine::run(|engine| {
        for client in [Engine::d, Engine::w] {
            let failed = client(engine, &["-H", "tcp://nosuch.invalid:1", "ps"]);
            assert_eq!(failed.status, 1);
            let told = &failed.stderr;
            assert!(told.contains("dial tcp: lookup nosuch.invalid"), "{told}");
        }
    });
}

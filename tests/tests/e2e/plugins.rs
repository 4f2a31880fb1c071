//! Docker's CLI plugins: found, listed and run by Wharf's client as by Docker's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Engine, Finished, eventually, run};

const SOON: Duration = Duration::from_secs(20);

/// A plugin that is a shell script; it tells about itself when it is asked to.
fn plugin(folder: &Path, name: &str, script: &str) {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(format!("docker-{name}"));
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = docker-cli-plugin-metadata ]; then\n\
         echo '{{\"SchemaVersion\":\"0.1.0\",\"Vendor\":\"Somebody\",\"Version\":\"v1.2\",\"ShortDescription\":\"Say {name}\"}}'\n\
         exit\nfi\n{script}\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn command(program: impl AsRef<std::ffi::OsStr>, home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"] {
        command.env_remove(name);
    }
    command.args(args).env("HOME", home).current_dir(home);
    command
}

fn wharf(home: &Path, args: &[&str]) -> Finished {
    run(command(Engine::program(), home, args), b"")
}

const SHOW: &str = "for word; do echo \"<$word>\"; done\n\
    echo \"called $DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND\"\n\
    echo \"socket ${DOCKER_CLI_PLUGIN_SOCKET%%_*}\"\necho \"host $DOCKER_HOST\"\ncat\nexit 7";

#[test]
fn a_command_that_is_a_plugin_s_is_done_by_the_plugin() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    plugin(&home.join(".docker/cli-plugins"), "hello", SHOW);
    let program = Engine::program().display().to_string();
    let common = format!("called {program}\nsocket @docker\n");
    let done = run(
        command(
            &program,
            home,
            &["-D", "--log-level", "debug", "hello", "a b", "-H", "--foo"],
        ),
        b"typed",
    )
    .fails_with(7);
    let words = "<-D>\n<--log-level>\n<debug>\n<hello>\n<a b>\n<-H>\n<--foo>\n";
    assert!(
        done.stdout
            .starts_with(&format!("{words}{common}host unix:///")),
        "{}",
        done.stdout
    );
    assert!(done.stdout.ends_with("typed"), "{}", done.stdout);
    // What the user says is meant is not said again.
    let done = wharf(home, &["-H", "tcp://1.2.3.4:5", "hello"]).fails_with(7);
    assert_eq!(
        done.stdout,
        format!("<-H>\n<tcp://1.2.3.4:5>\n<hello>\n{common}host \n")
    );
    for args in [&["help", "hello"][..], &["hello", "--help"]] {
        let done = wharf(home, args).fails_with(7);
        let first = format!("<{}>\n<{}>\n", args[0], args[1]);
        assert!(done.stdout.starts_with(&first), "{}", done.stdout);
    }
}

#[test]
fn a_plugin_tells_nobody_its_commands_twice_and_a_bad_one_is_none() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let folder = home.join(".docker/cli-plugins");
    plugin(&folder, "hello", "exit 1");
    plugin(&home.join("extra"), "hello", "echo from extra");
    plugin(&folder, "ps", SHOW);
    plugin(&folder, "build", "echo built");
    for (name, text) in [
        ("docker-bad", "#!/bin/sh\nexit 3\n"),
        ("docker-empty", "#!/bin/sh\necho '{}'\n"),
        ("docker-Upper", "#!/bin/sh\necho '{}'\n"),
    ] {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(folder.join("docker-plain"), "x").unwrap();
    let config = format!(
        "{{\"cliPluginsExtraDirs\": [\"{}\"]}}",
        home.join("extra").display()
    );
    fs::write(home.join(".docker/config.json"), config).unwrap();
    assert_eq!(wharf(home, &["hello"]).ok().stdout, "from extra\n");
    // A command of docker's that is not built may be a plugin's.
    assert_eq!(wharf(home, &["build", "."]).ok().stdout, "built\n");
    for name in ["bad", "empty", "Upper", "plain", "nosuch"] {
        let done = wharf(home, &[name]).fails_with(1);
        let sentence = format!("wharf: unknown command: wharf {name}\n");
        assert!(done.stderr.starts_with(&sentence), "{}", done.stderr);
        let done = wharf(home, &["help", name]).fails_with(1);
        assert_eq!(done.stderr, format!("unknown help topic: {name}\n"));
    }
    let help = wharf(home, &["--help"]).ok().stdout;
    assert!(help.contains("\n  hello*      Say hello\n"), "{help}");
    let (_, invalid) = help.split_once("\nInvalid Plugins:\n").unwrap();
    assert!(
        invalid.contains("  bad         failed to fetch metadata: exit status 3\n"),
        "{invalid}"
    );
    assert!(
        invalid.contains("  ps          plugin \"ps\" duplicates builtin command\n"),
        "{invalid}"
    );
}

#[test]
fn a_plugin_that_hangs_or_floods_holds_up_nobody() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let folder = home.join(".docker/cli-plugins");
    plugin(&folder, "hello", "exit 1");
    for (name, text) in [
        ("docker-hangs", "#!/bin/sh\nsleep 100000 & wait\n"),
        ("docker-stops", "#!/bin/sh\nkill -STOP $$\n"),
        ("docker-floods", "#!/bin/sh\nexec cat /dev/zero\n"),
    ] {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let help = wharf(home, &["help"]).ok().stdout;
    assert!(help.contains("\n  hello*      Say hello\n"), "{help}");
    let (_, invalid) = help.split_once("\nInvalid Plugins:\n").unwrap();
    for line in [
        "  floods      failed to fetch metadata: it told more than 1024 kB\n",
        "  hangs       failed to fetch metadata: it did not answer in time\n",
        "  stops       failed to fetch metadata: it did not answer in time\n",
    ] {
        assert!(invalid.contains(line), "{invalid}");
    }
    wharf(home, &["hangs"]).fails_with(1);
}

#[test]
fn info_lists_plugins_as_docker_s_does() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let folder = home.join(".docker/cli-plugins");
    plugin(&folder, "hello", "exit 1");
    plugin(&folder, "ps", "exit 1");
    let host = ["-H", "unix:///nonexistent", "info"];
    let ours = wharf(home, &host).fails_with(1);
    let theirs = run(command("docker", home, &host), b"").fails_with(1);
    let part = |text: &str| {
        let start = text.find(" Plugins:\n").unwrap();
        text[start..].split("\n\n").next().unwrap().to_owned()
    };
    // Older releases write it in fewer lines.
    if theirs.stdout.contains("    Version:  v1.2") {
        assert_eq!(part(&ours.stdout), part(&theirs.stdout));
    }
    let warning = format!(
        "WARNING: Plugin \"{}/docker-ps\" is not valid: plugin \"ps\" duplicates builtin command\n",
        folder.display()
    );
    assert!(ours.stderr.contains(&warning), "{}", ours.stderr);
}

/// A plugin that waits for the socket's end by a helper of its own: socat is not everywhere, perl is.
const WAIT: &str = "echo ready > ready\nexec perl -MSocket -e '\n\
    my $name = $ENV{DOCKER_CLI_PLUGIN_SOCKET}; $name =~ s/^@/\\0/;\n\
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; connect($s, pack(\"S a*\", AF_UNIX, $name)) or die;\n\
    open(my $f, \">\", \"connected\"); close $f;\n\
    $SIG{TERM} = \"IGNORE\"; sysread($s, my $b, 1); open($f, \">\", \"ended\"); exit 5'";

#[test]
fn a_plugin_learns_by_its_socket_that_it_should_end() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    plugin(&home.join(".docker/cli-plugins"), "wait", WAIT);
    let mut child = command(Engine::program(), home, &["wait"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    // `wait` is a command of the program's own: the plugin is not asked.
    assert_eq!(child.as_mut().unwrap().wait().unwrap().code(), Some(1));
    plugin(&home.join(".docker/cli-plugins"), "linger", WAIT);
    let mut child = command(Engine::program(), home, &["linger"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the plugin is connected", SOON, || {
        home.join("connected").exists().then_some(())
    });
    let mut kill = Command::new("kill");
    kill.args(["-TERM", &child.id().to_string()]);
    run(kill, b"").ok();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(home.join("ended").exists());
}

#[test]
fn a_plugin_that_will_not_end_is_killed_by_the_third_signal() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let script = "trap '' TERM INT\necho $$ > pid.new; mv pid.new pid\nwhile :; do sleep 1; done";
    plugin(&home.join(".docker/cli-plugins"), "stubborn", script);
    let mut child = command(Engine::program(), home, &["stubborn"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the plugin runs", SOON, || {
        home.join("pid").exists().then_some(())
    });
    let id = child.id().to_string();
    let status = eventually("the program ends", SOON, || {
        let mut kill = Command::new("kill");
        // Signals of one kind that wait together count once.
        kill.args(["-TERM", &id]);
        let _ = run(kill, b"");
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(1));
    let pid = fs::read_to_string(home.join("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn a_plugin_works_on_the_engine_that_the_client_means() {
    Engine::run(|engine| {
        engine.load_busybox();
        let config = engine.folder();
        let program = Engine::program().display().to_string();
        plugin(
            &config.join("cli-plugins"),
            "mine",
            &format!("exec {program} run --rm busybox echo by plugin"),
        );
        let mut command = engine.wharf(&["mine"]);
        command.env("DOCKER_CONFIG", &config);
        assert_eq!(run(command, b"").ok().stdout, "by plugin\n");
    });
}

#[test]
fn a_plugin_completes_its_own_words() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let script = "[ \"$1 $2 $3\" = '__complete hello a' ] || exit 1\nprintf 'world\\tThe whole\\nwide\\n:4\\n'";
    plugin(&home.join(".docker/cli-plugins"), "hello", script);
    let complete = |words: &[&str]| wharf(home, &[&["__complete"], words].concat());
    let commands = complete(&["he"]).ok();
    assert!(
        commands.stdout.contains("hello\tSay hello\n"),
        "{}",
        commands.stdout
    );
    assert!(commands.stdout.contains("help\t"), "{}", commands.stdout);
    assert_eq!(
        complete(&["hello", "a", "w"]).ok().stdout,
        "world\tThe whole\nwide\t\n"
    );
    assert_eq!(
        complete(&["hello", "a", "wo"]).ok().stdout,
        "world\tThe whole\n"
    );
    // One that knows nothing of it says nothing.
    assert_eq!(complete(&["hello", "b", ""]).ok().stdout, "");
    assert_eq!(complete(&["nosuch", ""]).ok().stdout, "");
}

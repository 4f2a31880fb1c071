//! What shells and man(1) are given: completions with the engine's names, manual pages, help for a newcomer.

use std::fs;
use std::process::Command;

use testkit::{Engine, Finished, run};

/// What bash offers behind a line.
fn offered(engine: &Engine, line: &str) -> Vec<String> {
    let folder = engine.folder();
    let link = folder.join("wharf");
    if !link.exists() {
        std::os::unix::fs::symlink(Engine::program(), &link).unwrap();
    }
    let script = "set -e; source <(wharf completion bash)\n\
        complete -p wharf >/dev/null\n\
        COMP_LINE=$1 COMP_POINT=${#1}; set +e; _wharf; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = engine.wharf(&[]);
    // The client's environment, with a shell in its place.
    let environment: Vec<_> = command
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(std::ffi::OsStr::to_owned)))
        .collect();
    command = engine.sandbox().network_command("bash");
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let path = std::env::var("PATH").unwrap();
    command
        .args(["--norc", "-c", script, "bash", line])
        .env("PATH", format!("{}:{path}", folder.display()));
    let done = run(command, b"").ok();
    done.stdout
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_names_that_the_engine_knows() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"])
            .ok();
        engine
            .d(&["create", "--name", "rests", "busybox", "true"])
            .ok();
        engine.d(&["network", "create", "mine"]).ok();
        engine.d(&["volume", "create", "data"]).ok();
        let is = |line: &str, expected: &[&str]| {
            assert_eq!(offered(engine, line), expected, "{line}");
        };
        is("wharf stop ", &["runs"]);
        is("wharf start ", &["rests"]);
        is("wharf rm -f r", &["rests", "runs"]);
        is("wharf container inspect ru", &["runs"]);
        is("wharf network rm m", &["mine"]);
        is("wharf run --network m", &["mine"]);
        is("wharf network connect mine re", &["rests"]);
        is("wharf volume rm d", &["data"]);
        // What stands before a colon is a word that bash has already.
        is("wharf run -it busybox:l", &["latest"]);
        is("wharf rmi busy", &["busybox:latest"]);
        is("wharf imag", &["image", "images"]);
        is("wharf volume pr", &["prune"]);
        is("wharf run --cap-", &["--cap-add", "--cap-drop"]);
        is("wharf run --restart un", &["unless-stopped"]);
        is("wharf completion", &[]);
        is("wharf context use d", &["default"]);
        // Nobody answers there: nothing is offered, and nothing is said.
        is("wharf -H unix:///nonexistent stop ", &[]);
        // The name of a file.
        assert_eq!(engine.w(&["__complete", "load", "-i", ""]).status, 3);
    });
}

fn wharf(args: &[&str]) -> Finished {
    let mut command = Command::new(Engine::program());
    command.args(args).env("DOCKER_HOST", "unix:///nonexistent");
    run(command, b"")
}

#[test]
fn every_shell_has_its_script() {
    for shell in ["bash", "zsh", "fish"] {
        let script = wharf(&["completion", shell]).ok().stdout;
        assert!(script.contains("__complete"), "{shell}");
        if ["sh", "bash"].contains(&shell) {
            let mut check = Command::new(shell);
            check.args(["-n", "-c", &script]);
            run(check, b"").ok();
        }
    }
    let done = wharf(&["completion", "csh"]).fails_with(1);
    assert!(
        done.stderr.contains("bash, zsh and fish"),
        "{}",
        done.stderr
    );
}

#[test]
fn every_command_has_a_manual_page_without_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    wharf(&["man", pages.to_str().unwrap()]).ok();
    let help = wharf(&["--help"]).ok().stdout;
    let (_, commands) = help.split_once("Common Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\nGlobal Options:").unwrap();
    for line in commands.lines().filter(|line| line.starts_with("  ")) {
        let name = line.split_whitespace().next().unwrap();
        // The engine's flags are told by itself.
        let is_other = name == "daemon" || name.ends_with('*');
        assert!(
            is_other || pages.join(format!("wharf-{name}.1")).exists(),
            "{name}"
        );
    }
    let has_groff = Command::new("groff").arg("--version").output().is_ok();
    if !has_groff {
        return testkit::skip("groff");
    }
    let mut number = 0;
    for entry in fs::read_dir(&pages).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if let Some(other) = text.strip_prefix(".so ") {
            assert!(folder.path().join(other.trim()).exists(), "{other}");
            continue;
        }
        let mut groff = Command::new("groff");
        // Letters once each: neither colours nor letters over letters.
        groff.args(["-man", "-ww", "-Tascii", "-P-c", "-P-b", "-P-u", "-P-o"]);
        groff.arg(&path);
        let done = run(groff, b"").ok();
        assert_eq!(done.stderr, "", "{}", path.display());
        assert!(done.stdout.contains("SYNOPSIS"), "{}", path.display());
        number += 1;
    }
    assert!(number > 50, "{number}");
}

#[test]
fn a_newcomer_is_told_what_to_do_first() {
    let help = wharf(&["--help"]).ok().stdout;
    assert!(
        help.starts_with("Usage:  wharf [OPTIONS] COMMAND\n"),
        "{help}"
    );
    let (_, steps) = help.split_once("First Steps:\n").unwrap();
    for step in [
        "systemctl start wharf",
        "wharf run --rm wharf/isolation",
        "wharf ps -a",
    ] {
        assert!(steps.contains(step), "{step}");
    }
    // Each command that help names has help.
    for line in help.lines().filter(|line| line.starts_with("  ")) {
        let word = line.split_whitespace().next().unwrap();
        if word.starts_with('-')
            || matches!(word, "wharf" | "systemctl" | "daemon")
            || word.ends_with('*')
        {
            continue;
        }
        assert!(
            wharf(&["help", word]).ok().stdout.starts_with("Usage:"),
            "{word}"
        );
    }
}

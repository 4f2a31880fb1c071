//! What shells and man(1) are given: completions with the engine's names, manual pages, help for a newcomer.

use std::fs;
use std::process::Command;

use testkit::{Engine, Finished, Program, Terminal, run};

/// A shell with the client's environment, that finds the client by its name.
fn shell(engine: &Engine, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let folder = engine.folder();
    let link = folder.join("wharf");
    if !link.exists() {
        std::os::unix::fs::symlink(Engine::program(), &link).unwrap();
    }
    let environment: Vec<_> = engine
        .wharf(&[])
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(std::ffi::OsStr::to_owned)))
        .collect();
    let mut command = engine.sandbox().network_command(program);
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let path = std::env::var("PATH").unwrap();
    command
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("HOME", &folder)
        .current_dir(&folder);
    command
}

/// What bash offers behind a line.
fn offered(engine: &Engine, line: &str) -> Vec<String> {
    let script = "set -e; source <(wharf completion bash)\n\
        complete -p wharf >/dev/null\n\
        COMP_LINE=$1 COMP_POINT=${#1}; set +e; _wharf; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = shell(engine, "bash");
    command.args(["--norc", "-c", script, "bash", line]);
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
        // Files in a container, and here.
        std::fs::create_dir(engine.folder().join("rum")).unwrap();
        std::fs::write(engine.folder().join("rural"), "").unwrap();
        let mut found = offered(engine, "wharf cp ru");
        found.sort();
        assert_eq!(found, ["rum/", "runs:", "rural"]);
        is("wharf cp runs:/et", &["/etc/"]);
        is("wharf cp rests:/etc/pa", &["/etc/passwd"]);
        is("wharf cp rural runs:etc/g", &["etc/group"]);
        is("wharf cp nosuch:/", &[]);
        // Nobody answers there: nothing is offered, and nothing is said.
        is("wharf -H unix:///nonexistent stop ", &[]);
        // The name of a file.
        assert_eq!(engine.w(&["__complete", "load", "-i", ""]).status, 3);
    });
}

/// What there is to complete in zsh and fish: a line's end, and what it becomes where that is the only thing.
const LINES: [(&str, &str); 12] = [
    ("wharf imag", "wharf image"),
    ("wharf volume pru", "wharf volume prune"),
    ("wharf run --priv", "wharf run --privileged"),
    (
        "wharf run --restart unl",
        "wharf run --restart unless-stopped",
    ),
    ("wharf stop ru", "wharf stop runs"),
    ("wharf start re", "wharf start rests"),
    ("wharf rmi busy", "wharf rmi busybox:latest"),
    ("wharf run --network mi", "wharf run --network mine"),
    ("wharf volume rm da", "wharf volume rm data"),
    ("wharf cp runs:/et", "wharf cp runs:/etc/"),
    ("wharf cp rests:/etc/pa", "wharf cp rests:/etc/passwd"),
    ("wharf cp rest", "wharf cp rests:"),
];

fn prepare(engine: &Engine) {
    engine.load_busybox();
    let run = ["run", "-d", "--name", "runs", "busybox", "sleep", "1000"];
    engine.w(&run).ok();
    engine
        .w(&["create", "--name", "rests", "busybox", "true"])
        .ok();
    engine.w(&["network", "create", "mine"]).ok();
    engine.w(&["volume", "create", "data"]).ok();
}

#[test]
fn zsh_completes_names_that_the_engine_knows() {
    let Some(zsh) = Program::find("zsh", "usr/bin/zsh") else {
        return testkit::skip("zsh");
    };
    Engine::run(|engine| {
        prepare(engine);
        let mut command = shell(engine, &zsh.path);
        command.args(["-f", "-i"]).env("TERM", "dumb");
        let mut terminal = Terminal::start(command, 40, 200);
        let setup = "PS1= RPS1=; unsetopt prompt_cr prompt_sp zle_bracketed_paste 2>/dev/null; \
            autoload -Uz compinit; compinit -u -d dump; source <(wharf completion zsh); \
            shown() { zle complete-word; print -r -- \"<$BUFFER|END\"; zle kill-buffer; }; \
            zle -N shown; bindkey '^T' shown; print -r -- re''ady\n";
        terminal.send(setup);
        terminal.expect("ready");
        for (line, whole) in LINES {
            terminal.send(&format!("{line}\u{14}"));
            let shown = terminal.expect("|END");
            let (_, shown) = shown.rsplit_once('<').unwrap();
            assert_eq!(shown.trim_end_matches("|END").trim_end(), whole, "{line}");
        }
        // Where more follows, no blank does.
        terminal.send("wharf cp rest\u{14}");
        terminal.expect("<wharf cp rests:|END");
        terminal.send("exit\n");
        terminal.finish();
    });
}

#[test]
fn fish_completes_names_that_the_engine_knows() {
    let Some(fish) = Program::find("fish", "usr/bin/fish") else {
        return testkit::skip("fish");
    };
    Engine::run(|engine| {
        prepare(engine);
        let functions = fish.root.join("usr/share/fish/functions");
        for (line, whole) in LINES {
            let mut command = shell(engine, &fish.path);
            fish.with_libraries(&mut command);
            let script = format!(
                "set -p fish_function_path {}; wharf completion fish >script; source script; complete -C '{line}'",
                functions.display()
            );
            command.args(["--no-config", "-c", &script]);
            let done = run(command, b"").ok();
            let before = &line[..line.rfind(' ').unwrap() + 1];
            let found: Vec<_> = done
                .stdout
                .lines()
                .map(|line| format!("{before}{}", line.split('\t').next().unwrap()))
                .collect();
            assert!(
                found.contains(&whole.to_owned()),
                "{line}: {found:?} {}",
                done.stderr
            );
            let is_like = |found: &String| found.starts_with(line);
            assert!(found.iter().all(is_like), "{line}: {found:?}");
        }
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

//! The user's guide is true: what its pages tell to type is typed, and what they show is what is printed.
//!
//! A block of the kind `console` has lines that begin with `$ `, each a command for a shell, and below each of them what
//! it prints, both outputs together. `…` in a line stands for any text, a line of it alone for any lines; blanks count
//! as one. A block with `file=NAME` behind its kind is that file. `<!-- fails -->` in front of a block says that its
//! commands fail, `<!-- not run: REASON -->` that it is not run.
//!
//! Each page has an engine of its own, whose mirror of docker.io has small images by the names of large ones.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use testkit::image::ImageBuilder;
use testkit::{Engine, Kind, Options, Registry, run};

use super::day::a_command;

/// Blocks that may be marked as not run, on all pages together.
const MOST_NOT_RUN: usize = 9;

#[test]
fn the_guide_shows_what_happens() {
    let pages = pages();
    assert!(pages.len() >= 12, "{pages:?}");
    let blocks: Vec<(PathBuf, Vec<Block>)> = pages
        .into_iter()
        .map(|path| {
            let blocks = blocks(&fs::read_to_string(&path).unwrap());
            (path, blocks)
        })
        .collect();
    let all = || blocks.iter().flat_map(|(_, blocks)| blocks);
    let not_run = all().filter(|block| block.not_run).count();
    let run: usize = all()
        .filter(|block| !block.not_run)
        .map(|block| block.steps.len())
        .sum();
    assert!(
        not_run <= MOST_NOT_RUN && run >= 120,
        "{not_run} blocks are not run, {run} commands are"
    );
    let report = thread::scope(|scope| {
        // Two at a time: a page takes a second or two, most of it for its engine.
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let mine = blocks.iter().skip(half).step_by(2);
                scope.spawn(move || {
                    mine.map(|(path, blocks)| follow(path, blocks))
                        .collect::<String>()
                })
            })
            .collect();
        halves
            .into_iter()
            .map(|half| half.join().unwrap())
            .collect::<String>()
    });
    assert!(report.is_empty(), "{report}");
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn pages() -> Vec<PathBuf> {
    let guide = fs::read_dir(docs().join("guide")).unwrap();
    let mut pages: Vec<_> = guide.map(|entry| entry.unwrap().path()).collect();
    pages.push(docs().join("coming-from-docker.md"));
    pages.sort();
    pages
}

/// A fenced block of a page.
#[derive(Default)]
struct Block {
    not_run: bool,
    fails: bool,
    /// The file that it is, with its text.
    file: Option<(String, String)>,
    steps: Vec<Step>,
}

/// A command, and what is shown below it.
struct Step {
    command: String,
    shown: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut mark = "";
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("<!--") {
            mark = line;
        }
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let mut block = Block {
            not_run: mark.starts_with("<!-- not run: "),
            fails: mark == "<!-- fails -->",
            ..Block::default()
        };
        mark = "";
        if let Some((_, name)) = kind.split_once("file=") {
            block.file = Some((name.to_owned(), text.join("\n") + "\n"));
        } else if kind == "console" {
            for line in text {
                match (line.strip_prefix("$ "), block.steps.last_mut()) {
                    (Some(command), _) => block.steps.push(Step {
                        command: command.to_owned(),
                        shown: Vec::new(),
                    }),
                    (None, Some(step)) => step.shown.push(line.to_owned()),
                    (None, None) => panic!("a block begins with {line}"),
                }
            }
        } else {
            panic!("a block of the kind {kind:?}: console, or a file, is expected");
        }
        blocks.push(block);
    }
    blocks
}

/// Does what a page says, and tells what is not as it says.
fn follow(path: &Path, blocks: &[Block]) -> String {
    let mut report = String::new();
    if blocks.iter().all(|block| block.steps.is_empty()) {
        return report;
    }
    let options = Options {
        flags: vec!["--registry-mirror=http://127.0.0.1:5000".to_owned()],
        ..Options::default()
    };
    let engine = Engine::start(Kind::Wharf, options);
    let own = tempfile::tempdir().unwrap();
    let registry = Registry::start(engine.sandbox(), own.path());
    registry.push(
        engine.sandbox(),
        &testkit::image::busybox(),
        "library/busybox",
    );
    let nginx = own.path().join("nginx.tar");
    fs::write(&nginx, web_server()).unwrap();
    registry.push(engine.sandbox(), &nginx, "library/nginx");
    // Where no page shows a pull, it was before.
    let shows_a_pull = blocks
        .iter()
        .flat_map(|block| &block.steps)
        .any(|step| step.shown.iter().any(|line| line.contains("Pulling from")));
    if !shows_a_pull {
        for name in ["busybox", "nginx"] {
            engine.w(&["pull", "-q", name]).ok();
        }
    }
    let folder = engine.folder();
    let path_variable = a_command("wharf", &folder, &engine.wharf(&[]));
    for block in blocks.iter().filter(|block| !block.not_run) {
        if let Some((name, text)) = &block.file {
            fs::write(folder.join(name), text).unwrap();
        }
        for step in &block.steps {
            let mut shell = engine.sandbox().network_command("sh");
            shell
                .args(["-c", &format!("exec 2>&1\n{}", step.command)])
                .current_dir(&folder)
                .env("PATH", &path_variable)
                // A program that speaks for itself, such as docker-compose.
                .env(
                    "DOCKER_HOST",
                    format!("unix://{}", engine.socket().display()),
                )
                .env("COMPOSE_API_VERSION", "1.44");
            let done = run(shell, b"");
            let printed: Vec<&str> = done.stdout.lines().collect();
            if (done.status != 0) != block.fails || !is_like(&step.shown, &printed) {
                let name = path.file_name().unwrap().display();
                let _ = writeln!(
                    report,
                    "{name}: $ {}\n  ended with {}, printed {printed:#?}\n  and shown is {:#?}",
                    step.command, done.status, step.shown
                );
            }
        }
    }
    drop(registry);
    engine.check_leaks();
    engine.stop_daemon();
    report
}

/// An image that stands for nginx: it serves a page on port 80.
fn web_server() -> Vec<u8> {
    let program = fs::read("/bin/busybox").unwrap();
    let mut image = ImageBuilder::new()
        .folder("bin")
        .file("bin/busybox", 0o755, &program);
    for name in ["sh", "httpd", "hostname", "nc", "wget"] {
        image = image.link(&format!("bin/{name}"), "busybox");
    }
    image
        .folder("www")
        .file(
            "www/index.html",
            0o644,
            b"<title>Welcome to nginx!</title>\n",
        )
        .config(
            "Cmd",
            serde_json::json!(["httpd", "-f", "-p", "80", "-h", "/www"]),
        )
        .config("Env", serde_json::json!(["PATH=/bin"]))
        .config("ExposedPorts", serde_json::json!({"80/tcp": {}}))
        .config("StopSignal", serde_json::json!("SIGKILL"))
        .archive("nginx:latest")
}

/// Whether the lines that were printed are those that are shown.
fn is_like(shown: &[String], printed: &[&str]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((line, rest)), _) if line == "…" => {
            (0..=printed.len()).any(|number| is_like(rest, &printed[number..]))
        }
        (Some((line, rest)), Some((found, others))) => {
            line_is_like(&blanks_as_one(line), &blanks_as_one(found)) && is_like(rest, others)
        }
        _ => false,
    }
}

fn blanks_as_one(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_is_like(shown: &str, found: &str) -> bool {
    match shown.split_once('…') {
        None => shown == found,
        Some((before, rest)) => found.strip_prefix(before).is_some_and(|found| {
            let mut ends = found.char_indices().map(|(at, _)| at).chain([found.len()]);
            ends.any(|at| line_is_like(rest, &found[at..]))
        }),
    }
}

#[test]
fn what_is_shown_is_compared() {
    let shown = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    assert!(is_like(
        &shown(&["a  …z", "…", "end"]),
        &["a b  z", "1", "2", "end"]
    ));
    assert!(is_like(&shown(&["a", "…"]), &["a"]));
    assert!(!is_like(&shown(&["a", "…"]), &["b"]));
    assert!(!is_like(&shown(&["a"]), &["a", "b"]));
    assert!(!is_like(&shown(&["a…c"]), &["ab"]));
    let page = "<!-- fails -->\n```console\n$ one\nout\n$ two\n```\n```yaml file=x.yml\na: b\n```\n<!-- not run: why -->\n```console\n$ x\n```\n";
    let all = blocks(page);
    assert!(all[0].fails && all[0].steps.len() == 2 && all[0].steps[0].shown == ["out"]);
    assert_eq!(all[1].file, Some(("x.yml".to_owned(), "a: b\n".to_owned())));
    assert!(all[2].not_run && !all[1].not_run && !all[2].fails);
}

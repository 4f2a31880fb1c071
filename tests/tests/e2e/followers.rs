//! `logs -f` of a container that writes 100 MB through files of 64 KiB: every follower sees every line once, however far
//! it falls behind and whoever is killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Engine, eventually};

/// Lines of a thousand bytes: 100 MB.
const LINES: usize = 100_000;
const WIDTH: usize = 1000;
/// Lines that are written between two looks at what the test asks for.
const BLOCK: usize = 100;
const PATIENCE: Duration = Duration::from_secs(100);

/// One of the two clients.
type Client = fn(&Engine, &[&str]) -> Command;

/// A client that follows a log into a file.
struct Follower {
    child: Child,
    output: PathBuf,
}

impl Follower {
    fn start(mut command: Command, output: PathBuf) -> Follower {
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Follower { child, output }
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &self.child.id().to_string()]);
        testkit::run(kill, b"").ok();
    }

    /// How many lines it has seen.
    fn seen(&self) -> usize {
        fs::metadata(&self.output).map_or(0, |about| about.len() as usize / WIDTH)
    }

    /// Waits until it follows: it has seen the first block.
    #[track_caller]
    fn is_there(&self) {
        let first = || (self.seen() >= BLOCK).then_some(());
        eventually("a follower is there", PATIENCE, first);
    }

    /// Waits for its end: it has seen every line once.
    #[track_caller]
    fn finish(self) {
        self.finish_with(LINES);
    }

    /// The same of so many lines.
    #[track_caller]
    fn finish_with(mut self, lines: usize) {
        let status = eventually("a follower ends", PATIENCE, || {
            self.child.try_wait().unwrap()
        });
        assert!(status.success(), "{status}");
        let numbers = numbers(&self.output);
        for (expected, found) in numbers.iter().enumerate() {
            assert_eq!(*found, expected, "of {} lines", numbers.len());
        }
        assert_eq!(numbers.len(), lines);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The numbers at the beginning of lines; each line is as long as it was written.
#[track_caller]
fn numbers(path: &Path) -> Vec<usize> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            assert_eq!(line.len(), WIDTH - 1, "a torn line: {line:?}");
            line[..6].parse().unwrap()
        })
        .collect()
}

/// Runs the writer of so many lines through so many files, which goes on after its first block when there is a file `go`. While there is a file `slow` it writes 80 blocks, slowly,
/// and then waits until that is gone.
fn write(engine: &Engine, files: &str, lines: usize) {
    let bind = format!("{}:/out", engine.folder().display());
    let script = format!(
        "i=0; slow=0
        while [ $i -lt {lines} ]; do
            awk -v i=$i 'BEGIN {{ for (n = i; n < i + {BLOCK}; n++) printf \"%06d%{}s\\n\", n, \"x\" }}'
            i=$((i + {BLOCK}))
            until [ -e /out/go ]; do sleep 0.05; done
            if [ -e /out/slow ]; then
                sleep 0.02; slow=$((slow + 1))
                while [ $slow -ge 80 -a -e /out/slow ]; do sleep 0.02; done
            else
                slow=0
            fi
        done",
        WIDTH - 7
    );
    let files = format!("max-file={files}");
    let mut args = vec!["run", "-d", "--name", "writer", "-v", &bind];
    args.extend(["--log-opt", "max-size=64k", "--log-opt", &files]);
    args.extend(["busybox", "sh", "-c", &script]);
    engine.d(&args).ok();
}

const FOLLOW: &[&str] = &["logs", "-f", "writer"];

#[test]
fn three_followers_see_every_line_once_however_files_change() {
    Engine::run(|engine| {
        engine.load_busybox();
        let folder = engine.folder();
        write(engine, "3", LINES);
        let followers = [
            (engine.wharf(FOLLOW), "one"),
            (engine.wharf(FOLLOW), "two"),
            (engine.docker(FOLLOW), "three"),
        ]
        .map(|(command, name)| Follower::start(command, folder.join(name)));
        followers.iter().for_each(Follower::is_there);
        fs::write(folder.join("go"), "").unwrap();
        followers.into_iter().for_each(Follower::finish);
        let sizes: Vec<u64> = fs::read_dir(engine.data_root().join("v1/containers"))
            .unwrap()
            .flatten()
            .flat_map(|container| fs::read_dir(container.path()).unwrap().flatten())
            .filter(|file| file.file_name().to_string_lossy().contains("-json.log"))
            .map(|file| file.metadata().unwrap().len())
            .collect();
        assert!(
            sizes.len() <= 3 && sizes.iter().sum::<u64>() < 4 << 20,
            "{sizes:?}"
        );
    });
}

#[test]
fn a_log_of_more_than_a_thousand_files_is_shown_whole() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script =
            "i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo $i abcdefghijklmnopqrstuvwxyz; done";
        let logged = |files: &str| {
            let files = format!("max-file={files}");
            let mut args = vec!["run", "--name", "long", "--log-opt", "max-size=1k"];
            args.extend(["--log-opt", &files, "busybox", "sh", "-c", script]);
            engine.d(&args)
        };
        let written = logged("3000").ok().stdout;
        let folder = fs::read_dir(engine.data_root().join("v1/containers"))
            .unwrap()
            .flatten()
            .next()
            .unwrap();
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert!(files > 800, "{files} files");
        for client in [Engine::d, Engine::w] {
            assert_eq!(client(engine, &["logs", "long"]).ok().stdout, written);
        }
        engine.d(&["rm", "long"]).ok();
        let refused = logged("10001").fails_with(125);
        assert!(
            refused
                .stderr
                .contains("max-file cannot be more than 10000")
        );
    });
}

#[test]
fn three_followers_see_every_line_once_though_the_daemon_is_killed() {
    Engine::run(|engine| {
        engine.load_busybox();
        let folder = engine.folder();
        // What is written while no daemon lives, and until a busy machine lets the followers come back, is kept.
        write(engine, "600", LINES);
        let followers = ["one", "two", "three"]
            .map(|name| Follower::start(engine.wharf(FOLLOW), folder.join(name)));
        followers.iter().for_each(Follower::is_there);
        fs::write(folder.join("go"), "").unwrap();
        let all_have = |count: usize| {
            eventually("a part of the log", PATIENCE, || {
                (followers.iter().all(|follower| follower.seen() > count)).then_some(())
            });
        };
        for part in [LINES / 4, LINES / 2] {
            all_have(part);
            fs::write(folder.join("slow"), "").unwrap();
            // All of them have come to where it is slow.
            std::thread::sleep(Duration::from_millis(100));
            engine.kill_daemon();
            let before = followers.iter().map(Follower::seen).max().unwrap();
            std::thread::sleep(Duration::from_millis(400));
            engine.start_daemon();
            all_have(before + BLOCK);
            fs::remove_file(folder.join("slow")).unwrap();
        }
        followers.into_iter().for_each(Follower::finish);
    });
}

#[test]
fn a_follower_that_stops_for_a_while_holds_up_nobody_and_loses_nothing() {
    // 3 MB: more than what is under way to a client, less than what is kept for it.
    const FEW: usize = 3000;
    Engine::run(|engine| {
        engine.load_busybox();
        let folder = engine.folder();
        write(engine, "3", FEW);
        let follower = Follower::start(engine.wharf(FOLLOW), folder.join("one"));
        follower.is_there();
        follower.signal("STOP");
        let begin = Instant::now();
        fs::write(folder.join("slow"), "").unwrap();
        fs::write(folder.join("go"), "").unwrap();
        engine.d(&["wait", "writer"]).ok();
        let took = begin.elapsed();
        assert!(follower.seen() < FEW);
        follower.signal("CONT");
        follower.finish_with(FEW);
        assert!(took < Duration::from_secs(6), "{took:?}");
    });
}

/// As docker: whoever follows is done at the end of a run, though somebody or its policy starts the container again. Compose
/// begins to follow anew with each start, and would show lines twice.
#[test]
fn a_follower_is_done_at_the_end_of_the_run() {
    Engine::run(|engine| {
        engine.load_busybox();
        let folder = engine.folder();
        let bind = format!("{}:/out", folder.display());
        let script =
            "echo begins; until [ -e /out/go ]; do sleep 0.02; done; rm /out/go; echo ends";
        let restart = || drop(engine.d(&["restart", "-t", "0", "writer"]).ok());
        let ends = || fs::write(folder.join("go"), "").unwrap();
        for driver in ["json-file", "local"] {
            let args = ["run", "-d", "--name", "writer", "--restart", "always"];
            let log = ["--log-driver", driver, "-v", &bind];
            let program = ["busybox", "sh", "-c", script];
            engine.d(&[&args[..], &log, &program].concat()).ok();
            let cases: [(Client, &dyn Fn(), &str); 4] = [
                (Engine::docker, &ends, "begins\nends\n"),
                (Engine::wharf, &ends, "begins\nends\n"),
                (Engine::docker, &restart, "begins\n"),
                (Engine::wharf, &restart, "begins\n"),
            ];
            for (client, end, shown) in cases {
                let last = ["logs", "--tail", "1", "writer"];
                eventually("a run begins", PATIENCE, || {
                    (engine.d(&last).stdout == "begins\n").then_some(())
                });
                let command = client(engine, &["logs", "-f", "--tail", "1", "writer"]);
                let mut follower = Follower::start(command, folder.join("log"));
                let read = || fs::read_to_string(&follower.output).unwrap();
                eventually("it follows", PATIENCE, || {
                    (read() == "begins\n").then_some(())
                });
                end();
                let status = eventually("it is done", PATIENCE, || {
                    follower.child.try_wait().unwrap()
                });
                assert!(status.success(), "{status}");
                assert_eq!(fs::read_to_string(&follower.output).unwrap(), shown);
            }
            engine.d(&["rm", "-f", "writer"]).ok();
        }
    });
}

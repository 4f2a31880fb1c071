//! The leak check that follows every test sees what it must.

use std::fs;
use std::time::Duration;

use testkit::{Census, Engine, eventually};

#[test]
fn a_leaked_shim_and_a_second_process_are_reported() {
    Engine::run(|engine| {
        engine.load_busybox();
        let before = engine.settled();
        let all = before.beyond(&Census::default());
        for of in ["daemon", "launcher"] {
            assert!(all.has(&format!("descriptor of the {of}")), "{all}");
        }
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let left = engine.settled().beyond(&before).to_string();
        assert!(left.contains("shim of container: 1 × "), "{left}");
        assert!(left.contains("process: 1 × sleep 1000"), "{left}");
        // All that is left of a container may be its shim, its files removed.
        let shim = engine.shim_of("sleep 1000");
        let id = engine.d(&["inspect", "-f", "{{.Id}}", "cc"]).ok();
        let id = id.text();
        engine.sandbox().kill(shim.pid, "STOP");
        fs::remove_file(engine.shim_folder(id).join("journal")).unwrap();
        let left = engine.settled().beyond(&before).to_string();
        assert!(
            left.contains(&format!("shim of container: 1 × {id}")),
            "{left}"
        );
        engine.sandbox().kill(shim.pid, "CONT");
        // A second process with the command line of the first is one more.
        let with_one = engine.settled();
        let mut more = engine.sandbox().command("sleep");
        let mut more = more.arg("1000").spawn().unwrap();
        // nsenter(1) has a command line of its own for a moment.
        eventually("it is reported", Duration::from_secs(10), || {
            let left = engine.census().beyond(&with_one).to_string();
            left.contains("process: 2 × sleep 1000, and 1 before")
                .then_some(())
        });
        let processes = engine.sandbox().processes();
        let outside = processes
            .iter()
            .find(|process| process.command == "sleep 1000" && process.parent == 0)
            .unwrap();
        engine.sandbox().kill(outside.pid, "KILL");
        more.wait().unwrap();
    });
}

//! Processes of a container, as the host lists them.

use testkit::Engine;

/// The columns of a table, which are at least 20 letters wide.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| {
            let cells = line.split("   ").map(str::trim);
            cells.filter(|cell| !cell.is_empty()).collect()
        })
        .collect()
}

/// The table without what a process has used, which is another figure a moment later.
fn at_rest(text: &str) -> Vec<Vec<&str>> {
    let mut rows = rows(text);
    let moves = |name: &&str| ["C", "TIME"].contains(name);
    let columns: Vec<_> = (0..rows[0].len())
        .filter(|column| !moves(&rows[0][*column]))
        .collect();
    for row in &mut rows {
        *row = columns.iter().map(|column| row[*column]).collect();
    }
    rows
}

#[test]
fn processes_are_listed_in_the_columns_that_are_asked_for() {
    Engine::run(|engine| {
        engine.load_busybox();
        let command = "sleep 1001 & exec sleep 1002";
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sh", "-c", command])
            .ok();
        engine
            .d(&["run", "-d", "--name", "other", "busybox", "sleep", "1003"])
            .ok();
        let both = |args: &[&str]| {
            let mut args = args.to_vec();
            args.insert(0, "top");
            let (docker, wharf) = (engine.d(&args).ok(), engine.w(&args).ok());
            assert_eq!(at_rest(&docker.stdout), at_rest(&wharf.stdout));
            wharf.stdout
        };
        let named = both(&["cc", "-o", "pid,args"]);
        let named = rows(&named);
        assert_eq!(named[0], ["PID", "COMMAND"]);
        let mut commands: Vec<_> = named[1..].iter().map(|row| row[1]).collect();
        commands.sort_unstable();
        assert_eq!(commands, ["sleep 1001", "sleep 1002"]);
        let first = engine.d(&["inspect", "-f", "{{.State.Pid}}", "cc"]).ok();
        assert!(named[1..].iter().any(|row| row[0] == first.text()));
        // Without options, and with some that can not be given beside a choice of processes.
        for args in [&["cc"][..], &["cc", "axf", "-o", "user,pid,args"]] {
            let text = both(args);
            let found = rows(&text);
            assert_eq!(found.len(), 3, "{text}");
            assert!(found[1..].iter().all(|row| row[0] == "root"), "{text}");
            assert!(!text.contains("1003"), "{text}");
        }
        engine.d(&["pause", "cc"]).ok();
        assert_eq!(rows(&both(&["cc", "-o", "pid,args"])).len(), 3);
        engine.d(&["unpause", "cc"]).ok();
        engine.d(&["rm", "-f", "cc", "other"]).ok();
    });
}

#[test]
fn an_init_is_listed_with_the_program_that_it_runs() {
    Engine::run(|engine| {
        engine.load_busybox();
        let long = "x".repeat(3000);
        for (name, last) in [("short", ""), ("long", long.as_str())] {
            let command = format!("exec sleep 1001 #{last}");
            let program = ["sh", "-c", &command];
            let base = ["run", "-d", "--init", "--name", name, "busybox"];
            engine.d(&[&base[..], &program].concat()).ok();
            let listed = engine.d(&["top", name, "-o", "pid,args"]).ok();
            let listed = rows(&listed.stdout);
            let expected = format!("/sbin/docker-init -- {}", program.join(" "));
            let shown = listed[1][1];
            // What is longer than there is room for is cut.
            assert!(
                expected.starts_with(shown) && shown.len() >= expected.len().min(1000),
                "{listed:?}"
            );
        }
    });
}

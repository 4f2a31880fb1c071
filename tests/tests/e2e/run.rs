//! `run`: the main job, from a command to its output.

use testkit::Engine;

#[test]
fn the_built_in_image_prints_its_report() {
    Engine::run(|engine| {
        let done = engine
            .d(&["run", "--rm", "--network", "none", "wharf/isolation"])
            .ok();
        assert!(
            done.stdout.starts_with("Hello from Wharf"),
            "{}",
            done.stdout
        );
        assert!(done.stdout.contains("pid 1 of 1"), "{}", done.stdout);
        assert!(done.stdout.contains("14 of"), "{}", done.stdout);
    });
}

#[test]
fn a_command_prints_and_its_status_comes_back() {
    Engine::run(|engine| {
        engine.load_busybox();
        let done = engine
            .d(&[
                "run",
                "--rm",
                "busybox",
                "sh",
                "-c",
                "echo out; echo err >&2; exit 7",
            ])
            .fails_with(7);
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str()),
            ("out\n", "err\n")
        );
    });
}

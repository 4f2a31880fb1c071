//! Flags of both commands, each by what is different with it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{count, counting, goes_on, has_criu};
use crate::support::Bundle;

/// Whether criu has the kernel for it.
fn has(feature: &str) -> bool {
    let mut check = Command::new("criu");
    check.args(["check", "--feature", feature]);
    let there = check.stdout(Stdio::null()).stderr(Stdio::null()).status();
    there.is_ok_and(|status| status.success())
}

/// Waits until it is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A container with a tmpfs at /tmp and a folder of the host's, `data`, at /mnt.
fn bundle(script: &str) -> Bundle {
    let mut bundle = Bundle::new(script);
    bundle.push(
        "/mounts",
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
    );
    let data = bundle.path("data");
    fs::create_dir(&data).unwrap();
    bundle.push(
        "/mounts",
        json!({"destination": "/mnt", "type": "bind", "source": data, "options": ["rbind"]}),
    );
    bundle
}

/// Starts a container, with its loopback device up.
fn start(bundle: &Bundle) {
    bundle.quietly(&["run", "-d", "ID"]);
    let up = ["busybox", "ifconfig", "lo", "up"];
    let words = [&["exec", "--cap", "CAP_NET_ADMIN", "ID"], &up[..]].concat();
    bundle.run(&words).good();
}

/// What `cat FILE` tells in the container.
fn told(bundle: &Bundle, file: &str) -> String {
    bundle.run(&["exec", "ID", "cat", file]).out
}

/// It is not dumped without the flags, goes on, and is dumped with them.
#[track_caller]
fn needs(bundle: &Bundle, first: &[&str], flags: &[&str]) {
    let dump = |flags: &[&str], folder: &str| {
        let words = [&["checkpoint"], flags, &["--image-path", folder, "ID"]].concat();
        bundle.run(&words)
    };
    let without = dump(first, "without");
    assert!(without.err.contains("dump.log"), "{without:?}");
    assert_eq!(bundle.status(), "running");
    dump(&[first, flags].concat(), "img").good();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

fn restore(bundle: &Bundle, flags: &[&str]) {
    let words = [&["restore", "-d"], flags, &["--image-path", "img", "ID"]].concat();
    bundle.quietly(&words);
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_file_whose_name_is_gone_is_found_again() {
    if !has_criu() {
        testkit::skip("criu is not installed");
        return;
    }
    let script = "exec 3>/mnt/a; echo before >&3; busybox ln /mnt/a /mnt/b; busybox rm /mnt/a
        until test -e /tmp/go; do busybox usleep 50000; done; echo after >&3; exec sleep 1000";
    let bundle = bundle(script);
    bundle.quietly(&["run", "-d", "ID"]);
    let data = bundle.path("data");
    until("it has another name", || {
        data.join("b").exists() && !data.join("a").exists()
    });
    needs(&bundle, &[], &["--link-remap"]);
    restore(&bundle, &["--link-remap"]);
    bundle.run(&["exec", "ID", "touch", "/tmp/go"]).good();
    let text = || fs::read_to_string(data.join("b")).unwrap();
    until("it is written on", || text() == "before\nafter\n");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn the_network_is_left_out() {
    if !has_criu() {
        testkit::skip("criu is not installed");
        return;
    }
    const UP: &str = "0x9\n";
    let bundle = bundle("sleep 1000 & wait");
    start(&bundle);
    let flags = || told(&bundle, "/sys/class/net/lo/flags");
    assert_eq!(flags(), UP);
    let again = |more: &[&str], folder: &str| {
        for verb in [&["checkpoint"][..], &["restore", "-d"]] {
            bundle.quietly(&[verb, more, &["--image-path", folder, "ID"]].concat());
        }
    };
    again(&[], "whole");
    assert_eq!(flags(), UP);
    again(&["--empty-ns", "network"], "empty");
    assert_eq!(flags(), "0x8\n");
    bundle.run(&["delete", "--force", "ID"]).good();
}

/// A port at which nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn listens(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.contains(&format!(":{port:04X} 00000000:0000 0A"))
}

/// criu in one of its other roles.
fn criu(role: &str, folder: &Path, port: u16, more: &[&str]) -> Child {
    let mut command = Command::new("criu");
    command.args([role, "--images-dir"]).arg(folder);
    command.args(["--address", "127.0.0.1", "--port", &port.to_string()]);
    command.args(more).stdin(Stdio::null());
    let log = || Stdio::from(fs::File::create("/dev/null").unwrap());
    command.stdout(log()).stderr(log()).spawn().unwrap()
}

fn pages(folder: &Path) -> Vec<String> {
    let all = fs::read_dir(folder).unwrap();
    let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("pages-")).collect()
}

#[test]
fn pages_go_to_a_server() {
    if !has_criu() {
        testkit::skip("criu is not installed");
        return;
    }
    let bundle = counting();
    bundle.quietly(&["run", "-d", "ID"]);
    let before = goes_on(&bundle, 2);
    let (server, img) = (bundle.path("server"), bundle.path("img"));
    fs::create_dir(&server).unwrap();
    let port = free_port();
    let mut serving = criu("page-server", &server, port, &[]);
    until("it listens", || listens(port));
    let place = format!("127.0.0.1:{port}");
    let dump = [
        "checkpoint",
        "--page-server",
        &place,
        "--image-path",
        "img",
        "ID",
    ];
    bundle.run(&dump).good();
    assert!(serving.wait().unwrap().success());
    assert_eq!(pages(&img), [""; 0]);
    assert!(!pages(&server).is_empty());
    for entry in fs::read_dir(&server).unwrap() {
        let name = entry.unwrap().file_name();
        fs::copy(server.join(&name), img.join(&name)).unwrap();
    }
    restore(&bundle, &[]);
    goes_on(&bundle, before);
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn pages_come_later() {
    if !has_criu() || !has("uffd-noncoop") {
        testkit::skip("criu is not installed, or has no userfaultfd here");
        return;
    }
    let first = counting();
    first.quietly(&["run", "-d", "ID"]);
    let before = goes_on(&first, 2);
    let port = free_port();
    let place = format!("127.0.0.1:{port}");
    // It stays until all pages are fetched.
    let dump = [
        "checkpoint",
        "--lazy-pages",
        "--page-server",
        &place,
        "--image-path",
        "img",
        "ID",
    ];
    let mut dumping = first.command(&dump).spawn().unwrap();
    until("it serves", || listens(port));
    let img = first.path("img");
    let mut fetching = criu("lazy-pages", &img, port, &["--page-server"]);
    until("it is ready", || img.join("lazy-pages.socket").exists());
    // Here, where those pages are not.
    let second = counting();
    let folder = img.to_str().unwrap();
    let words = [
        "restore",
        "-d",
        "--lazy-pages",
        "--work-path",
        folder,
        "--image-path",
        folder,
        "ID",
    ];
    second.quietly(&words);
    goes_on(&second, before);
    assert!(fetching.wait().unwrap().success() && dumping.wait().unwrap().success());
    goes_on(&second, count(&second));
    assert_eq!(first.leftovers(), [""; 0]);
    second.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn what_is_written_twice_is_kept_once() {
    if !has_criu() || !has("mem_dirty_track") {
        testkit::skip("criu is not installed, or has no dirty pages here");
        return;
    }
    let bundle = counting();
    bundle.quietly(&["run", "-d", "ID"]);
    let before = goes_on(&bundle, 2);
    let pre = ["checkpoint", "--pre-dump", "--image-path", "first", "ID"];
    bundle.run(&pre).good();
    let first = bundle.path("first");
    let size = || -> u64 {
        let all = pages(&first).into_iter();
        all.map(|name| fs::metadata(first.join(name)).unwrap().blocks())
            .sum()
    };
    let whole = size();
    goes_on(&bundle, before);
    let rest = [
        "checkpoint",
        "--auto-dedup",
        "--parent-path",
        "../first",
        "--image-path",
        "img",
        "ID",
    ];
    bundle.run(&rest).good();
    assert!(size() < whole, "{} of {whole}", size());
    restore(&bundle, &[]);
    goes_on(&bundle, before);
    bundle.run(&["delete", "--force", "ID"]).good();
}

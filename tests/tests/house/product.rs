//! What a person gets who builds and installs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::top;

/// The program that was built with this test.
fn program() -> PathBuf {
    // target/TRIPLE/PROFILE/deps/house-hash → target/TRIPLE/PROFILE/wharf
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("wharf")
}

/// Kinds of the program headers of a 64-bit ELF file in this machine's byte order.
fn segments(elf: &[u8]) -> Vec<u32> {
    let number = |at: usize| usize::from(u16::from_ne_bytes(elf[at..at + 2].try_into().unwrap()));
    let table = u64::from_ne_bytes(elf[32..40].try_into().unwrap()) as usize;
    (0..number(56))
        .map(|row| table + row * number(54))
        .map(|at| u32::from_ne_bytes(elf[at..at + 4].try_into().unwrap()))
        .collect()
}

#[test]
fn the_program_is_one_static_file_below_25_mb() {
    let elf = fs::read(program()).expect("the program is built before this test");
    assert!(elf.len() < 25_000_000, "{} bytes", elf.len());
    let (load, interpreter) = (1, 3);
    let segments = segments(&elf);
    assert!(segments.contains(&load), "{segments:?}");
    assert!(!segments.contains(&interpreter), "it needs a loader");
}

/// Names and sizes of the sections of a 64-bit ELF file in this machine's byte order.
fn sections(elf: &[u8]) -> Vec<(String, u64)> {
    let short = |at: usize| usize::from(u16::from_ne_bytes(elf[at..at + 2].try_into().unwrap()));
    let word = |at: usize| u32::from_ne_bytes(elf[at..at + 4].try_into().unwrap()) as usize;
    let long = |at: usize| u64::from_ne_bytes(elf[at..at + 8].try_into().unwrap());
    let row = |number: usize| long(40) as usize + number * short(58);
    let names = long(row(short(62)) + 24) as usize;
    (0..short(60))
        .map(row)
        .map(|at| {
            let name = &elf[names + word(at)..];
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            let name = String::from_utf8_lossy(&name[..end]).into_owned();
            (name, long(at + 32))
        })
        .collect()
}

#[test]
#[cfg(target_arch = "x86_64")]
fn what_a_start_executes_lies_together() {
    let sections = sections(&fs::read(program()).unwrap());
    let first = sections.iter().find(|(name, _)| name == ".text.start");
    let Some((_, size)) = first else {
        return testkit::skip("the program was linked without its layout");
    };
    // Below it most names of `wharf/start.ld` are gone: `make layout` writes it anew.
    assert!((400_000..2_000_000).contains(size), "{sections:?}");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_client_starts_without_asking_the_processor() {
    let asks = |args: &[&str]| testkit::steps::asks_the_processor(&program(), args).unwrap();
    assert!(asks(&["daemon", "--help"]), "the C library asks");
    if asks(&["--version"]) {
        testkit::skip("the program has no short start with another glibc than 2.36");
    }
}

#[test]
fn an_older_cargo_gets_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("cargo");
    for (version, passes) in [("1.74.0", false), ("1.89.1", false), ("1.90.0", true)] {
        fs::write(&fake, format!("#!/bin/sh\necho 'cargo {version} (x)'\n")).unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
        let done = Command::new("make")
            .args(["-s", "toolchain"])
            .arg(format!("CARGO={}", fake.display()))
            .current_dir(top())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.success(), passes, "{version}: {told}");
        let sentence = format!("Wharf needs Rust 1.90 or newer, and this is cargo {version}.");
        assert_eq!(told.starts_with(&sentence), !passes, "{told}");
    }
}

#[test]
fn an_installation_is_complete_below_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new("make")
        .args(["-s", "install", "PREFIX=/opt/wharf"])
        .arg(format!("BIN={}", program().display()))
        .arg(format!("DESTDIR={}", folder.path().display()))
        .current_dir(top())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let prefix = folder.path().join("opt/wharf");
    assert_eq!(
        fs::read_link(prefix.join("bin/wharfd")).unwrap(),
        PathBuf::from("wharf")
    );
    let units = prefix.join("lib/systemd/system");
    let service = fs::read_to_string(units.join("wharf.service")).unwrap();
    assert!(service.contains("ExecStart=/opt/wharf/bin/wharf daemon"));
    assert!(units.join("wharf.socket").exists());
    check_units(&units);
    let top: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(top.len(), 1, "everything lies below the prefix");
}

/// Lets systemd read the units, where there is one.
fn check_units(units: &Path) {
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args(["wharf.socket", "wharf.service"].map(|unit| units.join(unit)))
        .output();
    let Ok(verified) = verified else {
        testkit::skip("systemd-analyze(1) is missing");
        return;
    };
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    // The program is not where the unit says, and the host may lack what other units name: only our own lines count.
    let ours = told.lines().filter(|line| line.contains("wharf."));
    let ours: Vec<_> = ours
        .filter(|line| !line.contains("is not executable"))
        .collect();
    assert!(ours.is_empty(), "{told}");
}

//! Tells the program what it is built from: WHARF_COMMIT and WHARF_BUILD_TIME, empty where nobody knows.
//!
//! The time is that of the commit, or SOURCE_DATE_EPOCH: the same source gives the same program. Only this crate is
//! compiled anew when the commit changes.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=build.rs");
    // Names of functions are a fifth of the file. Whoever profiles keeps them: WHARF_SYMBOLS=1 make build.
    println!("cargo:rerun-if-env-changed=WHARF_SYMBOLS");
    if std::env::var_os("WHARF_SYMBOLS").is_none() {
        println!("cargo:rustc-link-arg-bins=-Wl,-s");
    }
    // The program's entry, where it is another than the C library's: see `sys::start`.
    println!("cargo:rustc-check-cfg=cfg(short_start)");
    if std::env::var_os("DEP_WHARF_START_SHORT").is_some() {
        println!("cargo:rustc-cfg=short_start");
        println!("cargo:rustc-link-arg-bins=-Wl,-e,wharf_start");
    }
    lay_out();
    let repository = Repository::find();
    let git = repository.as_ref();
    // Missing files would make cargo run this each time.
    for file in git.iter().flat_map(|git| git.traces()) {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let commit = git.and_then(|git| git.ask(&["rev-parse", "--short", "HEAD"]));
    let seconds = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .or_else(|| git?.ask(&["log", "-1", "--format=%ct"]));
    let time = seconds.and_then(|seconds| seconds.parse().ok()).map(told);
    println!(
        "cargo:rustc-env=WHARF_COMMIT={}",
        commit.unwrap_or_default()
    );
    println!(
        "cargo:rustc-env=WHARF_BUILD_TIME={}",
        time.unwrap_or_default()
    );
}

/// Functions that a start executes lie beside each other, so that it touches few pages: see `bench/layout`.
///
/// The script adds to the linker's own; mold has none.
fn lay_out() {
    println!("cargo:rerun-if-changed=start.ld");
    println!("cargo:rerun-if-env-changed=WHARF_LAYOUT");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let Some(here) = std::env::var_os("CARGO_MANIFEST_DIR") else {
        return;
    };
    let is_known = is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if is_known && !flags.contains("mold") && !is("WHARF_LAYOUT", "off") {
        let script = Path::new(&here).join("start.ld");
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}

/// The repository that this source is, and not one that it was unpacked in.
struct Repository {
    top: PathBuf,
}

impl Repository {
    fn find() -> Option<Repository> {
        let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
        let top = here.parent()?.canonicalize().ok()?;
        let repository = Repository { top };
        let found = repository.ask(&["rev-parse", "--show-toplevel"])?;
        let found = Path::new(&found).canonicalize().ok()?;
        (found == repository.top).then_some(repository)
    }

    /// What git says; nothing when there is no git, or it has nothing to say.
    fn ask(&self, args: &[&str]) -> Option<String> {
        let done = Command::new("git")
            .arg("-C")
            .arg(&self.top)
            .args(args)
            .output()
            .ok()?;
        let text = String::from_utf8(done.stdout).ok()?.trim().to_owned();
        (done.status.success() && !text.is_empty()).then_some(text)
    }

    /// Files that change with the commit.
    fn traces(&self) -> Vec<PathBuf> {
        ["HEAD", "logs/HEAD"]
            .iter()
            .filter_map(|name| self.ask(&["rev-parse", "--git-path", name]))
            .map(|path| self.top.join(path))
            .filter(|path| path.exists())
            .collect()
    }
}

/// Seconds since 1970 as Docker tells the time of a build.
fn told(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    let (mut year, mut day) = (1970, days);
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while day >= 365 + i64::from(leap(year)) {
        day -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [
        31,
        28 + i64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    format!(
        "{year:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000000000+00:00",
        month + 1,
        day + 1,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

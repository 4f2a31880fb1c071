//! Finds out whether the program can have the short start of `src/start.rs`.
//!
//! It takes the steps of one version of glibc. The headers of the C compiler and the library that is linked come from
//! one package, so the headers tell the version.

use std::io::Write;
use std::process::{Command, Stdio};

/// The version whose steps the short start takes.
const KNOWN: [(&str, &str); 2] = [("__GLIBC__", "2"), ("__GLIBC_MINOR__", "36")];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo:rustc-check-cfg=cfg(short_start)");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|has| has == value);
    let fixed = std::env::var("CARGO_CFG_TARGET_FEATURE")
        .is_ok_and(|features| features.split(',').any(|feature| feature == "crt-static"));
    // Code that may lie anywhere would have to move itself first.
    let fixed = fixed
        && std::env::var("CARGO_ENCODED_RUSTFLAGS")
            .is_ok_and(|flags| flags.contains("relocation-model=static"));
    let here = is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && std::env::var("HOST") == std::env::var("TARGET");
    if here && fixed && std::env::var_os("CARGO_CFG_FUZZING").is_none() && known() {
        println!("cargo:rustc-cfg=short_start");
        println!("cargo:short=1");
    }
}

/// Whether the C compiler's headers are of the known version; where there is no compiler, they are not.
fn known() -> bool {
    let macros = || {
        let mut compiler = Command::new("cc")
            .args(["-x", "c", "-E", "-dM", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        compiler
            .stdin
            .take()?
            .write_all(b"#include <features.h>\n")
            .ok()?;
        String::from_utf8(compiler.wait_with_output().ok()?.stdout).ok()
    };
    let Some(macros) = macros() else {
        return false;
    };
    KNOWN.iter().all(|(name, value)| {
        macros
            .lines()
            .any(|line| line == format!("#define {name} {value}"))
    })
}

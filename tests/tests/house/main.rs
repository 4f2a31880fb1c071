//! The house's rules as tests: they read the tree and need neither root nor an engine.

mod boundaries;
mod licences;
mod product;
mod texts;

use std::path::PathBuf;
use std::process::Command;

/// The root of the checkout.
fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// What cargo knows of the workspace and everything it is built from, without the network.
fn metadata() -> serde_json::Value {
    let platform = format!(
        "--filter-platform={}-unknown-linux-gnu",
        std::env::consts::ARCH
    );
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", &platform])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

//! `version`.

use serde_json::Value;

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::session::{API_VERSION, Session};
use crate::verb::{Takes, Verb};

const FLAGS: &[Flag] =
    &[Flag::one("format", "string", "Format output using a custom template").letter('f')];

pub(super) static VERSION: Verb = Verb {
    paths: &["version"],
    usage: "[OPTIONS]",
    about: "Show the version information",
    flags: &[FLAGS],
    interspersed: true,
    takes: Takes::Nothing,
    run,
};

fn run(session: &Session, _parsed: &Parsed) -> Result<u8, Failure> {
    let context = &session.engine()?.1;
    println!(
        "Client: Wharf\n Version:           {}",
        env!("CARGO_PKG_VERSION")
    );
    println!(
        " API version:       {API_VERSION}\n OS/Arch:           linux/{}\n Context:           {context}",
        arch()
    );
    let server = session.get("/version")?;
    let text = |name: &str| match &server[name] {
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    println!(
        "\nServer: Wharf\n Engine:\n  Version:          {}",
        text("Version")
    );
    println!(
        "  API version:      {} (minimum version {})",
        text("ApiVersion"),
        text("MinAPIVersion")
    );
    println!("  OS/Arch:          {}/{}", text("Os"), text("Arch"));
    Ok(0)
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

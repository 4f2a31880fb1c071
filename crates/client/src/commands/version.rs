//! `version`.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::session::{API_VERSION, Session};
use crate::template::Template;
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

fn run(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let context = &session.engine()?.1;
    if let Some(format) = parsed.one("format").filter(|format| !format.is_empty()) {
        return formatted(session, format, context);
    }
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

/// Client and server as one document, for a template or as it is.
fn formatted(session: &Session, format: &str, context: &str) -> Result<u8, Failure> {
    let document = json!({
        "Client": {"Version": env!("CARGO_PKG_VERSION"), "ApiVersion": API_VERSION, "Os": "linux", "Arch": arch(), "Context": context},
        "Server": session.get("/version")?,
    });
    if format == "json" {
        println!("{document}");
    } else {
        let template =
            Template::parse(format).map_err(|error| Failure::Invalid(error.to_string()))?;
        println!(
            "{}",
            template
                .render(&document)
                .map_err(|error| Failure::Invalid(error.to_string()))?
        );
    }
    Ok(0)
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

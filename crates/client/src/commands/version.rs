//! `version`.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::session::{API_VERSION, Session};
use crate::template::{self, Template, schema};
use crate::time;
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
    let client = client(session)?;
    if let Some(format) = parsed.one("format").filter(|format| !format.is_empty()) {
        return formatted(session, format, client);
    }
    println!("{}", of_client(&client));
    println!("\n{}", of_server(&server(session)?));
    Ok(0)
}

/// What the server tells, with the time of its build as docker's client tells it.
fn server(session: &Session) -> Result<Value, Failure> {
    let mut server = session.get("/version")?;
    for part in server["Components"].as_array_mut().into_iter().flatten() {
        let is_engine = part["Name"] == "Engine";
        let built = part
            .get_mut("Details")
            .and_then(|details| details.get_mut("BuildTime"));
        if let (true, Some(built)) = (is_engine, built) {
            *built = time::ansic(built.as_str().unwrap_or_default()).into();
        }
    }
    Ok(server)
}

/// What is known of the client. It is no program of Go's, and says so as the server does.
pub(super) fn client(session: &Session) -> Result<Value, Failure> {
    Ok(json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": session.version(),
        "DefaultAPIVersion": API_VERSION,
        "GitCommit": session.build.commit,
        "GoVersion": "none",
        "Os": "linux",
        "Arch": arch(),
        "BuildTime": time::ansic(session.build.time),
        "Context": session.engine()?.1,
    }))
}

fn of_client(client: &Value) -> String {
    let text = |name: &str| client[name].as_str().unwrap_or_default();
    let mut built = String::new();
    for (name, value) in [
        ("Git commit", text("GitCommit")),
        ("Built", text("BuildTime")),
    ] {
        if !value.is_empty() {
            built.push_str(&format!("\n {:<18} {value}", format!("{name}:")));
        }
    }
    format!(
        "Client: Wharf\n Version:           {}\n API version:       {}{built}\n OS/Arch:           {}/{}\n Context:           {}",
        text("Version"),
        text("ApiVersion"),
        text("Os"),
        text("Arch"),
        text("Context")
    )
}

/// The server and its parts; what nothing is known of is left out.
fn of_server(server: &Value) -> String {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let mut out = format!("Server: {}", text(&server["Platform"], "Name"));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() && value != "none" {
            out.push_str(&format!("\n  {:<17} {value}", format!("{name}:")));
        } else if value.is_empty() {
            out.push_str(&format!("\n {name}:"));
        }
    };
    for part in server["Components"].as_array().into_iter().flatten() {
        line(&text(part, "Name"), "");
        line("Version", &text(part, "Version"));
        let details = &part["Details"];
        if !details.is_object() || part["Name"] != "Engine" {
            continue;
        }
        line(
            "API version",
            &format!(
                "{} (minimum version {})",
                text(details, "ApiVersion"),
                text(details, "MinAPIVersion")
            ),
        );
        // An empty one would be told as the name of a part.
        for (name, field) in [("Git commit", "GitCommit"), ("Built", "BuildTime")] {
            if !text(details, field).is_empty() {
                line(name, &text(details, field));
            }
        }
        line(
            "OS/Arch",
            &format!("{}/{}", text(details, "Os"), text(details, "Arch")),
        );
        line("Experimental", &text(details, "Experimental"));
    }
    out
}

/// Client and server as one document, for a template or as it is.
fn formatted(session: &Session, format: &str, client: Value) -> Result<u8, Failure> {
    let template = match format {
        "json" => None,
        text => Some(
            Template::parse_as("version", text)
                .map_err(|fault| Failure::Template(format!("template parsing error: {fault}")))?,
        ),
    };
    let document = json!({"Client": client, "Server": server(session)?});
    let whole = template::Value::read(&document, &schema::system::VERSION_INFO);
    super::print_document(template.as_ref(), &whole)
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

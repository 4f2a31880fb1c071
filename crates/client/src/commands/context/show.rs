//! `context ls` and `context inspect`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{DEFAULT_CONTEXT, all, named, verb};
use crate::contexts::Context;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::session::{Session, tell};
use crate::table::List;
use crate::template::{self, Template, Type};
use crate::verb::{Takes, Verb};

/// The most letters of a fault in a list.
const FAULT_WIDTH: usize = 45;

pub(in crate::commands) static LS: Verb = verb(
    &["context ls", "context list"],
    "[OPTIONS]",
    "List contexts",
    &[&[
        Flag::one(
            "format",
            "string",
            "Format output: 'table', 'table TEMPLATE', 'json' or a Go template",
        ),
        Flag::switch("quiet", "Only show context names").letter('q'),
    ]],
    Takes::Nothing,
    list,
);

fn list(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let current = session.context();
    let mut contexts = vec![named(session, DEFAULT_CONTEXT)?];
    contexts.extend(all(session).all().map_err(Failure::Plain)?);
    let mut rows: Vec<_> = contexts
        .iter()
        .map(|context| row(context, &current, ""))
        .collect();
    if !contexts.iter().any(|context| context.name() == current) {
        let fault = all(session).find(&current).err().unwrap_or_default();
        rows.push(row(&Context::new(&current), &current, &fault));
    }
    let name = |row: &Value| row["Name"].as_str().unwrap_or_default().to_owned();
    rows.sort_by(|one, other| crate::commands::natural(&name(one), &name(other)));
    let format = parsed.one("format").unwrap_or_default();
    List {
        kind: &Type::Row("*formatter.clientContextContext"),
        headings: &[
            ("Name", "NAME"),
            ("Description", "DESCRIPTION"),
            ("DockerEndpoint", "DOCKER ENDPOINT"),
            ("Error", "ERROR"),
        ],
        table: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
        quiet: "Name",
        raw: &[],
    }
    .print(&rows, format, parsed.switch("quiet"))?;
    super::warn_of_host("a context");
    Ok(0)
}

fn row(context: &Context, current: &str, fault: &str) -> Value {
    json!({
        "Current": context.name() == current,
        "Description": context.description(),
        "DockerEndpoint": context.host(),
        "Error": crate::commands::ellipsis(fault, FAULT_WIDTH),
        "Name": context.name(),
    })
}

pub(in crate::commands) static INSPECT: Verb = verb(
    &["context inspect"],
    "[OPTIONS] [CONTEXT] [CONTEXT...]",
    "Display detailed information on one or more contexts",
    &[&[Flag::one("format", "string", "Format output: 'json' or a Go template").letter('f')]],
    Takes::AtLeast(0),
    inspect,
);

fn inspect(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let format = parsed.one("format").unwrap_or_default();
    let template = match format {
        "" | "json" => None,
        text => Some(
            Template::parse(text)
                .map_err(|fault| Failure::Template(format!("template parsing error: {fault}")))?,
        ),
    };
    let mut names = parsed.args.clone();
    if names.is_empty() {
        names.push(session.context());
    }
    let mut found = Vec::new();
    let mut faults = Vec::new();
    for name in &names {
        match document(session, name) {
            Ok(document) => found.push(document),
            Err(failure) => faults.push(failure.to_string()),
        }
    }
    match template {
        None if format == "json" => println!("{}", escaped(&Value::Array(found).to_string())),
        None => println!("{}", escaped(&indented(&Value::Array(found))?)),
        Some(template) => {
            let mut text = String::new();
            for document in &found {
                match template.render(&template::schema::context::read(document), false) {
                    Ok(line) => text.push_str(&format!("{line}\n")),
                    Err(fault) => faults.push(format!("template parsing error: {fault}")),
                }
            }
            // Docker ends the line all the same.
            print!("{}", if text.is_empty() { "\n" } else { &text });
        }
    }
    match faults.pop() {
        None => Ok(0),
        Some(last) => {
            faults.iter().for_each(|fault| tell(fault));
            Err(Failure::Plain(last))
        }
    }
}

/// A context with where it is kept and which certificates it has.
fn document(session: &Session, name: &str) -> Result<Value, Failure> {
    let context = named(session, name)?;
    let mut document = context.document().clone();
    let store = all(session);
    let mut secrets = Map::new();
    let (meta, tls) = if name == DEFAULT_CONTEXT {
        document["Metadata"] = json!({});
        ("<IN MEMORY>".to_owned(), "<IN MEMORY>".to_owned())
    } else {
        for (endpoint, files) in store.secret_names(name).map_err(Failure::Plain)? {
            secrets.insert(endpoint, files.into());
        }
        let shown = |path: std::path::PathBuf| path.display().to_string();
        (
            shown(store.meta_folder(name)),
            shown(store.tls_folder(name)),
        )
    };
    document["TLSMaterial"] = secrets.into();
    document["Storage"] = json!({"MetadataPath": meta, "TLSPath": tls});
    Ok(document)
}

/// JSON as docker indents it.
fn indented(value: &Value) -> Result<String, Failure> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value
        .serialize(&mut serializer)
        .map_err(|error| Failure::Invalid(error.to_string()))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The same as Go writes it: safe within HTML.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

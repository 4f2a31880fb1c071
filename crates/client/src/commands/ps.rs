//! `ps`: the list of containers.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::{Session, tell};
use crate::table::List;
use crate::template::{self, Fault, LABELS, Template};
use crate::verb::{Takes, Verb};
use crate::{time, units};

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Show all containers (default shows just running)").letter('a'),
    Flag::list(
        "filter",
        "filter",
        "Filter output based on conditions provided",
    )
    .letter('f'),
    Flag::one(
        "format",
        "string",
        "Format output: 'table', 'table TEMPLATE', 'json' or a Go template",
    ),
    Flag::one(
        "last",
        "int",
        "Show n last created containers (includes all states)",
    )
    .letter('n'),
    Flag::switch(
        "latest",
        "Show the latest created container (includes all states)",
    )
    .letter('l'),
    Flag::switch("no-trunc", "Don't truncate output"),
    Flag::switch("quiet", "Only display container IDs").letter('q'),
    Flag::switch("size", "Display total file sizes").letter('s'),
];

pub(super) static PS: Verb = Verb {
    paths: &["ps", "container ls", "container list", "container ps"],
    usage: "[OPTIONS]",
    about: "List containers",
    flags: &[FLAGS],
    interspersed: true,
    takes: Takes::Nothing,
    run,
};

/// The last line is there with sizes alone.
const RAW: &[(&str, &str)] = &[
    ("container_id", "ID"),
    ("image", "Image"),
    ("command", "Command"),
    ("created_at", "CreatedAt"),
    ("state", "State"),
    ("status", "Status"),
    ("names", "Names"),
    ("labels", "Labels"),
    ("ports", "Ports"),
    ("size", "Size"),
];

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

static KIND: template::Type = template::Type::Row("*formatter.ContainerContext");

const TABLE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

fn run(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let mut format = super::format(session, parsed, "psFormat")?;
    if parsed.switch("quiet") && !format.is_empty() {
        tell("WARNING: Ignoring custom format, because both --format and --quiet are set.");
        if format != "raw" {
            format = String::new();
        }
    }
    try_out(&format)?;
    // `.Size` in a template asks for sizes, as --size does, and so does a row as a whole.
    let compact: String = format.split_whitespace().collect();
    let size = parsed.switch("size")
        || [".Size", "json.}"]
            .iter()
            .any(|part| compact.contains(part));
    let last = match parsed.one("last") {
        None | Some("-1") if parsed.switch("latest") => "1",
        last => last.unwrap_or_default(),
    };
    let query = Query::new("/containers/json")
        .with_switch("all", parsed.switch("all"))
        .with_some("limit", if last == "-1" { "" } else { last })
        .with_switch("size", size)
        .with_some("filters", &super::filters(&parsed.list("filter"))?);
    let answer = session.get(query.text())?;
    let rows: Vec<_> = answer
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| row(one, !parsed.switch("no-trunc")))
        .collect();
    let table = if size {
        format!("{TABLE}\t{{{{.Size}}}}")
    } else {
        TABLE.to_owned()
    };
    List {
        kind: &KIND,
        headings: HEADINGS,
        table: &table,
        quiet: "ID",
        raw: &RAW[..RAW.len() - usize::from(!size)],
    }
    .print(&rows, &format, parsed.switch("quiet"))?;
    Ok(0)
}

/// Applies a template to a container without anything, before the engine is asked: most faults show there.
fn try_out(format: &str) -> Result<(), Failure> {
    let failed = |doing: &str, fault: Fault| {
        Failure::Invalid(format!("failed to {doing} template: {fault}"))
    };
    let template = Template::parse(format).map_err(|fault| failed("parse", fault))?;
    template
        .render(
            &template::Value::row(&row(&Value::Null, true), &KIND),
            false,
        )
        .map(drop)
        .map_err(|fault| failed("execute", fault))
}

/// A container's summary as the fields that templates know.
pub(super) fn row(one: &Value, truncate: bool) -> Value {
    let text = |name: &str| one[name].as_str().unwrap_or_default();
    let names: Vec<_> = one["Names"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|name| name.trim_start_matches('/'))
        .collect();
    // Names with a second slash are links of other containers.
    let names: Vec<_> = names
        .into_iter()
        .filter(|name| !truncate || !name.contains('/'))
        .collect();
    let labels = one["Labels"].as_object().cloned().unwrap_or_default();
    let mounts: Vec<_> = one["Mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|mount| mount_name(mount, truncate))
        .collect();
    let local = one["Mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|mount| mount["Driver"] == "local")
        .count();
    let networks: Vec<_> = one["NetworkSettings"]["Networks"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    let created = one["Created"].as_i64().unwrap_or(0);
    json!({
        "ID": super::short(text("Id"), truncate),
        "Names": names.join(","),
        "Image": image(one, truncate),
        "Command": quoted(&if truncate { super::ellipsis(text("Command"), 20) } else { text("Command").to_owned() }),
        "CreatedAt": time::go(created),
        "RunningFor": time::ago(created),
        "Ports": ports(&one["Ports"]),
        "State": text("State"),
        "Status": text("Status"),
        "Size": size(one),
        "Labels": super::labels(&labels),
        "Mounts": mounts.join(","),
        "LocalVolumes": local.to_string(),
        "Networks": networks.join(","),
        "Platform": Value::Null,
        LABELS: labels,
    })
}

/// Text in quotes as Go writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            _ if letter.is_ascii_control() => out.push_str(&format!("\\x{:02x}", letter as u32)),
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn mount_name(mount: &Value, truncate: bool) -> String {
    let name = mount["Name"]
        .as_str()
        .filter(|name| !name.is_empty())
        .or(mount["Source"].as_str())
        .unwrap_or_default();
    if truncate {
        super::ellipsis(name, 15)
    } else {
        name.to_owned()
    }
}

/// The image's name; its short id when it has none left.
fn image(one: &Value, truncate: bool) -> String {
    let name = one["Image"].as_str().unwrap_or_default();
    let id = one["ImageID"].as_str().unwrap_or_default();
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    if !truncate {
        return name.to_owned();
    }
    if super::short(name, true) == super::short(id, true) {
        return super::short(id, true).to_owned();
    }
    // A digest is left out; a tag stays.
    match types::Reference::parse_normalized(name) {
        Ok(reference) => match reference.tag() {
            Some(tag) => format!("{}:{tag}", reference.without_tag().familiar()),
            None => reference.without_tag().familiar(),
        },
        Err(_) => name.to_owned(),
    }
}

fn size(one: &Value) -> String {
    let written = units::size_with(one["SizeRw"].as_f64().unwrap_or(0.0), 3);
    match one["SizeRootFs"].as_f64().filter(|size| *size > 0.0) {
        Some(whole) => format!("{written} (virtual {})", units::size_with(whole, 3)),
        None => written,
    }
}

/// Ports in order: first those without another host port, neighbours joined to ranges, then those with one.
pub(super) fn ports(list: &Value) -> String {
    let text = |port: &Value, name: &str| port[name].as_str().unwrap_or_default().to_owned();
    let number = |port: &Value, name: &str| port[name].as_u64().unwrap_or(0);
    let mut all: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            (
                number(port, "PrivatePort"),
                text(port, "IP"),
                number(port, "PublicPort"),
                text(port, "Type"),
            )
        })
        .collect();
    all.sort();
    let address = |ip: &str| {
        if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        }
    };
    let group = |ip: &str, kind: &str, (first, last): (u64, u64)| {
        let range = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        if ip.is_empty() {
            format!("{range}/{kind}")
        } else {
            format!("{}:{range}->{range}/{kind}", address(ip))
        }
    };
    let mut open: Vec<(String, String, (u64, u64))> = Vec::new();
    let (mut groups, mut mapped) = (Vec::new(), Vec::new());
    for (private, ip, public, kind) in all {
        if !ip.is_empty() && public != private {
            mapped.push(format!("{}:{public}->{private}/{kind}", address(&ip)));
            continue;
        }
        let known = open
            .iter_mut()
            .find(|(other_ip, other_kind, _)| *other_ip == ip && *other_kind == kind);
        match known {
            None => open.push((ip, kind, (private, private))),
            Some((.., range)) if range.1 + 1 == private => range.1 = private,
            Some((.., range)) => {
                groups.push(group(&ip, &kind, *range));
                *range = (private, private);
            }
        }
    }
    groups.extend(open.iter().map(|(ip, kind, range)| group(ip, kind, *range)));
    groups.extend(mapped);
    groups.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_joined_where_docker_joins_them() {
        let list = json!([
            {"PrivatePort": 81, "PublicPort": 81, "IP": "0.0.0.0", "Type": "tcp"},
            {"PrivatePort": 80, "PublicPort": 80, "IP": "0.0.0.0", "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
            {"PrivatePort": 90, "PublicPort": 9090, "IP": "::", "Type": "udp"},
        ]);
        assert_eq!(
            ports(&list),
            "0.0.0.0:80-81->80-81/tcp, 443/tcp, [::]:9090->90/udp"
        );
        assert_eq!(ports(&Value::Null), "");
    }

    #[test]
    fn commands_are_quoted_as_go_does_it() {
        assert_eq!(quoted("a \"b\"\n\\ …"), "\"a \\\"b\\\"\\n\\\\ …\"");
    }

    #[test]
    fn an_image_is_shown_without_its_digest() {
        let digest = format!("busybox:1@sha256:{}", "0".repeat(64));
        assert_eq!(
            image(&json!({"Image": digest, "ImageID": "x"}), true),
            "busybox:1"
        );
        let id = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            image(&json!({"Image": id, "ImageID": id}), true),
            "a".repeat(12)
        );
    }
}

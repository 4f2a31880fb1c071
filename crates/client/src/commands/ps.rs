//! `ps`: the list of containers.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::Session;
use crate::table::List;
use crate::template::LABELS;
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

const TABLE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

fn run(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let format = super::format(session, parsed, "psFormat")?;
    // `.Size` in a template asks for sizes, as --size does.
    let size = parsed.switch("size") || format.contains(".Size");
    let last = if parsed.switch("latest") {
        "1"
    } else {
        parsed.one("last").unwrap_or_default()
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
        headings: HEADINGS,
        table: &table,
        quiet: "ID",
    }
    .print(&rows, &format, parsed.switch("quiet"))?;
    Ok(0)
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
        "Command": format!("\"{}\"", if truncate { super::ellipsis(text("Command"), 20) } else { text("Command").to_owned() }),
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
    if truncate && name == id {
        super::short(id, true).to_owned()
    } else {
        name.to_owned()
    }
}

fn size(one: &Value) -> String {
    let written = units::size_with(one["SizeRw"].as_f64().unwrap_or(0.0), 3);
    match one["SizeRootFs"].as_f64().filter(|size| *size > 0.0) {
        Some(whole) => format!("{written} (virtual {})", units::size_with(whole, 3)),
        None => written,
    }
}

/// Ports in order, neighbours with the same distance to their host port joined to ranges.
pub(super) fn ports(list: &Value) -> String {
    #[derive(PartialEq)]
    struct Run {
        ip: String,
        kind: String,
        private: (u64, u64),
        public: Option<(u64, u64)>,
    }
    let mut all: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| Run {
            ip: port["IP"].as_str().unwrap_or_default().to_owned(),
            kind: port["Type"].as_str().unwrap_or("tcp").to_owned(),
            private: (
                port["PrivatePort"].as_u64().unwrap_or(0),
                port["PrivatePort"].as_u64().unwrap_or(0),
            ),
            public: port["PublicPort"]
                .as_u64()
                .filter(|port| *port > 0)
                .map(|port| (port, port)),
        })
        .collect();
    all.sort_by(|one, other| {
        (one.private, &one.ip, one.public, &one.kind).cmp(&(
            other.private,
            &other.ip,
            other.public,
            &other.kind,
        ))
    });
    let mut runs: Vec<Run> = Vec::new();
    for port in all {
        let follows = |run: &&mut Run| {
            run.ip == port.ip
                && run.kind == port.kind
                && run.private.1 + 1 == port.private.0
                && match (run.public, port.public) {
                    (None, None) => true,
                    (Some(run_public), Some(public)) => {
                        run_public.1 + 1 == public.0
                            && run_public.0 == run.private.0
                            && public.0 == port.private.0
                    }
                    _ => false,
                }
        };
        match runs.iter_mut().find(follows) {
            Some(run) => {
                run.private.1 = port.private.1;
                run.public = run
                    .public
                    .zip(port.public)
                    .map(|(run, port)| (run.0, port.1));
            }
            None => runs.push(port),
        }
    }
    let range = |(first, last): (u64, u64)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    let shown = |run: &Run| match run.public {
        None => format!("{}/{}", range(run.private), run.kind),
        Some(public) => {
            let ip = if run.ip.contains(':') {
                format!("[{}]", run.ip)
            } else {
                run.ip.clone()
            };
            format!(
                "{ip}:{}->{}/{}",
                range(public),
                range(run.private),
                run.kind
            )
        }
    };
    runs.iter().map(shown).collect::<Vec<_>>().join(", ")
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
            "0.0.0.0:80-81->80-81/tcp, [::]:9090->90/udp, 443/tcp"
        );
        assert_eq!(ports(&Value::Null), "");
    }
}

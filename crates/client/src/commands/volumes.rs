//! `volume` and `network`.

use serde_json::{Map, Value, json};

use crate::container::label;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode};
use crate::session::{Session, tell};
use crate::table::List;
use crate::template::{LABELS, Type};
use crate::units;
use crate::verb::{Takes, Verb};

const CLUSTER: Flag = Flag::switch(
    "cluster",
    "Display only cluster volumes, and use cluster volume list formatting",
);

const LIST_FLAGS: &[Flag] = &[
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
    Flag::switch("quiet", "Only display names").letter('q'),
];

const fn verb(
    paths: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    flags: &'static [&'static [Flag]],
    takes: Takes,
    run: fn(&Session, &Parsed) -> Result<u8, Failure>,
) -> Verb {
    Verb {
        paths,
        usage,
        about,
        flags,
        interspersed: true,
        takes,
        run,
    }
}

pub(super) static VOLUME_LS: Verb = verb(
    &["volume ls", "volume list"],
    "[OPTIONS]",
    "List volumes",
    &[&[CLUSTER], LIST_FLAGS],
    Takes::Nothing,
    list_volumes,
);

const CLUSTER_TABLE: &str =
    "table {{.Name}}\t{{.Group}}\t{{.Driver}}\t{{.Availability}}\t{{.Status}}";

fn list_volumes(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    const HEADINGS: &[(&str, &str)] = &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Group", "GROUP"),
        ("Availability", "AVAILABILITY"),
        ("Status", "STATUS"),
    ];
    let query =
        Query::new("/volumes").with_some("filters", &super::filters(&parsed.list("filter"))?);
    let answer = session.get(query.text())?;
    let mut volumes: Vec<_> = answer["Volumes"].as_array().cloned().unwrap_or_default();
    volumes.sort_by(|one, other| one["Name"].as_str().cmp(&other["Name"].as_str()));
    let mut rows: Vec<_> = volumes.iter().map(volume_row).collect();
    let mut format = super::format(session, parsed, "volumesFormat")?;
    if parsed.switch("cluster") {
        // Those of a swarm alone, and there is none. Docker has one format for them, whatever is asked for.
        rows.clear();
        format = match parsed.switch("quiet") {
            true => String::new(),
            false => CLUSTER_TABLE.to_owned(),
        };
    }
    List {
        kind: &Type::Row("*formatter.volumeContext"),
        headings: HEADINGS,
        table: "{{.Driver}}\t{{.Name}}",
        quiet: "Name",
        raw: &[("name", "Name"), ("driver", "Driver")],
    }
    .print(&rows, &format, parsed.switch("quiet"))?;
    Ok(0)
}

pub(super) fn volume_row(volume: &Value) -> Value {
    let labels = volume["Labels"].as_object().cloned().unwrap_or_default();
    let usage = |name: &str| {
        volume["UsageData"][name]
            .as_i64()
            .filter(|number| *number >= 0)
    };
    json!({
        "Name": volume["Name"],
        "Driver": volume["Driver"],
        "Scope": volume["Scope"],
        "Mountpoint": volume["Mountpoint"],
        "Labels": super::labels(&labels),
        "Links": usage("RefCount").map_or("N/A".to_owned(), |count| count.to_string()),
        "Size": usage("Size").map_or("N/A".to_owned(), |size| units::size(size as f64)),
        "Group": "N/A",
        "Availability": "N/A",
        "Status": "N/A",
        LABELS: labels,
    })
}

const CREATE_FLAGS: &[Flag] = &[
    Flag::one("driver", "string", "Specify volume driver name").letter('d'),
    Flag::list("label", "list", "Set metadata for a volume").checked(label),
    Flag::one("name", "string", "Specify volume name"),
    Flag::list("opt", "map", "Set driver specific options").letter('o'),
    Flag::one("availability", "string", "Cluster Volume availability").refused(),
    Flag::one("group", "string", "Cluster Volume group").refused(),
    Flag::one(
        "limit-bytes",
        "bytes",
        "Minimum size of the Cluster Volume in bytes",
    )
    .refused(),
    Flag::one(
        "required-bytes",
        "bytes",
        "Maximum size of the Cluster Volume in bytes",
    )
    .refused(),
    Flag::one("scope", "string", "Cluster Volume access scope").refused(),
    Flag::list("secret", "map", "Cluster Volume secrets").refused(),
    Flag::one("sharing", "string", "Cluster Volume access sharing").refused(),
    Flag::list(
        "topology-preferred",
        "list",
        "A topology that the Cluster Volume would be preferred in",
    )
    .refused(),
    Flag::list(
        "topology-required",
        "list",
        "A topology that the Cluster Volume must be accessible from",
    )
    .refused(),
    Flag::one("type", "string", "Cluster Volume access type").refused(),
];

pub(super) static VOLUME_CREATE: Verb = verb(
    &["volume create"],
    "[OPTIONS] [VOLUME]",
    "Create a volume",
    &[CREATE_FLAGS],
    Takes::AtMost(1),
    create_volume,
);

fn create_volume(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let pairs = |name: &str| -> Map<String, Value> {
        let split = |text: &String| {
            text.split_once('=')
                .map_or((text.clone(), Value::from("")), |(key, value)| {
                    (key.to_owned(), value.into())
                })
        };
        parsed.list(name).iter().map(split).collect()
    };
    let name = match (parsed.one("name"), parsed.args.first()) {
        (Some(_), Some(_)) => return Err(Failure::Invalid("conflicting options: cannot specify a volume-name through both --name and as a positional arg".to_owned())),
        (Some(name), None) => name.to_owned(),
        (None, name) => name.cloned().unwrap_or_default(),
    };
    let driver = parsed.one("driver").unwrap_or("local");
    let body = json!({"Name": name, "Driver": driver, "DriverOpts": pairs("opt"), "Labels": pairs("label")});
    let answer = session.post("/volumes/create", Some(&body))?;
    println!("{}", answer["Name"].as_str().unwrap_or_default());
    Ok(0)
}

const RM_FLAGS: &[Flag] =
    &[Flag::switch("force", "Force the removal of one or more volumes").letter('f')];

pub(super) static VOLUME_RM: Verb = verb(
    &["volume rm", "volume remove"],
    "[OPTIONS] VOLUME [VOLUME...]",
    "Remove one or more volumes",
    &[RM_FLAGS],
    Takes::AtLeast(1),
    |session, parsed| {
        super::each::for_each(&parsed.args, |name| {
            if name.trim().is_empty() {
                return Err(Failure::Invalid(
                    "invalid volume name or ID: value is empty".to_owned(),
                ));
            }
            session.delete(
                Query::new(format!("/volumes/{}", encode(name)))
                    .with_switch("force", parsed.switch("force"))
                    .text(),
            )?;
            println!("{name}");
            Ok(())
        })
    },
);

pub(super) static NETWORK_LS: Verb = verb(
    &["network ls", "network list"],
    "[OPTIONS]",
    "List networks",
    &[
        LIST_FLAGS,
        &[Flag::switch("no-trunc", "Do not truncate the output")],
    ],
    Takes::Nothing,
    list_networks,
);

const NETWORK_RM_FLAGS: &[Flag] =
    &[Flag::switch("force", "Do not error if the network does not exist").letter('f')];

pub(super) static NETWORK_RM: Verb = verb(
    &["network rm", "network remove"],
    "NETWORK [NETWORK...]",
    "Remove one or more networks",
    &[NETWORK_RM_FLAGS],
    Takes::AtLeast(1),
    remove_networks,
);

/// Removes one after the other. As in docker what went wrong is told at once.
fn remove_networks(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let mut status = 0;
    for name in &parsed.args {
        let removed = match name.trim() {
            "" => Err(Failure::Invalid(
                "invalid network name or ID: value is empty".to_owned(),
            )),
            name => session.delete(&format!("/networks/{}", encode(name))),
        };
        match removed {
            Ok(_) => println!("{name}"),
            Err(failure) if parsed.switch("force") && failure.status() == Some(404) => {}
            Err(failure @ (Failure::Endpoint(_) | Failure::Plain(_))) => return Err(failure),
            Err(failure) => {
                tell(&failure.to_string());
                status = 1;
            }
        }
    }
    if status != 0 {
        // Docker's client tells it too.
        tell(&format!("exit status {status}"));
    }
    Ok(status)
}

fn list_networks(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    const HEADINGS: &[(&str, &str)] = &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ];
    let query =
        Query::new("/networks").with_some("filters", &super::filters(&parsed.list("filter"))?);
    let answer = session.get(query.text())?;
    let truncate = !parsed.switch("no-trunc");
    let mut networks: Vec<_> = answer.as_array().cloned().unwrap_or_default();
    networks.sort_by(|one, other| one["Name"].as_str().cmp(&other["Name"].as_str()));
    let rows: Vec<_> = networks
        .iter()
        .map(|network| network_row(network, truncate))
        .collect();
    let format = super::format(session, parsed, "networksFormat")?;
    let list = List {
        kind: &Type::Row("*network.networkContext"),
        headings: HEADINGS,
        table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        quiet: "ID",
        raw: &[
            ("network_id", "ID"),
            ("name", "Name"),
            ("driver", "Driver"),
            ("scope", "Scope"),
        ],
    };
    list.print(&rows, &format, parsed.switch("quiet"))?;
    Ok(0)
}

fn network_row(network: &Value, truncate: bool) -> Value {
    let labels = network["Labels"].as_object().cloned().unwrap_or_default();
    let switch = |name: &str| (network[name] == true).to_string();
    let created = network["Created"].as_str().unwrap_or_default();
    json!({
        "ID": super::short(network["Id"].as_str().unwrap_or_default(), truncate),
        "Name": network["Name"],
        "Driver": network["Driver"],
        "Scope": network["Scope"],
        "IPv4": switch("EnableIPv4"),
        "IPv6": switch("EnableIPv6"),
        "Internal": switch("Internal"),
        "Labels": super::labels(&labels),
        "CreatedAt": created.replace('T', " ").replace('Z', " +0000 UTC"),
        LABELS: labels,
    })
}

//! `system df`.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::session::Session;
use crate::table::{List, columns};
use crate::template::{self, LABELS, Template};
use crate::units;
use crate::verb::{Takes, Verb};

const DF_FLAGS: &[Flag] = &[
    Flag::one(
        "format",
        "string",
        "Format output: 'table', 'table TEMPLATE', 'json' or a Go template",
    ),
    Flag::switch("verbose", "Show detailed information on space usage").letter('v'),
];

pub(super) static DF: Verb = Verb {
    paths: &["system df"],
    usage: "[OPTIONS]",
    about: "Show disk usage",
    flags: &[DF_FLAGS],
    interspersed: true,
    takes: Takes::Nothing,
    run: df,
};

fn df(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let answer = session.get("/system/df?verbose=1")?;
    let format = parsed.one("format").unwrap_or_default();
    if parsed.switch("verbose") && format != "raw" {
        if matches!(format, "" | "table") {
            print!("{}", tables(&verbose(&answer, true)));
        } else {
            print!("{}", formatted(&verbose(&answer, false), format)?);
        }
        return Ok(0);
    }
    const HEADINGS: &[(&str, &str)] = &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ];
    let kinds = [
        ("Images", "ImageUsage"),
        ("Containers", "ContainerUsage"),
        ("Local Volumes", "VolumeUsage"),
        ("Build Cache", "BuildCacheUsage"),
    ];
    let rows: Vec<_> = kinds
        .iter()
        .map(|(name, field)| df_row(name, &answer[*field]))
        .collect();
    let table = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
    List {
        kind: &template::Type::Row("*formatter.diskUsageImagesContext"),
        headings: HEADINGS,
        table,
        quiet: "Type",
        raw: &[
            ("type", "Type"),
            ("total", "TotalCount"),
            ("active", "Active"),
            ("size", "Size"),
            ("reclaimable", "Reclaimable"),
        ],
    }
    .print(&rows, format, false)?;
    Ok(0)
}

fn df_row(name: &str, usage: &Value) -> Value {
    let number = |field: &str| usage[field].as_i64().unwrap_or(0).max(0);
    let (total, reclaimable) = (number("TotalSize"), number("Reclaimable"));
    let shown = units::size(reclaimable as f64);
    let percent = if total > 0 {
        format!("{shown} ({}%)", reclaimable * 100 / total)
    } else {
        shown
    };
    json!({
        "Type": name,
        "TotalCount": number("TotalCount").to_string(),
        "Active": number("ActiveCount").to_string(),
        "Size": units::size(total as f64),
        "Reclaimable": if name == "Build Cache" { units::size(reclaimable as f64) } else { percent },
        LABELS: {},
    })
}

/// Every object with its size, as rows of the lists that show them.
fn verbose(answer: &Value, truncate: bool) -> Value {
    let items = |field: &str| {
        answer[field]["Items"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let images: Vec<_> = items("ImageUsage")
        .iter()
        // An image takes its room once, whatever names it has.
        .filter_map(|image| {
            let rows = super::images::rows(image, truncate, false);
            let mut row = rows.into_iter().next()?;
            // Docker does not look at digests here.
            row["Digest"] = "".into();
            Some(row)
        })
        .collect();
    let containers: Vec<_> = items("ContainerUsage")
        .into_iter()
        .map(|mut container| {
            // Its image's size stands with the image.
            container["SizeRootFs"] = Value::Null;
            super::ps::row(&container, truncate)
        })
        .collect();
    let volumes: Vec<_> = items("VolumeUsage")
        .iter()
        .map(super::volumes::volume_row)
        .collect();
    json!({"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": []})
}

/// The tables of `-v`.
fn tables(all: &Value) -> String {
    let section = |title: &str, heading: &str, field: &str, names: &[&str]| {
        let mut lines = vec![heading.to_owned()];
        for row in all[field].as_array().into_iter().flatten() {
            let cells: Vec<_> = names
                .iter()
                .map(|name| row[*name].as_str().unwrap_or_default())
                .collect();
            lines.push(cells.join("\t"));
        }
        format!("{title}\n\n{}", columns(&lines))
    };
    let sections = [
        section(
            "Images space usage:",
            "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\tSHARED SIZE\tUNIQUE SIZE\tCONTAINERS",
            "Images",
            &[
                "Repository",
                "Tag",
                "ID",
                "CreatedSince",
                "Size",
                "SharedSize",
                "UniqueSize",
                "Containers",
            ],
        ),
        section(
            "Containers space usage:",
            "CONTAINER ID\tIMAGE\tCOMMAND\tLOCAL VOLUMES\tSIZE\tCREATED\tSTATUS\tNAMES",
            "Containers",
            &[
                "ID",
                "Image",
                "Command",
                "LocalVolumes",
                "Size",
                "RunningFor",
                "Status",
                "Names",
            ],
        ),
        section(
            "Local Volumes space usage:",
            "VOLUME NAME\tLINKS\tSIZE",
            "Volumes",
            &["Name", "Links", "Size"],
        ),
        section(
            "Build cache usage: 0B",
            "CACHE ID\tCACHE TYPE\tSIZE\tCREATED\tLAST USED\tUSAGE\tSHARED",
            "BuildCache",
            &[],
        ),
    ];
    sections.join("\n")
}

/// All of them, with a list of rows for each kind.
static WHOLE: template::Type = template::Type::Row("*formatter.diskUsageContext");

/// The same as one document, for a template or as it is.
fn formatted(all: &Value, format: &str) -> Result<String, Failure> {
    let whole = template::Value::row(all, &WHOLE);
    if format == "json" {
        return Ok(whole.to_json());
    }
    let template = format.strip_prefix("table").unwrap_or(format).trim();
    let template = template.replace("\\t", "\t").replace("\\n", "\n");
    let template = Template::parse(&template)
        .map_err(|fault| Failure::Invalid(format!("template parsing error: {fault}")))?;
    template
        .render(&whole, false)
        .map_err(|fault| Failure::Invalid(fault.to_string()))
}

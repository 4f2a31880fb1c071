//! `images`, `rmi`, `tag`, `history`, `image prune`.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode_path};
use crate::session::Session;
use crate::table::List;
use crate::template::{LABELS, Type};
use crate::verb::{Takes, Verb};
use crate::{time, units};

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Show all images (default hides intermediate images)").letter('a'),
    Flag::switch("digests", "Show digests"),
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
    Flag::switch("no-trunc", "Don't truncate output"),
    Flag::switch("quiet", "Only show image IDs").letter('q'),
    Flag::switch("tree", "List multi-platform images as a tree").refused(),
];

pub(super) static IMAGES: Verb = Verb {
    paths: &["images", "image ls", "image list"],
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    flags: &[FLAGS],
    interspersed: true,
    takes: Takes::AtMost(1),
    run: list,
};

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

fn list(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let mut filters = parsed.list("filter");
    let name = parsed.args.first().filter(|name| !name.is_empty());
    filters.extend(name.map(|name| format!("reference={name}")));
    let query = Query::new("/images/json")
        .with_switch("all", parsed.switch("all"))
        .with_some("filters", &super::filters(&filters)?);
    let answer = session.get(query.text())?;
    let truncate = !parsed.switch("no-trunc");
    let digests = parsed.switch("digests");
    let rows: Vec<_> = answer
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|image| rows(image, truncate, digests))
        .collect();
    let digest = if digests { "{{.Digest}}\t" } else { "" };
    let table = format!(
        "{{{{.Repository}}}}\t{{{{.Tag}}}}\t{digest}{{{{.ID}}}}\t{{{{.CreatedSince}}}}\t{{{{.Size}}}}"
    );
    let mut raw = vec![
        ("repository", "Repository"),
        ("tag", "Tag"),
        ("image_id", "ID"),
        ("created_at", "CreatedAt"),
        ("virtual_size", "Size"),
    ];
    if digests {
        raw.insert(2, ("digest", "Digest"));
    }
    let format = super::format(session, parsed, "imagesFormat")?;
    List {
        kind: &Type::Row("*formatter.imageContext"),
        headings: HEADINGS,
        table: &table,
        quiet: "ID",
        raw: &raw,
    }
    .print(&rows, &format, parsed.switch("quiet"))?;
    Ok(0)
}

/// An image's rows: one for each tag, with `digests` for each digest of its repository, and for each repository, or each
/// digest, that has no tag.
pub(super) fn rows(image: &Value, truncate: bool, digests: bool) -> Vec<Value> {
    let texts = |name: &str| {
        image[name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut names: Vec<(String, String, String)> = Vec::new();
    let known: Vec<_> = texts("RepoDigests")
        .iter()
        .filter_map(|name| {
            name.split_once('@')
                .map(|(name, digest)| (name.to_owned(), digest.to_owned()))
        })
        .collect();
    for tag in texts("RepoTags") {
        let (repository, tag) = tag
            .rsplit_once(':')
            .map_or((tag.clone(), "<none>".to_owned()), |(name, tag)| {
                (name.to_owned(), tag.to_owned())
            });
        let mut own = known
            .iter()
            .filter(|(name, _)| *name == repository)
            .map(|(_, digest)| digest.clone())
            .collect::<Vec<_>>();
        if own.is_empty() {
            own.push("<none>".to_owned());
        }
        if !digests {
            own.truncate(1);
        }
        names.extend(
            own.into_iter()
                .map(|digest| (repository.clone(), tag.clone(), digest)),
        );
    }
    let tagged = names.len();
    for (repository, digest) in known {
        let is_of = |(name, _, _): &(String, String, String)| *name == repository;
        let told = if digests { tagged } else { names.len() };
        if !names[..told].iter().any(is_of) {
            names.push((repository, "<none>".to_owned(), digest));
        }
    }
    if names.is_empty() {
        names.push((
            "<none>".to_owned(),
            "<none>".to_owned(),
            "<none>".to_owned(),
        ));
    }
    let created = image["Created"].as_i64().unwrap_or(0);
    let since = match created {
        // Go's way to write that there is no time.
        ..=-62_135_596_800 => "N/A".to_owned(),
        created => format!("{} ago", units::duration(time::now() - created)),
    };
    let size = image["Size"].as_f64().unwrap_or(0.0);
    let known_number = |name: &str| image[name].as_i64().filter(|number| *number >= 0);
    let id = image["Id"].as_str().unwrap_or_default();
    names
        .into_iter()
        .map(|(repository, tag, digest)| {
            json!({
                "ID": super::short(id, truncate),
                "Repository": repository,
                "Tag": tag,
                "Digest": digest,
                "CreatedSince": since,
                "CreatedAt": time::go(created),
                "Size": units::size_with(size, 3),
                "VirtualSize": units::size(size),
                "Containers": known_number("Containers").map_or("N/A".to_owned(), |number| number.to_string()),
                "SharedSize": known_number("SharedSize").map_or("N/A".to_owned(), |size| units::size(size as f64)),
                "UniqueSize": known_number("SharedSize").map_or("N/A".to_owned(), |shared| units::size(size - shared as f64)),
                LABELS: image["Labels"].clone(),
            })
        })
        .collect()
}

const RMI_FLAGS: &[Flag] = &[
    Flag::switch("force", "Force removal of the image").letter('f'),
    Flag::switch("no-prune", "Do not delete untagged parents"),
    Flag::list(
        "platform",
        "strings",
        "Remove the image only if it is for this platform",
    ),
];

pub(super) static RMI: Verb = Verb {
    paths: &["rmi", "image rm", "image remove"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    flags: &[RMI_FLAGS],
    interspersed: true,
    takes: Takes::AtLeast(1),
    run: remove,
};

fn remove(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let force = parsed.switch("force");
    let platforms = parsed.list("platform");
    let platforms = platforms.iter().flat_map(|text| text.split(','));
    let platforms = platforms
        .filter(|text| !text.is_empty())
        .map(super::platform_document)
        .collect::<Result<Vec<_>, _>>()?;
    super::each::for_each(&parsed.args, |name| {
        let query = Query::new(format!("/images/{}", encode_path(name)))
            .with_switch("force", force)
            .with_switch("noprune", parsed.switch("no-prune"));
        let query = platforms
            .iter()
            .fold(query, |query, platform| query.with("platforms", platform));
        match session.delete(query.text()) {
            Ok(answer) => {
                print!("{}", deleted(&answer));
                Ok(())
            }
            Err(failure) if force && failure.status() == Some(404) => {
                crate::session::tell(&failure.to_string());
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    })
}

fn deleted(list: &Value) -> String {
    let line = |one: &Value| match (one["Deleted"].as_str(), one["Untagged"].as_str()) {
        (Some(id), _) => format!("Deleted: {id}\n"),
        (None, Some(name)) => format!("Untagged: {name}\n"),
        (None, None) => String::new(),
    };
    list.as_array().into_iter().flatten().map(line).collect()
}

pub(super) static TAG: Verb = Verb {
    paths: &["tag", "image tag"],
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    flags: &[],
    interspersed: false,
    takes: Takes::Exactly(2),
    run: tag,
};

fn tag(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let [source, target] = parsed.args.as_slice() else {
        return Ok(1);
    };
    types::Reference::parse_normalized(source).map_err(|error| {
        Failure::Invalid(format!(
            "Error parsing reference: {source:?} is not a valid repository/tag: {error}"
        ))
    })?;
    let reference = types::Reference::parse_normalized(target).map_err(|error| {
        Failure::Invalid(format!(
            "Error parsing reference: {target:?} is not a valid repository/tag: {error}"
        ))
    })?;
    if reference.digest().is_some() {
        return Err(Failure::Invalid(
            "refusing to create a tag with a digest reference".to_owned(),
        ));
    }
    let reference = reference.with_default_tag();
    let query = Query::new(format!("/images/{}/tag", encode_path(source)))
        .with("repo", &reference.without_tag().familiar())
        .with("tag", reference.tag().unwrap_or("latest"));
    session.post(query.text(), None)?;
    Ok(0)
}

const HISTORY_FLAGS: &[Flag] = &[
    Flag::one(
        "format",
        "string",
        "Format output: 'table', 'table TEMPLATE', 'json' or a Go template",
    ),
    Flag::switch(
        "human",
        "Print sizes and dates in human readable format (default true)",
    )
    .letter('H'),
    Flag::switch("no-trunc", "Don't truncate output"),
    Flag::one("platform", "string", "Show history for the given platform"),
    Flag::switch("quiet", "Only show image IDs").letter('q'),
];

pub(super) static HISTORY: Verb = Verb {
    paths: &["history", "image history"],
    usage: "[OPTIONS] IMAGE",
    about: "Show the history of an image",
    flags: &[HISTORY_FLAGS],
    interspersed: true,
    takes: Takes::Exactly(1),
    run: history,
};

fn history(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let human = parsed.one("human") != Some("false");
    let truncate = !parsed.switch("no-trunc");
    let mut query = Query::new(format!("/images/{}/history", encode_path(&parsed.args[0])));
    for platform in super::platform_documents(parsed)? {
        query = query.with("platform", &platform);
    }
    let answer = session.get(query.text())?;
    let rows: Vec<_> = answer
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            let created = one["Created"].as_i64().unwrap_or(0);
            let by = one["CreatedBy"]
                .as_str()
                .unwrap_or_default()
                .replace('\t', " ");
            let size = one["Size"].as_f64().unwrap_or(0.0);
            json!({
                "ID": super::short(one["Id"].as_str().unwrap_or_default(), truncate),
                "CreatedSince": if human { time::ago(created) } else { time::rfc3339(created) },
                "CreatedAt": time::rfc3339(created),
                "CreatedBy": if truncate { super::ellipsis(&by, 45) } else { by },
                "Size": if human { units::size_with(size, 3) } else { format!("{size}") },
                "Comment": one["Comment"],
                LABELS: {},
            })
        })
        .collect();
    let created = if human { "CREATED" } else { "CREATED AT" };
    let headings = [
        ("ID", "IMAGE"),
        ("CreatedSince", created),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ];
    let table = "{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{end}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
    List {
        kind: &Type::Row("*image.historyContext"),
        headings: &headings,
        table,
        quiet: "ID",
        raw: &[],
    }
    .print(
        &rows,
        parsed.one("format").unwrap_or_default(),
        parsed.switch("quiet"),
    )?;
    Ok(0)
}

/// The lines of an image prune's answer.
pub(super) fn pruned(answer: &Value) -> String {
    // Docker writes them with small letters here.
    deleted(&answer["ImagesDeleted"])
        .split_inclusive('\n')
        .map(|line| {
            let (what, name) = line.split_once(':').unwrap_or((line, ""));
            format!("{}:{name}", what.to_lowercase())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_digest_of_a_tag_has_a_row_where_digests_are_shown() {
        let image = json!({
            "Id": "sha256:00",
            "RepoTags": ["a:1", "a:2", "b:1"],
            "RepoDigests": ["a@sha256:x", "a@sha256:y", "c@sha256:z"],
        });
        let shown = |digests| {
            let row = |row: &Value| {
                ["Repository", "Tag", "Digest"]
                    .map(|name| row[name].as_str().unwrap_or("").to_owned())
            };
            let rows: Vec<_> = rows(&image, true, digests).iter().map(row).collect();
            rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>()
        };
        let all = [
            "a 1 sha256:x",
            "a 1 sha256:y",
            "a 2 sha256:x",
            "a 2 sha256:y",
            "b 1 <none>",
            "c <none> sha256:z",
        ];
        assert_eq!(shown(true), all);
        assert_eq!(shown(false).len(), 4, "{:?}", shown(false));
    }
}

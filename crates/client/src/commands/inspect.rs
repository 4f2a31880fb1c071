//! `inspect`, and its siblings for one kind of object; `port`.

use serde::Serialize;
use serde_json::Value;

use super::each::not_empty;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode, encode_path};
use crate::session::{SHAPE_VERSION, Session, tell};
use crate::template::{self, Fault, Template, schema};
use crate::verb::{Takes, Verb};

const FORMAT: Flag =
    Flag::one("format", "string", "Format output: 'json' or a Go template").letter('f');
const SIZE: Flag = Flag::switch("size", "Display total file sizes").letter('s');

/// A kind of object: its name, where it is found, and what its 404 says.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    prefix: &'static str,
    suffix: &'static str,
    /// What docker's client reads it into.
    structure: &'static template::Type,
}

const CONTAINER: Kind = Kind {
    name: "container",
    prefix: "/containers/",
    suffix: "/json",
    structure: &schema::container::INSPECT,
};
const IMAGE: Kind = Kind {
    name: "image",
    prefix: "/images/",
    suffix: "/json",
    structure: &schema::image::INSPECT,
};
const NETWORK: Kind = Kind {
    name: "network",
    prefix: "/networks/",
    suffix: "",
    structure: &schema::network::INSPECT,
};
const VOLUME: Kind = Kind {
    name: "volume",
    prefix: "/volumes/",
    suffix: "",
    structure: &schema::volume::VOLUME,
};
/// In the order in which `inspect` tries them.
const KINDS: [Kind; 4] = [CONTAINER, IMAGE, NETWORK, VOLUME];

/// Kinds that this engine has nothing of: it is asked all the same, and says so.
const OTHERS: [Kind; 6] = [
    other("config", "/configs/", ""),
    other("node", "/nodes/", ""),
    other("plugin", "/plugins/", "/json"),
    other("secret", "/secrets/", ""),
    other("service", "/services/", ""),
    other("task", "/tasks/", ""),
];

const fn other(name: &'static str, prefix: &'static str, suffix: &'static str) -> Kind {
    Kind {
        name,
        prefix,
        suffix,
        structure: &template::ANY_MAP,
    }
}

const fn verb(
    paths: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    flags: &'static [&'static [Flag]],
    run: fn(&Session, &Parsed) -> Result<u8, Failure>,
) -> Verb {
    Verb {
        paths,
        usage,
        about,
        flags,
        interspersed: true,
        takes: Takes::AtLeast(1),
        run,
    }
}

pub(super) static INSPECT: Verb = verb(
    &["inspect"],
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on the engine's objects",
    &[&[
        FORMAT,
        SIZE,
        Flag::one("type", "string", "Only inspect objects of the given type"),
    ]],
    any,
);

pub(super) static CONTAINER_INSPECT: Verb = verb(
    &["container inspect"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Display detailed information on one or more containers",
    &[&[FORMAT, SIZE]],
    |session, parsed| inspect(session, parsed, &[CONTAINER]),
);

pub(super) static IMAGE_INSPECT: Verb = verb(
    &["image inspect"],
    "[OPTIONS] IMAGE [IMAGE...]",
    "Display detailed information on one or more images",
    &[&[
        FORMAT,
        Flag::one(
            "platform",
            "string",
            "Inspect a specific platform of the image",
        ),
    ]],
    |session, parsed| inspect(session, parsed, &[IMAGE]),
);

pub(super) static NETWORK_INSPECT: Verb = verb(
    &["network inspect"],
    "[OPTIONS] NETWORK [NETWORK...]",
    "Display detailed information on one or more networks",
    &[&[
        FORMAT,
        Flag::switch("verbose", "Verbose output for diagnostics").letter('v'),
    ]],
    |session, parsed| inspect(session, parsed, &[NETWORK]),
);

pub(super) static VOLUME_INSPECT: Verb = verb(
    &["volume inspect"],
    "[OPTIONS] VOLUME [VOLUME...]",
    "Display detailed information on one or more volumes",
    &[&[FORMAT]],
    // Docker's client keeps no answer as it came of these.
    |session, parsed| with_raw(session, parsed, &[VOLUME], false),
);

fn any(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let Some(name) = parsed.one("type") else {
        return inspect(session, parsed, &KINDS);
    };
    match KINDS.iter().chain(&OTHERS).find(|kind| kind.name == name) {
        Some(kind) => inspect(session, parsed, &[*kind]),
        None => {
            let what = if name.is_empty() {
                "type is empty".to_owned()
            } else {
                format!("unknown type: {name:?}")
            };
            Err(Failure::Invalid(format!(
                "{what}: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\""
            )))
        }
    }
}

fn inspect(session: &Session, parsed: &Parsed, kinds: &[Kind]) -> Result<u8, Failure> {
    with_raw(session, parsed, kinds, true)
}

fn with_raw(
    session: &Session,
    parsed: &Parsed,
    kinds: &[Kind],
    has_raw: bool,
) -> Result<u8, Failure> {
    let format = parsed.one("format").unwrap_or_default();
    let mut template = match format {
        "" | "json" => None,
        text => Some(Shown {
            template: Template::parse(text)
                .map_err(|fault| Failure::Template(format!("template parsing error: {fault}")))?,
            has_raw,
            strict: false,
            text: String::new(),
        }),
    };
    let platform = match parsed.one("platform") {
        Some(text) if !text.is_empty() => super::platform_document(text)?,
        _ => String::new(),
    };
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in &parsed.args {
        match (
            find(session, name, kinds, (parsed.switch("size"), &platform)),
            &mut template,
        ) {
            (Ok((kind, object)), Some(template)) => {
                failures.extend(template.add(kind, &object).err());
            }
            (Ok((_, object)), None) => found.push(object),
            (Err(failure @ Failure::Endpoint(_)), _) => return Err(failure),
            (Err(failure), _) => failures.push(failure),
        }
    }
    match template {
        // Docker ends the line all the same.
        Some(shown) if shown.text.is_empty() => println!(),
        Some(shown) => print!("{}", shown.text),
        None if format == "json" => println!("{}", Value::Array(found)),
        None => println!("{}", indented(&Value::Array(found))?),
    }
    let last = failures.pop();
    failures
        .iter()
        .for_each(|failure| tell(&failure.to_string()));
    last.map_or(Ok(0), Err)
}

/// Objects as a template shows them.
struct Shown {
    template: Template,
    /// Whether a template that does not fit the structure is applied to the answer as it came.
    has_raw: bool,
    /// Whether that was done already: from then on, a key that is not there is a fault everywhere.
    strict: bool,
    text: String,
}

impl Shown {
    /// Adds an object, on a line of its own.
    fn add(&mut self, kind: Kind, object: &Value) -> Result<(), Failure> {
        let typed = template::Value::read(object, kind.structure);
        let told = |fault: Fault| Failure::Invalid(format!("template parsing error: {fault}"));
        let text = match self.template.render(&typed, self.strict) {
            Err(_) if self.has_raw => {
                self.strict = true;
                self.template.render_raw(object)
            }
            rendered => rendered,
        };
        self.text.push_str(&text.map_err(told)?);
        self.text.push('\n');
        Ok(())
    }
}

/// JSON as docker indents it: four spaces, and `[]` for an empty list.
fn indented(value: &Value) -> Result<String, Failure> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value
        .serialize(&mut serializer)
        .map_err(|error| Failure::Invalid(error.to_string()))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Looks a name up among kinds, in their order.
///
/// Docker's users read containers and images in the shape that docker 28 knows, in which `.NetworkSettings.IPAddress`
/// and much else still stands: that version of the API is asked.
fn find(
    session: &Session,
    name: &str,
    kinds: &[Kind],
    (size, platform): (bool, &str),
) -> Result<(Kind, Value), Failure> {
    if name.trim().is_empty() {
        let kind = kinds.first().map_or("container", |kind| kind.name);
        return Err(Failure::Invalid(format!(
            "invalid {kind} name or ID: value is empty"
        )));
    }
    for kind in kinds {
        let part = if kind.name == "image" {
            encode_path(name)
        } else {
            encode(name)
        };
        let query = Query::new(format!("{}{part}{}", kind.prefix, kind.suffix))
            .with_switch("size", size && kind.name == "container")
            .with_some("platform", platform);
        match session.get_as(SHAPE_VERSION, query.text()) {
            // What can not be the name of such an object is not one: the next kind may know it.
            Err(failure) if kinds.len() > 1 && matches!(failure.status(), Some(400 | 404)) => {}
            Ok(object) => {
                if size && kind.name != "container" {
                    tell(&format!("WARNING: --size ignored for {}", kind.name));
                }
                return Ok((*kind, object));
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Invalid(format!("Error: No such object: {name}")))
}

pub(super) static PORT: Verb = Verb {
    paths: &["port", "container port"],
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings or a specific mapping for the container",
    flags: &[],
    interspersed: true,
    takes: Takes::Between(1, 2),
    run: port,
};

fn port(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = &parsed.args[0];
    let inspect = session.get(&format!("/containers/{}/json", encode(not_empty(name)?)))?;
    let bindings = |list: &Value| -> Vec<String> {
        let shown = |one: &Value| {
            let (ip, port) = (
                one["HostIp"].as_str().unwrap_or_default(),
                one["HostPort"].as_str().unwrap_or_default(),
            );
            if ip.contains(':') {
                format!("[{ip}]:{port}")
            } else {
                format!("{ip}:{port}")
            }
        };
        list.as_array().into_iter().flatten().map(shown).collect()
    };
    let ports = &inspect["NetworkSettings"]["Ports"];
    let mut lines = Vec::new();
    if let Some(wanted) = parsed.args.get(1) {
        let (port, protocol) = wanted.split_once('/').unwrap_or((wanted, ""));
        if port.parse::<u16>().is_err() {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let why = if digits {
                "value out of range"
            } else {
                "invalid syntax"
            };
            return Err(Failure::Invalid(format!(
                "Error: invalid port ({port}): strconv.ParseUint: parsing {port:?}: {why}"
            )));
        }
        let protocol = if protocol.is_empty() { "tcp" } else { protocol };
        lines.extend(bindings(&ports[format!("{port}/{protocol}")]));
        if lines.is_empty() {
            return Err(Failure::Invalid(format!(
                "Error: No public port '{wanted}' published for {name}"
            )));
        }
    }
    let all = ports.as_object().into_iter().flatten();
    for (key, list) in all.filter(|_| parsed.args.len() == 1) {
        let shown = bindings(list).into_iter();
        lines.extend(shown.map(|binding| format!("{key} -> {binding}")));
    }
    lines.sort_by(|one, other| super::natural(one, other));
    lines.iter().for_each(|line| println!("{line}"));
    Ok(0)
}

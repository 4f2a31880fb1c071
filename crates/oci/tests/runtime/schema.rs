//! Every field of the published schema of configurations in turn: of wrong types, out of its range, with a word that is none,
//! or left out where it has to be there. Each gives one line that names it, and leaves nothing.

use std::collections::BTreeMap;
use std::fs;

use rustix::fs::{CWD, FileType, Mode};
use serde_json::{Map, Value, json};

use crate::support::Bundle;

/// A file of the schema, by its name.
macro_rules! file {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../../tests/data/runtime-spec-1.3.0/", $name)),
        )
    };
}

/// The schema's files, the one that the others are referred to from first.
const FILES: [(&str, &str); 4] = [
    file!("config-schema.json"),
    file!("config-linux.json"),
    file!("defs.json"),
    file!("defs-linux.json"),
];

/// Not the concern of a runtime for Linux: passed over, as the specification wants it of what it does not know.
const OTHERS: [&str; 6] = [
    "solaris",
    "windows",
    "zos",
    "freebsd",
    "vm",
    "process.commandLine",
];

/// Fields that may be left out though the schema says that they have to be there, with the reason.
const OPTIONAL: [(&str, &str); 1] = [(
    "linux.resources.pids.limit",
    "the specification's own Go structures leave it out for no limit",
)];

/// Fields with more values than the schema says, with the reason.
const WIDER: [(&str, &str); 1] = [(
    "linux.devices[0].fileMode",
    "engines take it from stat(2), with the bits that tell the file's kind",
)];

/// How many fields there are: a walk that goes astray finds fewer.
const FIELDS: usize = 150;

struct Schema {
    files: BTreeMap<&'static str, Value>,
}

/// A field, its schema, and those of what is around it.
struct Field {
    /// As messages write it: `a.b[0].c`.
    name: String,
    steps: Vec<Step>,
    node: Value,
}

#[derive(Clone)]
enum Step {
    Key(String),
    First,
}

impl Schema {
    fn read() -> Self {
        let read = |(name, text)| (name, serde_json::from_str(text).unwrap());
        Self {
            files: FILES.map(read).into_iter().collect(),
        }
    }

    /// A node with what it refers to, and all parts of it, in one; references in it name their file.
    fn whole(&self, file: &str, node: &Value) -> Value {
        let mut whole = Map::new();
        let mut add = |part: Value| {
            for (key, value) in part.as_object().unwrap() {
                match (whole.get_mut(key), value) {
                    (Some(Value::Object(known)), Value::Object(more)) => {
                        known.extend(more.clone());
                    }
                    (Some(Value::Array(known)), Value::Array(more)) => {
                        known.extend(more.iter().cloned());
                    }
                    _ => {
                        whole.insert(key.clone(), value.clone());
                    }
                }
            }
        };
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            let (named, pointer) = reference.split_once('#').unwrap();
            let named = if named.is_empty() { file } else { named };
            let target = self.files[named].pointer(pointer).unwrap();
            add(self.whole(named, target));
        }
        for list in ["allOf", "anyOf"] {
            for part in node
                .get(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                add(self.whole(file, part));
            }
        }
        let mut own = node.clone();
        for word in ["$ref", "allOf", "anyOf"] {
            own.as_object_mut().unwrap().remove(word);
        }
        absolute(&mut own, file);
        add(own);
        Value::Object(whole)
    }

    /// All fields below a node.
    fn fields(&self, name: &str, steps: &[Step], node: &Value, found: &mut Vec<Field>) {
        let mut go = |key: &str, child: &Value| {
            let name = match name {
                "" => key.to_owned(),
                name => format!("{name}.{key}"),
            };
            if OTHERS.contains(&name.as_str()) {
                return;
            }
            self.descend(name, steps, Step::Key(key.to_owned()), child, found);
        };
        for (key, child) in node["properties"].as_object().into_iter().flatten() {
            go(key, child);
        }
        // A key that nobody uses otherwise.
        if let Some(child @ Value::Object(_)) = node.get("additionalProperties") {
            go("some", child);
        }
        for (_, child) in node["patternProperties"].as_object().into_iter().flatten() {
            go("some", child);
        }
        if let Some(child) = node.get("items") {
            self.descend(format!("{name}[0]"), steps, Step::First, child, found);
        }
    }

    fn descend(
        &self,
        name: String,
        above: &[Step],
        step: Step,
        child: &Value,
        found: &mut Vec<Field>,
    ) {
        // References were made absolute.
        let node = self.whole("", child);
        let steps = [above, &[step]].concat();
        self.fields(&name, &steps, &node, found);
        found.push(Field { name, steps, node });
    }

    /// Something that the schema takes, with nothing in it but what has to be there.
    fn sample(&self, node: &Value) -> Value {
        let node = self.whole("", node);
        if let Some(words) = node["enum"].as_array() {
            return words[0].clone();
        }
        match node["type"].as_str().unwrap() {
            "object" => {
                let needed = node["required"].as_array().into_iter().flatten();
                let pair = |key: &Value| {
                    let key = key.as_str().unwrap().to_owned();
                    let value = self.sample(&node["properties"][&key]);
                    (key, value)
                };
                Value::Object(needed.map(pair).collect())
            }
            "array" => json!([]),
            "string" => json!(match node["pattern"].as_str() {
                Some("^[cbup]$") => "c",
                Some("^RLIMIT_[A-Z]+$") => "RLIMIT_CORE",
                Some("^[1-9][0-9]*[KMG]B$") => "2MB",
                _ => "/some",
            }),
            "boolean" => json!(true),
            "integer" => json!(1),
            other => panic!("{other}"),
        }
    }

    /// Puts a value at a field, with what has to be around it.
    fn put(&self, at: &mut Value, node: &Value, steps: &[Step], value: Value) {
        let node = self.whole("", node);
        let Some((step, rest)) = steps.split_first() else {
            *at = value;
            return;
        };
        let (next, child) = match step {
            Step::First => {
                let child = node["items"].clone();
                *at = json!([self.sample(&child)]);
                (&mut at[0], child)
            }
            Step::Key(key) => {
                let child = [
                    node["properties"].get(key),
                    node.get("additionalProperties"),
                    node["patternProperties"]
                        .as_object()
                        .and_then(|all| all.values().next()),
                ];
                let child = child.into_iter().flatten().next().unwrap().clone();
                if !at.is_object() {
                    *at = self.sample(&node);
                }
                let fields = at.as_object_mut().unwrap();
                let sample = self.sample(&child);
                (fields.entry(key.clone()).or_insert(sample), child)
            }
        };
        self.put(next, &child, rest, value);
    }
}

/// Lets references name their file.
fn absolute(node: &mut Value, file: &str) {
    match node {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "$ref" && text.starts_with('#') => {
                        *text = format!("{file}{text}");
                    }
                    other => absolute(other, file),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| absolute(item, file)),
        _ => {}
    }
}

/// Values that are not of the field's kind.
fn wrong(field: &Field) -> Vec<Value> {
    let wider = WIDER.iter().any(|(name, _)| *name == field.name);
    let node = &field.node;
    if node["enum"].is_array() {
        return vec![json!(NO_WORD), json!(1), json!({}), json!([])];
    }
    match node["type"].as_str().unwrap() {
        "object" => vec![json!("x"), json!(1), json!([]), json!(true)],
        "array" => vec![json!("x"), json!(1), json!({}), json!(true)],
        "string" => vec![json!(1), json!({}), json!([]), json!(true)],
        "boolean" => vec![json!("true"), json!(1), json!({}), json!([])],
        "integer" => {
            let mut values = vec![json!("1"), json!(1.5), json!({}), json!([]), json!(true)];
            if let Some(most) = node["maximum"].as_u64().filter(|_| !wider) {
                values.push(match most.checked_add(1) {
                    Some(more) => json!(more),
                    None => json!(1e20),
                });
            }
            if let Some(least) = node["minimum"].as_i64() {
                values.push(match least.checked_sub(1) {
                    Some(less) => json!(less),
                    None => json!(-1e20),
                });
            }
            values
        }
        other => panic!("{other}"),
    }
}

/// The fields, and what they are in.
fn all() -> (Schema, Value, Vec<Field>) {
    let schema = Schema::read();
    let top = schema.whole(FILES[0].0, &schema.files[FILES[0].0]);
    let mut fields = Vec::new();
    schema.fields("", &[], &top, &mut fields);
    assert!(fields.len() >= FIELDS, "{} fields", fields.len());
    for name in OTHERS {
        let known = top["properties"].get(name).is_some();
        assert!(known || name.contains('.'), "{name}");
    }
    for (name, _) in OPTIONAL.iter().chain(&WIDER) {
        assert!(fields.iter().any(|field| field.name == *name), "{name}");
    }
    (schema, top, fields)
}

/// A word that means nothing anywhere.
const NO_WORD: &str = "NO_SUCH_WORD";

/// What messages have of a field's name: a profile of system calls is told apart from the rest of the file, and of a list
/// of words the one that is none.
fn parts<'a>(name: &'a str, value: &Value) -> Vec<&'a str> {
    let unknown = value == NO_WORD;
    match name.strip_prefix("linux.seccomp.") {
        Some(_) if unknown => vec!["linux.seccomp", NO_WORD],
        Some(within) => vec!["linux.seccomp", within],
        None if unknown => vec![name.trim_end_matches("[0]"), NO_WORD],
        None => vec![name],
    }
}

#[test]
fn every_field_of_a_wrong_kind_is_named() {
    let (schema, top, fields) = all();
    let mut bundle = Bundle::new("true");
    let plain = bundle.config.clone();
    let (mut tried, mut objections) = (0, Vec::new());
    for field in &fields {
        for value in wrong(field) {
            let about = format!("{} = {value}", field.name);
            bundle.config = plain.clone();
            let words = parts(&field.name, &value);
            schema.put(&mut bundle.config, &top, &field.steps, value);
            let objection = bundle.objection(["run", "create"][tried % 2], &words);
            objections.extend(objection.map(|objection| format!("{about}: {objection}")));
            tried += 1;
        }
    }
    assert!(objections.is_empty(), "{objections:#?}");
    assert!(tried > 4 * FIELDS, "{tried}");
}

#[test]
fn what_has_to_be_there_is_missed() {
    let (schema, top, fields) = all();
    let mut bundle = Bundle::new("true");
    let plain = bundle.config.clone();
    let nodes = fields
        .iter()
        .map(|field| (field.name.as_str(), &field.steps[..], &field.node));
    let (mut tried, mut objections) = (0, Vec::new());
    for (name, steps, node) in nodes.chain([("", &[][..], &top)]) {
        for key in node["required"].as_array().into_iter().flatten() {
            let key = key.as_str().unwrap();
            let of = if name.is_empty() {
                String::new()
            } else {
                format!("{name}.")
            };
            let missing = format!("{of}{key}");
            if OPTIONAL.iter().any(|(name, _)| *name == missing) {
                continue;
            }
            bundle.config = plain.clone();
            // The list around it, if it is in one, is made anew.
            let mut without = if name.is_empty() {
                plain.clone()
            } else {
                schema.sample(node)
            };
            without.as_object_mut().unwrap().remove(key);
            schema.put(&mut bundle.config, &top, steps, without);
            // The words for an empty working folder are runc's.
            let names = if missing == "process.cwd" {
                vec!["Cwd"]
            } else {
                vec![key]
            };
            let objection = bundle.objection("run", &names);
            objections.extend(objection.map(|objection| format!("{missing}: {objection}")));
            tried += 1;
        }
    }
    assert!(objections.is_empty(), "{objections:#?}");
    assert!(tried >= 30, "{tried}");
}

#[test]
fn a_file_that_ends_too_early_is_refused() {
    let bundle = Bundle::new("true");
    bundle.command(&[]);
    let path = bundle.path("config.json");
    let whole = fs::read(&path).unwrap();
    // Every length of the first part, where all kinds of values are, and then some.
    let lengths = (0..200).chain((200..whole.len()).step_by(whole.len() / 100));
    for length in lengths {
        fs::write(&path, &whole[..length]).unwrap();
        let sentence = bundle.run_as_it_is(&["run", "ID"]).sentence();
        assert!(sentence.contains("config.json: "), "{length}: {sentence}");
    }
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn what_is_no_file_of_text_is_refused() {
    let bundle = Bundle::new("true");
    let path = bundle.path("config.json");
    let told = |words: &str| {
        let sentence = bundle.run_as_it_is(&["run", "ID"]).sentence();
        assert!(sentence.contains(words), "{sentence}");
        assert_eq!(bundle.leftovers(), [""; 0]);
    };
    told("JSON specification file config.json not found");
    fs::create_dir(&path).unwrap();
    told("config.json");
    fs::remove_dir(&path).unwrap();
    // Nobody will ever write to it.
    let (kind, mode) = (FileType::Fifo, Mode::RUSR);
    rustix::fs::mknodat(CWD, &path, kind, mode, 0).unwrap();
    told("config.json: it is no regular file");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    told("config.json: it is no regular file");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("config.json", &path).unwrap();
    told("config.json: ");
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"{\"ociVersion\": \"\xff\"}").unwrap();
    told("UTF-8");
    fs::write(&path, format!("{}{}", "[".repeat(5000), "]".repeat(5000))).unwrap();
    told("config.json");
    let deep = format!("{{\"vm\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    fs::write(&path, deep).unwrap();
    told("recursion limit exceeded");
    let large = fs::File::create(&path).unwrap();
    large.set_len(1 << 30).unwrap();
    told("the limit is");
}

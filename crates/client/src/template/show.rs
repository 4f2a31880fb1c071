//! Values as Go's `%v` and `%s` print them, and `printf`.

use std::fmt::Write;

use serde_json::Value;

/// A width or precision larger than this is cut: it only pads.
const WIDEST: usize = 4096;

/// Maps of Go's; other objects are structures. `Config` is one of either: see [`is_map`].
const MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "AuxiliaryAddresses",
    "Containers",
    "Data",
    "Details",
    "DriverOpts",
    "ExposedPorts",
    "IndexConfigs",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Runtimes",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];
/// What is a pointer in Go; other things that are null are lists and maps.
const POINTERS: &[&str] = &[
    "Health",
    "Healthcheck",
    "Init",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "SizeRootFs",
    "SizeRw",
    "StopTimeout",
    "UsageData",
];

/// Whether a field is none of the value's own.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('\0')
}

/// A value of the API's as Go's `%v` prints the structure that it is read into; `name` is its field's.
pub(super) fn document(value: &Value, name: Option<&str>) -> String {
    match value {
        Value::Null => match name {
            None => "<nil>".to_owned(),
            Some(name) if POINTERS.contains(&name) => "<nil>".to_owned(),
            Some(name) if MAPS.contains(&name) => "map[]".to_owned(),
            Some(_) => "[]".to_owned(),
        },
        Value::Array(list) => {
            let all: Vec<_> = list.iter().map(|one| element(one, name)).collect();
            format!("[{}]", all.join(" "))
        }
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().filter(|(name, _)| !is_hidden(name)).collect();
            if !is_map(value, name) {
                let all: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| document(value, Some(name)))
                    .collect();
                return format!("{{{}}}", all.join(" "));
            }
            fields.sort_by_key(|(name, _)| *name);
            let all: Vec<_> = fields
                .iter()
                // A port that is not published has a list without entries.
                .map(|(name, value)| format!("{name}:{}", document(value, Some("Entry"))))
                .collect();
            format!("map[{}]", all.join(" "))
        }
        other => inner(other),
    }
}

/// Fields, each with what it is when nothing is said of it.
type Fields = &'static [(&'static str, &'static str)];

/// Structures in lists, by the field that holds the list and one that marks them: all their fields in the order of Go's
/// structure, with what each is when the API leaves it out. Where nothing is left out and the API's order is that of the
/// structure, none is needed.
const ELEMENTS: &[(&str, &str, Fields)] = &[
    (
        "Mounts",
        "Destination",
        &[
            ("Type", ""),
            ("Name", ""),
            ("Source", ""),
            ("Destination", ""),
            ("Driver", ""),
            ("Mode", ""),
            ("RW", "false"),
            ("Propagation", ""),
        ],
    ),
    (
        "Config",
        "Subnet",
        &[
            ("Subnet", ""),
            ("IPRange", ""),
            ("Gateway", ""),
            ("AuxiliaryAddresses", "map[]"),
        ],
    ),
];

/// One of a list that is the field `name`.
fn element(value: &Value, name: Option<&str>) -> String {
    let known = ELEMENTS
        .iter()
        .find(|(field, mark, _)| name == Some(field) && value.get(mark).is_some());
    if let Some((.., fields)) = known {
        let shown = |(name, unsaid): &(&str, &str)| match value.get(name) {
            Some(value) => document(value, Some(name)),
            None => (*unsaid).to_owned(),
        };
        let all: Vec<_> = fields.iter().map(shown).collect();
        return format!("{{{}}}", all.join(" "));
    }
    // Limits know how to print themselves.
    if let (Some("Ulimits"), Some(limit), Some(soft), Some(hard)) = (
        name,
        value["Name"].as_str(),
        value["Soft"].as_i64(),
        value["Hard"].as_i64(),
    ) {
        return format!("{limit}={soft}:{hard}");
    }
    document(value, None)
}

fn is_map(value: &Value, name: Option<&str>) -> bool {
    match name {
        // Of a log: options; of a container or an image: a structure.
        Some("Config") => value.get("Env").is_none() && value.get("Image").is_none(),
        Some(name) => MAPS.contains(&name),
        None => false,
    }
}

/// What the function `json` gives.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Object(map) if map.contains_key(super::ORIGINAL) => map[super::ORIGINAL].to_string(),
        Value::Object(map) if map.contains_key(super::LABELS) => crate::table::row(value),
        other => other.to_string(),
    }
}

/// The name of a value's type in Go.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Null => "interface {}",
    }
}

/// A value as `%v` prints it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        other => inner(other),
    }
}

/// The same inside of lists and maps, where nothing is `<nil>`.
fn inner(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(inner).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut rows: Vec<_> = map.iter().filter(|(name, _)| !is_hidden(name)).collect();
            rows.sort_by_key(|(name, _)| *name);
            format!(
                "map[{}]",
                rows.iter()
                    .map(|(name, value)| format!("{name}:{}", inner(value)))
                    .collect::<Vec<_>>()
                    .join(" ")
            )
        }
    }
}

/// One verb of a format: `%-10.3s`.
#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Go's `fmt.Sprintf`, for the verbs that templates use.
pub(super) fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut letters = format.chars().peekable();
    let mut args = args.iter();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = letters.next_if(|letter| "-+0# ".contains(*letter)) {
            verb.minus |= flag == '-';
            verb.plus |= flag == '+';
            verb.zero |= flag == '0';
        }
        verb.width = digits(&mut letters);
        if letters.next_if_eq(&'.').is_some() {
            verb.precision = Some(digits(&mut letters).unwrap_or(0));
        }
        match letters.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(kind) => match args.next() {
                None => drop(write!(out, "%!{kind}(MISSING)")),
                Some(value) => out.push_str(&verb.apply(kind, value)),
            },
        }
    }
    let rest: Vec<_> = args.map(shown).collect();
    if !rest.is_empty() {
        let _ = write!(out, "%!(EXTRA {})", rest.join(", "));
    }
    out
}

fn digits(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut value = None;
    while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
        letters.next();
        value = Some((value.unwrap_or(0) * 10 + digit as usize).min(WIDEST));
    }
    value
}

impl Verb {
    fn apply(&self, kind: char, value: &Value) -> String {
        let text = match (kind, value) {
            ('v', Value::Null) => "<nil>".to_owned(),
            ('s' | 'v', value) => match self.precision {
                Some(precision) if kind == 's' => shown(value).chars().take(precision).collect(),
                _ => shown(value),
            },
            ('q', value) => Value::String(shown(value)).to_string(),
            ('t', Value::Bool(value)) => value.to_string(),
            ('d', Value::Number(number)) if !number.is_f64() => {
                let text = number.to_string();
                if self.plus && !text.starts_with('-') {
                    format!("+{text}")
                } else {
                    text
                }
            }
            ('x', Value::Number(number)) => number
                .as_i64()
                .map_or_else(|| number.to_string(), |number| format!("{number:x}")),
            ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('f', Value::Number(number)) => format!(
                "{:.*}",
                self.precision.unwrap_or(6),
                number.as_f64().unwrap_or(0.0)
            ),
            (kind, Value::Null) => format!("%!{kind}(<nil>)"),
            (kind, value) => format!("%!{kind}({}={})", go_type(value), shown(value)),
        };
        self.pad(text)
    }

    fn pad(&self, text: String) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if missing == 0 {
            return text;
        }
        match (self.minus, self.zero) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => match text.strip_prefix('-') {
                Some(digits) => format!("-{}{digits}", "0".repeat(missing)),
                None => "0".repeat(missing) + &text,
            },
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn structures_in_lists_have_all_their_fields_in_go_s_order() {
        let mounts = json!([
            {"Type": "bind", "Source": "/a", "Destination": "/b", "Mode": "", "RW": true, "Propagation": "rprivate"},
            {"Type": "volume", "Name": "v", "Source": "/v", "Destination": "/c", "Driver": "local", "Mode": "z",
             "RW": false, "Propagation": ""},
        ]);
        let shown = "[{bind  /a /b   true rprivate} {volume v /v /c local z false }]";
        assert_eq!(document(&mounts, Some("Mounts")), shown);
        assert_eq!(
            document(&json!({"Mounts": mounts}), None),
            format!("{{{shown}}}")
        );
        let pools = json!([{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]);
        assert_eq!(
            document(&pools, Some("Config")),
            "[{172.17.0.0/16  172.17.0.1 map[]}]"
        );
        let limits = json!([{"Name": "nofile", "Hard": 200, "Soft": 100}]);
        assert_eq!(document(&limits, Some("Ulimits")), "[nofile=100:200]");
        assert_eq!(document(&json!([]), Some("Mounts")), "[]");
        assert_eq!(
            document(&json!([{"Type": "bind", "Target": "/b"}]), Some("Mounts")),
            "[{bind /b}]"
        );
    }
}

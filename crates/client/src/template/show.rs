//! Values as Go's `%v` and `%s` print them, and `printf`.

use std::fmt::Write;

use serde_json::Value;

/// A width or precision larger than this is cut: it only pads.
const WIDEST: usize = 4096;

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
            let mut rows: Vec<_> = map
                .iter()
                .filter(|(name, _)| name.as_str() != super::LABELS)
                .collect();
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
            (kind, value) => format!("%!{kind}({})", shown(value)),
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

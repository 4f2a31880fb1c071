//! JSON as Go's `encoding/json` lays it out, without a change to what it says.

/// The text in lines, each with `unit` for each depth: `json.Indent`. What is empty stays on its line, and the space at the
/// end.
pub(super) fn indent(json: &str, unit: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut opened = false;
    for token in tokens(json) {
        let closes = matches!(token, "}" | "]");
        if closes {
            depth -= usize::from(depth > 0);
        }
        if opened != closes {
            line(&mut out, depth, unit);
        }
        opened = matches!(token, "{" | "[");
        if opened {
            depth += 1;
        }
        out.push_str(token);
        match token {
            "," => line(&mut out, depth, unit),
            ":" => out.push(' '),
            _ => {}
        }
    }
    out.push_str(&json[json.trim_end().len()..]);
    out
}

fn line(out: &mut String, depth: usize, unit: &str) {
    out.push('\n');
    (0..depth).for_each(|_| out.push_str(unit));
}

/// The text without any space between its parts: `json.Compact`.
pub(super) fn compact(json: &str) -> String {
    tokens(json).collect()
}

/// With what browsers might take for markup escaped, as `json.Marshal` writes it.
pub(super) fn without_markup(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            letter => out.push(letter),
        }
    }
    out
}

/// The parts of a JSON text: brackets, commas, colons, strings, and words and numbers.
fn tokens(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let length = match rest.bytes().next()? {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => string(rest),
            _ => rest
                .find(|letter: char| letter.is_whitespace() || "{}[],:\"".contains(letter))
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        Some(token)
    })
}

/// The length of the string that a text begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Go 1.24 lays it out.
    #[test]
    fn texts_are_laid_out_as_by_go() {
        let text = r#" {"a" : [ ],"b":{ },"c":[1,{"d":"x\"]}, :"}],"e":null}"#;
        assert_eq!(
            indent(text, "\t"),
            "{\n\t\"a\": [],\n\t\"b\": {},\n\t\"c\": [\n\t\t1,\n\t\t{\n\t\t\t\"d\": \"x\\\"]}, :\"\n\t\t}\n\t],\n\t\"e\": null\n}"
        );
        assert_eq!(
            compact(&indent(text, "   ")),
            r#"{"a":[],"b":{},"c":[1,{"d":"x\"]}, :"}],"e":null}"#
        );
        assert_eq!(without_markup("\"a<b>&c\""), "\"a\\u003cb\\u003e\\u0026c\"");
    }
}

//! Texts in the forms that functions of templates give them, and what methods of values tell.

/// Text as HTML shows it.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

/// Text inside of a string of JavaScript.
pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", letter as u32)),
            letter if letter.is_ascii_control() && letter != '\u{7f}' => {
                out.push_str(&format!("\\u{:04X}", letter as u32));
            }
            letter if !letter.is_ascii() && !super::quote::is_shown(letter) => {
                out.push_str(&format!("\\u{:04X}", letter as u32));
            }
            letter => out.push(letter),
        }
    }
    out
}

/// Text as a part of a query.
pub(super) fn url(text: &str) -> String {
    crate::query::encode(text).replace("%20", "+")
}

/// Text with each word's first letter large.
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for letter in text.chars() {
        // Letters of other scripts that are neither letters nor digits separate nothing.
        let in_word = before.is_alphanumeric()
            || before == '_'
            || !(before.is_ascii() || before.is_whitespace());
        if in_word {
            out.push(letter);
        } else {
            out.extend(letter.to_uppercase());
        }
        before = letter;
    }
    out
}

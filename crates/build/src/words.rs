//! Words of an instruction: where they end, and what variables in them stand for.

/// Splits at blanks that are neither in quotes nor behind a backslash. Quotes and backslashes stay.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, letter) if letter.is_whitespace() => {
                if !word.is_empty() {
                    found.push(std::mem::take(&mut word));
                }
                continue;
            }
            // Within single quotes a backslash is one.
            (None | Some('"'), '\\') => {
                word.push(letter);
                word.extend(letters.next());
                continue;
            }
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
        word.push(letter);
    }
    if !word.is_empty() {
        found.push(word);
    }
    found
}

/// Where a variable's value comes from.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The text without its quotes and backslashes, variables replaced: `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`.
/// One that is not set is empty.
///
/// # Errors
/// What is wrong with a variable, or a quote that does not end.
pub fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut quote = None;
    let mut at = 0;
    while at < letters.len() {
        let letter = letters[at];
        at += 1;
        match (quote, letter) {
            (None, '\\') => {
                out.extend(letters.get(at));
                at += 1;
            }
            (Some('"'), '\\') => {
                match letters.get(at) {
                    Some(next @ ('"' | '$' | '\\')) => out.push(*next),
                    Some(next) => out.extend(['\\', *next]),
                    None => out.push('\\'),
                }
                at += 1;
            }
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None | Some('"'), '$') => {
                let (value, behind) = variable(&letters, at, lookup)?;
                out.push_str(&value);
                at = behind;
            }
            (_, letter) => out.push(letter),
        }
    }
    match quote {
        Some('\'') => {
            Err("unexpected end of statement while looking for matching single-quote".into())
        }
        Some(_) => {
            Err("unexpected end of statement while looking for matching double-quote".into())
        }
        None => Ok(out),
    }
}

/// The value of the variable behind a dollar sign, and where the text goes on.
fn variable(letters: &[char], at: usize, lookup: Lookup<'_>) -> Result<(String, usize), String> {
    let is_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    let name_at =
        |at: usize| -> String { letters[at..].iter().copied().take_while(is_name).collect() };
    if letters.get(at) != Some(&'{') {
        let name = name_at(at);
        if name.is_empty() {
            return Ok(("$".to_owned(), at));
        }
        return Ok((lookup(&name).unwrap_or_default(), at + name.len()));
    }
    let name = name_at(at + 1);
    let mut behind = at + 1 + name.len();
    if letters.get(behind) == Some(&'}') {
        return Ok((lookup(&name).unwrap_or_default(), behind + 1));
    }
    let kind = (letters.get(behind), letters.get(behind + 1));
    let (Some(':'), Some(kind @ ('-' | '+'))) = kind else {
        return Err(match kind.0 {
            None => "unexpected end of statement while looking for matching }".to_owned(),
            Some(letter) => format!("unsupported modifier ({letter}) in substitution"),
        });
    };
    behind += 2;
    let mut depth = 1;
    let mut word = String::new();
    loop {
        let letter = letters
            .get(behind)
            .ok_or("unexpected end of statement while looking for matching }")?;
        behind += 1;
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        word.push(*letter);
    }
    let value = lookup(&name).filter(|value| !value.is_empty());
    let word = || expand(&word, lookup);
    let value = match (kind, value) {
        ('-', Some(value)) => value,
        ('-', None) | (_, Some(_)) => word()?,
        (_, None) => String::new(),
    };
    Ok((value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_blanks_outside_of_quotes() {
        assert_eq!(
            split(r#"a="b c" d\ e 'f "g' h"#),
            [r#"a="b c""#, r"d\ e", r#"'f "g'"#, "h"]
        );
    }

    #[test]
    fn variables_are_replaced_outside_of_single_quotes() {
        let lookup = |name: &str| (name == "A").then(|| "b".to_owned());
        let of = |text: &str| expand(text, &lookup).unwrap();
        for (text, expected) in [
            ("$A", "b"),
            ("${A}c", "bc"),
            ("\"$A x\"", "b x"),
            ("'$A'", "$A"),
            ("\\$A", "$A"),
            ("$NONE.", "."),
            ("${NONE:-x$A}", "xb"),
            ("${A:+y}", "y"),
            ("${NONE:+y}", ""),
            ("a\\ b", "a b"),
            ("$", "$"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        for wrong in ["'a", "\"a", "${A", "${A:-x", "${A?x}"] {
            assert!(expand(wrong, &lookup).is_err(), "{wrong}");
        }
    }
}

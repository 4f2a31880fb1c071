//! Patterns of references, in the grammar of Go's path.Match: `*`, `?`, `[a-z]`, `[^a-z]`, `\` before a letter that
//! means itself. What stands for any letters stands for no slash.

use crate::outcome::{EngineError, Result};

/// Longer patterns are refused: no name of an image is.
const LIMIT: usize = 4096;

/// A pattern that is taken apart.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Element>);

#[derive(Debug)]
enum Element {
    /// `*`
    Letters,
    /// `?`
    Letter,
    /// `[…]`: whether it names what may not be, and the ranges.
    Class(bool, Vec<(char, char)>),
    This(char),
}

impl Pattern {
    /// Takes a pattern apart.
    ///
    /// # Errors
    /// Docker's sentence for brackets that do not close and a backslash at the end.
    pub(super) fn parse(text: &str) -> Result<Pattern> {
        if text.len() > LIMIT {
            return Err(bad());
        }
        let mut letters = text.chars();
        let mut elements = Vec::new();
        while let Some(letter) = letters.next() {
            elements.push(match letter {
                '*' => Element::Letters,
                '?' => Element::Letter,
                '[' => class(&mut letters)?,
                '\\' => Element::This(next(&mut letters)?),
                letter => Element::This(letter),
            });
        }
        Ok(Pattern(elements))
    }

    /// Whether all of the text is as the pattern says. Takes the product of both lengths in steps, whatever they are.
    pub(super) fn matches(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        // Where in the text the elements so far can have come to.
        let mut reached = vec![false; letters.len() + 1];
        reached[0] = true;
        for element in &self.0 {
            reached = match element {
                Element::Letters => {
                    let mut open = false;
                    let after = |(place, &was): (usize, &bool)| {
                        open = was || (open && place > 0 && letters[place - 1] != '/');
                        open
                    };
                    reached.iter().enumerate().map(after).collect()
                }
                one => {
                    let fits = letters.iter().zip(&reached);
                    let moved = fits.map(|(&letter, &was)| was && one.is(letter));
                    std::iter::once(false).chain(moved).collect()
                }
            };
        }
        reached.last() == Some(&true)
    }
}

impl Element {
    fn is(&self, letter: char) -> bool {
        match self {
            Element::Letters | Element::Letter => letter != '/',
            Element::This(wanted) => *wanted == letter,
            Element::Class(negated, ranges) => {
                let named = ranges
                    .iter()
                    .any(|(low, high)| (low..=high).contains(&&letter));
                named != *negated
            }
        }
    }
}

/// What stands behind an opening bracket.
fn class(letters: &mut std::str::Chars<'_>) -> Result<Element> {
    let rest = letters.as_str();
    let negated = rest.starts_with('^');
    if negated {
        letters.next();
    }
    let mut ranges = Vec::new();
    loop {
        let low = match next(letters)? {
            ']' if !ranges.is_empty() => return Ok(Element::Class(negated, ranges)),
            ']' | '-' => return Err(bad()),
            '\\' => next(letters)?,
            letter => letter,
        };
        let mut high = low;
        if letters.as_str().starts_with('-') {
            letters.next();
            high = match next(letters)? {
                ']' | '-' => return Err(bad()),
                '\\' => next(letters)?,
                letter => letter,
            };
        }
        ranges.push((low, high));
    }
}

fn next(letters: &mut std::str::Chars<'_>) -> Result<char> {
    letters.next().ok_or_else(bad)
}

fn bad() -> EngineError {
    EngineError::invalid("syntax error in pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(text)
    }

    #[test]
    fn the_grammar_is_that_of_path_match() {
        for (pattern, text, is) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a/b", false),
            ("[a-ζ]*", "α", true),
            ("[\\]a]", "]", true),
            ("[x\\-]", "-", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
        for pattern in [
            "a[b", "a\\", "[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches(&"*a".repeat(2000), &"a".repeat(1000)));
    }
}

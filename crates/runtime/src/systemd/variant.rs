//! Values of properties as text, in the form of GVariant
//! (<https://docs.gtk.org/glib/gvariant-text-format.html>), as far as units have such: numbers, words, and lists of these.

use super::wire::Value;

/// Lists within lists; D-Bus itself ends at 32.
const DEEPEST: usize = 16;

/// A value's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Byte,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Double,
    Text,
    Array(Box<Kind>),
    Tuple(Vec<Kind>),
}

impl Kind {
    /// Reads a whole signature.
    fn of_signature(text: &str) -> Option<Self> {
        let mut letters = text.chars();
        let kind = Self::of_letters(&mut letters, 0)?;
        letters.next().is_none().then_some(kind)
    }

    fn of_letters(letters: &mut std::str::Chars<'_>, depth: usize) -> Option<Self> {
        if depth > DEEPEST {
            return None;
        }
        Some(match letters.next()? {
            'b' => Kind::Bool,
            'y' => Kind::Byte,
            'n' => Kind::Int16,
            'q' => Kind::Uint16,
            'i' => Kind::Int32,
            'u' => Kind::Uint32,
            'x' => Kind::Int64,
            't' => Kind::Uint64,
            'd' => Kind::Double,
            's' => Kind::Text,
            'a' => Kind::Array(Box::new(Self::of_letters(letters, depth + 1)?)),
            '(' => {
                let mut parts = Vec::new();
                while !letters.as_str().starts_with(')') {
                    parts.push(Self::of_letters(letters, depth + 1)?);
                }
                letters.next();
                (!parts.is_empty()).then_some(Kind::Tuple(parts))?
            }
            _ => return None,
        })
    }

    fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "boolean" => Kind::Bool,
            "byte" => Kind::Byte,
            "int16" => Kind::Int16,
            "uint16" => Kind::Uint16,
            "int32" => Kind::Int32,
            "uint32" => Kind::Uint32,
            "int64" => Kind::Int64,
            "uint64" => Kind::Uint64,
            "double" => Kind::Double,
            "string" => Kind::Text,
            _ => return None,
        })
    }

    /// As D-Bus writes it.
    pub(super) fn signature(&self) -> String {
        match self {
            Kind::Bool => "b".to_owned(),
            Kind::Byte => "y".to_owned(),
            Kind::Int16 => "n".to_owned(),
            Kind::Uint16 => "q".to_owned(),
            Kind::Int32 => "i".to_owned(),
            Kind::Uint32 => "u".to_owned(),
            Kind::Int64 => "x".to_owned(),
            Kind::Uint64 => "t".to_owned(),
            Kind::Double => "d".to_owned(),
            Kind::Text => "s".to_owned(),
            Kind::Array(element) => format!("a{}", element.signature()),
            Kind::Tuple(parts) => {
                let parts: String = parts.iter().map(Kind::signature).collect();
                format!("({parts})")
            }
        }
    }

    /// Values of it begin at multiples of so many bytes.
    pub(super) fn alignment(&self) -> usize {
        match self {
            Kind::Byte => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Bool | Kind::Int32 | Kind::Uint32 | Kind::Text | Kind::Array(_) => 4,
            Kind::Int64 | Kind::Uint64 | Kind::Double | Kind::Tuple(_) => 8,
        }
    }
}

/// Reads a whole text. The error is a part of a sentence.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { rest: text };
    let value = reader.value(None, 0)?;
    match reader.blank().is_empty() {
        true => Ok(value),
        false => Err(format!("{:?} is left over", reader.rest)),
    }
}

/// A number of seconds in microseconds, as systemd has all times.
pub(super) fn microseconds(value: &Value) -> Result<Value, String> {
    const SECOND: u64 = 1_000_000;
    let whole = match value {
        Value::Byte(number) => Some(u64::from(*number)),
        Value::Uint16(number) => Some(u64::from(*number)),
        Value::Uint32(number) => Some(u64::from(*number)),
        Value::Number(number) => Some(*number),
        Value::Int16(number) => u64::try_from(*number).ok(),
        Value::Int32(number) => u64::try_from(*number).ok(),
        Value::Int64(number) => u64::try_from(*number).ok(),
        Value::Double(number) => {
            let all = number * SECOND as f64;
            // Above it floating point has no whole numbers for certain.
            let sure = (0.0..=9e15).contains(&all);
            return sure
                .then_some(Value::Number(all as u64))
                .ok_or_else(|| format!("{number} is no time"));
        }
        _ => return Err("not a number".to_owned()),
    };
    let all = whole.and_then(|whole| whole.checked_mul(SECOND));
    all.map(Value::Number)
        .ok_or_else(|| "it is no time".to_owned())
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Passes over blanks.
    fn blank(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn takes(&mut self, begin: &str) -> bool {
        let rest = self.blank().strip_prefix(begin);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes what has only such characters.
    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !is_part(letter));
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// The next value, of the type that is wanted, if any is.
    fn value(&mut self, wanted: Option<&Kind>, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("lists within lists, more than {DEEPEST}"));
        }
        let rest = self.blank();
        let first = rest.chars().next().ok_or("a value is missing")?;
        match first {
            '@' => {
                self.rest = &rest[1..];
                let signature = self.take_while(|letter| !letter.is_whitespace());
                let kind = Kind::of_signature(signature)
                    .ok_or_else(|| format!("the type {signature:?} is not known"))?;
                self.typed(kind, wanted, depth)
            }
            '[' => self.array(wanted, depth),
            '(' => self.tuple(wanted, depth),
            '\'' | '"' => fit(Value::Text(self.quoted()?), wanted),
            'b' if rest[1..].starts_with(['\'', '"']) => {
                self.rest = &rest[1..];
                let mut bytes = self.quoted()?.into_bytes();
                bytes.push(0);
                fit(Value::Bytes(bytes), wanted)
            }
            '0'..='9' | '+' | '-' | '.' => self.number(wanted),
            _ => {
                let word = self.take_while(|letter| letter.is_ascii_alphanumeric());
                match (word, Kind::of_word(word)) {
                    ("true", _) => fit(Value::Bool(true), wanted),
                    ("false", _) => fit(Value::Bool(false), wanted),
                    (_, Some(kind)) => self.typed(kind, wanted, depth),
                    _ => Err(format!("{rest:?} is not understood")),
                }
            }
        }
    }

    fn typed(&mut self, kind: Kind, wanted: Option<&Kind>, depth: usize) -> Result<Value, String> {
        match wanted {
            Some(wanted) if *wanted != kind => Err(mismatch(&kind, wanted)),
            _ => self.value(Some(&kind), depth + 1),
        }
    }

    /// What lies between brackets, with commas between. The first element has its type from itself where none is wanted,
    /// and the others have it, too.
    fn array(&mut self, wanted: Option<&Kind>, depth: usize) -> Result<Value, String> {
        let mut element = match wanted {
            Some(Kind::Array(element)) => Some((**element).clone()),
            Some(other) => return Err(format!("{:?} is no {}", self.rest, other.signature())),
            None => None,
        };
        self.takes("[");
        let mut values = Vec::new();
        while !self.takes("]") {
            if !values.is_empty() && !self.takes(",") {
                return Err(format!("{:?} is no more of a list", self.rest));
            }
            let value = self.value(element.as_ref(), depth + 1)?;
            element.get_or_insert_with(|| value.kind());
            values.push(value);
        }
        let element = element.ok_or("an empty list needs its type before it, as in @as []")?;
        Ok(Value::Array(element, values))
    }

    fn tuple(&mut self, wanted: Option<&Kind>, depth: usize) -> Result<Value, String> {
        let parts = match wanted {
            Some(Kind::Tuple(parts)) => Some(parts),
            Some(other) => return Err(format!("{:?} is no {}", self.rest, other.signature())),
            None => None,
        };
        self.takes("(");
        let mut values = Vec::new();
        while !self.takes(")") {
            if !values.is_empty() && !self.takes(",") {
                return Err(format!("{:?} is no more of a list", self.rest));
            }
            // `(1,)` is one of one part.
            if !values.is_empty() && self.takes(")") {
                break;
            }
            let kind = parts.and_then(|parts| parts.get(values.len()));
            values.push(self.value(kind, depth + 1)?);
        }
        let complete = parts.is_none_or(|parts| parts.len() == values.len());
        (complete && !values.is_empty())
            .then_some(Value::Tuple(values))
            .ok_or_else(|| "a list in parentheses has other parts than it should".to_owned())
    }

    /// What lies between two quotes of a kind.
    fn quoted(&mut self) -> Result<String, String> {
        let mut letters = self.rest.chars();
        let quote = letters.next();
        let mut text = String::new();
        loop {
            match letters.next() {
                None => return Err(format!("{} has no end", self.rest)),
                Some(letter) if Some(letter) == quote => break,
                Some('\\') => text.extend(escaped(&mut letters)?),
                Some(letter) => text.push(letter),
            }
        }
        self.rest = letters.as_str();
        match text.contains('\0') {
            true => Err("a text cannot have a zero in it".to_owned()),
            false => Ok(text),
        }
    }

    fn number(&mut self, wanted: Option<&Kind>) -> Result<Value, String> {
        let token = self.take_while(|letter| {
            letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.')
        });
        let bad = || format!("{token:?} is no number");
        let digits = token.strip_prefix(['+', '-']).unwrap_or(token);
        let is_hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
        let is_whole = is_hexadecimal || !digits.contains(['.', 'e', 'E']);
        let kind = match wanted {
            Some(kind) => kind.clone(),
            None if is_whole => Kind::Int32,
            None => Kind::Double,
        };
        if kind == Kind::Double {
            return token.parse().map(Value::Double).map_err(|_| bad());
        }
        let (digits, base) = match digits.as_bytes() {
            _ if is_hexadecimal => (&digits[2..], 16),
            [b'0', _, ..] => (&digits[1..], 8),
            _ => (digits, 10),
        };
        if !digits.starts_with(|letter: char| letter.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let size = i128::from_str_radix(digits, base).map_err(|_| bad())?;
        let number = if token.starts_with('-') { -size } else { size };
        whole(number, &kind).ok_or_else(|| format!("{token} is no {}", kind.signature()))
    }
}

/// What a backslash and what comes after it stand for; a line's end is left out.
fn escaped(letters: &mut std::str::Chars<'_>) -> Result<Option<char>, String> {
    let length = match letters.next().ok_or("a text has no end")? {
        'a' => return Ok(Some('\u{7}')),
        'b' => return Ok(Some('\u{8}')),
        'f' => return Ok(Some('\u{c}')),
        'n' => return Ok(Some('\n')),
        'r' => return Ok(Some('\r')),
        't' => return Ok(Some('\t')),
        'v' => return Ok(Some('\u{b}')),
        '\n' => return Ok(None),
        'u' => 4,
        'U' => 8,
        other => return Ok(Some(other)),
    };
    let digits: String = letters.take(length).collect();
    let letter = u32::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == length)
        .and_then(char::from_u32);
    letter
        .map(Some)
        .ok_or_else(|| format!("{digits:?} is no letter's number"))
}

fn whole(number: i128, kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::Byte => Value::Byte(number.try_into().ok()?),
        Kind::Int16 => Value::Int16(number.try_into().ok()?),
        Kind::Uint16 => Value::Uint16(number.try_into().ok()?),
        Kind::Int32 => Value::Int32(number.try_into().ok()?),
        Kind::Uint32 => Value::Uint32(number.try_into().ok()?),
        Kind::Int64 => Value::Int64(number.try_into().ok()?),
        Kind::Uint64 => Value::Number(number.try_into().ok()?),
        _ => return None,
    })
}

fn fit(value: Value, wanted: Option<&Kind>) -> Result<Value, String> {
    match wanted {
        Some(wanted) if *wanted != value.kind() => Err(mismatch(&value.kind(), wanted)),
        _ => Ok(value),
    }
}

fn mismatch(kind: &Kind, wanted: &Kind) -> String {
    format!(
        "a value is {} and should be {}",
        kind.signature(),
        wanted.signature()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_types_of_their_form() {
        let good = |text: &str| parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let text = |text: &str| Value::Text(text.to_owned());
        for (written, value) in [
            ("true", Value::Bool(true)),
            (" false ", Value::Bool(false)),
            ("7", Value::Int32(7)),
            ("-7", Value::Int32(-7)),
            ("0x1f", Value::Int32(31)),
            ("017", Value::Int32(15)),
            ("1.5", Value::Double(1.5)),
            ("byte 7", Value::Byte(7)),
            ("int16 -7", Value::Int16(-7)),
            ("uint16 7", Value::Uint16(7)),
            ("uint32 7", Value::Uint32(7)),
            ("int64 -9223372036854775808", Value::Int64(i64::MIN)),
            ("uint64 18446744073709551615", Value::Number(u64::MAX)),
            ("@t 7", Value::Number(7)),
            ("double 7", Value::Double(7.0)),
            ("'inactive-or-failed'", text("inactive-or-failed")),
            ("\"it's\"", text("it's")),
            (r"'a\'b\\\t\u00e9'", text("a'b\\\té")),
            ("b'ab'", Value::Bytes(b"ab\0".to_vec())),
            ("@as []", Value::Array(Kind::Text, Vec::new())),
            (
                "['a', \"b\"]",
                Value::Array(Kind::Text, vec![text("a"), text("b")]),
            ),
            (
                "[uint64 1, 2]",
                Value::Array(Kind::Uint64, vec![Value::Number(1), Value::Number(2)]),
            ),
            (
                "[('/dev/null', 'rw')]",
                Value::Array(
                    Kind::Tuple(vec![Kind::Text, Kind::Text]),
                    vec![Value::Tuple(vec![text("/dev/null"), text("rw")])],
                ),
            ),
        ] {
            assert_eq!(good(written), value, "{written}");
        }
        assert_eq!(good("[('a', uint32 1)]").kind().signature(), "a(su)");
    }

    #[test]
    fn what_is_no_value_is_told() {
        for (written, told) in [
            ("", "a value is missing"),
            ("  ", "a value is missing"),
            ("yes", "\"yes\" is not understood"),
            ("'open", "'open has no end"),
            ("7 8", "\"8\" is left over"),
            ("byte 256", "256 is no y"),
            ("uint64 -1", "-1 is no t"),
            ("3000000000", "3000000000 is no i"),
            ("0x", "\"0x\" is no number"),
            ("--5", "\"--5\" is no number"),
            ("1+1", "\"1+1\" is no number"),
            ("08", "\"08\" is no number"),
            ("[]", "an empty list needs its type"),
            ("[1, 'a']", "a value is s and should be i"),
            ("[1 2]", "\"2]\" is no more of a list"),
            ("[1", "is no more of a list"),
            ("@a{sv} {}", "the type \"a{sv}\" is not known"),
            ("@(s) ('a', 'b')", "other parts"),
            ("()", "other parts"),
            ("'a\\u00'", "no letter's number"),
            ("'a\\u0000'", "a zero in it"),
        ] {
            let why = parse(written).unwrap_err();
            assert!(why.contains(told), "{written}: {why}");
        }
        let deep = "[".repeat(10_000);
        assert!(parse(&deep).unwrap_err().contains("lists within lists"));
        assert!(parse(&format!("@{} 1", "a".repeat(10_000))).is_err());
        assert!(parse(&"byte ".repeat(10_000)).is_err());
    }

    #[test]
    fn seconds_become_microseconds() {
        for text in [
            "200",
            "byte 200",
            "int16 200",
            "uint16 200",
            "uint32 200",
            "int64 200",
            "uint64 200",
            "200.0",
        ] {
            let value = parse(text).unwrap();
            assert_eq!(microseconds(&value), Ok(Value::Number(200_000_000)));
        }
        let bad = |text| microseconds(&parse(text).unwrap()).is_err();
        assert!(bad("'456'") && bad("true") && bad("-1") && bad("-1.0"));
        assert!(bad("uint64 18446744073709551615") && bad("1e300"));
    }
}

//! The query of a request, and percent signs.

use crate::failure::Failure;
use http::StatusCode;

/// At most so many parameters are read; no client sends a tenth of it.
const MAX_PARAMETERS: usize = 1024;

/// The parameters of a request, decoded, in their order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the text after the question mark. Parameters that are not well encoded are skipped, as Go does.
    pub(crate) fn parse(text: Option<&str>) -> Query {
        let pairs = text
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty());
        Query(
            pairs
                .take(MAX_PARAMETERS)
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Some((decode(name, true)?, decode(value, true)?))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; `None` when it is not there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, if it is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }

    /// Every value of a parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter says yes: whatever does not say no, in any case.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// As [`Query::flag`], with what holds when the parameter is absent.
    pub(crate) fn flag_or(&self, name: &str, absent: bool) -> bool {
        match self.get(name) {
            None => absent,
            Some(value) => {
                let value = value.trim().to_ascii_lowercase();
                !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
            }
        }
    }

    /// A number, if the parameter is there and not empty.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Failure::new(
                StatusCode::BAD_REQUEST,
                format!("strconv.Atoi: parsing {text:?}: invalid syntax"),
            )),
        }
    }

    /// A point in time as `SECONDS[.FRACTION]` since 1970, in nanoseconds, if the parameter is there and not empty.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match nanoseconds(text) {
            Some(time) => Ok(Some(time)),
            None => Err(Failure::new(
                StatusCode::BAD_REQUEST,
                format!("invalid {name}: {text:?} is not a timestamp"),
            )),
        }
    }
}

fn nanoseconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Undoes percent encoding; `form` makes a plus sign a space. `None` when the text is not well encoded.
pub(crate) fn decode(text: &str, form: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if form => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Encodes a path, all but what stands for itself in one.
pub(crate) fn encode_path(path: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~$&+,:;=@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some(
            "name=a%20b+c&all=1&names=x&names=y%2Fz&bad=%zz&filters=%7B%7D&empty=",
        ));
        assert_eq!(query.get("name"), Some("a b c"));
        assert_eq!(query.all("names").collect::<Vec<_>>(), ["x", "y/z"]);
        assert_eq!(query.get("bad"), None);
        assert_eq!(query.get("filters"), Some("{}"));
        assert_eq!(query.text("empty"), None);
        assert_eq!(Query::parse(None).get("name"), None);
    }

    #[test]
    fn flags_say_no_in_five_ways() {
        for (text, says) in [
            ("a=1", true),
            ("a=True", true),
            ("a=x", true),
            ("a=0", false),
            ("a=No", false),
        ] {
            assert_eq!(Query::parse(Some(text)).flag("a"), says, "{text}");
        }
        for text in ["a=", "a=FALSE", "a=none", "b=1"] {
            assert!(!Query::parse(Some(text)).flag("a"), "{text}");
        }
        assert!(Query::parse(None).flag_or("a", true));
    }

    #[test]
    fn numbers_and_times_are_read_or_refused() {
        let query = Query::parse(Some("t=-1&x=abc&since=12.5&until=3&bad=1.x&e="));
        assert_eq!(query.number("t").unwrap(), Some(-1));
        assert_eq!(query.number("e").unwrap(), None);
        assert!(
            query
                .number("x")
                .unwrap_err()
                .message()
                .contains("invalid syntax")
        );
        assert_eq!(query.time("since").unwrap(), Some(12_500_000_000));
        assert_eq!(query.time("until").unwrap(), Some(3_000_000_000));
        assert!(query.time("bad").is_err());
    }
}

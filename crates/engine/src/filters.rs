//! The `filters` query parameter of list, prune and events calls, already parsed.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::{Regex, RegexBuilder};

use crate::outcome::{EngineError, Result};

/// Filter keys with the values that each may take; an empty set of keys lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(pub BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one value to a key.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// The values of a key; nothing when the key was not given.
    pub fn get(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether the key was given at all.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|values| !values.is_empty())
    }

    /// True when the key is absent or one of its values satisfies the test.
    pub fn any(&self, key: &str, test: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.get(key).any(test)
    }

    /// The values of a key as patterns.
    pub(crate) fn patterns(&self, key: &str) -> Patterns {
        let text = |wanted: &str| wanted.bytes().all(is_plain);
        let pattern = |wanted: &str| Pattern {
            regex: match text(wanted) {
                true => None,
                false => RegexBuilder::new(wanted).size_limit(PATTERN).build().ok(),
            },
            is_text: text(wanted),
            wanted: wanted.to_owned(),
        };
        Patterns(self.has(key).then(|| self.get(key).map(pattern).collect()))
    }

    /// True when each value of the key (none at all included) satisfies the test.
    pub fn all(&self, key: &str, test: impl FnMut(&str) -> bool) -> bool {
        self.get(key).all(test)
    }

    /// Refuses keys that the caller does not know, in docker's words.
    pub fn check(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(EngineError::Invalid {
                sentence: format!("invalid filter '{key}'"),
            }),
            None => Ok(()),
        }
    }

    /// The one value of a key that is true or false; nothing when the key was not given.
    ///
    /// # Errors
    /// Docker's sentence when it is neither, or both.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        if !self.has(key) {
            return Ok(None);
        }
        let is_true = self.get(key).any(|value| matches!(value, "true" | "1"));
        let is_false = self.get(key).any(|value| matches!(value, "false" | "0"));
        if is_true == is_false {
            let values: Vec<&str> = self.get(key).collect();
            return Err(EngineError::invalid(format!(
                "invalid filter '{key}=[{}]'",
                values.join(" ")
            )));
        }
        Ok(Some(is_true))
    }

    /// The earliest of the times before which things must have been made, in nanoseconds since 1970: lists take several.
    ///
    /// # Errors
    /// Docker's sentence for one that is no time.
    pub fn earliest(&self) -> Result<Option<i64>> {
        let times: Vec<i64> = self
            .get("until")
            .map(crate::options::parse_time)
            .collect::<Result<_>>()?;
        Ok(times.into_iter().min())
    }

    /// The one time before which things must have been made, in nanoseconds since 1970.
    ///
    /// # Errors
    /// Docker's sentence for more than one, or none that is a time.
    pub fn until(&self) -> Result<Option<i64>> {
        let mut values = self.get("until");
        let first = values.next();
        if values.next().is_some() {
            return Err(EngineError::invalid("more than one until filter specified"));
        }
        first.map(crate::options::parse_time).transpose()
    }

    /// Whether `labels` satisfy each `label` value (`key` or `key=value`) and none of the `label!` ones.
    pub fn labels_match(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |wanted: &str| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        self.all("label", holds) && !self.get("label!").any(holds)
    }
}

/// Bytes that a pattern may take once it is taken apart, which is also what matching one letter costs: some thousand
/// characters, however they are repeated.
const PATTERN: usize = 64 << 10;

/// Bytes that mean themselves in a pattern, and are all that names and ids consist of but for the dot.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/')
}

/// Patterns of which one must match; without any, everything does.
#[derive(Debug)]
pub(crate) struct Patterns(Option<Vec<Pattern>>);

/// A regular expression that matches anywhere, as Docker's filters for names take it. One that can not be read, or is
/// too long, matches only what is equal to it.
#[derive(Debug)]
struct Pattern {
    wanted: String,
    is_text: bool,
    regex: Option<Regex>,
}

impl Patterns {
    /// Whether one of the names matches one of the patterns.
    pub(crate) fn match_any(&self, names: &[&str]) -> bool {
        let Some(patterns) = &self.0 else {
            return true;
        };
        patterns
            .iter()
            .any(|pattern| names.iter().any(|name| pattern.matches(name)))
    }
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        name == self.wanted
            || (self.is_text && name.contains(&self.wanted))
            || self
                .regex
                .as_ref()
                .is_some_and(|regex| regex.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_regular_expressions() {
        let matches = |wanted: &[&str], names: &[&str]| {
            let mut filters = Filters::default();
            for wanted in wanted {
                filters.add("name", *wanted);
            }
            filters.patterns("name").match_any(names)
        };
        assert!(matches(&[], &["/web"]));
        assert!(matches(&["web"], &["/my_web_1", "my_web_1"]));
        for wanted in [
            "^/web$",
            "^web$",
            "w.b",
            "^(web|db)$",
            "w[a-f]b",
            "(?i)WEB",
            "we*b+",
            r"w\wb",
            ".*",
        ] {
            assert!(matches(&[wanted], &["/web", "web"]), "{wanted}");
        }
        for wanted in ["^web$", "^/web$", "w.b$", "^eb", "WEB1", "web1.", "web("] {
            assert!(!matches(&[wanted], &["/web1", "web1"]), "{wanted}");
        }
        assert!(matches(&["db", "^web"], &["/web1", "web1"]));
        assert!(matches(&["a.b"], &["/a.b", "a.b"]));
        assert!(matches(&["a("], &["a("]), "what is equal matches");
        let long = format!("^({})$", "a?".repeat(500));
        assert!(matches(&[&long], &["aaa"]));
        for huge in ["(a{200}){200}", "((a{0,99}){0,99}){0,99}"] {
            assert!(!matches(&[huge], &["a", ""]), "{huge}");
        }
    }

    #[test]
    fn labels_are_matched_by_key_or_by_pair() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        let matches = |key: &str, value: &str| {
            let mut filters = Filters::default();
            filters.add(key, value);
            filters.labels_match(&labels)
        };
        assert!(matches("label", "tier"));
        assert!(matches("label", "tier=web"));
        assert!(!matches("label", "tier=db"));
        assert!(!matches("label!", "tier"));
        assert!(matches("label!", "tier=db"));
    }

    #[test]
    fn flags_are_true_or_false() {
        let flag = |values: &[&str]| {
            let mut filters = Filters::default();
            for value in values {
                filters.add("dangling", *value);
            }
            filters.flag("dangling").map_err(|error| error.to_string())
        };
        assert_eq!(flag(&[]), Ok(None));
        assert_eq!(flag(&["1"]), Ok(Some(true)));
        assert_eq!(flag(&["false", "zz"]), Ok(Some(false)));
        assert_eq!(flag(&["zz"]).unwrap_err(), "invalid filter 'dangling=[zz]'");
        assert!(flag(&["true", "false"]).is_err());
    }

    #[test]
    fn one_time_is_taken_by_prune_and_the_earliest_by_lists() {
        let mut filters = Filters::default();
        assert_eq!(filters.until().unwrap(), None);
        filters.add("until", "5");
        assert_eq!(filters.until().unwrap(), Some(5_000_000_000));
        filters.add("until", "6");
        assert_eq!(
            filters.until().unwrap_err().to_string(),
            "more than one until filter specified"
        );
        assert_eq!(filters.earliest().unwrap(), Some(5_000_000_000));
        filters.add("until", "x");
        assert!(filters.earliest().is_err());
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let mut filters = Filters::default();
        filters.add("colour", "red");
        let refused = filters.check(&["label"]).unwrap_err();
        assert_eq!(refused.to_string(), "invalid filter 'colour'");
    }
}

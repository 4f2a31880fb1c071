//! The `filters` query parameter of list, prune and events calls, already parsed.

use std::collections::{BTreeMap, BTreeSet};

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

    /// Whether `labels` satisfy each `label` value (`key` or `key=value`) and none of the `label!` ones.
    pub fn labels_match(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |wanted: &str| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        self.all("label", holds) && !self.get("label!").any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn unknown_keys_are_refused_by_name() {
        let mut filters = Filters::default();
        filters.add("colour", "red");
        let refused = filters.check(&["label"]).unwrap_err();
        assert_eq!(refused.to_string(), "invalid filter 'colour'");
    }
}

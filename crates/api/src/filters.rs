//! The two ways in which clients write filters.

use std::collections::BTreeMap;

use engine::Filters;
use serde::Deserialize;

use crate::failure::Failure;

/// Values as a set, or as the list of clients before 1.22, which many libraries still send.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
}

/// Reads filters: `{"label":{"a":true}}` or `{"label":["a"]}`.
pub(crate) fn parse(text: &str) -> Result<Filters, Failure> {
    let read: BTreeMap<String, Values> =
        serde_json::from_str(text).map_err(|_| Failure::bad_request("invalid filter"))?;
    let mut filters = Filters::default();
    for (key, values) in read {
        match values {
            Values::Set(set) => set
                .into_iter()
                .for_each(|(value, _)| filters.add(key.clone(), value)),
            Values::List(list) => list
                .into_iter()
                .for_each(|value| filters.add(key.clone(), value)),
        }
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let set = parse(r#"{"label":{"a=b":true,"c":true},"status":{"running":true}}"#).unwrap();
        let list = parse(r#"{"label":["a=b","c"],"status":["running"]}"#).unwrap();
        assert_eq!(set, list);
        assert_eq!(set.get("label").collect::<Vec<_>>(), ["a=b", "c"]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["x", "[]", r#"{"a":1}"#, r#"{"a":[1]}"#] {
            assert_eq!(
                parse(text).unwrap_err().status(),
                http::StatusCode::BAD_REQUEST,
                "{text}"
            );
        }
    }
}

//! How bodies are written and read: one macro, so that every field follows the same rules.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// Declares a body: each field with its Rust name, its type and its name in JSON, and `omitempty` where the field is
/// absent when it has its default value. Reading takes an absent field and a `null` for the default, and a member's
/// name in any case, as Go does: clients write `detachKeys`, and what is asked for must not be dropped.
macro_rules! wire {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$doc:meta])* $field:ident : $type:ty = $json:literal $($omit:ident)? , )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
        $vis struct $name {
            $(
                $(#[$doc])*
                $(
                    #[doc = concat!("\n\nOn the wire: ", stringify!($omit), ".")]
                    #[serde(skip_serializing_if = "crate::wire::is_default")]
                )?
                #[serde(rename = $json)]
                pub $field: $type,
            )*
        }

        impl $name {
            /// The members as they are written, each with its type here.
            $vis const MEMBERS: &'static [(&'static str, &'static str)] = &[$(($json, stringify!($type))),*];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Body;

                impl<'de> serde::de::Visitor<'de> for Body {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                        formatter.write_str(concat!("an object (", stringify!($name), ")"))
                    }

                    fn visit_map<A>(self, mut members: A) -> Result<$name, A::Error>
                    where
                        A: serde::de::MapAccess<'de>,
                    {
                        let mut body = $name::default();
                        while let Some(found) = members.next_key_seed(crate::wire::Member($name::MEMBERS))? {
                            // The numbers are constants to the compiler.
                            let number = 0;
                            $(
                                if found == Some(number) {
                                    let value = members.next_value::<Option<$type>>()?;
                                    body.$field = value.unwrap_or_default();
                                    continue;
                                }
                                let number = number + 1;
                            )*
                            let _: usize = number;
                            members.next_value::<serde::de::IgnoredAny>()?;
                        }
                        Ok(body)
                    }
                }

                deserializer.deserialize_map(Body)
            }
        }
    };
}
pub(crate) use wire;

/// Whether a value is what its type has by default: the condition of Go's `omitempty`.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Finds the number of a member by its name: the one that is written so, else the first that differs in case alone.
pub(crate) struct Member(pub(crate) &'static [(&'static str, &'static str)]);

impl<'de> DeserializeSeed<'de> for Member {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Member {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let find = |same: fn(&str, &str) -> bool| {
            self.0
                .iter()
                .position(|(member, _)| member.len() == name.len() && same(member, name))
        };
        Ok(find(|member, name| member == name).or_else(|| find(str::eq_ignore_ascii_case)))
    }
}

/// The value of a map that is used as a set (`ExposedPorts`, `Volumes`): written as `{}`, read from anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Empty;

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Empty)
    }
}

/// A command line. Clients may write one word as a plain string instead of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Words(pub Vec<String>);

impl std::ops::Deref for Words {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Self {
        Words(words)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;

        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, word: &str) -> Result<Words, E> {
                Ok(Words(vec![word.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }

        deserializer.deserialize_any(WordsVisitor)
    }
}

#[cfg(test)]
#[allow(unreachable_pub)]
mod tests {
    use super::*;

    wire! {
        /// A body with one field of each kind.
        pub struct Sample {
            /// A pointer or slice.
            list: Option<Vec<String>> = "List",
            /// Always there.
            word: String = "Word",
            /// Absent when zero.
            count: i64 = "Count" omitempty,
        }
    }

    #[test]
    fn nothing_is_written_in_three_ways() {
        assert_eq!(
            serde_json::to_string(&Sample::default()).unwrap(),
            r#"{"List":null,"Word":""}"#
        );
        let full = Sample {
            list: Some(vec![]),
            word: "w".into(),
            count: 3,
        };
        assert_eq!(
            serde_json::to_string(&full).unwrap(),
            r#"{"List":[],"Word":"w","Count":3}"#
        );
    }

    #[test]
    fn null_absent_and_unknown_are_read_as_go_reads_them() {
        let read: Sample =
            serde_json::from_str(r#"{"List":null,"Word":null,"Count":null,"Other":[1]}"#).unwrap();
        assert_eq!(read, Sample::default());
        assert_eq!(
            serde_json::from_str::<Sample>("{}").unwrap(),
            Sample::default()
        );
        let empty: Sample = serde_json::from_str(r#"{"List":[]}"#).unwrap();
        assert_eq!(empty.list, Some(vec![]));
    }

    #[test]
    fn names_are_read_in_any_case_and_the_last_value_counts() {
        let read: Sample = serde_json::from_str(
            r#"{"list":["a"],"WORD":"x","cOUNT":2,"Word":"y","\u0063ount":3}"#,
        )
        .unwrap();
        let expected = Sample {
            list: Some(vec!["a".into()]),
            word: "y".into(),
            count: 3,
        };
        assert_eq!(read, expected);
        let wrong = serde_json::from_str::<Sample>(r#"{"word":1}"#).unwrap_err();
        assert!(wrong.to_string().starts_with("invalid type"), "{wrong}");
        assert!(serde_json::from_str::<Sample>("[]").is_err());
    }

    #[test]
    fn a_set_member_is_read_from_anything() {
        for text in ["{}", "null", r#"{"a":1}"#] {
            assert_eq!(serde_json::from_str::<Empty>(text).unwrap(), Empty);
        }
        assert_eq!(serde_json::to_string(&Empty).unwrap(), "{}");
    }

    #[test]
    fn words_are_read_from_a_list_or_one_string() {
        assert_eq!(serde_json::from_str::<Words>(r#""sh""#).unwrap().0, ["sh"]);
        assert_eq!(
            serde_json::from_str::<Words>(r#"["a","b c"]"#).unwrap().0,
            ["a", "b c"]
        );
        assert!(serde_json::from_str::<Words>("1").is_err());
        assert_eq!(
            serde_json::to_string(&Words(vec!["x".into()])).unwrap(),
            r#"["x"]"#
        );
    }

    #[test]
    fn a_body_tells_its_members() {
        assert_eq!(
            Sample::MEMBERS,
            [
                ("List", "Option<Vec<String>>"),
                ("Word", "String"),
                ("Count", "i64")
            ]
        );
    }
}

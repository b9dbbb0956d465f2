//! JSON without duplicate members.
//!
//! Programs differ in which value they use if an object has a duplicate member (RFC 8259,
//! section 4): a proxy may have checked one while we use the other. Such a text is
//! rejected, at any depth.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};

use crate::foreign_text;

/// The error for a duplicate member, as in derived deserializers.
const DUPLICATE: &str = "duplicate field";

/// Parses JSON without duplicate members.
///
/// # Errors
/// As `serde_json`, and for a duplicate member: its text then begins with "duplicate field".
pub fn from_str<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str::<Unambiguous>(text)?;
    serde_json::from_str(text)
}

/// Whether the text was rejected because of a duplicate member.
pub(crate) fn is_duplicate(error: &serde_json::Error) -> bool {
    error.is_data() && error.to_string().starts_with(DUPLICATE)
}

/// Any value without duplicate members. It is parsed as strictly as a [`serde_json::Value`], and not
/// kept.
#[derive(Debug)]
pub struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Unambiguous, A::Error> {
        while entries.next_element::<Unambiguous>()?.is_some() {}
        Ok(Unambiguous)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unambiguous, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if let Some(name) = names.replace(name) {
                let name = foreign_text::identifier(&name);
                return Err(A::Error::custom(format!("{DUPLICATE} `{name}`")));
            }
            members.next_value::<Unambiguous>()?;
        }
        Ok(Unambiguous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn duplicate_members_are_rejected_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":{},"a":{}}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"b":[{"a":null,"a":null}]}]"#,
            r#"{"":1,"":2}"#,
            r#"{"a":{"a":1,"b":1e400,"b":2}}"#,
        ] {
            let error = from_str::<Value>(text).unwrap_err();
            assert!(is_duplicate(&error), "{text}: {error}");
        }
    }

    #[test]
    fn any_other_text_is_parsed_normally() {
        for text in [
            r#"{"a":{"a":[1,2.5,-3,1e400,12345678901234567890123]},"b":"a","A":null,"c":[true,false]}"#,
            "7",
            r#""a""#,
            "[]",
        ] {
            let plain: Value = serde_json::from_str(text).unwrap();
            assert_eq!(from_str::<Value>(text).unwrap(), plain, "{text}");
        }
        for text in ["", "{", r#"{"a" 1}"#, "{} {}", "NaN"] {
            let error = from_str::<Value>(text).unwrap_err();
            assert!(!is_duplicate(&error), "{text}: {error}");
        }
    }

    #[test]
    fn an_object_is_accepted_if_a_value_accepts_it() {
        use std::collections::HashMap;

        use serde_json::Map;

        let deep =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let (accepted, refused) = (deep(100), deep(200));
        let mut answers = Vec::new();
        for text in [
            "{}",
            r#" {"a":[1,-2,3.5,1e400,true,null,{"b":"\u00e4"}],"a":""} "#,
            &accepted,
            &refused,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            "{\"a\":\"\n\"}",
            "[]",
            "null",
            "1",
            "{} x",
            "",
        ] {
            let as_value = serde_json::from_str::<Map<String, Value>>(text).is_ok();
            let read = serde_json::from_str::<HashMap<String, Unambiguous>>(text);
            assert_eq!(read.is_ok(), as_value, "{text}");
            answers.push(as_value);
        }
        assert!(answers.contains(&true) && answers.contains(&false));
    }
}

//! JSON objects from rows, which others can nest as deep as they like.

use serde_json::{Map, Value};

/// Maximum number of values within each other. The parts of a license have five; a program that
/// stores an object inside others must still be able to read it back.
const MAX_DEPTH: usize = 32;

/// The object in a text; `None` if it contains something else, or is nested too deep.
pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) if members.values().all(|it| is_shallow(it, MAX_DEPTH - 1)) => {
            Some(members)
        }
        Ok(_) | Err(_) => None,
    }
}

fn is_shallow(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Array(entries) => entries.iter().all(|it| is_shallow(it, below)),
        Value::Object(members) => members.values().all(|it| is_shallow(it, below)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_a_bounded_depth() {
        let lists =
            |levels: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let objects =
            |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(object("{}").is_some());
        assert!(object(&lists(MAX_DEPTH - 2)).is_some());
        assert!(object(&objects(MAX_DEPTH - 1)).is_some());
        for text in [
            lists(MAX_DEPTH - 1),
            objects(MAX_DEPTH),
            lists(126),
            objects(126),
            lists(100_000),
            objects(100_000),
            "[]".to_owned(),
            "{".to_owned(),
        ] {
            assert_eq!(object(&text), None, "{text:.40}");
        }
    }
}

//! Ids of customers, and when two names are the same.

use sha2::{Digest as _, Sha256};

use crate::folded_text::folded;

/// How every id begins.
pub const PREFIX: &str = "cus_";
/// Hexadecimal digits after it.
const DIGITS: usize = 32;

/// Whether a text is the id of a customer rather than a name or a reference.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix(PREFIX).unwrap_or_default();
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.len() == DIGITS && digits.bytes().all(is_digit)
}

/// The id with these random bytes.
#[must_use]
pub fn from_random(bytes: &[u8; 16]) -> String {
    format!("{PREFIX}{}", hexadecimal(bytes))
}

/// A text that is the same for names that differ only in case, in how characters are composed, and
/// in white space around them: 64 hexadecimal digits. `None` for a name without any text.
#[must_use]
pub fn name_key(name: &str) -> Option<String> {
    let name = folded(name.trim());
    (!name.is_empty()).then(|| hexadecimal(&Sha256::digest(name)))
}

/// The id of the customer that an amendment is about. Amendments from before there were ids have
/// the name; the record of that name got an id that is derived from it, and keeps it when it is
/// renamed. Empty if there is no customer.
#[must_use]
pub fn of_amendment(text: &str) -> String {
    if is_id(text) {
        return text.to_owned();
    }
    name_key(text).map_or_else(String::new, |key| id_of_key(&key))
}

/// The id that a record got which was made from a name, by the key of the name.
#[must_use]
pub fn id_of_key(key: &str) -> String {
    format!("{PREFIX}{}", key.get(..DIGITS).unwrap_or_default())
}

/// Bytes in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_recognised_and_names_are_not() {
        let id = from_random(&[0xab; 16]);
        assert!(is_id(&id), "{id}");
        assert_eq!(of_amendment(&id), id);
        for name in [
            "",
            "cus_",
            "Harbour Ltd",
            &id[..35],
            &format!("{id}0"),
            &id.to_uppercase(),
            &id.replace("cus_", "cus-"),
        ] {
            assert!(!is_id(name), "{name}");
        }
    }

    #[test]
    fn names_that_differ_only_in_case_or_space_belong_to_one_customer() {
        let id = of_amendment("Müller & Söhne");
        assert!(is_id(&id), "{id}");
        for same in [" müller & SÖHNE\n", "MU\u{308}LLER & SO\u{308}HNE"] {
            assert_eq!(of_amendment(same), id, "{same}");
        }
        assert_ne!(of_amendment("Müller & Söhne GmbH"), id);
        for none in ["", "  ", "\n"] {
            assert_eq!(
                (of_amendment(none), name_key(none)),
                (String::new(), None),
                "{none:?}"
            );
        }
    }
}

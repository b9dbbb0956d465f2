//! License keys: what a customer types.
//!
//! `FXSGHT-XXXX-XXXX-XXXX-XXXX`: fifteen random characters and a check
//! character, from 31 letters and digits that cannot be mistaken for one
//! another. 31 is prime, so a weighted sum modulo 31 with different weights
//! catches every single wrong character and every swap of two.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Digits and capitals without 0, 1, I, L and O.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
const PREFIX: &str = "FXSGHT";
const RANDOM_CHARS: usize = 15;

/// A well-formed license key, in canonical spelling.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LicenseKey(String);

/// Why a text is not a license key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LicenseKeyError {
    /// The text does not have the form of a key.
    #[error("a license key looks like FXSGHT-XXXX-XXXX-XXXX-XXXX")]
    Form,
    /// A character that keys never contain.
    #[error("license keys never contain the character '{0}'")]
    Alphabet(char),
    /// All characters are possible, but together they are not: a typing error.
    #[error("the license key contains a typing error")]
    CheckCharacter,
}

impl LicenseKey {
    /// Makes a key from random bytes. Bytes of 248 and more are passed over,
    /// so that every character is equally likely; `None` when too few remain.
    #[must_use]
    pub fn from_random(bytes: &[u8]) -> Option<Self> {
        let values: Vec<u8> = bytes
            .iter()
            .filter(|byte| **byte < 248)
            .map(|byte| byte % 31)
            .take(RANDOM_CHARS)
            .collect();
        (values.len() == RANDOM_CHARS).then(|| Self::from_values(&values))
    }

    /// Reads a key as people write it: lower case, spaces, missing or odd
    /// dashes, with or without the prefix.
    ///
    /// # Errors
    /// The first [`LicenseKeyError`] that applies.
    pub fn parse(text: &str) -> Result<Self, LicenseKeyError> {
        let folded = fold(text);
        let body = folded.strip_prefix(PREFIX).unwrap_or(&folded);
        if body.chars().count() != RANDOM_CHARS + 1 {
            return Err(LicenseKeyError::Form);
        }
        let mut values = Vec::with_capacity(RANDOM_CHARS + 1);
        for c in body.chars() {
            let value = ALPHABET.iter().position(|a| char::from(*a) == c);
            let value = value.ok_or(LicenseKeyError::Alphabet(c))?;
            values.push(u8::try_from(value).unwrap_or(u8::MAX));
        }
        let key = Self::from_values(&values[..RANDOM_CHARS]);
        if fold(&key.0) != format!("{PREFIX}{body}") {
            return Err(LicenseKeyError::CheckCharacter);
        }
        Ok(key)
    }

    /// The canonical spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_values(values: &[u8]) -> Self {
        let mut text = String::from(PREFIX);
        let check = check_value(values);
        for (index, value) in values.iter().chain([&check]).enumerate() {
            if index % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(*value)]));
        }
        Self(text)
    }
}

/// The value that makes the weighted sum of all characters zero modulo 31.
/// The check character's own weight is 1.
fn check_value(values: &[u8]) -> u8 {
    let sum: u32 = (2u32..)
        .zip(values)
        .map(|(weight, value)| weight * u32::from(*value))
        .sum();
    u8::try_from((31 - sum % 31) % 31).unwrap_or_default()
}

impl fmt::Display for LicenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LicenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LicenseKey({})", mask(&self.0))
    }
}

/// Whether two texts are the same key, however they are spelled. Servers of
/// other makers issue keys of other forms, so any text is a key here.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a == b || fold(a) == fold(b)
}

/// A hash by which two texts are the same key, however they are spelled: SHA-256
/// of the key without what spelling adds, in base64url.
#[must_use]
pub fn fingerprint(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(fold(key)))
}

/// The key that somebody meant who has typed or pasted this: in its canonical
/// spelling where there is one in it, and otherwise the text as it is, for
/// License Servers of other makers.
#[must_use]
pub fn as_it_was_meant(text: &str) -> String {
    let folded = fold(text);
    let key = folded.match_indices(PREFIX).find_map(|(start, _)| {
        let groups: Vec<char> = folded[start + PREFIX.len()..].chars().take(16).collect();
        let is_key = groups.len() == 16 && groups.iter().all(char::is_ascii_alphanumeric);
        is_key.then_some(groups)
    });
    let Some(key) = key else {
        return LicenseKey::parse(text).map_or(text.trim().to_owned(), |key| key.to_string());
    };
    let groups = key.chunks(4).map(String::from_iter);
    let groups: Vec<String> = groups.collect();
    format!("{PREFIX}-{}", groups.join("-"))
}

/// A key as it may appear in logs and to strangers: the first group and the
/// last four characters, and nothing of a key that is too short for that.
#[must_use]
pub fn mask(key: &str) -> String {
    let chars: Vec<char> = key.chars().collect();
    if chars.len() < 16 {
        return "****".to_owned();
    }
    let head: String = key.split('-').next().unwrap_or_default().into();
    let head = if head.chars().count() <= 6 {
        head
    } else {
        String::new()
    };
    let tail: String = chars[chars.len() - 4..].iter().collect();
    format!("{head}-****-****-****-{tail}")
}

fn fold(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !is_dash(*c))
        .flat_map(char::to_uppercase)
        .collect()
}

/// The hyphen and what word processors make of it.
fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_pasted_is_the_key_that_was_meant() {
        let key = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
        for text in [
            key,
            "  fxsght-aaaa-bbbb-cccc-dddd\n",
            "FXSGHTAAAABBBBCCCCDDDD",
            "fxsght aaaa bbbb cccc dddd",
            "FXSGHT–AAAA—BBBB‑CCCC−DDDD",
            "Your license key: FXSGHT-AAAA-BBBB-CCCC-DDDD (Harbour Ltd)",
        ] {
            assert_eq!(as_it_was_meant(text), key, "{text}");
        }
        for other in ["", "ACME-1", "FXSGHT-AAAA"] {
            assert_eq!(as_it_was_meant(&format!(" {other} ")), other);
        }
    }

    fn key() -> LicenseKey {
        LicenseKey::from_random(&[7, 99, 3, 200, 41, 0, 30, 31, 247, 5, 6, 77, 8, 9, 10]).unwrap()
    }

    #[test]
    fn a_key_is_read_back_in_any_spelling() {
        let key = key();
        let spelled = key.as_str().to_lowercase().replace('-', " ");
        assert_eq!(LicenseKey::parse(key.as_str()), Ok(key.clone()));
        assert_eq!(LicenseKey::parse(&format!("  {spelled} ")), Ok(key.clone()));
        assert_eq!(LicenseKey::parse(&key.as_str()[7..]), Ok(key));
    }

    #[test]
    fn every_single_wrong_character_is_noticed() {
        let key = key();
        for (index, right) in key.as_str().char_indices().skip(7) {
            if right == '-' {
                continue;
            }
            for wrong in ALPHABET.iter().map(|a| char::from(*a)) {
                let mut text = key.as_str().to_owned();
                text.replace_range(index..=index, &wrong.to_string());
                let read = LicenseKey::parse(&text);
                if wrong == right {
                    assert_eq!(read, Ok(key.clone()));
                } else {
                    assert_eq!(read, Err(LicenseKeyError::CheckCharacter), "{text}");
                }
            }
        }
    }

    #[test]
    fn every_swap_of_two_characters_is_noticed() {
        let key = key();
        let chars: Vec<char> = key.as_str().chars().collect();
        for i in 7..chars.len() {
            for j in i + 1..chars.len() {
                if chars[i] == chars[j] || chars[i] == '-' || chars[j] == '-' {
                    continue;
                }
                let mut swapped = chars.clone();
                swapped.swap(i, j);
                let text: String = swapped.into_iter().collect();
                assert_eq!(
                    LicenseKey::parse(&text),
                    Err(LicenseKeyError::CheckCharacter)
                );
            }
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused_with_the_reason() {
        assert_eq!(LicenseKey::parse(""), Err(LicenseKeyError::Form));
        assert_eq!(
            LicenseKey::parse("FXSGHT-AAAA-BBBB-CCCC-DDD0"),
            Err(LicenseKeyError::Alphabet('0'))
        );
        assert_eq!(
            LicenseKey::parse("FXSGHT-AAAA-BBBB-CCCC-DDDD-EEEE"),
            Err(LicenseKeyError::Form)
        );
    }

    #[test]
    fn random_bytes_make_this_key_and_no_other() {
        let key = |bytes: &[u8]| LicenseKey::from_random(bytes).unwrap().to_string();
        let counting: Vec<u8> = (0..15).collect();
        assert_eq!(key(&counting), "FXSGHT-2345-6789-ABCD-EFGH");
        // What is above 247 is passed over; the rest is taken modulo 31.
        let mut others = vec![248, 255, 247, 31, 30];
        others.extend(&counting);
        assert_eq!(key(&others), "FXSGHT-Z2Z2-3456-789A-BCD9");
    }

    #[test]
    fn too_little_randomness_makes_no_key() {
        assert_eq!(LicenseKey::from_random(&[255; 64]), None);
        assert_eq!(LicenseKey::from_random(&[1; 14]), None);
    }

    #[test]
    fn a_masked_key_keeps_only_its_ends() {
        assert_eq!(
            mask("FXSGHT-AAAA-BBBB-CCCC-DDDD"),
            "FXSGHT-****-****-****-DDDD"
        );
        assert_eq!(mask("short"), "****");
        assert_eq!(mask("123456789012345"), "****");
        assert_eq!(mask("1234567890123456"), "-****-****-****-3456");
        assert!(format!("{:?}", key()).starts_with("LicenseKey(FXSGHT-****"));
        assert!(!format!("{:?}", key()).contains(&key().as_str()[7..21]));
    }

    #[test]
    fn spelling_does_not_make_another_key() {
        assert!(same("FXSGHT-AAAA", " fxsght aaaa"));
        assert!(!same("FXSGHT-AAAA", "FXSGHT-AAAB"));
    }
}

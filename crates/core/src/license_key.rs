//! License keys: what a customer types.
//!
//! `FXSGHT-XXXX-XXXX-XXXX-XXXX`: fifteen random characters and a check
//! character, from 31 letters and digits that cannot be mistaken for one
//! another. 31 is prime, so a weighted sum modulo 31 with different weights
//! catches every single wrong character and every swap of two.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Digits and capitals without 0, 1, I, L and O.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
const PREFIX: &str = "FXSGHT";
const RANDOM_CHARS: usize = 15;
/// What a masked key begins with; its last four characters follow.
const MASKED: &str = "FXSGHT-****-****-****-";

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

/// The text with every license key in it masked, however it is spelled: keys
/// with the prefix, keys without it whose check character is right, and `known`
/// in any form, unless it is shorter than `MIN_KNOWN_CHARS`.
#[must_use]
pub fn mask_within(text: &str, known: &str) -> String {
    let letters = Letters::of(text);
    let mut found = letters.keys(text);
    let known_letters = Letters::of(known).folded;
    let body = known_letters.strip_prefix(PREFIX).unwrap_or_default();
    for letters_of_key in [known_letters.as_str(), body] {
        if letters_of_key.chars().count() >= MIN_KNOWN_CHARS {
            for (start, key) in letters.folded.match_indices(letters_of_key) {
                found.push((letters.span(start..start + key.len()), mask(known)));
            }
        }
    }
    found.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for (span, shown) in found {
        if span.start >= end {
            masked.push_str(&text[end..span.start]);
            masked.push_str(&shown);
        }
        end = end.max(span.end);
    }
    masked.push_str(&text[end..]);
    masked
}

/// Shortest key of another maker that is looked for in a text, in letters and
/// digits: shorter ones are parts of words.
const MIN_KNOWN_CHARS: usize = 4;

/// The letters and digits of a text in upper case. Anything else may separate
/// the characters of a key.
struct Letters {
    folded: String,
    /// Where each byte of `folded` comes from.
    origins: Vec<Range<usize>>,
}

impl Letters {
    fn of(text: &str) -> Self {
        let mut letters = Self {
            folded: String::with_capacity(text.len()),
            origins: Vec::with_capacity(text.len()),
        };
        for (at, c) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
            letters.folded.extend(c.to_uppercase());
            let origin = at..at + c.len_utf8();
            letters.origins.resize(letters.folded.len(), origin);
        }
        letters
    }

    /// The part of the text that these letters come from.
    fn span(&self, letters: Range<usize>) -> Range<usize> {
        self.origins[letters.start].start..self.origins[letters.end - 1].end
    }

    /// The keys of our form, and how each is shown.
    fn keys(&self, text: &str) -> Vec<(Range<usize>, String)> {
        let mut found = Vec::new();
        for (start, _) in self.folded.match_indices(PREFIX) {
            let end = start + PREFIX.len() + RANDOM_CHARS + 1;
            let Some(key) = self.folded.get(start..end).filter(|key| key.is_ascii()) else {
                continue;
            };
            let span = self.span(start..end);
            // A key that is masked already, and the words after it.
            if !text[span.start..].starts_with(MASKED) {
                found.push((span, format!("{MASKED}{}", &key[key.len() - 4..])));
            }
        }
        let words = parts(text, |c| c.is_alphanumeric() || is_dash(c));
        found.extend(words.iter().filter_map(|word| without_prefix(text, word)));
        // Keys whose four groups stand apart.
        let groups = parts(text, char::is_alphanumeric);
        let quads = groups.windows(4).filter(|quad| {
            quad.iter()
                .all(|group| text[group.clone()].chars().count() == 4)
        });
        found.extend(quads.filter_map(|quad| without_prefix(text, &(quad[0].start..quad[3].end))));
        found
    }
}

/// The longest parts of a text that consist of such characters only.
fn parts(text: &str, is_inside: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let parts = text
        .split(|c| !is_inside(c))
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let start = part.as_ptr().addr() - text.as_ptr().addr();
            start..start + part.len()
        })
        .collect()
}

/// A key without its prefix that fills this part of the text.
fn without_prefix(text: &str, part: &Range<usize>) -> Option<(Range<usize>, String)> {
    let letters = Letters::of(&text[part.clone()]).folded;
    if letters.len() != RANDOM_CHARS + 1 {
        return None;
    }
    let key = LicenseKey::parse(&letters).ok()?;
    Some((part.clone(), mask(key.as_str())))
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
    fn keys_within_a_text_are_masked_in_any_spelling() {
        let key = key();
        let masked = mask(key.as_str());
        let spelled = key.as_str();
        let bare = &spelled[7..];
        for text in [
            spelled.to_owned(),
            spelled.to_lowercase(),
            spelled.replace('-', ""),
            spelled.replace('-', " "),
            spelled.replace('-', "."),
            spelled.replace('-', "–"),
            spelled.replace('-', "_/"),
            spelled.replace('S', "ſ"),
            spelled
                .chars()
                .flat_map(|c| [c, ' '])
                .collect::<String>()
                .trim()
                .to_owned(),
            bare.to_owned(),
            bare.to_lowercase(),
            bare.replace('-', ""),
            bare.replace('-', "  "),
            bare.replace('-', "."),
        ] {
            let shown = mask_within(&format!("key '{text}': no"), "");
            assert_eq!(shown, format!("key '{masked}': no"), "{text}");
        }
        let twice = format!("{spelled}{spelled},{bare}");
        let shown = mask_within(&twice, "");
        assert_eq!(shown, format!("{masked}{masked},{masked}"));
        assert_eq!(mask_within(&shown, ""), shown);
    }

    #[test]
    fn a_known_key_is_masked_in_any_form() {
        let known = "acme-Key.of 2026";
        let masked = mask(known);
        for text in [
            known,
            "ACMEKEYOF2026",
            "acme key of 2026",
            "a.c.m.e-keyof-2026",
        ] {
            let shown = mask_within(&format!("({text})"), known);
            assert_eq!(shown, format!("({masked})"), "{text}");
        }
        // Without its prefix and check character, glued to other letters.
        let shown = mask_within("xaaaabbbbccccddddx", "FXSGHT-AAAA-BBBB-CCCC-DDDD");
        assert_eq!(shown, "xFXSGHT-****-****-****-DDDDx");
    }

    #[test]
    fn other_texts_are_not_masked() {
        for text in [
            "",
            "FXSGHT",
            "FXSGHT-AAAA",
            "the License Server rejected the key",
            "FXSGHT-****-****-****-DDDD is the key that this license server knows",
            "7a3cdd45-9e22-4a6b-8c5d-2f3a4b5c6d7e",
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "ß漢字FXSGHTß",
        ] {
            assert_eq!(mask_within(text, ""), text);
            assert_eq!(mask_within(text, "abc"), text);
        }
    }

    #[test]
    fn spelling_does_not_make_another_key() {
        assert!(same("FXSGHT-AAAA", " fxsght aaaa"));
        assert!(!same("FXSGHT-AAAA", "FXSGHT-AAAB"));
    }
}

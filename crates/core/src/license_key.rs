//! License keys.
//!
//! `FXSGHT-XXXX-XXXX-XXXX-XXXX`: fifteen random characters and a check character, from 31
//! letters and digits that cannot be mistaken for one another. 31 is prime, so a weighted
//! sum modulo 31 with different weights detects every single wrong character and every
//! swap of two.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

pub use crate::key_form::LicenseKeyError;
use crate::key_form::{ADD_ON, Entered, KEY_CHARS, KeyForm, LICENSE, TRIAL};
use crate::pasted_text::{half_width, is_dash, is_invisible, is_quote};

/// Maximum length of a license key in any format, in characters: the width of its column.
pub const MAX_KEY_CHARS: usize = 255;
/// The forms of all keys that the vendor issues.
const FORMS: [KeyForm; 3] = [LICENSE, ADD_ON, TRIAL];

/// A well-formed license key, in canonical spelling.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LicenseKey(String);

impl LicenseKey {
    /// Creates a key from random bytes. Bytes of 248 and more are skipped, so that every
    /// character is equally likely; `None` if too few remain.
    #[must_use]
    pub fn from_random(bytes: &[u8]) -> Option<Self> {
        LICENSE.random(bytes).map(Self)
    }

    /// Parses a key as people write and paste it: lower case, full-width letters, with or
    /// without dashes, spaces and the prefix, with invisible characters, in quotes, or within
    /// other text. All keys are parsed here.
    ///
    /// # Errors
    /// The first [`LicenseKeyError`] that applies.
    pub fn parse(text: &str) -> Result<Self, LicenseKeyError> {
        LICENSE.parse(text).map(Self)
    }

    /// The canonical spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
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

/// Whether two texts are the same key, in any spelling. Other vendors' servers issue keys
/// in other formats, so any text counts as a key here.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a == b || fold(a) == fold(b)
}

/// A hash that is equal for all spellings of a key: SHA-256 of the normalized key, in base64url.
#[must_use]
pub fn fingerprint(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(fold(key)))
}

/// A key that was stored where others can write: unchanged, unless it is longer than any key that
/// is activated. A longer key is normalized, and truncated if it is still too long.
#[must_use]
pub fn bounded(stored: &str) -> String {
    match stored.chars().nth(MAX_KEY_CHARS) {
        None => stored.to_owned(),
        Some(_) => normalize(stored).chars().take(MAX_KEY_CHARS).collect(),
    }
}

/// A typed or pasted key in the form sent to the License Server: in canonical spelling if
/// the text is or contains one key of our format, regardless of the check character.
/// Otherwise the text without invisible characters, surrounding white space and quotes:
/// another vendor's License Server may know it.
#[must_use]
pub fn normalize(text: &str) -> String {
    if let Ok(key) = LicenseKey::parse(text) {
        return key.to_string();
    }
    let entered = Entered::of(text);
    let mut bodies = entered.prefixed(&LICENSE);
    if let (Some(body), None) = (bodies.next(), bodies.next())
        && body.iter().all(|letter| letter.c.is_ascii())
    {
        let groups = body
            .chunks(4)
            .map(|group| group.iter().map(|it| it.c).collect());
        let groups: Vec<String> = groups.collect();
        return format!("{}-{}", LICENSE.prefix, groups.join("-"));
    }
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let around = |c: char| c.is_whitespace() || is_quote(c);
    visible.trim_matches(around).to_owned()
}

/// A key for logs and untrusted callers: the first group and the last four characters. A key that
/// is too short for that is masked completely.
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

/// The text with all license keys masked, in any spelling: keys with the prefix, keys
/// without it whose check character matches, and `known` in any format, unless it is
/// shorter than `MIN_KNOWN_CHARS`.
#[must_use]
pub fn mask_within(text: &str, known: &str) -> String {
    let letters = Letters::of(text);
    let mut found = letters.keys(text);
    let known_letters = Letters::of(known).folded;
    let body = known_letters
        .strip_prefix(LICENSE.prefix)
        .unwrap_or_default();
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

/// Minimum length of another vendor's key that is masked within a text, in letters and
/// digits: shorter ones are parts of words.
const MIN_KNOWN_CHARS: usize = 4;

/// The letters and digits of a text in upper case. Anything else can separate the
/// characters of a key.
struct Letters {
    folded: String,
    /// The position in the text of each byte of `folded`.
    origins: Vec<Range<usize>>,
}

impl Letters {
    fn of(text: &str) -> Self {
        let mut letters = Self {
            folded: String::with_capacity(text.len()),
            origins: Vec::with_capacity(text.len()),
        };
        let is_letter = |c: char| c.is_alphanumeric() && !is_dash(c) && !is_invisible(c);
        for (at, c) in text.char_indices().filter(|(_, c)| is_letter(*c)) {
            letters.folded.extend(half_width(c).to_uppercase());
            let origin = at..at + c.len_utf8();
            letters.origins.resize(letters.folded.len(), origin);
        }
        letters
    }

    /// The part of the text that these letters come from.
    fn span(&self, letters: Range<usize>) -> Range<usize> {
        self.origins[letters.start].start..self.origins[letters.end - 1].end
    }

    /// The keys of our formats, with their masked form.
    fn keys(&self, text: &str) -> Vec<(Range<usize>, String)> {
        let mut found = Vec::new();
        for form in FORMS {
            self.prefixed(form, text, &mut found);
        }
        let words = parts(text, |c| c.is_alphanumeric() || is_dash(c));
        found.extend(words.iter().filter_map(|word| without_prefix(text, word)));
        // Keys with separated groups.
        let groups = parts(text, char::is_alphanumeric);
        let quads = groups.windows(4).filter(|quad| {
            quad.iter()
                .all(|group| text[group.clone()].chars().count() == 4)
        });
        found.extend(quads.filter_map(|quad| without_prefix(text, &(quad[0].start..quad[3].end))));
        found
    }

    /// Adds the keys of one format that have their prefix.
    fn prefixed(&self, form: KeyForm, text: &str, found: &mut Vec<(Range<usize>, String)>) {
        let masked = format!("{}-****-****-****-", form.prefix);
        for (start, _) in self.folded.match_indices(form.prefix) {
            let end = start + form.prefix.len() + KEY_CHARS;
            let Some(key) = self.folded.get(start..end).filter(|key| key.is_ascii()) else {
                continue;
            };
            let span = self.span(start..end);
            // A key that is already masked, and the words after it.
            if !text[span.start..].starts_with(&masked) {
                found.push((span, format!("{masked}{}", &key[key.len() - 4..])));
            }
        }
    }
}

/// The maximal parts of a text that consist only of such characters.
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

/// A key without prefix that fills this part of the text.
fn without_prefix(text: &str, part: &Range<usize>) -> Option<(Range<usize>, String)> {
    let letters = Letters::of(&text[part.clone()]).folded;
    if letters.len() != KEY_CHARS {
        return None;
    }
    let key = FORMS.iter().find_map(|form| form.parse(&letters).ok())?;
    Some((part.clone(), mask(&key)))
}

/// The normalized key. Signed denials contain its hash, so the normalization must never change.
fn fold(text: &str) -> String {
    let is_dash = |c| matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    text.chars()
        .filter(|c| !c.is_whitespace() && !is_dash(*c))
        .flat_map(char::to_uppercase)
        .collect()
}

#[cfg(test)]
mod tests;

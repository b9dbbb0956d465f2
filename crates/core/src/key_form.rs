//! The form of the keys that the vendor issues, and how people write them.
//!
//! A prefix, fifteen random characters and a check character, from 31 letters and digits that
//! cannot be mistaken for one another. 31 is prime, so a weighted sum modulo 31 with different
//! weights detects every single wrong character and every swap of two. The sum is another one for
//! each kind of key, so a key whose prefix is missing is not taken for one of another kind.

use crate::pasted_text::{OddCharacters, half_width, is_dash, is_invisible, shown};

/// Digits and capitals without 0, 1, I, L and O.
pub(crate) const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
/// Number of characters after the prefix that are random.
const RANDOM_CHARS: usize = 15;
/// Number of characters after the prefix.
pub(crate) const KEY_CHARS: usize = RANDOM_CHARS + 1;

/// The form of one kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyForm {
    /// What each key begins with, in capitals.
    pub(crate) prefix: &'static str,
    /// The weighted sum of all characters modulo 31.
    sum: u32,
}

/// License keys.
pub(crate) const LICENSE: KeyForm = KeyForm {
    prefix: "FXSGHT",
    sum: 0,
};
/// Add-on keys.
pub(crate) const ADD_ON: KeyForm = KeyForm {
    prefix: "FXSADD",
    sum: 1,
};
/// Trial codes.
pub(crate) const TRIAL: KeyForm = KeyForm {
    prefix: "FXSTRY",
    sum: 2,
};

impl KeyForm {
    /// A key in canonical spelling from random bytes. Bytes of 248 and more are skipped, so that
    /// every character is equally likely; `None` if too few remain.
    pub(crate) fn random(&self, bytes: &[u8]) -> Option<String> {
        let values: Vec<u8> = bytes
            .iter()
            .filter(|byte| **byte < 248)
            .map(|byte| byte % 31)
            .take(RANDOM_CHARS)
            .collect();
        (values.len() == RANDOM_CHARS).then(|| self.spell(&values))
    }

    /// The key in a text, in canonical spelling.
    ///
    /// # Errors
    /// The first [`LicenseKeyError`] that applies.
    pub(crate) fn parse(&self, text: &str) -> Result<String, LicenseKeyError> {
        let entered = Entered::of(text);
        if let Some(body) = entered.whole(self) {
            return self.of_body(body);
        }
        let mut keys: Vec<String> = Vec::new();
        let mut wrong = None;
        for body in entered.within(self) {
            match self.of_body(body) {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(error) => wrong = Some(error),
            }
        }
        match (keys.pop(), wrong) {
            (Some(key), _) if keys.is_empty() => Ok(key),
            (Some(_), _) => Err(LicenseKeyError::Several),
            (None, Some(error)) => Err(error),
            (None, None) => Err(LicenseKeyError::Form(OddCharacters::of(text))),
        }
    }

    /// Whether a text contains a key of this form with its prefix, and a check character that
    /// matches.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let entered = Entered::of(text);
        entered
            .prefixed(self)
            .any(|body| self.of_body(body).is_ok())
    }

    /// The key with these sixteen characters after the prefix.
    fn of_body(&self, body: &[Letter]) -> Result<String, LicenseKeyError> {
        let mut values = Vec::with_capacity(KEY_CHARS);
        for Letter { c, .. } in body {
            let value = ALPHABET.iter().position(|a| char::from(*a) == *c);
            let value = value.ok_or(LicenseKeyError::Alphabet(*c))?;
            values.push(u8::try_from(value).unwrap_or(u8::MAX));
        }
        let check = values.pop().unwrap_or(u8::MAX);
        if values.len() != RANDOM_CHARS || check != self.check_value(&values) {
            return Err(LicenseKeyError::CheckCharacter);
        }
        Ok(self.spell(&values))
    }

    fn spell(&self, values: &[u8]) -> String {
        let mut text = String::from(self.prefix);
        let check = self.check_value(values);
        for (index, value) in values.iter().chain([&check]).enumerate() {
            if index % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(*value)]));
        }
        text
    }

    /// The value with which the weighted sum of all characters is that of the form. The weight of
    /// the check character is 1.
    fn check_value(&self, values: &[u8]) -> u8 {
        let sum: u32 = (2u32..)
            .zip(values)
            .map(|(weight, value)| weight * u32::from(*value))
            .sum();
        u8::try_from((31 + self.sum - sum % 31) % 31).unwrap_or_default()
    }
}

/// Text that was typed or pasted as a key.
pub(crate) struct Entered(Vec<Letter>);

/// A letter or digit in upper case and half width.
pub(crate) struct Letter {
    pub(crate) c: char,
    /// What separates it from the previous one.
    before: Gap,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    Nothing,
    Dash,
    /// White space or punctuation, possibly with dashes.
    Break,
}

impl Entered {
    pub(crate) fn of(text: &str) -> Self {
        let mut letters = Vec::new();
        let mut before = Gap::Nothing;
        for c in text.chars().filter(|c| !is_invisible(*c)).map(half_width) {
            if is_dash(c) {
                before = before.max(Gap::Dash);
            } else if c.is_alphanumeric() {
                for c in c.to_uppercase() {
                    letters.push(Letter { c, before });
                    before = Gap::Nothing;
                }
            } else {
                before = Gap::Break;
            }
        }
        Self(letters)
    }

    /// The sixteen characters of the key, if the whole text is a key.
    fn whole(&self, form: &KeyForm) -> Option<&[Letter]> {
        let has_prefix = self.has_prefix(form, 0);
        match self.0.len().checked_sub(KEY_CHARS)? {
            0 if !has_prefix => Some(&self.0),
            before if has_prefix && before == form.prefix.len() => self.0.get(before..),
            _ => None,
        }
    }

    /// The sixteen characters of each possible key within other text.
    fn within(&self, form: &KeyForm) -> impl Iterator<Item = &[Letter]> {
        self.prefixed(form).chain(self.dashed())
    }

    /// Keys that follow the prefix and are not part of something longer.
    pub(crate) fn prefixed(&self, form: &KeyForm) -> impl Iterator<Item = &[Letter]> {
        let starts = (0..self.0.len()).filter(|at| self.has_prefix(form, *at));
        starts.filter_map(|at| self.body(at + form.prefix.len()))
    }

    /// Keys without the prefix that are four groups of four with dashes in between.
    fn dashed(&self) -> impl Iterator<Item = &[Letter]> {
        let is_start = |at: &usize| *at == 0 || self.0[*at].before == Gap::Break;
        let starts = (0..self.0.len()).filter(is_start);
        let bodies = starts.filter_map(|at| self.body(at));
        bodies.filter(|body| {
            let gaps = body.iter().enumerate().skip(1);
            gaps.into_iter().all(|(index, letter)| {
                let expected = if index % 4 == 0 {
                    Gap::Dash
                } else {
                    Gap::Nothing
                };
                letter.before == expected
            })
        })
    }

    fn has_prefix(&self, form: &KeyForm, at: usize) -> bool {
        let letters = self.0[at..].iter().map(|letter| letter.c);
        letters.take(form.prefix.len()).eq(form.prefix.chars())
    }

    /// Sixteen characters from `start`, unless they are part of something longer.
    fn body(&self, start: usize) -> Option<&[Letter]> {
        let end = start + KEY_CHARS;
        let is_over = self.0.get(end).is_none_or(|next| next.before == Gap::Break);
        self.0.get(start..end).filter(|_| is_over)
    }
}

/// Why a text is not a license key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LicenseKeyError {
    /// The text does not have the format of a key.
    #[error("a license key looks like FXSGHT-XXXX-XXXX-XXXX-XXXX{}", contained(.0))]
    Form(OddCharacters),
    /// A character that keys never contain.
    #[error("license keys never contain the character {}", shown(*.0))]
    Alphabet(char),
    /// All characters are valid, but the check character does not match: a typing error.
    #[error("the license key contains a typing error")]
    CheckCharacter,
    /// More than one key.
    #[error("the text contains several license keys; enter only one")]
    Several,
}

impl LicenseKeyError {
    /// Characters that do not belong in a key and are easily overlooked, such as
    /// `U+0410, U+200B`; `None` if the text contains no such characters.
    #[must_use]
    pub fn odd_characters(&self) -> Option<String> {
        match self {
            Self::Form(odd) if !odd.is_empty() => Some(odd.to_string()),
            Self::Alphabet(c) if !c.is_ascii() => Some(shown(*c)),
            _ => None,
        }
    }
}

/// The part of a message about characters that do not belong in a key.
fn contained(odd: &OddCharacters) -> String {
    if odd.is_empty() {
        return String::new();
    }
    format!("; this text contains {odd}")
}

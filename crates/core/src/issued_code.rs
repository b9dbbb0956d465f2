//! Add-on keys and trial codes: what the vendor issues in addition to license keys.
//!
//! `FXSADD-XXXX-XXXX-XXXX-XXXX` and `FXSTRY-XXXX-XXXX-XXXX-XXXX`, with the characters of license
//! keys. The kind is in the prefix and in the check character, so a key that is entered in the wrong
//! place is recognized without asking anyone.

use std::fmt;

use crate::key_form::{ADD_ON, KeyForm, LICENSE, TRIAL};
use crate::license_key::{LicenseKeyError, fingerprint, mask};
use crate::pasted_text::shown;

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// An add-on key adds to a license.
    AddOn,
    /// A trial code starts a trial.
    Trial,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// It is a license key.
    License,
    /// It is a code.
    Code(CodeKind),
}

impl CodeKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::AddOn, Self::Trial];

    fn form(self) -> KeyForm {
        match self {
            Self::AddOn => ADD_ON,
            Self::Trial => TRIAL,
        }
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AddOn => "add-on key",
            Self::Trial => "trial code",
        }
    }

    /// The form of such codes, for people.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::AddOn => "FXSADD-XXXX-XXXX-XXXX-XXXX",
            Self::Trial => "FXSTRY-XXXX-XXXX-XXXX-XXXX",
        }
    }
}

impl KeyKind {
    /// What the keys in a text are for, by their prefix and check character; `None` if there is none,
    /// or if there are several kinds.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let codes = CodeKind::ALL.map(|kind| (kind.form(), Self::Code(kind)));
        let all = [(LICENSE, Self::License)].into_iter().chain(codes);
        let mut found = all.filter(|(form, _)| form.is_in(text));
        match (found.next(), found.next()) {
            (Some((_, kind)), None) => Some(kind),
            _ => None,
        }
    }
}

/// A well-formed code, in canonical spelling.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IssuedCode {
    kind: CodeKind,
    text: String,
}

/// Why a text is not a code of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCodeError {
    /// The kind.
    pub kind: CodeKind,
    /// What is wrong with the text.
    pub fault: LicenseKeyError,
}

impl std::error::Error for IssuedCodeError {}

impl fmt::Display for IssuedCodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, example) = (self.kind.name(), self.kind.example());
        match &self.fault {
            LicenseKeyError::Form(odd) if odd.is_empty() => {
                write!(f, "the {name} should look like {example}")
            }
            LicenseKeyError::Form(odd) => {
                write!(
                    f,
                    "the {name} should look like {example}; this text contains {odd}"
                )
            }
            LicenseKeyError::Alphabet(c) => {
                write!(f, "{name}s never contain the character {}", shown(*c))
            }
            LicenseKeyError::CheckCharacter => write!(f, "the {name} contains a typing error"),
            LicenseKeyError::Several => {
                write!(f, "the text contains more than one {name}; enter only one")
            }
        }
    }
}

impl IssuedCode {
    /// Creates a code from random bytes, as [`crate::license_key::LicenseKey::from_random`] does.
    #[must_use]
    pub fn from_random(kind: CodeKind, bytes: &[u8]) -> Option<Self> {
        let text = kind.form().random(bytes)?;
        Some(Self { kind, text })
    }

    /// Parses a code of a kind in all spellings of license keys, also without its prefix.
    ///
    /// # Errors
    /// [`IssuedCodeError`].
    pub fn parse(kind: CodeKind, text: &str) -> Result<Self, IssuedCodeError> {
        match kind.form().parse(text) {
            Ok(text) => Ok(Self { kind, text }),
            Err(fault) => Err(IssuedCodeError { kind, fault }),
        }
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> CodeKind {
        self.kind
    }

    /// The canonical spelling: a secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is stored of it, to find it again.
    #[must_use]
    pub fn hash(&self) -> String {
        fingerprint(&self.text)
    }

    /// What people are shown of it: its beginning and its last four characters.
    #[must_use]
    pub fn masked(&self) -> String {
        mask(&self.text)
    }
}

impl fmt::Debug for IssuedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedCode({})", self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license_key::{LicenseKey, mask_within};

    fn code(kind: CodeKind) -> IssuedCode {
        IssuedCode::from_random(kind, &[7; 32]).unwrap()
    }

    #[test]
    fn a_code_is_read_as_people_write_it_and_is_of_one_kind() {
        for kind in CodeKind::ALL {
            let code = code(kind);
            let text = code.as_str();
            let (prefix, body) = text.split_once('-').unwrap();
            for spelling in [
                text.to_owned(),
                text.to_lowercase(),
                text.replace('-', " "),
                body.to_owned(),
                body.replace('-', ""),
                format!("Your key: \u{201c}{text}\u{201d}, thank you"),
                format!("{prefix}\n{body}"),
            ] {
                assert_eq!(
                    IssuedCode::parse(kind, &spelling),
                    Ok(code.clone()),
                    "{spelling}"
                );
                assert!(LicenseKey::parse(&spelling).is_err(), "{spelling}");
                let others = CodeKind::ALL.into_iter().filter(|it| *it != kind);
                for other in others {
                    assert!(IssuedCode::parse(other, &spelling).is_err(), "{spelling}");
                }
            }
            assert_eq!(KeyKind::of(text), Some(KeyKind::Code(kind)));
        }
    }

    #[test]
    fn the_kind_of_a_key_is_known_only_if_there_is_one() {
        let license = LicenseKey::from_random(&[9; 32]).unwrap();
        let add_on = code(CodeKind::AddOn);
        assert_eq!(KeyKind::of(license.as_str()), Some(KeyKind::License));
        let both = format!("{} {}", license.as_str(), add_on.as_str());
        let mut wrong = add_on.as_str().to_owned();
        let last = wrong.pop().unwrap();
        wrong.push(if last == '2' { '3' } else { '2' });
        for text in ["", "FXSADD", &both, &wrong, "anything else"] {
            assert_eq!(KeyKind::of(text), None, "{text}");
        }
        let error = IssuedCode::parse(CodeKind::AddOn, &wrong).unwrap_err();
        assert_eq!(error.to_string(), "the add-on key contains a typing error");
    }

    #[test]
    fn codes_are_masked_within_texts() {
        for kind in CodeKind::ALL {
            let code = code(kind);
            let (_, body) = code.as_str().split_once('-').unwrap();
            for text in [code.as_str(), body, &code.as_str().to_lowercase()] {
                let masked = mask_within(&format!("redeem {text} now"), "");
                assert_eq!(masked, format!("redeem {} now", code.masked()));
            }
        }
    }
}

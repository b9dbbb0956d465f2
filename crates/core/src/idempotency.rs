//! Which calls repeat an earlier one, by the `Idempotency-Key` that they carry
//! (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! A key belongs to its caller. Nothing that is stored for a key reveals it, and the answer to a call
//! is stored encrypted, with a secret of the caller and the key ([`Keyed::answer_secret`]).

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use crate::customer_id::hexadecimal;

/// Maximum length of a key, in characters.
pub const MAX_KEY_CHARS: usize = 255;

/// How long an answer can be repeated.
pub const KEPT_FOR: TimeDelta = TimeDelta::hours(24);

/// A key that a caller has chosen for one call, such as a UUID: 1 to [`MAX_KEY_CHARS`] visible ASCII
/// characters.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid Idempotency-Key: expected 1 to {MAX_KEY_CHARS} visible ASCII characters, such as a UUID"
)]
pub struct NotAKey;

impl IdempotencyKey {
    /// Reads a key. The draft puts keys in quotation marks (section 2.1), but most programs do
    /// not: both forms are the same key.
    ///
    /// # Errors
    /// [`NotAKey`].
    pub fn parse(text: &[u8]) -> Result<Self, NotAKey> {
        let key = text.strip_prefix(b"\"");
        let key = key.and_then(|it| it.strip_suffix(b"\"")).unwrap_or(text);
        let is_key =
            (1..=MAX_KEY_CHARS).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        match String::from_utf8(key.to_vec()) {
            Ok(key) if is_key => Ok(Self(key)),
            _ => Err(NotAKey),
        }
    }
}

impl std::fmt::Debug for IdempotencyKey {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("IdempotencyKey(…)")
    }
}

/// Who makes a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeyOwner<'a> {
    /// The vendor's staff. They share their keys: a change that was requested with one token is not
    /// made again with another one.
    Staff {
        /// The number of the named token; `None` for the `ADMIN_TOKEN`.
        token: Option<i64>,
        /// The token itself.
        secret: &'a str,
    },
    /// A machine that uses a license. The machines of one license share their keys.
    Machine {
        /// The license key in its canonical form.
        license_key: &'a str,
        /// The machine.
        hardware_id: &'a str,
    },
    /// An installation that has no license key yet.
    Installation {
        /// The installation.
        installation_id: &'a str,
        /// Its machine.
        hardware_id: &'a str,
    },
}

impl KeyOwner<'_> {
    /// Whether this is the vendor's staff.
    #[must_use]
    pub fn is_staff(&self) -> bool {
        matches!(self, Self::Staff { .. })
    }

    /// Who shares the keys, the caller among them, and the caller's secret.
    fn texts(&self) -> (Vec<&str>, String, &str) {
        match *self {
            Self::Staff { token, secret } => {
                let token = token.map_or_else(String::new, |id| id.to_string());
                (vec!["staff"], token, secret)
            }
            Self::Machine {
                license_key,
                hardware_id,
            } => (
                vec!["license", license_key],
                hardware_id.to_owned(),
                license_key,
            ),
            Self::Installation {
                installation_id,
                hardware_id,
            } => (
                vec!["installation", installation_id],
                hardware_id.to_owned(),
                installation_id,
            ),
        }
    }
}

/// What is asked with a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, with its query.
    pub path: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
    /// The headers of a site that its answer depends on, such as the nonce.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// A call with a key, as it is stored: hashes of 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyed {
    /// The key, together with those who share it.
    pub id: String,
    /// Whether the vendor's staff makes the call.
    pub of_staff: bool,
    /// The caller.
    pub caller: String,
    /// The method, the path and the body.
    pub request: String,
    /// The headers.
    pub headers: String,
    /// What the answer is encrypted with, which is not stored: without the key and the caller's
    /// secret, no one can read the answer.
    pub answer_secret: [u8; 32],
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Keyed")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Keyed {
    /// A call of this caller with this key.
    #[must_use]
    pub fn new(key: &IdempotencyKey, owner: &KeyOwner<'_>, asked: &KeyedRequest<'_>) -> Self {
        let (sharing, caller, secret) = owner.texts();
        let sharing: Vec<&[u8]> = sharing.into_iter().map(str::as_bytes).collect();
        let of = |purpose: &str, more: &[&[u8]]| hash(purpose, &[&sharing, more].concat());
        let headers: Vec<&[u8]> = asked
            .headers
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value])
            .collect();
        let request = [asked.method.as_bytes(), asked.path.as_bytes(), asked.body];
        Self {
            id: hexadecimal(&of("key", &[key.0.as_bytes()])),
            of_staff: owner.is_staff(),
            caller: hexadecimal(&of("caller", &[caller.as_bytes()])),
            request: hexadecimal(&hash("request", &request)),
            headers: hexadecimal(&hash("headers", &headers)),
            answer_secret: of(
                "answer",
                &[caller.as_bytes(), secret.as_bytes(), key.0.as_bytes()],
            ),
        }
    }
}

/// With their lengths, the texts of one hash are never those of another one.
fn hash(purpose: &str, texts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in [&[purpose.as_bytes()], texts].concat() {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// What is stored for a key.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'a> {
    /// [`Keyed::caller`] of its call.
    pub caller: &'a str,
    /// [`Keyed::request`].
    pub request: &'a str,
    /// [`Keyed::headers`].
    pub headers: &'a str,
    /// When the call changed something, or was answered.
    pub at: DateTime<Utc>,
    /// Whether its answer is stored.
    pub is_answered: bool,
}

/// How a call relates to what is stored for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// What is stored no longer counts: the call is processed.
    New,
    /// The key was used by another caller.
    OtherCaller,
    /// The key was used for another request.
    OtherRequest,
    /// The call was answered, and gets the same answer.
    Answered,
    /// The call has changed something, and its answer is not known.
    Unanswered,
}

/// How the call `asked` relates to what is stored for its key, at `now`.
///
/// A site that repeats a call with other headers, such as a new nonce, can use only a new answer: the
/// call is processed. So is the call of a site whose answer is not known, because processing any call
/// of a site twice changes nothing more.
#[must_use]
pub fn repetition(noted: &Noted<'_>, asked: &Keyed, now: DateTime<Utc>) -> Repetition {
    if now - noted.at >= KEPT_FOR {
        Repetition::New
    } else if noted.caller != asked.caller {
        Repetition::OtherCaller
    } else if noted.request != asked.request {
        Repetition::OtherRequest
    } else if noted.headers != asked.headers {
        Repetition::New
    } else if noted.is_answered {
        Repetition::Answered
    } else if asked.of_staff {
        Repetition::Unanswered
    } else {
        Repetition::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAFF: KeyOwner<'_> = KeyOwner::Staff {
        token: Some(1),
        secret: "secret",
    };
    const SITE: KeyOwner<'_> = KeyOwner::Machine {
        license_key: "L",
        hardware_id: "m",
    };
    const ASKED: KeyedRequest<'_> = KeyedRequest {
        method: "POST",
        path: "/licenses",
        body: b"{}",
        headers: &[],
    };

    fn keyed(key: &str, owner: KeyOwner<'_>, asked: KeyedRequest<'_>) -> Keyed {
        Keyed::new(
            &IdempotencyKey::parse(key.as_bytes()).unwrap(),
            &owner,
            &asked,
        )
    }

    #[test]
    fn keys_are_visible_ascii_with_or_without_quotation_marks() {
        let longest = "x".repeat(MAX_KEY_CHARS);
        for text in ["a", "order-4711", "8e03978e-40d5", "\"", "a\"", &longest] {
            let key = IdempotencyKey::parse(text.as_bytes()).unwrap();
            let quoted = format!("\"{text}\"");
            assert_eq!(IdempotencyKey::parse(quoted.as_bytes()), Ok(key), "{text}");
        }
        let too_long = format!("{longest}x");
        for text in ["", "\"\"", "a b", " a", "a\t", "ä", "a\u{7f}", &too_long] {
            assert_eq!(
                IdempotencyKey::parse(text.as_bytes()),
                Err(NotAKey),
                "{text}"
            );
        }
        let shown = format!("{:?}", IdempotencyKey::parse(b"order-4711"));
        assert!(!shown.contains("4711"), "{shown}");
    }

    #[test]
    fn a_key_belongs_to_those_who_share_it() {
        let first = keyed("k", SITE, ASKED);
        let same_license = keyed(
            "k",
            KeyOwner::Machine {
                license_key: "L",
                hardware_id: "n",
            },
            ASKED,
        );
        assert_eq!(first.id, same_license.id);
        assert_ne!(first.caller, same_license.caller);
        assert_ne!(first.answer_secret, same_license.answer_secret);
        for other in [
            keyed("l", SITE, ASKED),
            keyed("k", STAFF, ASKED),
            keyed(
                "k",
                KeyOwner::Machine {
                    license_key: "M",
                    hardware_id: "m",
                },
                ASKED,
            ),
            keyed(
                "k",
                KeyOwner::Installation {
                    installation_id: "L",
                    hardware_id: "m",
                },
                ASKED,
            ),
        ] {
            assert_ne!(first.id, other.id);
            assert_ne!(first.answer_secret, other.answer_secret);
        }
        let renewed = KeyOwner::Staff {
            token: Some(1),
            secret: "another",
        };
        let (first, other) = (keyed("k", STAFF, ASKED), keyed("k", renewed, ASKED));
        assert_eq!((&first.id, &first.caller), (&other.id, &other.caller));
        assert_ne!(first.answer_secret, other.answer_secret);
    }

    #[test]
    fn a_repeated_call_is_recognized_by_everything_that_it_says() {
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let relation = |noted: &Keyed, is_answered, asked: &Keyed, later| {
            let noted = Noted {
                caller: &noted.caller,
                request: &noted.request,
                headers: &noted.headers,
                at: now,
                is_answered,
            };
            repetition(&noted, asked, now + later)
        };
        let (staff, site) = (keyed("k", STAFF, ASKED), keyed("k", SITE, ASKED));
        let second = TimeDelta::seconds(1);
        assert_eq!(relation(&staff, true, &staff, second), Repetition::Answered);
        assert_eq!(
            relation(&staff, false, &staff, second),
            Repetition::Unanswered
        );
        assert_eq!(relation(&site, true, &site, second), Repetition::Answered);
        assert_eq!(relation(&site, false, &site, second), Repetition::New);
        assert_eq!(relation(&staff, true, &staff, KEPT_FOR), Repetition::New);
        assert_eq!(
            relation(&staff, false, &staff, KEPT_FOR - second),
            Repetition::Unanswered
        );
        for other in [
            KeyedRequest {
                method: "PUT",
                ..ASKED
            },
            KeyedRequest {
                path: "/license",
                ..ASKED
            },
            KeyedRequest {
                body: b"{ }",
                ..ASKED
            },
            KeyedRequest {
                path: "/licenses{",
                body: b"}",
                ..ASKED
            },
        ] {
            let other = keyed("k", STAFF, other);
            assert_eq!(
                relation(&staff, true, &other, second),
                Repetition::OtherRequest
            );
        }
        let other = KeyOwner::Staff {
            token: None,
            secret: "secret",
        };
        assert_eq!(
            relation(&staff, true, &keyed("k", other, ASKED), second),
            Repetition::OtherCaller
        );
        let with_nonce = KeyedRequest {
            headers: &[("nonce", b"n")],
            ..ASKED
        };
        let with_nonce = keyed("k", SITE, with_nonce);
        assert_eq!(relation(&site, true, &with_nonce, second), Repetition::New);
    }
}

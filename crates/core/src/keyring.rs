//! The public keys that are trusted for signing, read from a JWK Set
//! (RFC 7517, with Ed25519 keys as in RFC 8037).
//!
//! A set has a version. [`crate::rotation`] defines how one set follows another.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::serde::ts_seconds_option;
use chrono::{DateTime, Utc};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::foreign_text;
use crate::pasted_text::{half_width, is_dash, is_invisible, is_quote, kind_of_text};
use crate::thumbprint::Thumbprint;
use crate::unambiguous_json;

/// Maximum number of keys in a set, so that every set is cheap to read.
pub const MAX_KEYS: usize = 64;

/// Keys by `kid`; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyring {
    version: u64,
    keys: BTreeMap<String, TrustedKey>,
    revoked: BTreeSet<String>,
}

/// A key and the documents that it may have signed.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustedKey {
    key: VerifyingKey,
    not_before: Option<DateTime<Utc>>,
    not_after: Option<DateTime<Utc>>,
}

/// A JWK Set in a file or a response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys; newest first if we wrote the set.
    pub keys: Vec<Jwk>,
    /// The version of the vendor's set; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Ids of keys that must never be trusted again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
}

/// The relevant members of a JWK; others are ignored (RFC 7517, 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type, `OKP` for ours.
    pub kty: String,
    /// Curve, `Ed25519` for ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// Public key, 32 bytes in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Private key. A set of trusted keys must not have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d: Option<String>,
    /// Key id; the RFC 7638 thumbprint if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// `EdDSA` for ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// `sig` for ours.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// The key has signed nothing with an `iat` before this instant.
    #[serde(
        default,
        with = "ts_seconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub nbf: Option<DateTime<Utc>>,
    /// The key has signed nothing with an `iat` after this instant.
    #[serde(
        default,
        with = "ts_seconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub exp: Option<DateTime<Utc>>,
}

/// Why a JWK Set is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The text is not a JWK Set.
    #[error("not a JWK Set: {0}")]
    NotAJwkSet(String),
    /// The set contains no Ed25519 signing key that is not revoked.
    #[error("the JWK Set contains no Ed25519 key for signatures")]
    Empty,
    /// More than [`MAX_KEYS`].
    #[error("the JWK Set contains {found} keys; the maximum is {MAX_KEYS}")]
    TooManyKeys {
        /// The number of keys.
        found: usize,
    },
    /// The set contains a private key.
    #[error("the JWK Set contains the private key '{kid}'; export the public keys instead")]
    PrivateKey {
        /// Key id.
        kid: String,
    },
    /// `x` is not a point of the curve, or a weak point that anyone can sign for.
    #[error("key '{kid}' is not a valid Ed25519 public key")]
    UnsoundKey {
        /// Key id.
        kid: String,
    },
    /// Two keys have the same id.
    #[error("the JWK Set contains two keys with the id '{kid}'")]
    DuplicateKeyId {
        /// Key id.
        kid: String,
    },
}

impl Keyring {
    /// Parses a JWK Set. Keys of other types are skipped, as required by RFC 7517, section 5.
    /// Changes that a word processor makes to quotes, hyphens and spaces are undone: the texts are
    /// ASCII.
    ///
    /// # Errors
    /// [`KeyringError`] if the set cannot be trusted.
    pub fn from_json(text: &str) -> Result<Self, KeyringError> {
        let read = |text: &str| unambiguous_json::from_str::<JwkSet>(text);
        let set = read(&with_straight_quotes(text)).or_else(|_| read(text));
        Self::from_jwk_set(&set.map_err(|error| {
            let why = match kind_of_text(text) {
                None | Some("JSON" | "a set of public keys (JWK Set)") => {
                    foreign_text::message(&error.to_string())
                }
                Some(kind) => format!("this is {kind}"),
            };
            KeyringError::NotAJwkSet(why)
        })?)
    }

    /// The same for a parsed set.
    ///
    /// # Errors
    /// As [`Keyring::from_json`].
    pub fn from_jwk_set(set: &JwkSet) -> Result<Self, KeyringError> {
        let found = set.keys.len();
        if found > MAX_KEYS {
            return Err(KeyringError::TooManyKeys { found });
        }
        let mut keys = BTreeMap::new();
        for jwk in &set.keys {
            let Some((kid, key)) = jwk.trusted_key()? else {
                continue;
            };
            if keys.insert(kid.clone(), key).is_some() {
                let kid = foreign_text::identifier(&kid);
                return Err(KeyringError::DuplicateKeyId { kid });
            }
        }
        let revoked: BTreeSet<String> = set.revoked.iter().cloned().collect();
        keys.retain(|kid, _| !revoked.contains(kid));
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(Self {
            version: set.version.unwrap_or(1),
            keys,
            revoked,
        })
    }

    /// The version of the vendor's set.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<&TrustedKey> {
        self.keys.get(kid)
    }

    /// Whether the key with this id must never be trusted again.
    #[must_use]
    pub fn is_revoked(&self, kid: &str) -> bool {
        self.revoked.contains(kid)
    }

    /// The ids of the keys that must never be trusted again.
    pub fn revoked(&self) -> impl Iterator<Item = &str> {
        self.revoked.iter().map(String::as_str)
    }

    /// The ids of all keys.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }
}

impl TrustedKey {
    /// The key itself.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Whether the key may have signed a document at `iat`. Both bounds are inclusive. The
    /// document's own time counts: retiring a key does not invalidate its documents.
    #[must_use]
    pub fn covers(&self, iat: DateTime<Utc>) -> bool {
        self.not_before.is_none_or(|from| from <= iat) && self.not_after.is_none_or(|to| iat <= to)
    }
}

impl Jwk {
    /// The JWK of an Ed25519 public key, with its thumbprint as id.
    #[must_use]
    pub fn from_verifying_key(key: &VerifyingKey) -> Self {
        let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
        Self {
            kty: "OKP".into(),
            crv: Some("Ed25519".into()),
            kid: Some(thumbprint(&x)),
            x: Some(x),
            d: None,
            alg: Some("EdDSA".into()),
            usage: Some("sig".into()),
            nbf: None,
            exp: None,
        }
    }

    /// `None` for a key of another type or use.
    fn trusted_key(&self) -> Result<Option<(String, TrustedKey)>, KeyringError> {
        let (Some("Ed25519"), Some(x)) = (self.crv.as_deref(), &self.x) else {
            return Ok(None);
        };
        if self.kty != "OKP" || self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Ok(None);
        }
        let kid = self.kid.clone().unwrap_or_else(|| thumbprint(x));
        if self.d.is_some() {
            let kid = foreign_text::identifier(&kid);
            return Err(KeyringError::PrivateKey { kid });
        }
        match verifying_key(x) {
            Some(key) => {
                let key = TrustedKey {
                    key,
                    not_before: self.nbf,
                    not_after: self.exp,
                };
                Ok(Some((kid, key)))
            }
            None => Err(KeyringError::UnsoundKey {
                kid: foreign_text::identifier(&kid),
            }),
        }
    }
}

/// The Ed25519 public key with this `x`; `None` if there is no such key, or if it is a weak one, for
/// which anyone can sign.
pub(crate) fn verifying_key(x: &str) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(x).ok()?.try_into().ok()?;
    let key = VerifyingKey::from_bytes(&bytes).ok()?;
    (!key.is_weak()).then_some(key)
}

/// The text with straight quotes, hyphens and spaces, and without invisible
/// characters.
fn with_straight_quotes(text: &str) -> String {
    let mut straight = String::with_capacity(text.len());
    for c in text.chars().map(half_width).filter(|c| !is_invisible(*c)) {
        match c {
            '\'' => straight.push(c),
            c if is_quote(c) => straight.push('"'),
            '\u{2013}'..='\u{2015}' => straight.push_str("--"),
            c if is_dash(c) => straight.push('-'),
            c if c.is_whitespace() => straight.push(' '),
            c => straight.push(c),
        }
    }
    straight
}

/// RFC 7638 thumbprint of an Ed25519 public key in base64url.
#[must_use]
pub fn thumbprint(x: &str) -> String {
    Thumbprint::of_x(x).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn set(members: &str) -> Result<Keyring, KeyringError> {
        Keyring::from_json(&format!(r#"{{"keys":[{members}]}}"#))
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_appendix_a_3() {
        assert_eq!(thumbprint(X), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_without_an_id_is_known_by_its_thumbprint() {
        let keyring = set(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#));
        assert!(keyring.is_ok_and(|k| k.get(&thumbprint(X)).is_some()));
    }

    #[test]
    fn keys_of_other_types_are_skipped_and_a_set_without_keys_is_an_error() {
        let rsa = r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
        let encryption = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","use":"enc"}}"#);
        assert_eq!(set(rsa).err(), Some(KeyringError::Empty));
        assert_eq!(set(&encryption).err(), Some(KeyringError::Empty));
        assert!(
            set(&format!(
                r#"{rsa},{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#
            ))
            .is_ok()
        );
    }

    #[test]
    fn a_set_has_at_most_64_keys() {
        let keys = |number: usize| {
            let key = |n| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"{n}"}}"#);
            set(&(0..number).map(key).collect::<Vec<_>>().join(","))
        };
        let full = keys(MAX_KEYS).unwrap();
        assert_eq!(full.key_ids().count(), 64);
        assert!(full.key_ids().any(|id| id == "63"));
        let found = MAX_KEYS + 1;
        assert_eq!(keys(found).err(), Some(KeyringError::TooManyKeys { found }));
    }

    #[test]
    fn a_set_is_read_in_any_encoding() {
        let text = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"a-b"}}]}}"#);
        let expected = Keyring::from_json(&text).unwrap();
        for carried in [
            format!("\u{feff}{text}"),
            text.replace(',', ",\u{a0}\u{200b}"),
            text.replace('"', "“"),
            text.replace("\":", "”:").replace('"', "„"),
            text.replace('-', "\u{2011}"),
        ] {
            assert_eq!(
                Keyring::from_json(&carried),
                Ok(expected.clone()),
                "{carried}"
            );
        }
        for (other, named) in [
            (
                "<html><body>sign in</body></html>",
                "not a JWK Set: this is an HTML page",
            ),
            (
                "\u{feff}-----BEGIN PUBLIC KEY-----\nMCow\n",
                "not a JWK Set: this is a public key (PEM)",
            ),
            (
                r#"{"keys":[],"keys":[]}"#,
                "not a JWK Set: duplicate field `keys`",
            ),
        ] {
            let error = Keyring::from_json(other).unwrap_err().to_string();
            assert!(error.starts_with(named), "{error}");
        }
    }

    #[test]
    fn unsafe_sets_are_rejected_with_a_reason() {
        let key = |extra: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k"{extra}}}"#);
        let kid = || "k".to_owned();
        assert_eq!(
            set(&key(&format!(r#","x":"{X}","d":"AAAA""#))).err(),
            Some(KeyringError::PrivateKey { kid: kid() })
        );
        assert_eq!(
            set(&key(r#","x":"AAAA""#)).err(),
            Some(KeyringError::UnsoundKey { kid: kid() })
        );
        // The neutral element: signatures by anyone verify with it.
        let neutral = format!(r#","x":"AQ{}""#, "A".repeat(41));
        assert_eq!(
            set(&key(&neutral)).err(),
            Some(KeyringError::UnsoundKey { kid: kid() })
        );
        let good = key(&format!(r#","x":"{X}""#));
        assert_eq!(
            set(&format!("{good},{good}")).err(),
            Some(KeyringError::DuplicateKeyId { kid: kid() })
        );
        assert!(matches!(
            Keyring::from_json("[]"),
            Err(KeyringError::NotAJwkSet(_))
        ));
    }
}

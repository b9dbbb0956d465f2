//! Replaces the vendor's keys without losing the trust of any client.
//!
//! Each key set is signed by a key of an earlier set and has a higher version. A client
//! starts with any set and follows the chain to the set that the vendor trusts now. The
//! whole chain is stored and verified again at every start, so that a set planted in a
//! database has no effect.
//!
//! A set completely replaces the previous one, so versions may be skipped. This is used to
//! shorten a long chain: see [`path_to_newest`].

use std::collections::BTreeMap;

use chrono::serde::ts_seconds;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::document::{Claims, DocumentError, DocumentType, read_part, verify};
use crate::keyring::{Jwk, JwkSet, Keyring};

/// Maximum total size of the key sets in one answer or license file, in bytes. Sites read
/// 1 MiB of either, which also contains the signed document and the text around it.
pub const MAX_KEY_SETS_BYTES: usize = 512 * 1024;
/// Maximum number of revoked keys in a set; the newest are kept. Trust does not depend on
/// them: a revoked key is not among the keys of any later set. This leaves room for
/// [`crate::keyring::MAX_KEYS`] keys in one document.
pub const MAX_NAMED_REVOKED: usize = 256;

/// The payload of a signed key set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeySetClaims {
    /// The issuer.
    pub iss: String,
    /// When it was signed.
    #[serde(with = "ts_seconds")]
    pub iat: DateTime<Utc>,
    /// Higher than the version of the set whose key signed this one.
    pub version: u64,
    /// All keys that are trusted from then on.
    pub keys: Vec<Jwk>,
    /// Ids of keys that must never be trusted again.
    #[serde(default)]
    pub revoked: Vec<String>,
}

impl Claims for KeySetClaims {
    fn iat(&self) -> DateTime<Utc> {
        self.iat
    }
}

/// The result of following a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The newest set reached.
    pub keyring: Keyring,
    /// The documents that were followed, in order.
    pub chain: Vec<String>,
    /// Why the rest of the documents was not followed.
    pub error: Option<DocumentError>,
}

/// Verifies that `jws` follows `keyring`, and returns its set and its exact content. A
/// revoked key stays revoked.
///
/// # Errors
/// The first [`DocumentError`] that applies.
pub fn follow(keyring: &Keyring, jws: &str) -> Result<(Keyring, KeySetClaims), DocumentError> {
    let claims: KeySetClaims = verify(jws, DocumentType::KeySet, keyring)?;
    if claims.version <= keyring.version() {
        return Err(DocumentError::KeySetVersion {
            found: claims.version,
            known: keyring.version(),
        });
    }
    let mut revoked = claims.revoked.clone();
    revoked.extend(keyring.revoked().map(str::to_owned));
    let set = JwkSet {
        keys: claims.keys.clone(),
        version: Some(claims.version),
        revoked,
    };
    Ok((Keyring::from_jwk_set(&set)?, claims))
}

/// Follows `chain` from `root` as far as possible. Sets that are not newer than the root
/// are skipped: a newer program has a newer root.
#[must_use]
pub fn walk(root: Keyring, chain: &[String]) -> Walk {
    let mut walk = Walk {
        keyring: root,
        chain: Vec::new(),
        error: None,
    };
    for jws in chain {
        if claimed_version(jws).is_some_and(|version| version <= walk.keyring.version()) {
            continue;
        }
        match follow(&walk.keyring, jws) {
            Ok((keyring, _)) => {
                walk.keyring = keyring;
                walk.chain.push(jws.clone());
            }
            Err(error) => {
                walk.error = Some(error);
                break;
            }
        }
    }
    walk
}

/// Key sets that lead a site towards the newest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathToNewest<'a, T> {
    /// The documents, in order.
    pub documents: Vec<&'a T>,
    /// Whether the last one is the newest set. If not, the site requests more from
    /// there.
    pub is_complete: bool,
}

/// The path from set `known` to the newest one, in documents of at most `max_bytes` in
/// total. `chain` has each set from version 2 on. `shortcuts` are additional copies of the
/// newest set, each signed by a key that is trusted by sites with the set of that version.
/// They are used only if the chain is too large, because a site that has followed the
/// whole chain can also follow it from the newer root of a newer program.
#[must_use]
pub fn path_to_newest<'a, T: AsRef<str>>(
    known: u64,
    chain: &'a [T],
    shortcuts: &'a BTreeMap<u64, T>,
    max_bytes: usize,
) -> PathToNewest<'a, T> {
    let known = known.max(1);
    let first = usize::try_from(known - 1).unwrap_or(usize::MAX);
    let rest = chain.get(first..).unwrap_or_default();
    let mut rest_bytes: usize = rest.iter().map(|set| set.as_ref().len()).sum();
    let mut left = max_bytes;
    let mut documents = Vec::new();
    for ((index, next), reached) in rest.iter().enumerate().zip(known..) {
        if rest_bytes <= left {
            documents.extend(rest.iter().skip(index));
            break;
        }
        let shortcut = shortcuts.get(&reached);
        if let Some(shortcut) = shortcut.filter(|it| it.as_ref().len() <= left) {
            documents.push(shortcut);
            break;
        }
        let bytes = next.as_ref().len();
        if bytes > left {
            let is_complete = false;
            return PathToNewest {
                documents,
                is_complete,
            };
        }
        documents.push(next);
        left -= bytes;
        rest_bytes -= bytes;
    }
    PathToNewest {
        documents,
        is_complete: true,
    }
}

/// The version that a document claims, without verification. Only used to skip
/// documents.
fn claimed_version(jws: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let payload = jws.split('.').nth(1)?;
    read_part::<Version>(payload).ok().map(|it| it.version)
}

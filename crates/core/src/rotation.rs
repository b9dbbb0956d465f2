//! How the vendor's keys change without any client losing trust.
//!
//! Each key set is signed by a key of a set before it, and its version is
//! higher. A client that starts with some set walks the chain from
//! there: what it ends with is what the vendor trusts now. The whole chain is
//! kept, so that it can be walked again at every start: a set that somebody
//! has written into a database is worth nothing.
//!
//! A set replaces the one before it as a whole, so versions may be left out. A long
//! chain is shortened that way: see [`path_to_newest`].

use std::collections::BTreeMap;

use chrono::serde::ts_seconds;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::document::{Claims, DocumentError, DocumentType, read_part, verify};
use crate::keyring::{Jwk, JwkSet, Keyring};

/// Maximum total length of the key sets in one answer or license file, in bytes. Sites
/// read 1 MiB of either; the signed document and the text around it come on top.
pub const MAX_KEY_SETS_BYTES: usize = 512 * 1024;
/// Maximum number of revoked keys that a set names, the newest ones. What sites believe
/// does not depend on it: a revoked key is not among the keys of any later set. It
/// leaves room for [`crate::keyring::MAX_KEYS`] keys in one document.
pub const MAX_NAMED_REVOKED: usize = 256;

/// The payload of a signed key set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeySetClaims {
    /// Who issued it.
    pub iss: String,
    /// When it was signed.
    #[serde(with = "ts_seconds")]
    pub iat: DateTime<Utc>,
    /// Above the version of the set whose key has signed this one.
    pub version: u64,
    /// All keys that are trusted from now on.
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

/// Where a walk along a chain has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The newest set that was reached.
    pub keyring: Keyring,
    /// The documents that led there, in order.
    pub chain: Vec<String>,
    /// Why the walk went no further, when documents were left.
    pub error: Option<DocumentError>,
}

/// Checks that `jws` follows `keyring`, and answers the set in it, and what it
/// says to the letter. Keys that were revoked once stay revoked.
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

/// Walks from `root` along `chain` as far as it goes. Sets that are not newer
/// than the root are passed over: a newer program has a newer root.
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
    /// Whether the last one is the newest set. Where it is not, the site asks again from
    /// there.
    pub is_complete: bool,
}

/// The path from set `known` to the newest one, in documents of at most `max_bytes`
/// together. `chain` has each set from version 2 on. `shortcuts` have the newest set once
/// more, each signed by a key that a site with the set of that version believes. They
/// are used only where the chain does not fit: a site that has followed the whole chain
/// can also follow it from a newer set that comes with a newer program.
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

/// What a document says its version is, before anything is verified: good
/// enough for leaving it out.
fn claimed_version(jws: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let payload = jws.split('.').nth(1)?;
    read_part::<Version>(payload).ok().map(|it| it.version)
}

//! How the vendor's keys change without any client losing trust.
//!
//! Each key set is signed by a key of the set before it, and its version is
//! exactly one higher. A client that starts with some set walks the chain from
//! there: what it ends with is what the vendor trusts now. The whole chain is
//! kept, so that it can be walked again at every start: a set that somebody
//! has written into a database is worth nothing.

use chrono::serde::ts_seconds;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::document::{Claims, DocumentError, DocumentType, read_part, verify};
use crate::keyring::{Jwk, JwkSet, Keyring};

/// The payload of a signed key set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeySetClaims {
    /// Who issued it.
    pub iss: String,
    /// When it was signed.
    #[serde(with = "ts_seconds")]
    pub iat: DateTime<Utc>,
    /// One above the version of the set whose key has signed this one.
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
    let expected = keyring.version().saturating_add(1);
    if claims.version != expected {
        return Err(DocumentError::KeySetVersion {
            found: claims.version,
            expected,
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

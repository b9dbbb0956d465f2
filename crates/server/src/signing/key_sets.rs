//! The published key sets, in the form in which sites receive them.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ed25519_dalek::Signer as _;
use license_core::document::{self, DocumentType};
use license_core::key_record::fingerprint;
use license_core::keyring::{Jwk, JwkSet};
use license_core::rotation::{KeySetClaims, MAX_KEY_SETS_BYTES, PathToNewest, path_to_newest};

use super::Key;

/// A signed key set. Its bytes are shared by all recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSet {
    jws: String,
    /// The document in quotes, as it appears in a response.
    json: Bytes,
}

/// The published sets of a directory.
pub(super) struct Published {
    /// The newest set.
    pub(super) set: JwkSet,
    /// Represents the first set in a fingerprint: its public keys, regardless of how the file is
    /// written.
    pub(super) first: String,
    /// The signed sets, from version 2 on.
    pub(super) chain: Vec<SignedSet>,
    /// The content of the newest of them.
    pub(super) newest: Option<KeySetClaims>,
    /// The keys of each set, from version 1 on, that its sites still trusted when it was signed.
    pub(super) believed: Vec<Vec<BelievedKey>>,
    /// Ids of all keys that were ever revoked.
    pub(super) revoked: Vec<String>,
}

/// A key of a set, and the times for which sites that have the set trust its signatures.
pub(super) struct BelievedKey {
    kid: String,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl SignedSet {
    pub(super) fn new(jws: String) -> Self {
        // A JWS contains no character that JSON escapes.
        let json = Bytes::from(format!("\"{jws}\""));
        Self { jws, json }
    }
}

impl AsRef<str> for SignedSet {
    fn as_ref(&self) -> &str {
        &self.jws
    }
}

/// The keys of a set that its sites trust at `iat` or later.
pub(super) fn believed(keys: &[Jwk], iat: Option<DateTime<Utc>>) -> Vec<BelievedKey> {
    let has_ended = |key: &&Jwk| iat.is_some_and(|iat| key.exp.is_some_and(|exp| exp < iat));
    let believed = |key: &Jwk| {
        Some(BelievedKey {
            kid: key.kid.clone()?,
            from: key.nbf,
            until: key.exp,
        })
    };
    let keys = keys.iter().filter(|key| !has_ended(key));
    keys.filter_map(believed).collect()
}

/// The newest set once more for the sites to which the whole chain cannot be sent in one
/// answer or file: by the version that they have, signed by a key of that set.
///
/// A key that was revoked since may sign it as well. Only sites that do not know of the revocation
/// accept that signature, and this document tells them. The signed content is exactly what was
/// published, including the date, so that no clock is involved.
pub(super) fn shortcuts(keys: &[Key], published: &Published) -> BTreeMap<u64, SignedSet> {
    let mut shortcuts = BTreeMap::new();
    let Some(newest) = &published.newest else {
        return shortcuts;
    };
    let mut rest_bytes: usize = published.chain.iter().map(|set| set.jws.len()).sum();
    let mut signed: HashMap<&str, Option<SignedSet>> = HashMap::new();
    let sets = (1..).zip(&published.believed).zip(&published.chain);
    for ((version, believed), next) in sets {
        if rest_bytes <= MAX_KEY_SETS_BYTES {
            break;
        }
        rest_bytes -= next.jws.len();
        let signs = |it: &&BelievedKey| {
            it.from.is_none_or(|from| from <= newest.iat)
                && it.until.is_none_or(|until| newest.iat <= until)
        };
        let key = |it: &BelievedKey| keys.iter().find(|key| key.kid == it.kid);
        let candidates = believed.iter().filter(signs).filter_map(key);
        let is_revoked = |key: &&Key| published.revoked.contains(&key.kid);
        let Some(key) = candidates.min_by_key(is_revoked) else {
            continue;
        };
        let sign = || {
            let sign = |input: &[u8]| key.secret.sign(input).to_bytes();
            let jws = document::encode(DocumentType::KeySet, &key.kid, newest, sign);
            jws.ok().map(SignedSet::new)
        };
        if let Some(shortcut) = signed.entry(&key.kid).or_insert_with(sign) {
            shortcuts.insert(version, shortcut.clone());
        }
    }
    shortcuts
}

/// The published sets, in the form in which sites receive them.
#[derive(Clone)]
pub(super) struct KeySets {
    /// Represents the first set.
    first: String,
    /// The signed sets, from version 2 on.
    chain: Vec<SignedSet>,
    shortcuts: BTreeMap<u64, SignedSet>,
    /// The newest set as JSON.
    set: Bytes,
    /// The same with an unfinished list of signed sets at its end.
    set_with_chain: Bytes,
}

impl KeySets {
    pub(super) fn new(keys: &[Key], published: Published) -> Result<Self, serde_json::Error> {
        let shortcuts = shortcuts(keys, &published);
        let set = serde_json::to_vec(&published.set)?;
        let mut set_with_chain = set.clone();
        set_with_chain.pop();
        set_with_chain.extend_from_slice(b",\"chain\":[");
        Ok(Self {
            first: published.first,
            chain: published.chain,
            shortcuts,
            set: set.into(),
            set_with_chain: set_with_chain.into(),
        })
    }

    /// Fingerprint of the set of this version; `None` if it does not exist.
    pub(super) fn fingerprint(&self, version: u64) -> Option<String> {
        let set = match version {
            0 => None,
            1 => Some(self.first.as_str()),
            later => {
                let index = usize::try_from(later - 2).ok()?;
                self.chain.get(index).map(AsRef::as_ref)
            }
        };
        set.map(fingerprint)
    }

    pub(super) fn after(&self, known: u64) -> PathToNewest<'_, SignedSet> {
        path_to_newest(known, &self.chain, &self.shortcuts, MAX_KEY_SETS_BYTES)
    }

    pub(super) fn answer(&self, after: Option<u64>) -> Vec<Bytes> {
        let Some(after) = after else {
            return vec![self.set.clone()];
        };
        let mut parts = vec![self.set_with_chain.clone()];
        for (index, set) in self.after(after).documents.into_iter().enumerate() {
            if index > 0 {
                parts.push(Bytes::from_static(b","));
            }
            parts.push(set.json.clone());
        }
        parts.push(Bytes::from_static(b"]}"));
        parts
    }
}

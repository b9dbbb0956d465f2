//! Sites get from any key set to the newest one.

use std::collections::BTreeMap;

use license_core::document::DocumentError;
use license_core::keyring::Keyring;
use license_core::rotation::{KeySetClaims, follow, path_to_newest, walk};
use proptest::prelude::*;

use crate::signer::{Signer, T0};

/// Sets that each contain their own key and the previous one, so that only the next document
/// and a shortcut are trusted.
struct History {
    /// The keys after each version, starting with 1.
    keyrings: Vec<Keyring>,
    chain: Vec<String>,
    /// The newest set, signed by the key of each version, starting with 1.
    shortcuts: BTreeMap<u64, String>,
}

fn claims(version: u8, padding: usize) -> KeySetClaims {
    KeySetClaims {
        iss: "x".repeat(padding),
        iat: T0,
        version: version.into(),
        keys: [version, version - 1]
            .iter()
            .flat_map(|number| Signer::numbered(*number).jwk_set().keys)
            .collect(),
        revoked: Vec::new(),
    }
}

fn history(paddings: &[usize]) -> History {
    let mut keyrings = vec![Signer::numbered(1).keyring()];
    let mut chain = Vec::new();
    let versions = (2_u8..).zip(paddings);
    for (version, padding) in versions.clone() {
        let jws = Signer::numbered(version - 1).key_set(&claims(version, *padding));
        let (keyring, _) = follow(keyrings.last().unwrap(), &jws).unwrap();
        keyrings.push(keyring);
        chain.push(jws);
    }
    let newest = versions
        .last()
        .map(|(version, padding)| claims(version, *padding));
    let shortcuts = newest.iter().flat_map(|newest| {
        let versions = (1..).take(paddings.len());
        versions.map(|version: u8| (version.into(), Signer::numbered(version).key_set(newest)))
    });
    History {
        keyrings,
        chain,
        shortcuts: shortcuts.collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With any shortcuts, a site with any set reaches the newest one with answers of bounded size,
    /// and trusts only what follows its own set.
    #[test]
    fn every_site_reaches_the_newest_set_in_bounded_answers(
        paddings in prop::collection::vec(0_usize..2000, 1..12),
        possible in prop::collection::vec(any::<bool>(), 12),
        max_bytes in 4000_usize..20_000,
    ) {
        let mut history = history(&paddings);
        history.shortcuts.retain(|version, _| possible[usize::try_from(*version).unwrap() - 1]);
        let newest = u64::try_from(history.keyrings.len()).unwrap();
        for root in &history.keyrings {
            let mut keyring = root.clone();
            let mut answers = 0;
            while keyring.version() < newest {
                let known = keyring.version();
                let path = path_to_newest(known, &history.chain, &history.shortcuts, max_bytes);
                let documents: Vec<String> = path.documents.iter().copied().cloned().collect();
                prop_assert!(documents.iter().map(String::len).sum::<usize>() <= max_bytes);
                let rest = &history.chain[usize::try_from(known).unwrap() - 1..];
                if rest.iter().map(String::len).sum::<usize>() <= max_bytes {
                    prop_assert_eq!(documents.as_slice(), rest);
                }
                let walk = walk(keyring, &documents);
                prop_assert_eq!(walk.error, None);
                prop_assert!(walk.keyring.version() > known, "no progress");
                prop_assert_eq!(path.is_complete, walk.keyring.version() == newest);
                keyring = walk.keyring;
                answers += 1;
            }
            prop_assert!(answers <= paddings.len());
            prop_assert_eq!(&keyring.key_ids().collect::<Vec<_>>(),
                &history.keyrings.last().unwrap().key_ids().collect::<Vec<_>>());
        }
    }
}

#[test]
fn unknown_versions_need_no_documents_and_oversized_ones_are_not_sent() {
    let history = history(&[0, 0]);
    let path = |known, max_bytes| {
        let none = BTreeMap::new();
        let path = path_to_newest(known, &history.chain, &none, max_bytes);
        (path.documents.len(), path.is_complete)
    };
    assert_eq!(path(0, 1_000_000), (2, true), "0 and 1 are the first set");
    assert_eq!(path(1, 1_000_000), (2, true));
    assert_eq!(path(2, 1_000_000), (1, true));
    assert_eq!(path(3, 1_000_000), (0, true));
    assert_eq!(path(u64::MAX, 0), (0, true));
    assert_eq!(path(1, history.chain[0].len()), (1, false));
    assert_eq!(path(1, history.chain[0].len() - 1), (0, false));
}

#[test]
fn a_set_that_is_not_newer_is_not_followed() {
    let first = Signer::numbered(1);
    let root = first.keyring();
    for found in [0, 1] {
        let jws = first.key_set(&KeySetClaims {
            version: found,
            ..claims(2, 0)
        });
        let error = follow(&root, &jws).unwrap_err();
        assert_eq!(error, DocumentError::KeySetVersion { found, known: 1 });
    }
}

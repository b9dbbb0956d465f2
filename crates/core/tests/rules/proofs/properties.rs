//! Proofs of any call, and texts of any form.

use license_core::installation_key::InstallationKey;
use license_core::offline::RequestFile;
use license_core::proof::{
    CallAddress, Endpoint, MAX_PROOF_BYTES, ReceivedCall, Statement, create, verify,
};
use license_core::protocol::{ACTIVATE, DEACTIVATE, HEARTBEAT, REDEEM, TRIAL, VALIDATE};
use proptest::prelude::*;

use super::{received, signed};
use crate::signer::T0;

const PATHS: [&str; 6] = [ACTIVATE, DEACTIVATE, HEARTBEAT, REDEEM, TRIAL, VALIDATE];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn a_proof_is_accepted_for_its_call_and_for_no_other(
        seed in any::<[u8; 32]>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
        other_body in prop::collection::vec(any::<u8>(), 0..300),
        nonce in "[A-Za-z0-9_-]{1,60}",
        other_nonce in "[A-Za-z0-9_-]{1,60}",
        prefix in "(/[a-z0-9]{1,8}){0,4}",
        host in "[a-z]{1,10}(:[0-9]{1,5})?",
        (path, other_path) in (0..6_usize, 0..6_usize),
        numbers in any::<(Option<u64>, Option<u64>)>(),
    ) {
        let key = InstallationKey::from_seed(&seed);
        let url = format!("https://{host}{prefix}{}", PATHS[path]);
        let proof = create(&key, &Statement {
            at_address: CallAddress::Http { method: "POST", url: &url },
            body: &body,
            nonce: &nonce,
            seq: numbers.0,
            document: None,
            challenge: numbers.1,
            at: T0,
        });
        prop_assert!(proof.len() <= MAX_PROOF_BYTES);
        let accepted = |path: usize, body: &[u8], nonce: &str| {
            let endpoint = Endpoint::Http { method: "POST", path: PATHS[path], hosts: &[] };
            verify(&proof, &ReceivedCall { endpoint, body, nonce })
        };
        let said = accepted(path, &body, &nonce).unwrap();
        prop_assert_eq!(said.thumbprint(), key.thumbprint());
        prop_assert_eq!((said.seq(), said.challenge()), numbers);
        prop_assert_eq!(accepted(other_path, &body, &nonce).is_ok(), path == other_path);
        prop_assert_eq!(accepted(path, &other_body, &nonce).is_ok(), body == other_body);
        prop_assert_eq!(accepted(path, &body, &other_nonce).is_ok(), nonce == other_nonce);
    }

    #[test]
    fn nothing_that_is_read_ever_panics(text in ".{0,80}", header in ".{0,40}", payload in ".{0,40}") {
        prop_assert!(verify(&text, &received()).is_err());
        prop_assert!(verify(&signed(&header, &payload), &received()).is_err());
        let _ = RequestFile::read(&text);
        let _ = create(&super::key(), &Statement {
            at_address: CallAddress::Http { method: &header, url: &text },
            ..super::statement()
        });
    }
}

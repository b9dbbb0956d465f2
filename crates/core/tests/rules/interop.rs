//! Documents of a standard JWT library verify with our code, and our documents are byte for
//! byte the ones that it verified. `vectors/make_with_pyjwt.py` generates the former and
//! verifies the latter.

use license_core::document::{verify_denial, verify_license};
use license_core::keyring::Keyring;

use crate::signer::{Signer, denial_claims, license_claims};

const OURS_LICENSE: &str = include_str!("../vectors/ours_license.jws");
const OURS_DENIAL: &str = include_str!("../vectors/ours_denial.jws");
const OURS_KEYS: &str = include_str!("../vectors/ours_keys.json");
const PYJWT_LICENSE: &str = include_str!("../vectors/pyjwt_license.jws");
const PYJWT_DENIAL: &str = include_str!("../vectors/pyjwt_denial.jws");
const PYJWT_KEYS: &str = include_str!("../vectors/pyjwt_keys.json");

#[test]
fn our_documents_are_those_that_the_other_library_verified() {
    let signer = Signer::vendor();
    let license = signer.license(&license_claims());
    let denial = signer.denial(&denial_claims());
    assert_eq!(license, OURS_LICENSE.trim());
    assert_eq!(denial, OURS_DENIAL.trim());
    let keyring = Keyring::from_json(OURS_KEYS).unwrap();
    assert!(verify_license(&license, &keyring).is_ok());
}

#[test]
fn documents_of_the_other_library_verify() {
    let keyring = Keyring::from_json(PYJWT_KEYS).unwrap();
    let license = verify_license(PYJWT_LICENSE.trim(), &keyring).unwrap();
    assert_eq!(license.claims(), &license_claims());
    let denial = verify_denial(PYJWT_DENIAL.trim(), &keyring).unwrap();
    assert_eq!(denial.claims(), &denial_claims());
}

//! License files that answer requests with a code.

use license_core::document::{DenialClaims, LicenseClaims};
use license_core::license_key::fingerprint;
use license_core::offline::{ImportError, Imported, OfflineRequest, Purpose, Reader, import};
use license_core::protocol::Call;
use license_core::remembered::Remembered;
use license_core::response::Mismatch;

use super::request;
use crate::signer::{HARDWARE, INSTALLATION, KEY, Signer, at, denial_claims, license_claims};

const CODE: &str = "FXSADD-AAAA-BBBB-CCCC-DDDD";

/// Imports a document at a site that has requested this.
fn imported(purpose: Purpose, current: Option<&str>, jws: &str) -> Result<Imported, ImportError> {
    let request = match purpose {
        Purpose::Redeem => OfflineRequest {
            purpose,
            add_on_key: Some(CODE.into()),
            ..request()
        },
        Purpose::Trial => OfflineRequest {
            purpose,
            license_key: CODE.into(),
            ..request()
        },
        _ => OfflineRequest {
            purpose,
            ..request()
        },
    };
    let pending = [request.pending()];
    assert!(
        !serde_json::to_string(&pending[0].code_hash)
            .unwrap()
            .contains(CODE)
    );
    let reader = Reader {
        installation_id: INSTALLATION,
        hardware_id: HARDWARE,
        pending: &pending,
        current: current.map(|key| (key, None)),
        remembered: &Remembered::default(),
    };
    import(jws, &reader, &Signer::vendor().keyring()).map(|(imported, _)| imported)
}

fn license(question: Call, code: Option<&str>) -> String {
    Signer::vendor().license(&LicenseClaims {
        offline: true,
        valid_until: at(24 * 90),
        exp: at(24 * 93),
        question: Some(question),
        code_hash: code.map(fingerprint),
        ..license_claims()
    })
}

fn denial(question: Call, code: Option<&str>) -> String {
    Signer::vendor().denial(&DenialClaims {
        question: Some(question),
        code_hash: code.map(fingerprint),
        ..denial_claims()
    })
}

#[test]
fn a_file_answers_the_code_of_its_request() {
    let other_code = Err(ImportError::Foreign(Mismatch::Code));
    for code in [None, Some("other"), Some("")] {
        for jws in [
            license(Call::Validate, code),
            denial(Call::Validate, code),
            denial(Call::Redeem, code),
        ] {
            assert_eq!(imported(Purpose::Redeem, Some(KEY), &jws), other_code);
        }
        for jws in [license(Call::Trial, code), denial(Call::Trial, code)] {
            assert_eq!(imported(Purpose::Trial, None, &jws), other_code);
        }
    }
    let redeemed = license(Call::Validate, Some(CODE));
    assert!(imported(Purpose::Redeem, Some(KEY), &redeemed).is_ok());
    let refused = denial(Call::Redeem, Some(CODE));
    assert!(imported(Purpose::Redeem, Some(KEY), &refused).is_ok());
    // Without the code, the same documents answer a renewal.
    assert_eq!(imported(Purpose::Renew, Some(KEY), &redeemed), other_code);
    let renewed = license(Call::Validate, None);
    assert!(imported(Purpose::Renew, Some(KEY), &renewed).is_ok());
}

#[test]
fn a_trial_is_answered_only_as_one_and_replaces_no_license() {
    let started = license(Call::Trial, Some(CODE));
    assert!(imported(Purpose::Trial, None, &started).is_ok());
    for current in [KEY, "FXSGHT-2222-2222-2222-2222"] {
        let replaced = imported(Purpose::Trial, Some(current), &started);
        assert_eq!(replaced, Err(ImportError::Licensed));
    }
    for question in [Call::Activate, Call::Validate] {
        for code in [None, Some(CODE)] {
            let other = imported(Purpose::Trial, None, &license(question, code));
            assert_eq!(other, Err(ImportError::OtherPurpose));
        }
    }
}

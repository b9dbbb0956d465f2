//! Whether an answer counts at the site.

use chrono::TimeDelta;
use license_core::document::{DenialReason, DocumentError, LicenseClaims};
use license_core::evidence::Evidence;
use license_core::license_key::fingerprint;
use license_core::offline::{ImportError, Imported, Pending, Purpose, Reader, import};
use license_core::remembered::Remembered;
use license_core::response::Mismatch;

use super::pending;
use crate::signer::{HARDWARE, INSTALLATION, KEY, SEQ, Signer, at, denial_claims, license_claims};

struct Site {
    pending: Vec<Pending>,
    current: Option<(&'static str, Option<u64>)>,
    remembered: Remembered,
    installation_id: &'static str,
    hardware_id: &'static str,
}

impl Site {
    fn waiting_for(purpose: Purpose) -> Self {
        Self {
            pending: vec![pending(purpose)],
            current: Some((KEY, None)),
            remembered: Remembered::default(),
            installation_id: INSTALLATION,
            hardware_id: HARDWARE,
        }
    }

    fn import(&self, jws: &str) -> Result<Imported, ImportError> {
        let reader = Reader {
            installation_id: self.installation_id,
            hardware_id: self.hardware_id,
            pending: &self.pending,
            current: self.current,
            remembered: &self.remembered,
        };
        import(jws, &reader, &Signer::vendor().keyring()).map(|(imported, answered)| {
            assert_eq!(answered, self.pending[0]);
            imported
        })
    }
}

fn offline() -> LicenseClaims {
    LicenseClaims {
        offline: true,
        valid_until: at(24 * 90),
        exp: at(24 * 93),
        ..license_claims()
    }
}

#[test]
fn an_answer_counts_for_the_request_that_it_answers() {
    let vendor = Signer::vendor();
    let license = vendor.license(&offline());
    for purpose in [Purpose::Activate, Purpose::Renew] {
        let imported = Site::waiting_for(purpose).import(&license);
        assert!(matches!(imported, Ok(Imported::License(_))), "{imported:?}");
    }
    assert_eq!(
        Site::waiting_for(Purpose::Deactivate).import(&license),
        Err(ImportError::OtherPurpose)
    );
    let denial = vendor.denial(&denial_claims());
    for purpose in [Purpose::Activate, Purpose::Renew, Purpose::Deactivate] {
        let imported = Site::waiting_for(purpose).import(&denial);
        assert!(matches!(imported, Ok(Imported::Denied(_))), "{imported:?}");
    }
    let mut receipt = denial_claims();
    receipt.reason = DenialReason::Deactivated;
    let receipt = vendor.denial(&receipt);
    assert_eq!(
        Site::waiting_for(Purpose::Deactivate).import(&receipt),
        Ok(Imported::Deactivated)
    );
    for purpose in [Purpose::Activate, Purpose::Renew] {
        assert_eq!(
            Site::waiting_for(purpose).import(&receipt),
            Err(ImportError::OtherPurpose)
        );
    }
}

#[test]
fn an_answer_that_does_not_count_is_rejected_with_a_reason() {
    let vendor = Signer::vendor();
    let refusal = |change: &dyn Fn(&mut LicenseClaims, &mut Site)| {
        let (mut claims, mut site) = (offline(), Site::waiting_for(Purpose::Activate));
        change(&mut claims, &mut site);
        site.import(&vendor.license(&claims)).unwrap_err()
    };
    assert_eq!(
        refusal(&|claims, _| claims.offline = false),
        ImportError::NotOffline
    );
    assert_eq!(
        refusal(&|claims, _| claims.nonce = Some("other".into())),
        ImportError::NotRequested
    );
    assert_eq!(
        refusal(&|claims, _| claims.nonce = None),
        ImportError::NotRequested
    );
    assert_eq!(
        refusal(&|_, site| site.installation_id = "other"),
        ImportError::Foreign(Mismatch::Installation {
            found: INSTALLATION.into()
        })
    );
    assert_eq!(
        refusal(&|_, site| site.hardware_id = "other"),
        ImportError::Foreign(Mismatch::Hardware)
    );
    assert_eq!(
        refusal(&|_, site| site.pending[0].license_key = "other".into()),
        ImportError::Foreign(Mismatch::LicenseKey)
    );
    for current in [None, Some(("other", None))] {
        let not_current = |site: &mut Site| {
            site.pending = vec![pending(Purpose::Renew)];
            site.current = current;
        };
        assert_eq!(
            refusal(&|_, site| not_current(site)),
            ImportError::NotCurrent
        );
    }
    let site = Site::waiting_for(Purpose::Activate);
    assert!(matches!(
        site.import(&Signer::untrusted().license(&offline())),
        Err(ImportError::NotGenuine(DocumentError::UnknownKeyId(_)))
    ));
    assert!(matches!(
        site.import("a.b.c"),
        Err(ImportError::NotGenuine(_))
    ));
}

#[test]
fn a_file_is_valid_until_its_lease_ends() {
    let vendor = Signer::vendor();
    let mut claims = offline();
    claims.valid_until = at(1);
    let imported = Site::waiting_for(Purpose::Renew).import(&vendor.license(&claims));
    let imported = imported.unwrap();
    let renewal = &Site::waiting_for(Purpose::Renew).pending[0];
    assert_eq!(imported.signed_at(renewal), Some(claims.iat));
    // The end is inclusive.
    assert_eq!(imported.is_still_good(at(1)), Ok(()));
    assert_eq!(
        imported.is_still_good(at(1) + TimeDelta::milliseconds(1)),
        Err(ImportError::Expired { valid_until: at(1) })
    );
    let denial = vendor.denial(&denial_claims());
    let denied = Site::waiting_for(Purpose::Renew).import(&denial).unwrap();
    assert_eq!(denied.signed_at(renewal), Some(denial_claims().iat));
    // Anyone can get a denial for any key.
    let activation = &Site::waiting_for(Purpose::Activate).pending[0];
    assert_eq!(denied.signed_at(activation), None);
    assert_eq!(denied.is_still_good(at(90_000)), Ok(()));
    assert_eq!(Imported::Deactivated.signed_at(renewal), None);
    assert_eq!(Imported::Deactivated.is_still_good(at(90_000)), Ok(()));
}

#[test]
fn an_answer_counts_once() {
    let vendor = Signer::vendor();
    let (license, denial) = (vendor.license(&offline()), vendor.denial(&denial_claims()));
    // The request is still pending, and its answer is known: from the license …
    let mut site = Site::waiting_for(Purpose::Renew);
    site.current = Some((KEY, Some(SEQ)));
    assert_eq!(site.import(&license), Err(ImportError::Reused));
    assert!(site.import(&denial).is_ok());
    site.current = Some((KEY, Some(SEQ - 1)));
    assert!(site.import(&license).is_ok());
    // … or from the state when it was written.
    let mut site = Site::waiting_for(Purpose::Activate);
    site.current = None;
    site.pending[0].newest_seq = Some(SEQ);
    assert_eq!(site.import(&license), Err(ImportError::Older));
    // The numbers of another license do not matter.
    site.pending[0].newest_seq = None;
    site.current = Some(("other", Some(SEQ + 9)));
    assert!(site.import(&license).is_ok());

    // It is no longer pending.
    let mut site = Site::waiting_for(Purpose::Renew);
    site.pending.clear();
    site.current = Some((KEY, Some(SEQ + 1)));
    assert_eq!(site.import(&license), Err(ImportError::Older));
    assert_eq!(site.import(&denial), Err(ImportError::Reused));
    site.current = Some((KEY, Some(SEQ - 1)));
    assert_eq!(site.import(&license), Err(ImportError::NotRequested));
    site.current = Some((KEY, None));
    assert_eq!(site.import(&license), Err(ImportError::NotRequested));
    site.current = Some(("other", Some(SEQ + 9)));
    assert_eq!(site.import(&license), Err(ImportError::NotRequested));
}

#[test]
fn what_is_remembered_decides_regardless_of_requests_and_the_current_license() {
    let vendor = Signer::vendor();
    let license = vendor.license(&offline());
    let seen = |seq| {
        let claims = LicenseClaims { seq, ..offline() };
        let evidence = Evidence::default().activated(vendor.lease(&claims), at(0));
        Remembered::default().with(&evidence)
    };
    for purpose in [Purpose::Activate, Purpose::Trial] {
        let question = purpose.call();
        let claims = LicenseClaims {
            question: Some(question),
            code_hash: (purpose == Purpose::Trial).then(|| fingerprint(KEY)),
            ..offline()
        };
        let license = vendor.license(&claims);
        for current in [None, Some(("other", Some(SEQ + 9)))] {
            for (remembered, is_new) in [
                (Remembered::default(), true),
                (seen(SEQ - 1), true),
                (seen(SEQ - 1).without(KEY), true),
                (seen(SEQ), false),
                (seen(SEQ).without(KEY), false),
                (seen(SEQ + 1), false),
            ] {
                // A trial starts only without a license.
                let current = current.filter(|_| purpose == Purpose::Activate || !is_new);
                let mut site = Site::waiting_for(purpose);
                (site.current, site.remembered) = (current, remembered);
                let imported = site.import(&license);
                assert_eq!(imported.is_ok(), is_new, "{purpose:?} {imported:?}");
                if !is_new {
                    assert_eq!(imported, Err(ImportError::Older));
                    site.pending.clear();
                    assert_eq!(site.import(&license), Err(ImportError::Older));
                }
            }
        }
    }
    let mut site = Site::waiting_for(Purpose::Renew);
    site.remembered = seen(SEQ + 1);
    assert_eq!(site.import(&license), Err(ImportError::Older));
}

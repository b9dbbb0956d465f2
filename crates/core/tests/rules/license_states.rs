//! The state of a sold license.

use chrono::TimeDelta;
use license_core::document::DenialReason;
use license_core::license_state::{Decided, LicenseState};

use crate::signer::T0;

#[test]
fn a_license_expires_after_its_end_unless_suspended_or_revoked() {
    let second = TimeDelta::seconds(1);
    for (end, valid) in [
        (None, LicenseState::Active),
        (Some(T0 + second), LicenseState::Active),
        (Some(T0), LicenseState::Active),
        (Some(T0 - second), LicenseState::Expired),
    ] {
        for (decided, expected, denial) in [
            (
                Decided::Valid,
                valid,
                (valid == LicenseState::Expired).then_some(DenialReason::Expired),
            ),
            (
                Decided::Suspended,
                LicenseState::Suspended,
                Some(DenialReason::Suspended),
            ),
            (
                Decided::Revoked,
                LicenseState::Revoked,
                Some(DenialReason::Revoked),
            ),
        ] {
            let state = LicenseState::of(decided, end, T0);
            assert_eq!((state, state.denial()), (expected, denial), "{end:?}");
        }
    }
}

//! License files: changes by e-mail that they survive, and reasons for rejection.

mod codes;
mod imports;
mod texts;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::offline::{OfflineRequest, Pending, Purpose, WrittenAhead, nonce};

use crate::signer::{HARDWARE, INSTALLATION, KEY, NONCE, T0, at};

fn request() -> OfflineRequest {
    OfflineRequest {
        purpose: Purpose::Activate,
        license_key: KEY.into(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: HARDWARE.into(),
        installation_id: INSTALLATION.into(),
        installation_name: "Zürich – Hafen".into(),
        installation_version: "1.0.0".into(),
        nonce: NONCE.into(),
        created_at: T0,
        key_set: 3,
        newest_seq: None,
        entitlements: false,
    }
}

fn pending(purpose: Purpose) -> Pending {
    let request = OfflineRequest {
        purpose,
        ..request()
    };
    request.pending()
}

#[test]
fn a_nonce_contains_its_time_and_is_unique() {
    let asked = T0 + TimeDelta::milliseconds(999);
    let nonce_of = |byte| nonce([byte; 24], asked);
    assert_ne!(nonce_of(1), nonce_of(2));
    assert_eq!(nonce_of(1).len(), 43);
    let ahead = |nonce: String| {
        let pending = Pending {
            nonce,
            ..pending(Purpose::Renew)
        };
        pending.check_nonce(at(-1)).err().map(|it| it.written_at)
    };
    assert_eq!(ahead(nonce_of(1)), Some(T0));
    for other in ["", "nonce", &"A".repeat(42), "%"] {
        assert_eq!(ahead(other.to_owned()), None, "{other}");
    }
}

#[test]
fn a_request_from_the_future_is_refused_by_either_of_its_times() {
    let ten_minutes = TimeDelta::minutes(10);
    let second = TimeDelta::seconds(1);
    for ahead in [
        -TimeDelta::days(9000),
        TimeDelta::zero(),
        ten_minutes,
        ten_minutes + second,
    ] {
        let then = T0 + ahead;
        for (asked, created_at) in [(then, T0), (T0, then), (then, then)] {
            for purpose in [Purpose::Activate, Purpose::Renew, Purpose::Deactivate] {
                let request = OfflineRequest {
                    purpose,
                    nonce: nonce([7; 24], asked),
                    created_at,
                    ..request()
                };
                let refused = (ahead > ten_minutes).then_some(WrittenAhead {
                    written_at: then,
                    now: T0,
                });
                assert_eq!(request.check_written(T0).err(), refused, "{ahead}");
            }
        }
    }
    let year_2100 = "2100-01-01T00:00:00Z".parse().unwrap();
    let request = OfflineRequest {
        created_at: year_2100,
        ..request()
    };
    assert_eq!(
        request.check_written(T0).unwrap_err().to_string(),
        "the request was written at 2100-01-01 00:00 UTC, but the time here is 2026-03-01 00:00 UTC: \
         set the clock of the site's machine, then write a new request there"
    );
    // No time is too far away, and none overflows.
    for created_at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let request = OfflineRequest {
            created_at,
            ..request.clone()
        };
        assert_eq!(request.check_written(T0).is_err(), created_at > T0);
    }
}

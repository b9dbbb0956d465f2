//! What staff reserve for a seat.

use chrono::TimeDelta;
use license_core::allocation::{Claim, Pool, ReservationRefused, Staircase};
use license_core::entitlement::Quantity;

use super::{always, at, cameras, holding, pool, staircase, totals};

#[test]
fn a_reservation_fits_with_what_is_signed_and_reserved_for_others() {
    let totals = always(100);
    let signed = staircase(&[(48, 30)]);
    let reserved = staircase(&[(10_000, 20)]);
    let claim = Claim {
        signed: &signed,
        reserved: Some(&reserved),
    };
    let pool = Pool::new(&totals, [claim], at(0));
    let all = pool.reserve(70, None).unwrap();
    assert_eq!(all.at(at(0)), 70);
    assert_eq!(all.at(at(50_000_000)), 70);
    let refused = pool.reserve(71, None).unwrap_err();
    let expected = ReservationRefused::Exceeds {
        amount: 71,
        at: at(0),
        free: 70,
    };
    assert_eq!(refused, expected);
    assert!(
        refused
            .to_string()
            .starts_with("71 cannot be reserved: only 70 are free at")
    );
    assert_eq!(pool.reserve(0, None), Ok(Staircase::default()));
}

#[test]
fn a_reservation_fits_at_every_instant_until_its_end() {
    let totals = totals([
        cameras(Quantity::Of(50), None, None),
        cameras(Quantity::Of(100), None, Some(10)),
    ]);
    let others = [holding(&[(20, 10)])];
    let pool = pool(&totals, &others);
    assert!(pool.reserve(140, Some(at(10))).is_ok());
    let refused = pool.reserve(140, None).unwrap_err();
    let expected = ReservationRefused::Exceeds {
        amount: 140,
        at: at(10) + TimeDelta::seconds(1),
        free: 40,
    };
    assert_eq!(refused, expected);
    let past = pool.reserve(1, Some(at(-1))).unwrap_err();
    assert_eq!(past, ReservationRefused::Ended(at(-1)));
}

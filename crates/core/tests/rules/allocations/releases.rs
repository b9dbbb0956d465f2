//! Releasing what a seat no longer needs.

use license_core::allocation::{Excess, Holding, ReleaseRefused, check_release};

use super::{always, at, holding, staircase};

fn lowered() -> Holding {
    let all = holding(&[(48, 50)]);
    all.with(&staircase(&[(96, 20)]), &always(100), at(0))
}

#[test]
fn the_excess_is_what_older_documents_carry_beyond_the_newest() {
    let excess = |holding: &Holding, hours| Excess::of(holding, at(hours));
    let expected = Excess {
        amount: 30,
        until: at(48),
    };
    assert_eq!(excess(&lowered(), 1), Some(expected));
    assert_eq!(excess(&lowered(), 50), None);
    assert_eq!(excess(&holding(&[(48, 50)]), 1), None);
    // An older document may also run longer.
    let long = holding(&[(2_000, 50)]).with(&staircase(&[(96, 50)]), &always(100), at(0));
    let expected = Excess {
        amount: 50,
        until: at(2_000),
    };
    assert_eq!(excess(&long, 1), Some(expected));
    let nothing = holding(&[(48, 50)]).with(&staircase(&[]), &always(100), at(0));
    assert_eq!(excess(&nothing, 0).map(|it| it.amount), Some(50));
}

#[test]
fn after_a_release_only_the_newest_document_counts() {
    let released = lowered().with_excess_released();
    assert_eq!(*released.signed(), staircase(&[(96, 20)]));
    assert_eq!(*released.passed_on(), staircase(&[(48, 50), (96, 20)]));
    assert_eq!(Excess::of(&released, at(0)), None);
}

#[test]
fn a_release_spends_a_move_and_concerns_only_leases_that_end_soon() {
    let excess = |hours| Excess {
        amount: 1,
        until: at(hours),
    };
    let check = |excesses: &[Excess], moves| check_release(excesses.to_vec(), moves, at(96));
    assert_eq!(check(&[excess(5), excess(96)], 1), Ok(at(96)));
    assert_eq!(check(&[], 1), Err(ReleaseRefused::NoExcess));
    let until = at(96);
    let none_left = Err(ReleaseRefused::NoMovesLeft { until });
    assert_eq!(check(&[excess(96)], 0), none_left);
    let until = at(97);
    let long = Err(ReleaseRefused::LongLease { until });
    assert_eq!(check(&[excess(97), excess(1)], 1), long);
}

use license_service::clock::ManualClock;

use super::*;

#[test]
fn a_mark_that_is_found_after_a_signed_answer_does_not_count() {
    let start: DateTime<Utc> = "2026-11-23T20:58:10.710449Z".parse().unwrap();
    let machine = Arc::new(ManualClock::at(start));
    let mark = Mark::unsigned("2038-01-19T03:14:08Z".parse().unwrap());
    for answered in [true, false] {
        let (clock, _) = EffectiveClock::start(machine.clone(), None);
        if answered {
            clock.prove(start, Duration::ZERO);
        }
        clock.restore(Some(&mark), None);
        let expected = if answered { start } else { mark.at };
        assert_eq!(clock.now(), expected);
    }
}

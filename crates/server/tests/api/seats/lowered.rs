//! A license gets fewer seats than are held.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::amendment::TermChanges;
use license_core::offline::Purpose;
use license_core::restored::number_at;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;
use serde_json::{Value, json};

use super::is_granted;
use crate::amendments::{amend, amended};
use crate::commands::{run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::restored::word;

on_both_engines! {
    the_machines_that_took_their_seats_last_run_until_their_leases_end;
    a_seat_that_is_freed_and_released_makes_room;
    a_machine_by_file_is_not_extended_either_and_may_give_its_seat_back;
    seats_that_are_lowered_later_are_extended_until_then;
    commands_show_which_seats_are_excess;
    an_invented_number_extends_an_excess_seat_once_for_each_amendment;
}

/// A license whose three seats were taken by `a`, `b` and `c` in this order, an hour apart.
async fn taken(engine: Engine) -> (Vendor, String) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(3),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    for machine in ["a", "b", "c"] {
        assert_eq!(vendor.activate(&key, machine).await.word(), "yes");
        vendor.clock.advance(TimeDelta::hours(1));
    }
    (vendor, key)
}

/// When the newest lease of a machine ends, with its grace period.
async fn end(vendor: &Vendor, key: &str, machine: &str) -> DateTime<Utc> {
    let seat = vendor.seat(key, machine).await.unwrap();
    assert!(seat.is_held());
    seat.signed_until.unwrap()
}

/// The machines whose seats are excess, as listed.
async fn excess(vendor: &Vendor, key: &str) -> Vec<String> {
    let listed = vendor.look(&format!("/licenses/{key}/seats")).await;
    let seats = listed["seats"].as_array().unwrap().iter();
    let excess = seats.filter(|it| it["excess"] == true);
    excess
        .map(|it| it["hardwareId"].as_str().unwrap().to_owned())
        .collect()
}

async fn the_machines_that_took_their_seats_last_run_until_their_leases_end(engine: Engine) {
    let (vendor, key) = taken(engine).await;
    let ends = [end(&vendor, &key, "b").await, end(&vendor, &key, "c").await];
    let lower = json!({"seats": 1});
    let preview = json!({"seats": 1, "preview": true});
    for body in [preview, lower] {
        let (_, answer) = amend(&vendor, &key, body).await;
        let shown = |machine: usize| {
            let it = &answer["installations"][machine];
            (it["excess"] == true, it["endsAt"].clone())
        };
        assert_eq!(
            (&answer["seatsHeld"], &answer["seats"]),
            (&json!(3), &json!(1))
        );
        assert_eq!(shown(0), (false, Value::Null));
        assert_eq!([shown(1), shown(2)], ends.map(|it| (true, json!(it))));
    }
    assert_eq!(excess(&vendor, &key).await, ["b", "c"]);
    assert_eq!(vendor.look("/fleet").await["licensesOverSeats"], 1);

    // Nothing that runs is stopped, and only the lease of the first machine is extended.
    vendor.clock.advance(TimeDelta::hours(20));
    for machine in ["c", "b", "a"] {
        assert_eq!(vendor.validate(&key, machine).await.word(), "yes");
        assert_eq!(vendor.heartbeat(&key, machine, 1).await.word(), "yes");
    }
    let again = vendor.activate(&key, "c").await;
    assert_eq!((again.word(), again.exp()), ("yes", ends[1]));
    let kept = end(&vendor, &key, "a").await;
    assert!(ends[1] < kept, "{kept}");
    assert_eq!(
        [end(&vendor, &key, "b").await, end(&vendor, &key, "c").await],
        ends
    );
    assert_eq!(vendor.activate(&key, "d").await.word(), "seat_limit");

    // The end is inclusive.
    vendor.clock.advance(ends[1] - vendor.clock.now());
    assert_eq!(vendor.validate(&key, "a").await.word(), "yes");
    let denied = vendor.validate(&key, "b").await;
    assert_eq!(denied.word(), "hardware_mismatch");
    assert_eq!(
        denied.message(),
        "The license now has 1 seat, and another machine took it before this one; deactivate the \
         license on a machine that has a seat and activate it here again, or ask your vendor for \
         another seat"
    );
    assert_eq!(vendor.validate(&key, "c").await.word(), "yes");
    vendor.clock.advance(TimeDelta::seconds(1));
    let denied = vendor.activate(&key, "c").await;
    assert_eq!(denied.word(), "seat_limit");
    assert!(
        denied.message().contains("now has 1 seat"),
        "{}",
        denied.message()
    );
    for machine in ["b", "c"] {
        assert!(!vendor.seat(&key, machine).await.unwrap().is_held());
    }
    assert_eq!(vendor.validate(&key, "a").await.word(), "yes");
    assert_eq!(excess(&vendor, &key).await, [""; 0]);
    let log = vendor.audit(&format!("?license={key}")).await;
    let freed = |it: &&Value| it["action"] == "seat_freed" && it["subject"] == "c";
    let freed = log.as_array().unwrap().iter().find(freed).unwrap();
    assert_eq!(
        (&freed["actor"], &freed["details"]["seats"]),
        (&json!("site"), &json!(1))
    );
    vendor.end().await;
}

async fn a_seat_that_is_freed_and_released_makes_room(engine: Engine) {
    let (vendor, key) = taken(engine).await;
    amended(&vendor, &key, json!({"seats": 2})).await;
    let bound = end(&vendor, &key, "c").await;
    vendor.clock.advance(TimeDelta::hours(2));
    // The freed seat counts until its lease ends.
    vendor.free(&key, "a").await.unwrap();
    assert_eq!(excess(&vendor, &key).await, ["c"]);
    assert_eq!(vendor.validate(&key, "c").await.exp(), bound);
    vendor.release(&key, "a").await.unwrap();
    assert_eq!(excess(&vendor, &key).await, [""; 0]);
    assert!(bound < vendor.validate(&key, "c").await.exp());
    // A machine that was ahead and takes its seat again is behind.
    assert_eq!(vendor.activate(&key, "a").await.word(), "seat_limit");
    // More seats make room as well.
    amended(&vendor, &key, json!({"seats": 1})).await;
    assert_eq!(excess(&vendor, &key).await, ["c"]);
    amended(&vendor, &key, json!({"seats": 3})).await;
    assert_eq!(vendor.activate(&key, "a").await.word(), "yes");
    amended(&vendor, &key, json!({"seats": 2})).await;
    assert_eq!(excess(&vendor, &key).await, ["a"]);
    vendor.end().await;
}

async fn a_machine_by_file_is_not_extended_either_and_may_give_its_seat_back(engine: Engine) {
    let (vendor, key) = taken(engine).await;
    amended(&vendor, &key, json!({"seats": 1})).await;
    let bound = end(&vendor, &key, "c").await;
    assert!(is_granted(&vendor, &key, Purpose::Renew, "c").await);
    assert_eq!(end(&vendor, &key, "c").await, bound);
    vendor.clock.advance(TimeDelta::days(5));
    assert_eq!(vendor.deactivate(&key, "c").await.word(), "deactivated");
    vendor.end().await;
}

async fn seats_that_are_lowered_later_are_extended_until_then(engine: Engine) {
    let (vendor, key) = taken(engine).await;
    let later = vendor.clock.now() + TimeDelta::hours(60);
    let body = json!({"seats": 1, "effectiveAt": later});
    let answer = amended(&vendor, &key, body).await;
    let last = &answer["installations"][2];
    assert_eq!(
        (&answer["seats"], &last["excess"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(last["endsAt"], Value::Null);
    assert_eq!(excess(&vendor, &key).await, [""; 0]);
    let bound = end(&vendor, &key, "c").await;
    vendor.clock.advance(TimeDelta::hours(20));
    let extended = vendor.validate(&key, "c").await.exp();
    assert!(bound < extended, "{extended}");
    vendor.clock.advance(TimeDelta::hours(41));
    assert_eq!(vendor.validate(&key, "c").await.exp(), extended);
    assert_eq!(excess(&vendor, &key).await, ["b", "c"]);
    vendor.end().await;
}

/// Stops the service, and starts it again later, so that it does not know which numbers are lost.
async fn restarted_later(vendor: Vendor) -> Vendor {
    let clock = vendor.clock.clone();
    let later = move || clock.advance(TimeDelta::hours(1));
    vendor.restarted_after(later).await
}

async fn an_invented_number_extends_an_excess_seat_once_for_each_amendment(engine: Engine) {
    let (mut vendor, key) = taken(engine).await;
    for (seats, is_extended) in [
        (Some(1), true),
        (None, false),
        (None, false),
        (Some(2), true),
    ] {
        if let Some(seats) = seats {
            amended(&vendor, &key, json!({"seats": seats})).await;
        }
        let before = end(&vendor, &key, "c").await;
        vendor = restarted_later(vendor).await;
        let invented = Some(number_at(vendor.clock.now()));
        assert_eq!(word(&vendor, "validate", &key, "c", invented).await, "yes");
        let after = end(&vendor, &key, "c").await;
        assert_eq!(before < after, is_extended, "{seats:?}: {before} {after}");
    }
    // When the last lease has ended, so has the seat.
    let until = end(&vendor, &key, "c").await;
    vendor
        .clock
        .advance(until - vendor.clock.now() + TimeDelta::seconds(1));
    vendor = restarted_later(vendor).await;
    let invented = Some(number_at(vendor.clock.now()));
    assert_ne!(word(&vendor, "validate", &key, "c", invented).await, "yes");
    vendor.end().await;
}

async fn commands_show_which_seats_are_excess(engine: Engine) {
    let (vendor, key) = taken(engine).await;
    vendor.to_the_present();
    for machine in ["a", "b", "c"] {
        vendor.validate(&key, machine).await;
    }
    let over = "Seats held: 3 of 2. The machines that took their seats last get no new lease";
    for amend in [&["--preview"][..], &[]] {
        let arguments = [&["amend", &key, "--seats", "2"], amend].concat();
        let text = said(&run(&vendor, &arguments).await);
        assert!(text.contains(over), "{text}");
        assert_eq!(text.matches("seat, runs until 20").count(), 1, "{text}");
    }
    for command in [&["seats", "list", &key][..], &["show", &key]] {
        let text = said(&run(&vendor, command).await);
        assert!(text.contains(over), "{text}");
        let line = text.lines().find(|it| it.contains("excess")).unwrap();
        assert!(line.starts_with("c "), "{text}");
    }
    vendor.end().await;
}

//! Seats: the limit holds for concurrent calls, and everything signed counts until it ends.

mod lowered;
mod pruned;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use license_core::amendment::TermChanges;
use license_core::offline::{OfflineRequest, Purpose};
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::licensing::seats::{ReleaseError, free};
use license_server::store::seats::{SeatsQuery, count_waiting, list};
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{NONCE, Vendor};
use crate::told::Told;

on_both_engines! {
    twenty_concurrent_machines_take_exactly_the_three_available_seats;
    activating_again_from_the_same_machine_is_free;
    a_seat_that_is_given_back_or_freed_goes_to_another_machine;
    a_seat_moves_within_the_budget_and_no_more;
    a_lease_by_file_counts_until_it_ends_or_is_released;
    a_lease_with_a_fraction_of_a_second_is_released_by_what_is_shown;
    concurrent_calls_spend_moves_correctly;
    signed_leases_never_exceed_seats_and_moves_and_releases;
}

async fn twenty_concurrent_machines_take_exactly_the_three_available_seats(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(3),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let mut tasks = tokio::task::JoinSet::new();
    for machine in 0..20 {
        let server = if machine % 2 == 0 { &vendor } else { &twin };
        let (http, url, key) = (server.http.clone(), server.url.clone(), key.clone());
        tasks.spawn(async move {
            let body = serde_json::json!({
                "licenseKey": key, "hardwareId": format!("machine-{machine}"),
                "installationId": "i", "installationName": "n", "installationVersion": "v",
            });
            let url = format!("{url}/api/licenses/activate");
            let answer = http.post(url).json(&body).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            let code = answer["error"]["code"].as_str().unwrap_or("yes");
            code.to_owned()
        });
    }
    let words = tasks.join_all().await;
    let count = |word: &str| words.iter().filter(|w| *w == word).count();
    assert_eq!((count("yes"), count("seat_limit")), (3, 17), "{words:?}");
    twin.stop().await;
    vendor.end().await;
}

async fn activating_again_from_the_same_machine_is_free(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for _ in 0..5 {
        assert_eq!(vendor.activate(&key, "one").await.word(), "yes");
    }
    assert_eq!(vendor.activate(&key, "two").await.word(), "seat_limit");
    assert_eq!(
        vendor.validate(&key, "two").await.word(),
        "hardware_mismatch"
    );
    vendor.end().await;
}

async fn a_seat_that_is_given_back_or_freed_goes_to_another_machine(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let first = vendor.activate(&key, "one").await.seq();
    assert_eq!(vendor.deactivate(&key, "one").await.word(), "deactivated");
    assert_eq!(
        vendor.deactivate(&key, "one").await.word(),
        "hardware_mismatch"
    );
    assert_eq!(vendor.activate(&key, "two").await.word(), "yes");
    assert_eq!(
        vendor.validate(&key, "one").await.word(),
        "hardware_mismatch"
    );

    let change = vendor.app.change(Actor::CommandLine);
    free(&vendor.app.store, &key, "two", &change).await.unwrap();
    assert!(free(&vendor.app.store, &key, "two", &change).await.is_err());
    assert_eq!(
        vendor.validate(&key, "two").await.word(),
        "hardware_mismatch"
    );
    let again = vendor.activate(&key, "one").await;
    assert_eq!(again.word(), "yes");
    assert!(again.seq() > first, "a freed seat's number keeps growing");
    vendor.end().await;
}

/// The attack: a machine's seat is given back behind its back, again and again.
async fn a_seat_moves_within_the_budget_and_no_more(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let mut last = vendor.activate(&key, "machine-0").await;
    assert_eq!(last.moves_left(), 3);
    for number in 1..=3 {
        vendor.clock.advance(TimeDelta::minutes(5));
        vendor
            .deactivate(&key, &format!("machine-{}", number - 1))
            .await;
        last = vendor.activate(&key, &format!("machine-{number}")).await;
        assert_eq!(last.moves_left(), 3 - number);
    }
    vendor.deactivate(&key, "machine-3").await;
    let refused = vendor.activate(&key, "machine-4").await;
    assert_eq!(refused.word(), "seat_limit");
    let message = "A seat of the license is free, but the machine that had it may run until \
        2026-11-28 12:15:00 UTC, and no moves are left (3 in 365 days); activate the license here \
        after that, or ask your vendor to release the seat";
    assert_eq!(refused.message(), message);

    // Its own place is a machine's own: no move is spent.
    let again = vendor.activate(&key, "machine-3").await;
    assert_eq!((again.word(), again.moves_left()), ("yes", 0));
    // One that was moved away has no place any more.
    assert_eq!(
        vendor.activate(&key, "machine-0").await.word(),
        "seat_limit"
    );

    // When the old lease has ended, none is spent either.
    vendor.free(&key, "machine-3").await.unwrap();
    vendor.clock.advance(again.exp() - vendor.clock.now());
    assert_eq!(
        vendor.activate(&key, "machine-4").await.word(),
        "seat_limit"
    );
    vendor.clock.advance(TimeDelta::seconds(1));
    assert_eq!(vendor.activate(&key, "machine-4").await.moves_left(), 0);

    // After the period there are moves again, as many as were spent before it.
    vendor.clock.advance(TimeDelta::days(361));
    let kept = vendor.validate(&key, "machine-4").await;
    assert_eq!(kept.moves_left(), 3);
    assert_eq!(vendor.seat(&key, "machine-4").await.unwrap().overlap, None);

    let shown = vendor.look(&format!("/licenses/{key}")).await;
    assert_eq!(
        (&shown["movesLeft"], &shown["license"]["moves"]),
        (&json!(3), &json!(3))
    );
    let log = vendor.audit(&format!("?license={key}&limit=500")).await;
    let moved: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["action"] == "seat_moved")
        .collect();
    assert_eq!(moved.len(), 3);
    assert_eq!(
        moved[2]["details"],
        json!({"from": "machine-0", "mayRunUntil": "2026-11-28T12:00:00Z", "movesLeft": 2})
    );
    assert_eq!(
        (&moved[2]["subject"], &moved[2]["actor"]),
        (&json!("machine-1"), &json!("site"))
    );
    vendor.end().await;
}

/// Whether a request file of this machine is granted.
async fn is_granted(vendor: &Vendor, key: &str, purpose: Purpose, machine: &str) -> bool {
    let request = OfflineRequest {
        purpose,
        license_key: key.to_owned(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: machine.to_owned(),
        installation_id: machine.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        created_at: vendor.clock.now(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
    };
    let body = json!({"request": request.to_file()});
    let (status, answer) = vendor.post("offline", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["data"]["granted"] == true
}

async fn a_lease_by_file_counts_until_it_ends_or_is_released(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let by_file = async |purpose, machine: &str| is_granted(&vendor, &key, purpose, machine).await;
    assert!(by_file(Purpose::Activate, "a").await);
    let until = vendor.seat(&key, "a").await.unwrap().signed_until.unwrap();
    assert_eq!(until.to_rfc3339(), "2027-02-25T12:00:00+00:00");
    // A shorter newer lease, giving back, a denial and activating again change nothing.
    vendor.validate(&key, "a").await;
    vendor.activate(&key, "a").await;
    assert!(by_file(Purpose::Deactivate, "a").await);
    vendor.validate(&key, "a").await;
    assert!(!by_file(Purpose::Activate, "b").await);
    vendor.activate(&key, "a").await;
    vendor.free(&key, "a").await.unwrap();
    let seat = vendor.seat(&key, "a").await.unwrap();
    assert_eq!((seat.signed_until, seat.is_held()), (Some(until), false));

    for machine in ["b", "c"] {
        let refused = vendor.activate(&key, machine).await;
        assert_eq!(refused.word(), "seat_limit");
        let message = refused.message();
        assert!(
            message.contains("may run until 2027-02-25 12:00:00 UTC"),
            "{message}"
        );
        assert!(message.contains("moves left: 3"), "{message}");
    }
    // Staff have to have seen the overlap.
    let path = format!("/licenses/{key}/release-seat");
    let release = async |until: Value| {
        let body = json!({"hardwareId": "a", "confirmedUntil": until});
        vendor.admin(Method::POST, &path, body).await
    };
    for too_early in [Value::Null, json!("2027-02-25T11:59:59Z")] {
        let (status, answer) = release(too_early).await;
        assert_eq!(status, StatusCode::CONFLICT);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("2027-02-25T12:00:00Z"), "{message}");
    }
    let (status, seat) = release(json!("2027-02-25T12:00:00Z")).await;
    assert_eq!(
        (status, &seat["overlap"]),
        (StatusCode::OK, &json!("released"))
    );
    assert_eq!(
        release(json!("2027-02-25T12:00:00Z")).await.0,
        StatusCode::CONFLICT
    );
    let activated = vendor.activate(&key, "b").await;
    assert_eq!((activated.word(), activated.moves_left()), ("yes", 3));
    // A seat that is held is freed first.
    let held = vendor.release(&key, "b").await;
    assert!(matches!(held, Err(ReleaseError::Held(_))), "{held:?}");
    let unknown = vendor.release(&key, "x").await;
    assert!(
        matches!(unknown, Err(ReleaseError::NotWaiting(_))),
        "{unknown:?}"
    );
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_eq!(
        (
            &log[1]["action"],
            &log[1]["details"]["mayRunUntil"],
            &log[1]["actor"]
        ),
        (
            &json!("seat_released"),
            &json!("2027-02-25T12:00:00Z"),
            &json!("break-glass")
        )
    );
    vendor.end().await;
}

async fn a_lease_with_a_fraction_of_a_second_is_released_by_what_is_shown(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    vendor.free(&key, "machine").await.unwrap();
    // As a migration computes it from when the machine called last.
    let migrated = "UPDATE seats SET signed_until = '2026-11-28 12:00:00.123456'";
    vendor.database.execute(migrated).await;
    let path = format!("/licenses/{key}/release-seat");
    let release = async |until: &str| {
        let body = json!({"hardwareId": "machine", "confirmedUntil": until});
        vendor.admin(Method::POST, &path, body).await
    };
    let (status, answer) = release("2026-11-28T11:59:59Z").await;
    assert_eq!(status, StatusCode::CONFLICT);
    let message = answer["error"]["message"].as_str().unwrap();
    let shown = "2026-11-28T12:00:00Z";
    assert!(message.contains(shown), "{message}");
    let (status, answer) = release(shown).await;
    assert_eq!(
        (status, &answer["overlap"]),
        (StatusCode::OK, &json!("released"))
    );
    vendor.end().await;
}

async fn concurrent_calls_spend_moves_correctly(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(2),
            moves: Some(1),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    for machine in ["a", "b"] {
        vendor.activate(&key, machine).await;
        vendor.deactivate(&key, machine).await;
    }
    let asking = (0..12).map(|number| {
        let server = if number % 2 == 0 { &vendor } else { &twin };
        let (key, machine) = (&key, format!("machine-{number}"));
        async move { server.activate(key, &machine).await.word() == "yes" }
    });
    let granted = join_all(asking).await;
    assert_eq!(granted.iter().filter(|yes| **yes).count(), 1);
    twin.stop().await;
    vendor.end().await;
}

/// A sequence of operations over several machines, drawn from a seed.
async fn signed_leases_never_exceed_seats_and_moves_and_releases(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for seats in [1_u32, 2] {
        let request = IssueRequest {
            terms: TermChanges {
                seats: Some(seats),
                moves: Some(2),
                moves_period_days: Some(20),
                ..TermChanges::default()
            },
            ..IssueRequest::of(Tier::Standard)
        };
        let key = vendor.issue(request).await;
        let license = look_up(&vendor.app.store, &key).await.unwrap();
        let mut leases: BTreeMap<String, Vec<DateTime<Utc>>> = BTreeMap::new();
        for _ in 0..60 {
            let machine = format!("machine-{}", draw(5));
            let signed = match draw(12) {
                0..=4 => Some(vendor.activate(&key, &machine).await),
                5 => Some(vendor.validate(&key, &machine).await),
                6 => Some(vendor.heartbeat(&key, &machine, 1).await),
                7 | 8 => Some(vendor.deactivate(&key, &machine).await),
                9 => {
                    let _freed = vendor.free(&key, &machine).await;
                    None
                }
                10 => {
                    let _released = vendor.release(&key, &machine).await;
                    None
                }
                _ => {
                    vendor
                        .clock
                        .advance(TimeDelta::hours(i64::try_from(draw(90)).unwrap()));
                    None
                }
            };
            if let Some(Told::License(document, _)) = &signed {
                let exp = document.claims().exp;
                leases.entry(machine.clone()).or_default().push(exp);
                let stored = vendor.seat(&key, &machine).await.unwrap();
                assert!(stored.signed_until >= Some(exp), "what is signed is stored");
            }
            let now = vendor.clock.now();
            let db = vendor.app.store.reader();
            let all = list(db, &license.id, &SeatsQuery::default(), 99)
                .await
                .unwrap();
            let waiting = all
                .rows
                .iter()
                .filter(|it| it.state().is_waiting(now))
                .count();
            let counted = count_waiting(db, &license.id, "", now).await.unwrap();
            assert_eq!(counted, u64::try_from(waiting).unwrap(), "one rule");
            let log = vendor.audit(&format!("?license={key}&limit=500")).await;
            let open = log.as_array().unwrap().iter().filter(|it| {
                let until = it["details"]["mayRunUntil"].as_str();
                until.is_some_and(|until| now <= until.parse::<DateTime<Utc>>().unwrap())
            });
            let open = open.count();
            let running = leases
                .values()
                .filter(|it| it.iter().any(|exp| now <= *exp));
            let running = running.count();
            let seats = usize::try_from(seats).unwrap();
            assert!(running <= seats + open, "{running} > {seats} + {open}");
        }
        assert!(leases.len() > 2, "several machines had their turn");
    }
    vendor.end().await;
}

//! What the sample rows have become.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::amendment::UpdateRule;
use license_core::catalogue::Kind;
use license_core::customer_id::name_key;
use license_core::entitlement::Quantity;
use license_core::seat::Overlap;
use license_core::suspicion::installation_fingerprint;
use license_server::licensing::look_up::look_up;
use license_server::store::{
    Store, add_ons, admin_tokens, amendments, audit_log, bulk_lines, calls, catalogue,
    commit_proofs, console_sessions, coverage, customers, idempotency_keys, key_record, licenses,
    lost_numbers, plans, seat_moves, seats, signing_clock, site_entries, suspicions, trial_codes,
    trials, usage_days,
};

use crate::database::{Engine, TestDatabase};

pub(super) async fn check_license(store: &Store) -> licenses::License {
    let license = look_up(store, "FXSGHT-2222-2222-2222-2222").await.unwrap();
    assert_eq!(license.customer, "Harbour Ltd");
    assert_eq!(license.features, ["module.map_view"]);
    assert_eq!(
        license.expires_at.unwrap().to_rfc3339(),
        "2030-12-31T23:59:59+00:00"
    );
    assert_eq!((license.moves, license.moves_period_days), (3, 365));
    let amendments = amendments::of_license(store.reader(), &license.id).await;
    let amendments = amendments.unwrap();
    assert_eq!(amendments[0].author, "migration");
    let order = amendments[1].order.as_deref();
    assert_eq!(
        (amendments.len(), license.amendment, order),
        (2, 2, Some("4711"))
    );
    let at = amendments[1].effective_at;
    let later = licenses::amended(store.reader(), license.clone(), &amendments, at).await;
    let later = later.unwrap();
    assert_eq!((later.max_cameras, later.features.len()), (48, 0));
    let judged_at = license.judged_at.map(|at| at.to_rfc3339());
    assert_eq!(judged_at.as_deref(), Some("2026-11-26T12:00:00+00:00"));
    let starts_at = license.starts_at.map(|at| at.to_rfc3339());
    assert_eq!(starts_at.as_deref(), Some("2026-11-24T00:00:00+00:00"));
    assert!(license.trial);
    let counts = [("doors", Quantity::Of(4)), ("lanes", Quantity::Unlimited)];
    let counts = counts.map(|(key, quantity)| (key.to_owned(), quantity));
    assert_eq!(license.counts, counts.into());
    let lasts = license.lasts_from_activation.map(|it| it.to_string());
    assert_eq!(lasts.as_deref(), Some("P30D"));
    let line = bulk_lines::find(store.reader(), "abc").await.unwrap();
    assert_eq!(line.map(|it| it.amendment), Some(2));
    let call = idempotency_keys::find(store.reader(), "hash-of-a-key").await;
    let call = call.unwrap().unwrap();
    assert_eq!(call.answer.map(|it| it.status), Some(201));
    license
}

pub(super) async fn check_seats(store: &Store, license: &licenses::License) -> Vec<seats::Seat> {
    let query = seats::SeatsQuery::default();
    let seats = seats::list(store.reader(), &license.id, &query, 9)
        .await
        .unwrap()
        .rows;
    assert_eq!(seats.len(), 2);
    // What heartbeats may have had signed counts where nothing else is known, and
    // where it ends later than what is known.
    let ends = seats
        .iter()
        .map(|seat| seat.signed_until.unwrap().to_rfc3339());
    let ends: Vec<String> = ends.collect();
    assert_eq!(
        ends,
        ["2026-11-28T12:00:00+00:00", "2026-11-29T12:00:00+00:00"]
    );
    assert_eq!(seats[0].overlap, Some(Overlap::Moved));
    assert!(seats[1].trail().says_seq && !seats[0].trail().says_seq);
    let since = "2026-11-25T11:59:59Z".parse().unwrap();
    let moves = seat_moves::count_after(store.reader(), &license.id, since).await;
    assert_eq!(moves.unwrap(), 1);
    assert!(!seats[0].is_held() && seats[1].is_held());
    assert_eq!(seats[1].last_seq, 1_795_521_600_000);
    let trail = seats[1].trail();
    assert_eq!(trail.answered, 1_795_521_600_000);
    assert_eq!(
        (trail.behind_at, trail.behind),
        (Some(1_795_521_500_000), 1)
    );
    let former = &trail.former_installations[0];
    assert_eq!(
        former.fingerprint,
        installation_fingerprint("an-installation")
    );
    assert_eq!(former.replaced_at, seats[1].activated_at);
    assert_eq!(seats[0].trail().former_installations[0].fingerprint, "abc");
    assert_eq!(seats[0].trail().lost_claim, Some(1_795_521_400_000));
    assert!(seats[0].trail().files.contains(1_795_521_450_000));
    assert_eq!((trail.lost_claim, trail.behind_since), (None, None));
    let regressions = seats[0].trail().regressions;
    assert_eq!(
        (regressions.times.len(), regressions.newest),
        (2, Some(1_795_521_300_000))
    );
    let first = "2026-11-24T12:00:00Z".parse::<DateTime<Utc>>();
    assert_eq!(trail.regressions.times, [first.unwrap()]);
    let bound = seats[1].bound_key.as_ref().unwrap();
    assert_eq!(
        bound.jkt().to_string(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    assert_eq!(seats[1].activated_seq, 1_795_521_400_000);
    assert_eq!(
        (seats[0].bound_key.as_ref(), seats[0].activated_seq),
        (None, 0)
    );
    assert!(license.requires_proof);
    let former = seats[1].former_key.as_ref().unwrap();
    assert!(former.counts("2026-11-28T12:00:00Z".parse().unwrap()));
    let signed = seats[1].signed.unwrap();
    assert_eq!(signed.exp - signed.valid_until, TimeDelta::hours(72));
    seats
}

/// What was counted, noted and reported.
pub(super) async fn check_history(store: &Store, license: &licenses::License) {
    let day = "2026-11-26".parse().unwrap();
    let entries = site_entries::before(store.reader(), day, 9).await.unwrap();
    assert_eq!((entries[0].written, entries[0].counted), (102, 7));
    let suspected = suspicions::list(store.reader(), Some(&license.id), 9).await;
    assert_eq!(suspected.unwrap().rows[0].times, 3);
    let log = audit_log::oldest(store.reader(), &audit_log::Filter::default(), 9).await;
    let log = log.unwrap();
    assert_eq!(
        (log.len(), log[0].action.as_str(), log[0].number),
        (1, "issued", 1)
    );
    let from = "2026-11-25T00:00:00Z".parse().unwrap();
    let counted = calls::since(store.reader(), from).await.unwrap();
    assert_eq!((counted.len(), counted[0].times), (1, 7));
    let day = "2026-11-25".parse().unwrap();
    let used = usage_days::since(store.reader(), &license.id, day, None, 9).await;
    let used = used.unwrap().rows;
    assert_eq!((used[0].cameras, used[0].users), (None, Some(3)));
    assert_eq!(used[0].counts, [("doors".to_owned(), 2)].into());
    assert_eq!(used[1].storage_gb, Some(500));
}

pub(super) async fn check_staff(store: &Store) {
    let ids = ["abc".to_owned()].into();
    let sessions = console_sessions::find(store.reader(), &ids).await.unwrap();
    let session = sessions[0].times;
    assert_eq!(session.used - session.begun, TimeDelta::minutes(20));
    assert_eq!(sessions[0].token, None);
    let ids = ["def".to_owned()].into();
    let sessions = console_sessions::find(store.reader(), &ids).await.unwrap();
    assert_eq!(sessions[0].token, Some(41));
    let token = admin_tokens::find(store.reader(), "ana").await.unwrap();
    assert_eq!(token.unwrap().note.as_deref(), Some("Sales"));
    let tokens = admin_tokens::newest(store.reader(), None, 9).await;
    let tokens = tokens.unwrap().rows;
    assert_eq!((tokens.len(), tokens[0].name.as_str()), (2, "ben"));
    assert!(tokens[0].revoked_at.is_some());
}

pub(super) async fn check_customers(
    store: &Store,
    database: &TestDatabase,
    license: &licenses::License,
) {
    let customer = customers::find_merged(store.reader(), "cus_00000000000000000000000000000002");
    let customer = customer.await.unwrap().unwrap();
    assert_eq!(
        (
            &*customer.name,
            customer.reference.as_deref(),
            &*customer.contacts[0].name
        ),
        ("Quay & Co", Some("K-17"), "Ana")
    );
    let customer = customers::find(store.reader(), "harbour ltd")
        .await
        .unwrap();
    assert_eq!(
        customer.into_iter().map(|it| it.id).next(),
        license.customer_id
    );
    let key = "SELECT reference_key FROM customers WHERE reference = 'K-17'";
    assert_eq!(database.texts(key).await, [name_key("k-17")]);
}

/// The records about signing; `seen` is when a site called last.
pub(super) async fn check_signing(store: &Store, seen: DateTime<Utc>) {
    // The newest instant at which anything was signed, from before there was a record.
    let recorded = signing_clock::find(store.reader()).await.unwrap().unwrap();
    assert_eq!(recorded.at, seen);
    assert_eq!(
        recorded.accepted_at,
        Some("2026-11-25T12:00:00Z".parse().unwrap())
    );
    let lost = lost_numbers::around(store.reader(), 1_795_525_200_000).await;
    assert_eq!(lost.unwrap().unwrap().after, 1_795_521_600_000);
    let not_lost = lost_numbers::around(store.reader(), 1_795_521_600_000).await;
    assert_eq!(not_lost.unwrap(), None);
    let recorded = key_record::find(store.reader()).await.unwrap().unwrap();
    assert_eq!(
        (recorded.version, recorded.fingerprint.as_str()),
        (3, "abc")
    );
    assert_eq!(recorded.revoked, ["a-key"]);
    let covered = coverage::find(store.reader()).await.unwrap().unwrap();
    assert_eq!(
        (covered.version, covered.until, covered.is_closed),
        (7, seen, true)
    );
    let proof = commit_proofs::find(store.reader(), &[-7]).await.unwrap();
    assert_eq!((proof[0].token, proof[0].number), (8, 1_795_521_600_000));
}

/// Names from before there was a folded copy are found.
pub(super) async fn check_searches(store: &Store, database: &TestDatabase) {
    for (text, number) in [
        ("HARBOUR", 1),
        ("müller", 1),
        ("MU\u{308}LLER", 1),
        ("absent", 0),
    ] {
        let search = licenses::Search {
            text: text.to_owned(),
            ..licenses::Search::default()
        };
        let found = licenses::count(store.reader(), &search).await.unwrap();
        assert_eq!(found, number, "{text}");
    }
    let names = "SELECT DISTINCT installation_name_folded FROM seats";
    assert_eq!(database.texts(names).await, [Some("harbour".to_owned())]);
}

/// Every id has 64 bits, and one beyond 32 bits is read.
pub(super) async fn check_wide_ids(engine: Engine, store: &Store, database: &TestDatabase) {
    if engine == Engine::Postgres {
        let narrow = "SELECT table_name || '.' || column_name FROM information_schema.columns \
            WHERE table_schema = 'public' AND column_name = 'id' AND data_type = 'integer' \
            UNION ALL SELECT sequencename FROM pg_sequences WHERE data_type <> 'bigint'::regtype";
        assert_eq!(database.texts(narrow).await, [], "every id has 64 bits");
        // And one beyond 32 bits is read.
        database
            .execute("ALTER SEQUENCE audit_log_id_seq RESTART WITH 3000000000")
            .await;
    } else {
        let next = "UPDATE sqlite_sequence SET seq = 2999999999 WHERE name = 'audit_log'";
        database.execute(next).await;
    }
    let again = "INSERT INTO audit_log (at, actor, action, subject) \
        VALUES ('2026-11-24 12:00:00', 'site', 'seat_taken', 'x')";
    database.execute(again).await;
    let log = audit_log::newest(store.reader(), &audit_log::Filter::default(), 1).await;
    assert_eq!(log.unwrap()[0].number, 3_000_000_000);
}

pub(super) async fn check_add_ons(store: &Store, license: &licenses::License) {
    let all = add_ons::AddOnsQuery::default();
    let found = add_ons::newest(store.reader(), &all, None, 9).await;
    let found = found.unwrap().rows;
    let states = found.iter().map(|it| (it.id, it.state().as_str()));
    let states: Vec<_> = states.collect();
    assert_eq!(states, [(32, "refunded"), (31, "redeemed")]);
    let redeemed = found[1].add_on.redeemed.as_ref().unwrap();
    assert_eq!((&redeemed.license, redeemed.amendment), (&license.id, 2));
    assert_eq!(found[1].add_on.grants[0].quantity, Some(Quantity::Of(16)));
    assert!(found[0].add_on.grants[0].duration.is_some());
    let issued = add_ons::AddOnsQuery {
        state: Some(add_ons::AddOnState::Issued),
        ..all
    };
    assert_eq!(add_ons::count(store.reader(), &issued).await.unwrap(), 0);
}

pub(super) async fn check_trials(store: &Store, license: &licenses::License) {
    let db = store.reader();
    let trial = trials::find(db, "an-installation").await.unwrap().unwrap();
    assert_eq!(
        (&trial.license_id, &*trial.hardware_id),
        (&license.id, "a-machine")
    );
    assert_eq!(trial.secret_hash.as_deref(), Some("sha-256-of-a-secret"));
    let code = trial_codes::find_by_id(db, &trial.code_id).await.unwrap();
    let code = code.unwrap();
    let allowance = code.allowance;
    assert_eq!(
        (allowance.max, allowance.started, allowance.started_on_day),
        (Some(200), 3, 2)
    );
    assert_eq!(allowance.day, Some("2026-11-27".parse().unwrap()));
    assert_eq!(trial_codes::count(db).await.unwrap(), 1);
    let open = trial_codes::find_by_id(db, trial_codes::WITHOUT_CODE).await;
    assert_eq!(open.unwrap().unwrap().allowance.started, 0);
}

/// The tiers of earlier versions are plans, beside the sample.
pub(super) async fn check_plans(store: &Store, license: &licenses::License) {
    assert_eq!(license.lease_hours, Some(48));
    assert_eq!((license.grace_hours, license.offline_days), (None, None));
    assert_eq!(license.updates, UpdateRule::Enforce);
    let newest = plans::newest(store.reader()).await.unwrap();
    let names: Vec<String> = newest.iter().map(|it| it.version.to_string()).collect();
    assert_eq!(names, ["enterprise@1", "professional@1", "standard@2"]);
    let sample = &newest[2];
    assert_eq!(sample.author, "command line");
    assert_eq!(
        sample.contents.entitlements[1].quantity,
        Some(Quantity::Of(4))
    );
    let kinds = catalogue::kinds(store.reader()).await.unwrap();
    assert_eq!(kinds.kind("doors"), Some(Kind::Count));
    for plan in [&newest[0], &newest[1], sample] {
        assert_eq!(plan.contents.check(&kinds), Ok(()), "{plan:?}");
    }
    let first = plans::find(store.reader(), "standard", Some(1))
        .await
        .unwrap();
    let granted: Vec<_> = first.unwrap().contents.entitlements;
    let granted = granted.iter().map(|it| (it.key.as_str(), it.quantity));
    let expected = [
        ("module.map_view", None),
        ("cameras", Some(Quantity::Of(16))),
        ("users", Some(Quantity::Of(5))),
        ("storage_gb", Some(Quantity::Of(2_000))),
    ];
    assert_eq!(granted.collect::<Vec<_>>(), expected);
}

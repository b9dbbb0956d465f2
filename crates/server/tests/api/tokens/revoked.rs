//! A token that was revoked or has expired changes nothing, wherever it is still known.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use license_core::offline::{Purpose, RequestFile};
use license_server::audit::{Action, Actor, AuthorToken, Change, PermittedChange};
use license_server::licensing::amend::{AmendRequest, amend};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::customers::{self, CustomerEdit};
use license_server::licensing::issue::{IssueRequest, issue};
use license_server::licensing::key_changes::rotate_in;
use license_server::licensing::offline::sign;
use license_server::licensing::seats::free;
use license_server::licensing::status::set_status;
use license_server::licensing::tokens::{self, TokenRequest};
use license_server::store::licenses::Status;
use license_server::store::{admin_tokens, seats};
use license_service::clock::Clock as _;
use license_service::sessions::Door;
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::json;
use tokio::time::Instant;

use super::{Browser, added, call, status};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor, offline_request};

on_both_engines! {
    no_use_case_accepts_an_author_whose_token_is_revoked_or_has_expired;
    a_token_that_is_revoked_meanwhile_changes_nothing;
    a_token_may_revoke_itself;
    named_tokens_are_not_accepted_once_it_is_not_known_whether_they_are_revoked;
}

async fn no_use_case_accepts_an_author_whose_token_is_revoked_or_has_expired(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    added(&vendor, "ana", None).await;
    added(&vendor, "ben", Some(1)).await;
    let key = &*vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(key, "machine").await.word(), "yes");
    let (app, store) = (&vendor.app, &vendor.app.store);
    let known = admin_tokens::newest(store.reader(), None, 9).await.unwrap();
    let author = |name: &str| Actor::Staff {
        name: name.to_owned(),
        token: known
            .rows
            .iter()
            .find(|it| it.name == name)
            .map(|it| AuthorToken::new(it.id, vendor.clock.clone())),
        door: Door::Api,
        address: [127, 0, 0, 1].into(),
    };
    let own = app.change(Actor::CommandLine);
    tokens::revoke(store, "ana", &own).await.unwrap();
    vendor
        .clock
        .advance(TimeDelta::days(1) + TimeDelta::seconds(1));
    assert_eq!(vendor.validate(key, "machine").await.word(), "yes");
    let entries = vendor.audit("?limit=500").await;
    let now = vendor.clock.now();
    let request = || offline_request(Purpose::Renew, key, now);
    let token = TokenRequest {
        name: "new".to_owned(),
        ..TokenRequest::default()
    };
    let customer = CustomerEdit {
        name: Some("Harbour Ltd".to_owned()),
        ..CustomerEdit::default()
    };
    let seats = AmendRequest {
        order: Some("4711".to_owned()),
        customer: Some("Museum".to_owned()),
        ..AmendRequest::default()
    };
    let day = TimeDelta::days(1);
    for (name, why) in [("ana", "was revoked"), ("ben", "has expired")] {
        let change = &Change {
            by: author(name),
            at: now,
        };
        let permitted = &PermittedChange::new(author(name), vendor.permitted());
        let refused = [
            tokens::add(store, &token, change)
                .await
                .unwrap_err()
                .to_string(),
            tokens::revoke(store, "ben", change)
                .await
                .unwrap_err()
                .to_string(),
            issue(store, IssueRequest::of(Tier::Standard), permitted)
                .await
                .unwrap_err()
                .to_string(),
            set_status(store, key, Status::Suspended, None, change)
                .await
                .unwrap_err()
                .to_string(),
            free(store, key, "machine", change)
                .await
                .unwrap_err()
                .to_string(),
            amend(store, key, &seats, permitted)
                .await
                .unwrap_err()
                .to_string(),
            customers::add(store, &customer, change)
                .await
                .unwrap_err()
                .to_string(),
            sign(
                app,
                RequestFile::read(&request().to_file()).unwrap(),
                day,
                author(name),
            )
            .await
            .unwrap_err()
            .to_string(),
            rotate_in(app, day, author(name))
                .await
                .unwrap_err()
                .to_string(),
        ];
        for refused in refused {
            assert!(refused.contains(why), "{name}: {refused}");
        }
    }
    assert_eq!(vendor.audit("?limit=500").await, entries);
    assert_eq!(vendor.look("/keys").await["keySet"], 1);
    assert_eq!(vendor.look("/licenses").await["total"], 1);
    assert_eq!(vendor.look("/customers").await["total"], 0);
    assert_eq!(vendor.look("/tokens").await["total"], 2);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_entry_of_a_revocation_follows_those_of_the_revoked_token() {
    let vendor = Vendor::start(Engine::Postgres).await;
    added(&vendor, "ana", None).await;
    let store = &vendor.app.store;
    let known = admin_tokens::newest(store.reader(), None, 9).await.unwrap();
    let ana = vendor.app.change(Actor::Staff {
        name: "ana".to_owned(),
        token: Some(AuthorToken::new(known.rows[0].id, vendor.clock.clone())),
        door: Door::Api,
        address: [127, 0, 0, 1].into(),
    });
    let changing = store.begin().await.unwrap();
    ana.check_author(&changing).await.unwrap();
    let own = vendor.app.change(Actor::CommandLine);
    let revoking = tokens::revoke(store, "ana", &own);
    let finishing = async {
        let waiting = "SELECT count(*)::text FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let start = Instant::now();
        while vendor.database.texts(waiting).await[0].as_deref() == Some("0") {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "it does not wait"
            );
        }
        let entry = ana.note_other(&changing, Action::CustomerAdded, "x", json!({}));
        entry.await.unwrap();
        changing.commit().await.unwrap();
    };
    let (revoked, ()) = tokio::join!(revoking, finishing);
    revoked.unwrap();
    let entries = vendor.audit("?limit=2").await;
    assert_eq!(entries[0]["action"], "token_revoked", "{entries}");
    assert_eq!(entries[1]["action"], "customer_added", "{entries}");
    vendor.end().await;
}

async fn a_token_that_is_revoked_meanwhile_changes_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let token = added(&vendor, "ana", None).await;
    assert_eq!(status(&vendor, &token).await, 200);
    let outside = vendor.database.connect().await;
    let revoking = outside.begin().await.unwrap();
    let revoke = "UPDATE admin_tokens SET revoked_at = created_at WHERE name = 'ana'";
    revoking.execute_unprepared(revoke).await.unwrap();
    let body = json!({"name": "again"});
    let adding = call(&vendor, &token, Method::POST, "/tokens", body);
    let revoked = async {
        if engine == Engine::Postgres {
            // The change waits for the revocation.
            let waiting = "SELECT count(*)::text FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let start = Instant::now();
            while vendor.database.texts(waiting).await[0].as_deref() == Some("0") {
                assert!(
                    start.elapsed() < Duration::from_secs(10),
                    "it does not wait"
                );
            }
        }
        revoking.commit().await.unwrap();
    };
    let ((refused, answer), ()) = tokio::join!(adding, revoked);
    assert_eq!(refused, StatusCode::UNAUTHORIZED, "{answer}");
    assert_eq!(vendor.look("/tokens").await["total"], 1);
    assert!(Browser::sign_in(&vendor, &token).await.is_none());
    outside.close().await.unwrap();
    vendor.end().await;
}

async fn a_token_may_revoke_itself(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let token = added(&vendor, "ana", None).await;
    let (revoked, answer) = call(&vendor, &token, Method::DELETE, "/tokens/ana", json!({})).await;
    assert_eq!(revoked, StatusCode::OK, "{answer}");
    assert_eq!(status(&vendor, &token).await, 401);
    let log = vendor.audit("").await;
    assert_eq!(
        (&log[0]["action"], &log[0]["actor"]),
        (&"token_revoked".into(), &"ana".into())
    );
    vendor.end().await;
}

async fn named_tokens_are_not_accepted_once_it_is_not_known_whether_they_are_revoked(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let token = added(&vendor, "ana", None).await;
    let session = Browser::sign_in(&vendor, &token).await.unwrap();
    let own = Browser::sign_in(&vendor, ADMIN_TOKEN).await.unwrap();
    let away = "ALTER TABLE admin_tokens RENAME TO moved";
    vendor.database.execute(away).await;
    let start = Instant::now();
    loop {
        match status(&vendor, &token).await {
            200 => assert!(start.elapsed() < Duration::from_secs(20), "still accepted"),
            other => break assert_eq!(other, 503),
        }
    }
    let page = session.http.get(format!("{}/console/audit", vendor.url));
    let page = page
        .header("host", "localhost")
        .header("cookie", &session.cookie);
    assert_eq!(page.send().await.unwrap().status(), 503);
    // The ADMIN_TOKEN needs no table, and probes need no token.
    assert_eq!(status(&vendor, ADMIN_TOKEN).await, 200);
    assert!(own.is_signed_in(&vendor).await);
    let metrics = vendor.http.get(format!("{}/metrics", vendor.url));
    let metrics = metrics.bearer_auth(&token).send().await.unwrap();
    assert_eq!(metrics.status(), 200);
    let back = "ALTER TABLE moved RENAME TO admin_tokens";
    vendor.database.execute(back).await;
    assert_eq!(status(&vendor, &token).await, 200);
    assert!(session.is_signed_in(&vendor).await);
    vendor.end().await;
}

/// Callers that wait for the database do not keep a server from noticing that a token was revoked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_noticed_while_all_connections_are_in_use() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let token = added(&vendor, "ana", None).await;
    assert_eq!(status(&vendor, &token).await, 200);
    let outside = vendor.database.connect().await;
    let locking = outside.begin().await.unwrap();
    let lock = "LOCK TABLE seats IN ACCESS EXCLUSIVE MODE";
    locking.execute_unprepared(lock).await.unwrap();
    let db = vendor.app.store.reader();
    let flood = join_all((0..1008).map(|_| seats::find(db, "license", "machine")));
    let watch = async {
        let revoke = "UPDATE admin_tokens SET revoked_at = created_at WHERE name = 'ana'";
        vendor.database.execute(revoke).await;
        let start = Instant::now();
        while status(&vendor, &token).await == 200 {
            // Calls wait for 5 s.
            assert!(start.elapsed() < Duration::from_secs(4), "still accepted");
        }
        let kept = db.execute_unprepared("SELECT 1");
        let kept = tokio::time::timeout(Duration::from_millis(1), kept).await;
        assert!(!matches!(kept, Ok(Ok(_))), "a connection was free");
        locking.rollback().await.unwrap();
    };
    tokio::join!(flood, watch);
    outside.close().await.unwrap();
    vendor.end().await;
}

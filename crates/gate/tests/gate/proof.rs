//! A gate with its own keys trusts only signed licenses.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::announcement::{Announcement, Signed};
use license_core::document::LicenseClaims;
use license_core::keyring::Jwk;
use license_core::rotation::KeySetClaims;
use license_gate::{Gate, GateBuilder, Limit, Resource};

use crate::scripted_client::{
    ALARM, LIVE_VIEW, MAP_VIEW, Manner, ScriptedClient, announcement, said, until,
};
use crate::signer::{INSTALLATION, SEQ, Signer, license_claims};

/// The wall clock's time, with which documents are compared.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(chrono_now(), 0).unwrap()
}

fn chrono_now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// The default license, signed at `iat`.
fn signed_at(iat: DateTime<Utc>) -> LicenseClaims {
    LicenseClaims {
        iat,
        nbf: iat,
        valid_until: iat + TimeDelta::hours(24),
        exp: iat + TimeDelta::hours(96),
        ..license_claims()
    }
}

fn proof(signer: &Signer, claims: &LicenseClaims) -> Option<Signed> {
    Some(Signed {
        license: signer.license(claims),
        key_sets: Vec::new(),
    })
}

/// The announcement of an honest License Client for `claims`.
fn honest(claims: &LicenseClaims, now: DateTime<Utc>) -> Announcement {
    announcement(&Signer::vendor().evidence(claims), now)
}

fn with_keys(client: &ScriptedClient) -> GateBuilder {
    let keys = serde_json::to_string(&Signer::vendor().jwk_set()).unwrap();
    Gate::builder(&client.url).keys(&keys)
}

#[tokio::test]
async fn an_honest_license_client_is_believed() {
    let claims = signed_at(now());
    let said = said(
        &honest(&claims, now()),
        now(),
        proof(&Signer::vendor(), &claims),
    );
    let client = ScriptedClient::start(said);
    let gate = with_keys(&client)
        .installation(INSTALLATION)
        .start()
        .unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    assert!(gate.check(LIVE_VIEW).available);
    assert_eq!(gate.check(ALARM).reason.code(), "not_in_license");
    let asked = client.asked();
    assert_eq!(asked[0].to_string(), "/api/license/events?signed=true");
}

#[tokio::test]
async fn an_impostor_is_not() {
    let claims = signed_at(now());
    let honest = honest(&claims, now());
    let vendor = Signer::vendor();
    let mut generous = honest.clone();
    let told = generous.features.get_mut(ALARM).unwrap();
    (told.available, told.reason) = (true, "licensed".to_owned());

    let mut foreign = claims.clone();
    "another".clone_into(&mut foreign.installation_id);
    let untrusted = Signer::untrusted();
    let posing = Signer::untrusted().posing_as(&vendor);
    for (name, said, feature) in [
        ("nothing signed", said(&honest, now(), None), MAP_VIEW),
        (
            "signed by an untrusted key",
            said(&honest, now(), proof(&untrusted, &claims)),
            MAP_VIEW,
        ),
        (
            "signed by an untrusted key with the vendor's key id",
            said(&honest, now(), proof(&posing, &claims)),
            MAP_VIEW,
        ),
        (
            "of another installation",
            said(&honest, now(), proof(&vendor, &foreign)),
            MAP_VIEW,
        ),
        (
            "more than is signed",
            said(&generous, now(), proof(&vendor, &claims)),
            ALARM,
        ),
    ] {
        let client = ScriptedClient::start(said);
        let gate = with_keys(&client)
            .installation(INSTALLATION)
            .start()
            .unwrap();
        until(&gate, feature, "not_signed").await;
        assert!(!gate.check(feature).available, "{name}");
        assert!(gate.check(LIVE_VIEW).available, "{name}");
    }
}

#[tokio::test]
async fn an_old_license_is_not_extended_by_a_stopped_clock() {
    // Announcements of a lease that has ended since, recorded a day and a minute
    // ago.
    let recorded = now() - TimeDelta::hours(20);
    let claims = LicenseClaims {
        valid_until: recorded + TimeDelta::hours(5),
        exp: recorded + TimeDelta::hours(10),
        ..signed_at(recorded)
    };
    let said = said(
        &honest(&claims, recorded),
        recorded,
        proof(&Signer::vendor(), &claims),
    );
    let client = ScriptedClient::start(said);
    let gate = with_keys(&client).start().unwrap();
    until(&gate, MAP_VIEW, "grace_period_expired").await;
    assert!(gate.check(LIVE_VIEW).available);
}

#[tokio::test]
async fn recorded_leases_keep_nothing_on() {
    // All were recorded ten days ago, and none is valid any longer.
    let recorded = now() - TimeDelta::days(10);
    let lease = |number: i64| LicenseClaims {
        seq: SEQ + u64::try_from(number).unwrap(),
        sub: format!("lic_{number}"),
        ..signed_at(recorded + TimeDelta::seconds(number))
    };
    let said_of = |claims: &LicenseClaims| {
        let proof = proof(&Signer::vendor(), claims);
        said(&honest(claims, claims.iat), claims.iat, proof)
    };
    let client = ScriptedClient::start(said_of(&lease(0)));
    let gate = with_keys(&client).start().unwrap();
    until(&gate, MAP_VIEW, "grace_period_expired").await;
    for number in 1..4 {
        client.now(said_of(&lease(number)));
        for _ in 0..20 {
            assert!(!gate.check(MAP_VIEW).available, "lease {number}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    assert!(gate.check(LIVE_VIEW).available);
}

#[tokio::test]
async fn announcements_cannot_change_limits_and_core_features() {
    let claims = signed_at(now());
    let mut generous = honest(&claims, now());
    generous.limits.insert("cameras".to_owned(), None);
    generous.limits.insert("users".to_owned(), Some(3));
    generous.tier = Some("enterprise".to_owned());
    generous.features.get_mut(LIVE_VIEW).unwrap().available = false;
    let proven = proof(&Signer::vendor(), &claims);
    let client = ScriptedClient::start(said(&generous, now(), proven));
    let gate = with_keys(&client).start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    assert_eq!(gate.limit(Resource::Cameras), Limit::AtMost(64));
    assert_eq!(gate.limit(Resource::Users), Limit::AtMost(3));
    assert_eq!(gate.tier().as_deref(), Some("professional"));
    assert!(gate.check(LIVE_VIEW).available);
    generous.features.clear();
    client.now(said(&generous, now(), None));
    until(&gate, MAP_VIEW, "not_in_license").await;
    assert_eq!(gate.limit(Resource::Cameras), Limit::AtMost(0));
    assert!(gate.check(LIVE_VIEW).available);
}

#[tokio::test]
async fn a_revoked_key_stays_revoked() {
    let (first, second) = (Signer::vendor(), Signer::numbered(2));
    let set = KeySetClaims {
        iss: "https://licenses.example".into(),
        iat: now(),
        version: 2,
        keys: second.jwk_set().keys,
        revoked: vec![first.kid.clone()],
    };
    let claims = signed_at(now());
    let honest = honest(&claims, now());
    let rotated = Signed {
        license: second.license(&claims),
        key_sets: vec![first.key_set(&set)],
    };
    let client = ScriptedClient::start(said(&honest, now(), Some(rotated)));
    let gate = with_keys(&client).start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    client.now(said(&honest, now(), proof(&first, &claims)));
    until(&gate, MAP_VIEW, "not_signed").await;
}

#[tokio::test]
async fn a_license_older_than_the_known_one_is_a_replay() {
    let vendor = Signer::vendor();
    let old = signed_at(now());
    let mut new = signed_at(now());
    new.seq = SEQ + 1;
    new.license["enabledFeatures"] = serde_json::json!([]);
    let client = ScriptedClient::start(said(&honest(&new, now()), now(), proof(&vendor, &new)));
    let gate = with_keys(&client).start().unwrap();
    until(&gate, MAP_VIEW, "not_in_license").await;
    client.now(said(&honest(&old, now()), now(), proof(&vendor, &old)));
    until(&gate, MAP_VIEW, "not_signed").await;
}

#[tokio::test]
async fn later_key_sets_are_adopted() {
    let (first, second) = (Signer::vendor(), Signer::numbered(2));
    let set = KeySetClaims {
        iss: "https://licenses.example".into(),
        iat: now(),
        version: 2,
        keys: second.jwk_set().keys.into_iter().collect::<Vec<Jwk>>(),
        revoked: Vec::new(),
    };
    let claims = signed_at(now());
    let honest = honest(&claims, now());
    let signed = |key_sets| Signed {
        license: second.license(&claims),
        key_sets,
    };
    let client = ScriptedClient::start(said(
        &honest,
        now(),
        Some(signed(vec![first.key_set(&set)])),
    ));
    let gate = with_keys(&client).start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    // A set signed with an untrusted key has no effect.
    let forged = Signer::untrusted().posing_as(&first).key_set(&set);
    client.now(said(&honest, now(), Some(signed(vec![forged]))));
    let other = with_keys(&client).start().unwrap();
    until(&other, MAP_VIEW, "not_signed").await;
    // A gate that has adopted the newer set does not go back.
    until(&gate, MAP_VIEW, "licensed").await;
    client.now(Manner::Says("{}".to_owned()));
    assert!(gate.check(LIVE_VIEW).available);
}

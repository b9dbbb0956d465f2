//! A user of the VMS's database edits the ids, and the site keeps its identity.

use license_client::app::App;
use license_client::identity::is_usable;
use license_server::store::licenses::Status;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::Site;
use crate::tampering::{copy_license, security_events};
use crate::vendor::Vendor;

on_both_engines! {
    an_edited_id_is_repaired_from_the_license_or_the_local_copy;
    a_row_without_a_valid_id_is_rewritten;
    the_database_of_another_installation_is_neither_used_nor_changed;
    rows_of_another_installation_do_not_replace_the_license;
    a_denied_site_is_not_freed_by_the_rows_of_another_installation;
    a_site_without_a_license_keeps_its_ids;
    an_installation_that_never_had_a_license_takes_those_of_a_restored_database;
    a_site_without_a_license_does_not_become_another_installation;
    ids_of_a_setting_that_is_gone_are_no_witness;
}

const IDS: [&str; 2] = ["installation_id", "license_client.hardware_id"];
const PAID: &str = "module.analytics_advanced";

/// A site whose ids no setting prescribes.
fn flags(keys: &str) -> [&str; 6] {
    [
        "--license-trusted-keys",
        keys,
        "--installation-id",
        "",
        "--license-hardware-id",
        "",
    ]
}

async fn ids(database: &TestDatabase) -> Vec<String> {
    let mut ids = Vec::new();
    for key in IDS {
        let row = format!("SELECT value FROM system_config WHERE key = '{key}'");
        ids.push(database.texts(&row).await.pop().flatten().unwrap());
    }
    ids
}

/// Writes `value`, or removes the row.
fn edit(key: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("UPDATE system_config SET value = '{value}' WHERE key = '{key}'"),
        None => format!("DELETE FROM system_config WHERE key = '{key}'"),
    }
}

async fn an_edited_id_is_repaired_from_the_license_or_the_local_copy(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let mut site = Site::start(engine, &vendor.url, &flags(&keys)).await;
    site.activate(&vendor.issue_professional().await).await;
    let right = ids(&site.database).await;
    let long = "x".repeat(70_000);
    let values = [
        Some("0123456789abcdef"),
        Some("x\ny"),
        Some("ü"),
        Some(long.as_str()),
        Some(" "),
        None,
    ];
    // With the local copy and without it: then the signed license is enough.
    for keeps_local_copy in [true, false] {
        vendor.go_away().await;
        for key in IDS {
            for value in values {
                site.stop().await;
                site.database.execute(&edit(key, value)).await;
                if !keeps_local_copy {
                    std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
                }
                site.restart().await;
                assert!(site.is_available(PAID).await, "{key} {value:?}");
                assert_ne!(site.standing().await, "lapsed", "{key} {value:?}");
                assert_eq!(ids(&site.database).await, right, "{key} {value:?}");
                assert_eq!(security_events(&site).await, 1, "{key} {value:?}");
            }
        }
        vendor.come_back().await;
        site.validate().await;
        assert_eq!(site.standing().await, "active");
    }
    // The license is removed as well: the local copy still knows who this is, so
    // that the site can be activated again.
    site.stop().await;
    let all = format!(
        "{}; {}; DELETE FROM local_license_cache",
        edit(IDS[0], Some("other")),
        edit(IDS[1], Some("other"))
    );
    site.database.execute(&all).await;
    site.restart().await;
    assert_eq!(site.standing().await, "unlicensed");
    assert_eq!(ids(&site.database).await, right);
    assert_eq!(security_events(&site).await, 2);
    site.end().await;
}

async fn a_row_without_a_valid_id_is_rewritten(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let mut site = Site::start(engine, &vendor.url, &flags(&keys)).await;
    let long = "x".repeat(256);
    for value in ["x\ny", "ü", long.as_str()] {
        site.stop().await;
        for key in IDS {
            site.database.execute(&edit(key, Some(value))).await;
        }
        site.restart().await;
        let now = ids(&site.database).await;
        assert!(now.iter().all(|id| is_usable(id)), "{now:?}");
        assert_eq!(security_events(&site).await, 2);
    }
    let (_, answer) = site.activate(&vendor.issue_professional().await).await;
    assert_eq!(answer["success"], true, "{answer}");
    site.end().await;
}

/// A site and another installation of the same vendor, both licensed and stopped.
async fn two_installations(engine: Engine, vendor: &Vendor) -> [Site; 2] {
    let keys = vendor.trusted_keys();
    let mut one = Site::start(engine, &vendor.url, &flags(&keys)).await;
    let mut other = Site::start(engine, &vendor.url, &flags(&keys)).await;
    for site in [&mut one, &mut other] {
        let (_, answer) = site.activate(&vendor.issue_professional().await).await;
        assert_eq!(answer["success"], true, "{answer}");
        site.stop().await;
    }
    [one, other]
}

async fn write_ids(site: &Site, [installation, hardware]: [&str; 2]) {
    let edits = [
        edit(IDS[0], Some(installation)),
        edit(IDS[1], Some(hardware)),
    ];
    site.database.execute(&edits.join("; ")).await;
}

async fn the_database_of_another_installation_is_neither_used_nor_changed(engine: Engine) {
    let vendor = Vendor::start().await;
    let [one, mut other] = two_installations(engine, &vendor).await;
    let right = ids(&other.database).await;
    let license = "SELECT license_key FROM local_license_cache WHERE is_valid";
    let license_there = other.database.texts(license).await;
    let theirs = std::fs::read(other.state_file("local-copy.json")).unwrap();
    for name in ["local-copy.json", "installation-key.json"] {
        std::fs::copy(one.state_file(name), other.state_file(name)).unwrap();
    }
    other.restart().await;
    assert_eq!(other.standing().await, "active");
    let (status, ready) = other.get("/readyz").await;
    assert_eq!(status, 503);
    let ready = ready.to_string();
    assert!(
        ready.contains("STATE_DIR belongs to the installation"),
        "{ready}"
    );
    assert!(ready.contains("move local-copy.json out"), "{ready}");
    // Calls to the License Server go on; what they say is kept beside the database.
    assert_eq!(other.validate().await["standing"], "active");
    let off = serde_json::json!({"systemEnabled": false});
    let (status, answer) = other
        .put(&format!("/api/license/features/{PAID}"), off)
        .await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(security_events(&other).await, 1);
    assert_eq!(ids(&other.database).await, right);
    assert_eq!(other.database.texts(license).await, license_there);

    // As the message advises.
    other.stop().await;
    std::fs::remove_file(other.state_file("local-copy.json")).unwrap();
    other.restart().await;
    assert_eq!(other.standing().await, "active");
    assert_eq!(other.get("/readyz").await.0, 200);
    assert_eq!(other.database.texts(license).await, license_there);
    other.stop().await;
    std::fs::write(other.state_file("local-copy.json"), theirs).unwrap();
    other.restart().await;
    assert_eq!(security_events(&other).await, 0);
    one.end().await;
    other.end().await;
}

async fn rows_of_another_installation_do_not_replace_the_license(engine: Engine) {
    let vendor = Vendor::start().await;
    let [mut one, other] = two_installations(engine, &vendor).await;
    let right = ids(&one.database).await;
    let foreign = ids(&other.database).await;
    let license = "SELECT license_key FROM local_license_cache WHERE is_valid";
    let ours = one.database.texts(license).await;

    // The license and both ids, which could be another database; and parts of that, which cannot.
    for (installation, hardware, is_other) in [
        (&foreign[0], &foreign[1], true),
        (&right[0], &right[1], false),
        (&foreign[0], &right[1], false),
        (&right[0], &foreign[1], false),
    ] {
        copy_license(&other.database, &one.database).await;
        write_ids(&one, [installation, hardware]).await;
        one.restart().await;
        assert_eq!(one.standing().await, "active");
        assert!(one.is_available(PAID).await);
        assert!(security_events(&one).await >= 1);
        let (status, answer) = one.get("/readyz").await;
        assert_eq!(status == 503, is_other, "{answer}");
        if is_other {
            // Who restores the ids restores the site.
            write_ids(&one, [&right[0], &right[1]]).await;
            one.until("the database is used again", async || {
                one.get("/readyz").await.0 == 200
            })
            .await;
        }
        assert_eq!(ids(&one.database).await, right);
        assert_eq!(one.database.texts(license).await, ours);
        one.stop().await;
    }
    one.end().await;
    other.end().await;
}

async fn a_denied_site_is_not_freed_by_the_rows_of_another_installation(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let [mut one, other] = two_installations(engine, &vendor).await;
    one.restart().await;
    let license_key = one
        .database
        .texts("SELECT license_key FROM local_license_cache WHERE is_valid")
        .await;
    let license_key = license_key[0].clone().unwrap();
    vendor.set_status(&license_key, Status::Revoked, None).await;
    one.validate().await;
    assert_eq!(one.standing().await, "lapsed");
    one.stop().await;
    vendor.go_away().await;
    let foreign = ids(&other.database).await;
    copy_license(&other.database, &one.database).await;
    write_ids(&one, [&foreign[0], &foreign[1]]).await;
    one.restart().await;
    assert_eq!(one.standing().await, "lapsed");
    assert!(!one.is_available(PAID).await);
    one.end().await;
    other.end().await;
}

async fn a_site_without_a_license_keeps_its_ids(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let mut site = Site::start(engine, &vendor.url, &flags(&keys)).await;
    let right = ids(&site.database).await;
    let key = vendor.issue_professional().await;
    let unsigned = "DELETE FROM local_license_cache; INSERT INTO local_license_cache \
                    (license_key, license_data, license_signature, cached_at, valid_until, \
                    is_valid) VALUES ('other', '{}', 'x', '2026-11-01 00:00:00', \
                    '2099-01-01 00:00:00', true)";
    let nothing = "DELETE FROM local_license_cache";
    for (case, is_activated, rows) in [
        ("before the first activation", false, nothing),
        ("after the license was removed", true, nothing),
        ("beside an unsigned license", true, unsigned),
    ] {
        if is_activated {
            assert_eq!(site.activate(&key).await.1["success"], true, "{case}");
            let gone = format!(
                "{nothing}; UPDATE system_config SET value = '{case}' \
                 WHERE key = 'license_client.revision'"
            );
            site.database.execute(&gone).await;
            site.until("the license is gone", async || {
                site.standing().await == "unlicensed"
            })
            .await;
        }
        for [installation, hardware] in [
            [Some("other"), Some("other")],
            [None, Some("0123456789abcdef")],
            [Some("another"), None],
        ] {
            site.stop().await;
            let edits = [
                rows.to_owned(),
                edit(IDS[0], installation),
                edit(IDS[1], hardware),
            ];
            site.database.execute(&edits.join("; ")).await;
            site.restart().await;
            assert_eq!(ids(&site.database).await, right, "{case}");
            assert!(security_events(&site).await >= 2, "{case}");
            let (_, health) = site.get("/health").await;
            assert_eq!(health["installationId"], right[0].as_str(), "{case}");
        }
    }
    // The seat is that of the same machine.
    let (_, answer) = site.activate(&key).await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

async fn an_installation_that_never_had_a_license_takes_those_of_a_restored_database(
    engine: Engine,
) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let [one, other] = two_installations(engine, &vendor).await;
    let mut fresh = Site::start(engine, &vendor.url, &flags(&keys)).await;
    let foreign = ids(&other.database).await;
    assert_ne!(ids(&fresh.database).await, foreign);
    fresh.stop().await;
    copy_license(&other.database, &fresh.database).await;
    write_ids(&fresh, [&foreign[0], &foreign[1]]).await;
    fresh.restart().await;
    assert_eq!(fresh.standing().await, "active");
    assert_eq!(ids(&fresh.database).await, foreign);
    assert_eq!(security_events(&fresh).await, 0);
    for site in [one, other, fresh] {
        site.end().await;
    }
}

async fn a_site_without_a_license_does_not_become_another_installation(engine: Engine) {
    let vendor = Vendor::start().await;
    let [mut one, other] = two_installations(engine, &vendor).await;
    let right = ids(&one.database).await;
    let foreign = ids(&other.database).await;
    one.restart().await;
    assert_eq!(one.post("/api/license/deactivate", None).await.0, 200);
    one.stop().await;
    copy_license(&other.database, &one.database).await;
    write_ids(&one, [&foreign[0], &foreign[1]]).await;
    one.restart().await;
    assert_eq!(one.standing().await, "unlicensed");
    assert_eq!(security_events(&one).await, 1);
    let (status, ready) = one.get("/readyz").await;
    assert_eq!(status, 503, "{ready}");
    let ready = ready.to_string();
    assert!(
        ready.contains(&format!("installation {}", right[0])),
        "{ready}"
    );
    assert_eq!(ids(&one.database).await, foreign);
    // Without the signed license, the ids alone are edits.
    one.stop().await;
    one.database
        .execute("DELETE FROM local_license_cache")
        .await;
    one.restart().await;
    assert_eq!(ids(&one.database).await, right);
    assert_eq!(one.get("/readyz").await.0, 200);
    one.end().await;
    other.end().await;
}

async fn ids_of_a_setting_that_is_gone_are_no_witness(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let mut site = Site::start(engine, &vendor.url, &flags(&keys)).await;
    site.activate(&vendor.issue_professional().await).await;
    let right = ids(&site.database).await;
    site.stop().await;
    for name in ["installation", "hardware"] {
        let mut settings = site.settings().clone();
        match name {
            "installation" => settings.installation_id = Some("by-mistake".to_owned()),
            _ => settings.license_hardware_id = Some("by-mistake".to_owned()),
        }
        let app = App::new(&settings, site.clock.clone()).unwrap();
        app.knowledge.load().await.unwrap();
        app.store.close().await;
        let app = App::new(site.settings(), site.clock.clone()).unwrap();
        app.knowledge.load().await.unwrap();
        let identity = app.knowledge.identity().unwrap();
        let found = [&*identity.installation_id, &*identity.hardware_id];
        assert_eq!(found, [&*right[0], &*right[1]], "{name}");
        app.store.close().await;
        assert_eq!(ids(&site.database).await, right, "{name}");
    }
    site.end().await;
}

#[test]
fn what_can_be_an_id_is_what_a_header_and_a_column_hold() {
    let longest = "x".repeat(255);
    for good in ["a", "B5684f06-7c6a", longest.as_str()] {
        assert!(is_usable(good), "{good}");
    }
    let long = "x".repeat(256);
    for bad in ["", " ", "a b", "a\n", "ü", "\u{0}", long.as_str()] {
        assert!(!is_usable(bad), "{bad:?}");
    }
}

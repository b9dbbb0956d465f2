//! A user of the VMS's database edits the ids, and the site keeps its identity.

use license_client::identity::is_usable;
use serde_json::Value;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::Site;
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    an_edited_id_is_repaired_from_the_license_or_the_local_copy;
    a_row_without_a_valid_id_is_rewritten;
    another_database_keeps_its_own_ids;
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

/// Who points `DATABASE_URL` at the database of another installation has that
/// installation, and does not spoil it with the local copy of this one.
async fn another_database_keeps_its_own_ids(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let mut one = Site::start(engine, &vendor.url, &flags(&keys)).await;
    let mut other = Site::start(engine, &vendor.url, &flags(&keys)).await;
    for site in [&one, &other] {
        let (_, answer) = site.activate(&vendor.issue_professional().await).await;
        assert_eq!(answer["success"], true, "{answer}");
    }
    let right = ids(&other.database).await;
    one.stop().await;
    other.stop().await;
    std::fs::copy(
        one.state_file("local-copy.json"),
        other.state_file("local-copy.json"),
    )
    .unwrap();
    other.restart().await;
    assert_eq!(ids(&other.database).await, right);
    assert_eq!(other.standing().await, "active");
    let (_, status) = other.get("/api/license/status").await;
    assert_ne!(status["hasLicense"], Value::Bool(false));
    assert_eq!(security_events(&other).await, 0);
    one.end().await;
    other.end().await;
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

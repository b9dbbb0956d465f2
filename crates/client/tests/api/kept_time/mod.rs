//! Removing, editing and restoring the stored time gains nothing, and an honest site that has
//! lost it is not locked out.

mod answers;
mod edits;
mod license_files;
mod pipes;
mod starts;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use license_client::app::App;
use license_client::knowledge::timekeeping::Occasion;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    a_time_that_cannot_be_kept_is_shown_and_is_a_security_event;
}

const PAID: &str = "module.analytics_advanced";
const FILES: [&str; 3] = ["time.json", "time.key", "local-copy.json"];
const ROW: &str = "license_client.effective_time";

/// Everything that is kept of the time.
#[derive(Clone)]
struct Kept {
    files: BTreeMap<&'static str, Option<Vec<u8>>>,
    row: Option<String>,
}

impl Kept {
    async fn read(site: &Site) -> Self {
        let read = |name| (name, std::fs::read(site.state_file(name)).ok());
        let row = format!("SELECT value FROM system_config WHERE key = '{ROW}'");
        Self {
            files: FILES.into_iter().map(read).collect(),
            row: site.database.texts(&row).await.pop().flatten(),
        }
    }

    async fn write(&self, site: &Site) {
        for (name, content) in &self.files {
            let file: PathBuf = site.state_file(name);
            match content {
                Some(content) => std::fs::write(file, content).unwrap(),
                None => drop(std::fs::remove_file(file)),
            }
        }
        let mut sql = format!("DELETE FROM system_config WHERE key = '{ROW}';");
        if let Some(row) = &self.row {
            sql += &format!("INSERT INTO system_config (key, value) VALUES ('{ROW}', '{row}');");
        }
        site.database.execute(&sql).await;
    }

    fn nothing() -> Self {
        Self {
            files: FILES.into_iter().map(|name| (name, None)).collect(),
            row: None,
        }
    }

    /// With the parts that `taken` names as they are in `other`.
    fn with(&self, taken: &[&'static str], other: &Self) -> Self {
        let mut mixed = self.clone();
        for part in taken {
            match *part {
                "row" => mixed.row = other.row.clone(),
                name => {
                    mixed.files.insert(name, other.files[name].clone());
                }
            }
        }
        mixed
    }

    /// All of it written by hand, as at `at`, as well as that goes without the
    /// key.
    fn forged(&self, at: DateTime<Utc>) -> Self {
        let mark =
            json!({"at": at, "signedAt": "2099-01-01T00:00:00Z", "leadMs": 0, "assumedMs": 0});
        let mut forged = self.clone();
        let parse =
            |name| -> Value { serde_json::from_slice(self.files[name].as_ref().unwrap()).unwrap() };
        let mut time = parse("time.json");
        let mut content: Value = serde_json::from_str(time["content"].as_str().unwrap()).unwrap();
        content["at"] = json!(at);
        time["content"] = content.to_string().into();
        let mut copy = parse("local-copy.json");
        copy["effectiveTime"] = mark.clone();
        let text = |value: Value| Some(value.to_string().into_bytes());
        forged.files.insert("time.json", text(time));
        forged.files.insert("local-copy.json", text(copy));
        forged.row = Some(mark.to_string());
        forged
    }
}

/// A site whose license has been over for an hour by a wall clock that is
/// believed, and what was kept while it was good. Its vendor is away.
async fn expired(engine: Engine) -> (Site, Vendor, Kept) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    let expires_at = Some(at("2026-11-23T23:00:00Z"));
    let request = IssueRequest {
        expires_at,
        ..IssueRequest::of(Tier::Professional)
    };
    site.activate(&vendor.issue(request).await).await;
    vendor.go_away().await;
    site.restart().await;
    let good = Kept::read(&site).await;
    assert!(good.row.is_some());
    assert!(good.files.values().all(Option::is_some));
    assert!(site.is_available(PAID).await);
    site.clock.set_wall(at("2026-11-24T00:00:00Z"));
    site.restart().await;
    assert_eq!(site.status().await["reason"], "license_expired");
    site.stop().await;
    (site, vendor, good)
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn a_time_that_cannot_be_kept_is_shown_and_is_a_security_event(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    assert_eq!(site.status().await["timeTrouble"], Value::Null);
    assert_eq!(security_events(&site).await, 0);
    site.stop().await;
    // A directory in its place cannot be replaced, as little as a mount.
    let file = site.state_file("time.json");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let trigger = match engine {
        Engine::Sqlite => format!(
            "CREATE TRIGGER still BEFORE UPDATE ON system_config WHEN NEW.key = '{ROW}' \
             BEGIN SELECT RAISE(IGNORE); END"
        ),
        Engine::Postgres => format!(
            "CREATE FUNCTION still() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN IF NEW.key = '{ROW}' THEN RETURN NULL; END IF; RETURN NEW; END$$; \
             CREATE TRIGGER still BEFORE UPDATE ON system_config FOR EACH ROW EXECUTE FUNCTION still()"
        ),
    };
    site.database.execute(&trigger).await;
    site.restart().await;
    site.advance(TimeDelta::hours(1));
    let app = App::new(site.settings(), site.clock.clone()).unwrap();
    app.knowledge.load().await.unwrap();
    app.knowledge.keep_time(Occasion::Running).await;
    let trouble = app.time.trouble().unwrap();
    assert!(trouble.contains("time.json in STATE_DIR"), "{trouble}");
    assert!(trouble.contains("does not keep it"), "{trouble}");
    app.store.close().await;
    site.until("the status shows it", async || {
        let status = site.status().await;
        status["timeTrouble"]
            .as_str()
            .is_some_and(|it| it.contains("time.json"))
    })
    .await;
    // The file that cannot be read is one, and that it cannot be written another.
    assert!(security_events(&site).await >= 2);
    site.stop().await;
    std::fs::remove_dir(&file).unwrap();
    let drop_it = match engine {
        Engine::Sqlite => "DROP TRIGGER still",
        Engine::Postgres => "DROP TRIGGER still ON system_config; DROP FUNCTION still()",
    };
    site.database.execute(drop_it).await;
    site.restart().await;
    assert_eq!(site.status().await["timeTrouble"], Value::Null);
    site.end().await;
}

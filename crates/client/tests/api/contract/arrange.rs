//! The state of the site in which a case was recorded.

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

/// Brings the site into the state in which the case was recorded.
pub(super) async fn arrange(number: u64, case: &Value, site: &mut Site, cloud: &ScriptedCloud) {
    let title = case["title"].as_str().unwrap();
    let note = case["note"].as_str().unwrap_or_default();
    // G is about one answer, to any caller: the schedule may call, too.
    if !(166..=177).contains(&number) {
        cloud.always(None);
    }
    match number {
        93..=130 => arrange_answer(number, note, site, cloud).await,
        134..=146 => arrange_licensed(number, site, cloud).await,
        149..=163 => arrange_outage(number, site, cloud).await,
        165..=179 => arrange_denial(number, title, note, site, cloud).await,
        // H: odd license data.
        181..=190 => {
            let text = note.strip_prefix("license has ").unwrap();
            cloud.license(serde_json::from_str(text).unwrap());
            activate(site).await;
        }
        _ => {}
    }
}

/// The License Server is gone.
fn down() -> Option<Scripted> {
    Some(Scripted::new(502, "Bad Gateway"))
}

/// C: one answer from the License Server, on a site without a license.
async fn arrange_answer(number: u64, note: &str, site: &Site, cloud: &ScriptedCloud) {
    match number {
        93 => cloud.always(down()),
        94..=123 => {
            forget(site).await;
            cloud.next(noted(note));
        }
        125 => cloud.next(noted(note)),
        130 => forget(site).await,
        _ => {}
    }
}

/// D: licensed, the License Server well.
async fn arrange_licensed(number: u64, site: &mut Site, cloud: &ScriptedCloud) {
    let confirm = |data: Value| {
        cloud.next(Scripted::new(
            200,
            json!({"success": true, "data": data}).to_string(),
        ));
    };
    match number {
        134 => {
            let license = json!({"licenseKey": KEY, "enabledFeatures": ["module.map_view", "module.analytics_advanced"]});
            let data = json!({"isValid": true, "license": license, "gracePeriodActive": true});
            confirm(data);
        }
        135 => {
            activate(site).await;
            let license = crate::scripted_cloud::usual_license(KEY);
            let data = json!({"isValid": true, "license": license, "gracePeriodActive": true});
            confirm(data);
            site.validate().await;
        }
        137 => {
            activate(site).await;
            let data = json!({"isValid": true, "license": null});
            confirm(data);
        }
        138 => activate(site).await,
        143 => switch(site, "false").await,
        145 => switch(site, "NULL").await,
        146 => switch(site, "true").await,
        _ => {}
    }
}

/// E and F: licensed, the License Server gone.
async fn arrange_outage(number: u64, site: &Site, cloud: &ScriptedCloud) {
    match number {
        149..=158 => {
            if number == 149 {
                activate(site).await;
            }
            cloud.always(down());
            if number == 149 {
                site.validate().await;
            }
        }
        159 => {
            cloud.always(down());
            site.advance(TimeDelta::hours(73));
        }
        161..=163 => cloud.always(down()),
        _ => {}
    }
}

/// G: the License Server says no, or nonsense.
async fn arrange_denial(number: u64, title: &str, note: &str, site: &Site, cloud: &ScriptedCloud) {
    match number {
        165..=177 => {
            if title.starts_with("validate")
                || title == "status: success:false"
                || title == "status: data null"
                || title == "status: 500"
            {
                cloud.always(None);
                activate(site).await;
            }
            let answer = match title {
                "validate: revoked, isValid:false" | "validate: 403" | "validate: not JSON" => {
                    cloud.always(Some(noted(note)));
                    return;
                }
                "status: success:false" => {
                    Scripted::new(200, r#"{"success":false,"error":{"message":"no"}}"#)
                }
                "status: 500" => Scripted::new(500, "oops"),
                "status: data null" => Scripted::new(200, r#"{"success":true,"data":null}"#),
                _ => return,
            };
            cloud.always(Some(answer));
            site.validate().await;
        }
        178 => {
            cloud.always(Some(noted(note)));
            site.validate().await;
            site.advance(TimeDelta::hours(73));
        }
        179 => cloud.always(down()),
        _ => {}
    }
}

pub(super) async fn activate(site: &Site) {
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
}

async fn forget(site: &Site) {
    let force = Some(json!({"force": true}));
    site.post("/api/license/deactivate", force).await;
}

async fn switch(site: &mut Site, value: &str) {
    let sql = format!(
        "UPDATE local_feature_flags SET system_enabled = {value} WHERE feature_key = 'module.map_view'"
    );
    site.database.execute(&sql).await;
    site.restart().await;
}

/// The answer that a note describes: ``cloud answers 200 `…` ``.
fn noted(note: &str) -> Scripted {
    let rest = note.strip_prefix("cloud answers ").expect(note);
    let (status, body) = rest.split_once(' ').unwrap();
    Scripted::new(status.parse().unwrap(), body.trim_matches('`'))
}

//! The recorded behaviour of version 1.0.0, replayed: sections A to H of
//! `recorded.jsonl`. Where ours differs, the case names the difference by its
//! number in the list of `docs/api.md`, "Differences from version 1.0.0".

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

const RECORDED: &str = include_str!("../fixtures/contract/recorded.jsonl");

/// Sections A to H have this many cases.
const CASES: usize = 143;

on_both_engines! {
    every_recorded_case_is_answered_as_recorded;
    requests_to_the_license_server_are_those_of_version_1_0_0;
}

async fn every_recorded_case_is_answered_as_recorded(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    let mut replayed = 0;
    let mut wrong = Vec::new();
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["section"].as_str().unwrap().starts_with('I') {
            continue;
        }
        let number = case["n"].as_u64().unwrap();
        arrange(number, &case, &mut site, &cloud).await;
        let answer = send(&site, number, &case["request"]).await;
        let expected = Expected::of(number, &case);
        if let Err(difference) = expected.compare(&answer) {
            wrong.push(format!(
                "case {number} ({}): {difference}\n  answer: {} {}",
                case["title"], answer.status, answer.body
            ));
        }
        replayed += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(replayed, CASES);
    println!("{replayed} recorded cases replayed on {engine:?}");
    site.end().await;
}

/// Brings the site into the state in which the case was recorded.
async fn arrange(number: u64, case: &Value, site: &mut Site, cloud: &ScriptedCloud) {
    let down = || Some(Scripted::new(502, "Bad Gateway"));
    let title = case["title"].as_str().unwrap();
    let note = case["note"].as_str().unwrap_or_default();
    // G is about one answer, to any caller: the schedule may call, too.
    if !(166..=177).contains(&number) {
        cloud.always(None);
    }
    match number {
        // C: one answer of the License Server, on a site without a license.
        93 => cloud.always(down()),
        94..=123 => {
            forget(site).await;
            cloud.next(noted(note));
        }
        125 => cloud.next(noted(note)),
        130 => forget(site).await,
        // D: licensed, the License Server well.
        134 => {
            let license = json!({"licenseKey": KEY, "enabledFeatures": ["module.map_view", "module.analytics_advanced"]});
            let data = json!({"isValid": true, "license": license, "gracePeriodActive": true});
            cloud.next(Scripted::new(
                200,
                json!({"success": true, "data": data}).to_string(),
            ));
        }
        135 => {
            activate(site).await;
            let license = crate::scripted_cloud::usual_license(KEY);
            let data = json!({"isValid": true, "license": license, "gracePeriodActive": true});
            cloud.next(Scripted::new(
                200,
                json!({"success": true, "data": data}).to_string(),
            ));
            site.validate().await;
        }
        137 => {
            activate(site).await;
            let data = json!({"isValid": true, "license": null});
            cloud.next(Scripted::new(
                200,
                json!({"success": true, "data": data}).to_string(),
            ));
        }
        138 => activate(site).await,
        143 => switch(site, "false").await,
        145 => switch(site, "NULL").await,
        146 => switch(site, "true").await,
        // E and F: licensed, the License Server gone.
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
        // G: the License Server says no, or nonsense.
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
        // H: odd license data.
        181..=190 => {
            let text = note.strip_prefix("license has ").unwrap();
            cloud.license(serde_json::from_str(text).unwrap());
            activate(site).await;
        }
        _ => {}
    }
}

async fn activate(site: &Site) {
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

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

async fn send(site: &Site, number: u64, request: &Value) -> Answer {
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    let path = request["path"].as_str().unwrap();
    let mut builder = site.http.request(method, format!("{}{path}", site.url));
    for header in request["headers"].as_array().unwrap() {
        let (name, value) = header.as_str().unwrap().split_once(':').unwrap();
        // `Content-Type:` without a value means that none was sent.
        if !value.is_empty() {
            builder = builder.header(name, value.trim());
        }
    }
    if let Some(body) = request["body"].as_str() {
        builder = builder.body(body.to_owned());
    }
    if number == 67 {
        // JSON cannot record this body, the note does.
        let body = b"{\"featureKey\":\"\xff\"}".to_vec();
        builder = builder
            .header("Content-Type", "application/json")
            .body(body);
    }
    let response = builder.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        headers,
        body,
    }
}

struct Expected {
    statuses: Vec<u16>,
    body: Body,
    allow: Option<String>,
    location: Option<String>,
}

enum Body {
    /// Each recorded field, with its value; times by their form.
    Recorded(Value),
    /// `{"detail": …}` with one text.
    SomeDetail,
    /// `{"detail": [ … ]}` of this kind.
    Invalid(&'static str),
    Anything,
}

impl Expected {
    fn of(number: u64, case: &Value) -> Self {
        let header = |name: &str| case["response_headers"][name].as_str().map(str::to_owned);
        let status = u16::try_from(case["status"].as_u64().unwrap()).unwrap();
        let mut expected = Self {
            statuses: vec![status],
            body: Body::Recorded(case["body"].clone()),
            allow: header("allow"),
            // 30: without scheme and host.
            location: header("location").map(|at| at.replace("http://127.0.0.1:8000", "")),
        };
        expected.differ(number);
        expected
    }

    fn differ(&mut self, number: u64) {
        match number {
            // 11: bad input is 422, not 500.
            54 | 69 => self.becomes(422, Body::Invalid("json_invalid")),
            66 => self.becomes(422, Body::Invalid("value_error")),
            127 => self.becomes(422, Body::Invalid("string_too_long")),
            // 28: the console is here.
            74 => self.becomes(200, Body::Anything),
            // 29: HEAD answers like GET.
            83 => {
                self.becomes(200, Body::Anything);
                self.allow = None;
            }
            // 12: no CORS unless it is configured.
            91 => self.becomes(405, Body::SomeDetail),
            // 15: a body without Content-Type may be taken as JSON.
            35 => {
                self.statuses = vec![200, 422];
                self.body = Body::Anything;
            }
            57 => {
                self.becomes(
                    200,
                    Body::Recorded(json!({"featureKey": "module.live_view", "available": true})),
                );
            }
            // 17: other words.
            93 | 97..=116 | 154 => self.body = Body::SomeDetail,
            // 9, 11, 19: odd data in a license is no error.
            119 | 121 | 122 | 123 => {
                let body = json!({"success": true, "message": "License activated successfully", "error": null});
                self.becomes(200, Body::Recorded(body));
            }
            // 11: a null switch counts as on.
            145 => self.becomes(
                200,
                Body::Recorded(json!({"featureKey": "module.map_view", "available": true})),
            ),
            // 2: grace starts with the first failed contact.
            137 | 150 | 174 => {
                self.set("validUntil", Value::Null);
                self.set("gracePeriodExpires", "a time".into());
            }
            149 | 173 | 175 | 177 => self.set("gracePeriodExpires", "a time".into()),
            // 3: a denial starts the grace period and shows its reason.
            165 | 170 => {
                self.set("validUntil", Value::Null);
                self.set("gracePeriodExpires", "a time".into());
                self.unset(&["reason", "message"]);
                if number == 165 {
                    self.set("reason", "revoked".into());
                }
            }
            166 | 169 | 171 => {
                self.set("gracePeriodExpires", "a time".into());
                self.unset(&["reason", "message"]);
            }
            // 4: a heartbeat that was not sent is no success.
            153 | 162 => {
                self.set("success", false.into());
                self.unset(&["message"]);
            }
            // 1: after grace, licensed features are off.
            161 => self.set("available", false.into()),
            167 => {}
            // 1: an expired license has lapsed.
            181 => {
                self.becomes(200, Body::Recorded(json!({
                    "hasLicense": true, "status": "invalid", "tier": null, "expiresAt": null,
                    "maxCameras": null, "maxUsers": null, "inGracePeriod": false,
                    "gracePeriodExpires": null, "lastValidated": null, "reason": "license_expired",
                })));
            }
            // 11: odd limits and words are left out.
            186 => self.becomes(
                200,
                Body::Recorded(json!({"hasLicense": true, "maxCameras": null})),
            ),
            189 => self.becomes(
                200,
                Body::Recorded(json!({"hasLicense": true, "status": "active", "tier": null})),
            ),
            _ => {}
        }
    }

    fn becomes(&mut self, status: u16, body: Body) {
        self.statuses = vec![status];
        self.body = body;
    }

    fn set(&mut self, field: &str, value: Value) {
        let Body::Recorded(body) = &mut self.body else {
            panic!("no recorded body");
        };
        body[field] = value;
    }

    fn unset(&mut self, fields: &[&str]) {
        let Body::Recorded(Value::Object(body)) = &mut self.body else {
            panic!("no recorded body");
        };
        for field in fields {
            body.remove(*field);
        }
    }

    fn compare(&self, answer: &Answer) -> Result<(), String> {
        if !self.statuses.contains(&answer.status) {
            return Err(format!("expected status {:?}", self.statuses));
        }
        for (name, expected) in [("allow", &self.allow), ("location", &self.location)] {
            let found = answer.headers.get(name).and_then(|v| v.to_str().ok());
            if expected.is_some() && expected.as_deref() != found {
                return Err(format!("header {name} is {found:?}, expected {expected:?}"));
            }
        }
        let detail = &answer.body["detail"];
        match &self.body {
            Body::Anything => Ok(()),
            Body::SomeDetail if detail.as_str().is_some_and(|text| !text.is_empty()) => Ok(()),
            Body::SomeDetail => Err("expected a detail".into()),
            Body::Invalid(kind) if detail[0]["type"] == *kind => Ok(()),
            Body::Invalid(kind) => Err(format!("expected a 422 of type {kind}")),
            Body::Recorded(expected) => contains(expected, &answer.body, ""),
        }
    }
}

/// Whether `found` has everything that `expected` has, in its order.
fn contains(expected: &Value, found: &Value, place: &str) -> Result<(), String> {
    // 16: the words and the position of a syntax error are the parser's own.
    if expected["type"] == "json_invalid" {
        let same = ["type", "msg", "input"]
            .iter()
            .all(|field| expected[field] == found[field])
            && expected["loc"][0] == found["loc"][0]
            && found["loc"][1].is_u64();
        return if same {
            Ok(())
        } else {
            Err(format!("{place}: another error"))
        };
    }
    match (expected, found) {
        (Value::Object(expected), Value::Object(object)) => {
            for (field, value) in expected {
                let place = format!("{place}.{field}");
                let found = object.get(field).ok_or(format!("{place} is missing"))?;
                contains(value, found, &place)?;
            }
            let order: Vec<_> = object
                .keys()
                .filter(|key| expected.contains_key(*key))
                .collect();
            if place.ends_with(".license") && !order.iter().copied().eq(expected.keys()) {
                return Err(format!("{place}: the order is {order:?}"));
            }
            Ok(())
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .try_for_each(|(i, (a, b))| contains(a, b, &format!("{place}[{i}]"))),
        (Value::String(a), Value::String(b)) if a == "a time" || is_time(a) => {
            if is_time(b) {
                Ok(())
            } else {
                Err(format!("{place} is {b}, expected a time"))
            }
        }
        // 1e3 and 1000.0 are one number.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => Ok(()),
        (a, b) if a == b => Ok(()),
        (a, b) => Err(format!("{place} is {b}, expected {a}")),
    }
}

/// `2026-11-23T20:58:11.248575`
fn is_time(text: &str) -> bool {
    text.len() == 26 && chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.6f").is_ok()
}

async fn requests_to_the_license_server_are_those_of_version_1_0_0(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    activate(&site).await;
    site.validate().await;
    site.post("/api/license/heartbeat", None).await;
    site.activate("clé-日本").await;

    let recorded = include_str!("../fixtures/contract/upstream-requests.jsonl");
    let arrived = cloud.arrived();
    assert_eq!(arrived.len(), recorded.lines().count());
    for (line, arrived) in recorded.lines().zip(&arrived) {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let request_line = recorded["requestLine"].as_str().unwrap();
        assert_eq!(request_line, format!("POST {} HTTP/1.1", arrived.path));
        for header in ["Content-Type", "X-Installation-ID"] {
            assert_eq!(
                recorded["headers"][header].as_str(),
                arrived.headers.get(header).and_then(|v| v.to_str().ok())
            );
        }
        let body = recorded["body"].as_str().unwrap();
        assert_eq!(
            without_host(body),
            without_host(&arrived.body),
            "{request_line}"
        );
        // The additions ride in headers.
        assert_eq!(arrived.headers["x-license-nonce"].len(), 43);
        let is_activation = arrived.path.ends_with("/activate");
        assert_eq!(
            arrived.headers.contains_key("idempotency-key"),
            is_activation
        );
    }
    site.end().await;
}

/// Blanks what the heartbeat says about the machine that it was sent from;
/// the names and their order stay.
fn without_host(body: &str) -> String {
    let mut body: Value = serde_json::from_str(body).unwrap();
    if let Some(info) = body["systemInfo"].as_object_mut() {
        for (name, value) in info {
            assert!(value.is_string() || value.is_number(), "{name}");
            *value = Value::Null;
        }
    }
    body.to_string()
}

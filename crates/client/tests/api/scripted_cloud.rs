//! A License Server that answers what a good one never would.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Scripted {
    pub status: u16,
    pub body: String,
    pub delay: Duration,
}

impl Scripted {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
            delay: Duration::ZERO,
        }
    }
}

type AnswerToNonce = Box<dyn Fn(&str) -> Scripted + Send>;

#[derive(Default)]
struct Script {
    next: VecDeque<Scripted>,
    to_nonce: Option<AnswerToNonce>,
    always: Option<Scripted>,
    license: Option<Value>,
    retry_after: Option<u64>,
    arrived: Vec<Arrived>,
}

/// A License Server on loopback.
#[derive(Clone)]
pub struct ScriptedCloud {
    pub url: String,
    script: Arc<Mutex<Script>>,
}

impl ScriptedCloud {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cloud = Self {
            url: format!("http://{}/api", listener.local_addr().unwrap()),
            script: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        cloud
    }

    /// Answers the next request like this.
    pub fn next(&self, answer: Scripted) {
        self.script.lock().unwrap().next.push_back(answer);
    }

    /// Answers the next request with what `answer` makes of its nonce.
    pub fn answer_with(&self, answer: impl Fn(&str) -> Scripted + Send + 'static) {
        self.script.lock().unwrap().to_nonce = Some(Box::new(answer));
    }

    /// Answers all further requests like this; `None` is well-behaved again.
    pub fn always(&self, answer: Option<Scripted>) {
        self.script.lock().unwrap().always = answer;
    }

    /// Asks with every further error to wait for so many seconds.
    pub fn retry_after(&self, seconds: Option<u64>) {
        self.script.lock().unwrap().retry_after = seconds;
    }

    /// The license of well-behaved answers, apart from its key.
    pub fn license(&self, license: Value) {
        self.script.lock().unwrap().license = Some(license);
    }

    /// What has arrived so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.script.lock().unwrap().arrived.clone()
    }
}

/// The license that well-behaved answers carry, as recorded.
pub fn usual_license(license_key: &str) -> Value {
    json!({
        "licenseKey": license_key,
        "tier": "professional",
        "status": "active",
        "expiresAt": "2027-12-31T00:00:00Z",
        "maxCameras": 64,
        "maxUsers": 20,
        "enabledFeatures": ["module.map_view", "module.analytics_advanced"],
        "signature": "x",
    })
}

async fn answer(
    State(cloud): State<ScriptedCloud>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let scripted = {
        let mut script = cloud.script.lock().unwrap();
        script.arrived.push(Arrived {
            path: uri.path().to_owned(),
            headers,
            body: body.clone(),
        });
        let nonce = script.arrived.last().and_then(|arrived| {
            let nonce = arrived.headers.get("x-license-nonce")?;
            Some(nonce.to_str().unwrap().to_owned())
        });
        let to_nonce = script.to_nonce.take().zip(nonce);
        let scripted = to_nonce
            .map(|(answer, nonce)| answer(&nonce))
            .or_else(|| script.next.pop_front())
            .or_else(|| script.always.clone());
        scripted.unwrap_or_else(|| well_behaved(&uri, &body, script.license.as_ref()))
    };
    tokio::time::sleep(scripted.delay).await;
    let status = StatusCode::from_u16(scripted.status).unwrap();
    let mut response = (status, scripted.body).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    let retry_after = cloud.script.lock().unwrap().retry_after;
    if let Some(seconds) = retry_after.filter(|_| !status.is_success()) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    if status.is_redirection() {
        let elsewhere = format!("{}/elsewhere", cloud.url);
        response
            .headers_mut()
            .insert(header::LOCATION, elsewhere.parse().unwrap());
    }
    response
}

fn well_behaved(uri: &Uri, body: &str, license: Option<&Value>) -> Scripted {
    let request: Value = serde_json::from_str(body).unwrap_or_default();
    let license_key = request["licenseKey"].as_str().unwrap_or_default();
    let license = match license {
        None => usual_license(license_key),
        Some(license) => {
            let mut license = license.clone();
            license["licenseKey"] = license_key.into();
            license
        }
    };
    let answer = match uri.path().rsplit('/').next() {
        Some("activate") => json!({"success": true, "data": {"license": license}}),
        Some("validate") => json!({
            "success": true,
            "data": {"isValid": true, "license": license, "gracePeriodActive": false},
        }),
        _ => json!({"success": true}),
    };
    Scripted::new(200, answer.to_string())
}

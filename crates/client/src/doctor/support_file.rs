//! What support wants to know, in one file, without license keys, tokens and
//! passwords.

use license_core::license_key;
use license_service::clock::Clock;
use serde_json::{Map, Value, json};

use super::Finding;
use crate::config::Settings;
use crate::running_service::ServiceArgs;

/// What was found, the settings as they may be shown, and the running
/// service's answers.
pub async fn support_file(settings: &Settings, findings: &[Finding], clock: &dyn Clock) -> Value {
    redacted(json!({
        "release": env!("CARGO_PKG_VERSION"),
        "createdAt": clock.now(),
        "findings": findings,
        "settings": settings.shown,
        "service": answers(settings).await,
    }))
}

/// What the running service says; what it does not say is the reason.
async fn answers(settings: &Settings) -> Value {
    let service = ServiceArgs::at(settings.host, settings.port);
    let mut answers = Map::new();
    for path in [
        "/health",
        "/readyz",
        "/api/license/status",
        "/api/license/features",
        "/api/license/hardware",
        "/api/license/attempts?limit=100",
    ] {
        let answer = match service.get(path).await {
            Ok(answer) => answer.body,
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        answers.insert(path.to_owned(), answer);
    }
    let metrics = service.get_text("/metrics").await;
    let metrics = metrics.unwrap_or_else(|error| format!("{error:#}"));
    answers.insert("/metrics".to_owned(), metrics.into());
    Value::Object(answers)
}

/// Masks license keys wherever they stand, and drops signatures.
fn redacted(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("licenseKey", Value::String(key)) => license_key::mask(&key).into(),
                    ("signature", _) => "…".into(),
                    (_, value) => redacted(value),
                };
                (name, value)
            })
            .collect(),
        Value::Array(entries) => entries.into_iter().map(redacted).collect(),
        other => other,
    }
}

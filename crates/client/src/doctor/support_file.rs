//! One file with everything that support needs, without license keys, tokens and
//! passwords.

use std::collections::BTreeSet;

use license_core::license_key;
use license_service::clock::Clock;
use license_service::error_text::with_causes;
use serde_json::{Map, Value, json};

use super::Finding;
use crate::running_service::ServiceArgs;

/// The content of the file, apart from the service's responses. All settings are displayable.
#[derive(Clone, Copy)]
pub(crate) struct Report<'a> {
    /// The findings.
    pub(crate) findings: &'a [Finding],
    /// The settings with which the checks ran.
    pub(crate) settings: &'a Value,
    /// The settings of the command that writes the file.
    pub(crate) command: Option<&'a Value>,
}

/// The report, with the responses of the running service.
pub(crate) async fn support_file(
    report: Report<'_>,
    service: &ServiceArgs,
    clock: &dyn Clock,
) -> Value {
    without_secrets(json!({
        "release": env!("CARGO_PKG_VERSION"),
        "createdAt": clock.now(),
        "findings": report.findings,
        "settings": report.settings,
        "commandSettings": report.command,
        "service": answers(service).await,
    }))
}

/// The responses of the running service, or the reason why they are missing.
async fn answers(service: &ServiceArgs) -> Value {
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
            Err(error) => json!({"error": with_causes(&*error)}),
        };
        answers.insert(path.to_owned(), answer);
    }
    let metrics = service.get_text("/metrics").await;
    let metrics = metrics.unwrap_or_else(|error| with_causes(&*error));
    answers.insert("/metrics".to_owned(), metrics.into());
    Value::Object(answers)
}

/// Masks license keys everywhere, and removes signatures.
fn without_secrets(value: Value) -> Value {
    let mut keys = BTreeSet::new();
    collect_keys(&value, &mut keys);
    redacted(value, &keys)
}

/// Masks license keys in fields with such names, in any format.
fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(key) if name == "licenseKey" => {
                        keys.insert(key.clone());
                    }
                    value => collect_keys(value, keys),
                }
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| collect_keys(entry, keys)),
        _ => {}
    }
}

fn redacted(value: Value, keys: &BTreeSet<String>) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("licenseKey", Value::String(key)) => license_key::mask(&key).into(),
                    ("signature", _) => "…".into(),
                    (_, value) => redacted(value, keys),
                };
                (license_key::mask_within(&name, ""), value)
            })
            .collect(),
        Value::Array(entries) => entries.into_iter().map(|it| redacted(it, keys)).collect(),
        Value::String(text) => {
            let text = license_key::mask_within(&text, "");
            let mask = |text: String, key: &String| license_key::mask_within(&text, key);
            keys.iter().fold(text, mask).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_string_holds_a_license_key_in_any_spelling() {
        let found = without_secrets(json!({
            "service": {"licenseKey": "ACME-key-2026", "lastFailure": {
                "message": "no acme key 2026, and no fxsghtaaaabbbbccccdddd",
            }},
            "findings": ["FXSGHT AAAA BBBB CCCC DDDD", {"signature": "x.y.z"}],
            "key fxsght-aaaa-bbbb-cccc-dddd": 1,
        }));
        let masked = "FXSGHT-****-****-****-DDDD";
        let expected = json!({
            "service": {"licenseKey": "****", "lastFailure": {
                "message": format!("no ****, and no {masked}"),
            }},
            "findings": [masked, {"signature": "…"}],
            format!("key {masked}"): 1,
        });
        assert_eq!(found, expected);
    }
}

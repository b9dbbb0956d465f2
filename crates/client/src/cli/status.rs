//! `license-client status`

use std::process::ExitCode;

use license_core::lapse_words;
use serde_json::Value;

use crate::cli::NO;
use crate::http::license::NO_LICENSE;
use crate::running_service::{Answer, ServiceArgs};

pub(super) async fn run(service: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let answer = service.get("/api/license/status").await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !service.print_json(&answer) {
        print(&answer);
    }
    Ok(match answer.text("standing") {
        "active" | "grace" => ExitCode::SUCCESS,
        _ => ExitCode::from(NO),
    })
}

fn print(answer: &Answer) {
    let headline = match answer.text("standing") {
        "active" => "Active: the license is confirmed.",
        "grace" => "Grace period: everything works, but the license is not being confirmed.",
        "lapsed" => lapse_words::SUMMARY,
        _ if answer.text("message") != NO_LICENSE => "It is not known whether there is a license.",
        _ => "No license is activated. Activate one with 'license-client activate'.",
    };
    println!("{headline}");
    for (label, field) in [
        ("License key", "licenseKey"),
        ("Tier", "tier"),
        ("Expires", "expiresAt"),
        ("Cameras", "maxCameras"),
        ("Users", "maxUsers"),
        ("Last validated", "lastValidated"),
        ("Next validation", "nextValidation"),
        ("Grace ends", "gracePeriodExpires"),
        ("Offline until", "offlineUntil"),
        ("Clock ahead (s)", "clockAheadSeconds"),
        ("Time not stored", "timeTrouble"),
        ("Why", "message"),
        ("Signatures", "trust"),
    ] {
        match &answer.body[field] {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => println!("  {label:<16} {text}"),
            // The value for "unlimited" in licenses.
            Value::Number(number)
                if field.starts_with("max") && number.as_i64().is_some_and(|it| it < 0) =>
            {
                println!("  {label:<16} unlimited");
            }
            other => println!("  {label:<16} {other}"),
        }
    }
    let failure = &answer.body["lastFailure"];
    if let (Some(at), Some(message)) = (failure["at"].as_str(), failure["message"].as_str()) {
        println!("  {:<16} {at}: {message}", "Last failure");
    }
}

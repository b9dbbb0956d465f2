//! `license-client status`

use std::process::ExitCode;

use license_core::lapse;
use license_core::usage::Resource;
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
        "grace" => "Grace period: everything works, but the license cannot be confirmed.",
        "lapsed" => lapse::shown::SUMMARY,
        _ if answer.text("message") != NO_LICENSE => "Unknown: the license could not be read.",
        _ => "No license is activated. Activate one with 'license-client activate'.",
    };
    println!("{headline}");
    for (label, field) in [
        ("License key", "licenseKey"),
        ("Licensed to", "customer"),
        ("Tier", "tier"),
        ("Starts", "startsAt"),
        ("Expires", "expiresAt"),
        ("Days left", "daysLeft"),
        ("Updates until", "updatesUntil"),
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
    if let Some(moves) = answer.body["moves"]["message"].as_str() {
        println!("  {:<16} {moves}", "Moves left");
    }
    if let Some(is_bound) = answer.body["installationKeyBound"].as_bool() {
        let text = match is_bound {
            true => "bound to the seat",
            false => "not bound to the seat yet",
        };
        println!("  {:<16} {text}", "Installation key");
    }
    print_release(&answer.body["release"]);
    print_limits(&answer.body);
    print_last_change(&answer.body["lastChange"]);
    print_upcoming(&answer.body);
    let failure = &answer.body["lastFailure"];
    if let (Some(at), Some(message)) = (failure["at"].as_str(), failure["message"].as_str()) {
        println!("  {:<16} {at}: {message}", "Last failure");
    }
}

/// The installed release, if its document is signed.
fn print_release(release: &Value) {
    if let Some(version) = release["version"].as_str() {
        println!("  {:<16} {version}", "Release");
    }
    if let Some(message) = release["message"].as_str() {
        println!("  {:<16} {message}", "Warning");
    }
}

/// What is counted beside the limits that have a field of their own, and what is over.
fn print_limits(status: &Value) {
    for (key, limit) in status["limits"].as_object().into_iter().flatten() {
        if Resource::of(key).is_none() {
            let limit = limit
                .as_u64()
                .map_or("unlimited".to_owned(), |it| it.to_string());
            println!("  {key:<16} {limit}");
        }
    }
    let over = status["overLimit"].as_array().into_iter().flatten();
    let over: Vec<_> = over.filter_map(Value::as_str).collect();
    if !over.is_empty() {
        let over = over.join(", ");
        println!(
            "  {:<16} {over}; see 'license-client limits'",
            "Over the limit"
        );
    }
}

/// What changed last, one line for each difference.
fn print_last_change(change: &Value) {
    let at = change["at"].as_str().unwrap_or_default();
    for item in change["changes"].as_array().into_iter().flatten() {
        let message = item["message"].as_str().unwrap_or_default();
        println!("  {:<16} {at}: {message}", "Last change");
    }
    if let Some(more) = change["more"].as_u64().filter(|more| *more > 0) {
        println!("  {:<16} {at}: {more} more", "Last change");
    }
}

/// The next change, and everything that ends soon.
fn print_upcoming(status: &Value) {
    let upcoming = status["upcoming"].as_array().into_iter().flatten();
    for (index, change) in upcoming.enumerate() {
        let label = match change["urgency"].is_string() {
            true => "Ends soon",
            false if index == 0 => "Next change",
            false => continue,
        };
        let text = |field: &str| change[field].as_str().unwrap_or_default();
        println!("  {label:<16} {}: {}", text("at"), text("message"));
    }
}

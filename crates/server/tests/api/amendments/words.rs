//! What an amendment changes, in words.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use serde_json::json;

use super::amended;
use crate::commands::{run, said};
use crate::database::{Engine, on_both_engines};
use crate::exports::rows;
use crate::harness::Vendor;

on_both_engines! {
    only_terms_that_are_different_are_named;
    a_command_says_with_what_to_confirm_it;
}

async fn only_terms_that_are_different_are_named(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let mut expected = vec![];
    for (arguments, words) in [
        (&["--lease-hours", "48"][..], "lease 48 hours"),
        (
            &["--lease-hours", "default"],
            "lease as set on the License Server",
        ),
        (
            &["--updates-until", "2098-12-31", "--updates", "enforce"],
            "updates until 31 December 2098 (enforce)",
        ),
        (&["--updates-until", "unlimited"], "all updates covered"),
        (&["--seats", "4"], "seats 4"),
        (
            &["--undo", "6", "--moves", "5"],
            "amendment 6 undone, seats 1, 5 moves in 365 days",
        ),
    ] {
        let command = [&["amend", &key], arguments].concat();
        let lines = |text: &str| {
            let lines = text.lines().filter(|line| line.starts_with("  "));
            lines.map(str::trim).collect::<Vec<_>>().join(", ")
        };
        let preview = said(&run(&vendor, &[&command[..], &["--preview"]].concat()).await);
        assert_eq!(lines(&preview), words, "{preview}");
        let stored = said(&run(&vendor, &command).await);
        assert_eq!(lines(&stored), words, "{stored}");
        expected.push(words);
    }
    let table = said(&run(&vendor, &["amendments", &key]).await);
    let csv = run(&vendor, &["amendments", &key, "--csv"]).await;
    let rows = rows(&String::from_utf8(csv.stdout).unwrap());
    assert!(rows[0]["changes"].contains("seats 1, 3 moves in 365 days"));
    for (row, words) in rows[1..].iter().zip(&expected) {
        assert_eq!(row["changes"], *words);
        assert!(table.contains(words), "{words}: {table}");
    }
    assert_eq!(rows.len(), expected.len() + 1);
    vendor.end().await;
}

async fn a_command_says_with_what_to_confirm_it(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let amend = ["amend", &key, "--seats", "2"];
    let renew = [
        "renew",
        &key,
        "--expires-at",
        "2098-12-31",
        "--order",
        "4711",
    ];
    let renew = [&renew[..], &["--reason", "Paid"]].concat();
    for command in [&amend[..], &renew] {
        let preview = said(&run(&vendor, &[command, &["--preview"]].concat()).await);
        let confirm = "To make this change, repeat the command with --after 1 instead of";
        assert!(preview.contains(confirm), "{preview}");
    }
    // A colleague is faster.
    amended(&vendor, &key, json!({"moves": 7})).await;
    for command in [&amend[..], &renew] {
        let late = run(&vendor, &[command, &["--after", "1"]].concat()).await;
        assert_eq!(late.status.code(), Some(1));
        let message = said(&late);
        assert!(message.contains("2 by break-glass ("), "{message}");
        assert!(message.contains("7 moves in 365 days)"), "{message}");
        let preview = said(&run(&vendor, &[command, &["--preview"]].concat()).await);
        assert!(preview.contains("--after 2"), "{preview}");
    }
    let renewed = run(&vendor, &[&renew[..], &["--after", "2"]].concat()).await;
    assert!(renewed.status.success(), "{}", said(&renewed));
    let listed = vendor.look(&format!("/licenses/{key}/amendments")).await;
    let newest = &listed["amendments"][0];
    assert_eq!(
        (&newest["number"], &newest["order"], &newest["reason"]),
        (&json!(3), &json!("4711"), &json!("Paid"))
    );
    assert_eq!(
        newest["changes"],
        json!([{"expiry": "2098-12-31T23:59:59Z"}])
    );
    vendor.end().await;
}

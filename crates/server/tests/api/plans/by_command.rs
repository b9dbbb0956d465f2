//! Plans by command, from the file that the documents show.

use std::path::Path;

use serde_json::Value;

use super::EXAMPLE;
use crate::commands::{json, run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_reviewed_file_is_applied_and_sold_by_command;
}

/// The output of a command that succeeds.
async fn printed(vendor: &Vendor, arguments: &[&str]) -> String {
    let output = run(vendor, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

async fn a_reviewed_file_is_applied_and_sold_by_command(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plans.toml");
    let example = example.to_str().unwrap();
    let dry = printed(&vendor, &["plans", "apply", example, "--dry-run"]).await;
    for part in [
        "Dry run: nothing was changed",
        "catalogue anpr_lanes (new)\n  + kind: count",
        "plan parking@1 (new)\n  + title: Parking",
        "  + 8 anpr_lanes\n",
        "  + feature module.analytics_advanced for P90D\n",
    ] {
        assert!(dry.contains(part), "{part}: {dry}");
    }
    let list = printed(&vendor, &["plans", "list"]).await;
    assert!(!list.contains("parking"), "{list}");
    let applied = printed(&vendor, &["plans", "apply", example]).await;
    assert!(applied.starts_with("Published:"), "{applied}");
    let again = printed(&vendor, &["plans", "apply", example]).await;
    assert!(again.contains("Nothing to change"), "{again}");

    // A changed plan becomes a new version, and says what is different.
    let file = tempfile::NamedTempFile::new().unwrap();
    let changed = EXAMPLE.replace("quantity = 8", "quantity = 12");
    std::fs::write(file.path(), changed).unwrap();
    let path = file.path().to_str().unwrap();
    let applied = printed(&vendor, &["plans", "apply", path]).await;
    let expected = "plan parking@2 (was parking@1)\n  - 8 anpr_lanes\n  + 12 anpr_lanes\n";
    assert!(applied.contains(expected), "{applied}");
    let list = printed(&vendor, &["plans", "list"]).await;
    assert!(
        list.contains("parking@2") && list.contains("trial@1"),
        "{list}"
    );
    let shown = printed(&vendor, &["plans", "show", "parking@1"]).await;
    assert!(shown.contains("  8 anpr_lanes\n"), "{shown}");
    let newest = json(&vendor, &["plans", "show", "parking"]).await;
    assert_eq!(newest["contents"]["entitlements"][5]["quantity"], 12);
    let toml = printed(&vendor, &["plans", "show", "parking@1", "--toml"]).await;
    std::fs::write(file.path(), &toml).unwrap();
    let back = printed(&vendor, &["plans", "apply", path, "--dry-run"]).await;
    let expected = "plan parking@3 (was parking@2)\n  - 12 anpr_lanes\n  + 8 anpr_lanes\n";
    assert!(back.ends_with(expected), "{back}");
    let all = json(&vendor, &["plans", "list"]).await;
    assert_eq!(all.as_array().unwrap().len(), 6);

    sell(&vendor).await;
    refuse(&vendor, path).await;
    vendor.end().await;
}

/// Issues from a plan, and amends to another one.
async fn sell(vendor: &Vendor) {
    let terms = [
        "--lease-hours",
        "12",
        "--grace-hours",
        "0",
        "--updates",
        "enforce",
    ];
    let issue = [
        "issue",
        "--plan",
        "parking@1",
        "--updates-until",
        "2099-04-30",
    ];
    let issued = json(vendor, &[&issue[..], &terms].concat()).await;
    assert_eq!(
        (&issued["plan"], &issued["leaseHours"]),
        (&"parking@1".into(), &12.into())
    );
    assert_eq!(issued["updatesUntil"], "2099-04-30T23:59:59Z");
    let key = issued["licenseKey"].as_str().unwrap();
    let to_trial = [
        "amend",
        key,
        "--plan",
        "parking",
        "--lease-hours",
        "default",
    ];
    let amended = json(vendor, &to_trial).await;
    assert_eq!(
        (
            &amended["license"]["plan"],
            &amended["license"]["leaseHours"]
        ),
        (&"parking@2".into(), &Value::Null)
    );
    let shown = printed(vendor, &["show", key]).await;
    for part in ["Plan        parking@2", "Grace       0 hours"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let list = printed(vendor, &["amendments", key]).await;
    assert!(list.contains("plan parking@2"), "{list}");
}

/// What is wrong is said, with what to do.
async fn refuse(vendor: &Vendor, path: &str) {
    std::fs::write(path, "[plans.x]\ntitle = \"X\"\nterms = { seats = 0 }\n").unwrap();
    for (arguments, code, expected) in [
        (
            &["plans", "apply", path][..],
            1,
            "the plan 'x' has an invalid terms: seats",
        ),
        (&["plans", "apply", "/nowhere.toml"], 1, "cannot be read"),
        (&["plans", "show", "large"], 1, "there is no plan 'large'"),
        (&["plans", "show", "Large"], 2, "invalid name"),
        (
            &["plans", "show", "parking", "--toml", "--json"],
            2,
            "cannot be used with",
        ),
        (
            &["issue", "--plan", "parking@9"],
            1,
            "has no version 9; the newest is 2",
        ),
        (
            &["issue", "--plan", "parking", "--tier", "standard"],
            2,
            "cannot be used with",
        ),
        (&["issue"], 2, "--plan"),
        (
            &["issue", "--plan", "parking", "--lease-hours", "x"],
            2,
            "or 'default'",
        ),
    ] {
        let output = run(vendor, arguments).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            said(&output)
        );
        let text = said(&output);
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    std::fs::write(path, "[plans.x]\ntitel = \"X\"\n").unwrap();
    let output = run(vendor, &["plans", "apply", path]).await;
    let text = said(&output);
    assert!(text.contains("line 2") && text.contains("titel"), "{text}");
    std::fs::write(path, "# nothing\n").unwrap();
    let text = said(&run(vendor, &["plans", "apply", path]).await);
    assert!(
        text.contains("neither [[catalogue]] nor [plans.NAME]"),
        "{text}"
    );
}

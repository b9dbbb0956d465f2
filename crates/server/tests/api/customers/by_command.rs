//! The commands for customers.

use serde_json::json;

use crate::commands::{json, run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    commands_add_change_and_merge_customers;
}

async fn commands_add_change_and_merge_customers(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let add = [
        "customers",
        "add",
        "Harbor",
        "--reference",
        "K-1",
        "--contact",
        "Ana Silva;ana@harbour.example;+351 21",
        "--contact",
        ";info@harbour.example",
    ];
    let customer = json(&vendor, &add).await;
    assert_eq!(
        customer["contacts"],
        json!([
            {"name": "Ana Silva", "email": "ana@harbour.example", "phone": "+351 21"},
            {"name": "", "email": "info@harbour.example", "phone": null},
        ])
    );
    let issue = ["issue", "--tier", "standard", "--customer", "K-1"];
    assert_eq!(json(&vendor, &issue).await["customer"], "Harbor");
    let edit = [
        "customers",
        "edit",
        "K-1",
        "--name",
        "Harbour Ltd",
        "--contact",
        "",
    ];
    let edited = json(&vendor, &edit).await;
    assert_eq!(
        (&edited["name"], &edited["contacts"], &edited["reference"]),
        (&"Harbour Ltd".into(), &json!([]), &"K-1".into())
    );
    let key = json(&vendor, &["list"]).await[0]["licenseKey"].clone();
    let key = key.as_str().unwrap();
    let amend = ["amend", key, "--customer", "Museum", "--reason", "sold"];
    let text = said(&run(&vendor, &amend).await);
    assert!(text.contains("customer Museum"), "{text}");
    let text = said(&run(&vendor, &["amendments", key]).await);
    assert!(
        text.contains("customer Harbour Ltd") && text.contains("customer Museum"),
        "{text}"
    );
    let table = said(&run(&vendor, &["customers", "list"]).await);
    assert!(table.contains("Museum") && table.contains("K-1"), "{table}");
    assert_eq!(
        json(&vendor, &["customers", "list"])
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let page = run(&vendor, &["customers", "list", "--limit", "1"]).await;
    assert!(said(&page).contains("1 of 2 customers"), "{}", said(&page));
    let merge = ["customers", "merge", "museum", "K-1"];
    let dry = said(&run(&vendor, &[&merge[..], &["--dry-run"]].concat()).await);
    assert!(
        dry.contains("nothing was changed") && dry.contains("moved to Harbour Ltd: 1."),
        "{dry}"
    );
    let merged = json(&vendor, &merge).await;
    assert_eq!(
        (&merged["amended"], &merged["stored"]),
        (&1.into(), &true.into())
    );
    let text = said(&run(&vendor, &["customers", "show", "Museum"]).await);
    assert!(text.contains("Merged into"), "{text}");
    assert_eq!(
        json(&vendor, &["show", key]).await["license"]["customer"],
        "Harbour Ltd"
    );
    vendor.end().await;
}

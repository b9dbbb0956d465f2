//! What a dry run says of a line is what becomes of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Batch, keys, shown};
use crate::commands::said;
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_dry_run_of_orders_predicts_the_run;
    a_dry_run_of_renewals_predicts_the_run;
    a_dry_run_of_amendments_predicts_the_run;
    a_dry_run_keeps_the_result_of_the_run;
}

/// Processes the first line after the header row, then checks and processes all of them.
/// The outcomes of the run are as expected, and those of the dry run were the same, with the same
/// errors.
async fn assert_predicted(vendor: &Vendor, action: &str, text: &str, expected: &[&str]) {
    let first: Vec<&str> = text.lines().take(2).collect();
    let done = Batch::new("lines.csv", &(first.join("\n") + "\n"));
    let output = done.run(vendor, action, &[]).await;
    assert!(output.status.success(), "{}", said(&output));
    let batch = Batch::new("lines.csv", text);
    let before = vendor.look("/audit?limit=1").await;
    let checked = batch.run(vendor, action, &["--dry-run"]).await;
    assert_eq!(vendor.look("/audit?limit=1").await, before);
    let predicted = batch.results_in("dry-run.csv");
    let run = batch.run(vendor, action, &[]).await;
    assert_eq!(batch.outcomes(), expected, "{}", said(&run));
    assert_eq!(checked.status.code(), run.status.code());
    for (predicted, done) in predicted.iter().zip(batch.results()) {
        let outcome = match done["outcome"].as_str() {
            "issued" | "renewed" | "amended" => "valid",
            outcome => outcome,
        };
        assert_eq!(
            (&*predicted["outcome"], &predicted["error"]),
            (outcome, &done["error"]),
            "line {}",
            done["line"]
        );
        if outcome != "valid" {
            assert_eq!(predicted["licenseKey"], done["licenseKey"]);
        }
    }
    assert_eq!(predicted.len(), expected.len());
}

/// Customers of which one has the other's name as its reference, as old data may have.
async fn confuse_customers(vendor: &Vendor) {
    for name in ["Harbour", "Museum"] {
        let body = json!({"name": name});
        let (status, answer) = vendor.admin(Method::POST, "/customers", body).await;
        assert_eq!(status, 201, "{answer}");
    }
    let confuse = "UPDATE customers SET reference = 'Harbour', reference_key = (SELECT name_key \
                   FROM customers WHERE name = 'Harbour') WHERE name = 'Museum'";
    vendor.database.execute(confuse).await;
}

async fn a_dry_run_of_orders_predicts_the_run(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    confuse_customers(&vendor).await;
    let known = &keys(&vendor, 1).await[0];
    let id = "cus_00000000000000000000000000000000";
    let text = format!(
        "plan,customer,licenseKey,seats\n\
         standard,Quay,,1\n\
         standard,Kiosk,FXSGHT-2222-2222-2222-2222,1\n\
         standard,Kiosk,{known},1\n\
         standard,Harbour,,1\n\
         standard,{id},,1\n\
         gone,Kiosk,,1\n\
         standard,Kiosk,,0\n"
    );
    let expected = [
        "already_done",
        "issued",
        "failed",
        "failed",
        "failed",
        "failed",
        "failed",
    ];
    assert_predicted(&vendor, "issue", &text, &expected).await;
    assert_eq!(vendor.look("/customers").await["total"], 4);
    vendor.end().await;
}

async fn a_dry_run_of_renewals_predicts_the_run(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let keys = keys(&vendor, 3).await;
    let revoke = format!("/licenses/{}/revoke", keys[2]);
    let (status, _) = vendor.admin(Method::POST, &revoke, Value::Null).await;
    assert_eq!(status, 200);
    let text = format!(
        "licenseKey,expiresAt,order\n\
         {0},2090-12-31,1\n\
         {0},2090-12-31,2\n\
         {1},2090-12-31,3\n\
         {1},2001-12-31,4\n\
         {2},2090-12-31,5\n\
         FXSGHT-2222-2222-2222-2222,2090-12-31,6\n",
        keys[0], keys[1], keys[2],
    );
    let expected = [
        "unchanged",
        "unchanged",
        "renewed",
        "failed",
        "failed",
        "failed",
    ];
    assert_predicted(&vendor, "renew", &text, &expected).await;
    // A line that was done stays done, also if the license was renewed again.
    let path = format!("/licenses/{}/renew", keys[0]);
    let body = json!({"expiresAt": "2091-12-31"});
    assert_eq!(vendor.admin(Method::POST, &path, body).await.0, 200);
    let batch = Batch::new("lines.csv", &text);
    batch.run(&vendor, "renew", &["--dry-run"]).await;
    let outcomes = batch.outcomes_in("dry-run.csv");
    assert_eq!(outcomes[..3], ["already_done", "valid", "unchanged"]);
    vendor.end().await;
}

async fn a_dry_run_of_amendments_predicts_the_run(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    confuse_customers(&vendor).await;
    let keys = keys(&vendor, 2).await;
    let text = format!(
        "licenseKey,seats,customer,plan\n\
         {0},2,,\n\
         {1},1,,\n\
         {1},,Kiosk,\n\
         {1},,Harbour,\n\
         {1},,,gone\n\
         {1},0,,\n\
         FXSGHT-2222-2222-2222-2222,2,,\n",
        keys[0], keys[1],
    );
    let expected = [
        "already_done",
        "unchanged",
        "amended",
        "failed",
        "failed",
        "failed",
        "failed",
    ];
    assert_predicted(&vendor, "amend", &text, &expected).await;
    // Lines that change nothing are no errors.
    let text = format!("licenseKey,seats\n{},1\n", keys[1]);
    let batch = Batch::new("same.csv", &text);
    for more in [&["--dry-run"][..], &[]] {
        let output = batch.run(&vendor, "amend", more).await;
        assert!(output.status.success(), "{more:?}: {}", said(&output));
    }
    assert_eq!(shown(&vendor, &keys[1]).await["amendment"], 2);
    vendor.end().await;
}

async fn a_dry_run_keeps_the_result_of_the_run(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let batch = Batch::new("orders.csv", "plan,customer\nstandard,Quay\n");
    batch.run(&vendor, "issue", &[]).await;
    let issued = std::fs::read_to_string(batch.result()).unwrap();
    let output = batch.run(&vendor, "issue", &["--dry-run"]).await;
    assert!(
        said(&output).contains("orders.dry-run.csv"),
        "{}",
        said(&output)
    );
    assert_eq!(std::fs::read_to_string(batch.result()).unwrap(), issued);
    let checked = batch.results_in("dry-run.csv");
    assert_eq!(checked[0]["outcome"], "already_done");
    assert_eq!(checked[0]["licenseKey"], batch.results()[0]["licenseKey"]);
    vendor.end().await;
}

//! Trials without a code, which the vendor has to switch on.

use std::sync::Arc;

use license_core::trial_secret::TrialSecret;
use license_server::app::App;
use license_server::config::{Terms, TrialSettings};
use license_server::licensing::document::Addressee;
use license_server::licensing::site_answer::{AnswerError, SiteAnswer};
use license_server::licensing::site_question::CallDetails;
use license_server::licensing::start_trial::{TrialStart, answer_trial};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ask, code};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    trials_without_a_code_are_off_until_the_vendor_names_a_plan;
}

/// A server with these settings, on the same database.
async fn with(vendor: &Vendor, plan: &str, a_day: u32) -> Arc<App> {
    let terms = Terms {
        trials: TrialSettings {
            open_trial_plan: Some(plan.parse().unwrap()),
            open_trials_per_day: a_day,
        },
        ..vendor.app.terms.clone()
    };
    let app = App::open(&vendor.storage(), terms, vendor.clock.clone()).await;
    Arc::new(app.unwrap())
}

async fn answered(app: &App, installation: &str) -> Result<SiteAnswer, AnswerError> {
    let start = TrialStart {
        code: None,
        secret: TrialSecret::parse(&"s".repeat(43)).ok(),
        installation_id: installation.to_owned(),
        installation_name: "Test".to_owned(),
        installation_version: "1.0.0".to_owned(),
        hardware_id: "machine".to_owned(),
        address: None,
    };
    let to = Addressee {
        nonce: None,
        license_key: String::new(),
        sent_key: None,
        code: None,
        installation_id: installation.to_owned(),
        hardware_id: "machine".to_owned(),
    };
    answer_trial(app, &start, to, &CallDetails::default()).await
}

/// `yes`, or the reason of the refusal.
async fn start(app: &App, installation: &str) -> String {
    match answered(app, installation).await.unwrap() {
        SiteAnswer::License(license) => {
            assert_eq!(license["plan"], "trial@1");
            "yes".to_owned()
        }
        SiteAnswer::Denied { reason, .. } => reason.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

async fn trials_without_a_code_are_off_until_the_vendor_names_a_plan(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    code(&vendor, json!({"max": 5})).await;
    let (status, answer) = ask(&vendor, None, "one", "machine").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::OK, &json!("unknown_trial_code"))
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("ask your vendor for one"), "{message}");

    let app = with(&vendor, "trial", 2).await;
    let words = [
        start(&app, "one").await,
        start(&app, "two").await,
        start(&app, "three").await,
    ];
    assert_eq!(words, ["yes", "yes", "trials_of_the_day"]);
    assert_eq!(start(&app, "one").await, "yes", "it has one already");
    vendor.clock.advance(chrono::TimeDelta::days(1));
    assert_eq!(start(&app, "three").await, "yes");
    assert_eq!(
        vendor.look("/trial-codes").await["total"],
        1,
        "no code stands for them"
    );
    app.store.clone().close().await;
    // A plan that is no trial, or does not exist, starts none.
    for plan in ["standard", "nothing"] {
        let app = with(&vendor, plan, 2).await;
        let answered = answered(&app, "four").await;
        assert!(
            !matches!(answered, Ok(SiteAnswer::License(_))),
            "{answered:?}"
        );
        app.store.clone().close().await;
    }
    let (_, answer) = vendor.admin(Method::GET, "/licenses", Value::Null).await;
    assert_eq!(answer["total"], 3);
    vendor.end().await;
}

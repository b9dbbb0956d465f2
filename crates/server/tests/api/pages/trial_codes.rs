//! Trial codes: created after a review, listed, and withdrawn.

use chrono::TimeDelta;
use license_core::issued_code::{CodeKind, IssuedCode};
use serde_json::{Value, json};

use super::add_ons::shown_code;
use super::amend::contains_all;
use super::{Staff, hidden_fields};
use crate::database::{Engine, on_both_engines};
use crate::trials::{code, told};

on_both_engines! {
    a_code_is_created_after_a_review_and_shown_once;
    a_code_that_is_withdrawn_starts_no_more_trials;
    the_list_says_what_becomes_of_a_code;
    the_list_of_codes_has_pages;
}

/// What the form is filled in with.
const FILLED: &str = "plan=trial%401&max=200&max_a_day=20&end=day&day=2027-06-30&note=%3Cb%3EFair";

/// The form with [`FILLED`].
const KEPT: [&str; 6] = [
    "<option value=\"trial@1\" selected>Trial (trial@1)",
    "name=\"max\" value=\"200\"",
    "name=\"max_a_day\" value=\"20\"",
    "name=\"end\" value=\"day\" required checked",
    "name=\"day\" value=\"2027-06-30\"",
    "name=\"note\" value=\"&#60;b&#62;Fair\"",
];

impl Staff {
    async fn trial_codes(&self) -> Value {
        self.vendor.look("/trial-codes").await
    }

    /// What the list says about the code with this note.
    async fn chip(&self, note: &str) -> String {
        let (_, list) = self.get("/console/trial-codes").await;
        let row = list
            .split(&format!("<small>{note}</small>"))
            .nth(1)
            .unwrap();
        let chip = row.split("<span class=\"chip ").nth(1).unwrap();
        let chip = chip.split('>').nth(1).unwrap();
        chip.split('<').next().unwrap().to_owned()
    }
}

async fn a_code_is_created_after_a_review_and_shown_once(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let (_, empty) = staff.get("/console/trial-codes/new").await;
    contains_all(&empty, &["There is no plan for trials."]);
    // Publishes the plan, too.
    code(&staff.vendor, json!({"max": 1})).await;
    let (status, review) = staff.post("/console/trial-codes/new", FILLED).await;
    assert_eq!(status, 200, "{review}");
    contains_all(
        &review,
        &[
            "Create this trial code?",
            "<dt>Plan</dt><dd>trial@1</dd>",
            "<dt>Maximum number of trials</dt><dd>200</dd>",
            "<dt>Daily maximum (UTC)</dt><dd>20</dd>",
            "<dd>30 June 2027</dd>",
            "<dd>&#60;b&#62;Fair</dd>",
        ],
    );
    assert_eq!(staff.trial_codes().await["total"], 1, "only reviewed");
    let fields = hidden_fields(&review);
    let (status, form) = staff
        .post("/console/trial-codes/new", &format!("{fields}&edit=1"))
        .await;
    assert_eq!(status, 200);
    contains_all(&form, &KEPT);
    let (status, page) = staff.post("/console/trial-codes/add", &fields).await;
    assert_eq!(status, 200, "{page}");
    let code = shown_code(&page).to_owned();
    let masked = IssuedCode::parse(CodeKind::Trial, &code).unwrap().masked();
    // Sending the form again neither shows it again nor creates another one.
    let (status, form) = staff.post("/console/trial-codes/add", &fields).await;
    assert_eq!(status, 409);
    contains_all(&form, &KEPT);
    contains_all(&form, &[&masked, "has already been created"]);
    assert!(!form.contains(&code), "{form}");
    assert_eq!(staff.trial_codes().await["total"], 2);

    let (_, list) = staff.get("/console/trial-codes").await;
    contains_all(
        &list,
        &[
            &masked,
            "0 of 200",
            "30 June 2027",
            "<small>&#60;b&#62;Fair</small>",
            "by break-glass",
        ],
    );
    assert!(!list.contains(&code), "it is stored nowhere");
    assert_eq!(
        told(&staff.vendor, &code, "one", "machine").await.word(),
        "yes"
    );
    staff.vendor.end().await;
}

async fn a_code_that_is_withdrawn_starts_no_more_trials(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let code = code(&staff.vendor, json!({"max": 200})).await;
    told(&staff.vendor, &code, "one", "machine").await;
    let known = staff.trial_codes().await["trialCodes"][0].take();
    let withdraw = format!(
        "/console/trial-codes/{}/withdraw",
        known["id"].as_str().unwrap()
    );
    let (status, question) = staff.get(&withdraw).await;
    assert_eq!(status, 200);
    contains_all(
        &question,
        &[
            "Withdraw this trial code?",
            "<dt>Trials started</dt><dd>1 of 200</dd>",
            known["maskedCode"].as_str().unwrap(),
        ],
    );
    let told_two = told(&staff.vendor, &code, "two", "other").await;
    assert_eq!(told_two.word(), "yes", "only asked");
    assert_eq!(staff.post(&withdraw, "").await.0, 303);
    let refused = told(&staff.vendor, &code, "three", "third").await;
    assert_eq!(refused.word(), "trial_code_used_up");
    let (_, list) = staff
        .get("/console/trial-codes?done=trial-code-withdrawn")
        .await;
    contains_all(
        &list,
        &["Trial code withdrawn.", "2 of 200", ">Withdrawn</span>"],
    );
    assert!(!list.contains(&withdraw), "{list}");
    assert_eq!(staff.get(&withdraw).await.0, 409);
    for unknown in ["x", "3f2c8a54-6a3e-4a0e-9d53-0a1f3f1f3b11"] {
        let path = format!("/console/trial-codes/{unknown}/withdraw");
        assert_eq!(staff.get(&path).await.0, 404, "{unknown}");
        assert_eq!(staff.post(&path, "").await.0, 404, "{unknown}");
    }
    let log = staff.vendor.audit("").await;
    assert_eq!(log[0]["action"], "trial_code_withdrawn");
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_created_is_said_and_kept() {
    let staff = Staff::signed_in().await;
    code(&staff.vendor, json!({"max": 1})).await;
    let long = format!("note={}", "x".repeat(1001));
    for (from, to, why) in [
        ("plan=trial%401", "plan=", "Choose a plan"),
        (
            "plan=trial%401",
            "plan=standard",
            "it must have &#39;trial = true&#39;",
        ),
        ("plan=trial%401", "plan=trial%409", "has no version 9"),
        ("plan=trial%401", "plan=no+plan", "Invalid plan"),
        ("max=200", "max=", "Enter the maximum number of trials"),
        ("max=200", "max=many", "Invalid maximum number of trials"),
        ("max=200", "max=0", "expected 1 to 1000000"),
        ("max=200", "max=10", "expected 1 to 10"),
        ("max_a_day=20", "max_a_day=-1", "Invalid daily maximum"),
        ("end=day", "end=", "Choose the end"),
        ("end=day", "end=never", "another end is chosen"),
        ("day=2027-06-30", "day=", "Enter the last day"),
        ("day=2027-06-30", "day=2020-06-30", "has passed"),
        ("note=%3Cb%3EFair", &long, "limited to 1000 characters"),
    ] {
        let code = IssuedCode::from_random(CodeKind::Trial, &[7; 32]).unwrap();
        let body = format!("{}&code={}", FILLED.replacen(from, to, 1), code.as_str());
        for path in ["/console/trial-codes/new", "/console/trial-codes/add"] {
            let (status, form) = staff.post(path, &body).await;
            assert_eq!(status, 400, "{to}: {form}");
            let error = form.split("id=\"error\">").nth(1).unwrap();
            let error = error.split("</div>").next().unwrap();
            assert!(error.contains(why), "{to}: {error}");
            let kept = KEPT.iter().filter(|kept| form.contains(**kept)).count();
            assert!(kept >= KEPT.len() - 1, "{to}: {form}");
        }
    }
    // Without a review there is no code.
    let (status, form) = staff.post("/console/trial-codes/add", FILLED).await;
    assert_eq!(status, 400);
    contains_all(&form, &["was not reviewed"]);
    contains_all(&form, &KEPT);
    assert_eq!(staff.trial_codes().await["total"], 1);
    staff.vendor.end().await;
}

async fn the_list_says_what_becomes_of_a_code(engine: Engine) {
    let mut staff = Staff::signed_in_with(engine).await;
    let small = code(&staff.vendor, json!({"max": 1, "note": "Small"})).await;
    let daily = code(
        &staff.vendor,
        json!({"max": 9, "maxADay": 1, "note": "Daily"}),
    )
    .await;
    code(
        &staff.vendor,
        json!({"max": 9, "endsAt": "2026-11-24", "note": "Short"}),
    )
    .await;
    for note in ["Small", "Daily", "Short"] {
        assert_eq!(staff.chip(note).await, "Usable", "{note}");
    }
    told(&staff.vendor, &small, "one", "machine").await;
    told(&staff.vendor, &daily, "two", "other").await;
    assert_eq!(staff.chip("Small").await, "Used up");
    assert_eq!(staff.chip("Daily").await, "Daily maximum reached");
    staff.vendor.clock.advance(TimeDelta::days(1));
    staff.sign_in().await;
    assert_eq!(staff.chip("Daily").await, "Usable");
    assert_eq!(staff.chip("Short").await, "Ended");
    staff.vendor.end().await;
}

async fn the_list_of_codes_has_pages(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    for number in 0..55 {
        code(
            &staff.vendor,
            json!({"max": 9, "note": format!("Code {number}.")}),
        )
        .await;
    }
    let (_, first) = staff.get("/console/trial-codes").await;
    assert_eq!(first.matches("<small>Code ").count(), 50);
    contains_all(&first, &["55 in total"]);
    assert!(first.len() <= 100 * 1024, "{} bytes", first.len());
    assert!(!first.contains("style=") && !first.contains("onclick="));
    let older = first.split("rel=\"next\" href=\"").nth(1).unwrap();
    let (status, last) = staff.get(older.split('"').next().unwrap()).await;
    assert_eq!((status, last.matches("<small>Code ").count()), (200, 5));
    assert!(!last.contains("rel=\"next\""), "{last}");
    for number in 0..55 {
        let note = format!("<small>Code {number}.</small>");
        assert!(first.contains(&note) != last.contains(&note), "{number}");
    }
    staff.vendor.end().await;
}

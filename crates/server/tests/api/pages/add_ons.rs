//! Add-on keys: issued after a review, and listed.

mod refunds;

use chrono::TimeDelta;
use license_core::issued_code::{CodeKind, IssuedCode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::amend::contains_all;
use super::{Staff, hidden_fields};
use crate::add_ons::{active, cameras, issued, redeem};
use crate::database::{Engine, on_both_engines};
use crate::harness::ADMIN_TOKEN;

on_both_engines! {
    a_key_is_issued_after_a_review_and_shown_once;
    a_form_that_is_sent_twice_at_the_same_time_issues_one_key;
    a_key_from_a_plan_is_of_the_version_that_was_reviewed;
    the_list_has_pages_and_states;
}

/// What the form is filled in with.
const FILLED: &str = "plan=&add_key.0=cameras&add_quantity.0=16&add_until.0=2027-07-29\
                      &add_key.3=module.alarm_advanced&add_from.3=2027-05-01\
                      &end=day&day=2027-12-31&order=4712&note=%3Cb%3EFair";

/// The form with [`FILLED`].
const KEPT: [&str; 8] = [
    "<option value=\"cameras\" selected>",
    "name=\"add_quantity.0\" value=\"16\"",
    "name=\"add_until.0\" value=\"2027-07-29\"",
    "name=\"add_from.3\" value=\"2027-05-01\"",
    "name=\"end\" value=\"day\" required checked",
    "name=\"day\" value=\"2027-12-31\"",
    "name=\"order\" value=\"4712\"",
    "name=\"note\" value=\"&#60;b&#62;Fair\"",
];

impl Staff {
    async fn add_ons(&self) -> Value {
        self.vendor.look("/addons").await
    }

    /// A key for 16 cameras that a license has redeemed: the keys of the license and of the add-on,
    /// and the number.
    async fn redeemed(&self) -> (String, String, Value) {
        let key = active(&self.vendor).await;
        let add_on = cameras(&self.vendor, 16).await;
        redeem(&self.vendor, &key, &add_on, "machine").await;
        let id = self.add_ons().await["addOns"][0]["id"].clone();
        (key, add_on, id)
    }
}

/// The key or code that a page shows.
pub(super) fn shown_code(page: &str) -> &str {
    let code = page.split("id=\"code\" value=\"").nth(1).unwrap();
    code.split('"').next().unwrap()
}

async fn a_key_is_issued_after_a_review_and_shown_once(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let (status, review) = staff.post("/console/add-ons/new", FILLED).await;
    assert_eq!(status, 200, "{review}");
    contains_all(
        &review,
        &[
            "Issue this add-on key?",
            "16 cameras until 29 July 2027<br>Advanced alarms from 1 May 2027",
            "<dt>Redeem by</dt><dd>31 December 2027</dd>",
            "<dd>&#60;b&#62;Fair</dd>",
        ],
    );
    assert_eq!(staff.add_ons().await["total"], 0, "only reviewed");
    let fields = hidden_fields(&review);
    let (status, form) = staff
        .post("/console/add-ons/new", &format!("{fields}&edit=1"))
        .await;
    assert_eq!(status, 200);
    contains_all(&form, &KEPT);
    assert!(!form.contains("FXSADD-"), "{form}");

    let (status, page) = staff.post("/console/add-ons/issue", &fields).await;
    assert_eq!(status, 200, "{page}");
    let key = shown_code(&page).to_owned();
    let masked = IssuedCode::parse(CodeKind::AddOn, &key).unwrap().masked();
    let (_, list) = staff.get("/console/add-ons").await;
    contains_all(
        &list,
        &[
            &masked,
            "16 cameras until 29 July 2027<br>Advanced alarms from 1 May 2027",
            "<span class=\"chip \">Unredeemed</span>",
            "31 December 2027",
            "<small>&#60;b&#62;Fair</small>",
            "4712",
            "by break-glass",
        ],
    );
    assert!(!list.contains(&key), "it is stored nowhere");
    // Sending the form again neither shows it again nor issues another one.
    let (status, form) = staff.post("/console/add-ons/issue", &fields).await;
    assert_eq!(status, 409);
    contains_all(&form, &KEPT);
    contains_all(&form, &[&masked, "has already been issued"]);
    assert!(!form.contains(&key), "{form}");
    let all = staff.add_ons().await;
    assert_eq!(
        (&all["total"], &all["addOns"][0]["order"]),
        (&json!(1), &json!("4712"))
    );
    assert_eq!(staff.vendor.audit("").await[0]["action"], "add_on_issued");

    // A site gets what was reviewed.
    let license = active(&staff.vendor).await;
    redeem(&staff.vendor, &license, &key, "machine").await;
    let id = staff.vendor.look(&format!("/licenses/{license}")).await["license"]["id"].take();
    let (_, list) = staff.get("/console/add-ons").await;
    let link = format!(
        "for <a href=\"/console/licenses/{}\">",
        id.as_str().unwrap()
    );
    contains_all(&list, &["<span class=\"chip good\">Redeemed</span>", &link]);
    staff.vendor.end().await;
}

async fn a_form_that_is_sent_twice_at_the_same_time_issues_one_key(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    for number in 1..=4 {
        let (_, review) = staff.post("/console/add-ons/new", FILLED).await;
        let fields = hidden_fields(&review);
        let (one, two) = tokio::join!(
            staff.post("/console/add-ons/issue", &fields),
            staff.post("/console/add-ons/issue", &fields)
        );
        let mut statuses = [one.0, two.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        assert_eq!(staff.add_ons().await["total"], number);
    }
    staff.vendor.end().await;
}

async fn a_key_from_a_plan_is_of_the_version_that_was_reviewed(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let publish = async |cameras: u32| {
        let contents = json!({
            "title": "More cameras", "addOn": true,
            "entitlements": [{"key": "cameras", "quantity": cameras, "for": "P90D"}],
        });
        let body = json!({"name": "more", "contents": contents});
        let (status, answer) = staff.vendor.admin(Method::POST, "/plans", body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    };
    publish(8).await;
    let (_, plans) = staff.get("/console/plans").await;
    contains_all(&plans, &["/console/add-ons/new?plan=more@1"]);
    let (status, form) = staff.get("/console/add-ons/new?plan=more@1").await;
    assert_eq!(status, 200);
    contains_all(
        &form,
        &["<option value=\"more@1\" selected>More cameras (more@1)"],
    );
    assert!(
        !form.contains("professional@1"),
        "no plan for add-ons: {form}"
    );
    let (_, review) = staff
        .post("/console/add-ons/new", "plan=more&end=never")
        .await;
    contains_all(
        &review,
        &[
            "<dt>Plan</dt><dd>more@1</dd>",
            "8 cameras for 90 days",
            "<dd>no deadline</dd>",
        ],
    );
    publish(80).await;
    let fields = hidden_fields(&review);
    let (_, form) = staff
        .post("/console/add-ons/new", &format!("{fields}&edit=1"))
        .await;
    contains_all(
        &form,
        &[
            "<option value=\"more@1\" selected>",
            "<option value=\"more@2\">",
        ],
    );
    let (status, page) = staff.post("/console/add-ons/issue", &fields).await;
    assert_eq!(status, 200, "{page}");
    let add_on = staff.add_ons().await["addOns"][0].take();
    assert_eq!(
        (&add_on["plan"], &add_on["grants"][0]["quantity"]),
        (&json!("more@1"), &json!(8))
    );
    let (_, list) = staff.get("/console/add-ons").await;
    contains_all(
        &list,
        &["8 cameras for 90 days <small class=\"soft mono\">more@1</small>"],
    );
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_issued_is_said_and_kept() {
    let staff = Staff::signed_in().await;
    let long = format!("note={}", "x".repeat(1001));
    for (from, to, why) in [
        ("quantity.0=16", "quantity.0=-16", "Invalid quantity"),
        ("quantity.0=16", "quantity.0=", "a quantity is required"),
        (
            "until.0=2027-07-29",
            "until.0=2020-07-29",
            "is before the start",
        ),
        ("until.0=2027-07-29", "until.0=soon", "Invalid last day"),
        (
            "key.3=module.alarm_advanced",
            "key.3=",
            "choose what to add in row 4",
        ),
        (
            "key.3=module.alarm_advanced",
            "key.3=module.nope",
            "is not in the catalogue",
        ),
        ("plan=", "plan=standard%401", "Choose either a plan"),
        ("plan=", "plan=no+plan", "Invalid plan"),
        ("end=day", "end=", "Choose the end"),
        ("end=day", "end=never", "another end is chosen"),
        ("day=2027-12-31", "day=", "Enter the last day"),
        ("day=2027-12-31", "day=2020-12-31", "has passed"),
        ("note=%3Cb%3EFair", &long, "limited to 1000 characters"),
    ] {
        let code = IssuedCode::from_random(CodeKind::AddOn, &[7; 32]).unwrap();
        let body = format!("{}&code={}", FILLED.replacen(from, to, 1), code.as_str());
        for path in ["/console/add-ons/new", "/console/add-ons/issue"] {
            let (status, form) = staff.post(path, &body).await;
            assert_eq!(status, 400, "{to}: {form}");
            let error = form.split("id=\"error\">").nth(1).unwrap();
            let error = error.split("</div>").next().unwrap().to_lowercase();
            assert!(error.contains(&why.to_lowercase()), "{to}: {error}");
            contains_all(
                &form,
                &[
                    "name=\"order\" value=\"4712\"",
                    "add_from.3\" value=\"2027-05-01\"",
                ],
            );
        }
    }
    for (body, why) in [
        ("end=never&note=Kept", "Choose either a plan"),
        ("end=never&note=Kept&plan=gone", "there is no plan"),
        (
            "end=never&note=Kept&plan=standard",
            "is not a plan for add-on keys",
        ),
    ] {
        let (status, form) = staff.post("/console/add-ons/new", body).await;
        assert_eq!(status, 400, "{body}");
        contains_all(&form, &[why, "name=\"note\" value=\"Kept\""]);
    }
    // Without a review there is no key.
    for body in [
        FILLED.to_owned(),
        format!("{FILLED}&code=FXSADD-2222-2222-2222-222"),
    ] {
        let (status, form) = staff.post("/console/add-ons/issue", &body).await;
        assert_eq!(status, 400);
        contains_all(&form, &["was not reviewed"]);
        contains_all(&form, &KEPT);
    }
    assert_eq!(staff.add_ons().await["total"], 0);
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_typed_survives_the_end_of_the_session() {
    let mut staff = Staff::signed_in().await;
    staff.cookie.clear();
    let (status, page) = staff.post("/console/add-ons/new", FILLED).await;
    assert_eq!(status, 401);
    let fields = format!("token={ADMIN_TOKEN}&{}", hidden_fields(&page));
    let (status, page) = staff.post("/console/sign-in", &fields).await;
    assert_eq!(status, 200);
    contains_all(&page, &["action=\"/console/add-ons/new\""]);
    staff.sign_in().await;
    let (_, review) = staff
        .post("/console/add-ons/new", &hidden_fields(&page))
        .await;
    contains_all(&review, &["Issue this add-on key?"]);
    // It ends again before the confirmation.
    staff.vendor.clock.advance(TimeDelta::hours(1));
    let (status, page) = staff
        .post("/console/add-ons/issue", &hidden_fields(&review))
        .await;
    assert_eq!(status, 401);
    let fields = format!("token={ADMIN_TOKEN}&{}", hidden_fields(&page));
    let (_, page) = staff.post("/console/sign-in", &fields).await;
    assert_eq!(staff.add_ons().await["total"], 0);
    staff.sign_in().await;
    let (status, page) = staff
        .post("/console/add-ons/issue", &hidden_fields(&page))
        .await;
    assert_eq!(status, 200, "{page}");
    let key = shown_code(&page);
    let add_on = staff.vendor.look(&format!("/addons/{key}")).await;
    assert_eq!(add_on["note"], "<b>Fair", "{add_on}");
    staff.vendor.end().await;
}

async fn the_list_has_pages_and_states(engine: Engine) {
    let mut staff = Staff::signed_in_with(engine).await;
    let late = json!({
        "add": [{"key": "users", "quantity": 5}], "redeemBy": "2026-11-25", "order": "Late",
    });
    issued(&staff.vendor, late).await;
    let (_, add_on, _) = staff.redeemed().await;
    let refunded = cameras(&staff.vendor, 3).await;
    let path = format!("/addons/{refunded}/refund");
    staff.vendor.admin(Method::POST, &path, json!({})).await;
    staff.vendor.clock.advance(TimeDelta::days(3));
    staff.sign_in().await;
    for (state, rows, chip) in [
        ("", 3, "Unredeemed"),
        ("issued", 1, "<span class=\"chip wait\">Expired</span>"),
        ("expired", 1, "<span class=\"chip wait\">Expired</span>"),
        ("redeemed", 1, "<span class=\"chip good\">Redeemed</span>"),
        ("refunded", 1, "<span class=\"chip bad\">Refunded</span>"),
    ] {
        let (status, list) = staff.get(&format!("/console/add-ons?state={state}")).await;
        assert_eq!(status, 200);
        assert_eq!(
            list.matches("<small>Number ").count(),
            rows,
            "{state}: {list}"
        );
        contains_all(&list, &[chip, &format!("{rows} in total")]);
        assert_eq!(
            list.contains("Late"),
            ["", "issued", "expired"].contains(&state),
            "{list}"
        );
    }
    for number in 1..=60 {
        cameras(&staff.vendor, number).await;
    }
    let (_, first) = staff.get("/console/add-ons?state=issued").await;
    assert_eq!(first.matches("<small>Number ").count(), 50, "{first}");
    contains_all(&first, &["61 in total", "60 cameras", "11 cameras"]);
    assert!(
        !first.contains("Newest") && !first.contains(&add_on),
        "{first}"
    );
    assert!(first.len() <= 100 * 1024, "{} bytes", first.len());
    assert!(!first.contains("style=") && !first.contains("onclick="));
    let older = first.split("rel=\"next\" href=\"").nth(1).unwrap();
    let older = older.split('"').next().unwrap().replace("&amp;", "&");
    let (status, last) = staff.get(&older).await;
    assert_eq!(
        (status, last.matches("<small>Number ").count()),
        (200, 11),
        "{last}"
    );
    contains_all(&last, &["Newest", "10 cameras", "Late"]);
    assert!(!last.contains("rel=\"next\""), "{last}");
    staff.vendor.end().await;
}

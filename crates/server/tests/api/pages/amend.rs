//! Amending a license: the form, the preview, and what its page then shows.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Staff, hidden_fields};
use crate::amendments::{amend, amended};

/// What the customer on the telephone asks for.
const STORY: &str = "add_key.0=cameras&add_quantity.0=32&add_from.0=2027-05-01\
                     &add_key.1=module.alarm_advanced&add_from.1=2027-05-01&add_until.1=2027-07-29\
                     &customer=Harbour+Ltd&order=4711&reason=The+fair";

impl Staff {
    /// The URL of the page of a new license, and its key.
    pub(super) async fn license(&self) -> (String, String) {
        let request = IssueRequest::of(Tier::Professional);
        let key = self.vendor.issue(request).await;
        let shown = self.shown(&key).await;
        let id = shown["id"].as_str().unwrap();
        (format!("/console/licenses/{id}"), key)
    }

    async fn shown(&self, key: &str) -> Value {
        let path = format!("/licenses/{key}");
        self.vendor.look(&path).await["license"].take()
    }

    /// The preview that the fields lead to.
    async fn preview(&self, license: &str, fields: &str) -> String {
        let (status, page) = self.post(&format!("{license}/amend"), fields).await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("nothing has been saved yet"), "{page}");
        page
    }

    async fn confirm(&self, license: &str, preview: &str) -> (u16, String) {
        let fields = hidden_fields(preview);
        self.post(&format!("{license}/amend/confirm"), &fields)
            .await
    }
}

pub(super) fn contains_all(page: &str, expected: &[&str]) {
    for expected in expected {
        assert!(page.contains(expected), "{expected}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amendment_is_previewed_confirmed_and_told_in_words() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    staff.vendor.activate(&key, "machine").await;
    let (_, form) = staff.get(&format!("{license}/amend")).await;
    contains_all(
        &form,
        &["Keep professional@1", "name=\"after\" value=\"1\""],
    );
    let preview = staff.preview(&license, &format!("after=1&{STORY}")).await;
    contains_all(
        &preview,
        &[
            "32 cameras added from 1 May 2027",
            "Advanced alarms added from 1 May 2027 until 29 July 2027",
            "customer Harbour Ltd",
            "<dt>Applies</dt><dd>immediately</dd>",
            "<dt>From 1 May 2027</dt>",
            "Cameras: 96 instead of 64",
            "Advanced alarms: on",
            "<dt>From 30 July 2027</dt>",
            "Advanced alarms: off, unchanged by the amendment",
            "Harbour Ltd <span class=\"chip wait\">New customer</span>",
            "<time datetime=\"2026-11-25T12:00:00+00:00\">25 November 2026, 12:00 UTC</time>",
        ],
    );
    assert_eq!(staff.shown(&key).await["amendment"], 1, "only a preview");

    assert_eq!(staff.confirm(&license, &preview).await.0, 303);
    let shown = staff.shown(&key).await;
    assert_eq!(
        (&shown["amendment"], &shown["customer"]),
        (&json!(2), &json!("Harbour Ltd"))
    );
    let (_, page) = staff.get(&license).await;
    contains_all(
        &page,
        &[
            "32 cameras added from 1 May 2027, Advanced alarms added from 1 May 2027 until \
             29 July 2027, customer Harbour Ltd, order 4711, by break-glass",
            "<span class=\"soft\">The fair</span>",
            "/amend?undo=2",
            "<svg role=\"img\" aria-label=\"Entitlements from today on",
            ">32 cameras</text>",
            "class=\"span later\"",
            "<dt>1 May 2027</dt><dd>Cameras: 96 instead of 64<br>Advanced alarms: on</dd>",
            "<dt>30 July 2027</dt><dd>Advanced alarms: off</dd>",
            "/console/plans/professional?version=1",
        ],
    );
    let customer = shown["customerId"].as_str().unwrap();
    assert!(page.contains(&format!("href=\"/console/customers/{customer}\"")));
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_of_two_staff_sees_what_changed_and_keeps_the_input() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    let mine = format!("after=1&{STORY}&seats=3");
    let preview = staff.preview(&license, &mine).await;
    // A colleague is faster.
    let body = json!({"add": [{"key": "users", "quantity": 5}], "order": "4712"});
    amended(&staff.vendor, &key, body).await;
    let (status, form) = staff.confirm(&license, &preview).await;
    assert_eq!(status, 409);
    let kept = [
        "Others have amended the license in the meantime: 2 by break-glass (5 users added)",
        "name=\"after\" value=\"2\"",
        "<option value=\"cameras\" selected>",
        "name=\"add_quantity.0\" value=\"32\"",
        "name=\"add_until.1\" value=\"2027-07-29\"",
        "name=\"customer\" value=\"Harbour Ltd\"",
        "name=\"order\" value=\"4711\"",
        "name=\"seats\" value=\"3\"",
    ];
    contains_all(&form, &kept);
    assert_eq!(staff.shown(&key).await["amendment"], 2);
    // The same for a preview with the old form.
    let (status, form) = staff.post(&format!("{license}/amend"), &mine).await;
    assert_eq!(status, 409);
    contains_all(&form, &kept);

    let preview = staff
        .preview(&license, &mine.replace("after=1", "after=2"))
        .await;
    assert_eq!(staff.confirm(&license, &preview).await.0, 303);
    let shown = staff.shown(&key).await;
    assert_eq!(
        (&shown["amendment"], &shown["seats"], &shown["maxUsers"]),
        (&json!(3), &json!(3), &json!(25))
    );
    // Confirming the page again makes no second amendment.
    assert_eq!(staff.confirm(&license, &preview).await.0, 409);
    assert_eq!(staff.shown(&key).await["amendment"], 3);
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amendment_is_undone_after_a_preview() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    let body = json!({"end": ["module.map_view"], "seats": 4, "order": "4711"});
    amended(&staff.vendor, &key, body).await;
    let (status, form) = staff.get(&format!("{license}/amend?undo=2")).await;
    assert_eq!(status, 200);
    contains_all(
        &form,
        &[
            "Undo amendment 2",
            "Map view ended, seats 4, order 4711, by break-glass",
        ],
    );
    assert!(!form.contains("name=\"add_key.0\""), "{form}");
    let fields = hidden_fields(&form) + "&effective=now&reason=A+mistake";
    let preview = staff.preview(&license, &fields).await;
    contains_all(
        &preview,
        &[
            "Undo this amendment?",
            "amendment 2 undone",
            "Map view: on",
            "seats 1",
        ],
    );
    assert_eq!(staff.shown(&key).await["seats"], 4, "only a preview");
    assert_eq!(staff.confirm(&license, &preview).await.0, 303);
    assert_eq!(staff.shown(&key).await["seats"], 1);
    let (_, page) = staff.get(&license).await;
    contains_all(
        &page,
        &["<span class=\"chip\">Undone</span>", "amend?undo=3"],
    );
    assert!(!page.contains("amend?undo=2"), "it is undone already");
    // Neither can be undone: the first, and one that is not there.
    let (status, page) = staff
        .post(&format!("{license}/amend"), "after=3&undo=1")
        .await;
    assert_eq!(status, 400);
    assert!(page.contains("Invalid undoes: amendment 1 cannot be undone"));
    assert_eq!(staff.get(&format!("{license}/amend?undo=9")).await.0, 404);
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_amended_is_said_and_kept() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    staff.vendor.activate(&key, "machine").await;
    staff.vendor.heartbeat(&key, "machine", 60).await;
    let filled = format!("after=1&{STORY}");
    for (from, to, why) in [
        ("quantity.0=32", "quantity.0=-32", "Invalid quantity"),
        ("quantity.0=32", "quantity.0=", "a quantity is required"),
        (
            "until.1=2027-07-29",
            "until.1=2027-04-29",
            "is before the start",
        ),
        (
            "key.1=module.alarm_advanced",
            "key.1=",
            "choose what to add in row 2",
        ),
        (
            "key.1=module.alarm_advanced",
            "key.1=module.nope",
            "is not in the catalogue",
        ),
        ("order=4711", "order=4711&plan=gone", "there is no plan"),
        (
            "order=4711",
            "order=4711&plan=professional%409",
            "has no version 9",
        ),
        ("order=4711", "order=4711&seats=0", "seats must be from 1"),
        (
            "order=4711",
            "order=4711&stop=module.nope",
            "is not granted",
        ),
        ("order=4711", "order=4711&effective=day", "enter the day"),
        (
            "order=4711",
            "order=4711&effective=day&effective_day=2020-01-01",
            "the earliest possible time",
        ),
        (
            "order=4711",
            "order=4711&end=day&day=2020-01-01",
            "has passed",
        ),
    ] {
        let body = filled.replacen(from, to, 1);
        for path in ["amend", "amend/confirm"] {
            let (status, form) = staff.post(&format!("{license}/{path}"), &body).await;
            assert_eq!(status, 400, "{to}: {form}");
            let error = form.split("id=\"error\">").nth(1).unwrap();
            let error = error.split("</div>").next().unwrap().to_lowercase();
            assert!(error.contains(&why.to_lowercase()), "{to}: {error}");
            assert!(
                form.contains("name=\"add_from.0\" value=\"2027-05-01\""),
                "{to}"
            );
        }
    }
    assert_eq!(staff.shown(&key).await["amendment"], 1);

    // Less than is in use is no error, and is said.
    let less = "after=1&stop=cameras&add_key.0=cameras&add_quantity.0=48";
    let preview = staff.preview(&license, less).await;
    contains_all(
        &preview,
        &[
            "Installations that would exceed a limit: 1.",
            "Cameras: 60 of 48 (12 over) from",
            "Cameras: 48 instead of 64",
        ],
    );
    // Going back and more rows keep the input.
    let back = hidden_fields(&preview) + "&edit=1";
    let (status, form) = staff.post(&format!("{license}/amend"), &back).await;
    assert_eq!(status, 200);
    contains_all(
        &form,
        &["name=\"stop\" value=\"cameras\" checked", "value=\"48\""],
    );
    let (_, form) = staff
        .post(
            &format!("{license}/amend"),
            &format!("{filled}&rows=4&more=1"),
        )
        .await;
    contains_all(
        &form,
        &["name=\"add_key.7\"", "name=\"add_quantity.0\" value=\"32\""],
    );
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amendment_from_a_day_on_is_shown_as_scheduled() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    let fields = "after=1&plan=enterprise%401&seats=5&effective=day&effective_day=2027-03-01";
    let preview = staff.preview(&license, fields).await;
    contains_all(&preview, &["<dt>Applies</dt><dd>from 1 March 2027</dd>"]);
    assert_eq!(staff.confirm(&license, &preview).await.0, 303);
    let (_, page) = staff.get(&license).await;
    contains_all(
        &page,
        &[
            "<span class=\"chip wait\">From 1 March 2027</span>",
            "<dt>1 March 2027</dt>",
            "Cameras: unlimited instead of 64",
            "plan enterprise@1<br>seats 5<br>amendment 2 takes effect",
        ],
    );
    // Undone before it takes effect, it is no longer scheduled.
    amended(&staff.vendor, &key, json!({"undoes": 2})).await;
    let (_, page) = staff.get(&license).await;
    assert!(!page.contains("id=\"scheduled\""), "{page}");
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_has_pages() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    for number in 0..60 {
        let body =
            json!({"add": [{"key": "cameras", "quantity": 1}], "order": format!("O-{number}")});
        amended(&staff.vendor, &key, body).await;
    }
    let (_, page) = staff.get(&license).await;
    assert!(page.contains("Newest 20 of 61"), "{page}");
    let (_, first) = staff.get(&format!("{license}/amendments")).await;
    assert_eq!(first.matches(", order O-").count(), 50);
    assert!(first.contains("amendments?before=12\""), "{first}");
    let (_, last) = staff.get(&format!("{license}/amendments?before=12")).await;
    assert_eq!(last.matches(", order O-").count(), 10);
    assert!(!last.contains("rel=\"next\""), "{last}");
    let (status, _) = staff.get(&format!("{license}/amendments?before=x")).await;
    assert_eq!(status, 400);
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_license_is_not_amended() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    let path = format!("/licenses/{key}/revoke");
    let revoked = staff.vendor.admin(Method::POST, &path, Value::Null).await;
    assert_eq!(revoked.0, 200);
    let (_, page) = staff.get(&license).await;
    assert!(!page.contains("/amend\""), "{page}");
    let (status, page) = staff
        .post(&format!("{license}/amend"), &format!("after=1&{STORY}"))
        .await;
    assert_eq!(status, 409);
    assert!(page.contains("revoked, which cannot be undone"), "{page}");
    let (status, _) = amend(&staff.vendor, &key, json!({"seats": 2})).await;
    assert_eq!(status, 409);
    staff.vendor.end().await;
}

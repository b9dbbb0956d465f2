//! The form for a license, from its plan to the result.

use serde_json::{Value, json};

use super::{Staff, hidden_fields};
use crate::offers::sell;

const NEW: &str = "/console/licenses/new";

/// A field with its value as a page has it.
fn field(name: &str, value: &str) -> String {
    format!("name=\"{name}\" value=\"{value}\"")
}

fn checked(key: &str) -> String {
    format!("name=\"feature\" value=\"{key}\" checked")
}

impl Staff {
    /// The page after a form that is accepted.
    async fn accepted(&self, path: &str, body: &str) -> String {
        let (status, page) = self.post(path, body).await;
        assert_eq!(status, 200, "{page}");
        page
    }

    async fn licenses(&self) -> Value {
        self.vendor.look("/licenses").await["total"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_fills_in_the_form() {
    let staff = Staff::signed_in().await;
    let (status, page) = staff.get(NEW).await;
    assert_eq!(status, 200);
    assert!(page.contains("<option value=\"professional@1\">"), "{page}");
    assert!(!page.contains("name=\"seats\""), "{page}");
    let page = staff
        .accepted(NEW, "plan=professional%401&customer=Harbour&use=1")
        .await;
    for expected in [
        field("plan", "professional@1"),
        field("customer", "Harbour"),
        field("seats", "1"),
        field("quantity.cameras", "64"),
        checked("module.map_view"),
        "name=\"feature\" value=\"module.alarm_advanced\">".to_owned(),
    ] {
        assert!(page.contains(&expected), "{expected}: {page}");
    }
    // Its plan never ends, so the end is chosen by a person.
    assert!(!page.contains("name=\"end\" value=\"never\" required checked"));
    assert!(!page.contains("name=\"end\" value=\"plan\""), "{page}");

    // A page of a plan leads to the same form.
    let (status, linked) = staff.get(&format!("{NEW}?plan=professional@1")).await;
    assert_eq!(status, 200);
    assert!(linked.contains(&field("quantity.cameras", "64")));
    for unknown in ["plan=gone", "plan=professional%409", "plan=No"] {
        let (status, page) = staff.post(NEW, &format!("{unknown}&use=1")).await;
        assert!([400, 404].contains(&status), "{unknown}: {status}");
        assert!(page.contains("id=\"error\""), "{page}");
    }
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_signed_is_shown_before_the_license_is_issued() {
    let staff = Staff::signed_in().await;
    sell(&staff.vendor, &[], &["anpr_lanes"]).await;
    let filled = "plan=standard%401&customer=Harbour+Ltd&feature=module.alarm_advanced\
                  &quantity.cameras=20&quantity.anpr_lanes=8&quantity.users=unlimited\
                  &seats=2&lease_hours=48&updates_until=2027-12-31&updates=enforce&end=year";
    let page = staff.accepted(NEW, filled).await;
    for expected in [
        "Harbour Ltd <span class=\"chip wait\">New customer</span>",
        "<dt>Ends</dt><dd>24 November 2027, 11:59:59 UTC</dd>",
        "Advanced alarms <small class=\"soft\">in addition to the plan</small>",
        "<dt>Cameras</dt><dd>20 <small class=\"soft\">instead of 16</small></dd>",
        "<dd>8 <small class=\"soft\">instead of none</small></dd>",
        "<dd>unlimited <small class=\"soft\">instead of 5</small></dd>",
        "<dt>Seats</dt><dd>2 <small class=\"soft\">instead of 1</small></dd>",
        "until 31 December 2027; licensed features are off with later releases",
        "<dd>48 hours <small class=\"soft\">instead of 24 hours, as set on the License Server",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    assert_eq!(staff.licenses().await, 0, "nothing is issued yet");

    // The end that was shown is the end, also if the review took a while.
    let fields = hidden_fields(&page);
    staff.vendor.clock.advance(chrono::TimeDelta::minutes(20));
    assert_eq!(staff.post("/console/licenses/issue", &fields).await.0, 303);
    assert_eq!(staff.post("/console/licenses/issue", &fields).await.0, 303);
    let listed = staff.vendor.look("/licenses").await;
    assert_eq!(listed["total"], 1, "confirming twice issues one license");
    let license = &listed["licenses"][0];
    for (name, value) in [
        ("customer", json!("Harbour Ltd")),
        ("plan", json!("standard@1")),
        ("features", json!(["module.alarm_advanced"])),
        ("maxCameras", json!(20)),
        ("maxUsers", json!(-1)),
        ("seats", json!(2)),
        ("leaseHours", json!(48)),
        ("updates", json!("enforce")),
        ("expiresAt", json!("2027-11-24T11:59:59Z")),
    ] {
        assert_eq!(license[name], value, "{name}");
    }
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_and_errors_lose_nothing() {
    let staff = Staff::signed_in().await;
    let filled = "plan=professional%401&customer=Harbour+%26+Sons&feature=module.map_view\
                  &quantity.cameras=unlimited&quantity.users=&seats=7&moves=3\
                  &moves_period_days=30&end=day&day=2099-12-31&starts=&key=";
    let kept = [
        field("customer", "Harbour &#38; Sons"),
        field("quantity.cameras", "unlimited"),
        field("quantity.users", ""),
        field("seats", "7"),
        field("moves_period_days", "30"),
        field("day", "2099-12-31"),
        checked("module.map_view"),
        "name=\"feature\" value=\"module.health_monitoring\">".to_owned(),
        // The key that would have been issued was typed by nobody.
        field("key", ""),
    ];
    let page = staff.accepted(NEW, filled).await;
    let no = "formaction=\"/console/licenses/new\" formnovalidate name=\"edit\" value=\"1\"";
    assert!(page.contains(no), "{page}");
    // What the browser sends when that button is pressed: the hidden fields, and the button.
    let form = staff
        .accepted(NEW, &(hidden_fields(&page) + "&edit=1"))
        .await;
    for expected in kept
        .iter()
        .chain([&"value=\"day\" required checked".to_owned()])
    {
        assert!(form.contains(expected), "{expected}: {form}");
    }
    for (from, to, why) in [
        ("&end=day", "", "Choose the end"),
        (
            "&end=day",
            "&end=never",
            "was entered, but another end is chosen",
        ),
        ("&end=day", "&end=plan", "Unknown end"),
        (
            "customer=Harbour+%26+Sons",
            "customer=+",
            "Enter the customer",
        ),
        ("&seats=7", "&seats=many", "Invalid seats"),
        ("&seats=7", "&seats=0", "seats must be from 1"),
        ("unlimited", "-5", "Invalid cameras"),
        ("&starts=", "&starts=soon", "Invalid first day"),
        ("&key=", "&key=nonsense", "id=\"error\""),
        (
            "&key=",
            "&feature=module.nope&key=",
            "is not in the catalogue",
        ),
        (
            "&key=",
            "&quantity.lasers=3&key=",
            "is not in the catalogue",
        ),
        ("&key=", "&quantity.module.map_view=3&key=", "is a feature"),
        ("&key=", "&feature=cameras&key=", "is counted"),
        ("2099-12-31", "2020-12-31", "has passed"),
    ] {
        let body = filled.replacen(from, to, 1);
        let (status, form) = staff.post(NEW, &body).await;
        assert_eq!(status, 400, "{to}: {form}");
        assert!(form.contains(why), "{to}: {form}");
        let lost = kept.iter().filter(|it| !form.contains(*it));
        let lost: Vec<_> = lost.collect();
        assert!(lost.len() <= 1, "{to} is all that is different: {lost:?}");
        // Confirming it by force is refused as well.
        let (status, form) = staff.post("/console/licenses/issue", &body).await;
        assert_eq!(status, 400, "{to}: {form}");
    }
    let unknown = filled.replace("&key=", "&feature=module.nope&key=");
    let (_, form) = staff.post(NEW, &unknown).await;
    assert!(form.contains("module.nope <small class=\"soft\">not in the catalogue"));
    assert_eq!(staff.licenses().await, 0);
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_plan_keeps_what_was_changed() {
    let staff = Staff::signed_in().await;
    let filled = "plan=professional%401&customer=Harbour&feature=module.map_view\
                  &feature=module.analytics_advanced&feature=module.health_monitoring\
                  &quantity.cameras=80&quantity.users=20&quantity.storage_gb=20000&seats=1&moves=3\
                  &moves_period_days=365&updates=warn&choose=1";
    let chooser = staff.accepted(NEW, filled).await;
    assert!(
        chooser.contains("<option value=\"professional@1\" selected>"),
        "{chooser}"
    );
    let fields = hidden_fields(&chooser) + "&plan=enterprise%401&use=1";
    let form = staff.accepted(NEW, &fields).await;
    for expected in [
        field("plan", "enterprise@1"),
        field("customer", "Harbour"),
        field("quantity.cameras", "80"),
        field("quantity.users", "unlimited"),
        "The plan was changed".to_owned(),
    ] {
        assert!(form.contains(&expected), "{expected}: {form}");
    }
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_customers_are_offered_and_new_ones_are_marked() {
    let staff = Staff::signed_in().await;
    for number in 0..120 {
        let body =
            json!({"name": format!("Harbour {number:03}"), "reference": format!("K-{number}")});
        let added = staff
            .vendor
            .admin(reqwest::Method::POST, "/customers", body)
            .await;
        assert_eq!(added.0, 201);
    }
    let (_, form) = staff.get(&format!("{NEW}?plan=standard")).await;
    let offered = form.matches("<option value=\"Harbour ").count();
    assert_eq!(offered, 100, "with the page");
    let (status, matches) = staff
        .get("/console/customers/known?search=harbour+11")
        .await;
    assert_eq!(status, 200);
    assert_eq!(matches.matches("<option").count(), 10);
    let (_, matches) = staff.get("/console/customers/known?search=").await;
    assert_eq!(matches.matches("<option").count(), 20);

    let review = |customer: &str| format!("plan=standard%401&end=never&customer={customer}");
    let page = staff.accepted(NEW, &review("K-7")).await;
    assert!(page.contains("<dd>Harbour 007 <small"), "{page}");
    assert!(!page.contains("New customer"), "{page}");
    let page = staff.accepted(NEW, &review("Harbor+Ltd")).await;
    assert!(page.contains("Harbor Ltd <span class=\"chip wait\">New customer"));
    assert!(
        page.contains("Similar customers: Harbour 000, Harbour 001"),
        "{page}"
    );
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_field_never_removes_the_end_of_a_license() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    let renew = format!("{license}/renew");
    let (status, _) = staff.post(&renew, "end=day&day=2030-12-31").await;
    assert_eq!(status, 303);
    for (body, why) in [
        ("", "Choose the end"),
        ("day=", "Choose the end"),
        ("end=day&day=", "Enter the last day"),
        ("end=never&day=2031-12-31", "another end is chosen"),
    ] {
        let (status, page) = staff.post(&renew, body).await;
        assert_eq!(status, 400, "{body}");
        assert!(page.contains(why), "{body}: {page}");
    }
    let path = format!("/licenses/{key}");
    let end = async || staff.vendor.look(&path).await["license"]["expiresAt"].clone();
    assert_eq!(end().await, "2030-12-31T23:59:59Z");
    assert_eq!(staff.post(&renew, "end=never&day=").await.0, 303);
    assert_eq!(end().await, Value::Null);
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_key_that_exists_is_refused_and_a_repeated_form_is_not() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    let other = |key: &str| format!("plan=standard%401&customer=Quay&end=never&key={key}");
    let (status, form) = staff.post(NEW, &other(&key)).await;
    assert_eq!(status, 409, "{form}");
    assert!(form.contains("already exists"), "{form}");
    assert!(
        form.contains(&field("key", &key)),
        "what was typed is kept: {form}"
    );
    // Another license gets the key between the review and the confirmation.
    let typed = "FXSGHT-2222-2222-2222-2222";
    let page = staff.accepted(NEW, &other(typed)).await;
    let body = json!({"plan": "standard", "customer": "Museum", "licenseKey": typed});
    let added = staff.vendor.admin(reqwest::Method::POST, "/licenses", body);
    assert_eq!(added.await.0, 201);
    for fields in [
        hidden_fields(&page),
        other(&key) + &format!("&typed_key={key}"),
    ] {
        let (status, form) = staff.post("/console/licenses/issue", &fields).await;
        assert_eq!(status, 409, "{form}");
        assert!(form.contains("already exists"), "{form}");
    }
    assert_eq!(staff.licenses().await, 2);
    // A key that was generated is the one of the form that is sent again.
    let page = staff.accepted(NEW, &other("")).await;
    let fields = hidden_fields(&page);
    for _ in 0..2 {
        let sent = staff.send(reqwest::Method::POST, "/console/licenses/issue", &fields);
        let sent = sent.await;
        assert_eq!(sent.status(), 303);
        let to = sent.headers()["location"].to_str().unwrap();
        assert!(!to.contains(&license), "{to}");
    }
    assert_eq!(staff.licenses().await, 3);
    staff.vendor.end().await;
}

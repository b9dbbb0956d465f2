//! Who gets the pages about what is sold, and who may change it.

use license_core::issued_code::{CodeKind, IssuedCode};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, LOCATION};

use super::{FORM, Staff};
use crate::{add_ons, trials};

/// Pages, and forms that change nothing yet.
const PAGES: [&str; 20] = [
    "/console/licenses/new",
    "/console/licenses/x/amend",
    "/console/licenses/x/amendments",
    "/console/customers",
    "/console/customers/known",
    "/console/customers/new",
    "/console/customers/x",
    "/console/customers/x/edit",
    "/console/customers/x/merge",
    "/console/plans",
    "/console/plans/x",
    "/console/catalogue",
    "/console/tokens",
    "/console/tokens/x/revoke",
    "/console/add-ons",
    "/console/add-ons/new",
    "/console/add-ons/1/refund",
    "/console/trial-codes",
    "/console/trial-codes/new",
    "/console/trial-codes/x/withdraw",
];

/// Where changes are confirmed.
const CHANGES: [(&str, &str); 12] = [
    (
        "/console/licenses/issue",
        "plan=standard%401&customer=x&end=never",
    ),
    ("/console/licenses/KEY/amend/confirm", "after=1&seats=2"),
    ("/console/licenses/KEY/renew", "end=day&day=2099-12-31"),
    ("/console/customers/add", "name=New"),
    (
        "/console/customers/K-Harbour/save",
        "name=Port&reference=K-Harbour",
    ),
    (
        "/console/customers/K-Harbour/merge/confirm",
        "customer=Museum",
    ),
    ("/console/tokens/add", "name=bob&end=never"),
    ("/console/tokens/ana/revoke", "x=y"),
    (
        "/console/add-ons/issue",
        "code=ADD-ON&add_key.0=cameras&add_quantity.0=4&end=never",
    ),
    ("/console/add-ons/1/refund", "reason=Ordered+twice"),
    (
        "/console/trial-codes/add",
        "code=CODE&plan=trial%401&max=5&end=never",
    ),
    ("/console/trial-codes/TRIAL/withdraw", "x=y"),
];

/// [`CHANGES`], with what they are about.
async fn changes(staff: &Staff) -> Vec<(String, String)> {
    for name in ["Harbour", "Museum"] {
        staff.customer(name).await;
    }
    let body = serde_json::json!({"name": "ana"});
    staff.vendor.admin(Method::POST, "/tokens", body).await;
    let (_, key) = staff.license().await;
    add_ons::cameras(&staff.vendor, 4).await;
    trials::code(&staff.vendor, serde_json::json!({"max": 5})).await;
    let trial = staff.vendor.look("/trial-codes").await["trialCodes"][0]["id"].take();
    let code = |kind| IssuedCode::from_random(kind, &[7; 32]).unwrap();
    let (add_on, code) = (code(CodeKind::AddOn), code(CodeKind::Trial));
    let changes = CHANGES.iter().map(|(path, form)| {
        let path = path.replace("KEY", &key);
        let form = form.replace("ADD-ON", add_on.as_str());
        (
            path.replace("TRIAL", trial.as_str().unwrap()),
            form.replace("CODE", code.as_str()),
        )
    });
    changes.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_shown_or_changed_without_a_session_or_from_another_site() {
    let mut staff = Staff::signed_in().await;
    let changes = changes(&staff).await;
    let entries = async |staff: &Staff| staff.vendor.audit("?limit=100").await;
    let before = entries(&staff).await;
    for (path, form) in &changes {
        // Not by following a link.
        let (status, _) = staff.get(&format!("{path}?{form}")).await;
        assert!([200, 404, 405].contains(&status), "{path}: {status}");
        let request = staff.http.post(format!("{}{path}", staff.vendor.url));
        let request = request.header("sec-fetch-site", "cross-site");
        let request = request.header("cookie", &staff.cookie);
        let request = request.header(CONTENT_TYPE, FORM).body(form.clone());
        assert_eq!(request.send().await.unwrap().status(), 403, "{path}");
    }
    let session = std::mem::take(&mut staff.cookie);
    for path in PAGES {
        let answer = staff.send(Method::GET, path, "").await;
        assert_eq!(answer.status(), 303, "{path}");
        let to = answer.headers()[LOCATION].to_str().unwrap();
        assert!(to.starts_with("/console/sign-in?next="), "{path}: {to}");
    }
    for (path, form) in &changes {
        let (status, page) = staff.post(path, form).await;
        assert_eq!(status, 401, "{path}");
        assert!(page.contains("Your input is kept"), "{path}: {page}");
    }
    assert_eq!(entries(&staff).await, before, "nothing was changed");
    // The same forms work with the session.
    staff.cookie = session;
    for (path, form) in &changes {
        let (status, page) = staff.post(path, form).await;
        assert!([200, 303].contains(&status), "{path}: {status} {page}");
    }
    let after = entries(&staff).await;
    let added = after.as_array().unwrap().len() - before.as_array().unwrap().len();
    assert_eq!(added, CHANGES.len(), "{after}");
    staff.vendor.end().await;
}

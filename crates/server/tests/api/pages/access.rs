//! Who gets the pages about what is sold, and who may change it.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, LOCATION};

use super::{FORM, Staff};

/// Pages, and forms that change nothing yet.
const PAGES: [&str; 14] = [
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
];

/// Where changes are confirmed.
const CHANGES: [(&str, &str); 8] = [
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
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_shown_or_changed_without_a_session_or_from_another_site() {
    let mut staff = Staff::signed_in().await;
    for name in ["Harbour", "Museum"] {
        staff.customer(name).await;
    }
    let body = serde_json::json!({"name": "ana"});
    staff.vendor.admin(Method::POST, "/tokens", body).await;
    let (_, key) = staff.license().await;
    let entries = async |staff: &Staff| staff.vendor.audit("?limit=100").await;
    let before = entries(&staff).await;
    for (path, form) in CHANGES {
        let path = path.replace("KEY", &key);
        // Not by following a link.
        let (status, _) = staff.get(&format!("{path}?{form}")).await;
        assert!([200, 404, 405].contains(&status), "{path}: {status}");
        let request = staff.http.post(format!("{}{path}", staff.vendor.url));
        let request = request.header("sec-fetch-site", "cross-site");
        let request = request.header("cookie", &staff.cookie);
        let request = request.header(CONTENT_TYPE, FORM).body(form);
        assert_eq!(request.send().await.unwrap().status(), 403, "{path}");
    }
    let session = std::mem::take(&mut staff.cookie);
    for path in PAGES {
        let answer = staff.send(Method::GET, path, "").await;
        assert_eq!(answer.status(), 303, "{path}");
        let to = answer.headers()[LOCATION].to_str().unwrap();
        assert!(to.starts_with("/console/sign-in?next="), "{path}: {to}");
    }
    for (path, form) in CHANGES {
        let path = path.replace("KEY", &key);
        let (status, page) = staff.post(&path, form).await;
        assert_eq!(status, 401, "{path}");
        assert!(page.contains("Your input is kept"), "{path}: {page}");
    }
    assert_eq!(entries(&staff).await, before, "nothing was changed");
    // The same forms work with the session.
    staff.cookie = session;
    for (path, form) in CHANGES {
        let path = path.replace("KEY", &key);
        let (status, page) = staff.post(&path, form).await;
        assert!([200, 303].contains(&status), "{path}: {status} {page}");
    }
    let after = entries(&staff).await;
    let added = after.as_array().unwrap().len() - before.as_array().unwrap().len();
    assert_eq!(added, CHANGES.len(), "{after}");
    staff.vendor.end().await;
}

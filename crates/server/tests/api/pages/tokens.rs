//! The page of named tokens.

use license_service::token_text::is_token;

use super::{Staff, hidden_fields};

impl Staff {
    /// The status of a call with a token that changes nothing.
    async fn with_token(&self, token: &str) -> u16 {
        let request = self.http.get(format!("{}/api/admin/keys", self.vendor.url));
        let answer = request.bearer_auth(token).send().await.unwrap();
        answer.status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_shown_once_listed_and_revoked() {
    let staff = Staff::signed_in().await;
    let filled = "name=ana&end=day&day=2027-12-31&note=Sales";
    let (status, review) = staff.post("/console/tokens/new", filled).await;
    assert_eq!(status, 200);
    assert!(review.contains("Create this token?"), "{review}");
    assert!(review.contains("<dd>31 December 2027</dd>"), "{review}");
    assert_eq!(staff.vendor.look("/tokens").await["total"], 0);
    let fields = hidden_fields(&review);
    let (_, form) = staff
        .post("/console/tokens/new", &format!("{fields}&edit=1"))
        .await;
    assert!(form.contains("name=\"note\" value=\"Sales\""), "{form}");
    let (status, page) = staff.post("/console/tokens/add", &fields).await;
    assert_eq!(status, 200);
    let token = page.split("id=\"token\" value=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap().to_owned();
    assert!(is_token(&token), "{token}");
    assert_eq!(staff.with_token(&token).await, 200);

    let (_, list) = staff.get("/console/tokens").await;
    for expected in [
        "ana<small>Sales</small>",
        "31 December 2027",
        "Active",
        "by break-glass",
    ] {
        assert!(list.contains(expected), "{expected}: {list}");
    }
    assert!(!list.contains(&token), "it is stored nowhere");
    // Sending the form again neither shows it again nor makes another one.
    let (status, form) = staff.post("/console/tokens/add", &fields).await;
    assert_eq!(status, 409);
    assert!(
        !form.contains(&token) && form.contains("There is already a token"),
        "{form}"
    );

    let (status, question) = staff.get("/console/tokens/ana/revoke").await;
    assert_eq!(status, 200);
    assert!(question.contains("Revoke this token?"), "{question}");
    assert_eq!(staff.with_token(&token).await, 200, "only asked");
    assert_eq!(staff.post("/console/tokens/ana/revoke", "").await.0, 303);
    assert_eq!(staff.with_token(&token).await, 401);
    let (_, list) = staff.get("/console/tokens").await;
    assert!(list.contains("Revoked") && !list.contains("/console/tokens/ana/revoke"));
    assert_eq!(staff.get("/console/tokens/ana/revoke").await.0, 404);
    assert_eq!(staff.post("/console/tokens/ana/revoke", "").await.0, 404);
    let log = staff.vendor.audit("").await;
    assert_eq!(
        (&log[0]["action"], &log[1]["action"]),
        (&"token_revoked".into(), &"token_added".into())
    );
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_token_is_chosen_and_errors_keep_the_input() {
    let staff = Staff::signed_in().await;
    for (body, why) in [
        ("name=ana&note=Sales", "Choose the end"),
        ("name=ana&note=Sales&end=day&day=", "Enter the last day"),
        (
            "name=ana&note=Sales&end=never&day=2027-12-31",
            "another end is chosen",
        ),
        (
            "name=ana&note=Sales&end=day&day=2020-12-31",
            "which has passed",
        ),
        ("name=Ana+B&note=Sales&end=never", "Invalid name"),
        ("name=site&note=Sales&end=never", "is reserved"),
    ] {
        for path in ["/console/tokens/new", "/console/tokens/add"] {
            let (status, form) = staff.post(path, body).await;
            assert_eq!(status, 400, "{body}");
            assert!(form.contains(why), "{body}: {form}");
            assert!(form.contains("name=\"note\" value=\"Sales\""), "{body}");
        }
    }
    assert_eq!(staff.vendor.look("/tokens").await["total"], 0);
    staff.vendor.end().await;
}

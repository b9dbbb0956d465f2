//! Licenses that wait for their first activation, on the pages.

use reqwest::Method;
use serde_json::{Value, json};

use super::Staff;
use crate::first_activation::sell;

const LASTS: &str = "30 days after the first activation";

impl Staff {
    /// The part of a page with this beginning and end.
    async fn part(&self, path: &str, from: &str, to: &str) -> String {
        let (status, page) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        let part = page.split_once(from);
        let (_, part) = part.unwrap_or_else(|| panic!("{path} has no {from}: {page}"));
        part.split(to).next().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_that_waits_for_its_activation_never_reads_as_perpetual() {
    let staff = Staff::signed_in().await;
    let key = sell(&staff.vendor, json!({})).await;
    let license = staff.vendor.look(&format!("/licenses/{key}")).await;
    let license = &license["license"];
    let page = |path: &str| {
        let id = license["id"].as_str().unwrap();
        format!("/console/licenses/{id}{path}")
    };
    let customer = license["customerId"].as_str().unwrap();
    for (path, from, to) in [
        (page(""), "<strong>", "</p>"),
        (
            page("/amend"),
            "<strong>End of the license</strong>",
            "</p>",
        ),
        (
            "/console/licenses".to_owned(),
            "data-label=\"Ends\">",
            "</td>",
        ),
        (
            format!("/console/customers/{customer}"),
            "data-label=\"Ends\">",
            "</td>",
        ),
    ] {
        let part = staff.part(&path, from, to).await;
        assert!(part.contains(LASTS), "{path}: {part}");
        assert!(!part.contains("ever"), "{path}: {part}");
    }
    let until = staff
        .part(&page(""), "data-label=\"Until\">", "</td>")
        .await;
    assert!(until.contains("end of the license"), "{until}");
    let told = staff
        .part(
            &page("/amendments"),
            "<ul class=\"plain amendments",
            "</ul>",
        )
        .await;
    assert!(told.contains(LASTS), "{told}");
    for (path, from, to) in [
        ("/console/plans/month", "<dt>Duration</dt>", "</dd>"),
        ("/console/plans", "A month</a>", "</tr>"),
        (
            "/console/licenses/new?plan=month",
            "value=\"plan\"",
            "</label>",
        ),
    ] {
        let part = staff.part(path, from, to).await;
        let expected = "30 days from the first activation";
        assert!(part.contains(expected), "{path}: {part}");
    }
    let form = "plan=month%401&customer=Harbour+Ltd&feature=module.map_view&seats=2&end=plan";
    let (status, review) = staff.post("/console/licenses/new", form).await;
    assert_eq!(status, 200, "{review}");
    let ends = format!("<dt>Ends</dt><dd>{LASTS} <small class=\"soft\">as defined in the plan");
    assert!(review.contains(&ends), "{review}");
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewing_a_license_that_waits_requires_a_choice() {
    let staff = Staff::signed_in().await;
    let key = sell(&staff.vendor, json!({})).await;
    let renew = format!("/console/licenses/{key}/renew");
    let (_, form) = staff.get(&renew).await;
    assert!(
        form.contains("name=\"end\" value=\"never\" required>"),
        "{form}"
    );
    assert!(!form.contains(" checked"), "{form}");
    assert!(form.contains(LASTS), "the end that it replaces: {form}");
    let fields = super::hidden_fields(&form) + "&day=";
    let (status, page) = staff.post(&renew, &fields).await;
    assert_eq!(status, 400);
    assert!(page.contains("Choose the end"), "{page}");
    let path = format!("/licenses/{key}");
    let shown = staff.vendor.look(&path).await;
    assert_eq!(shown["license"]["lastsFromActivation"], "P30D");
    // One that has an end is offered that end, and one without an end is offered none.
    let ends = json!({"expiresAt": "2030-12-31"});
    let set = format!("{path}/renew");
    for (body, checked) in [(ends, "day"), (json!({"expiresAt": Value::Null}), "never")] {
        assert_eq!(staff.vendor.admin(Method::POST, &set, body).await.0, 200);
        let (_, form) = staff.get(&renew).await;
        let expected = format!("value=\"{checked}\" required checked");
        assert!(form.contains(&expected), "{form}");
    }
    staff.vendor.end().await;
}

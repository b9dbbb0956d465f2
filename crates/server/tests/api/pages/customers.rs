//! The pages of customers.

use chrono::TimeDelta;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Staff, hidden_fields};

const NEW: &str = "/console/customers/new";

impl Staff {
    /// Adds a customer; returns its id.
    pub(super) async fn customer(&self, name: &str) -> String {
        let body = json!({"name": name, "reference": format!("K-{name}")});
        let (status, added) = self.vendor.admin(Method::POST, "/customers", body).await;
        assert_eq!(status, 201, "{added}");
        added["id"].as_str().unwrap().to_owned()
    }

    async fn stored(&self, id: &str) -> Value {
        self.vendor.look(&format!("/customers/{id}")).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_is_added_after_a_review() {
    let staff = Staff::signed_in().await;
    let filled = "name=Harbour+%26+Sons&reference=K-1&contact_name.0=Ana&contact_email.0=\
                  ana%40harbour.example&contact_phone.2=112&notes=One%0D%0ATwo&known_at=";
    let (status, review) = staff.post(NEW, filled).await;
    assert_eq!(status, 200);
    assert!(review.contains("Add this customer?"), "{review}");
    assert!(review.contains("<dd>Harbour &#38; Sons</dd>"), "{review}");
    assert_eq!(staff.vendor.look("/customers").await["total"], 0);
    let fields = hidden_fields(&review);
    let (_, form) = staff.post(NEW, &format!("{fields}&edit=1")).await;
    assert!(
        form.contains("name=\"contact_phone.2\" value=\"112\""),
        "{form}"
    );
    let added = staff
        .send(Method::POST, "/console/customers/add", &fields)
        .await;
    assert_eq!(added.status(), 303);
    let address = added.headers()["location"].to_str().unwrap().to_owned();
    let (_, page) = staff.get(&address).await;
    for expected in [
        "Customer added.",
        "ana@harbour.example",
        "One<br>Two",
        "112",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    let (status, form) = staff.post("/console/customers/add", &fields).await;
    assert_eq!(status, 409);
    assert!(form.contains("There is already a customer"), "{form}");
    assert!(form.contains("name=\"reference\" value=\"K-1\""), "{form}");
    for (body, why) in [
        ("name=", "name is empty"),
        ("name=x&contact_email.0=y&reference=K-1", ""),
        (
            "name=cus_00000000000000000000000000000000",
            "looks like an id",
        ),
    ] {
        let (status, page) = staff.post(NEW, body).await;
        assert_eq!(status, if why.is_empty() { 200 } else { 400 }, "{body}");
        assert!(page.contains(why), "{body}: {page}");
    }
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_is_on_every_license() {
    let staff = Staff::signed_in().await;
    let id = staff.customer("Habour Ltd").await;
    let request = IssueRequest {
        customer: id.clone(),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = staff.vendor.issue(request).await;
    let path = format!("/console/customers/{id}");
    let (_, form) = staff.get(&format!("{path}/edit")).await;
    assert!(
        form.contains("name=\"name\" value=\"Habour Ltd\""),
        "{form}"
    );
    let known_at = hidden_fields(&form);
    let filled = format!("{known_at}&name=Harbour+Ltd&reference=K-1&notes=");
    let (status, review) = staff.post(&format!("{path}/edit"), &filled).await;
    assert_eq!(status, 200);
    assert!(review.contains("1 license gets the new name"), "{review}");
    assert_eq!(staff.stored(&id).await["name"], "Habour Ltd");
    let fields = hidden_fields(&review);
    staff.vendor.clock.advance(TimeDelta::minutes(1));
    assert_eq!(staff.post(&format!("{path}/save"), &fields).await.0, 303);
    let license = staff.vendor.look(&format!("/licenses/{key}")).await;
    assert_eq!(license["license"]["customer"], "Harbour Ltd");
    assert_eq!(license["license"]["amendment"], 1, "no amendment is needed");

    // With the old form, others' changes are shown, and the input is kept.
    let stale = format!("{known_at}&name=Harbor&reference=K-2&notes=Call+first");
    for action in ["edit", "save"] {
        let (status, form) = staff.post(&format!("{path}/{action}"), &stale).await;
        assert_eq!(status, 409, "{form}");
        for expected in [
            "Others have changed the customer in the meantime",
            "<dd>Harbour Ltd</dd>",
            "name=\"name\" value=\"Harbor\"",
            "name=\"reference\" value=\"K-2\"",
            ">Call first</textarea>",
        ] {
            assert!(form.contains(expected), "{expected}: {form}");
        }
        assert_eq!(staff.stored(&id).await["name"], "Harbour Ltd");
        if action == "edit" {
            continue;
        }
        let again = stale.replace(&known_at, &hidden_fields(&form));
        assert_eq!(staff.post(&format!("{path}/save"), &again).await.0, 303);
    }
    let stored = staff.stored(&id).await;
    assert_eq!(
        (&stored["name"], &stored["notes"]),
        (&json!("Harbor"), &json!("Call first"))
    );
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_records_of_a_customer_are_merged_after_a_preview() {
    let staff = Staff::signed_in().await;
    let (from, into) = (
        staff.customer("Harbor").await,
        staff.customer("Harbour").await,
    );
    let mut keys = Vec::new();
    for _ in 0..2 {
        let request = IssueRequest {
            customer: from.clone(),
            ..IssueRequest::of(Tier::Standard)
        };
        keys.push(staff.vendor.issue(request).await);
    }
    let path = format!("/licenses/{}/revoke", keys[1]);
    staff.vendor.admin(Method::POST, &path, Value::Null).await;
    let path = format!("/console/customers/{from}/merge");
    let (_, form) = staff.get(&path).await;
    assert!(form.contains("Merge Harbor"), "{form}");
    for (body, status) in [
        ("customer=", 400),
        ("customer=Nobody", 404),
        ("customer=Harbor", 400),
    ] {
        assert_eq!(staff.post(&path, body).await.0, status, "{body}");
    }
    let (status, review) = staff.post(&path, "customer=K-Harbour").await;
    assert_eq!(status, 200);
    for expected in [
        "<dt>Licenses amended</dt><dd>1</dd>",
        "Licenses moved without an amendment",
        "This cannot be undone",
    ] {
        assert!(review.contains(expected), "{expected}: {review}");
    }
    assert_eq!(staff.stored(&from).await["mergedInto"], Value::Null);
    let fields = hidden_fields(&review);
    let merged = staff
        .send(Method::POST, &format!("{path}/confirm"), &fields)
        .await;
    let address = merged.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(
        address,
        format!("/console/customers/{into}?done=customer-merged")
    );
    let (_, page) = staff.get(&address).await;
    assert!(page.contains("2 licenses, page 1 of 1"), "{page}");
    let (_, page) = staff.get(&format!("/console/customers/{from}")).await;
    assert!(page.contains(&format!("href=\"/console/customers/{into}\">Harbour</a>")));
    assert!(!page.contains("/merge\""), "{page}");
    let (_, list) = staff.get("/console/customers?merged=1").await;
    assert!(list.contains(">Harbor</a>") && !list.contains(">Harbour</a>"));
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_are_searched_sorted_and_paged() {
    let staff = Staff::signed_in().await;
    for number in 0..60 {
        staff.customer(&format!("Site {number:02}")).await;
    }
    let (_, first) = staff.get("/console/customers").await;
    assert!(first.contains("60 customers, page 1 of 2"), "{first}");
    let (_, last) = staff.get("/console/customers?page=99").await;
    assert!(last.contains(">Site 59</a>") && !last.contains(">Site 10</a>"));
    let (_, found) = staff.get("/console/customers?search=k-site+07").await;
    assert!(!found.contains(">Site 08</a>"), "{found}");
    let (_, found) = staff.get("/console/customers?search=site+07").await;
    assert!(found.contains(">Site 07</a>") && found.contains("1 customer,"));
    for wrong in [
        "sort=price",
        "page=two",
        "merged=yes",
        "sort=name&sort=name",
    ] {
        let (status, page) = staff.get(&format!("/console/customers?{wrong}")).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(page.contains("id=\"error\""), "{wrong}");
    }
    assert_eq!(staff.get("/console/customers/nobody").await.0, 404);
    staff.vendor.end().await;
}

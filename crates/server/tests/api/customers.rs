//! Customers as records, and the names that licenses carry.

mod by_command;
mod lock_order;
mod locks;
mod merge_expiry;
mod merge_races;
mod merging;
mod references;

use chrono::TimeDelta;
use license_server::licensing::current::catch_up;
use license_server::licensing::look_up::look_up;
use license_server::store::amendments;
use license_server::store::licenses::{self, License};
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::lists::assert_refused;
use crate::told::Told;

on_both_engines! {
    a_license_belongs_to_the_customer_that_has_its_name;
    a_renamed_customer_is_in_the_next_lease_of_each_license;
    two_licenses_for_one_new_customer_at_once_make_one_record;
    a_customer_who_comes_later_is_in_the_row_from_then_on;
    customers_are_listed_in_pages_in_every_order;
    an_invalid_customer_is_refused_with_its_field;
}

/// Issues a license; returns it as the API shows it.
pub(crate) async fn issued(vendor: &Vendor, customer: &str) -> Value {
    let body = json!({"tier": "standard", "customer": customer});
    let (status, license) = vendor.admin(Method::POST, "/licenses", body).await;
    assert_eq!(status, StatusCode::CREATED, "{license}");
    license
}

/// Adds a customer; returns it.
pub(crate) async fn added(vendor: &Vendor, body: Value) -> Value {
    let (status, customer) = vendor.admin(Method::POST, "/customers", body).await;
    assert_eq!(status, StatusCode::CREATED, "{customer}");
    customer
}

/// What a license's documents say about its customer.
pub(crate) async fn licensed_to(vendor: &Vendor, license: &Value) -> String {
    let key = license["licenseKey"].as_str().unwrap();
    vendor.activate(key, "machine").await;
    match vendor.validate(key, "machine").await {
        Told::License(_, answer) => {
            let customer = answer["data"]["license"]["customer"].as_str();
            customer.unwrap().to_owned()
        }
        other => panic!("{}", other.word()),
    }
}

/// Checks that the row of a license has the customer that its amendments add up to; returns the
/// license.
pub(crate) async fn rebuilt(vendor: &Vendor, license: &Value) -> License {
    let row = look_up(&vendor.app.store, license["id"].as_str().unwrap());
    let row = row.await.unwrap();
    let db = vendor.app.store.reader();
    let all = amendments::of_license(db, &row.id).await.unwrap();
    let blank = License {
        customer: String::new(),
        customer_id: None,
        ..row.clone()
    };
    let whole = licenses::amended(db, blank, &all, vendor.clock.now()).await;
    let whole = License {
        judged_at: row.judged_at,
        ..whole.unwrap()
    };
    assert_eq!(whole, row);
    row
}

/// The entries of the audit log about an action, newest first.
async fn entries(vendor: &Vendor, action: &str) -> Vec<Value> {
    let log = vendor.audit("?limit=500").await;
    let entries = log.as_array().unwrap().iter();
    entries
        .filter(|it| it["action"] == action)
        .cloned()
        .collect()
}

async fn a_license_belongs_to_the_customer_that_has_its_name(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let first = issued(&vendor, " Müller & Söhne ").await;
    assert_eq!(first["customer"], "Müller & Söhne");
    let id = first["customerId"].as_str().unwrap();
    assert!(id.starts_with("cus_") && id.len() == 36, "{id}");
    let edit = json!({"reference": "K-17", "contacts": [{"name": "Ana", "email": "a@b.example"}]});
    let path = format!("/customers/{id}");
    let (status, customer) = vendor.admin(Method::PATCH, &path, edit).await;
    assert_eq!(status, StatusCode::OK, "{customer}");
    assert_eq!(
        (
            &customer["name"],
            &customer["reference"],
            &customer["contacts"][0]["phone"]
        ),
        (&"Müller & Söhne".into(), &"K-17".into(), &Value::Null)
    );
    // The same name in another spelling, the reference, and the id.
    for text in ["MÜLLER & SÖHNE", "mu\u{308}ller & so\u{308}hne", "K-17", id] {
        let license = issued(&vendor, text).await;
        assert_eq!(
            (&license["customer"], &license["customerId"]),
            (&first["customer"], &first["customerId"]),
            "{text}"
        );
        rebuilt(&vendor, &license).await;
    }
    let without = issued(&vendor, "  ").await;
    assert_eq!(
        (&without["customer"], &without["customerId"]),
        (&"".into(), &Value::Null)
    );
    assert_eq!(rebuilt(&vendor, &without).await.customer_id, None);
    let listed = vendor.look("/customers").await;
    assert_eq!(
        (&listed["total"], &listed["customers"][0]["licenses"]),
        (&1.into(), &5.into())
    );
    let theirs = vendor.look("/licenses?customer=K-17").await;
    assert_eq!(theirs["total"], 5);
    // The entry of the license that added the customer says so.
    let log = vendor
        .audit(&format!("?license={}", first["id"].as_str().unwrap()))
        .await;
    assert_eq!(
        (
            &log[0]["details"]["customerId"],
            &log[0]["details"]["newCustomer"]
        ),
        (&first["customerId"], &true.into())
    );

    // A license is given to another customer, and back.
    let amend = format!("/licenses/{}/amendments", first["id"].as_str().unwrap());
    let to_other = json!({"customer": "Harbour Ltd", "reason": "sold"});
    let preview = json!({"customer": "Harbour Ltd", "preview": true});
    let (_, previewed) = vendor.admin(Method::POST, &amend, preview).await;
    assert_eq!(previewed["license"]["customer"], "Harbour Ltd");
    assert_eq!(
        vendor.look("/customers").await["total"],
        1,
        "a preview adds none"
    );
    let (status, amended) = vendor.admin(Method::POST, &amend, to_other).await;
    assert_eq!(status, StatusCode::CREATED, "{amended}");
    let harbour = vendor.look("/customers/harbour%20ltd").await;
    assert_eq!(amended["license"]["customerId"], harbour["id"]);
    assert_eq!(
        amended["amendment"]["changes"],
        json!([{"customer": harbour["id"]}])
    );
    assert_eq!(licensed_to(&vendor, &first).await, "Harbour Ltd");
    vendor
        .admin(Method::POST, &amend, json!({"undoes": 2}))
        .await;
    assert_eq!(rebuilt(&vendor, &first).await.customer, "Müller & Söhne");
    let changes: Vec<_> = entries(&vendor, "amended").await;
    let changes: Vec<_> = changes.iter().map(|it| &it["details"]["changes"]).collect();
    let back = "amendment 2 undone, customer Müller & Söhne";
    assert_eq!(changes, [back, "customer Harbour Ltd"]);
    vendor.end().await;
}

async fn a_renamed_customer_is_in_the_next_lease_of_each_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let licenses = [
        issued(&vendor, "Harbor").await,
        issued(&vendor, "harbor").await,
    ];
    let other = issued(&vendor, "Museum").await;
    for license in &licenses {
        assert_eq!(licensed_to(&vendor, license).await, "Harbor");
    }
    vendor.clock.advance(TimeDelta::hours(1));
    let edit = json!({"name": "Harbour Ltd", "notes": "Spelled right"});
    let (status, renamed) = vendor
        .admin(Method::PATCH, "/customers/harbor", edit.clone())
        .await;
    assert_eq!(status, StatusCode::OK, "{renamed}");
    for license in &licenses {
        assert_eq!(licensed_to(&vendor, license).await, "Harbour Ltd");
        let row = rebuilt(&vendor, license).await;
        assert_eq!(row.amendment, 1, "the license itself has not changed");
    }
    assert_eq!(licensed_to(&vendor, &other).await, "Museum");
    assert_eq!(
        vendor.look("/licenses?search=HARBOUR%20LTD").await["total"],
        2
    );
    let log = entries(&vendor, "customer_changed").await;
    assert_eq!(
        (&log[0]["subject"], &log[0]["details"]["before"]),
        (&renamed["id"], &"Harbor".into())
    );
    // Saying the same again changes nothing.
    let (_, again) = vendor
        .admin(Method::PATCH, "/customers/harbour%20ltd", edit)
        .await;
    assert_eq!(again, renamed);
    assert_eq!(entries(&vendor, "customer_changed").await.len(), 1);
    // The former name is free.
    let another = issued(&vendor, "Harbor").await;
    assert_ne!(another["customerId"], renamed["id"]);
    vendor.end().await;
}

async fn two_licenses_for_one_new_customer_at_once_make_one_record(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    for number in 0..5 {
        let (upper, lower) = (format!("HARBOUR {number}"), format!("harbour {number}"));
        let (one, other) = tokio::join!(issued(&vendor, &upper), issued(&twin, &lower));
        assert_eq!(one["customerId"], other["customerId"]);
        assert_eq!(one["customer"], other["customer"]);
    }
    assert_eq!(vendor.look("/customers").await["total"], 5);
    twin.stop().await;
    vendor.end().await;
}

async fn a_customer_who_comes_later_is_in_the_row_from_then_on(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let license = issued(&vendor, "Harbour Ltd").await;
    let at = vendor.clock.now() + TimeDelta::days(1);
    let amend = format!("/licenses/{}/amendments", license["id"].as_str().unwrap());
    let body = json!({"customer": "Museum", "effectiveAt": at});
    let (status, answer) = vendor.admin(Method::POST, &amend, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(rebuilt(&vendor, &license).await.customer, "Harbour Ltd");
    vendor.clock.advance(TimeDelta::days(1));
    // Renamed before the row is brought up to date, and after.
    for name in ["Museum of Ships", "Ship Museum"] {
        let edit = json!({"name": name});
        let id = vendor.look("/customers?search=museum").await["customers"][0]["id"].clone();
        let path = format!("/customers/{}", id.as_str().unwrap());
        let (status, answer) = vendor.admin(Method::PATCH, &path, edit).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(licensed_to(&vendor, &license).await, name);
        catch_up(&vendor.app.store, vendor.permitted())
            .await
            .unwrap();
        assert_eq!(rebuilt(&vendor, &license).await.customer, name);
    }
    vendor.end().await;
}

async fn customers_are_listed_in_pages_in_every_order(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    for name in [
        "Harbour",
        "Museum",
        "Østerbro",
        "100% Kiosk",
        "harbour_north",
    ] {
        added(
            &vendor,
            json!({"name": name, "reference": format!("K {name}")}),
        )
        .await;
        vendor
            .clock
            .advance(TimeDelta::minutes(i64::from(name != "Museum")));
    }
    let names = async |query: &str| {
        let mut names = Vec::new();
        let mut path = format!("/customers?{query}");
        loop {
            let page = vendor.look(&path).await;
            let found = page["customers"].as_array().unwrap().iter();
            names.extend(found.map(|it| it["name"].as_str().unwrap().to_owned()));
            let Some(cursor) = page["nextCursor"].as_str() else {
                return names;
            };
            path = format!("/customers?{query}&cursor={cursor}");
        }
    };
    for sort in ["name", "createdAt", "updatedAt"] {
        for order in ["asc", "desc"] {
            let query = format!("sort={sort}&order={order}");
            let whole = names(&query).await;
            assert_eq!(whole.len(), 5, "{query}");
            for limit in 1..=3 {
                let found = names(&format!("{query}&limit={limit}")).await;
                assert_eq!(found, whole, "{query}");
            }
        }
    }
    for (text, expected) in [
        ("HARBOUR", vec!["Harbour", "harbour_north"]),
        ("r_n", vec!["harbour_north"]),
        ("%25", vec!["100% Kiosk"]),
        ("K%20Museum", vec!["Museum"]),
        ("nobody", vec![]),
        (
            "%00",
            vec![
                "100% Kiosk",
                "Harbour",
                "Museum",
                "harbour_north",
                "Østerbro",
            ],
        ),
    ] {
        let mut found = names(&format!("search={text}")).await;
        found.sort();
        assert_eq!(found, expected, "{text}");
    }
    let cursor = vendor.look("/customers?limit=1").await["nextCursor"].take();
    let cursor = cursor.as_str().unwrap();
    for path in [
        "/customers?order=desc",
        "/customers?sort=createdAt",
        "/licenses?limit=1",
    ] {
        assert_refused(&vendor, &format!("{path}&cursor={cursor}")).await;
    }
    vendor.end().await;
}

async fn an_invalid_customer_is_refused_with_its_field(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let known = added(&vendor, json!({"name": "Harbour", "reference": "K-1"})).await;
    added(&vendor, json!({"name": "Museum"})).await;
    let unknown = format!("cus_{}", "0".repeat(32));
    for (method, path, body, expected) in [
        (
            "POST",
            "/customers",
            json!({"name": " "}),
            (400, "name is empty"),
        ),
        (
            "POST",
            "/customers",
            json!({"name": "x".repeat(256)}),
            (400, "limited to 255"),
        ),
        (
            "POST",
            "/customers",
            json!({"name": unknown}),
            (400, "looks like an id"),
        ),
        (
            "POST",
            "/customers",
            json!({"name": "HARBOUR"}),
            (409, "already a customer"),
        ),
        (
            "POST",
            "/customers",
            json!({"name": "x", "reference": "K-1"}),
            (409, "reference 'K-1'"),
        ),
        (
            "POST",
            "/customers",
            json!({"name": "x", "notes": "x".repeat(4001)}),
            (400, "notes"),
        ),
        (
            "POST",
            "/customers",
            json!({"name": "x", "contacts": [{}]}),
            (400, "contacts"),
        ),
        (
            "POST",
            "/customers",
            json!({"name": "x", "contacts": vec![json!({"name": "y"}); 21]}),
            (400, "20 contacts"),
        ),
        ("POST", "/customers", json!({}), (400, "missing field")),
        (
            "PATCH",
            "/customers/museum",
            json!({"name": "harbour"}),
            (409, "already a customer"),
        ),
        (
            "PATCH",
            "/customers/museum",
            json!({"reference": "K-1"}),
            (409, "reference 'K-1'"),
        ),
        (
            "PATCH",
            "/customers/museum",
            json!({"name": ""}),
            (400, "name is empty"),
        ),
        ("PATCH", "/customers/nobody", json!({}), (404, "'nobody'")),
        ("GET", "/customers/nobody", Value::Null, (404, "'nobody'")),
        (
            "POST",
            "/customers/museum/merge",
            json!({"into": "nobody"}),
            (404, "'nobody'"),
        ),
        (
            "POST",
            "/customers/museum/merge",
            json!({"into": "MUSEUM"}),
            (400, "itself"),
        ),
        (
            "POST",
            "/licenses",
            json!({"tier": "standard", "customer": unknown}),
            (400, "invalid customer: no customer has the id"),
        ),
    ] {
        let method: Method = method.parse().unwrap();
        let (status, answer) = vendor.admin(method, path, body.clone()).await;
        let message = answer["error"]["message"].as_str().unwrap().to_owned();
        let message = format!("{}{}", message[..1].to_lowercase(), &message[1..]);
        assert_eq!(status.as_u16(), expected.0, "{path} {body}: {message}");
        assert!(message.contains(expected.1), "{path} {body}: {message}");
    }
    let (status, _) = vendor
        .admin(Method::GET, &format!("/customers/{unknown}"), Value::Null)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let listed = vendor.look("/customers").await;
    assert_eq!(
        (&listed["total"], &listed["customers"][0]["id"]),
        (&2.into(), &known["id"])
    );
    assert_eq!(vendor.look("/licenses").await["total"], 0);
    vendor.end().await;
}

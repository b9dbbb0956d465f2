//! The pages of plans and of the catalogue.

use reqwest::Method;
use serde_json::json;

use super::Staff;
use crate::offers::sell;
use crate::plans::publish_example;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_and_their_versions_are_shown() {
    let staff = Staff::signed_in().await;
    sell(&staff.vendor, &[], &["anpr_lanes"]).await;
    let plan = |lanes: u32| {
        json!({"name": "parking", "contents": {
            "title": "Parking <b>", "description": "Car parks", "trial": true, "duration": "P1Y",
            "terms": {"seats": 2, "leaseHours": 48, "updatesFor": "P6M", "updates": "enforce"},
            "entitlements": [
                {"key": "module.map_view", "for": "P90D"}, {"key": "anpr_lanes", "quantity": lanes},
            ],
        }})
    };
    for lanes in [8, 12] {
        let (status, answer) = staff
            .vendor
            .admin(Method::POST, "/plans", plan(lanes))
            .await;
        assert_eq!(status, 201, "{answer}");
    }
    let (status, list) = staff.get("/console/plans").await;
    assert_eq!(status, 200);
    for expected in [
        "Parking &#60;b&#62;</a> <span class=\"chip\">Trial</span>",
        "parking@2",
        "1 year",
        "1 feature, 12 sold by a test",
        "/console/licenses/new?plan=professional@1",
    ] {
        assert!(list.contains(expected), "{expected}: {list}");
    }
    let (_, newest) = staff.get("/console/plans/parking").await;
    for expected in [
        "<td data-label=\"Quantity\">12</td>",
        "<td data-label=\"For\">90 days</td>",
        "for 6 months; later releases switch off licensed features",
        "<dd>48 hours</dd>",
        "/console/plans/parking?version=1",
        "by break-glass",
    ] {
        assert!(newest.contains(expected), "{expected}: {newest}");
    }
    let (_, older) = staff.get("/console/plans/parking?version=1").await;
    assert!(
        older.contains("<td data-label=\"Quantity\">8</td>") && older.contains("Older version")
    );
    for unknown in ["gone", "parking?version=3", "No", "parking?version=0"] {
        let (status, page) = staff.get(&format!("/console/plans/{unknown}")).await;
        assert_eq!(status, 404, "{unknown}: {page}");
    }
    assert_eq!(staff.get("/console/plans?page=x").await.0, 400);

    let (status, catalogue) = staff.get("/console/catalogue").await;
    assert_eq!(status, 200);
    assert!(catalogue.contains("9 items, page 1 of 1"), "{catalogue}");
    assert!(catalogue.contains("anpr_lanes") && catalogue.contains("counted"));
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn licenses_are_filtered_by_the_plans_that_exist() {
    let staff = Staff::signed_in().await;
    sell(&staff.vendor, &[], &["anpr_lanes"]).await;
    publish_example(&staff.vendor).await;
    for (plan, customer) in [("parking", "Car park"), ("standard", "Kiosk")] {
        let body = json!({"plan": plan, "customer": customer});
        let (status, answer) = staff.vendor.admin(Method::POST, "/licenses", body).await;
        assert_eq!(status, 201, "{answer}");
    }
    let shown = async |query: &str| {
        let (status, page) = staff.get(&format!("/console/licenses?{query}")).await;
        assert_eq!(status, 200, "{query}: {page}");
        ["Car park", "Kiosk"].map(|customer| page.contains(customer))
    };
    for (query, expected) in [
        ("", [true, true]),
        ("plan=parking", [true, false]),
        ("plan=parking%401", [true, false]),
        ("plan=standard%401&status=active", [false, true]),
        ("plan=enterprise", [false, false]),
        // As addresses were until there were plans.
        ("tier=parking", [true, false]),
    ] {
        assert_eq!(shown(query).await, expected, "{query}");
    }
    let (_, page) = staff.get("/console/licenses?plan=parking").await;
    assert!(
        page.contains("<option value=\"parking\" translate=\"no\" selected>"),
        "{page}"
    );
    assert!(page.contains("export?plan=parking"), "{page}");
    for unknown in ["gone", "parking%409", "No"] {
        for path in ["licenses", "licenses/export"] {
            let path = format!("/console/{path}?plan={unknown}");
            let (status, page) = staff.get(&path).await;
            assert_eq!(status, 400, "{path}: {page}");
            assert!(page.contains("Unknown plan"), "{page}");
            assert!(page.contains("parking, professional, standard"), "{page}");
        }
    }
    staff.vendor.end().await;
}

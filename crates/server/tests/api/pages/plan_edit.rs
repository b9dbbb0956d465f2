//! Plans and the catalogue are edited in the console.

use license_server::audit::Actor;
use license_server::licensing::plan_file::PlanFile;
use license_server::licensing::plans::apply;
use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Staff, hidden_fields};
use crate::database::{Engine, on_both_engines};
use crate::plans::publish_example;

const FILE: &str = "/console/plan-file";
const PUBLISH: &str = "/console/plan-file/publish";

on_both_engines! {
    a_plan_is_edited_reviewed_and_published;
    a_new_plan_is_published_from_the_example;
    errors_name_the_place_and_keep_the_text;
    the_second_of_two_sees_what_the_first_has_published;
    the_catalogue_is_edited_and_extended;
    changes_of_others_to_the_catalogue_are_not_overwritten;
}

/// The text in the form, as a person copies it.
fn text(form: &str) -> String {
    let (_, rest) = form.split_once("<textarea").unwrap();
    let (_, rest) = rest.split_once(">\n").unwrap();
    let (text, _) = rest.split_once("</textarea>").unwrap();
    let text = text.replace("&#60;", "<").replace("&#62;", ">");
    text.replace("&#34;", "\"").replace("&#38;", "&")
}

/// The form with another text, as a browser sends it.
fn sent(form: &str, text: &str) -> String {
    let mut fields = url::form_urlencoded::Serializer::new(hidden_fields(form));
    fields.append_pair("text", &text.replace('\n', "\r\n"));
    fields.finish()
}

impl Staff {
    /// The form at this address.
    async fn opened(&self, path: &str) -> String {
        let (status, form) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {form}");
        form
    }

    /// The review of a form with another text.
    async fn reviewed(&self, form: &str, text: &str) -> String {
        let (status, review) = self.post(FILE, &sent(form, text)).await;
        assert_eq!(status, 200, "{review}");
        review
    }

    /// Confirms a review; returns the address of the next page.
    async fn publishes(&self, review: &str) -> String {
        let answer = self
            .send(Method::POST, PUBLISH, &hidden_fields(review))
            .await;
        assert_eq!(answer.status(), 303);
        answer.headers()[LOCATION].to_str().unwrap().to_owned()
    }

    async fn versions(&self, plan: &str) -> Vec<Value> {
        let versions = self.vendor.look(&format!("/plans/{plan}")).await;
        versions["plans"].as_array().unwrap().clone()
    }

    async fn entry(&self, key: &str) -> Value {
        let listed = self.vendor.look("/catalogue").await;
        let mut entries = listed["catalogue"].as_array().unwrap().iter();
        entries.find(|it| it["key"] == key).unwrap().clone()
    }

    /// Somebody else publishes a file.
    async fn other_publishes(&self, file: &str) {
        let file = PlanFile::parse(file).unwrap();
        let change = self.vendor.app.change(Actor::CommandLine);
        let applied = apply(&self.vendor.app.store, &file, &change, true);
        applied.await.unwrap();
    }
}

async fn a_plan_is_edited_reviewed_and_published(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    publish_example(&staff.vendor).await;
    let page = staff.opened("/console/plans/parking").await;
    assert!(page.contains("href=\"/console/plans/parking/edit\""));
    let form = staff.opened("/console/plans/parking/edit").await;
    let before = text(&form);
    let parsed = PlanFile::parse(&before).unwrap();
    assert_eq!(
        json!(parsed.plans["parking"]),
        staff.versions("parking").await[0]["contents"]
    );
    // Unchanged.
    let review = staff.reviewed(&form, &before).await;
    assert!(review.contains("There is nothing to publish"));
    assert!(!review.contains("id=\"yes\""), "{review}");
    assert_eq!(staff.publishes(&review).await, "/console/plans/parking");

    let after = before.replace("quantity = 8 }", "quantity = 12 }");
    let review = staff.reviewed(&form, &after).await;
    for expected in [
        "<h2>plan parking@2 (was parking@1)</h2>",
        "<dt>Removed</dt><dd>8 anpr_lanes</dd>",
        "<dt>Added</dt><dd>12 anpr_lanes</dd>",
    ] {
        assert!(review.contains(expected), "{expected}: {review}");
    }
    assert_eq!(staff.versions("parking").await.len(), 1, "only a review");
    // Going back keeps what was typed.
    let body = hidden_fields(&review) + "&edit=1";
    let (status, again) = staff.post(FILE, &body).await;
    assert_eq!(status, 200);
    assert_eq!(text(&again).replace("\r\n", "\n"), after);
    assert!(again.contains("<h1>Edit parking</h1>"), "{again}");

    let review = staff.reviewed(&again, &after).await;
    let address = staff.publishes(&review).await;
    assert_eq!(address, "/console/plans/parking?done=plans-published");
    assert!(staff.opened(&address).await.contains("Existing licenses"));
    // A second click.
    assert_eq!(staff.publishes(&review).await, "/console/plans/parking");
    let versions = staff.versions("parking").await;
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0]["contents"]["entitlements"][5]["quantity"], 12);
    assert_eq!(versions[0]["author"], "break-glass");
    let log = staff.vendor.audit("").await;
    assert_eq!(log[0]["action"], "plan_published");
    assert_eq!(log[0]["source"], "console from 127.0.0.1");
    for unknown in ["gone", "No", "a%00b"] {
        let path = format!("/console/plans/{unknown}/edit");
        assert_eq!(staff.get(&path).await.0, 404, "{unknown}");
    }
    staff.vendor.end().await;
}

async fn a_new_plan_is_published_from_the_example(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let list = staff.opened("/console/plans").await;
    assert!(list.contains("href=\"/console/plan-file\">New plan…</a>"));
    let form = staff.opened(FILE).await;
    let example = text(&form);
    let (status, refused) = staff.post(FILE, &sent(&form, &example)).await;
    assert_eq!(status, 400);
    assert!(refused.contains("invalid name: expected 1 to 64"));
    let typed = example.replace("plans.NAME", "plans.new");
    let typed = typed.replace("title = \"\"", "title = \"New\"");
    let review = staff.reviewed(&refused, &typed).await;
    assert!(review.contains("<h2>plan new@1 (new)</h2>"), "{review}");
    assert!(review.contains("duration: 1 year"), "{review}");
    let address = staff.publishes(&review).await;
    assert_eq!(address, "/console/plans/new?done=plans-published");
    assert!(staff.opened(&address).await.contains("new@1"));
    staff.vendor.end().await;
}

async fn errors_name_the_place_and_keep_the_text(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let form = staff.opened("/console/plans/standard/edit").await;
    let good = text(&form);
    for (from, to, why) in [
        ("title =", "titel =", "Line 2: unknown field `titel`"),
        ("title =", "title", "Line 2: "),
        (
            "seats = 1",
            "seats = 0",
            "&#39;standard&#39; has an invalid terms: seats",
        ),
        (
            "cameras",
            "kameras",
            "entitlements[1].key: &#39;kameras&#39; is not in the catalogue",
        ),
        ("quantity = 16", "quantity = -1", "invalid quantity -1"),
        ("plans.standard", "plans.\"a\\u0000b\"", "invalid name"),
        (
            good.as_str(),
            "# nothing",
            "neither [[catalogue]] nor [plans.NAME]",
        ),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        for path in [FILE, PUBLISH] {
            let (status, page) = staff.post(path, &sent(&form, &bad)).await;
            assert_eq!(status, 400, "{to}: {page}");
            assert!(page.contains(why), "{why}: {page}");
            assert_eq!(text(&page).replace("\r\n", "\n"), bad);
            assert!(page.contains("href=\"/console/plans/standard\">Cancel"));
        }
    }
    let incomplete = "plan=standard&text=%23";
    assert_eq!(staff.post(PUBLISH, incomplete).await.0, 400);
    let incomplete = format!("text={}", "[plans.x]%0Atitle=\"X\"");
    let (_, page) = staff.post(PUBLISH, &incomplete).await;
    assert!(
        page.contains("The form is incomplete; open it again"),
        "{page}"
    );
    assert_eq!(staff.versions("standard").await.len(), 1);
    staff.vendor.end().await;
}

async fn the_second_of_two_sees_what_the_first_has_published(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let form = staff.opened("/console/plans/standard/edit").await;
    let mine = text(&form).replace("quantity = 5 }", "quantity = 6 }");
    let review = staff.reviewed(&form, &mine).await;
    staff
        .other_publishes(&text(&form).replace("quantity = 16 }", "quantity = 20 }"))
        .await;
    for (path, body) in [
        (FILE, sent(&form, &mine)),
        (PUBLISH, hidden_fields(&review)),
    ] {
        let (status, page) = staff.post(path, &body).await;
        assert_eq!(status, 409, "{page}");
        for expected in [
            "Others have published changes in the meantime",
            "<h2>plan standard@2 (was standard@1), by command line</h2>",
            "<dt>Removed</dt><dd>16 cameras</dd>",
            "<dt>Added</dt><dd>20 cameras</dd>",
        ] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        assert_eq!(text(&page).replace("\r\n", "\n"), mine);
        // Now it is known, and the review says what becomes of it.
        let review = staff.reviewed(&page, &mine).await;
        for expected in ["standard@3 (was standard@2)", "20 cameras<br>5 users"] {
            assert!(review.contains(expected), "{expected}: {review}");
        }
    }
    assert_eq!(staff.versions("standard").await.len(), 2);
    staff.vendor.end().await;
}

async fn the_catalogue_is_edited_and_extended(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let page = staff.opened("/console/catalogue").await;
    assert!(page.contains("href=\"/console/catalogue/edit?page=1\""));
    let form = staff.opened("/console/catalogue/edit?page=1").await;
    let before = text(&form);
    assert_eq!(PlanFile::parse(&before).unwrap().catalogue.len(), 8);
    let review = staff.reviewed(&form, &before).await;
    assert!(review.contains("nothing to publish"), "{review}");
    let after = before.replace("name = \"Cameras\"", "name = \"Video channels\"");
    let review = staff.reviewed(&form, &after).await;
    assert!(review.contains("<h2>catalogue cameras</h2>"), "{review}");
    assert!(review.contains("<dt>Added</dt><dd>name: Video channels</dd>"));
    let address = staff.publishes(&review).await;
    assert_eq!(address, "/console/catalogue?done=plans-published");
    assert_eq!(staff.entry("cameras").await["name"], "Video channels");
    let kind = after.replacen("kind = \"count\"", "kind = \"feature\"", 1);
    let (status, page) = staff.post(FILE, &sent(&form, &kind)).await;
    assert_eq!(status, 400);
    assert!(page.contains("the kind cannot be changed"), "{page}");

    let form = staff.opened("/console/catalogue/add").await;
    let added = text(&form).replace("key = \"\"", "key = \"anpr_lanes\"");
    let added = added.replace("name = \"\"", "name = \"ANPR lanes\"");
    let review = staff.reviewed(&form, &added).await;
    assert!(review.contains("<h2>catalogue anpr_lanes (new)</h2>"));
    staff.publishes(&review).await;
    assert_eq!(staff.entry("anpr_lanes").await["kind"], "count");
    assert_eq!(staff.get("/console/catalogue/edit?page=x").await.0, 400);
    staff.vendor.end().await;
}

async fn changes_of_others_to_the_catalogue_are_not_overwritten(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let form = staff.opened("/console/catalogue/edit").await;
    let before = text(&form);
    let mine = before.replace("name = \"Users\"", "name = \"Staff\"");
    let review = staff.reviewed(&form, &mine).await;
    staff
        .other_publishes(&before.replace("name = \"Cameras\"", "name = \"Video channels\""))
        .await;
    let (status, page) = staff.post(PUBLISH, &hidden_fields(&review)).await;
    assert_eq!(status, 409, "{page}");
    assert!(page.contains("<dt>Added</dt><dd>name: Video channels</dd>"));
    assert!(!page.contains("<dd>name: Staff</dd>"), "{page}");
    assert_eq!(staff.entry("cameras").await["name"], "Video channels");
    assert_eq!(staff.entry("users").await["name"], "Users");
    let mine = mine.replace("name = \"Cameras\"", "name = \"Video channels\"");
    let review = staff.reviewed(&page, &mine).await;
    assert!(!review.contains("Video channels</dd>"), "{review}");
    staff.publishes(&review).await;
    assert_eq!(staff.entry("users").await["name"], "Staff");

    // Two at the same moment: one of them is told.
    let form = staff.opened("/console/catalogue/add").await;
    let entry = |name: &str| {
        format!("[[catalogue]]\nkey = \"doors\"\nkind = \"count\"\nname = \"{name}\"\n")
    };
    let reviews = [
        staff.reviewed(&form, &entry("Doors")).await,
        staff.reviewed(&form, &entry("Gates")).await,
    ];
    let [one, other] = reviews.map(|it| hidden_fields(&it));
    let both = tokio::join!(staff.post(PUBLISH, &one), staff.post(PUBLISH, &other));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    let expected = [StatusCode::SEE_OTHER, StatusCode::CONFLICT];
    assert_eq!(statuses, expected.map(|it| it.as_u16()), "{both:?}");
    staff.vendor.end().await;
}

//! How often sites may call, over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use license_core::license_key::LicenseKey;
use license_core::offline::{OfflineRequest, Purpose};
use license_core::protocol::Call;
use license_server::licensing::admit::{AdmitError, SiteCall};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::calls;
use license_service::clock::Clock as _;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor, system_info};

on_both_engines! {
    a_key_holder_who_cycles_is_slowed_down;
    a_hundred_freed_machines_keep_no_machine_from_activating;
    a_mistyped_key_costs_no_query;
    an_address_that_guesses_is_refused_and_its_neighbours_are_not;
    the_networks_of_one_customer_have_one_allowance_and_keep_no_site_from_its_license;
    unreadable_request_files_are_failures_and_their_text_is_not_repeated;
}

async fn send(vendor: &Vendor, call: &str, body: &Value) -> Response {
    let url = format!("{}/api/licenses/{call}", vendor.url);
    vendor.http.post(url).json(body).send().await.unwrap()
}

/// The status code, and how many seconds to wait.
async fn ask(vendor: &Vendor, call: &str, key: &str, hardware_id: &str) -> (u16, Option<u64>) {
    let body = json!({
        "licenseKey": key, "hardwareId": hardware_id, "installationId": INSTALLATION,
        "installationName": "Test", "installationVersion": "1.0.0",
    });
    let answer = send(vendor, call, &body).await;
    let wait = answer.headers().get("retry-after");
    let wait = wait.map(|wait| wait.to_str().unwrap().parse().unwrap());
    let status = answer.status();
    let text: Value = answer.json().await.unwrap();
    if status == StatusCode::TOO_MANY_REQUESTS {
        assert_eq!(text["error"]["code"], "too_many_calls");
        assert!(text.get("success").is_none(), "it is no denial: {text}");
    }
    (status.as_u16(), wait)
}

/// A well-formed key that no license has.
fn unknown_key(number: u8) -> String {
    LicenseKey::from_random(&[number; 15]).unwrap().to_string()
}

async fn one_seat(vendor: &Vendor) -> String {
    vendor.issue(IssueRequest::of(Tier::Standard)).await
}

async fn throttled(vendor: &Vendor) -> u64 {
    vendor.app.write_traffic_down().await;
    let since = vendor.clock.now() - TimeDelta::hours(2);
    let counted = calls::since(vendor.app.store.reader(), since).await;
    let counted = counted.unwrap().into_iter();
    let throttled = counted.filter(|calls| calls.answer == "throttled");
    throttled.map(|calls| calls.times).sum()
}

async fn a_key_holder_who_cycles_is_slowed_down(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = one_seat(&vendor).await;
    // Attempts, of which so many are answered, and the last wait of the others.
    let mut answered = 0;
    let mut refused = 0;
    for _ in 0..60 {
        for call in ["activate", "deactivate"] {
            match ask(&vendor, call, &key, "machine").await {
                (200, None) => answered += 1,
                (429, Some(30 | 60)) => refused += 1,
                other => panic!("{call}: {other:?}"),
            }
        }
    }
    // The twenty calls of the seat, and those of the license's newcomers: one for each
    // seat, and twenty.
    assert_eq!((answered, refused), (20 + 21, 120 - 41));
    assert_eq!(throttled(&vendor).await, refused);
    // Another machine of the license waits with it, and another license does not.
    let another = async || ask(&vendor, "activate", &key, "another").await;
    assert_eq!(another().await, (429, Some(60)));
    let other = one_seat(&vendor).await;
    assert_eq!(ask(&vendor, "activate", &other, "another").await.0, 200);
    vendor.clock.advance(TimeDelta::seconds(59));
    assert_eq!(another().await, (429, Some(1)));
    vendor.clock.advance(TimeDelta::seconds(1));
    assert_eq!(another().await, (200, None));
    assert_eq!(another().await, (429, Some(60)));
    vendor.clock.advance(TimeDelta::minutes(10));

    // The seat itself: twenty calls in a row, then one each half minute.
    let asked = ["validate", "heartbeat", "activate"];
    let mut answered = 0;
    for call in asked.iter().cycle().take(60) {
        let body = json!({
            "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
            "installationName": "Test", "installationVersion": "1.0.0",
            "usageMetrics": {"camerasInUse": 0, "usersActive": 0, "storageUsedGb": 0},
            "systemInfo": system_info(),
        });
        let status = send(&vendor, call, &body).await.status();
        answered += u32::from(status == 200);
    }
    assert_eq!(answered, 20);
    assert_eq!(
        ask(&vendor, "validate", &key, "machine").await,
        (429, Some(30))
    );
    vendor.clock.advance(TimeDelta::seconds(30));
    assert_eq!(ask(&vendor, "validate", &key, "machine").await, (200, None));

    // Request files take from the same.
    let request = OfflineRequest {
        purpose: Purpose::Renew,
        license_key: key.clone(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        created_at: vendor.clock.now(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
    };
    let file = json!({"request": request.to_file()});
    assert_eq!(send(&vendor, "offline", &file).await.status(), 429);
    vendor.clock.advance(TimeDelta::seconds(30));
    assert_eq!(send(&vendor, "offline", &file).await.status(), 200);
    vendor.end().await;
}

async fn an_address_that_guesses_is_refused_and_its_neighbours_are_not(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = one_seat(&vendor).await;
    assert_eq!(ask(&vendor, "activate", &key, "machine").await.0, 200);
    for number in 0..20 {
        let guess = ask(&vendor, "validate", &unknown_key(number), "machine").await;
        assert_eq!(guess, (200, None), "{number}");
    }
    // Refused activations of a license that exists count as well.
    for number in 0..10 {
        let full = ask(&vendor, "activate", &key, &format!("machine {number}")).await;
        assert_eq!(full, (200, None), "{number}");
    }
    for wrong in [&unknown_key(21), "FXSGHT-AAAA-AAAA-AAAA-AAAA", "hello"] {
        for call in ["activate", "validate", "deactivate"] {
            let guess = ask(&vendor, call, wrong, "machine").await;
            assert_eq!(guess, (429, Some(10)), "{call} {wrong}");
        }
    }
    // The address is the same for all of them.
    assert_eq!(ask(&vendor, "validate", &key, "machine").await.0, 200);
    let new = one_seat(&vendor).await;
    assert_eq!(ask(&vendor, "activate", &new, "new machine").await.0, 200);
    vendor.clock.advance(TimeDelta::seconds(10));
    assert_eq!(ask(&vendor, "validate", "hello", "machine").await.0, 200);
    assert_eq!(ask(&vendor, "validate", "hello", "machine").await.0, 429);

    // While many guess at the same time, a site gets through.
    let guesses = (0..200).map(|number| {
        let key = unknown_key(number);
        let vendor = &vendor;
        async move { ask(vendor, "validate", &key, "machine").await.0 }
    });
    let guesses = futures_util::future::join_all(guesses);
    let site = ask(&vendor, "validate", &key, "machine");
    let (guesses, site) = tokio::join!(guesses, site);
    assert!(guesses.iter().all(|status| *status == 429));
    assert_eq!(site.0, 200);
    vendor.end().await;
}

/// From 300 networks within one /48, as a provider gives to anyone.
async fn the_networks_of_one_customer_have_one_allowance_and_keep_no_site_from_its_license(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let call = |number: u16, license_key: &str| {
        let address = format!("2001:db8:7:{:x}::1", u32::from(number) * 0xd3);
        let (address, license_key) = (address.parse().unwrap(), license_key.to_owned());
        let app = vendor.app.clone();
        async move {
            let call = SiteCall {
                address,
                call: Call::Validate,
                license_key: &license_key,
                hardware_id: "machine",
                add_on_key: None,
            };
            call.admit(&app).await.map(|_| ())
        }
    };
    let mut answered = 0;
    for number in 0..300 {
        match call(number, &unknown_key(1)).await {
            Ok(()) => answered += 1,
            Err(AdmitError::TooManyCalls(wait)) => {
                assert_eq!(wait.as_millis(), 2500, "{number}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(answered, 120);
    // A site in the same network that is new to this process.
    let key = one_seat(&vendor).await;
    call(301, &key).await.unwrap();
    vendor.end().await;
}

async fn a_hundred_freed_machines_keep_no_machine_from_activating(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = one_seat(&vendor).await;
    for round in 0..2 {
        for number in 0..100 {
            let machine = format!("freed machine {number}");
            let asked = ask(&vendor, "validate", &key, &machine).await;
            assert_eq!(asked, (200, None), "{round} {number}");
        }
        let activated = ask(&vendor, "activate", &key, &format!("new {round}")).await;
        assert_eq!(activated, (200, None));
        vendor.clock.advance(TimeDelta::minutes(15));
    }
    vendor.end().await;
}

/// With the table away every query fails, so that what is answered took none.
async fn a_mistyped_key_costs_no_query(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = one_seat(&vendor).await;
    vendor
        .database
        .execute("ALTER TABLE licenses RENAME TO away")
        .await;
    let mut mistyped = key.clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == 'X' { 'Y' } else { 'X' });
    for wrong in [mistyped.as_str(), "", "hello", "FXSGHT-0000-0000-0000-0000"] {
        for call in ["validate", "deactivate", "activate"] {
            let answer = ask(&vendor, call, wrong, "machine").await;
            assert_eq!(answer, (200, None), "{call} {wrong}");
        }
    }
    assert_eq!(ask(&vendor, "validate", &key, "machine").await.0, 503);
    vendor
        .database
        .execute("ALTER TABLE away RENAME TO licenses")
        .await;
    vendor.end().await;
}

async fn unreadable_request_files_are_failures_and_their_text_is_not_repeated(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let text = "AAAA-".repeat(1_600);
    let file = |inside: &str| {
        let label = "FOXSIGHT LICENSE REQUEST";
        format!("-----BEGIN {label}-----\n{inside}\n-----END {label}-----\n")
    };
    let json = |json: String| file(&STANDARD.encode(json));
    let unreadable = [
        json(format!("{{\"purpose\":\"{text}\"}}")),
        json(format!(
            "{{\"purpose\":\"activate\",\"keySet\":\"{text}\"}}"
        )),
        json(format!("\"{text}\"")),
        json("{".to_owned()),
        file("====="),
        "no file".to_owned(),
    ];
    for n in 0..30 {
        let body = json!({"request": unreadable[n % unreadable.len()]});
        let answer = send(&vendor, "offline", &body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{n}");
        let answer = answer.text().await.unwrap();
        assert!(!answer.contains("AAAA") && answer.len() < 400, "{answer}");
    }
    let answer = send(&vendor, "offline", &json!({"request": "no file"})).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    // A long text is no longer read at all, and a site's plain file still is.
    let request = OfflineRequest {
        purpose: Purpose::Activate,
        license_key: one_seat(&vendor).await,
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: "Site".to_owned(),
        installation_version: "1".to_owned(),
        nonce: NONCE.to_owned(),
        created_at: vendor.clock.now(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
    };
    let plain = request.to_file();
    let mail = format!("{plain}{}", "> Regards\n".repeat(2_000));
    for (file, expected) in [(&mail, 429), (&plain, 200)] {
        let answer = send(&vendor, "offline", &json!({ "request": file })).await;
        let wait = answer.headers().get("retry-after").cloned();
        assert_eq!(answer.status(), expected, "{file}");
        assert_eq!(wait.is_some_and(|wait| wait == "10"), expected == 429);
    }
    vendor.clock.advance(TimeDelta::minutes(10));
    let answer = send(&vendor, "offline", &json!({ "request": mail })).await;
    assert_eq!(answer.status(), StatusCode::OK);
    // Nor is the text of any other body.
    for call in ["activate", "validate", "heartbeat", "deactivate", "offline"] {
        for body in [
            json!({"licenseKey": [&text]}),
            json!(&text),
            json!({"request": [&text]}),
        ] {
            let answer = send(&vendor, call, &body).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{call}");
            let answer = answer.text().await.unwrap();
            assert!(answer.contains("Invalid request body: "), "{answer}");
            assert!(!answer.contains("AAAA") && answer.len() < 400, "{answer}");
        }
    }
    vendor.end().await;
}

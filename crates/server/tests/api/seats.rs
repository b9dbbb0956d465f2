//! Seats: the limit holds whoever asks at the same time.

use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::seats::free;

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    twenty_machines_at_once_take_exactly_the_three_seats_that_there_are;
    activating_again_from_the_same_machine_is_free;
    a_seat_that_is_given_back_or_freed_goes_to_another_machine;
}

async fn twenty_machines_at_once_take_exactly_the_three_seats_that_there_are(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let request = IssueRequest {
        seats: Some(3),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let mut tasks = tokio::task::JoinSet::new();
    for machine in 0..20 {
        let server = if machine % 2 == 0 { &vendor } else { &twin };
        let (http, url, key) = (server.http.clone(), server.url.clone(), key.clone());
        tasks.spawn(async move {
            let body = serde_json::json!({
                "licenseKey": key, "hardwareId": format!("machine-{machine}"),
                "installationId": "i", "installationName": "n", "installationVersion": "v",
            });
            let url = format!("{url}/api/licenses/activate");
            let answer = http.post(url).json(&body).send().await.unwrap();
            let answer: serde_json::Value = answer.json().await.unwrap();
            let code = answer["error"]["code"].as_str().unwrap_or("yes");
            code.to_owned()
        });
    }
    let words = tasks.join_all().await;
    let count = |word: &str| words.iter().filter(|w| *w == word).count();
    assert_eq!((count("yes"), count("seat_limit")), (3, 17), "{words:?}");
    twin.stop().await;
    vendor.end().await;
}

async fn activating_again_from_the_same_machine_is_free(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for _ in 0..5 {
        assert_eq!(vendor.activate(&key, "one").await.word(), "yes");
    }
    assert_eq!(vendor.activate(&key, "two").await.word(), "seat_limit");
    assert_eq!(
        vendor.validate(&key, "two").await.word(),
        "hardware_mismatch"
    );
    vendor.end().await;
}

async fn a_seat_that_is_given_back_or_freed_goes_to_another_machine(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let first = vendor.activate(&key, "one").await.seq();
    assert_eq!(vendor.deactivate(&key, "one").await.word(), "deactivated");
    assert_eq!(
        vendor.deactivate(&key, "one").await.word(),
        "hardware_mismatch"
    );
    assert_eq!(vendor.activate(&key, "two").await.word(), "yes");
    assert_eq!(
        vendor.validate(&key, "one").await.word(),
        "hardware_mismatch"
    );

    let change = vendor.app.change(Actor::CommandLine);
    free(&vendor.app.store, &key, "two", &change).await.unwrap();
    assert!(free(&vendor.app.store, &key, "two", &change).await.is_err());
    assert_eq!(
        vendor.validate(&key, "two").await.word(),
        "hardware_mismatch"
    );
    let again = vendor.activate(&key, "one").await;
    assert_eq!(again.word(), "yes");
    assert!(again.seq() > first, "a freed seat's number goes on growing");
    vendor.end().await;
}

//! Two concurrent callers.

use reqwest::StatusCode;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::Site;
use crate::scripted_cloud::ScriptedCloud;
use crate::vendor::Vendor;

on_both_engines! {
    concurrent_activations_end_in_one_consistent_license;
    two_processes_on_one_database_end_in_one_consistent_license;
}

async fn concurrent_activations_end_in_one_consistent_license(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    let (one, two) = (
        vendor.issue_professional().await,
        vendor.issue_professional().await,
    );
    let requests = [&one, &one, &two, &one, &two, &two, &one, &two].map(|key| site.activate(key));
    let mut pending: Vec<_> = requests.into_iter().map(Box::pin).collect();
    for answer in join_all(&mut pending).await {
        assert_eq!(answer, StatusCode::OK);
    }
    drop(pending);
    let status = site.status().await;
    let key = status["licenseKey"].as_str().unwrap().to_owned();
    assert!(key == one || key == two);
    site.restart().await;
    assert_eq!(site.status().await["licenseKey"], key.as_str());
    assert_eq!(site.validate().await["valid"], true);
    let valid = "SELECT license_key FROM local_license_cache WHERE is_valid";
    assert_eq!(site.database.texts(valid).await, [Some(key)]);
    site.end().await;
}

async fn two_processes_on_one_database_end_in_one_consistent_license(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let first = Site::start(engine, &vendor.url, &flags).await;
    let same = TestDatabase::same_as(&first.database);
    let second = Site::start_on(same, &vendor.url, &flags).await;
    let (one, two) = (
        vendor.issue_professional().await,
        vendor.issue_professional().await,
    );
    let (a, b, c, d) = tokio::join!(
        first.activate(&one),
        second.activate(&two),
        first.activate(&two),
        second.activate(&one)
    );
    for (status, answer) in [a, b, c, d] {
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let valid = "SELECT license_key FROM local_license_cache WHERE is_valid";
    let in_database = first.database.texts(valid).await;
    assert_eq!(in_database.len(), 1);
    let key = in_database[0].clone().unwrap();
    for site in [&first, &second] {
        site.until(
            "both processes know the license in the database",
            async || site.status().await["licenseKey"] == key.as_str(),
        )
        .await;
    }
    let (x, y) = tokio::join!(first.validate(), second.validate());
    assert_eq!((&x["valid"], &y["valid"]), (&true.into(), &true.into()));
    let mut second = second;
    second.stop().await;
    first.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_validations_share_their_calls() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate("k").await;
    cloud.always(Some(crate::scripted_cloud::Scripted {
        delay: std::time::Duration::from_millis(300),
        ..crate::scripted_cloud::Scripted::new(503, "")
    }));
    let (a, b, c, d, e) = tokio::join!(
        site.validate(),
        site.validate(),
        site.validate(),
        site.validate(),
        site.validate()
    );
    for answer in [a, b, c, d, e] {
        assert_eq!(answer["inGracePeriod"], true);
    }
    // The first to come makes a call; the others share the one after it, since
    // the answer to the first may be older than their question.
    let validations = cloud.arrived().len() - 1;
    assert!((1..=2).contains(&validations), "{validations}");
    site.end().await;
}

async fn join_all<F: Future<Output = (StatusCode, serde_json::Value)> + Unpin>(
    pending: &mut [F],
) -> Vec<StatusCode> {
    let mut done: Vec<Option<StatusCode>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in pending.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready((status, _)) =
                    std::pin::Pin::new(future).poll(context)
            {
                *done = Some(status);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

//! Running streams end when the feature becomes unavailable.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::routing::get;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http_body_util::BodyExt as _;
use license_gate::{Gate, Reason};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::scripted_client::{MAP_VIEW, ScriptedClient, announcement, said, until};
use crate::signer::{Signer, T0, at, license_claims};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_stream_ends_with_the_feature() {
    let (gate, script) = Gate::scripted();
    script.license(MAP_VIEW);
    let endless = {
        let gate = gate.clone();
        move || async move {
            let images = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from("image")));
            let images = images.then(async |image| {
                tokio::task::yield_now().await;
                image
            });
            Body::from_stream(images.take_until(gate.until_unavailable(MAP_VIEW)))
        }
    };
    let router = Router::new().route("/live", get(endless).layer(gate.layer(MAP_VIEW)));
    let request = Request::get("/live").body(Body::empty()).unwrap();
    let mut body = router.oneshot(request).await.unwrap().into_body();
    for _ in 0..10 {
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "image"
        );
    }
    script.refuse(MAP_VIEW, Reason::Revoked);
    let rest = timeout(SOON, body.collect())
        .await
        .expect("the stream ends");
    assert!(rest.unwrap().to_bytes().len() < 100);
}

#[tokio::test]
async fn waiting_returns_the_reason() {
    let (gate, script) = Gate::scripted();
    let refused = gate.until_unavailable(MAP_VIEW).now_or_never();
    assert_eq!(refused.unwrap().reason, Reason::NotInLicense);

    script.license(MAP_VIEW);
    let mut waiting = Box::pin(gate.until_unavailable(MAP_VIEW));
    assert!((&mut waiting).now_or_never().is_none());
    // Another feature changes.
    script.tier("enterprise");
    assert!((&mut waiting).now_or_never().is_none());
    script.refuse(MAP_VIEW, Reason::Suspended);
    let refused = timeout(SOON, waiting).await.unwrap();
    assert_eq!(refused.reason, Reason::Suspended);
}

#[tokio::test]
async fn changes_are_reported_and_none_is_lost() {
    let (gate, script) = Gate::scripted();
    let mut changes = gate.changes();
    assert!(changes.changed().now_or_never().is_none());
    script.license(MAP_VIEW);
    drop(gate);
    timeout(SOON, changes.changed()).await.unwrap();
    assert!(changes.changed().now_or_never().is_none());
    script.contact(false);
    timeout(SOON, changes.changed()).await.unwrap();
}

/// An announced end wakes waiting tasks without a message.
#[tokio::test]
async fn streams_end_on_time_at_an_announced_end() {
    let evidence = Signer::vendor().evidence(&license_claims());
    let now = at(96) - chrono::TimeDelta::milliseconds(700);
    let mut client = ScriptedClient::start(said(&announcement(&evidence, now), now, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    until(&gate, MAP_VIEW, "grace_period").await;
    client.stop();
    let refused = timeout(SOON, gate.until_unavailable(MAP_VIEW))
        .await
        .unwrap();
    assert_eq!(refused.reason, Reason::GracePeriodExpired);
}

#[tokio::test]
async fn a_revocation_ends_streams() {
    let evidence = Signer::vendor().evidence(&license_claims());
    let client = ScriptedClient::start(said(&announcement(&evidence, T0), T0, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    let waiting = tokio::spawn(gate.until_unavailable(MAP_VIEW));
    let mut revoked = announcement(&evidence, T0);
    let told = revoked.features.get_mut(MAP_VIEW).unwrap();
    (told.available, told.reason) = (false, "revoked".to_owned());
    client.now(said(&revoked, T0, None));
    let refused = timeout(SOON, waiting).await.unwrap().unwrap();
    assert_eq!(refused.reason, Reason::Revoked);
}

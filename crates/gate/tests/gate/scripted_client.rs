//! A scripted License Client.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{pending, unfold};
use futures_util::{StreamExt as _, TryStreamExt as _};
use license_core::announcement::{Announcement, Envelope, Signed, announce};
use license_core::evidence::Evidence;
use license_core::feature::FeatureKey;
use license_core::gate::Entitlements;
use license_core::plausible_time::PlausibleTime;
use license_core::standing::Policy;
use license_gate::Gate;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

pub const MAP_VIEW: &str = "module.map_view";
pub const ALARM: &str = "module.alarm_advanced";
pub const LIVE_VIEW: &str = "module.live_view";

/// How the License Client treats a subscriber.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Sends an event with this text, and another one when it changes.
    Says(String),
    /// Sends nothing, not even response headers.
    Hangs,
    /// Sends this event and then nothing, not even comments.
    FallsSilentAfter(String),
    /// Sends this event and closes the connection.
    EndsAfter(String),
    /// Responds with a status.
    Refuses(StatusCode),
}

/// A scripted License Client on its own port.
pub struct ScriptedClient {
    pub url: String,
    address: SocketAddr,
    shared: Shared,
    /// A separate runtime, so that stopping it closes all connections, as when a process ends.
    serving: Option<Runtime>,
}

#[derive(Clone)]
struct Shared {
    manner: Arc<watch::Sender<Manner>>,
    asked: Arc<Mutex<Vec<Uri>>>,
}

impl ScriptedClient {
    pub fn start(manner: Manner) -> Self {
        let shared = Shared {
            manner: Arc::new(watch::Sender::new(manner)),
            asked: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = Self {
            url: format!("http://{address}"),
            address,
            shared,
            serving: None,
        };
        client.serve(listener);
        client
    }

    fn serve(&mut self, listener: TcpListener) {
        let router = Router::new()
            .route("/api/license/events", get(events))
            .with_state(self.shared.clone());
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        self.serving = Some(runtime);
    }

    /// Stops it and closes all connections.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.serving.take() {
            runtime.shutdown_background();
        }
    }

    pub fn start_again(&mut self) {
        let listener = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(20));
            TcpListener::bind(self.address)
        });
        let listener = listener.take(200).find_map(Result::ok).unwrap();
        self.serve(listener);
    }

    pub fn now(&self, manner: Manner) {
        self.shared.manner.send_replace(manner);
    }

    /// The requests received.
    pub fn asked(&self) -> Vec<Uri> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The number of subscribers.
    pub fn subscribers(&self) -> usize {
        self.shared.manner.receiver_count()
    }
}

impl Drop for ScriptedClient {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn events(State(shared): State<Shared>, uri: Uri) -> Response {
    shared.asked.lock().unwrap().push(uri);
    let manner = shared.manner.subscribe();
    // Only the receiver is kept, so that the stream ends with the client.
    drop(shared);
    let now = manner.borrow().clone();
    let text = match now {
        Manner::Says(_) => {
            let stream = unfold((manner, true), |(mut manner, first)| async move {
                if !first {
                    manner.changed().await.ok()?;
                }
                let Manner::Says(text) = manner.borrow_and_update().clone() else {
                    return None;
                };
                Some((Ok::<_, Infallible>(event(&text)), (manner, false)))
            });
            return Sse::new(Box::pin(stream)).into_response();
        }
        Manner::Refuses(status) => return status.into_response(),
        Manner::Hangs => return std::future::pending().await,
        Manner::FallsSilentAfter(text) => {
            let once = futures_util::stream::once(async move { Ok::<_, Infallible>(event(&text)) });
            let stream = once.chain(pending().inspect_ok(move |_| drop(manner.clone())));
            return Sse::new(Box::pin(stream)).into_response();
        }
        Manner::EndsAfter(text) => text,
    };
    let once = async move { Ok::<_, Infallible>(event(&text)) };
    Sse::new(Box::pin(futures_util::stream::once(once))).into_response()
}

fn event(text: &str) -> Event {
    Event::default().event("snapshot").data(text)
}

/// The announcement that a License Client would make of `evidence` at `now`.
pub fn announcement(evidence: &Evidence, now: DateTime<Utc>) -> Announcement {
    let known: BTreeSet<FeatureKey> = [MAP_VIEW, ALARM, LIVE_VIEW]
        .into_iter()
        .map(|key| FeatureKey::parse(key).unwrap())
        .collect();
    let lease = evidence.lease.as_ref();
    let granted = lease.map(|lease| lease.license().granted());
    let entitlements = Entitlements::new(granted.unwrap_or_default(), BTreeSet::new());
    let policy = Policy {
        grace: TimeDelta::hours(72),
        allow_unlicensed_core: true,
    };
    announce(
        evidence,
        &entitlements,
        &policy,
        &known,
        PlausibleTime::exact(now),
    )
}

/// The event for an announcement, with its proof.
pub fn said(announcement: &Announcement, now: DateTime<Utc>, signed: Option<Signed>) -> Manner {
    Manner::Says(text(announcement, now, signed))
}

/// The text of the event.
pub fn text(announcement: &Announcement, now: DateTime<Utc>, signed: Option<Signed>) -> String {
    let serde_json::Value::Object(mut members) = serde_json::json!(Envelope { now, signed }) else {
        panic!("an envelope is an object");
    };
    let serde_json::Value::Object(more) = serde_json::json!(announcement) else {
        panic!("an announcement is an object");
    };
    members.extend(more);
    serde_json::json!(members).to_string()
}

/// Waits until the gate makes this decision about the feature.
pub async fn until(gate: &Gate, feature: &str, reason: &str) {
    for _ in 0..500 {
        if gate.check(feature).reason.code() == reason {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{feature} is still {:?}, not {reason}", gate.check(feature));
}

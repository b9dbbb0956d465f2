//! Follows a License Client: hears what it says, and comes back when contact
//! is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{StatusCode, header};
use http_body_util::BodyDataStream;
use license_core::announcement::{Announcement, Envelope};
use reqwest::redirect;
use sse_stream::SseByteStream;
use url::Url;

use crate::address::{Address, Secret};
use crate::live::Live;

/// How long a connection may take to be made.
const CONNECTING: Duration = Duration::from_secs(5);
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Longest event that is heard, in bytes.
const LONGEST_EVENT: usize = 4 * 1024 * 1024;
/// What knows too little of a sleeping machine is asked so often.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Where to hear what.
pub(crate) struct Subscription {
    http: reqwest::Client,
    address: Address,
    events: Url,
    token: Option<Secret>,
    silence: Duration,
}

/// Why there is no contact.
#[derive(Debug, thiserror::Error)]
enum Lost {
    /// The License Client is not reached.
    #[error("it is not reached: {}", chain(.0))]
    Http(reqwest::Error),
    /// Only trusted callers are told what is signed.
    #[error(
        "it does not trust this gateway: add its network to TRUSTED_NETWORKS of the License Client, or give the gate the ADMIN_TOKEN"
    )]
    Untrusted,
    /// It answers something else.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// The stream is broken.
    #[error("its events break off: {}", chain(.0))]
    Stream(sse_stream::Error),
    /// It says nothing of what it is asked.
    #[error("it does not say how the site stands")]
    Silent,
    /// An event has no end.
    #[error("one of its events is longer than {LONGEST_EVENT} bytes")]
    TooLong,
    /// The stream is over.
    #[error("it has ended the connection")]
    Ended,
    /// An event says something else.
    #[error("its events cannot be read; is it a License Client of version 2 or later? {0}")]
    Unreadable(serde_json::Error),
}

impl Subscription {
    /// Prepares to hear the License Client at `base`.
    pub(crate) fn new(
        address: Address,
        signed: bool,
        token: Option<Secret>,
        silence: Duration,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECTING)
            .read_timeout(silence)
            .redirect(redirect::Policy::none())
            // A License Client is next door, and no proxy is before it.
            .no_proxy()
            .build()?;
        let mut events = address.expose().clone();
        if let Ok(mut path) = events.path_segments_mut() {
            path.pop_if_empty().extend(["api", "license", "events"]);
        }
        if signed {
            events.query_pairs_mut().append_pair("signed", "true");
        }
        Ok(Self {
            http,
            address,
            events,
            token,
            silence,
        })
    }
}

/// Hears what the License Client says, for ever.
pub(crate) async fn follow(live: Arc<Live>, subscription: Subscription) {
    let mut wait = FIRST_WAIT;
    loop {
        let Err(lost) = hear(&live, &subscription, &mut wait).await;
        if live.lose_contact() {
            tracing::warn!(
                url = %subscription.address,
                "contact with the License Client is lost: {lost}"
            );
        } else {
            tracing::debug!(url = %subscription.address, "still no contact: {lost}");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Looks at the clocks again and again.
pub(crate) async fn keep_time(live: Arc<Live>) {
    let mut turns = tokio::time::interval(LOOKS_EVERY);
    loop {
        turns.tick().await;
        live.look_at_the_clocks();
    }
}

async fn hear(
    live: &Live,
    subscription: &Subscription,
    wait: &mut Duration,
) -> Result<std::convert::Infallible, Lost> {
    let mut request = subscription.http.get(subscription.events.clone());
    request = request.header(header::ACCEPT, "text/event-stream");
    if let Some(token) = &subscription.token {
        request = request.bearer_auth(token.expose());
    }
    // The library's errors would repeat the URL.
    let sent = request.send().await.map_err(reqwest::Error::without_url);
    let response = sent.map_err(Lost::Http)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(Lost::Untrusted),
        status => return Err(Lost::Status(status)),
    }
    let unread = Arc::new(AtomicUsize::new(0));
    let body = http::Response::from(response).into_body();
    let bounded = BodyDataStream::new(body).map({
        let unread = unread.clone();
        move |chunk| {
            let chunk = chunk.map_err(|error| Lost::Http(error.without_url()))?;
            match unread.fetch_add(chunk.len(), Ordering::Relaxed) {
                0..LONGEST_EVENT => Ok(chunk),
                _ => Err(Lost::TooLong),
            }
        }
    });
    let mut events = SseByteStream::new(bounded);
    // The state comes first, and at once; after that comments will do.
    let mut patience = subscription.silence;
    loop {
        let event = tokio::time::timeout(patience, events.next()).await;
        let Some(event) = event.map_err(|_| Lost::Silent)? else {
            return Err(Lost::Ended);
        };
        patience = Duration::MAX;
        unread.store(0, Ordering::Relaxed);
        let Some(data) = event.map_err(Lost::Stream)?.data else {
            continue;
        };
        let announcement: Announcement = serde_json::from_str(&data).map_err(Lost::Unreadable)?;
        let envelope: Envelope = serde_json::from_str(&data).map_err(Lost::Unreadable)?;
        live.hear(announcement, &envelope);
        *wait = FIRST_WAIT;
    }
}

/// An error with what has led to it: the outermost one says little.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}

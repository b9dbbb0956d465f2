//! Subscribers receive every change, and nothing else.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::database::{Engine, TestDatabase};
use crate::harness::{KEY, Site};
use crate::nginx::Nginx;
use crate::scripted_cloud::{Scripted, ScriptedCloud};
use crate::vendor::Vendor;

/// An event that has come.
#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

/// A subscriber that reads the stream itself.
struct Subscriber {
    response: Response,
    text: String,
}

impl Subscriber {
    async fn to(site: &Site, path: &str, last: Option<&str>) -> Self {
        Self::through(&site.url, site, path, last).await
    }

    /// The same through a gateway.
    async fn through(gateway: &str, site: &Site, path: &str, last: Option<&str>) -> Self {
        let mut request = site.http.get(format!("{gateway}{path}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind, "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    async fn next(&mut self) -> Event {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or_default()
                        .trim()
                        .to_owned()
                };
                if !event.starts_with(':') {
                    let data = serde_json::from_str(&field("data:")).unwrap();
                    let (name, id) = (field("event:"), field("id:"));
                    return Event { name, id, data };
                }
            }
            let chunk = self
                .response
                .chunk()
                .await
                .unwrap()
                .expect("the stream continues");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn soon(&mut self) -> Event {
        timeout(Duration::from_secs(5), self.next())
            .await
            .expect("an event")
    }

    async fn receives_nothing(&mut self) {
        let event = timeout(Duration::from_millis(300), self.next()).await;
        assert!(event.is_err(), "{event:?}");
    }
}

const EVENTS: &str = "/api/license/events";
const MAP_VIEW: &str = "module.map_view";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_signed_is_for_trusted_callers() {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    site.activate(&key).await;
    let mut subscriber = Subscriber::to(&site, "/api/license/events?signed=true", None).await;
    let first = subscriber.soon().await;
    let signed = first.data["signed"]["license"].as_str().unwrap();
    assert_eq!(signed.split('.').count(), 3);
    assert_eq!(first.data["signed"]["keySets"], json!([]));
    let then = first.data["then"].as_array().unwrap();
    let standings: Vec<_> = then.iter().map(|later| &later["standing"]).collect();
    assert_eq!(standings, ["grace", "lapsed"]);
    assert_eq!(first.data["holdsUntil"], then[0]["after"]);
    // Others get the same without it, because it contains the license key.
    let mut open = Subscriber::to(&site, EVENTS, None).await;
    let open = open.soon().await;
    assert_eq!(open.id, first.id);
    assert!(!open.data.to_string().contains(&key));
    site.end().await;

    let flags = ["--trusted-networks", "10.99.0.0/16"];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let (status, _) = site.get("/api/license/events?signed=true").await;
    assert_eq!(status, 401);
    let (status, _) = site.get("/api/license/events?signed=perhaps").await;
    assert_eq!(status, 422);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_subscribers_is_refused_and_harms_no_others() {
    const TOKEN: &str = "a-token-of-sixteen-characters";
    let cloud = ScriptedCloud::start().await;
    let flags = ["--trusted-networks", "10.99.0.0/16", "--admin-token", TOKEN];
    let flags = [&flags[..], &["--trusted-proxies", "1"]].concat();
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    let address = site.url.strip_prefix("http://").unwrap();
    // An address outside: programs of this machine make room for each other.
    let from = "198.51.100.9";
    let mut streams = Vec::new();
    let mut refused = 0;
    for _ in 0..4_200 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {from}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        match &status {
            b"HTTP/1.1 200" => streams.push(stream),
            b"HTTP/1.1 503" => refused += 1,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    // The last places are for gateways, who are trusted.
    assert_eq!((streams.len(), refused), (3_072, 1_128));
    let gateway = site.http.get(format!("{}{EVENTS}", site.url));
    let gateway = gateway.bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(gateway.status(), 200);
    // Another address replaces a stream of the one with the most, which is notified.
    let other = site.http.get(format!("{}{EVENTS}", site.url));
    let other = other.header("x-forwarded-for", "198.51.100.7");
    assert_eq!(other.send().await.unwrap().status(), 200);
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n0\r\n\r\n") {
        let read = timeout(Duration::from_secs(10), streams[0].read_buf(&mut rest)).await;
        assert!(read.expect("the oldest stream ends").unwrap() > 0);
    }
    assert_eq!(site.standing().await, "unlicensed");
    // Who goes makes place.
    streams.truncate(3_000);
    let is_welcome = || async {
        let asking = site.http.get(format!("{}{EVENTS}", site.url));
        let answer = asking.header("x-forwarded-for", from).send().await;
        answer.unwrap().status() == 200
    };
    site.until("a place is free", is_welcome).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_state_comes_first_and_then_every_change_once() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let mut subscriber = Subscriber::to(&site, EVENTS, None).await;
    let first = subscriber.soon().await;
    assert_eq!(first.name, "snapshot");
    assert_eq!(first.data["standing"], "unlicensed");
    assert_eq!(
        first.data["features"]["module.live_view"]["available"],
        true
    );
    subscriber.receives_nothing().await;

    site.activate(KEY).await;
    let licensed = subscriber.soon().await;
    assert_eq!(licensed.name, "changed");
    assert_eq!(licensed.data["standing"], "active");
    assert_eq!(licensed.data["tier"], "professional");
    assert_eq!(
        licensed.data["features"][MAP_VIEW],
        json!({"available": true, "reason": "licensed"})
    );
    assert_eq!(licensed.data["limits"]["cameras"], 64);
    assert!(licensed.data["holdsUntil"].is_string());
    assert_ne!(licensed.id, first.id);

    // Who comes back with what is known hears only what is new.
    let mut again = Subscriber::to(&site, EVENTS, Some(&licensed.id)).await;
    again.receives_nothing().await;
    let path = format!("/api/license/features/{MAP_VIEW}");
    site.put(&path, json!({"systemEnabled": false})).await;
    for subscriber in [&mut subscriber, &mut again] {
        let event = subscriber.soon().await;
        assert_eq!(event.data["features"][MAP_VIEW]["reason"], "switched_off");
    }
    let mut old = Subscriber::to(&site, EVENTS, Some(&first.id)).await;
    assert_eq!(old.soon().await.name, "changed");
    // A call that changes nothing is no event.
    site.get("/api/license/status").await;
    site.put(&path, json!({"systemEnabled": false})).await;
    subscriber.receives_nothing().await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_caused_by_the_clock_are_announced_within_a_tenth_of_a_second() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    cloud.always(Some(Scripted::new(503, "")));
    let mut subscriber = Subscriber::to(&site, EVENTS, None).await;
    subscriber.soon().await;
    site.validate().await;
    let grace = subscriber.soon().await;
    assert_eq!(grace.data["standing"], "grace");
    assert_eq!(grace.data["graceUntil"], grace.data["holdsUntil"]);
    // Nothing up to and including the end; the event comes a moment later.
    site.advance(TimeDelta::hours(72));
    let start = Instant::now();
    site.advance(TimeDelta::milliseconds(1));
    let mut lapsed = subscriber.soon().await;
    // The first failure may have been a moment before.
    while lapsed.data["standing"] != "lapsed" {
        lapsed = subscriber.soon().await;
    }
    let took = start.elapsed();
    println!("told {took:?} after the end of grace");
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(lapsed.data["features"][MAP_VIEW]["available"], false);
    assert_eq!(
        lapsed.data["features"]["module.playback"]["available"],
        true
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_through_another_process_is_announced_within_two_seconds() {
    let cloud = ScriptedCloud::start().await;
    let one = Site::start(Engine::Postgres, &cloud.url, &[]).await;
    let shared = TestDatabase::same_as(&one.database);
    let two = Site::start_on(shared, &cloud.url, &[]).await;
    let mut subscriber = Subscriber::to(&two, EVENTS, None).await;
    subscriber.soon().await;
    one.until_listening(2).await;
    let start = Instant::now();
    one.activate(KEY).await;
    assert_eq!(subscriber.soon().await.data["standing"], "active");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    two.end().await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscribers_hear_of_one_change_and_none_holds_up_the_end() {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let mut subscribers = Vec::new();
    for _ in 0..1_000 {
        let mut subscriber = Subscriber::to(&site, EVENTS, None).await;
        subscriber.soon().await;
        subscribers.push(subscriber);
    }
    // Some never read: nothing is kept for them.
    let start = Instant::now();
    let path = format!("/api/license/features/{MAP_VIEW}");
    site.put(&path, json!({"systemEnabled": false})).await;
    for subscriber in subscribers.iter_mut().skip(10) {
        subscriber.soon().await;
    }
    println!(
        "990 of 1000 subscribers received a change within {:?}",
        start.elapsed()
    );
    let start = Instant::now();
    site.stop().await;
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_notified_to_evaluate_again() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let mut provider = Subscriber::to(&site, "/ofrep/v1/events", None).await;
    let first = provider.soon().await;
    assert_eq!(
        first.data,
        json!({"type": "refetchEvaluation", "etag": first.id})
    );
    site.activate(KEY).await;
    let event = provider.soon().await;
    assert_eq!(event.name, "", "providers look at the data alone");
    assert_eq!(event.data["type"], "refetchEvaluation");
    let body = json!({"context": {"targetingKey": "site"}});
    let url = format!("{}/ofrep/v1/evaluate/flags", site.url);
    let answer = site.http.post(url).json(&body).send().await.unwrap();
    let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(etag, format!("\"{}\"", event.id));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_passes_on_each_event_immediately() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    // Written by a program that does not know about events.
    let location = "location / { proxy_pass http://$license_client; }";
    let nginx = Nginx::gate(&site.url, location).await;
    let subscription = Subscriber::through(&nginx.url, &site, EVENTS, None);
    let subscription = timeout(Duration::from_secs(5), subscription).await;
    let mut subscriber = subscription.expect("nginx passes on the beginning");
    assert_eq!(subscriber.soon().await.name, "snapshot");
    let switch = "/api/license/features/module.map_view";
    site.put(switch, json!({"systemEnabled": false})).await;
    assert_eq!(subscriber.soon().await.name, "changed");
    drop(subscriber);
    site.end().await;
}

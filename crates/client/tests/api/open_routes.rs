//! Requests that need no permission cost neither the database nor the License
//! Server anything, however many arrive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use license_client::console;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Arrived, ScriptedCloud};

const TOKEN: &str = "a-token-of-a-good-length";
/// Requests of each kind.
const REPEATS: usize = 12;
/// Requests at a time: few enough that each could be answered alone.
const CONCURRENT: usize = 4;
/// Statements of the background jobs and of the readings that all callers
/// share, per second …
const STATEMENTS_PER_SECOND: f64 = 9.0;
/// … and at most as many at the beginning. Each use of a connection counts one more, with
/// which the pool makes sure that it is given back clean, and each transaction three more: its
/// begin, its search path and its end.
const FIRST_STATEMENTS: f64 = 90.0;
/// New connections of the pool for these.
const NEW_CONNECTIONS: u64 = 4;

/// Counts what the service sends to PostgreSQL.
#[derive(Clone, Default)]
struct Counter {
    connections: Arc<AtomicU64>,
    statements: Arc<AtomicU64>,
}

impl Counter {
    /// Counts in front of `direct`, and answers the database's URL there.
    async fn before(direct: &TestDatabase) -> (Self, TestDatabase) {
        let url = Url::parse(&direct.url).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut through = TestDatabase::same_as(direct);
        through.url = through
            .url
            .replace(&format!(":{}/", server.1), &format!(":{port}/"));
        let counter = Self::default();
        let counting = counter.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(server.clone()).await.unwrap();
                counting.connections.fetch_add(1, Ordering::SeqCst);
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                tokio::spawn(forward(from_client, to_server, counting.statements.clone()));
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
            }
        });
        (counter, through)
    }

    /// Waits until nothing has been sent for a while.
    async fn until_quiet(&self) {
        const QUIET: Duration = Duration::from_millis(1500);
        let begun = Instant::now();
        let (mut before, mut since) = (self.read(), begun);
        while since.elapsed() < QUIET {
            assert!(begun.elapsed() < Duration::from_secs(30), "never quiet");
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.read() != before {
                (before, since) = (self.read(), Instant::now());
            }
        }
    }

    fn read(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (of(&self.connections), of(&self.statements))
    }
}

/// Passes on messages, and counts those that make PostgreSQL work (its
/// documentation, "Message Formats": `Bind` and `Query`).
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, statements: Arc<AtomicU64>) {
    /// A request for TLS, to which the answer is no.
    const TLS_REQUEST: usize = 8;
    let mut has_begun = false;
    loop {
        let mut message = Vec::new();
        if has_begun {
            let Ok(kind) = from.read_u8().await else {
                return;
            };
            if matches!(kind, b'B' | b'Q') {
                statements.fetch_add(1, Ordering::SeqCst);
            }
            message.push(kind);
        }
        let Ok(length) = from.read_u32().await else {
            return;
        };
        message.extend(length.to_be_bytes());
        let start = message.len();
        let length = usize::try_from(length).unwrap();
        has_begun |= length != TLS_REQUEST;
        message.resize(start + length - 4, 0);
        if from.read_exact(&mut message[start..]).await.is_err()
            || to.write_all(&message).await.is_err()
        {
            return;
        }
    }
}

/// Whose requests they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// Anyone.
    Stranger,
    /// The operator's browser, on behalf of another site's page.
    OtherSite,
}

/// Every path that the service answers.
async fn paths(site: &Site) -> Vec<String> {
    let (_, document) = site.get("/openapi.json").await;
    let documented = document["paths"].as_object().unwrap().keys().cloned();
    let pages = console::paths().into_iter().map(str::to_owned);
    let mut paths: Vec<String> = documented
        .chain(pages)
        .chain(["/openapi.json", "/docs/", "/api/license/authorize"].map(str::to_owned))
        .map(|path| {
            let parts = path.split('/').map(|part| match part.starts_with('{') {
                true => "module.map_view",
                false => part,
            });
            parts.collect::<Vec<_>>().join("/")
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// A body that every route of the API finds its fields in.
fn body() -> Value {
    json!({
        "resource": "cameras", "requested": 1, "featureKey": "module.map_view",
        "featureKeys": ["module.map_view"], "licenseKey": KEY, "purpose": "renew", "file": "x",
        "source": "s", "cameras": 1, "systemEnabled": false, "context": {},
    })
}

async fn send(site: &Site, sender: Sender, method: Method, path: String) -> (String, u16) {
    let mut request = site
        .http
        .request(method.clone(), format!("{}{path}", site.url));
    if sender == Sender::OtherSite {
        request = request
            .bearer_auth(TOKEN)
            .header("sec-fetch-site", "cross-site");
    }
    if path.starts_with("/console/") {
        request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body("token=wrong&key=wrong&purpose=renew&feature=module.map_view");
    } else {
        request = request.json(&body());
    }
    // Events never end: the head of the answer is enough.
    let status = request.send().await.unwrap().status().as_u16();
    (format!("{method} {path}"), status)
}

/// Sends a request and does not wait for its answer.
async fn send_and_hang_up(site: &Site, path: String) {
    let address = site.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_open_requests_makes_the_database_or_the_license_server_work() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    direct
        .execute("CREATE TABLE cameras (id INTEGER); INSERT INTO cameras VALUES (1);")
        .await;
    let (counter, through) = Counter::before(&direct).await;
    let flags = ["--trusted-networks", "192.0.2.0/32", "--admin-token", TOKEN];
    let mut site = Site::start_on(through, &cloud.url, &flags).await;
    let activation = site
        .http
        .post(format!("{}/api/license/activate", site.url))
        .bearer_auth(TOKEN)
        .json(&json!({"licenseKey": KEY}));
    assert_eq!(activation.send().await.unwrap().status(), 200);
    site.until("the service is ready", async || {
        site.get("/readyz").await.0 == 200
    })
    .await;
    counter.until_quiet().await;

    let calls = cloud.arrived().len();
    let (connections, statements) = counter.read();
    let begun = Instant::now();
    let paths = paths(&site).await;
    assert!(paths.len() > 30, "{paths:?}");
    let mut requests = Vec::new();
    for path in &paths {
        for sender in [Sender::Stranger, Sender::OtherSite] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                for _ in 0..REPEATS {
                    requests.push((sender, method.clone(), path.clone()));
                }
            }
        }
    }
    let site_ref = &site;
    let answers: Vec<(String, u16)> = futures_util::stream::iter(requests)
        .map(|(sender, method, path)| send(site_ref, sender, method, path))
        .buffer_unordered(CONCURRENT)
        .collect()
        .await;
    for path in &paths {
        for _ in 0..REPEATS {
            send_and_hang_up(&site, path.clone()).await;
        }
    }
    // What was begun for those who hung up ends, too.
    counter.until_quiet().await;

    let elapsed = begun.elapsed().as_secs_f64();
    let (connections_now, statements_now) = counter.read();
    let new: Vec<Arrived> = cloud.arrived().split_off(calls);
    assert!(new.is_empty(), "the License Server was called: {new:?}");
    let statements = statements_now - statements;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small number"
    )]
    let bound = (FIRST_STATEMENTS + elapsed * STATEMENTS_PER_SECOND) as u64;
    assert!(
        statements <= bound,
        "{statements} statements in {elapsed:.1} s for {} requests; at most {bound} are expected",
        answers.len()
    );
    let connections = connections_now - connections;
    assert!(
        connections <= NEW_CONNECTIONS,
        "{connections} new connections"
    );

    were_good_requests(answers);
    site.stop().await;
    direct.drop_database().await;
}

/// A refusal would cost nothing, too.
fn were_good_requests(answers: Vec<(String, u16)>) {
    let mut best: BTreeMap<String, u16> = BTreeMap::new();
    for (request, status) in answers {
        let entry = best.entry(request).or_insert(status);
        *entry = (*entry).min(status);
    }
    for request in [
        "GET /",
        "GET /api/license/attempts",
        "GET /api/license/events",
        "GET /api/license/hardware",
        "GET /metrics",
        "GET /readyz",
        "POST /api/license/feature/check",
        "POST /api/license/features/check",
        "POST /api/license/limits/check",
        "POST /ofrep/v1/evaluate/flags",
    ] {
        assert_eq!(best.get(request), Some(&200), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn diagnostics_are_for_trusted_callers_one_at_a_time() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let (counter, through) = Counter::before(&direct).await;
    let flags = ["--trusted-networks", "192.0.2.0/32", "--admin-token", TOKEN];
    let mut site = Site::start_on(through, &cloud.url, &flags).await;
    let role = Url::parse(&direct.url).unwrap().username().to_owned();
    let ask = async |method: Method, path: &str, token: bool, from: &str| {
        ask_from(&site, method, path, token, from).await
    };
    site.until("it is ready", async || {
        ask(Method::GET, "/readyz", true, "none").await.0 == 200
    })
    .await;
    let (page, file) = ("/console/diagnostics", "/console/support-file");

    // Strangers go to sign in and pages of other sites are refused.
    for path in [page, file] {
        let (status, body) = ask(Method::POST, path, false, "same-origin").await;
        assert_eq!((status, body.as_str()), (303, ""), "{path}");
        let (status, _) = ask(Method::POST, path, true, "cross-site").await;
        assert_eq!(status, 403, "{path}");
    }
    assert_eq!(ask(Method::GET, page, false, "none").await.0, 303);
    // A page of another site can only send the operator to what is known.
    let (status, body) = ask(Method::GET, page, true, "cross-site").await;
    assert_eq!(status, 200);
    assert!(body.contains("Run the checks"), "{body}");
    assert_eq!(ask(Method::GET, file, true, "cross-site").await.0, 405);
    assert!(cloud.arrived().is_empty());

    let (connections, _) = counter.read();
    let checks = (0..20).map(|_| ask(Method::POST, page, true, "same-origin"));
    for (status, _) in futures_util::future::join_all(checks).await {
        assert_eq!(status, 303);
    }
    let asked: Vec<String> = cloud.arrived().into_iter().map(|it| it.path).collect();
    assert_eq!(asked, ["/api/licenses/keys"], "one examination for all");
    let files = (0..20).map(|_| ask(Method::POST, file, true, "same-origin"));
    for (status, body) in futures_util::future::join_all(files).await {
        assert_eq!(status, 200);
        let file: Value = serde_json::from_str(&body).unwrap();
        let findings = file["findings"].as_array().unwrap();
        let database = findings.iter().find(|it| it["what"] == "database");
        let database = database.unwrap()["found"].as_str().unwrap();
        assert!(database.ends_with("answers"), "{file}");
    }
    assert_eq!(cloud.arrived().len(), 1, "of the same examination");
    let (_, body) = ask(Method::GET, page, true, "same-origin").await;
    assert!(
        body.contains("the four tables are readable and writable"),
        "{body}"
    );
    let (connections_now, _) = counter.read();
    assert!(
        connections_now - connections <= NEW_CONNECTIONS,
        "the service has its own"
    );

    // What is wrong with the database names users and hosts.
    direct
        .execute("ALTER TABLE system_config RENAME TO elsewhere")
        .await;
    let readyz = async |token| ask(Method::GET, "/readyz", token, "none").await;
    site.until("it is not ready", async || readyz(true).await.0 == 503)
        .await;
    let told = |body: &str| -> String {
        let body: Value = serde_json::from_str(body).unwrap();
        body["database"].as_str().unwrap().to_owned()
    };
    // A reading is shared for a second.
    let names_the_table = async || told(&readyz(true).await.1).contains("system_config");
    site.until("it says why", names_the_table).await;
    assert_eq!(told(&readyz(false).await.1), "unavailable");
    assert!(!readyz(false).await.1.contains(&role));
    site.stop().await;
    direct.drop_database().await;
}

/// Status and body of a request that a page of `from` sends.
async fn ask_from(
    site: &Site,
    method: Method,
    path: &str,
    token: bool,
    from: &str,
) -> (u16, String) {
    let mut request = site
        .http
        .request(method, format!("{}{path}", site.url))
        .header("sec-fetch-site", from);
    if token {
        request = request.bearer_auth(TOKEN);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

//! Callers that close their sending side after the last request, as `nc -N` and some libraries do.

use tokio::io::AsyncWriteExt as _;

use crate::database::Engine;
use crate::harness::Site;
use crate::raw_http::{connect, read_to_end};
use crate::vendor::Vendor;

const REPEATS: usize = 10;

/// What is answered to a caller that says with its request that there is no other one.
async fn ask(url: &str, head: &str, body: &str) -> String {
    let mut stream = connect(url).await;
    let length = body.len();
    let kind = "content-type: application/json\r\n";
    let request = format!(
        "{head} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_complete_request_is_answered() {
    let vendor = Vendor::start().await;
    let site = Site::start(Engine::Sqlite, &vendor.url, &[]).await;
    let key = vendor.issue_professional().await;
    assert_eq!(site.activate(&key).await.0, 200);
    let server = vendor.url.trim_end_matches("/api");
    let check = r#"{"featureKey":"module.map_view"}"#;
    for (url, head, body, status) in [
        (site.url.as_str(), "GET /livez", "", "200"),
        (&site.url, "GET /readyz", "", "200"),
        (&site.url, "GET /metrics", "", "200"),
        (&site.url, "GET /", "", "200"),
        (&site.url, "GET /health", "", "200"),
        (&site.url, "GET /api/license/status", "", "200"),
        (&site.url, "GET /api/license/features", "", "200"),
        (&site.url, "POST /api/license/feature/check", check, "200"),
        (&site.url, "POST /api/license/validate", "", "200"),
        (server, "GET /livez", "", "200"),
        (server, "GET /readyz", "", "200"),
        (server, "GET /metrics", "", "200"),
        (server, "GET /api/licenses/keys", "", "200"),
        (server, "POST /api/licenses/validate", "{}", "400"),
    ] {
        for _ in 0..REPEATS {
            let answer = ask(url, head, body).await;
            assert_eq!(answer.get(9..12), Some(status), "{head}: {answer:?}");
            assert!(answer.contains("\r\n\r\n"), "{head}: {answer:?}");
        }
    }
    site.end().await;
}

//! Metrics in the format that a scraper asks for.

use crate::database::Engine;
use crate::harness::Site;
use crate::scripted_cloud::ScriptedCloud;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let scrape = async |accept: &str| {
        let request = site.http.get(format!("{}/metrics", site.url));
        let answer = request.header("accept", accept).send().await.unwrap();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        (kind, answer.text().await.unwrap())
    };
    let (kind, openmetrics) = scrape("*/*").await;
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(openmetrics.ends_with("# EOF\n"), "{openmetrics}");
    let (kind, text) = scrape("text/plain;version=0.0.4").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    // Every sample belongs to the family that is described before it, by its name.
    let mut family = "";
    let mut samples = 0;
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            family = name;
        } else if !line.starts_with("# HELP ") {
            assert!(!line.starts_with('#'), "{line}");
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(name, family, "{line}");
            samples += 1;
        }
    }
    assert!(samples > 20, "{text}");
    let count = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(count(&text), count(&openmetrics));
    site.end().await;
}

//! OpenFeature's own client for Rust.

use open_feature::EvaluationErrorCode;

use super::Licensed;

#[path = "../../../examples/openfeature.rs"]
#[expect(dead_code, reason = "the example's own main")]
mod example;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_asks_through_openfeature() {
    let mut licensed = Licensed::by_feature().await;
    let client = example::client(&licensed.site.url).await.unwrap();
    for (feature, available) in [
        ("module.map_view", true),
        ("module.alarm_advanced", false),
        ("module.live_view", true),
    ] {
        let answer = example::is_available(&client, feature).await.unwrap();
        assert_eq!(answer, available, "{feature}");
    }
    let unknown = example::is_available(&client, "module.nope").await;
    assert_eq!(unknown.unwrap_err().code, EvaluationErrorCode::FlagNotFound);
    assert_eq!(example::limit(&client, "limit.cameras").await.unwrap(), 64);
    licensed.site.stop().await;
    let down = example::is_available(&client, "module.map_view").await;
    assert!(matches!(
        down.unwrap_err().code,
        EvaluationErrorCode::General(_)
    ));
    licensed.end().await;
}

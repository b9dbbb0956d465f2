//! The open page keeps itself up to date, and says when it cannot.

use reqwest::StatusCode;
use serde_json::json;

use super::{MAP, MAP_VIEW, Scene};

const IS_LOST: &str = "return !document.getElementById('lost').hidden \
    && !!document.querySelector('#live.outdated')";
/// Notes each stream of events that the page opens from now on.
const NOTE_STREAMS: &str = "window.streams = []; window.path = null; const Native = EventSource; \
    window.EventSource = class extends Native { \
        constructor(path) { super(window.path || path); window.streams.push(this); } \
    }";
/// The states of these streams: 1 is open, 2 is closed.
const STREAMS: &str = "return window.streams.map((it) => it.readyState).join()";

impl Scene {
    /// Another tab comes to the front, or this one.
    async fn set_hidden(&self, is_hidden: bool) {
        let script = format!(
            "Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        );
        self.browser.run(&script).await;
    }

    async fn switch_map(&self, is_on: bool) {
        let path = format!("/api/license/features/{MAP_VIEW}");
        let (status, _) = self
            .site
            .put(&path, json!({ "systemEnabled": is_on }))
            .await;
        assert_eq!(status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_answers_with_an_error_is_shown() {
    let (scene, _) = Scene::licensed().await;
    scene.open("/").await;
    scene.browser.until(MAP, &json!("On")).await;
    scene.browser.run("window.real = window.fetch").await;
    let mut is_on = true;
    for status in [502, 503, 429] {
        let answer = format!("window.fetch = async () => new Response('', {{ status: {status} }})");
        scene.browser.run(&answer).await;
        is_on = !is_on;
        scene.switch_map(is_on).await;
        scene.browser.until(IS_LOST, &json!(true)).await;
        scene.browser.run("window.fetch = window.real").await;
        is_on = !is_on;
        scene.switch_map(is_on).await;
        scene.browser.until(IS_LOST, &json!(false)).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_tab_holds_no_connection_and_is_updated_when_it_is_seen_again() {
    let (scene, _) = Scene::licensed().await;
    scene.open("/").await;
    scene.browser.until(MAP, &json!("On")).await;
    scene.browser.run(NOTE_STREAMS).await;
    scene.set_hidden(true).await;
    scene.set_hidden(false).await;
    scene.browser.until(STREAMS, &json!("1")).await;
    scene.set_hidden(true).await;
    scene.browser.until(STREAMS, &json!("2")).await;
    scene.switch_map(false).await;
    scene.set_hidden(false).await;
    scene.browser.until(MAP, &json!("Off")).await;
    scene.browser.until(STREAMS, &json!("2,1")).await;
    scene.switch_map(true).await;
    scene.browser.until(MAP, &json!("On")).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_is_opened_again() {
    let (scene, _) = Scene::licensed().await;
    scene.open("/").await;
    scene.browser.until(MAP, &json!("On")).await;
    scene.browser.run(NOTE_STREAMS).await;
    scene.browser.run("window.path = '/no-such-stream'").await;
    scene.set_hidden(true).await;
    scene.set_hidden(false).await;
    // A browser does not reconnect after such an answer. The page itself is still updated.
    scene.browser.until(STREAMS, &json!("2")).await;
    assert_eq!(scene.browser.run(IS_LOST).await, json!(false));
    scene.browser.run("window.path = null").await;
    let last = "return window.streams.length > 1 && window.streams.at(-1).readyState";
    scene.browser.until(last, &json!(1)).await;
    scene.switch_map(false).await;
    scene.browser.until(MAP, &json!("Off")).await;
    scene.end().await;
}

//! A gateway whose License Client is away, moves or hangs.

use std::time::Duration;

use serde_json::{Value, json};

use super::Licensed;
use super::dns::{Ipv6, NamedMachine};
use super::requests::{get, raw};

impl Licensed {
    /// The gateway starts without the License Client, whose name does not resolve yet; finds it
    /// when it is available, and when it moves; and keeps everything else working.
    pub(super) async fn is_not_taken_down_by(
        &self,
        machine: &mut NamedMachine,
        gateway: &str,
        ungated: &str,
    ) {
        assert_eq!(get(gateway, ungated, &[]).await.status(), 200);
        let shut = get(gateway, "/map/1", &[]).await;
        assert_eq!(shut.status(), 503);
        assert_eq!(shut.headers()["retry-after"], "5");
        machine.moves_to([127, 0, 0, 2], Ipv6::Unused).await;
        self.is_passed_again_by(gateway).await;
        machine.moves_to([127, 0, 0, 3], Ipv6::Failure).await;
        self.is_passed_again_by(gateway).await;
        assert_eq!(get(gateway, ungated, &[]).await.status(), 200);
        assert_eq!(get(gateway, "/alarms/1", &[]).await.status(), 403);
    }

    /// Without the License Client nothing that is gated passes, and with it
    /// everything is as before.
    pub(super) async fn is_shut_without_it(&mut self, gateway: &str, status: u16) {
        self.site.stop().await;
        let answer = get(gateway, "/map/1", &[]).await;
        assert_eq!(answer.status(), status);
        if status == 503 {
            assert_eq!(answer.headers()["retry-after"], "5");
            let body: Value = answer.json().await.unwrap();
            let detail = json!("The license cannot be checked right now");
            assert_eq!(body["detail"], detail, "{body}");
        }
        self.site.restart().await;
        self.is_passed_again_by(gateway).await;
    }

    /// The License Client stops, and a program that never answers takes its place.
    pub(super) async fn hang(&mut self) -> tokio::task::JoinHandle<()> {
        self.site.stop().await;
        let address = self.site.url.strip_prefix("http://").unwrap();
        let hanging = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok(connection) = hanging.accept().await {
                held.push(connection);
            }
        })
    }

    /// While many gated requests wait for a License Client that hangs, ungated requests are
    /// answered immediately, and each gated request is refused in time.
    pub(super) async fn holds_nothing_else_up_while_it_hangs(
        &mut self,
        gateway: &str,
        ungated: &str,
    ) {
        let accepting = self.hang().await;
        let gated = futures_util::future::join_all((0..40).map(async |_| {
            let start = tokio::time::Instant::now();
            (raw(gateway, "/map/1").await, start.elapsed())
        }));
        let ungated = async {
            for _ in 0..10 {
                let start = tokio::time::Instant::now();
                assert_eq!(raw(gateway, ungated).await, "200");
                let waited = start.elapsed();
                assert!(waited < Duration::from_millis(1_500), "{waited:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let (gated, ()) = tokio::join!(gated, ungated);
        for (status, waited) in gated {
            assert_eq!(status, "503");
            assert!(waited < Duration::from_secs(5), "{waited:?}");
        }
        accepting.abort();
        let _ = accepting.await;
        self.site.restart().await;
        self.is_passed_again_by(gateway).await;
    }

    /// One that hangs is treated the same, and delays callers only briefly.
    pub(super) async fn is_shut_while_it_hangs(&mut self, gateway: &str) {
        let accepting = self.hang().await;
        let begun = tokio::time::Instant::now();
        let answer = get(gateway, "/map/1", &[]).await;
        assert_eq!(answer.status(), 503);
        let waited = begun.elapsed();
        assert!(waited.as_millis() < 5_000, "{waited:?}");
        accepting.abort();
        let _ = accepting.await;
        self.site.restart().await;
        self.is_passed_again_by(gateway).await;
    }

    pub(super) async fn is_passed_again_by(&self, gateway: &str) {
        let site = &self.site;
        let is_back = || async { get(gateway, "/map/1", &[]).await.status() == 200 };
        site.until("the gate opens again", is_back).await;
    }
}

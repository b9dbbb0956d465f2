//! Waits for changes, so that running streams can be ended.

use std::future::Future;

use tokio::sync::watch;

use crate::decision::Decision;
use crate::feature_key::FeatureKey;
use crate::gate::Gate;

/// Reports changes: see [`Gate::changes`].
#[derive(Debug)]
pub struct Changes {
    /// Keeps the gate alive.
    gate: Gate,
    version: watch::Receiver<u64>,
}

impl Gate {
    /// Reports every later change of what the site may use: a new announcement, a deadline
    /// that has passed, contact lost or restored. Several changes may be reported as one.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            gate: self.clone(),
            version: self.shared().changes(),
        }
    }

    /// Waits until `feature` is not available, and returns the reason. Returns immediately
    /// if it is not available now.
    ///
    /// A layer decides when a request starts. A stream, a WebSocket or a long download that
    /// was allowed continues unless this ends it:
    ///
    /// ```no_run
    /// # async fn serve_images() {}
    /// # async fn example(gate: license_gate::Gate) {
    /// tokio::select! {
    ///     () = serve_images() => {}
    ///     refused = gate.until_unavailable("module.map_view") => {
    ///         tracing::info!("stream ended: {}", refused.reason);
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Works on any async runtime. The future can be dropped at any time.
    pub fn until_unavailable(
        &self,
        feature: impl Into<FeatureKey>,
    ) -> impl Future<Output = Decision> + Send + 'static {
        let feature = feature.into();
        let mut changes = self.changes();
        async move {
            loop {
                let decision = changes.gate.shared().decide(feature.as_str());
                if !decision.available {
                    return decision;
                }
                changes.changed().await;
            }
        }
    }
}

impl Changes {
    /// Waits for the next change. Dropping the future loses no change.
    pub async fn changed(&mut self) {
        // The gate is alive, so this cannot fail.
        if self.version.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

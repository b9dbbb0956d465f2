//! Waits for changes, so that what has begun can be ended.

use std::future::Future;

use tokio::sync::watch;

use crate::decision::Decision;
use crate::feature_key::FeatureKey;
use crate::gate::Gate;

/// Tells of changes: see [`Gate::changes`].
#[derive(Debug)]
pub struct Changes {
    /// Keeps the gate there.
    gate: Gate,
    version: watch::Receiver<u64>,
}

impl Gate {
    /// Tells of every change of what the site may use, from now on: something new was
    /// announced, a deadline has passed, contact was lost or found. Several changes may
    /// be told as one.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            gate: self.clone(),
            version: self.shared().changes(),
        }
    }

    /// Waits until `feature` is not available, and returns why. It returns immediately
    /// if the feature is not available now.
    ///
    /// A layer decides when a request begins. A stream, a WebSocket or a long download
    /// that was allowed runs on, unless it is ended by this:
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
    /// Any async runtime will do. Dropping the future is fine at any time.
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
    /// Waits for the next change. Dropping the future loses none.
    pub async fn changed(&mut self) {
        // The gate is there, so this cannot fail.
        if self.version.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

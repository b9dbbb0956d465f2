//! What Prometheus scrapes. Counters are counted where things happen.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The counters of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    withheld: Counter,
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let withheld = Counter::default();
        registry.register(
            "foxsight_license_server_answers_withheld",
            "Sites that were not denied because they know a sequence number that the database \
             does not: it may have been restored from a backup",
            withheld.clone(),
        );
        Self { registry, withheld }
    }

    /// Counts a site that was not denied.
    pub fn answer_withheld(&self) {
        self.withheld.inc();
    }

    /// The text that is scraped.
    ///
    /// # Errors
    /// Never in practice: writing to a text does not fail.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

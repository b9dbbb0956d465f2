//! What Prometheus scrapes. Counters are counted where things happen; the counts of
//! what runs beside requests are read when they are scraped.

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
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
            "Calls not answered because the site knows a sequence number that the database does \
             not: it may have been restored from a backup",
            withheld.clone(),
        );
        Self { registry, withheld }
    }

    /// Counts a site that was not denied.
    pub fn answer_withheld(&self) {
        self.withheld.inc();
    }

    /// The text that is scraped, with the failures of each background job and the
    /// log lines that were dropped.
    ///
    /// # Errors
    /// Never in practice: writing to a text does not fail.
    pub fn text(
        &self,
        job_failures: &[(&'static str, u64)],
        dropped_lines: u64,
    ) -> Result<String, std::fmt::Error> {
        let failures = Family::<[(&str, &str); 1], Counter>::default();
        for (job, count) in job_failures {
            failures.get_or_create(&[("task", *job)]).inc_by(*count);
        }
        let dropped = Counter::<u64>::default();
        dropped.inc_by(dropped_lines);
        let mut process = Registry::default();
        process.register(
            "foxsight_license_server_job_failures",
            "Background job failures, each followed by a restart",
            failures,
        );
        process.register(
            "foxsight_license_server_log_lines_dropped",
            "Log lines that could not be written: standard error was closed, full or not read",
            dropped,
        );
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

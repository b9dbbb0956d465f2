//! Metrics for Prometheus. Counters are incremented where events happen; the counts of background
//! activity are read during the scrape.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use license_service::jobs::Jobs;
use license_service::telemetry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::licensing::fleet_summary::Fleet;

/// Upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// The counters of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, Buckets>,
    withheld: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Copy, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let withheld = Counter::default();
        registry.register(
            "foxsight_license_server_answers_withheld",
            "Calls not answered because the site reported a sequence number that is not in the \
             database; the database may have been restored from a backup",
            withheld.clone(),
        );
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register(
            "foxsight_license_server_requests",
            "Requests answered, by route and status code",
            requests.clone(),
        );
        let durations = Family::new_with_constructor(Buckets);
        registry.register(
            "foxsight_license_server_request_duration_seconds",
            "Time until a response begins, by route",
            durations.clone(),
        );
        Self {
            registry,
            requests,
            durations,
            withheld,
        }
    }

    /// Counts the response to a request, and the time until it began. `route` is one of the URL
    /// table, so that the number of series is bounded.
    pub fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let (route, status) = (route.to_owned(), status.as_u16());
        let labels = RouteLabels {
            route: route.clone(),
        };
        self.durations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels { route, status })
            .inc();
    }

    /// Counts a site that was not denied.
    pub fn answer_withheld(&self) {
        self.withheld.inc();
    }

    /// The scraped text, with the failures of each background job, the log lines that were dropped,
    /// and the installations of all customers if they are known.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn text(
        &self,
        job_failures: &[(&'static str, u64)],
        dropped_lines: u64,
        fleet: Option<&Fleet>,
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
            Jobs::FAILURES_HELP,
            failures,
        );
        process.register(
            "foxsight_license_server_log_lines_dropped",
            telemetry::DROPPED_LINES_HELP,
            dropped,
        );
        if let Some(fleet) = fleet {
            register(fleet, &mut process);
        }
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

fn register(fleet: &Fleet, registry: &mut Registry) {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let by = |label: &'static str, counts: &BTreeMap<String, u64>| {
        let family = Family::<[(&str, String); 1], Gauge>::default();
        for (word, count) in counts {
            let labels = [(label, word.clone())];
            family.get_or_create(&labels).set(number(*count));
        }
        family
    };
    registry.register(
        "foxsight_license_server_licenses",
        "Licenses, by status",
        by("status", &fleet.licenses),
    );
    registry.register(
        "foxsight_license_server_installations",
        "Machines that hold a seat, by standing",
        by("standing", &fleet.standings),
    );
    for (name, help, count) in [
        (
            "foxsight_license_server_trials",
            "Trial licenses, with any status",
            fleet.trials,
        ),
        (
            "foxsight_license_server_installations_over_limit",
            "Installations that use more than their license allows",
            fleet.over_limit,
        ),
        (
            "foxsight_license_server_licenses_over_seats",
            "Licenses with more seats in use than they include",
            fleet.licenses_over_seats,
        ),
        (
            "foxsight_license_server_installations_suspected",
            "Installations with suspicions in the last 30 days",
            fleet.suspected,
        ),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(number(count));
        registry.register(name, help, gauge);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

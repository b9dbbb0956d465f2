//! Every figure, and its target.

/// A figure.
pub(super) struct Row {
    pub(super) id: &'static str,
    /// What is measured, and compared with what.
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) target: Target,
}

/// What the median of a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// The figure is for information.
    Any,
}

/// A ratio.
const TIMES: &str = "×";

/// In the order of the report.
pub(super) const ROWS: [Row; 31] = [
    row(
        "check-rate",
        "feature check: requests/s, relative to bare axum",
        TIMES,
        Target::AtLeast(1.10),
    ),
    row(
        "check-cpu",
        "feature check: CPU per request, relative to nginx returning a constant",
        TIMES,
        Target::AtMost(1.0),
    ),
    row(
        "check-p99",
        "feature check: 99th percentile of latency, relative to bare axum",
        TIMES,
        Target::AtMost(1.0),
    ),
    row(
        "authorize-rate",
        "forward authentication: requests/s, relative to bare axum answering 204",
        TIMES,
        Target::AtLeast(1.15),
    ),
    row(
        "flag-rate",
        "one OpenFeature flag: requests/s, relative to bare axum's check",
        TIMES,
        Target::AtLeast(1.0),
    ),
    row(
        "flags-rate",
        "15 OpenFeature flags in one response: requests/s, relative to bare axum's check",
        TIMES,
        Target::AtLeast(0.6),
    ),
    row(
        "status-rate",
        "license status: requests/s, relative to bare axum's check",
        TIMES,
        Target::AtLeast(0.9),
    ),
    row(
        "outage-rate",
        "feature check while the database and the License Server are down: requests/s, relative to \
         normal operation",
        TIMES,
        Target::AtLeast(0.98),
    ),
    row(
        "features-rate",
        "feature check with 10,000 features, the maximum: requests/s, relative to 10 features",
        TIMES,
        Target::AtLeast(0.97),
    ),
    row(
        "gate-rate",
        "nginx gated by the License Client: requests/s, relative to nginx gated by bare axum",
        TIMES,
        Target::Any,
    ),
    row(
        "idle-memory",
        "memory of an idle License Client",
        "MiB",
        Target::AtMost(10.0),
    ),
    row(
        "busy-memory",
        "memory under load from 32 connections",
        "MiB",
        Target::AtMost(12.0),
    ),
    row(
        "connection-memory",
        "memory of each idle connection",
        "KiB",
        Target::AtMost(6.0),
    ),
    row(
        "subscriber-memory",
        "memory of each event subscriber",
        "KiB",
        Target::AtMost(12.0),
    ),
    row(
        "first-event",
        "time from a change until the first event subscriber receives it",
        "ms",
        Target::Any,
    ),
    row(
        "last-event",
        "time from a change until the last event subscriber receives it",
        "ms",
        Target::Any,
    ),
    row(
        "start",
        "time from a start with an existing SQLite file until the first 200",
        "ms",
        Target::AtMost(15.0),
    ),
    row(
        "client-size",
        "size of license-client",
        "MB",
        Target::AtMost(16.0),
    ),
    row(
        "server-size",
        "size of license-server",
        "MB",
        Target::AtMost(16.0),
    ),
    row(
        "gate-10",
        "Gate::check with 10 features",
        "ns",
        Target::AtMost(15.0),
    ),
    row(
        "gate-10000",
        "Gate::check with 10,000 features",
        "ns",
        Target::AtMost(15.0),
    ),
    row(
        "gate-100000",
        "Gate::check with 100,000 features: speed, relative to 10 features",
        TIMES,
        Target::AtLeast(0.97),
    ),
    row(
        "gate-threads",
        "Gate::check on two threads: time of each check, relative to one thread",
        TIMES,
        Target::AtMost(1.05),
    ),
    row(
        "layer",
        "the gate's layer around an axum route: added time",
        "µs",
        Target::AtMost(0.3),
    ),
    row(
        "hostile-over",
        "requests designed to be expensive: number over their limits",
        "",
        Target::AtMost(0.0),
    ),
    row(
        "hostile-gateway",
        "the most expensive gateway check of up to 64 KiB: CPU",
        "µs",
        Target::Any,
    ),
    row(
        "hostile-probe",
        "the most expensive probe of up to 64 KiB: CPU",
        "µs",
        Target::Any,
    ),
    row(
        "hostile-open",
        "the most expensive request to another open route: CPU",
        "µs",
        Target::Any,
    ),
    row(
        "hostile-largest-gateway",
        "the same with the largest license at an uncertain time, gateway check: CPU",
        "µs",
        Target::Any,
    ),
    row(
        "hostile-largest-open",
        "the same with the largest license at an uncertain time, another open route: CPU",
        "µs",
        Target::Any,
    ),
    row(
        "hostile-server",
        "the most expensive request to the License Server: CPU",
        "µs",
        Target::Any,
    ),
];

const fn row(id: &'static str, name: &'static str, unit: &'static str, target: Target) -> Row {
    Row {
        id,
        name,
        unit,
        target,
    }
}

impl Target {
    /// Whether this median reaches it; `None` if there is no target.
    pub(super) fn is_reached_by(self, median: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bound) => Some(median >= bound),
            Self::AtMost(bound) => Some(median <= bound),
            Self::Any => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique() {
        let ids: BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
        assert_eq!(ids.len(), ROWS.len());
    }

    #[test]
    fn bounds_are_inclusive_and_a_number_that_is_missing_reaches_none() {
        assert_eq!(Target::AtLeast(1.1).is_reached_by(1.1), Some(true));
        assert_eq!(Target::AtLeast(1.1).is_reached_by(1.09), Some(false));
        assert_eq!(Target::AtMost(6.0).is_reached_by(6.0), Some(true));
        assert_eq!(Target::AtMost(6.0).is_reached_by(6.1), Some(false));
        assert_eq!(Target::AtMost(6.0).is_reached_by(f64::NAN), Some(false));
        assert_eq!(Target::Any.is_reached_by(1.0), None);
    }
}

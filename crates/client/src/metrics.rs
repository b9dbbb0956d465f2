//! What Prometheus scrapes.
//!
//! Counters live here and are counted where things happen. Everything that is
//! known anyway is read when it is scraped, so that it cannot be out of date;
//! missing values are absent, rather than 0.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;

use license_core::gate::{Decision, Reason};
use license_core::protocol::Call;
use license_core::response::Contact;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: [Counter; REASONS.len()],
    calls: Family<CallLabels, Counter>,
    security_events: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    available: &'static str,
    reason: &'static str,
}

/// The reasons with their own series, and whether they mean available. Lapses share one, so that
/// the number of series is bounded.
const REASONS: [(&str, &str); 10] = [
    ("core", "true"),
    ("licensed", "true"),
    ("grace_period", "true"),
    ("no_license", "false"),
    ("not_in_license", "false"),
    ("switched_off", "false"),
    ("lapsed", "false"),
    ("starts_later", "false"),
    ("ended", "false"),
    ("update_not_covered", "false"),
];

/// The index of a reason in [`REASONS`].
fn index(reason: Reason<'_>) -> usize {
    match reason {
        Reason::Core => 0,
        Reason::Licensed => 1,
        Reason::GracePeriod => 2,
        Reason::NoLicense => 3,
        Reason::NotInLicense => 4,
        Reason::SwitchedOff => 5,
        Reason::Lapsed(_) => 6,
        Reason::StartsLater(_) => 7,
        Reason::Ended(_) => 8,
        Reason::UpdateNotCovered => 9,
    }
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let decisions = Family::<DecisionLabels, Counter>::default();
        registry.register(
            "foxsight_license_decisions",
            "Feature checks answered",
            decisions.clone(),
        );
        let calls = Family::<CallLabels, Counter>::default();
        registry.register(
            "foxsight_license_upstream_requests",
            "Calls to the License Server",
            calls.clone(),
        );
        let security_events = Counter::default();
        registry.register(
            "foxsight_license_security_events",
            "Responses, rows and key sets that were forged, replayed or intended for another \
             recipient",
            security_events.clone(),
        );
        Self {
            registry,
            // Looked up once: a feature check then counts without a lock.
            decisions: REASONS.map(|(reason, available)| {
                let labels = DecisionLabels { available, reason };
                decisions.get_or_create(&labels).clone()
            }),
            calls,
            security_events,
        }
    }

    /// Counts a decision about a feature.
    pub fn decided(&self, decision: &Decision<'_>) {
        self.decisions[index(decision.reason)].inc();
    }

    /// Counts an event that belongs in the security log.
    pub fn security_event(&self) {
        self.security_events.inc();
    }

    /// Counts the result of a call to the License Server.
    pub fn contacted<Y>(&self, call: Call, contact: &Contact<Y>) {
        let outcome = match contact {
            Contact::Confirmed(_) => "confirmed",
            Contact::Denied(_) => "denied",
            Contact::None(_) => "no_contact",
        };
        if let Contact::None(why) = contact
            && why.is_suspicious()
        {
            self.security_event();
        }
        let call = call.as_str();
        self.calls
            .get_or_create(&CallLabels { call, outcome })
            .inc();
    }

    /// The scraped text: the counters, and the current values.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn text(&self, readings: &Readings) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &readings.registry)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

type Labels = Vec<(&'static str, Cow<'static, str>)>;
type Number = Gauge<f64, AtomicU64>;

/// The values that are read during the scrape.
#[derive(Debug, Default)]
pub struct Readings {
    registry: Registry,
}

impl Readings {
    /// No values read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one number; `None` is absent.
    pub fn number(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            let gauge = Number::default();
            gauge.set(value);
            self.registry.register(name, help, gauge);
        }
    }

    /// Adds one count.
    pub fn count(&mut self, name: &str, help: &str, count: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(count);
        self.registry.register(name, help, counter);
    }

    /// Adds several counts that are distinguished by one label.
    pub fn counted(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        counts: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        let family = Family::<Labels, Counter>::default();
        for (word, count) in counts {
            let labels = vec![(label, Cow::Borrowed(word))];
            family.get_or_create(&labels).inc_by(count);
        }
        self.registry.register(name, help, family);
    }

    /// Adds several numbers that are distinguished by one label; `None` is absent.
    pub fn labelled<W: Into<Cow<'static, str>>>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (W, Option<f64>)>,
    ) {
        let family = Family::<Labels, Number>::default();
        let mut any = false;
        for (word, value) in values {
            if let Some(value) = value {
                family.get_or_create(&vec![(label, word.into())]).set(value);
                any = true;
            }
        }
        if any {
            self.registry.register(name, help, family);
        }
    }
}

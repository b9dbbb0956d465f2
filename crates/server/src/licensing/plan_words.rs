//! Plans and the catalogue in words, for people.

use license_core::catalogue::CatalogueEntry;
use license_core::entitlement::Quantity;
use license_core::plan::{Plan, PlanEntitlement};

use crate::licensing::applied_plans::{Applied, Replaced};
use crate::licensing::day_words;
use crate::licensing::end_words::plan_duration;
use crate::store::plans::PublishedPlan;

/// What a plan consists of, one statement for each thing. A text that is empty and a term that the
/// plan does not state are left out.
#[must_use]
pub fn plan_lines(plan: &Plan) -> Vec<String> {
    if plan.add_on {
        return add_on_lines(plan);
    }
    let terms = &plan.terms;
    let hours = |name: &str, hours: Option<u32>| {
        hours.map(|it| format!("{name}: {}", day_words::hours(it)))
    };
    let duration = duration_words(plan);
    let lines = [
        Some(format!("title: {}", plan.title)),
        Some(format!("description: {}", plan.description)).filter(|_| !plan.description.is_empty()),
        plan.trial.then(|| "trial".to_owned()),
        Some(format!("duration: {duration}")),
        Some(format!("seats: {}", terms.seats)),
        Some(format!(
            "moves: {} in {}",
            terms.moves,
            day_words::days(terms.moves_period_days)
        )),
        hours("lease", terms.lease_hours),
        hours("grace period", terms.grace_hours),
        terms
            .offline_days
            .map(|it| format!("offline: {}", day_words::days(it))),
        terms.updates_for.map(|it| format!("updates for: {it}")),
        Some(format!("updates: {}", terms.updates.as_str()))
            .filter(|_| terms.updates_for.is_some()),
    ];
    let entitlements = plan.entitlements.iter().map(entitlement);
    lines.into_iter().flatten().chain(entitlements).collect()
}

/// How long a license lasts.
#[must_use]
pub fn duration_words(plan: &Plan) -> String {
    plan_duration(plan).unwrap_or_else(|| "never ends".to_owned())
}

fn add_on_lines(plan: &Plan) -> Vec<String> {
    let lines = [
        Some(format!("title: {}", plan.title)),
        Some(format!("description: {}", plan.description)).filter(|_| !plan.description.is_empty()),
        Some("for add-on keys".to_owned()),
    ];
    let entitlements = plan.entitlements.iter().map(entitlement);
    lines.into_iter().flatten().chain(entitlements).collect()
}

fn entitlement(it: &PlanEntitlement) -> String {
    let key = &it.key;
    let granted = match it.quantity {
        None => format!("feature {key}"),
        Some(Quantity::Of(number)) => format!("{number} {key}"),
        Some(Quantity::Unlimited) => format!("unlimited {key}"),
    };
    match it.duration {
        None => granted,
        Some(duration) => format!("{granted} for {duration}"),
    }
}

fn entry_lines(entry: &CatalogueEntry) -> Vec<String> {
    let text = |name: &str, text: &str| {
        let line = format!("{name}: {text}");
        (!text.is_empty()).then_some(line)
    };
    let lines = [
        text("kind", entry.kind.as_str()),
        text("name", &entry.name),
        text("unit", &entry.unit),
        text("description", &entry.description),
    ];
    lines.into_iter().flatten().collect()
}

/// What is different in a plan or an entry of the catalogue, one statement for each thing. Without
/// any, the entitlements are in another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about: `plan parking@2 (was parking@1)`.
    pub heading: String,
    /// The statements that no longer apply.
    pub removed: Vec<String>,
    /// Those that apply in addition or instead.
    pub added: Vec<String>,
}

impl Difference {
    /// As lines of text: those after the heading begin with `+` or `-`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let removed = self.removed.iter().map(|line| format!("  - {line}"));
        let added = self.added.iter().map(|line| format!("  + {line}"));
        let mut lines: Vec<String> = removed.chain(added).collect();
        if lines.is_empty() {
            lines.push("  the same entitlements in another order".to_owned());
        }
        lines.insert(0, self.heading.clone());
        lines
    }
}

/// Everything that a plan file changes.
#[must_use]
pub fn differences(applied: &Applied) -> Vec<Difference> {
    let entries = applied.entries.iter().map(entry_difference);
    entries
        .chain(applied.plans.iter().map(plan_difference))
        .collect()
}

/// What a new version of a plan changes.
#[must_use]
pub fn plan_difference(plan: &Replaced<PublishedPlan>) -> Difference {
    let before = plan.before.as_ref();
    let heading = match before {
        None => format!("plan {} (new)", plan.after.version),
        Some(before) => format!("plan {} (was {})", plan.after.version, before.version),
    };
    let before = before.map(|it| plan_lines(&it.contents));
    difference(heading, before, &plan_lines(&plan.after.contents))
}

/// The same for an entry of the catalogue.
#[must_use]
pub fn entry_difference(entry: &Replaced<CatalogueEntry>) -> Difference {
    let is_new = if entry.before.is_none() { " (new)" } else { "" };
    let heading = format!("catalogue {}{is_new}", entry.after.key);
    let before = entry.before.as_ref().map(entry_lines);
    difference(heading, before, &entry_lines(&entry.after))
}

fn difference(heading: String, before: Option<Vec<String>>, after: &[String]) -> Difference {
    let mut removed = before.unwrap_or_default();
    let added = after.iter().filter(|line| !removed.contains(line));
    let added = added.cloned().collect();
    removed.retain(|line| !after.contains(line));
    Difference {
        heading,
        removed,
        added,
    }
}

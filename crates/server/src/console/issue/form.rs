//! The form for a license: how a plan fills it in, and the license that it describes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::amendment::{TermChanges, Terms, UpdateRule};
use license_core::calendar_duration::{CalendarDuration, EndsTooLate};
use license_core::entitlement::Quantity;
use license_core::plan::PlanChoice;

use crate::console::fields::{self, Fields};
use crate::console::filters::unknown;
use crate::http::error::ApiError;
use crate::licensing::issue::{IssueError, IssueRequest};
use crate::licensing::item_words::quantity_words;
use crate::store::plans::PublishedPlan;

/// What precedes the key of a counted thing in the name of the field for its quantity.
pub(super) const QUANTITY: &str = "quantity.";
/// The fields that only the confirmation has.
const OF_REVIEW: [&str; 3] = ["key", "typed_key", "reviewed_end"];
/// The fields whose values come from the plan, apart from features and quantities.
const FROM_PLAN: [&str; 9] = [
    "end",
    "seats",
    "moves",
    "moves_period_days",
    "lease_hours",
    "grace_hours",
    "offline_days",
    "updates_until",
    "updates",
];

/// The fields of a license that is exactly this plan and starts at `start`. The end is only chosen
/// if the plan has a duration.
///
/// # Errors
/// [`EndsTooLate`].
pub(super) fn filled(plan: &PublishedPlan, start: DateTime<Utc>) -> Result<Fields, EndsTooLate> {
    let mut fields = Fields::default();
    fields.set("plan", plan.version.to_string());
    for it in &plan.contents.entitlements {
        match it.quantity {
            None => fields.add("feature", &it.key),
            Some(quantity) => {
                let name = format!("{QUANTITY}{}", it.key);
                fields.add(name, quantity_words(quantity));
            }
        }
    }
    if plan.contents.duration.is_some() {
        fields.set("end", "plan");
    }
    let terms = plan.contents.terms(start)?;
    for (name, value) in term_texts(&terms) {
        fields.set(name, value);
    }
    Ok(fields)
}

fn term_texts(terms: &Terms) -> [(&'static str, String); 8] {
    let or_default = |number: Option<u32>| number.map(|it| it.to_string()).unwrap_or_default();
    let day = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
    [
        ("seats", terms.seats.to_string()),
        ("moves", terms.moves.to_string()),
        ("moves_period_days", terms.moves_period_days.to_string()),
        ("lease_hours", or_default(terms.lease_hours)),
        ("grace_hours", or_default(terms.grace_hours)),
        ("offline_days", or_default(terms.offline_days)),
        (
            "updates_until",
            terms.updates_until.map(day).unwrap_or_default(),
        ),
        ("updates", terms.updates.as_str().to_owned()),
    ]
}

/// The fields for another plan: what was changed in the form stays, and the rest is the new plan's.
/// `former` and `new` are the fields that the two plans fill in.
pub(super) fn carried(typed: &Fields, former: &Fields, new: &Fields) -> Fields {
    let [typed_first, former_first, new_first] = [typed, former, new].map(Fields::by_name);
    let first = |fields: &BTreeMap<&str, &str>, name: &str| {
        fields.get(name).copied().unwrap_or_default().to_owned()
    };
    let quantities = [typed, former, new].map(|it| it.below(QUANTITY));
    let quantities: BTreeSet<String> = quantities
        .into_iter()
        .flatten()
        .map(|(key, _)| format!("{QUANTITY}{key}"))
        .collect();
    let names = FROM_PLAN.into_iter();
    let names = names.chain(quantities.iter().map(String::as_str));
    let replaced: BTreeSet<&str> = names
        .filter(|name| match typed_first.get(name) {
            Some(text) => text.trim() == first(&former_first, name).trim(),
            None => true,
        })
        .chain(["plan"])
        .collect();
    let mut carried = Fields::default();
    for (name, value) in typed.pairs() {
        if name != "feature" && !replaced.contains(name) {
            carried.add(name, value);
        }
    }
    for name in replaced {
        carried.add(name, first(&new_first, name));
    }
    let [typed, former, new] = [typed, former, new].map(|it| {
        let features = it.all("feature");
        features.collect::<BTreeSet<_>>()
    });
    let added = typed.difference(&former);
    let removed: BTreeSet<_> = former.difference(&typed).collect();
    let features: BTreeSet<_> = new.iter().chain(added).collect();
    for feature in features.difference(&removed) {
        carried.add("feature", **feature);
    }
    carried
}

/// The form as it was before the review.
pub(super) fn before_review(fields: Fields) -> Fields {
    let typed_key = fields.raw("typed_key").to_owned();
    let mut fields = fields.without(&OF_REVIEW).without(&["edit"]);
    fields.set("key", typed_key);
    fields
}

/// The license that the fields describe, as the differences from their plan.
///
/// # Errors
/// For each field with an invalid value.
pub(super) fn request(
    fields: &Fields,
    plan: &PublishedPlan,
    now: DateTime<Utc>,
) -> Result<IssueRequest, ApiError> {
    let customer = fields.text("customer").to_owned();
    if customer.is_empty() {
        return Err(ApiError::BadRequest("enter the customer".to_owned()));
    }
    let starts_at = fields::start("first day", fields.text("starts"))?;
    let start = starts_at.unwrap_or(now.trunc_subsecs(0));
    let filled = filled(plan, start).map_err(IssueError::from)?;
    let end = end(fields, plan, start)?;
    let typed: BTreeSet<&str> = fields.all("feature").collect();
    let planned: BTreeSet<&str> = filled.all("feature").collect();
    let keys = |keys: &mut dyn Iterator<Item = &&str>| keys.map(|key| (*key).to_owned()).collect();
    Ok(IssueRequest {
        customer,
        terms: terms(fields, &filled)?,
        quantities: quantities(fields, plan)?,
        with: keys(&mut typed.difference(&planned)),
        without: keys(&mut planned.difference(&typed)),
        starts_at,
        expires_at: end.at,
        never_expires: end.is_never,
        key: fields.some("key"),
        ..IssueRequest::of(PlanChoice {
            name: plan.version.name.clone(),
            version: Some(plan.version.version),
        })
    })
}

/// The chosen end: neither is the plan's.
#[derive(Default)]
struct ChosenEnd {
    at: Option<DateTime<Utc>>,
    is_never: bool,
}

/// How long a license lasts with a choice that is the same for all plans.
pub(super) fn preset(choice: &str) -> Option<CalendarDuration> {
    let duration = match choice {
        "year" => "P1Y",
        "days30" => "P30D",
        _ => return None,
    };
    duration.parse().ok()
}

fn end(fields: &Fields, plan: &PublishedPlan, start: DateTime<Utc>) -> Result<ChosenEnd, ApiError> {
    let (choice, day) = (fields.text("end"), fields.text("day"));
    let chosen = match (choice, preset(choice)) {
        ("day", _) => {
            let at = Some(fields::last_day(day)?);
            return Ok(ChosenEnd {
                at,
                is_never: false,
            });
        }
        ("plan", _) if plan.contents.duration.is_some() => ChosenEnd::default(),
        ("never", _) => ChosenEnd {
            at: None,
            is_never: true,
        },
        (_, Some(duration)) => ChosenEnd {
            at: Some(preset_end(fields, duration, start)?),
            is_never: false,
        },
        (other, None) => {
            let expected = "never, year, days30, day, or plan for a plan with a duration";
            return Err(fields::unknown_end(other, expected));
        }
    };
    fields::no_day(day)?;
    Ok(chosen)
}

/// The end that was reviewed, which is a little earlier than that from now on; or that.
fn preset_end(
    fields: &Fields,
    duration: CalendarDuration,
    start: DateTime<Utc>,
) -> Result<DateTime<Utc>, ApiError> {
    match fields::end("end", fields.text("reviewed_end"))? {
        Some(at) => Ok(at),
        None => Ok(duration.last_second_from(start).map_err(IssueError::from)?),
    }
}

/// The terms that differ from the plan's.
fn terms(fields: &Fields, filled: &Fields) -> Result<TermChanges, ApiError> {
    let changed = |name: &str| {
        let text = fields.text(name);
        (fields.has(name) && text != filled.text(name)).then_some(text)
    };
    let required = |name: &str, label: &str| {
        let number = changed(name).map(|text| fields::number(label, text));
        number.transpose()
    };
    let optional = |name: &str, label: &str| {
        let number = changed(name).map(|text| match text {
            "" => Ok(None),
            text => fields::number(label, text).map(Some),
        });
        number.transpose()
    };
    let rule = changed("updates").map(|text| {
        let rule = UpdateRule::of(text);
        rule.ok_or_else(|| unknown("rule for updates", text, "warn or enforce"))
    });
    let updates_until = changed("updates_until").map(|text| fields::end("end of updates", text));
    Ok(TermChanges {
        seats: required("seats", "seats")?,
        moves: required("moves", "moves")?,
        moves_period_days: required("moves_period_days", "period in days")?,
        lease_hours: optional("lease_hours", "lease")?,
        grace_hours: optional("grace_hours", "grace period")?,
        offline_days: optional("offline_days", "offline lease")?,
        updates_until: updates_until.transpose()?,
        updates: rule.transpose()?,
    })
}

/// The quantities that differ from the plan's. An empty field grants none.
fn quantities(
    fields: &Fields,
    plan: &PublishedPlan,
) -> Result<BTreeMap<String, Quantity>, ApiError> {
    let planned = |key: &str| {
        let mut entitlements = plan.contents.entitlements.iter();
        entitlements.find(|it| it.key == key)?.quantity
    };
    let none = Quantity::Of(0);
    let mut quantities = BTreeMap::new();
    for (key, text) in fields.below(QUANTITY) {
        let typed = fields::quantity(key, text)?.unwrap_or(none);
        if typed != planned(key).unwrap_or(none) {
            quantities.insert(key.to_owned(), typed);
        }
    }
    Ok(quantities)
}

#[cfg(test)]
mod tests {
    use license_core::amendment::PlanVersion;
    use license_core::plan::Plan;
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-24T12:00:00.5Z".parse().unwrap()
    }

    fn plan(name: &str, contents: serde_json::Value) -> PublishedPlan {
        let contents: Plan = serde_json::from_value(contents).unwrap();
        let name = name.to_owned();
        PublishedPlan {
            version: PlanVersion { name, version: 1 },
            published_at: None,
            author: "test".to_owned(),
            contents,
        }
    }

    fn parking() -> PublishedPlan {
        let contents = json!({
            "title": "Parking", "duration": "P1Y", "terms": {"seats": 2, "updatesFor": "P1Y"},
            "entitlements": [
                {"key": "module.map_view"}, {"key": "module.analytics_advanced", "for": "P90D"},
                {"key": "cameras", "quantity": 16}, {"key": "storage_gb", "quantity": "unlimited"},
            ],
        });
        plan("parking", contents)
    }

    fn typed(plan: &PublishedPlan) -> Fields {
        let mut fields = filled(plan, now()).unwrap();
        fields.set("customer", "Harbour Ltd");
        fields
    }

    #[test]
    fn an_unchanged_form_is_the_plan() {
        let request = request(&typed(&parking()), &parking(), now()).unwrap();
        let expected = IssueRequest {
            customer: "Harbour Ltd".to_owned(),
            ..IssueRequest::of("parking@1".parse::<PlanChoice>().unwrap())
        };
        assert_eq!(format!("{request:?}"), format!("{expected:?}"));
    }

    #[test]
    fn what_was_changed_differs_from_the_plan() {
        let mut fields = typed(&parking()).without(&["feature"]);
        fields.add("feature", "module.map_view");
        fields.add("feature", "module.alarm_advanced");
        fields.set("quantity.cameras", "");
        fields.set("quantity.storage_gb", "500");
        fields.set("quantity.users", "");
        fields.set("lease_hours", "48");
        fields.set("updates_until", "");
        fields.set("end", "never");
        let request = request(&fields, &parking(), now()).unwrap();
        assert_eq!(request.with, ["module.alarm_advanced"]);
        assert_eq!(request.without, ["module.analytics_advanced"]);
        let quantities = [("cameras", 0), ("storage_gb", 500)];
        let quantities = quantities.map(|(key, number)| (key.to_owned(), Quantity::Of(number)));
        assert_eq!(request.quantities, BTreeMap::from(quantities));
        let expected = TermChanges {
            lease_hours: Some(Some(48)),
            updates_until: Some(None),
            ..TermChanges::default()
        };
        assert_eq!(request.terms, expected);
        assert!(request.never_expires && request.expires_at.is_none());
    }

    #[test]
    fn an_end_is_always_chosen() {
        let standard = plan(
            "standard",
            json!({"title": "Standard", "terms": {"seats": 1}}),
        );
        let chosen = |choice: &str, day: &str| {
            let mut fields = typed(&standard);
            fields.set("end", choice);
            fields.set("day", day);
            let request = request(&fields, &standard, now());
            request.map(|it| (it.expires_at.map(|at| at.to_string()), it.never_expires))
        };
        for (choice, day) in [
            ("", ""),
            ("", "2030-12-31"),
            ("plan", ""),
            ("never", "2030-12-31"),
            ("day", ""),
            ("day", "soon"),
            ("later", ""),
        ] {
            assert!(chosen(choice, day).is_err(), "{choice} {day}");
        }
        assert_eq!(chosen("never", "").unwrap(), (None, true));
        let year = "2027-11-24 11:59:59 UTC".to_owned();
        assert_eq!(chosen("year", "").unwrap(), (Some(year), false));
        let month = "2026-12-24 11:59:59 UTC".to_owned();
        assert_eq!(chosen("days30", "").unwrap(), (Some(month), false));
        let day = "2030-12-31 23:59:59 UTC".to_owned();
        assert_eq!(chosen("day", "2030-12-31").unwrap(), (Some(day), false));
    }

    #[test]
    fn another_plan_replaces_what_was_not_changed() {
        let contents = json!({
            "title": "Gate", "terms": {"seats": 1, "leaseHours": 12},
            "entitlements": [
                {"key": "module.health_monitoring"}, {"key": "module.analytics_advanced"},
                {"key": "cameras", "quantity": 4}, {"key": "doors", "quantity": 8},
            ],
        });
        let gate = filled(&plan("gate", contents), now()).unwrap();
        let mut fields = typed(&parking()).without(&["feature"]);
        fields.add("feature", "module.map_view");
        fields.add("feature", "module.alarm_advanced");
        fields.set("quantity.cameras", "20");
        fields.set("quantity.anpr_lanes", "2");
        fields.set("seats", "5");
        let former = filled(&parking(), now()).unwrap();
        let carried = carried(&fields, &former, &gate);
        let features: Vec<&str> = carried.all("feature").collect();
        assert_eq!(
            features,
            ["module.alarm_advanced", "module.health_monitoring"],
            "the removed one stays removed"
        );
        for (name, expected) in [
            ("plan", "gate@1"),
            ("customer", "Harbour Ltd"),
            ("quantity.cameras", "20"),
            ("quantity.anpr_lanes", "2"),
            ("quantity.doors", "8"),
            ("quantity.storage_gb", ""),
            ("seats", "5"),
            ("lease_hours", "12"),
            ("updates_until", ""),
            ("end", ""),
        ] {
            assert_eq!(carried.text(name), expected, "{name}");
        }
    }
}

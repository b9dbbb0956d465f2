//! The fields of the form for an amendment, and what they ask for. What is empty stays unchanged.

use chrono::{DateTime, Utc};
use license_core::amendment::{TermChanges, UpdateRule};

use crate::console::additions::{AdditionRow, addition_rows, additions};
use crate::console::fields::{self, Fields};
use crate::console::filters::unknown;
use crate::http::error::ApiError;
use crate::licensing::amend::AmendRequest;

/// Rows for additions at first, and how many more a click adds.
const ROWS: usize = 4;
/// Maximum number of rows.
const MAX_ROWS: usize = 40;

/// The rows for additions: those that are used, and empty ones.
pub(super) fn rows(fields: &Fields) -> Vec<AdditionRow> {
    let count = match fields.text("rows").parse::<usize>() {
        Ok(count) => count.clamp(ROWS, MAX_ROWS),
        Err(_) => ROWS,
    };
    let count = match fields.has("more") {
        true => (count + ROWS).min(MAX_ROWS),
        false => count,
    };
    addition_rows(fields, count).collect()
}

/// The amendment that the fields ask for.
///
/// # Errors
/// For each field with an invalid value.
pub(super) fn request(fields: &Fields) -> Result<AmendRequest, ApiError> {
    let number = |name: &str, label: &str| {
        let text = fields.some(name);
        text.map(|text| fields::number(label, &text)).transpose()
    };
    let plan = fields.some("plan").map(|text| fields::plan(&text));
    Ok(AmendRequest {
        after: number("after", "number of the newest amendment")?,
        reason: fields.some("reason"),
        order: fields.some("order"),
        effective_at: effective_at(fields)?,
        undoes: number("undo", "amendment number")?,
        plan: plan.transpose()?,
        end: fields.all("stop").map(str::to_owned).collect(),
        add: additions(fields, MAX_ROWS)?,
        starts_at: starts_at(fields)?,
        expires_at: expires_at(fields)?,
        customer: fields.some("customer"),
        terms: terms(fields)?,
    })
}

/// A day, which is required because it was chosen.
fn chosen_day(
    label: &str,
    day: Result<Option<DateTime<Utc>>, ApiError>,
) -> Result<DateTime<Utc>, ApiError> {
    day?.ok_or_else(|| ApiError::BadRequest(format!("enter the {label}")))
}

/// Refuses a day where it was not chosen, because it would not count.
fn unused_day<T>(label: &str, day: &str, chosen: T) -> Result<T, ApiError> {
    match day.is_empty() {
        true => Ok(chosen),
        false => Err(ApiError::BadRequest(format!(
            "the {label} {day} was entered, but its option is not selected; select the option, or \
             clear the field"
        ))),
    }
}

fn effective_at(fields: &Fields) -> Result<Option<DateTime<Utc>>, ApiError> {
    let (label, day) = (
        "day from which the amendment applies",
        fields.text("effective_day"),
    );
    match fields.text("effective") {
        "" | "now" => unused_day(label, day, None),
        "day" => chosen_day(label, fields::start(label, day)).map(Some),
        other => Err(unknown("time", other, "now or day")),
    }
}

fn starts_at(fields: &Fields) -> Result<Option<Option<DateTime<Utc>>>, ApiError> {
    let (label, day) = ("first day", fields.text("first_day"));
    match fields.text("start") {
        "" | "keep" => unused_day(label, day, None),
        "none" => unused_day(label, day, Some(None)),
        "day" => chosen_day(label, fields::start(label, day)).map(|at| Some(Some(at))),
        other => Err(unknown("start", other, "keep, none or day")),
    }
}

fn expires_at(fields: &Fields) -> Result<Option<Option<DateTime<Utc>>>, ApiError> {
    let (label, day) = ("last day", fields.text("day"));
    match fields.text("end") {
        "" | "keep" => unused_day(label, day, None),
        "never" => unused_day(label, day, Some(None)),
        "day" => chosen_day(label, fields::end(label, day)).map(|at| Some(Some(at))),
        other => Err(unknown("end", other, "keep, never or day")),
    }
}

fn updates_until(fields: &Fields) -> Result<Option<Option<DateTime<Utc>>>, ApiError> {
    let (label, day) = ("last day of updates", fields.text("updates_day"));
    match fields.text("updates_end") {
        "" | "keep" => unused_day(label, day, None),
        "all" => unused_day(label, day, Some(None)),
        "day" => chosen_day(label, fields::end(label, day)).map(|at| Some(Some(at))),
        other => Err(unknown("end of updates", other, "keep, all or day")),
    }
}

fn terms(fields: &Fields) -> Result<TermChanges, ApiError> {
    let number = |name: &str, label: &str| {
        let text = fields.some(name);
        text.map(|text| fields::number(label, &text)).transpose()
    };
    let or_default = |name: &str, label: &str| {
        let text = fields.some(name);
        let number = text.map(|text| match text.as_str() {
            "default" => Ok(None),
            text => fields::number(label, text).map(Some),
        });
        number.transpose()
    };
    let rule = fields.some("updates").map(|text| {
        let rule = UpdateRule::of(&text);
        rule.ok_or_else(|| unknown("rule for updates", &text, "warn or enforce"))
    });
    Ok(TermChanges {
        seats: number("seats", "seats")?,
        moves: number("moves", "moves")?,
        moves_period_days: number("moves_period_days", "period in days")?,
        lease_hours: or_default("lease_hours", "lease")?,
        grace_hours: or_default("grace_hours", "grace period")?,
        offline_days: or_default("offline_days", "offline lease")?,
        updates_until: updates_until(fields)?,
        updates: rule.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use license_core::entitlement::{Period, Quantity};

    use super::*;
    use crate::licensing::amend::Addition;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(*name, *value);
        }
        fields
    }

    #[test]
    fn an_empty_form_asks_for_nothing() {
        let empty = fields(&[("effective", "now"), ("end", "keep"), ("seats", "")]);
        let request = request(&empty).unwrap();
        assert_eq!(
            format!("{request:?}"),
            format!("{:?}", AmendRequest::default())
        );
    }

    #[test]
    fn rows_are_additions_with_their_days() {
        let form = fields(&[
            ("after", "3"),
            ("add_key.0", "cameras"),
            ("add_quantity.0", "32"),
            ("add_from.0", "2027-05-01"),
            ("add_key.2", "module.analytics_advanced"),
            ("add_until.2", "2027-07-29"),
            ("stop", "module.map_view"),
            ("end", "never"),
            ("lease_hours", "default"),
            ("updates_end", "all"),
        ]);
        let request = request(&form).unwrap();
        assert_eq!(request.after, Some(3));
        assert_eq!(request.end, ["module.map_view"]);
        assert_eq!(request.expires_at, Some(None));
        assert_eq!(request.terms.lease_hours, Some(None));
        assert_eq!(request.terms.updates_until, Some(None));
        let expected = [
            Addition {
                key: "cameras".to_owned(),
                quantity: Some(Quantity::Of(32)),
                period: Period {
                    from: "2027-05-01T00:00:00Z".parse().ok(),
                    until: None,
                },
            },
            Addition {
                key: "module.analytics_advanced".to_owned(),
                quantity: None,
                period: Period {
                    from: None,
                    until: "2027-07-29T23:59:59Z".parse().ok(),
                },
            },
        ];
        assert_eq!(request.add, expected);
    }

    #[test]
    fn nothing_that_was_entered_is_left_out() {
        for form in [
            &[("add_quantity.1", "32")][..],
            &[("add_key.0", "cameras"), ("add_quantity.0", "-3")],
            &[("add_key.0", "cameras"), ("add_from.0", "soon")],
            &[("effective", "now"), ("effective_day", "2027-05-01")],
            &[("effective", "day")],
            &[("end", "keep"), ("day", "2027-05-01")],
            &[("end", "day")],
            &[("start", "none"), ("first_day", "2027-05-01")],
            &[("updates_end", "all"), ("updates_day", "2027-05-01")],
            &[("seats", "many")],
            &[("grace_hours", "none")],
            &[("updates", "maybe")],
            &[("plan", "no plan")],
            &[("after", "x")],
        ] {
            let error = request(&fields(form)).unwrap_err();
            assert!(matches!(error, ApiError::BadRequest(_)), "{form:?}");
        }
    }

    #[test]
    fn there_are_more_rows_on_request_up_to_a_limit() {
        assert_eq!(rows(&fields(&[])).len(), ROWS);
        assert_eq!(
            rows(&fields(&[("rows", "4"), ("more", "1")])).len(),
            2 * ROWS
        );
        let most = fields(&[("rows", "999999"), ("more", "1")]);
        assert_eq!(rows(&most).len(), MAX_ROWS);
    }
}

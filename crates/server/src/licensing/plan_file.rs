//! A reviewed file of plans, in TOML.

use std::collections::BTreeMap;
use std::fmt;

use license_core::catalogue::CatalogueEntry;
use license_core::foreign_text::is_escaped;
use license_core::plan::{Plan, PlanTerms};
use license_service::toml_text;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::store::plans::PublishedPlan;

/// What a file says. Its fields are named as in the API. It is displayed as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Entries of the catalogue.
    #[serde(default)]
    pub catalogue: Vec<CatalogueEntry>,
    /// Plans, by name.
    #[serde(default)]
    pub plans: BTreeMap<String, Plan>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It is not TOML, or has other fields than expected.
    #[error("the file is not a plan file: {0}")]
    Toml(#[from] toml::de::Error),
    /// It says nothing.
    #[error("the file contains neither [[catalogue]] nor [plans.NAME]")]
    Empty,
}

impl PlanFileError {
    /// What is wrong with `text`, in one line that begins with the number of the line, if it is known.
    #[must_use]
    pub fn in_text(&self, text: &str) -> String {
        let Self::Toml(error) = self else {
            return "there is neither [[catalogue]] nor [plans.NAME]".to_owned();
        };
        let message = error.message().replace('\n', ", ");
        let before = error.span().and_then(|it| text.get(..it.start));
        match before.map(|before| before.matches('\n').count() + 1) {
            Some(line) => format!("line {line}: {message}"),
            None => message,
        }
    }
}

impl PlanFile {
    /// A file with one plan.
    #[must_use]
    pub fn of_plan(plan: &PublishedPlan) -> Self {
        let plan = (plan.version.name.clone(), plan.contents.clone());
        Self {
            plans: BTreeMap::from([plan]),
            ..Self::default()
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`PlanFileError`], with the line.
    pub fn parse(text: &str) -> Result<Self, PlanFileError> {
        let file: Self = toml_text::from_str(text)?;
        match file.catalogue.is_empty() && file.plans.is_empty() {
            true => Err(PlanFileError::Empty),
            false => Ok(file),
        }
    }
}

/// In TOML, without the fields whose values are those that a missing field has.
impl fmt::Display for PlanFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for entry in &self.catalogue {
            writeln!(f, "{separator}[[catalogue]]")?;
            write_fields(f, fields(entry)?)?;
            separator = "\n";
        }
        for (name, plan) in &self.plans {
            writeln!(f, "{separator}[plans.{}]", key(name))?;
            let mut fields = fields(plan)?;
            if plan.add_on && plan.terms == PlanTerms::default() {
                fields.remove("terms");
            }
            write_fields(f, fields)?;
            separator = "\n";
        }
        Ok(())
    }
}

/// The fields in the order in which they are declared.
fn fields(it: &impl Serialize) -> Result<Map<String, Value>, fmt::Error> {
    match serde_json::to_value(it) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(fmt::Error),
    }
}

/// The texts that are empty if they are missing.
const MAY_BE_MISSING: [&str; 2] = ["description", "unit"];

/// One line for each field, and for each element of a list.
fn write_fields(f: &mut fmt::Formatter<'_>, fields: Map<String, Value>) -> fmt::Result {
    for (name, value) in fields {
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::String(text) if text.is_empty() && MAY_BE_MISSING.contains(&&*name) => {}
            Value::Array(elements) if elements.is_empty() => {}
            Value::Array(elements) => {
                writeln!(f, "{name} = [")?;
                for element in &elements {
                    writeln!(f, "  {},", inline(element))?;
                }
                writeln!(f, "]")?;
            }
            value => writeln!(f, "{name} = {}", inline(&value))?,
        }
    }
    Ok(())
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| format!("{} = {}", key(name), inline(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(elements) => {
            let elements = elements.iter().map(inline);
            format!("[{}]", elements.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

fn key(name: &str) -> String {
    let is_bare = |it: char| it.is_ascii_alphanumeric() || "_-".contains(it);
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// A basic string of TOML. Characters that could make it look like another text are escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for it in text.chars() {
        match it {
            '"' | '\\' => quoted.extend(['\\', it]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            it if it.is_control() || is_escaped(it) => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(it)));
            }
            it => quoted.push(it),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use license_core::amendment::UpdateRule;
    use license_core::calendar_duration::CalendarDuration;
    use license_core::catalogue::Kind;
    use license_core::entitlement::Quantity;
    use license_core::plan::{DurationFrom, PlanEntitlement};
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../../examples/plans.toml");

    /// Any text, often of characters that TOML treats specially.
    fn text() -> impl Strategy<Value = String> {
        let special = select(
            "\"'\\#[]{}=,.\n\r\t\0\u{7f}\u{85}\u{202e} é北\u{10ffff}"
                .chars()
                .collect::<Vec<_>>(),
        );
        let characters = vec(prop_oneof![special, any::<char>()], 0..12);
        characters.prop_map(|it| it.into_iter().collect())
    }

    fn quantity() -> impl Strategy<Value = Option<Quantity>> {
        let quantity = any::<u64>().prop_map(Quantity::Of);
        option::of(prop_oneof![quantity, Just(Quantity::Unlimited)])
    }

    /// A value that TOML nests as deeply as it can: 80 tables, each with a key of 80 parts.
    fn deep() -> String {
        let key = ["a"; 80].join(".");
        (0..78).fold("1".to_owned(), |value, _| format!("{{ {key} = {value} }}"))
    }

    #[test]
    fn no_field_is_read_more_deeply_than_a_stack_is_large() {
        let deep = deep();
        let entitlement = |field: &str| format!("entitlements = [{{ {field} }}]");
        let lists = ["key", "quantity", "duration", "x"]
            .map(|field| entitlement(&format!("{field} = {deep}")));
        let fields = [
            "title",
            "description",
            "trial",
            "add_on",
            "duration",
            "duration_from",
            "terms",
            "terms.seats",
            "terms.updates",
            "terms.updates_for",
            "terms.x",
            "entitlements",
            "x",
        ];
        let fields = fields.map(|field| format!("{field} = {deep}"));
        let plans = fields.into_iter().chain(lists);
        let plans = plans.map(|field| format!("[plans.x]\n{field}\n"));
        let entries = ["key", "kind", "name", "unit", "description", "x"];
        let entries = entries.map(|field| format!("[[catalogue]]\n{field} = {deep}\n"));
        let texts: Vec<String> = plans
            .chain(entries)
            .chain([format!("x = {deep}")])
            .collect();
        // The stack of a worker thread.
        let small = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let reading = small.spawn(move || {
            for text in texts {
                let error = PlanFile::parse(&text).unwrap_err();
                assert!(error.in_text(&text).len() < 1_000, "{text:.60}");
            }
        });
        reading.unwrap().join().unwrap();
    }

    fn duration() -> impl Strategy<Value = Option<CalendarDuration>> {
        let durations = ["P1Y", "P6M", "P90D", "P1Y2M3D"].map(|it| it.parse().unwrap());
        option::of(select(durations.to_vec()))
    }

    fn terms() -> impl Strategy<Value = PlanTerms> {
        let numbers = [(); 3].map(|()| any::<u32>());
        let others = [(); 3].map(|()| option::of(any::<u32>()));
        let updates = select(vec![UpdateRule::Warn, UpdateRule::Enforce]);
        (numbers, others, duration(), updates).prop_map(
            |(numbers, others, updates_for, updates)| {
                let [seats, moves, moves_period_days] = numbers;
                let [lease_hours, grace_hours, offline_days] = others;
                PlanTerms {
                    seats,
                    moves,
                    moves_period_days,
                    lease_hours,
                    grace_hours,
                    offline_days,
                    updates_for,
                    updates,
                }
            },
        )
    }

    fn plan() -> impl Strategy<Value = Plan> {
        let entitlement = (text(), quantity(), duration());
        let entitlement = entitlement.prop_map(|(key, quantity, duration)| PlanEntitlement {
            key,
            quantity,
            duration,
        });
        let froms = select(vec![DurationFrom::Issue, DurationFrom::FirstActivation]);
        let terms = prop_oneof![terms(), Just(PlanTerms::default())];
        let parts = (
            [text(), text()],
            [any::<bool>(), any::<bool>()],
            duration(),
            froms,
            terms,
            vec(entitlement, 0..4),
        );
        parts.prop_map(
            |(texts, is, duration, duration_from, terms, entitlements)| {
                let [title, description] = texts;
                let [trial, add_on] = is;
                Plan {
                    title,
                    description,
                    trial,
                    add_on,
                    duration,
                    duration_from,
                    terms,
                    entitlements,
                }
            },
        )
    }

    fn entry() -> impl Strategy<Value = CatalogueEntry> {
        let texts = [text(), text(), text(), text()];
        (texts, select(vec![Kind::Feature, Kind::Count])).prop_map(|(texts, kind)| {
            let [key, name, unit, description] = texts;
            CatalogueEntry {
                key,
                kind,
                name,
                unit,
                description,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_file_that_is_written_reads_the_same(
            catalogue in vec(entry(), 0..3), plans in btree_map(text(), plan(), 0..3),
        ) {
            let file = PlanFile { catalogue, plans };
            let text = file.to_string();
            match PlanFile::parse(&text) {
                Ok(parsed) => prop_assert_eq!(parsed, file, "{}", text),
                Err(PlanFileError::Empty) => prop_assert_eq!(PlanFile::default(), file),
                Err(error) => prop_assert!(false, "{}: {}", error, text),
            }
        }
    }

    #[test]
    fn a_file_is_written_as_people_write_it() {
        let mut file = PlanFile::parse(EXAMPLE).unwrap();
        file.plans.retain(|name, _| name == "analytics-90");
        let expected = r#"[[catalogue]]
key = "anpr_lanes"
kind = "count"
name = "ANPR lanes"
unit = "lane"
description = "Lanes on which number plates are read"

[plans.analytics-90]
title = "Analytics for 90 days"
addOn = true
entitlements = [
  { key = "module.analytics_advanced", for = "P90D" },
]
"#;
        assert_eq!(file.to_string(), expected);
    }

    #[test]
    fn an_error_names_the_line() {
        for (text, expected) in [
            ("# nothing\n", "neither [[catalogue]] nor [plans.NAME]"),
            (
                "[plans.x]\ntitel = \"X\"\n",
                "line 2: unknown field `titel`",
            ),
            ("[plans.x]\n\ntitle = X\n", "line 3: "),
            (
                "[plans.x]\ntitle = \"X\"\nterms = { seats = -1 }\n",
                "line 3: ",
            ),
        ] {
            let error = PlanFile::parse(text).unwrap_err().in_text(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

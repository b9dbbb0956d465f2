//! A field with amounts of anything that a license may count.

use license_core::feature::FeatureKey;
use license_core::usage::{Counts, MAX_REPORT_KEYS, Resource};
use license_core::whole_number::whole_number;
use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use super::{
    Described, Field, JsonObject, NO_NUL, NOT_A_DICTIONARY, Present, invalid, unacceptable,
};
use crate::http::error::ApiError;

/// Amounts by key, which may be missing or null. An unknown amount is left out.
#[derive(Clone, Copy)]
pub(in crate::http) struct Amounts {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) description: &'static str,
    pub(in crate::http) example: (&'static str, u64),
}

impl Amounts {
    /// The amounts in a body that has any.
    pub(in crate::http) fn present(&self) -> Present {
        (self.name, Self::amounts().min_properties(Some(1)))
    }

    /// What it accepts if it is there and not null.
    fn amounts() -> ObjectBuilder {
        let amount = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(u64::MAX));
        // The resources have their own fields.
        let resources = Resource::ALL.map(Resource::as_str).join("|");
        let pattern = format!("^(?!({resources})$){}", NO_NUL.trim_start_matches('^'));
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(FeatureKey::MAX_CHARS))
            .pattern(Some(pattern));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .property_names(Some(key.build()))
            .additional_properties(Some(Schema::Object(amount.build())))
            .max_properties(Some(MAX_REPORT_KEYS))
    }
}

impl Described for Amounts {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_required(&self) -> bool {
        false
    }

    fn schema(&self) -> Schema {
        let (key, amount) = self.example;
        Self::amounts()
            .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
            .description(Some(self.description))
            .examples([json!({ key: amount })])
            .into()
    }
}

impl Field for Amounts {
    type Value = Counts;

    fn take(&self, body: &mut JsonObject) -> Result<Counts, ApiError> {
        let refused = |kind, why: &str, input| invalid(kind, &["body", self.name], why, input);
        let amounts = match body.0.swap_remove(self.name) {
            None | Some(Value::Null) => return Ok(Counts::default()),
            Some(Value::Object(amounts)) => amounts,
            Some(other) => return Err(refused("dict_type", NOT_A_DICTIONARY, other)),
        };
        if amounts.len() > MAX_REPORT_KEYS {
            let why = format!("Dictionary should have at most {MAX_REPORT_KEYS} items");
            return Err(refused("too_long", &why, amounts.len().into()));
        }
        let amount = |(key, amount): (String, Value)| {
            let unacceptable = |why: &str| unacceptable(self.name, why, key.clone().into());
            let parsed = FeatureKey::parse(&key).map_err(|why| unacceptable(&why.to_string()))?;
            if Resource::of(&key).is_some() {
                return Err(unacceptable(&format!(
                    "'{key}' must be reported in its own field"
                )));
            }
            let number = amount.as_number().and_then(whole_number);
            let number = number.and_then(|number| number.as_u64());
            let number = number.ok_or_else(|| {
                let why = format!("Input for '{key}' should be a whole number, 0 or more");
                refused("int_type", &why, amount)
            })?;
            Ok((parsed, number))
        };
        amounts.into_iter().map(amount).collect()
    }
}

//! A text that may be missing.

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use super::{Described, Field, JsonObject, NO_NUL, Text};
use crate::http::error::ApiError;

/// A text that may be missing or null.
#[derive(Clone, Copy)]
pub(in crate::http) struct OptionalText(pub(in crate::http) Text);

impl Described for OptionalText {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn is_required(&self) -> bool {
        false
    }

    fn schema(&self) -> Schema {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some(self.0.description))
            .max_length(self.0.max_chars)
            .examples(self.0.example)
            .pattern(Some(NO_NUL))
            .into()
    }
}

impl Field for OptionalText {
    type Value = Option<String>;

    fn take(&self, body: &mut JsonObject) -> Result<Option<String>, ApiError> {
        match body.0.get(self.0.name) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(_) => self.0.take(body).map(Some),
        }
    }
}

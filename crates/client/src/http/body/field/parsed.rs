//! A text in a special form.

use license_core::release::ReleaseError;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaFormat, Type};

use super::{ApiError, Described, Field, JsonObject, Text, unacceptable};

/// A required text in a special form.
#[derive(Clone, Copy)]
pub(in crate::http) struct Parsed<T> {
    /// The field.
    pub(in crate::http) text: Text,
    /// A pattern (ECMA-262) that all accepted texts have.
    pub(in crate::http) pattern: &'static str,
    /// The formats (JSON Schema) of accepted texts; empty if the pattern says everything.
    pub(in crate::http) formats: &'static [&'static str],
    /// Reads an accepted text.
    pub(in crate::http) parse: fn(&str) -> Result<T, ReleaseError>,
}

impl<T> Described for Parsed<T> {
    fn name(&self) -> &'static str {
        self.text.name
    }

    fn is_required(&self) -> bool {
        true
    }

    fn schema(&self) -> Schema {
        let text = || {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some(self.text.description))
                .examples(self.text.example)
                .pattern(Some(self.pattern))
        };
        if self.formats.is_empty() {
            return text().into();
        }
        let formats = self
            .formats
            .iter()
            .fold(AnyOfBuilder::new(), |any, format| {
                let format = SchemaFormat::Custom((*format).to_owned());
                any.item(text().format(Some(format)))
            });
        formats.into()
    }
}

impl<T> Field for Parsed<T> {
    type Value = T;

    fn take(&self, body: &mut JsonObject) -> Result<T, ApiError> {
        let text = self.text.take(body)?;
        (self.parse)(&text)
            .map_err(|error| unacceptable(self.text.name, &error.to_string(), text.into()))
    }
}

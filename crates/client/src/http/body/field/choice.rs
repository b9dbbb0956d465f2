//! A field whose value is one of a few words.

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use super::{Described, Field, JsonObject, Text, unacceptable};
use crate::http::error::ApiError;

/// A required word; each stands for a value.
#[derive(Clone, Copy)]
pub(in crate::http) struct Choice<T: 'static> {
    text: Text,
    values: &'static [T],
    word: fn(T) -> &'static str,
}

impl<T: Copy> Choice<T> {
    pub(in crate::http) const fn new(
        name: &'static str,
        description: &'static str,
        values: &'static [T],
        word: fn(T) -> &'static str,
    ) -> Self {
        Self {
            text: Text::new(name, description),
            values,
            word,
        }
    }

    /// Accepts only these values.
    pub(in crate::http) const fn only(mut self, values: &'static [T]) -> Self {
        self.values = values;
        self
    }

    fn words(&self) -> Vec<&'static str> {
        self.values.iter().copied().map(self.word).collect()
    }
}

impl<T: Copy + Sync> Described for Choice<T> {
    fn name(&self) -> &'static str {
        self.text.name
    }

    fn is_required(&self) -> bool {
        true
    }

    fn schema(&self) -> Schema {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(self.text.description))
            .enum_values(Some(self.words()))
            .into()
    }
}

impl<T: Copy + Sync> Field for Choice<T> {
    type Value = T;

    fn take(&self, body: &mut JsonObject) -> Result<T, ApiError> {
        let text = self.text.take(body)?;
        let mut values = self.values.iter().copied();
        values
            .find(|&value| (self.word)(value) == text)
            .ok_or_else(|| {
                let why = format!("expected {}", listed(&self.words()));
                unacceptable(self.text.name, &why, text.into())
            })
    }
}

/// `a, b or c`.
fn listed(values: &[&str]) -> String {
    match values {
        [before, last] => format!("{before} or {last}"),
        [first @ .., before, last] => format!("{}, {before} or {last}", first.join(", ")),
        _ => values.concat(),
    }
}

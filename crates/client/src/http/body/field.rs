//! The fields of request bodies: what the reader accepts and what the API's document promises are
//! one description, so that neither can differ from the other.

mod amounts;
mod choice;
mod optional;
mod parsed;

use license_core::whole_number::whole_number;
use serde_json::{Map, Value};
use utoipa::openapi::schema::{
    AllOfBuilder, AnyOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};

pub(in crate::http) use self::amounts::Amounts;
pub(in crate::http) use self::choice::Choice;
pub(in crate::http) use self::optional::OptionalText;
pub(in crate::http) use self::parsed::Parsed;
use super::{JsonObject, invalid, too_long, unacceptable};
use crate::http::error::ApiError;

/// The message for any value other than a JSON object, as in version 1.0.0.
const NOT_A_DICTIONARY: &str = "Input should be a valid dictionary";
/// A text without NUL, as a pattern (ECMA-262).
const NO_NUL: &str = r"^[^\u0000]*$";
/// The same, and not only white space.
const NOT_BLANK: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";

/// A field, as the API's document describes it.
pub(in crate::http) trait Described: Sync {
    /// The name in JSON.
    fn name(&self) -> &'static str;
    /// Whether a body without it is refused.
    fn is_required(&self) -> bool;
    /// The values that are accepted.
    fn schema(&self) -> Schema;
}

/// A field that can be read from a body.
pub(in crate::http) trait Field: Described {
    /// What a handler gets.
    type Value;

    /// Takes the value out of the body.
    ///
    /// # Errors
    /// [`ApiError::Invalid`], in the words of version 1.0.0 where it had such an error.
    fn take(&self, body: &mut JsonObject) -> Result<Self::Value, ApiError>;
}

/// A required text without NUL characters.
#[derive(Clone, Copy)]
pub(in crate::http) struct Text {
    name: &'static str,
    description: &'static str,
    example: Option<&'static str>,
    max_chars: Option<usize>,
    is_not_blank: bool,
}

impl Text {
    pub(in crate::http) const fn new(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            description,
            example: None,
            max_chars: None,
            is_not_blank: false,
        }
    }

    pub(in crate::http) const fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    /// Limits the number of characters.
    pub(in crate::http) const fn max_chars(mut self, max: usize) -> Self {
        self.max_chars = Some(max);
        self
    }

    /// Accepts no empty text, and none of white space alone.
    pub(in crate::http) const fn not_blank(mut self) -> Self {
        self.is_not_blank = true;
        self
    }
}

impl Described for Text {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_required(&self) -> bool {
        true
    }

    fn schema(&self) -> Schema {
        let pattern = if self.is_not_blank { NOT_BLANK } else { NO_NUL };
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(self.description))
            .max_length(self.max_chars)
            .examples(self.example)
            .pattern(Some(pattern))
            .into()
    }
}

impl Field for Text {
    type Value = String;

    fn take(&self, body: &mut JsonObject) -> Result<String, ApiError> {
        let text = match body.remove(self.name)? {
            Value::String(text) => text,
            other => {
                let why = "Input should be a valid string";
                return Err(invalid("string_type", &["body", self.name], why, other));
            }
        };
        if text.contains('\0') {
            let why = "the text must not contain NUL characters";
            return Err(unacceptable(self.name, why, text.into()));
        }
        if self.is_not_blank && text.trim().is_empty() {
            return Err(unacceptable(
                self.name,
                "the text must not be blank",
                text.into(),
            ));
        }
        match self.max_chars {
            Some(max) if text.chars().count() > max => Err(too_long(self.name, text, max)),
            _ => Ok(text),
        }
    }
}

/// A whole number, which may be missing or null.
#[derive(Clone, Copy)]
pub(in crate::http) struct Number {
    name: &'static str,
    description: &'static str,
    bounds: (u64, u64),
    default: Option<u64>,
}

impl Number {
    pub(in crate::http) const fn new(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            description,
            bounds: (0, u64::MAX),
            default: None,
        }
    }

    /// Accepts only numbers from `min` to `max`.
    pub(in crate::http) const fn between(mut self, min: u64, max: u64) -> Self {
        self.bounds = (min, max);
        self
    }

    /// What a missing number counts as.
    pub(in crate::http) const fn default(mut self, default: u64) -> Self {
        self.default = Some(default);
        self
    }

    /// The number in a body that has it.
    pub(in crate::http) fn present(&self) -> Present {
        (self.name, self.integer())
    }

    /// What it accepts if it is there and not null.
    fn integer(&self) -> ObjectBuilder {
        let (min, max) = self.bounds;
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(min))
            .maximum(Some(max))
    }
}

impl Described for Number {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_required(&self) -> bool {
        false
    }

    fn schema(&self) -> Schema {
        self.integer()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
            .description(Some(self.description))
            .default(self.default.map(Value::from))
            .into()
    }
}

impl Field for Number {
    type Value = Option<u64>;

    fn take(&self, body: &mut JsonObject) -> Result<Option<u64>, ApiError> {
        let value = match body.0.swap_remove(self.name) {
            None | Some(Value::Null) => return Ok(self.default),
            Some(value) => value,
        };
        let (min, max) = self.bounds;
        let number = value.as_number().and_then(whole_number);
        match number.and_then(|number| number.as_u64()) {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            Some(number) => {
                let why = format!("expected {min} to {max}");
                Err(unacceptable(self.name, &why, number.into()))
            }
            None => {
                let why = format!("Input should be a whole number, {min} or more");
                Err(invalid("int_type", &["body", self.name], &why, value))
            }
        }
    }
}

/// A boolean.
#[derive(Clone, Copy)]
pub(in crate::http) struct Flag {
    name: &'static str,
    description: &'static str,
    is_required: bool,
}

impl Flag {
    pub(in crate::http) const fn required(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            description,
            is_required: true,
        }
    }

    /// False where it is missing.
    pub(in crate::http) const fn optional(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            description,
            is_required: false,
        }
    }
}

impl Described for Flag {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_required(&self) -> bool {
        self.is_required
    }

    fn schema(&self) -> Schema {
        let default = (!self.is_required).then_some(Value::Bool(false));
        ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .description(Some(self.description))
            .default(default)
            .into()
    }
}

impl Field for Flag {
    type Value = bool;

    fn take(&self, body: &mut JsonObject) -> Result<bool, ApiError> {
        if !self.is_required && !body.0.contains_key(self.name) {
            return Ok(false);
        }
        match body.remove(self.name)? {
            Value::Bool(flag) => Ok(flag),
            other => {
                let why = "Input should be a valid boolean";
                Err(invalid("bool_type", &["body", self.name], why, other))
            }
        }
    }
}

/// A required list of texts.
#[derive(Clone, Copy)]
pub(in crate::http) struct Texts {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) description: &'static str,
    pub(in crate::http) max_items: usize,
    pub(in crate::http) example: &'static [&'static str],
}

impl Described for Texts {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_required(&self) -> bool {
        true
    }

    fn schema(&self) -> Schema {
        ArrayBuilder::new()
            .items(ObjectBuilder::new().schema_type(Type::String))
            .description(Some(self.description))
            .max_items(Some(self.max_items))
            .examples([self.example])
            .into()
    }
}

impl Field for Texts {
    type Value = Vec<String>;

    fn take(&self, body: &mut JsonObject) -> Result<Vec<String>, ApiError> {
        let refused = |kind, why: &str, input| invalid(kind, &["body", self.name], why, input);
        let list = match body.remove(self.name)? {
            Value::Array(list) => list,
            other => return Err(refused("list_type", "Input should be a valid list", other)),
        };
        if list.len() > self.max_items {
            let why = format!("List should have at most {} items", self.max_items);
            return Err(refused("too_long", &why, list.len().into()));
        }
        let text = |entry| match entry {
            Value::String(text) => Ok(text),
            other => Err(refused(
                "string_type",
                "Input should be a valid string",
                other,
            )),
        };
        list.into_iter().map(text).collect()
    }
}

/// A required object with any content.
#[derive(Clone, Copy)]
pub(in crate::http) struct AnyObject {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) description: &'static str,
}

impl Described for AnyObject {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_required(&self) -> bool {
        true
    }

    fn schema(&self) -> Schema {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(self.description))
            .into()
    }
}

impl Field for AnyObject {
    type Value = Map<String, Value>;

    fn take(&self, body: &mut JsonObject) -> Result<Map<String, Value>, ApiError> {
        match body.remove(self.name)? {
            Value::Object(object) => Ok(object),
            other => {
                let field = &["body", self.name];
                Err(invalid("dict_type", field, NOT_A_DICTIONARY, other))
            }
        }
    }
}

/// The schema of a body with these fields. Others are ignored.
pub(in crate::http) fn object(description: &str, fields: &[&dyn Described]) -> Schema {
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(description));
    fields
        .iter()
        .fold(object, |object, field| {
            let object = object.property(field.name(), field.schema());
            match field.is_required() {
                true => object.required(field.name()),
                false => object,
            }
        })
        .into()
}

/// A field that is there and not null: its name, and its values.
pub(in crate::http) type Present = (&'static str, ObjectBuilder);

/// The schema of a body in which at least one of these fields is there.
pub(in crate::http) fn with_one_of(
    body: Schema,
    fields: impl IntoIterator<Item = Present>,
) -> Schema {
    let fields = fields.into_iter();
    let one = fields.fold(AnyOfBuilder::new(), |one, (name, values)| {
        let there = ObjectBuilder::new().property(name, values).required(name);
        one.item(there)
    });
    AllOfBuilder::new().item(body).item(one).into()
}

/// The schema of a body that is one of these.
pub(in crate::http) fn one_of(bodies: impl IntoIterator<Item = Schema>) -> Schema {
    let one = OneOfBuilder::new();
    bodies.into_iter().fold(one, OneOfBuilder::item).into()
}

/// The schema of a body that is at least one of these.
pub(in crate::http) fn any_of(bodies: impl IntoIterator<Item = Schema>) -> Schema {
    let any = AnyOfBuilder::new();
    bodies.into_iter().fold(any, AnyOfBuilder::item).into()
}

/// A body in the API's document: `body!(Name, schema)`.
macro_rules! body {
    ($name:ident, $schema:expr) => {
        pub(super) struct $name;

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $schema.into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}
pub(in crate::http) use body;

#[cfg(test)]
mod tests;

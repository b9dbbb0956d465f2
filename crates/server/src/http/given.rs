//! Bodies and parameters, with our own error messages, and their schemas in the document.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use bytes::Buf as _;
use chrono::{DateTime, Utc};
use license_core::plan::{InvalidPlan, PlanChoice};
use license_core::unambiguous_json;
use license_core::whole_number::whole_number;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::error::ApiError;
use crate::licensing::expiry::{end_of, start_of};

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// The parameters in the address.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    /// Read as JSON, regardless of its content type. A missing body counts as empty.
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = json_text(Bytes::from_request(request, state).await)?;
        let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        from_json(text)
            .map(Self)
            .map_err(|error| ApiError::BadRequest(format!("invalid request body: {error}")))
    }
}

/// The JSON text of a body from sites or the vendor's staff, without a byte order mark.
///
/// # Errors
/// If the body was not received, or contains a NUL, which databases cannot store in text.
pub(super) fn json_text(received: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    let mut bytes = received.map_err(|error| ApiError::Body(error.status(), error.body_text()))?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.advance(BYTE_ORDER_MARK.len());
    }
    if std::str::from_utf8(&bytes).is_err() {
        let message = "the body is not valid UTF-8; send UTF-8".to_owned();
        return Err(ApiError::BadRequest(message));
    }
    if bytes.windows(6).any(|part| part == b"\\u0000") {
        let message = "the body contains a NUL character".to_owned();
        return Err(ApiError::BadRequest(message));
    }
    Ok(bytes)
}

/// Why JSON is not what was expected, with the member that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{}{error}", .member.as_deref().map(|it| format!("{it}: ")).unwrap_or_default())]
pub(super) struct InvalidJson {
    member: Option<String>,
    error: serde_json::Error,
}

impl InvalidJson {
    /// The error with its position alone.
    pub(super) fn without_member(&self) -> &serde_json::Error {
        &self.error
    }
}

impl From<serde_json::Error> for InvalidJson {
    fn from(error: serde_json::Error) -> Self {
        let member = None;
        Self { member, error }
    }
}

impl From<serde_path_to_error::Error<serde_json::Error>> for InvalidJson {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let path = error.path().to_string();
        Self {
            member: Some(path).filter(|path| path != "."),
            error: error.into_inner(),
        }
    }
}

/// Maximum length of JSON that is read again for the spelling of its numbers, in bytes: building
/// its values costs several times as much as reading it.
const MAX_RESPELLED_BYTES: usize = 8 * 1024;

/// Reads JSON. A whole number may have any spelling: 7.0 is an integer, too (JSON Schema
/// 2020-12, validation, section 6.1.1).
///
/// # Errors
/// If the text is not the JSON of a `T`.
pub(super) fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, InvalidJson> {
    let error = match serde_json::from_slice(text) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    if text.len() <= MAX_RESPELLED_BYTES {
        // A value would keep the last one of duplicate members.
        let text = std::str::from_utf8(text).map_err(serde_json::Error::custom)?;
        let mut value = unambiguous_json::from_str(text)?;
        if respell_whole_numbers(&mut value) {
            return Ok(serde_path_to_error::deserialize(value)?);
        }
    }
    // Only JSON that is refused is read again for the member.
    let mut json = serde_json::Deserializer::from_slice(text);
    let named: Result<T, _> = serde_path_to_error::deserialize(&mut json);
    Err(named.map_or_else(InvalidJson::from, |_| error.into()))
}

/// Converts 7.0 to 7; returns whether there was such a number.
fn respell_whole_numbers(value: &mut Value) -> bool {
    let of_all = |found, value| respell_whole_numbers(value) || found;
    match value {
        Value::Number(number) if number.is_f64() => match whole_number(number) {
            Some(whole) => {
                *number = whole;
                true
            }
            None => false,
        },
        Value::Array(values) => values.iter_mut().fold(false, of_all),
        Value::Object(fields) => fields.values_mut().fold(false, of_all),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A parameter from 1 to `MAX`; `DEFAULT` if it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct UpTo<const MAX: u32, const DEFAULT: u32>(u32);

impl<const MAX: u32, const DEFAULT: u32> UpTo<MAX, DEFAULT> {
    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl<const MAX: u32, const DEFAULT: u32> Default for UpTo<MAX, DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const MAX: u32, const DEFAULT: u32> TryFrom<u32> for UpTo<MAX, DEFAULT> {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        match (1..=MAX).contains(&number) {
            true => Ok(Self(number)),
            false => Err(format!("expected 1 to {MAX}, not {number}")),
        }
    }
}

impl<const MAX: u32, const DEFAULT: u32> PartialSchema for UpTo<MAX, DEFAULT> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(MAX))
            .default(Some(DEFAULT.into()))
            .into()
    }
}

impl<const MAX: u32, const DEFAULT: u32> ToSchema for UpTo<MAX, DEFAULT> {}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => {
                let text = error.body_text();
                let text = text
                    .rsplit_once("query string: ")
                    .map_or(&*text, |(_, it)| it);
                Err(ApiError::InvalidParameter(format!(
                    "invalid parameters: {text}"
                )))
            }
        }
    }
}

/// Parses an optional instant, or a day, which means its end.
pub(super) fn until<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    instant(from, end_of)
}

/// Parses an optional instant, or a day, which means its beginning.
pub(super) fn since<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    instant(from, start_of)
}

/// A member of a body whose absence means something else than `null`.
type Stated<T> = Option<Option<T>>;

/// As [`until`]; `Some` if it is there.
pub(super) fn stated_until<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Stated<DateTime<Utc>>, D::Error> {
    until(from).map(Some)
}

/// As [`since`]; `Some` if it is there.
pub(super) fn stated_since<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Stated<DateTime<Utc>>, D::Error> {
    since(from).map(Some)
}

fn instant<'de, D: Deserializer<'de>>(
    from: D,
    parse: fn(&str) -> Option<DateTime<Utc>>,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    parse(&text).map(Some).ok_or_else(|| {
        let expected = "expected 2030-12-31 or 2030-12-31T12:00:00Z";
        D::Error::custom(format!("invalid time '{text}': {expected}"))
    })
}

/// Parses a member of a body; `Some` if it is there.
pub(super) fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Stated<T>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Parses the name of a plan, with or without a version.
///
/// # Errors
/// 400 that names the field.
pub(super) fn plan_choice(text: &str) -> Result<PlanChoice, ApiError> {
    text.parse().map_err(|InvalidPlan { why, .. }| {
        ApiError::BadRequest(format!(
            "invalid plan: '{text}' is not a plan such as professional or professional@3: {why}"
        ))
    })
}

/// What happens with a release that a license does not cover.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the rule, which `license_core` parses")]
pub(super) enum UpdateRuleText {
    /// The site is warned.
    Warn,
    /// Licensed features are off; core features run.
    Enforce,
}

/// What [`until`] reads in the query, as the document describes it.
pub(super) struct UntilText;

impl PartialSchema for UntilText {
    fn schema() -> RefOr<Schema> {
        until_schema().into()
    }
}

impl ToSchema for UntilText {}

fn until_schema() -> OneOfBuilder {
    let text = |format| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(format)))
    };
    OneOfBuilder::new()
        .item(text(KnownFormat::DateTime))
        .item(text(KnownFormat::Date))
}

/// The schema of the end of a license in a body.
pub(super) fn expiry_schema() -> OneOfBuilder {
    end_schema("means never")
}

/// The same for a license to issue.
pub(super) fn plan_expiry_schema() -> OneOfBuilder {
    end_schema("means the end that the plan sets")
}

/// The schema of the end of the releases that a license covers.
pub(super) fn updates_schema() -> OneOfBuilder {
    end_schema("covers all releases")
}

fn end_schema(null: &str) -> OneOfBuilder {
    let description =
        format!("An instant, or a day, which means the end of that day in UTC; `null` {null}");
    until_schema()
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .description(Some(description))
}

/// The schema of a start in a body.
pub(super) fn start_schema() -> OneOfBuilder {
    until_schema()
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .description(Some(
            "An instant, or a day, which stands for 00:00 UTC on that day; `null` means no \
             bound",
        ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(default)]
        limit: Option<i64>,
        #[serde(default)]
        amounts: Vec<u64>,
    }

    #[test]
    fn a_duplicate_member_is_refused_whatever_the_spelling_of_numbers() {
        for limit in ["7", "7.0", "7e0"] {
            let once = format!("{{\"limit\": {limit}, \"amounts\": [{limit}]}}");
            assert!(from_json::<Asked>(once.as_bytes()).is_ok(), "{once}");
            for twice in [
                format!("{{\"limit\": 1, \"limit\": {limit}}}"),
                format!("{{\"amounts\": [], \"amounts\": [{limit}]}}"),
            ] {
                let error = from_json::<Asked>(twice.as_bytes()).unwrap_err();
                assert!(
                    error.to_string().starts_with("duplicate field"),
                    "{twice}: {error}"
                );
            }
        }
    }

    #[test]
    fn a_whole_number_is_read_in_every_spelling() {
        let read = |limit: &str| {
            let text = format!("{{\"limit\": {limit}}}");
            from_json::<Asked>(text.as_bytes())
                .ok()
                .and_then(|it| it.limit)
        };
        for (text, number) in [
            ("218", Some(218)),
            ("218.0", Some(218)),
            ("1e3", Some(1000)),
            ("-1.0", Some(-1)),
            ("-0.0", Some(0)),
            ("1.5", None),
            ("1e30", None),
            ("1e999", None),
            ("\"1\"", None),
            ("true", None),
        ] {
            assert_eq!(read(text), number, "{text}");
        }
        let inside: Asked = from_json(b"{\"amounts\": [7.0, 18446744073709551615]}").unwrap();
        assert_eq!(inside.amounts, [7, u64::MAX]);
    }

    #[test]
    fn an_invalid_body_is_refused_with_its_position() {
        for (text, expected) in [
            ("{\"limit\": 1, \"limit\": 2}", "duplicate field"),
            ("{\"limit\": 1.5}", "line 1 column 13"),
            ("{\"offset\": 1}", "unknown field"),
        ] {
            let error = from_json::<Asked>(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_parameter_is_within_the_bounds_of_its_schema() {
        type Rows = UpTo<500, 50>;
        let read = |number: u32| serde_json::from_value::<Rows>(json!(number)).ok();
        for (number, accepted) in [(0, false), (1, true), (500, true), (501, false)] {
            assert_eq!(read(number).is_some(), accepted, "{number}");
        }
        assert_eq!(Rows::default().get(), 50);
        let schema = serde_json::to_value(Rows::schema()).unwrap();
        assert_eq!(
            schema,
            json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 50})
        );
    }
}

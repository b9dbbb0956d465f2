//! Request bodies, read as leniently and refused in the same words as by
//! version 1.0.0.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use license_service::request_body::{BodyLimits, BoundBodies, allow_bytes};
use serde_json::{Map, Value, json};

use crate::http::access::Caller;
use crate::http::error::{ApiError, Invalid};

/// Longest body with a license file, in bytes: the longest file fits.
const MAX_IMPORT_BYTES: usize = 1152 * 1024;

/// The bounds of all bodies, with the errors of this API.
pub(crate) fn bounds(limits: BodyLimits) -> BoundBodies {
    let is_trusted = |extensions: &Extensions| {
        let caller = extensions.get::<Caller>();
        caller.is_some_and(|caller| caller.trusted)
    };
    BoundBodies::new(limits, is_trusted, |refusal| {
        ApiError::Body(refusal).into_response()
    })
}

/// An argument of handlers that take a license file, before the body: a trusted
/// caller may send a long one. Asked again here, so that a long body never
/// depends on the order of the layers.
pub(crate) struct Import;

impl<S: Send + Sync> FromRequestParts<S> for Import {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if !caller.trusted {
            return Err(ApiError::Untrusted);
        }
        allow_bytes(&parts.extensions, MAX_IMPORT_BYTES);
        Ok(Self)
    }
}

/// A JSON object.
pub(super) struct JsonObject(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        match read(request).await? {
            Some(value) => object(value).map(Self),
            None => Err(missing(&["body"], Value::Null)),
        }
    }
}

/// A JSON object, or nothing at all.
pub(super) struct OptionalJsonObject(pub(super) Option<JsonObject>);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let value = read(request).await?;
        let read = value.map(object).transpose()?;
        Ok(Self(read.map(JsonObject)))
    }
}

impl JsonObject {
    /// What is in a field, whatever it is.
    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.0.swap_remove(field)
    }

    /// The text in a field that has to be there.
    pub(super) fn text(&mut self, field: &'static str) -> Result<String, ApiError> {
        match self.0.swap_remove(field) {
            Some(Value::String(text)) if text.contains('\0') => Err(invalid(
                "value_error",
                &["body", field],
                "Value error, the text must not contain NUL characters",
                text.into(),
            )),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(invalid(
                "string_type",
                &["body", field],
                "Input should be a valid string",
                other,
            )),
            None => Err(self.lacks(field)),
        }
    }

    /// The texts in a list that has to be there, at most `most`.
    pub(super) fn texts(
        &mut self,
        field: &'static str,
        most: usize,
    ) -> Result<Vec<String>, ApiError> {
        let list = match self.0.swap_remove(field) {
            Some(Value::Array(list)) => list,
            Some(other) => {
                return Err(invalid(
                    "list_type",
                    &["body", field],
                    "Input should be a valid list",
                    other,
                ));
            }
            None => return Err(self.lacks(field)),
        };
        if list.len() > most {
            return Err(invalid(
                "too_long",
                &["body", field],
                &format!("List should have at most {most} items"),
                list.len().into(),
            ));
        }
        let text = |entry| match entry {
            Value::String(text) => Ok(text),
            other => Err(invalid(
                "string_type",
                &["body", field],
                "Input should be a valid string",
                other,
            )),
        };
        list.into_iter().map(text).collect()
    }

    /// The whole number in a field, not below zero; `None` where there is none.
    pub(super) fn number(&self, field: &'static str) -> Result<Option<u64>, ApiError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(invalid(
                    "int_type",
                    &["body", field],
                    "Input should be a whole number, 0 or more",
                    value.clone(),
                )),
            },
        }
    }

    /// The truth value in a field that has to be there.
    pub(super) fn required_flag(&self, field: &'static str) -> Result<bool, ApiError> {
        if self.0.contains_key(field) {
            self.flag(field)
        } else {
            Err(self.lacks(field))
        }
    }

    fn lacks(&self, field: &'static str) -> ApiError {
        missing(&["body", field], Value::Object(self.0.clone()))
    }

    /// The truth value in a field, `false` where there is none.
    pub(super) fn flag(&self, field: &'static str) -> Result<bool, ApiError> {
        match self.0.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(invalid(
                "bool_type",
                &["body", field],
                "Input should be a valid boolean",
                other.clone(),
            )),
        }
    }
}

/// The error for a query that is not accepted.
pub(super) fn unacceptable_query(why: &str) -> ApiError {
    invalid("value_error", &["query"], why, Value::Null)
}

/// The error for a value of the right type that is not accepted.
pub(super) fn unacceptable(field: &'static str, why: &str, value: Value) -> ApiError {
    invalid(
        "value_error",
        &["body", field],
        &format!("Value error, {why}"),
        value,
    )
}

/// The error for a text that is longer than `most` characters.
pub(super) fn too_long(field: &'static str, text: String, most: usize) -> ApiError {
    ApiError::Invalid(Box::new(Invalid {
        kind: "string_too_long",
        loc: vec!["body".into(), field.into()],
        msg: format!("String should have at most {most} characters"),
        input: text.into(),
        ctx: Some(json!({ "max_length": most })),
    }))
}

/// `None` for an empty body. What is not declared as JSON is a text, which is
/// then refused for not being an object.
async fn read(request: Request) -> Result<Option<Value>, ApiError> {
    let is_json = is_json(request.headers());
    // One piece, within bounds.
    let body = request.into_body().collect().await;
    let bytes = body.map_err(|_| ApiError::BrokenOff)?.to_bytes();
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(&bytes);
    if !is_json {
        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned().into()));
    }
    let text = text.map_err(|_| ApiError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| not_json(text, &error))
}

/// Like FastAPI: `application/json` and `application/*+json`; and, like its
/// older releases, a body that does not say what it is.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let essence = content_type.to_str().unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

fn object(value: Value) -> Result<Map<String, Value>, ApiError> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(invalid(
            "model_attributes_type",
            &["body"],
            "Input should be a valid dictionary or object to extract fields from",
            other,
        )),
    }
}

fn not_json(text: &str, error: &serde_json::Error) -> ApiError {
    let before: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(|line| line.chars().count())
        .sum();
    let position = before + error.column().saturating_sub(1);
    ApiError::Invalid(Box::new(Invalid {
        kind: "json_invalid",
        loc: vec!["body".into(), position.into()],
        msg: "JSON decode error".to_owned(),
        input: json!({}),
        ctx: Some(json!({ "error": error.to_string() })),
    }))
}

fn missing(loc: &[&'static str], input: Value) -> ApiError {
    invalid("missing", loc, "Field required", input)
}

fn invalid(kind: &'static str, loc: &[&'static str], msg: &str, input: Value) -> ApiError {
    ApiError::Invalid(Box::new(Invalid {
        kind,
        loc: loc.iter().map(|part| (*part).into()).collect(),
        msg: msg.to_owned(),
        input,
        ctx: None,
    }))
}

//! Request bodies, parsed as leniently as by version 1.0.0, and rejected with the same messages.

pub(super) mod field;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use license_service::direct::text_of;
use license_service::request_body::{BodyLimits, BoundBodies, MAX_LONG_BODY_BYTES, allow_bytes};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::access::Caller;
use crate::http::body::field::{Described, Field, Texts};
use crate::http::error::{ApiError, Invalid};

/// Maximum size of a body with a license file, in bytes: the largest file fits.
const MAX_IMPORT_BYTES: usize = 1152 * 1024;

/// Maximum size of an error's `input`, in bytes of JSON; if it is longer, its beginning is shown as
/// text.
const MAX_INPUT_BYTES: usize = 1024;

/// The limits of all bodies, with the errors of this API.
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

/// A JSON object, or no body at all.
pub(super) struct OptionalJsonObject(pub(super) Option<JsonObject>);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let value = read(request).await?;
        let read = value.map(object).transpose()?;
        Ok(Self(read.map(JsonObject)))
    }
}

/// The strings in the list `featureKeys`, at most [`FeatureKeys::MAX`]. The body may be long.
pub(super) struct FeatureKeys(pub(super) Vec<String>);

/// The same for a long body; the rest of the body is not kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LongList {
    feature_keys: Vec<String>,
}

/// The field of [`FeatureKeys`].
pub(super) const FEATURE_KEYS: Texts = Texts {
    name: "featureKeys",
    description: "The features to check",
    max_items: FeatureKeys::MAX,
    example: &["module.live_view", "module.map_view"],
};

impl FeatureKeys {
    /// Maximum number of keys in one request.
    pub(super) const MAX: usize = 1000;

    /// `None` if the value is something else.
    fn of_long(text: &str) -> Option<Self> {
        // Without this, a list would be accepted as an object.
        let list: LongList = match text.trim_ascii_start().starts_with('{') {
            true => serde_json::from_str(text).ok()?,
            false => return None,
        };
        (list.feature_keys.len() <= Self::MAX).then_some(Self(list.feature_keys))
    }
}

impl<S: Send + Sync> FromRequest<S> for FeatureKeys {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        allow_bytes(request.extensions(), MAX_LONG_BODY_BYTES);
        let is_json = is_json(content_type(request.headers()));
        let bytes = collect(request).await?;
        if bytes.len() <= BodyLimits::default().max_bytes {
            let value = parse(&bytes, is_json)?;
            let value = value.ok_or_else(|| missing(&["body"], Value::Null))?;
            let mut body = JsonObject(object(value)?);
            return body.read(&FEATURE_KEYS).map(Self);
        }
        // An error about a long body is not worth a copy of it in memory.
        let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::NotUtf8)?;
        let list = Self::of_long(text.strip_prefix('\u{feff}').unwrap_or(text));
        let list = list.filter(|_| is_json);
        list.ok_or_else(|| {
            let why = format!(
                "'featureKeys' must be a list of at most {} strings",
                Self::MAX
            );
            let most = text.floor_char_boundary(MAX_INPUT_BYTES);
            let input = format!("{}…", &text[..most]);
            unacceptable("featureKeys", &why, input.into())
        })
    }
}

impl JsonObject {
    /// Reads a field.
    ///
    /// # Errors
    /// [`ApiError::Invalid`].
    pub(super) fn read<F: Field>(&mut self, field: &F) -> Result<F::Value, ApiError> {
        field.take(self)
    }

    /// Whether a field is there.
    pub(super) fn has(&self, field: &impl Described) -> bool {
        self.0.contains_key(field.name())
    }

    /// The value of a required field, of any type.
    fn remove(&mut self, field: &'static str) -> Result<Value, ApiError> {
        let missing = || missing(&["body", field], Value::Object(self.0.clone()));
        match self.0.contains_key(field) {
            true => Ok(self.0.swap_remove(field).unwrap_or_default()),
            false => Err(missing()),
        }
    }
}

/// The error for an invalid query.
pub(super) fn unacceptable_query(why: &str) -> ApiError {
    invalid("value_error", &["query"], why, Value::Null)
}

/// The error for an invalid value of the right type.
pub(super) fn unacceptable(field: &'static str, why: &str, value: Value) -> ApiError {
    invalid(
        "value_error",
        &["body", field],
        &format!("Value error, {why}"),
        value,
    )
}

/// The error for a string that is longer than `most` characters.
pub(super) fn too_long(field: &'static str, text: String, most: usize) -> ApiError {
    ApiError::Invalid(Box::new(Invalid {
        kind: "string_too_long",
        loc: vec!["body".into(), field.into()],
        msg: format!("String should have at most {most} characters"),
        input: shortened(text.into()),
        ctx: Some(json!({ "max_length": most })),
    }))
}

/// A body that is not declared as JSON is a string, which is then rejected because it is not an
/// object.
async fn read(request: Request) -> Result<Option<Value>, ApiError> {
    let is_json = is_json(content_type(request.headers()));
    parse(&collect(request).await?, is_json)
}

/// A body in one piece, within its limits.
async fn collect(request: Request) -> Result<Bytes, ApiError> {
    let body = request.into_body().collect().await;
    Ok(body.map_err(|_| ApiError::BrokenOff)?.to_bytes())
}

fn parse(bytes: &[u8], is_json: bool) -> Result<Option<Value>, ApiError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if !is_json {
        return Ok(Some(String::from_utf8_lossy(bytes).into_owned().into()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| not_json(text, &error))
}

fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes)
}

/// Like FastAPI: `application/json` and `application/*+json`; and, like its older releases, a body
/// without a content type.
pub(super) fn is_json(content_type: Option<&[u8]>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let essence = text_of(content_type).unwrap_or_default();
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
        input: shortened(input),
        ctx: None,
    }))
}

/// The input as shown in an error: complete, or the beginning of its JSON.
fn shortened(input: Value) -> Value {
    let mut json = Beginning(Vec::new());
    if serde_json::to_writer(&mut json, &input).is_ok() {
        return input;
    }
    let mut beginning = String::from_utf8_lossy(&json.0).into_owned();
    // The cut may be within a character.
    beginning.truncate(beginning.trim_end_matches('\u{fffd}').len());
    beginning.push('…');
    beginning.into()
}

/// Takes the first [`MAX_INPUT_BYTES`], and then returns an error.
struct Beginning(Vec<u8>);

impl std::io::Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = MAX_INPUT_BYTES - self.0.len();
        if room == 0 && !bytes.is_empty() {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(room);
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_at_most_the_beginning_of_what_was_sent() {
        let fits = json!("x".repeat(MAX_INPUT_BYTES - 2));
        assert_eq!(shortened(fits.clone()), fits);
        for long in [
            json!("x".repeat(MAX_INPUT_BYTES - 1)),
            json!("門".repeat(MAX_INPUT_BYTES)),
            json!({"a": vec![1; MAX_INPUT_BYTES]}),
            json!({"\u{1}".repeat(8_000): []}),
        ] {
            let shown = shortened(long.clone());
            let shown = shown.as_str().unwrap();
            let beginning = shown.strip_suffix('…').unwrap();
            assert!(long.to_string().starts_with(beginning), "{shown}");
            assert!((MAX_INPUT_BYTES - 3..=MAX_INPUT_BYTES).contains(&beginning.len()));
        }
    }

    #[test]
    fn a_long_list_is_read_like_a_short_one() {
        let read = |text: &str| FeatureKeys::of_long(text).map(|it| it.0);
        let keys = vec!["a".to_owned(), "門".to_owned()];
        for text in [
            r#"{"featureKeys":["a","門"]}"#,
            r#" {"x":[[{}],1e5],"featureKeys":["\u0061","門"],"y":{}}"#,
        ] {
            assert_eq!(read(text), Some(keys.clone()), "{text}");
        }
        for text in [
            r#"[["a"]]"#,
            r#"{"featureKeys":"a"}"#,
            r#"{"featureKeys":["a",1]}"#,
            r#"{"featureKeys":["a"]} x"#,
            r#"{"other":["a"]}"#,
            &json!({"featureKeys": vec!["a"; 1001]}).to_string(),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let most = json!({"featureKeys": vec!["a"; 1000]}).to_string();
        assert_eq!(read(&most).unwrap().len(), 1000);
    }
}

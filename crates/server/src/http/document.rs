//! The `OpenAPI` document as a whole: what the descriptions of single operations and types
//! cannot say, because it is a rule or applies to many of them.

use license_core::feature::FeatureKey;
use license_core::seat::{
    DEFAULT_MOVES, DEFAULT_MOVES_PERIOD_DAYS, MAX_MOVES, MAX_MOVES_PERIOD_DAYS,
};
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, openapi};

use crate::http::licenses::MAX_TEXT_CHARS;
use crate::licensing::catalogue::UNLIMITED;
use crate::licensing::issue::{MAX_CUSTOMER_CHARS, MAX_SEATS};
use crate::licensing::keys::{DEFAULT_OVERLAP_DAYS, MAX_OVERLAP_DAYS};
use crate::licensing::status::MAX_MESSAGE_CHARS;

/// No text in a body may contain a NUL, which no database stores.
const NO_NUL: &str = r"^[^\u0000]*$";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Foxsight License Server",
        description = "What License Clients ask, and the administration of licenses, seats, the \
            fleet, signing keys and the audit log. The administration needs the ADMIN_TOKEN as \
            a bearer token."
    ),
    modifiers(&Token)
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// The document without operations.
pub(super) fn empty() -> openapi::OpenApi {
    Document::openapi()
}

/// The JSON of the document with all operations.
pub(super) fn to_json(document: &openapi::OpenApi) -> String {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let mut paths = document["paths"].take();
    if let Some(schemas) = document.pointer_mut("/components/schemas") {
        for (schema, field, bounds) in bounds() {
            let is_known = set(schemas, schema, field, bounds);
            debug_assert!(is_known, "{schema} has no field {field}");
        }
        for (path, item) in paths.as_object_mut().into_iter().flatten() {
            let operations = item.as_object_mut().into_iter().flat_map(Map::values_mut);
            operations.for_each(|operation| complete(operation, path, schemas));
        }
    }
    document["paths"] = paths;
    document.to_string()
}

/// Adds who may use an operation, and what its body has to be.
fn complete(operation: &mut Value, path: &str, schemas: &mut Value) {
    let is_administration = path.starts_with("/api/admin/");
    if is_administration {
        operation["security"] = json!([{"token": []}]);
    }
    let Some(body) = operation.get_mut("requestBody") else {
        return;
    };
    let schema = body.pointer("/content/application~1json/schema/$ref");
    let Some(schema) = schema.and_then(Value::as_str).map(str::to_owned) else {
        return;
    };
    forbid_nul(schemas, &schema);
    // A missing body counts as {} there.
    if is_administration && schemas[name_of(&schema)].get("required").is_none() {
        body["required"] = false.into();
    }
}

fn name_of(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

/// Says of all texts in a body that they contain no NUL.
fn forbid_nul(schemas: &mut Value, reference: &str) {
    let fields = schemas[name_of(reference)].get_mut("properties");
    let mut nested = Vec::new();
    for field in fields
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
    {
        if let Some(reference) = field["$ref"].as_str() {
            nested.push(reference.to_owned());
        } else if let Some(items) = field.get_mut("items") {
            items["pattern"] = NO_NUL.into();
        } else if is_free_text(field) {
            field["pattern"] = NO_NUL.into();
        }
    }
    for reference in nested {
        forbid_nul(schemas, &reference);
    }
}

fn is_free_text(schema: &Value) -> bool {
    let is_text = match &schema["type"] {
        Value::Array(types) => types.contains(&"string".into()),
        kind => kind == "string",
    };
    is_text && schema.get("format").is_none()
}

/// What the rules accept, for fields of bodies: schema, pointer and bounds.
fn bounds() -> Vec<(&'static str, &'static str, Value)> {
    let whole = |min: i64, max: u64| json!({"minimum": min, "maximum": max});
    let up_to = |max: usize| json!({"maxLength": max});
    let filled_up_to = |max: usize| json!({"minLength": 1, "maxLength": max});
    let default = |number: u32| json!({"default": number});
    let limit = whole(UNLIMITED, i64::MAX.unsigned_abs());
    let amount = whole(0, u64::MAX);
    let mut bounds = vec![
        ("IssueBody", "customer", up_to(MAX_CUSTOMER_CHARS)),
        ("IssueBody", "seats", whole(1, MAX_SEATS.into())),
        ("IssueBody", "moves", whole(0, MAX_MOVES.into())),
        ("IssueBody", "moves", default(DEFAULT_MOVES)),
        (
            "IssueBody",
            "movesPeriodDays",
            whole(1, MAX_MOVES_PERIOD_DAYS.into()),
        ),
        (
            "IssueBody",
            "movesPeriodDays",
            default(DEFAULT_MOVES_PERIOD_DAYS),
        ),
        ("IssueBody", "maxCameras", limit.clone()),
        ("IssueBody", "maxUsers", limit.clone()),
        ("IssueBody", "maxStorageGb", limit),
        (
            "IssueBody",
            "with/items",
            filled_up_to(FeatureKey::MAX_CHARS),
        ),
        ("StatusMessage", "message", up_to(MAX_MESSAGE_CHARS)),
        (
            "RotateBody",
            "overlapDays",
            whole(0, MAX_OVERLAP_DAYS.into()),
        ),
        (
            "RotateBody",
            "overlapDays",
            default(DEFAULT_OVERLAP_DAYS.into()),
        ),
        ("UsageMetrics", "camerasInUse", amount.clone()),
        ("UsageMetrics", "usersActive", amount.clone()),
        ("UsageMetrics", "storageUsedGb", amount.clone()),
        ("SystemInfo", "cpu_count", amount),
    ];
    for schema in [
        "ActivateRequest",
        "ValidateRequest",
        "HeartbeatRequest",
        "DeactivateRequest",
    ] {
        bounds.push((schema, "licenseKey", up_to(MAX_TEXT_CHARS)));
        bounds.push((schema, "hardwareId", filled_up_to(MAX_TEXT_CHARS)));
    }
    for (schema, field) in [
        ("ActivateRequest", "installationId"),
        ("ActivateRequest", "installationName"),
        ("ActivateRequest", "installationVersion"),
        ("HeartbeatRequest", "installationId"),
    ] {
        bounds.push((schema, field, up_to(MAX_TEXT_CHARS)));
    }
    bounds
}

/// Adds to the schema of a field; answers whether there is such a field.
fn set(schemas: &mut Value, schema: &str, field: &str, bounds: Value) -> bool {
    let field = schemas.pointer_mut(&format!("/{schema}/properties/{field}"));
    match (field.and_then(Value::as_object_mut), bounds) {
        (Some(field), Value::Object(bounds)) => {
            if bounds.contains_key("maximum") {
                // It would be a second bound.
                field.shift_remove("format");
            }
            field.extend(bounds);
            true
        }
        _ => false,
    }
}

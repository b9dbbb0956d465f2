//! The `OpenAPI` document as a whole: what the descriptions of single operations and types
//! cannot say, because it is a rule or applies to many of them.

use license_core::add_on::MAX_ADD_ON_GRANTS;
use license_core::amendment::{MAX_GRACE_HOURS, MAX_LEASE_HOURS, MAX_OFFLINE_DAYS};
use license_core::feature::FeatureKey;
use license_core::idempotency::MAX_KEY_CHARS;
use license_core::plan;
use license_core::seat::{
    DEFAULT_MOVES, DEFAULT_MOVES_PERIOD_DAYS, MAX_MOVES, MAX_MOVES_PERIOD_DAYS, MAX_SEATS,
};
use license_core::trial::MAX_STARTS;
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, openapi};

use crate::http::site_messages::MAX_TEXT_CHARS;
use crate::licensing::amend::{MAX_ORDER_CHARS, MAX_REASON_CHARS};
use crate::licensing::catalogue::UNLIMITED;
use crate::licensing::customers::MAX_CUSTOMER_CHARS;
use crate::licensing::customers::{MAX_CONTACTS, MAX_NOTES_CHARS};
use crate::licensing::key_changes::{DEFAULT_OVERLAP_DAYS, MAX_OVERLAP_DAYS};
use crate::licensing::status::MAX_MESSAGE_CHARS;
use crate::licensing::tokens::{MAX_NAME_CHARS, MAX_NOTE_CHARS};

/// No text in a body may contain a NUL, which no database stores.
const NO_NUL: &str = r"^[^\u0000]*$";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Foxsight License Server",
        description = "The API for License Clients, and for the administration of licenses, seats, \
                       the fleet, signing keys, tokens and the audit log. Administration requires \
                       a token created by 'license-server tokens add', or the ADMIN_TOKEN, as a \
                       bearer token."
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
        set_bounds(schemas);
        schemas["IssueBody"]["anyOf"] = json!([{"required": ["plan"]}, {"required": ["tier"]}]);
        for (path, item) in paths.as_object_mut().into_iter().flatten() {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                complete(operation, path, schemas);
                if method != "get" {
                    add_idempotency_key(operation);
                }
            }
        }
    }
    document["paths"] = paths;
    document.to_string()
}

/// Adds who may use an operation, and the type of its body.
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
    let body_schema = &schemas[name_of(&schema)];
    let needs_fields = ["required", "anyOf"].map(|it| body_schema.get(it).is_some());
    if is_administration && needs_fields == [false, false] {
        body["required"] = false.into();
    }
}

/// Adds the header that every change accepts, and the errors that it can have.
fn add_idempotency_key(operation: &mut Value) {
    let key = json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "A new random text for each call, such as a UUID. Repeating a call with its \
            key within 24 hours returns the first answer, and changes nothing again.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_KEY_CHARS,
            // One in quotation marks is the same key as without them.
            "pattern": "^[!#-~][!-~]*$",
        },
    });
    match operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
    {
        Some(parameters) => parameters.push(key),
        None => operation["parameters"] = json!([key]),
    }
    let codes = "`idempotency_key_reused`, `still_processing` or `answer_missing`: the \
                 Idempotency-Key was used before";
    for (status, errors) in [
        ("400", "`bad_request`: a header is invalid"),
        ("409", codes),
    ] {
        match operation["responses"].get_mut(status) {
            None => {
                let schema = json!({"$ref": "#/components/schemas/ErrorBody"});
                let content = json!({"application/json": {"schema": schema}});
                operation["responses"][status] = json!({"description": errors, "content": content});
            }
            Some(described) if status == "409" => {
                let before = described["description"].as_str().unwrap_or_default();
                let before = before.trim_end_matches('.');
                described["description"] = format!("{before}. {errors}").into();
            }
            Some(_) => {}
        }
    }
}

fn name_of(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

/// Declares that texts in bodies contain no NUL.
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
        } else if is_free_text(field) && field.get("pattern").is_none() {
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
    is_text && schema.get("format").is_none() && schema.get("pattern").is_none()
}

/// The schemas that contain the terms of a license.
const WITH_TERMS: [&str; 3] = ["IssueBody", "AmendBody", "PlanTerms"];

/// What the rules accept as these terms.
fn term_bounds() -> Value {
    json!({
        "seats": {"minimum": 1, "maximum": MAX_SEATS},
        "moves": {"minimum": 0, "maximum": MAX_MOVES},
        "movesPeriodDays": {"minimum": 1, "maximum": MAX_MOVES_PERIOD_DAYS},
        "leaseHours": {"minimum": 1, "maximum": MAX_LEASE_HOURS},
        "graceHours": {"minimum": 0, "maximum": MAX_GRACE_HOURS},
        "offlineDays": {"minimum": 1, "maximum": MAX_OFFLINE_DAYS},
    })
}

/// What the rules accept, by schema and by pointer from its fields.
fn bounds() -> Value {
    let limit = json!({"minimum": UNLIMITED, "maximum": i64::MAX});
    let text = json!({"maxLength": MAX_TEXT_CHARS});
    let customer = json!({
        "name": {"minLength": 1, "maxLength": MAX_CUSTOMER_CHARS},
        "reference": text,
        "contacts": {"maxItems": MAX_CONTACTS},
        "notes": {"maxLength": MAX_NOTES_CHARS},
    });
    json!({
        "IssueBody": {
            "customer": {"maxLength": MAX_CUSTOMER_CHARS},
            "maxCameras": limit,
            "maxUsers": limit,
            "maxStorageGb": limit,
            "with/items": {"minLength": 1, "maxLength": FeatureKey::MAX_CHARS},
        },
        "AmendBody": {
            "reason": {"maxLength": MAX_REASON_CHARS},
            "order": {"maxLength": MAX_ORDER_CHARS},
            "customer": {"maxLength": MAX_CUSTOMER_CHARS},
            "end/items": {"minLength": 1, "maxLength": FeatureKey::MAX_CHARS},
        },
        "Addition": {"key": {"minLength": 1, "maxLength": FeatureKey::MAX_CHARS}},
        "AddOnBody": {
            "add": {"maxItems": MAX_ADD_ON_GRANTS},
            "order": {"maxLength": MAX_ORDER_CHARS},
            "note": {"maxLength": MAX_REASON_CHARS},
        },
        "AddOnGrant": {"key": {"minLength": 1, "maxLength": FeatureKey::MAX_CHARS}},
        "RefundBody": {"reason": {"maxLength": MAX_REASON_CHARS}},
        "CustomerBody": customer,
        "EditBody": customer,
        "Contact": {"name": text, "email": text, "phone": text},
        "TokenBody": {
            "name": {"minLength": 1, "maxLength": MAX_NAME_CHARS, "pattern": "^[a-z][a-z0-9._-]*$"},
            "note": {"maxLength": MAX_NOTE_CHARS},
        },
        "StatusMessage": {"message": {"maxLength": MAX_MESSAGE_CHARS}},
        "RotateBody": {
            "overlapDays": {
                "minimum": 0,
                "maximum": MAX_OVERLAP_DAYS,
                "default": DEFAULT_OVERLAP_DAYS,
            },
        },
        "TrialCodeBody": {
            "max": {"minimum": 1, "maximum": MAX_STARTS},
            "maxADay": {"minimum": 1, "maximum": MAX_STARTS},
            "note": {"maxLength": MAX_REASON_CHARS},
        },
    })
}

/// What the rules of the messages of sites accept.
fn site_bounds() -> Value {
    let amount = json!({"minimum": 0, "maximum": u64::MAX});
    let text = json!({"maxLength": MAX_TEXT_CHARS});
    let hardware_id = json!({"minLength": 1, "maxLength": MAX_TEXT_CHARS});
    json!({
        "ActivateRequest": {
            "licenseKey": text,
            "hardwareId": hardware_id,
            "installationId": text,
            "installationName": text,
            "installationVersion": text,
        },
        "ValidateRequest": {"licenseKey": text, "hardwareId": hardware_id},
        "HeartbeatRequest": {
            "licenseKey": text,
            "hardwareId": hardware_id,
            "installationId": text,
        },
        "DeactivateRequest": {"licenseKey": text, "hardwareId": hardware_id},
        "TrialRequest": {
            "code": text,
            "secret": {"pattern": "^(|[A-Za-z0-9_-]{43,86})$"},
            "hardwareId": hardware_id,
            "installationId": {"minLength": 1, "maxLength": MAX_TEXT_CHARS},
            "installationName": text,
            "installationVersion": text,
        },
        "PreviewRequest": {"licenseKey": text, "hardwareId": hardware_id},
        "RedeemRequest": {"licenseKey": text, "addOnKey": text, "hardwareId": hardware_id},
        "UsageMetrics": {
            "camerasInUse": amount,
            "usersActive": amount,
            "storageUsedGb": amount,
        },
        "SystemInfo": {"cpu_count": amount},
    })
}

/// What the rules of plans accept.
fn plan_bounds() -> Value {
    json!({
        "PublishBody": {
            "name": {"pattern": "^[a-z0-9_-]{1,64}$"},
            "version": {"minimum": 1},
        },
        "Plan": {
            "title": {"minLength": 1, "maxLength": plan::MAX_TITLE_CHARS},
            "description": {"maxLength": plan::MAX_DESCRIPTION_CHARS},
            "entitlements": {"maxItems": plan::MAX_PLAN_ENTITLEMENTS},
        },
        "PlanTerms": {
            "moves": {"default": DEFAULT_MOVES},
            "movesPeriodDays": {"default": DEFAULT_MOVES_PERIOD_DAYS},
        },
        "PlanEntitlement": {"key": {"minLength": 1, "maxLength": FeatureKey::MAX_CHARS}},
    })
}

/// Adds the bounds to the schemas.
fn set_bounds(schemas: &mut Value) {
    let terms = term_bounds();
    for schema in WITH_TERMS {
        set_bounds_of(schemas, schema, &terms);
    }
    let all = [bounds(), site_bounds(), plan_bounds()];
    for (schema, fields) in all.iter().filter_map(Value::as_object).flatten() {
        set_bounds_of(schemas, schema, fields);
    }
}

fn set_bounds_of(schemas: &mut Value, schema: &str, fields: &Value) {
    for (field, bounds) in fields.as_object().into_iter().flatten() {
        let described = schemas.pointer_mut(&format!("/{schema}/properties/{field}"));
        let described = described.and_then(Value::as_object_mut);
        debug_assert!(described.is_some(), "{schema} has no field {field}");
        let (Some(described), Some(bounds)) = (described, bounds.as_object()) else {
            continue;
        };
        if bounds.contains_key("maximum") {
            // It would be a second bound.
            described.shift_remove("format");
        }
        described.extend(bounds.clone());
    }
}

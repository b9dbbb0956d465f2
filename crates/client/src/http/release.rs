//! The installed release, and whether the license covers another one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use license_core::amendment::UpdateRule;
use license_core::feature::FeatureKey;
use license_core::license::License;
use license_core::release::{Release, coverage, parse_released, parse_version};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::body::JsonObject;
use crate::http::body::field::{Flag, Parsed, Text, any_of, body, object};
use crate::http::error::{ApiError, BodyErrors, ErrorResponse};
use crate::http::instant::naive;
use crate::knowledge::snapshot::Snapshot;
use crate::licensing::release::{Upgrade, check_upgrade, verify, warning};
use crate::release_document::ReleaseDocument;

/// The installed release, for which there is a signed document.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstalledRelease {
    /// Null if the document cannot be used.
    version: Option<String>,
    /// UTC; null if the document cannot be used.
    released: Option<String>,
    /// Whether every license covers it.
    exempt: bool,
    /// `covered`, `not_covered` or `unknown`.
    coverage: &'static str,
    /// `none`, `warning` or `features_off`: licensed features are off with the reason
    /// `update_not_covered`.
    consequence: &'static str,
    /// A human-readable warning, or null.
    message: Option<String>,
}

impl InstalledRelease {
    /// `None` if there is no document.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        let consequence = snapshot.release_consequence().code();
        let document = match snapshot.release() {
            ReleaseDocument::Absent => return None,
            ReleaseDocument::Verified(document) => document,
            ReleaseDocument::Unusable(_) => {
                return Some(Self {
                    version: None,
                    released: None,
                    exempt: false,
                    coverage: "unknown",
                    consequence,
                    message: warning(snapshot),
                });
            }
        };
        let release = document.release();
        Some(Self {
            version: Some(release.version.clone()),
            released: Some(naive(release.released)),
            exempt: release.exempt,
            coverage: coverage(snapshot.license(), release).code(),
            consequence,
            message: warning(snapshot),
        })
    }
}

/// Maximum length of a document in a request, in characters: all of the body fits into 8 KiB.
const MAX_DOCUMENT_CHARS: usize = 4 * 1024;

const DOCUMENT: Text = Text::new("document", "The signed document of the release")
    .not_blank()
    .max_chars(MAX_DOCUMENT_CHARS);
const VERSION: Parsed<String> = Parsed {
    text: Text::new("version", "The version of the release").example("3.2.0"),
    pattern: r"^[0-9][0-9A-Za-z.+_\-]{0,63}$",
    formats: &[],
    parse: parse_version,
};
const RELEASED: Parsed<DateTime<Utc>> = Parsed {
    text: Text::new(
        "released",
        "Release date: a day, which stands for 00:00 UTC on that day, or an exact time",
    )
    .example("2027-01-15"),
    pattern: r"^[0-9]{4}-[0-9]{2}-[0-9]{2}",
    formats: &["date", "date-time"],
    parse: parse_released,
};
const EXEMPT: Flag = Flag::optional("exempt", "Whether every license covers the release");

body!(
    UpgradeCheckRequest,
    any_of([
        object(
            "The release in a signed document; other fields are ignored",
            &[&DOCUMENT]
        ),
        object("A release", &[&VERSION, &RELEASED, &EXEMPT]),
    ])
);

/// The result.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpgradeCheckResponse {
    version: String,
    /// UTC.
    released: String,
    /// Whether every license covers it.
    exempt: bool,
    /// `covered`, `not_covered`, or `unknown` if there is no license or its `updatesUntil` cannot be
    /// read.
    coverage: &'static str,
    /// What happens if the release is installed with its signed document: `none`, `warning` or
    /// `features_off`.
    consequence: &'static str,
    /// The licensed features in force at the site, if the license does not cover the release.
    features: Vec<String>,
    /// The last instant of the releases that the license covers, as in the license; null if it
    /// covers all.
    updates_until: Option<String>,
    /// `warn` or `enforce`; null if the license covers all releases.
    updates: Option<&'static str>,
    /// A human-readable message.
    message: String,
}

/// Check Upgrade
///
/// Says whether the license covers a release before it is installed, and what would be switched
/// off. Answers from memory, without a call to the License Server.
#[utoipa::path(
    post,
    path = "/api/license/upgrade/check",
    operation_id = "check_upgrade",
    request_body = UpgradeCheckRequest,
    responses(
        (status = 200, description = "The result", body = UpgradeCheckResponse),
        (status = 409, description = "The document cannot be verified: no keys are trusted", body = ErrorResponse),
        BodyErrors,
    )
)]
pub(super) async fn check(
    State(app): State<Arc<App>>,
    mut body: JsonObject,
) -> Result<Json<UpgradeCheckResponse>, ApiError> {
    let release = match body.has(&DOCUMENT) {
        true => {
            let document = body.read(&DOCUMENT)?;
            let verified = verify(&app, &document).map_err(ApiError::ReleaseDocument)?;
            verified.release().clone()
        }
        false => Release {
            version: body.read(&VERSION)?,
            released: body.read(&RELEASED)?,
            exempt: body.read(&EXEMPT)?,
        },
    };
    let snapshot = app.snapshot().clone();
    let entitled = app.entitled.at(&snapshot, app.plausible_time());
    let Upgrade {
        release,
        coverage,
        consequence,
        features,
        message,
    } = check_upgrade(&entitled, release);
    let license = snapshot.license();
    Ok(Json(UpgradeCheckResponse {
        version: release.version,
        released: naive(release.released),
        exempt: release.exempt,
        coverage: coverage.code(),
        consequence: consequence.code(),
        features: features.iter().map(FeatureKey::to_string).collect(),
        updates_until: license
            .and_then(License::updates_until_text)
            .map(str::to_owned),
        updates: license.and_then(update_rule).map(UpdateRule::as_str),
        message,
    }))
}

/// What happens with releases that the license does not cover; `None` if it covers all.
pub(super) fn update_rule(license: &License) -> Option<UpdateRule> {
    license.updates_until_text().map(|_| license.update_rule())
}

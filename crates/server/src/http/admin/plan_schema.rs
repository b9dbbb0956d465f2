//! The JSON of plans and of the catalogue, as the `OpenAPI` document describes it. `license_core`
//! reads and writes it.
#![expect(dead_code, reason = "describes JSON that other types read and write")]

use utoipa::ToSchema;

use super::amendments::addition_schema;
use crate::http::given::UpdateRuleText;

/// What a version of a plan consists of.
#[derive(ToSchema)]
#[schema(as = Plan, rename_all = "camelCase")]
pub(super) struct PlanText {
    /// Its display name, at most 100 characters.
    title: String,
    /// What it is for, at most 1000 characters.
    #[schema(required = false)]
    description: String,
    /// Whether it is for trying the product out.
    #[schema(required = false)]
    trial: bool,
    /// Whether it is for add-on keys: then it can have at most 100 entitlements, and neither a duration
    /// nor terms.
    #[schema(required = false)]
    add_on: bool,
    /// How long a license lasts, in years, months, weeks and days (ISO 8601): `P1Y`, `P90D`. Without
    /// it, licenses never end.
    duration: Option<String>,
    /// When the duration begins. An activation sets the end of the license.
    #[schema(required = false, inline, rename = "durationFrom")]
    duration_from: DurationFromText,
    /// One seat and the default number of moves, unless stated.
    #[schema(required = false)]
    terms: PlanTermsText,
    /// At most 500, each with a different key.
    #[schema(required = false)]
    entitlements: Vec<PlanEntitlementText>,
}

/// When a license is issued or starts, or when a machine first activates it.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum DurationFromText {
    Issue,
    FirstActivation,
}

/// The terms of licenses that are sold as a plan.
#[derive(ToSchema)]
#[schema(as = PlanTerms, rename_all = "camelCase")]
struct PlanTermsText {
    /// Maximum number of machines at the same time.
    seats: u32,
    /// How many times per period a seat may move to another machine before the old machine's lease
    /// has ended.
    #[schema(required = false)]
    moves: u32,
    /// Length of the period for moves, in days.
    #[schema(required = false)]
    moves_period_days: u32,
    /// How long a lease is valid; by default as set on the License Server.
    lease_hours: Option<u32>,
    /// Length of the grace period after the lease; by default as set on the License Server.
    grace_hours: Option<u32>,
    /// Length of the lease of a site without internet; by default as set on the License Server.
    offline_days: Option<u32>,
    /// For how long releases of the product are covered, such as `P1Y`; without it, all are covered.
    updates_for: Option<String>,
    #[schema(required = false, inline)]
    updates: UpdateRuleText,
}

/// An entitlement of a plan.
#[derive(ToSchema)]
#[schema(as = PlanEntitlement)]
struct PlanEntitlementText {
    /// The feature, or what is counted: a key of the catalogue.
    key: String,
    #[schema(required = false, schema_with = addition_schema)]
    quantity: String,
    /// For how long from the start of the license, such as `P90D`.
    #[schema(rename = "for")]
    duration: Option<String>,
}

/// Something that can be sold.
#[derive(ToSchema)]
#[schema(as = CatalogueEntry)]
pub(super) struct CatalogueEntryText {
    /// The feature, or what is counted.
    key: String,
    #[schema(inline)]
    kind: KindText,
    /// Its display name.
    name: String,
    /// What one unit is called; empty for a feature.
    unit: String,
    /// What it is for.
    description: String,
}

/// A feature is on or off; for a count, licenses grant a number.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum KindText {
    Feature,
    Count,
}

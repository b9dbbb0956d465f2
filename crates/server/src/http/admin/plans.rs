//! Plans, and the catalogue of what can be sold.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use license_core::catalogue::CatalogueEntry;
use license_core::plan::{InvalidPlan, Plan, PlanChoice};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plan_schema::{CatalogueEntryText, PlanText};
use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{AdminErrors, BodyErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::Body;
use crate::licensing::plans::{FindPlanError, find_plan, plan_versions, publish as publish_plan};
use crate::store::catalogue;
use crate::store::plans::{PublishedPlan, newest};

/// A plan in the address by which licenses are filtered, if there is one.
///
/// # Errors
/// If there is no such plan, or the database returns an error.
pub(super) async fn known_plan(
    db: &impl ConnectionTrait,
    text: Option<&str>,
) -> Result<Option<PlanChoice>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let invalid =
        |why: String| ApiError::InvalidParameter(format!("invalid parameters: plan: {why}"));
    let plan: PlanChoice = text
        .parse()
        .map_err(|error: InvalidPlan| invalid(error.to_string()))?;
    match find_plan(db, &plan).await {
        Ok(_) => Ok(Some(plan)),
        Err(FindPlanError::Store(error)) => Err(error.into()),
        Err(error) => Err(invalid(error.to_string())),
    }
}

/// A published version of a plan.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PublishedPlan)]
pub(crate) struct ShownPlan {
    /// The plan.
    name: String,
    /// Its version, starting at 1.
    version: u32,
    /// When it was published; `null` for the plans that every License Server has.
    published_at: Option<DateTime<Utc>>,
    /// Who published it.
    author: String,
    /// What it consists of.
    #[schema(value_type = PlanText)]
    contents: Plan,
}

impl From<PublishedPlan> for ShownPlan {
    fn from(plan: PublishedPlan) -> Self {
        Self {
            name: plan.version.name,
            version: plan.version.version,
            published_at: plan.published_at,
            author: plan.author,
            contents: plan.contents,
        }
    }
}

/// Plans.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Plans {
    /// At most 1000.
    plans: Vec<ShownPlan>,
}

/// List the newest version of each plan, sorted by name.
#[utoipa::path(
    get, path = "/plans", operation_id = "list_plans", tag = "plans",
    responses(
        (status = 200, description = "The plans", body = Plans),
        AdminErrors,
    )
)]
pub(in crate::http) async fn list(State(app): State<Arc<App>>) -> Result<Json<Plans>, ApiError> {
    let plans = newest(app.store.reader()).await?;
    Ok(shown(plans))
}

/// List all versions of a plan, newest first.
#[utoipa::path(
    get, path = "/plans/{name}", operation_id = "list_plan_versions", tag = "plans",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "The versions", body = Plans),
        AdminErrors,
        (status = 404, body = ErrorBody,
            description = "`not_found`: there is no plan with this name"),
    )
)]
pub(in crate::http) async fn versions(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Plans>, ApiError> {
    let plans = plan_versions(app.store.reader(), &name).await?;
    Ok(shown(plans))
}

fn shown(plans: Vec<PublishedPlan>) -> Json<Plans> {
    Json(Plans {
        plans: plans.into_iter().map(ShownPlan::from).collect(),
    })
}

/// The contents of a plan to publish.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PublishBody {
    /// The plan: 1 to 64 characters from a to z, 0 to 9, `_` and `-`.
    name: String,
    /// Optional: the number of the version that the caller expects to publish. If another version
    /// was published in the meantime, the response is 409.
    version: Option<u32>,
    /// What it consists of.
    #[schema(value_type = PlanText)]
    contents: Plan,
}

/// Publish a plan, or the next version of a plan. A published version never changes.
#[utoipa::path(
    post, path = "/plans", operation_id = "publish_plan", tag = "plans",
    request_body = PublishBody,
    responses(
        (status = 200, description = "The newest version already has these contents",
            body = ShownPlan),
        (status = 201, description = "The new version", body = ShownPlan),
        AdminErrors, BodyErrors,
        (status = 409, body = ErrorBody,
            description = "The version is not the next one, or there are too many plans \
                or versions"),
    )
)]
pub(in crate::http) async fn publish(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(body): Body<PublishBody>,
) -> Result<(StatusCode, Json<ShownPlan>), ApiError> {
    let change = app.change(actor);
    let PublishBody {
        name,
        version,
        contents,
    } = body;
    let publishing = publish_plan(&app.store, &name, version, &contents, &change);
    let (plan, is_new) = publishing.await?;
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(plan.into())))
}

/// What can be sold.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CatalogueEntries {
    /// At most 1000, sorted by key.
    #[schema(value_type = Vec<CatalogueEntryText>)]
    catalogue: Vec<CatalogueEntry>,
}

/// List the features and what is counted, with their names and units.
#[utoipa::path(
    get, path = "/catalogue", operation_id = "list_catalogue", tag = "plans",
    responses(
        (status = 200, description = "The catalogue", body = CatalogueEntries),
        AdminErrors,
    )
)]
pub(in crate::http) async fn list_catalogue(
    State(app): State<Arc<App>>,
) -> Result<Json<CatalogueEntries>, ApiError> {
    let catalogue = catalogue::list(app.store.reader()).await?;
    Ok(Json(CatalogueEntries { catalogue }))
}

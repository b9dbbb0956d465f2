//! Named tokens of the vendor's staff.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::audit::Actor;
use crate::http::access::Access;
use crate::http::answered_errors::{AdminErrors, BodyErrors, QueryErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{Body, Params, expiry_schema, until};
use crate::licensing;
use crate::licensing::tokens::{ShownNamedToken, ShownNewToken, TokenRequest};
use crate::store::admin_tokens::{TokensCursor, count, newest};

/// Which page of the tokens.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct TokensParams {
    /// The `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the tokens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct TokensPage {
    tokens: Vec<ShownNamedToken>,
    /// The number of tokens.
    total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// List the tokens, newest first, including revoked ones.
#[utoipa::path(
    get, path = "/tokens", operation_id = "list_tokens", tag = "tokens", params(TokensParams),
    responses(
        (status = 200, description = "A page of tokens", body = TokensPage),
        AdminErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<TokensParams>,
) -> Result<Json<TokensPage>, ApiError> {
    let start = page_start::<TokensCursor>(params.cursor.as_deref(), |_| true)?;
    let size = u64::from(params.limit.get());
    let (db, now) = (app.store.reader(), app.clock.now());
    let total = count(db).await?;
    let found = newest(db, start.after(), size).await?;
    let next_cursor = found.next_cursor(|last| TokensCursor { below: last.id });
    let tokens = found.rows.into_iter();
    let tokens = tokens.map(|it| ShownNamedToken::of(it, now));
    Ok(Json(TokensPage {
        tokens: tokens.collect(),
        total,
        next_cursor,
    }))
}

/// The token to create.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TokenBody {
    /// The author of changes that are made with it: lower-case letters, digits, `.`, `-` and `_`,
    /// starting with a letter. At most one token that is not revoked can have this name.
    name: String,
    #[serde(default, deserialize_with = "until")]
    #[schema(schema_with = expiry_schema)]
    expires_at: Option<DateTime<Utc>>,
    /// A free-text note.
    note: Option<String>,
}

/// Create a token. This is the only response that contains it.
#[utoipa::path(
    post, path = "/tokens", operation_id = "add_token", tag = "tokens", request_body = TokenBody,
    responses(
        (status = 201, description = "The new token", body = ShownNewToken),
        AdminErrors, BodyErrors,
        (status = 409, body = ErrorBody,
            description = "A token with this name already exists, or there are too many tokens"),
    )
)]
pub(in crate::http) async fn add(
    State(app): State<Arc<App>>,
    State(access): State<Arc<Access>>,
    Extension(actor): Extension<Actor>,
    Body(body): Body<TokenBody>,
) -> Result<(StatusCode, Json<ShownNewToken>), ApiError> {
    let request = TokenRequest {
        name: body.name,
        expires_at: body.expires_at,
        note: body.note,
    };
    let change = app.change(actor);
    let (token, known) = licensing::tokens::add(&app.store, &request, &change).await?;
    access.follow_addition().await;
    let known = ShownNamedToken::of(known, change.at);
    Ok((StatusCode::CREATED, Json(ShownNewToken { token, known })))
}

/// Revoke a token, and end the console sessions that were started with it.
#[utoipa::path(
    delete, path = "/tokens/{name}", operation_id = "revoke_token", tag = "tokens",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "The token", body = ShownNamedToken),
        AdminErrors,
        (status = 404, body = ErrorBody,
            description = "`not_found`: no token has this name, or it has already been revoked"),
    )
)]
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    State(access): State<Arc<Access>>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<ShownNamedToken>, ApiError> {
    let change = app.change(actor);
    let token = licensing::tokens::revoke(&app.store, &name, &change).await?;
    access.forget_token(token.id);
    Ok(Json(ShownNamedToken::of(token, change.at)))
}

//! Which errors the `OpenAPI` document lists for an operation. `error.rs` decides which error
//! gets which status code.
#![expect(
    dead_code,
    reason = "describes answers, which are made by `ApiError` alone"
)]

use utoipa::IntoResponses;

use super::error::ErrorBody;

/// Errors of every operation of the administration.
#[derive(IntoResponses)]
pub(super) enum AdminErrors {
    /// `unauthorized`: the token is missing or wrong. `token_expired`: its end has passed.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// `no_admin_token`: the License Server has no named token and no `ADMIN_TOKEN`.
    #[response(status = 403)]
    NoToken(ErrorBody),
    /// `unknown_host`: the host name is not in `ALLOWED_HOSTS`.
    #[response(status = 421)]
    UnknownHost(ErrorBody),
    /// `too_many_tries`: too many wrong tokens.
    #[response(status = 429)]
    TooManyTries(ErrorBody),
    /// `internal`: see the log of the License Server.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// `unavailable` or `busy`: the database cannot be used at present. `outcome_unknown`: a change
    /// may have been stored. `not_signing`: the License Server's clock may be wrong.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// Errors of every operation that sites use.
#[derive(IntoResponses)]
pub(super) enum SiteErrors {
    /// `too_many_calls`: the caller has exceeded its rate limit; `Retry-After` says how long to
    /// wait.
    #[response(status = 429)]
    TooManyCalls(ErrorBody),
    /// `internal`: see the log of the License Server.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// `busy`, `not_signing`, `database_older_than_site`, `unavailable` or `outcome_unknown`.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// Errors of calls that prove an installation key.
#[derive(IntoResponses)]
pub(super) enum ProofErrors {
    /// `unproven`: the call does not prove the installation key of the machine's seat, or the license
    /// requires a proof. `proof_outdated`: another proof must name the number in `X-License-Seq`.
    #[response(status = 401)]
    Unproven(ErrorBody),
}

/// Errors of operations that take a body.
#[derive(IntoResponses)]
pub(super) enum BodyErrors {
    /// `bad_request`: the body or a header is invalid.
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// `timeout`: the body did not arrive in time.
    #[response(status = 408)]
    TimedOut(ErrorBody),
    /// `body_too_long`: the body exceeds the License Server's limit.
    #[response(status = 413)]
    TooLong(ErrorBody),
}

/// Errors of operations that take parameters in the query.
#[derive(IntoResponses)]
pub(super) enum QueryErrors {
    /// `invalid_parameter`: a parameter is unknown or has an invalid value.
    #[response(status = 422)]
    Invalid(ErrorBody),
}

/// Errors of operations that a revoked license refuses.
#[derive(IntoResponses)]
pub(super) enum RevokedErrors {
    /// `conflict`: the license was revoked, which cannot be undone.
    #[response(status = 409)]
    Revoked(ErrorBody),
}

/// Errors of operations on one license.
#[derive(IntoResponses)]
pub(super) enum LicenseErrors {
    /// `not_found`: no license has this id or key.
    #[response(status = 404)]
    NotFound(ErrorBody),
}

/// Errors of operations on one customer.
#[derive(IntoResponses)]
pub(super) enum CustomerErrors {
    /// `not_found`: no customer has this id, name or reference.
    #[response(status = 404)]
    NotFound(ErrorBody),
}

/// Errors of operations on one trial code.
#[derive(IntoResponses)]
pub(super) enum TrialCodeErrors {
    /// `not_found`: there is no such trial code.
    #[response(status = 404)]
    NotFound(ErrorBody),
}

/// Errors of operations on one add-on key.
#[derive(IntoResponses)]
pub(super) enum AddOnErrors {
    /// `not_found`: there is no such add-on key.
    #[response(status = 404)]
    NotFound(ErrorBody),
}

//! How a connection to PostgreSQL is opened.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Error};

use crate::database_url::DatabaseUrl;

/// The options of a connection to PostgreSQL. Poolers reject `extra_float_digits`, which the
/// library would set, and which only values sent as text need.
pub(super) fn postgres_options(url: &DatabaseUrl) -> Result<PgConnectOptions, Error> {
    let options: PgConnectOptions = url.expose().parse()?;
    Ok(options.extra_float_digits(None).disable_statement_logging())
}

//! The amendments of a license that is to be amended by somebody who knows the newest one.

use chrono::{DateTime, Utc};
use license_core::amendment::Amendment;
use sea_orm::ConnectionTrait;

use crate::licensing::amend::AmendError;
use crate::licensing::amendment_words::{all_words, customer_names};
use crate::licensing::current::amendments_at;
use crate::store::licenses::{License, Status};

/// All amendments of a license as they count at `at`, in the order of their numbers. With `after`,
/// that must be the newest one.
///
/// # Errors
/// [`AmendError::Revoked`], and those of [`check_newest`].
pub(super) async fn amendments_to_follow(
    db: &impl ConnectionTrait,
    license: &License,
    after: Option<u32>,
    at: DateTime<Utc>,
) -> Result<Vec<Amendment>, AmendError> {
    if license.status == Status::Revoked {
        return Err(AmendError::Revoked);
    }
    let known = amendments_at(db, &license.id, at).await?;
    if let Some(after) = after {
        check_newest(db, &known, after).await?;
    }
    Ok(known)
}

/// Checks that the newest amendment is `after`, for which a request was made.
///
/// # Errors
/// [`AmendError::Amended`] with what was changed since then, [`AmendError::Field`] for a number that
/// does not exist yet, or if the database returns an error.
async fn check_newest(
    db: &impl ConnectionTrait,
    known: &[Amendment],
    after: u32,
) -> Result<(), AmendError> {
    let newest = known.last().map_or(0, |it| it.number);
    if after > newest {
        return Err(AmendError::Field {
            field: "after".to_owned(),
            why: format!("the newest amendment is {newest}, not {after}"),
        });
    }
    if after == newest {
        return Ok(());
    }
    let names = customer_names(db, known).await?;
    let since = known.iter().filter(|it| it.number > after).map(|it| {
        let changes = all_words(it, known, &names).join(", ");
        format!("{} by {} ({changes})", it.number, it.author)
    });
    Err(AmendError::Amended {
        after,
        newest,
        changes: since.collect::<Vec<_>>().join("; "),
    })
}

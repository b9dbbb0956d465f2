//! Whether the author of a change knows its newest amendment.

use license_core::amendment::Amendment;
use sea_orm::ConnectionTrait;

use crate::licensing::amend::AmendError;
use crate::licensing::amendment_words::{all_words, customer_names};

/// Checks that the newest amendment is `after`, for which a request was made.
///
/// # Errors
/// [`AmendError::Amended`] with what was changed since then, [`AmendError::Field`] for a number that
/// does not exist yet, or if the database returns an error.
pub(super) async fn check_newest(
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

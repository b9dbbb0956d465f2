//! The amendments of a license, for a caller who states the newest one that it knows of.

use chrono::{DateTime, Utc};
use license_core::amendment::Amendment;

use crate::licensing::amend_error::AmendError;
use crate::licensing::amendment_words::{Told, customer_names};
use crate::licensing::current::amendments_at;
use crate::licensing::evaluation::evaluated;
use crate::licensing::item_words::ItemNames;
use crate::store::licenses::{License, Status};
use crate::store::{Store, StoreError};

/// Maximum number of amendments that an error names.
const MAX_NAMED: usize = 10;

/// All amendments of a license as they count at `at`, in the order of their numbers. With `after`,
/// that must be the newest one.
///
/// # Errors
/// [`AmendError::Revoked`], [`AmendError::Amended`] with what was changed since then,
/// [`AmendError::Field`] for a number that does not exist yet, or if the database returns an error.
pub(super) async fn amendments_to_follow(
    store: &Store,
    license: &License,
    after: Option<u32>,
    at: DateTime<Utc>,
) -> Result<Vec<Amendment>, AmendError> {
    if license.status == Status::Revoked {
        return Err(AmendError::Revoked);
    }
    let known = amendments_at(store.reader(), &license.id, at).await?;
    let newest = known.last().map_or(0, |it| it.number);
    match after {
        Some(after) if after > newest => Err(AmendError::Field {
            field: "after".to_owned(),
            why: format!("the newest amendment is {newest}, not {after}"),
        }),
        Some(after) if after < newest => Err(AmendError::Amended {
            after,
            newest,
            changes: changes_since(store, known, after).await?,
        }),
        _ => Ok(known),
    }
}

/// What was changed after an amendment: the newest changes, and the number of the others.
async fn changes_since(
    store: &Store,
    known: Vec<Amendment>,
    after: u32,
) -> Result<String, StoreError> {
    let names = customer_names(store.reader(), &known).await?;
    evaluated(store, move |evaluating| {
        let since = &known[known.partition_point(|it| it.number <= after)..];
        let others = since.len().saturating_sub(MAX_NAMED);
        let named: Vec<&Amendment> = since[others..].iter().collect();
        let items = ItemNames::default();
        let statements = Told::new(evaluating, &known, &names, &items).statements(&named);
        let named = named.iter().zip(statements).map(|(it, statements)| {
            let changes = statements.join(", ");
            format!("{} by {} ({changes})", it.number, it.author)
        });
        let earlier = match others {
            0 => None,
            1 => Some("1 earlier amendment".to_owned()),
            others => Some(format!("{others} earlier amendments")),
        };
        earlier
            .into_iter()
            .chain(named)
            .collect::<Vec<_>>()
            .join("; ")
    })
    .await
}

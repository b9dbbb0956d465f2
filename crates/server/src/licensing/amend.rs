//! Amend a license.
//!
//! An amendment is checked and evaluated before anything is locked (`Prepared`). It is then stored with
//! its audit entry, and with what the license's row then holds, in one transaction that locks the
//! license, if that is still what it was. A preview locks and stores nothing.

mod prepared;
mod request;
mod shown;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use license_core::amendment::{self, Amendment, Effect, Shortfall, shortfall};
use license_core::feature::FeatureKey;
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::audit::{Action, PermittedChange};
use crate::keyed_call::{CREATED, note_answer};
use crate::licensing::amend_error::AmendError;
use crate::licensing::amendment_words::CustomerNames;
use crate::licensing::customers::{Chosen, choose, hold_for_customer};
use crate::licensing::evaluation::in_turn;
use crate::licensing::line_done::Storing;
use crate::licensing::look_up::look_up;
use crate::licensing::newest_amendment::amendments_to_follow;
use crate::store::installations::reported;
use crate::store::licenses::{self, Judged, License};
use crate::store::seats::{self, Seat, SeatsQuery};
use crate::store::{Store, StoreError, amendments};
pub(super) use prepared::{AuditEntry, Prepared};
pub use request::{Addition, AmendRequest, MAX_ORDER_CHARS, MAX_REASON_CHARS};
pub use shown::{ShownAmended, ShownAmendment, quantity_schema};

/// Maximum number of installations that an answer lists.
pub const MAX_INSTALLATIONS: u64 = 1000;

/// An amendment and what it changes.
#[derive(Clone, Debug)]
pub struct Amended {
    /// The license with the amendment.
    pub license: License,
    /// The amendment.
    pub amendment: Amendment,
    /// All amendments of the license: this one is the last.
    pub all: Arc<[Amendment]>,
    /// What it does, one statement for each change, by keys as programs write them.
    pub words: Vec<String>,
    /// Which granted values change, and when.
    pub effects: Vec<Effect>,
    /// What else is different when it takes effect.
    pub differences: Vec<amendment::Change>,
    /// How many machines hold a seat.
    pub seats_held: u64,
    /// How many seats the license has when the amendment applies.
    pub seats: u32,
    /// The machines that hold a seat, at most [`MAX_INSTALLATIONS`].
    pub installations: Vec<Affected>,
    /// The names of the customers that the amendment is about.
    pub customers: CustomerNames,
}

/// A machine that an amendment affects.
#[derive(Clone, Debug)]
pub struct Affected {
    /// The machine and its seat.
    pub seat: Seat,
    /// When it validates next at the latest; `None` if it is not known or has passed.
    pub learns_by: Option<DateTime<Utc>>,
    /// What it last reported to use, where that will be more than is granted.
    pub over: Vec<Over>,
    /// Whether its seat is excess when the amendment applies: its lease is then not extended.
    pub is_excess: bool,
    /// If its seat is excess now: until when it may run; `None` if its lease has ended.
    pub ends_at: Option<DateTime<Utc>>,
}

/// A count that is below what a machine uses. What runs is never stopped by that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// What is counted.
    pub resource: FeatureKey,
    /// The usage that the machine last reported.
    pub used: u64,
    /// How much is granted …
    pub granted: u64,
    /// … and since when.
    pub at: DateTime<Utc>,
}

/// Amends a license. Sites receive the change at their next validation.
///
/// # Errors
/// One [`AmendError`] for each reason; nothing has changed then.
pub async fn amend(
    store: &Store,
    license: &str,
    request: &AmendRequest,
    change: &PermittedChange,
) -> Result<Amended, AmendError> {
    repeated(|| try_amend(store, license, request, change, Storing::ALONE)).await
}

/// The same for a line of a file: exactly once, or with `is_dry_run` without storing it.
///
/// # Errors
/// [`AmendError::Done`] if that was done before, and as [`amend`].
pub async fn amend_once(
    store: &Store,
    license: &str,
    request: &AmendRequest,
    change: &PermittedChange,
    line: &str,
    is_dry_run: bool,
) -> Result<Amended, AmendError> {
    let storing = Storing::of_line(line, is_dry_run);
    repeated(|| try_amend(store, license, request, change, storing)).await
}

/// What [`amend`] would do, without doing it.
///
/// # Errors
/// As [`amend`].
pub async fn preview(
    store: &Store,
    license: &str,
    request: &AmendRequest,
    change: &PermittedChange,
) -> Result<Amended, AmendError> {
    repeated(|| try_amend(store, license, request, change, Storing::PREVIEW)).await
}

async fn try_amend(
    store: &Store,
    license: &str,
    request: &AmendRequest,
    change: &PermittedChange,
    storing: Storing<'_>,
) -> Result<Amended, AmendError> {
    let license = look_up(store, license).await?;
    storing.check(store.reader()).await?;
    if !storing.is_stored() {
        let previewing = async {
            let requested = Requested::prepare(store, license, request, change).await?;
            Ok(requested.prepared.preview(store, change.at).await?)
        };
        return in_turn(store, previewing).await;
    }
    let (_turn, license) = store.turn_to_amend(license).await?;
    let preparing = Requested::prepare(store, license.clone(), request, change);
    let requested = in_turn(store, preparing).await?;
    let customer = request.customer.as_deref();
    let (transaction, license) = hold_for_customer(store, license, customer).await?;
    storing.check(&transaction).await?;
    let amended = requested.store(&transaction, &license, change).await?;
    storing
        .note(&transaction, &amended.license, change.at)
        .await?;
    let shown = || ShownAmended::of(amended.clone(), true, change.at);
    note_answer(&transaction, CREATED, shown).await?;
    if storing.end(transaction).await? {
        note_stored(&amended);
    }
    Ok(amended)
}

/// An amendment that staff have requested, as it was checked before anything was locked.
pub(super) struct Requested<'a> {
    prepared: Prepared,
    /// The customer that they mean by this text.
    customer: Option<(&'a str, Chosen)>,
}

impl<'a> Requested<'a> {
    /// Checks a request for a license with this row.
    ///
    /// # Errors
    /// As [`amend`].
    pub(super) async fn prepare(
        store: &Store,
        license: License,
        request: &'a AmendRequest,
        change: &PermittedChange,
    ) -> Result<Self, AmendError> {
        let customer = match request.customer.as_deref() {
            Some(text) => {
                // Never committed: a new customer is not stored.
                let transaction = store.begin().await?;
                Some((text, choose(&transaction, text, None, change.at).await?))
            }
            None => None,
        };
        let known = amendments_to_follow(store, &license, request.after, change.at).await?;
        let chosen = customer.as_ref().map(|(_, chosen)| chosen);
        let id = chosen.map(Chosen::id);
        let amendment = request.amendment(store.reader(), &known, id, change);
        let amendment = amendment.await?;
        let new = chosen.and_then(Chosen::unstored);
        let prepared = Prepared::new(store, license, known, amendment, new, change);
        Ok(Self {
            prepared: prepared.await?,
            customer,
        })
    }

    /// Stores the amendment of a license that is locked, and so is the customer
    /// ([`hold_for_customer`]).
    ///
    /// # Errors
    /// [`StoreError::changed`] if the license or the customer has changed, or as [`amend`].
    pub(super) async fn store(
        self,
        db: &impl ConnectionTrait,
        held: &License,
        change: &PermittedChange,
    ) -> Result<Amended, AmendError> {
        let mut details = json!({});
        if let Some((text, chosen)) = &self.customer {
            let customer = choose(db, text, chosen.unstored(), change.at).await?;
            if !customer.is_same(chosen) {
                return Err(StoreError::changed().into());
            }
            if customer.is_new {
                details = json!({"newCustomer": true});
            }
        }
        let action = Action::Amended;
        let entry = AuditEntry { action, details };
        Ok(self.prepared.store(db, held, entry, change).await?)
    }
}

/// Logs that an amendment was stored.
pub(super) fn note_stored(amended: &Amended) {
    let license_key = license_core::license_key::mask(&amended.license.license_key);
    let number = amended.amendment.number;
    tracing::info!(license_key, number, "license amended");
}

/// Stores the newest amendment of a license that is locked, and what the license is with it.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn store_newest(
    db: &impl ConnectionTrait,
    license: Judged,
    newest: &Amendment,
) -> Result<License, StoreError> {
    amendments::insert(db, &license.license().id, newest).await?;
    licenses::save(db, &license).await?;
    Ok(license.license().clone())
}

async fn affected(
    db: &impl ConnectionTrait,
    license_id: &str,
    seats: u32,
    applies_at: DateTime<Utc>,
    effects: &[Effect],
    now: DateTime<Utc>,
) -> Result<Vec<Affected>, StoreError> {
    let first_excess = seats::first_excess(db, license_id, seats, now).await?;
    let held = seats::list(db, license_id, &SeatsQuery::held(), MAX_INSTALLATIONS).await?;
    let affected = held.rows.into_iter().map(|seat| {
        let valid_until = seat.signed.map(|signed| signed.valid_until);
        let is_excess = seat.is_excess(first_excess, now);
        let is_now = is_excess && applies_at <= now;
        Affected {
            is_excess,
            ends_at: seat.signed_until.filter(|end| is_now && now <= *end),
            learns_by: valid_until.filter(|until| now <= *until),
            over: reported(seat.usage.clone())
                .known()
                .filter_map(|(key, used)| over(key, used, effects))
                .collect(),
            seat,
        }
    });
    Ok(affected.collect())
}

/// Where an amendment grants less of something than a machine uses.
fn over(key: &str, used: u64, effects: &[Effect]) -> Option<Over> {
    let Shortfall { key, granted, at } = shortfall(effects, key, used)?;
    Some(Over {
        resource: key,
        used,
        granted,
        at,
    })
}

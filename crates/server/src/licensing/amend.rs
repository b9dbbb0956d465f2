//! Amend a license.
//!
//! An amendment is stored with its audit entry, and with what the license's row then holds, in one
//! transaction that locks the license. A preview locks and stores nothing.

mod error;
mod request;
mod shown;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use license_core::add_on::restored_refund;
use license_core::amendment::{
    self, Amendment, Effect, Shortfall, check, contents, effects, judged_at, shortfall,
};
use license_core::feature::FeatureKey;
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::audit::{Action, PermittedChange};
use crate::keyed_call::{CREATED, note_answer};
use crate::licensing::amendment_words::{CustomerNames, all_words, customer_names};
use crate::licensing::customers::{Chosen, choose, hold_for_customer};
use crate::licensing::document_size::check_sizes;
use crate::licensing::evaluation::evaluated;
use crate::licensing::line_done::Storing;
use crate::licensing::look_up::look_up;
use crate::licensing::newest_amendment::amendments_to_follow;
use crate::store::customers::Customer;
use crate::store::installations::reported;
use crate::store::licenses::{self, Judged, License};
use crate::store::seats::{self, Seat, SeatsQuery};
use crate::store::{Store, StoreError, add_ons, amendments};
pub use error::AmendError;
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
    if !storing.is_stored() {
        storing.check(store.reader()).await?;
        return preview_request(store, license, request, change).await;
    }
    let customer = request.customer.as_deref();
    let (transaction, license) = hold_for_customer(store, license, customer).await?;
    storing.check(&transaction).await?;
    let amended = amend_held(&transaction, license, request, change).await?;
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

/// Amends a license that is locked, as [`amend`] does. Anyone who has selected licenses by what they
/// consisted of checks that again between the lock and this.
///
/// # Errors
/// As [`amend`].
pub(super) async fn amend_held(
    db: &impl ConnectionTrait,
    license: License,
    request: &AmendRequest,
    change: &PermittedChange,
) -> Result<Amended, AmendError> {
    let customer = match &request.customer {
        Some(text) => Some(choose(db, text, change.at).await?),
        None => None,
    };
    let is_new_customer = customer.as_ref().is_some_and(|it| it.is_new);
    let (known, amendment) = requested(db, &license, request, customer, change).await?;
    let entry = AuditEntry {
        action: Action::Amended,
        details: match is_new_customer {
            true => json!({"newCustomer": true}),
            false => json!({}),
        },
    };
    apply(db, license, known, amendment, entry, change).await
}

/// What [`amend`] would do. While that is evaluated, nothing is locked.
async fn preview_request(
    store: &Store,
    license: License,
    request: &AmendRequest,
    change: &PermittedChange,
) -> Result<Amended, AmendError> {
    let customer = match &request.customer {
        Some(text) => {
            // Never committed: a new customer is not stored.
            let transaction = store.begin().await?;
            Some(choose(&transaction, text, change.at).await?)
        }
        None => None,
    };
    let new = customer.as_ref().filter(|it| it.is_new);
    let new = new.and_then(|it| it.customer.clone());
    let db = store.reader();
    let (known, amendment) = requested(db, &license, request, customer, change).await?;
    preview_amendment(db, license, known, amendment, new.as_ref(), change).await
}

/// The amendments of a license, and the one that is requested.
async fn requested(
    db: &impl ConnectionTrait,
    license: &License,
    request: &AmendRequest,
    customer: Option<Chosen>,
    change: &PermittedChange,
) -> Result<(Vec<Amendment>, Amendment), AmendError> {
    let known = amendments_to_follow(db, license, request.after, change.at).await?;
    let customer = customer.map(Chosen::id);
    let amendment = request.amendment(db, &known, customer, change).await?;
    Ok((known, amendment))
}

/// Logs that an amendment was stored.
pub(super) fn note_stored(amended: &Amended) {
    let license_key = license_core::license_key::mask(&amended.license.license_key);
    let number = amended.amendment.number;
    tracing::info!(license_key, number, "license amended");
}

/// How the audit log tells of an amendment: with these details in addition to those of every amendment.
pub(super) struct AuditEntry {
    pub(super) action: Action,
    pub(super) details: Value,
}

/// Adds an amendment to a license that is locked, with its entry in the audit log, and returns what
/// it changes. `known` are its amendments.
///
/// # Errors
/// One [`AmendError`] for each rule that it breaks, or if the database returns an error.
pub(super) async fn apply(
    db: &impl ConnectionTrait,
    license: License,
    known: Vec<Amendment>,
    amendment: Amendment,
    entry: AuditEntry,
    change: &PermittedChange,
) -> Result<Amended, AmendError> {
    let all = check_rules(db, &license, known, amendment).await?;
    let judged = licenses::judged(db, license, &all, change.time()).await?;
    let judged = judged.changed();
    check_sizes(db, judged.license(), all.clone(), None, change.at).await?;
    let license = store_newest(db, judged, &all).await?;
    let customers = customer_names(db, &all).await?;
    if let Some((amendment, known)) = all.split_last() {
        let AuditEntry { action, details } = entry;
        let mut all_details = json!({
            "amendment": amendment.number,
            "reason": amendment.reason,
            "order": amendment.order,
            "effectiveAt": amendment.effective_at,
            "undoes": amendment.undoes,
            "changes": all_words(amendment, known, &customers).join(", "),
        });
        if let (Some(all), Value::Object(details)) = (all_details.as_object_mut(), details) {
            all.extend(details);
        }
        change.note(db, action, &license, all_details).await?;
    }
    changed(db, license, all, customers, change.at).await
}

/// What [`apply`] would do to a license that need not be locked. `customer` is one who is not stored.
///
/// # Errors
/// As [`apply`].
pub(super) async fn preview_amendment(
    db: &impl ConnectionTrait,
    license: License,
    known: Vec<Amendment>,
    amendment: Amendment,
    customer: Option<&Customer>,
    change: &PermittedChange,
) -> Result<Amended, AmendError> {
    let now = change.at;
    let all = check_rules(db, &license, known, amendment).await?;
    let license = licenses::previewed(db, license, &all, customer, now).await?;
    check_sizes(db, &license, all.clone(), customer, now).await?;
    let mut customers = customer_names(db, &all).await?;
    customers.extend(customer.map(|it| (it.id.clone(), it.name.clone())));
    changed(db, license, all, customers, now).await
}

/// Checks the rules about amendments, and returns all of them: the new one is the last.
async fn check_rules(
    db: &impl ConnectionTrait,
    license: &License,
    known: Vec<Amendment>,
    amendment: Amendment,
) -> Result<Arc<[Amendment]>, AmendError> {
    // Only what undoes something restores something.
    let refunded = match amendment.undoes {
        Some(_) => add_ons::refunded_amendments(db, &license.id).await?,
        None => Vec::new(),
    };
    let decided = license.status.decided();
    evaluated(move || {
        check(&known, &amendment, decided).map_err(|error| AmendError::Rule { error })?;
        if let Some(number) = restored_refund(&known, &amendment, &refunded) {
            return Err(AmendError::Refunded(number));
        }
        let mut all = known;
        all.push(amendment);
        Ok(all.into())
    })
    .await
}

/// Stores the newest of all amendments of a license that is locked, and what the license is with it.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn store_newest(
    db: &impl ConnectionTrait,
    license: Judged,
    all: &[Amendment],
) -> Result<License, StoreError> {
    if let Some(newest) = all.last() {
        amendments::insert(db, &license.license().id, newest).await?;
    }
    licenses::save(db, &license).await?;
    Ok(license.license().clone())
}

/// What the newest of all amendments of a license changes.
async fn changed(
    db: &impl ConnectionTrait,
    license: License,
    all: Arc<[Amendment]>,
    customers: CustomerNames,
    now: DateTime<Utc>,
) -> Result<Amended, AmendError> {
    let (amendment, known) = match all.split_last() {
        Some((newest, known)) => (newest.clone(), known.len()),
        None => return Err(StoreError::NoAmendments(license.id).into()),
    };
    let applies_at = amendment.effective_at.max(now);
    let (effects, differences, seats) = evaluated(move || {
        let known = &all[..known];
        let after = contents(&all, applies_at);
        let differences = after.differences(&contents(known, applies_at));
        let effects = effects(known, &all, judged_at(&all, now));
        (effects, differences, after.terms.seats)
    })
    .await;
    let id = &license.id;
    let installations = affected(db, id, seats, applies_at, &effects, now).await?;
    let seats_held = seats::count(db, id, &SeatsQuery::held()).await?;
    Ok(Amended {
        license,
        amendment,
        effects,
        differences,
        seats_held,
        seats,
        installations,
        customers,
    })
}

async fn affected(
    db: &impl ConnectionTrait,
    license_id: &str,
    seats: u32,
    applies_at: DateTime<Utc>,
    effects: &[Effect],
    now: DateTime<Utc>,
) -> Result<Vec<Affected>, StoreError> {
    let held = seats::list(db, license_id, &SeatsQuery::held(), MAX_INSTALLATIONS).await?;
    let first_excess = seats::first_excess(db, license_id, seats, now).await?;
    let affected = held.into_iter().map(|seat| {
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
    let Shortfall { granted, at } = shortfall(effects, key, used)?;
    let resource = FeatureKey::parse(key).ok()?;
    Some(Over {
        resource,
        used,
        granted,
        at,
    })
}

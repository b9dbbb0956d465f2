//! Issue and find add-on keys. A key is shown only when it is issued.

mod error;
mod shown;

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::add_on::{AddOn, AddOnGrant, check_grants};
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::plan::PlanChoice;
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::audit::{Action, PermittedChange};
use crate::keyed_call::{CREATED, note_answer};
use crate::licensing::amend::{MAX_ORDER_CHARS, MAX_REASON_CHARS};
use crate::licensing::plans::find_plan;
use crate::licensing::random_code::{NoRandomness, random_code};
use crate::licensing::text_bounds::fits;
use crate::store::add_ons::{self, StoredAddOn};
use crate::store::{Store, StoreError, catalogue};

pub use error::AddOnError;
pub use shown::{ShownAddOn, ShownNewAddOn};

/// The add-on key to issue.
#[derive(Clone, Debug, Default)]
pub struct AddOnRequest {
    /// The plan whose entitlements it grants …
    pub plan: Option<PlanChoice>,
    /// … or what it grants.
    pub grants: Vec<AddOnGrant>,
    /// The last instant at which it may be redeemed.
    pub redeem_by: Option<DateTime<Utc>>,
    /// The reference of the order.
    pub order: Option<String>,
    /// For people.
    pub note: Option<String>,
}

/// Issues an add-on key; returns it, which is stored nowhere, and what is known about it.
///
/// # Errors
/// One [`AddOnError`] for each reason; nothing is issued then.
pub async fn issue_add_on(
    store: &Store,
    request: &AddOnRequest,
    change: &PermittedChange,
) -> Result<(IssuedCode, StoredAddOn), AddOnError> {
    let key = new_add_on_key()?;
    let stored = issue_add_on_with(store, &key, request, change).await?;
    Ok((key, stored))
}

/// A new key, which is issued later.
///
/// # Errors
/// If the operating system returns no random bytes.
pub fn new_add_on_key() -> Result<IssuedCode, NoRandomness> {
    random_code(CodeKind::AddOn)
}

/// Issues this add-on key, once: a request that is sent again issues no second one.
///
/// # Errors
/// One [`AddOnError`] for each reason; nothing is issued then.
pub async fn issue_add_on_with(
    store: &Store,
    key: &IssuedCode,
    request: &AddOnRequest,
    change: &PermittedChange,
) -> Result<StoredAddOn, AddOnError> {
    let stored = StoredAddOn {
        masked: key.masked(),
        ..prepare_add_on(store, request, change).await?
    };
    let stored = repeated(|| add(store, key, stored.clone(), change)).await?;
    tracing::info!(add_on = stored.masked, "add-on key issued");
    Ok(stored)
}

/// The add-on that a request would issue, without its key.
///
/// # Errors
/// As [`issue_add_on`].
pub async fn prepare_add_on(
    store: &Store,
    request: &AddOnRequest,
    change: &PermittedChange,
) -> Result<StoredAddOn, AddOnError> {
    let now = change.at.trunc_subsecs(0);
    for (field, text, max) in [
        ("order", &request.order, MAX_ORDER_CHARS),
        ("note", &request.note, MAX_REASON_CHARS),
    ] {
        if !fits(text.as_deref().unwrap_or_default(), max) {
            return Err(AddOnError::TooLong { field, max });
        }
    }
    if let Some(passed) = request.redeem_by.filter(|at| *at < now) {
        return Err(AddOnError::Passed(passed));
    }
    let db = store.reader();
    let (plan, grants) = match (&request.plan, request.grants.is_empty()) {
        (Some(choice), true) => {
            let plan = find_plan(db, choice).await?;
            let version = plan.version.to_string();
            if !plan.contents.add_on {
                return Err(AddOnError::NotForAddOns(version));
            }
            let granted = plan.contents.entitlements.iter();
            (Some(version), granted.map(AddOnGrant::from).collect())
        }
        (None, false) => (None, request.grants.clone()),
        (Some(_), false) | (None, true) => return Err(AddOnError::Contents),
    };
    check_grants(&grants, &catalogue::kinds(db).await?, now)?;
    Ok(StoredAddOn {
        id: 0,
        masked: String::new(),
        plan,
        add_on: AddOn {
            grants,
            redeem_by: request.redeem_by,
            ..AddOn::default()
        },
        order: request.order.clone(),
        note: request.note.clone(),
        created_at: now,
        created_by: change.by.to_string(),
        redeemed_at: None,
        redeemed_by: None,
        refunded_at: None,
        refunded_by: None,
    })
}

async fn add(
    store: &Store,
    key: &IssuedCode,
    stored: StoredAddOn,
    change: &PermittedChange,
) -> Result<StoredAddOn, AddOnError> {
    let transaction = store.begin().await?;
    let stored = match add_ons::insert(&transaction, key, stored).await {
        Err(error) if error.is_taken() => return Err(AddOnError::Issued(key.masked())),
        inserted => inserted?,
    };
    let details = json!({
        "id": stored.id,
        "plan": stored.plan,
        "grants": stored.add_on.grants,
        "redeemBy": stored.add_on.redeem_by,
        "order": stored.order,
        "note": stored.note,
    });
    change
        .note_other(&transaction, Action::AddOnIssued, &stored.masked, details)
        .await?;
    let shown = || ShownNewAddOn::of(key, stored.clone());
    note_answer(&transaction, CREATED, shown).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(stored)
}

/// The add-on with this key, in any spelling, or this number.
///
/// # Errors
/// [`AddOnError::Key`], [`AddOnError::Unknown`], or if the database returns an error.
pub async fn look_up_add_on(
    db: &impl ConnectionTrait,
    text: &str,
) -> Result<StoredAddOn, AddOnError> {
    if let Ok(id) = text.trim().parse::<i64>() {
        let found = add_ons::find_by_id(db, id).await?;
        return found.ok_or_else(|| AddOnError::Unknown(format!("number {id}")));
    }
    let key = IssuedCode::parse(CodeKind::AddOn, text)?;
    let found = add_ons::find(db, &key).await?;
    found.ok_or_else(|| AddOnError::Unknown(key.masked()))
}

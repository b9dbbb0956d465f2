//! Issue, find and refund add-on keys. A key is shown only when it is issued.

mod error;
mod shown;

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::add_on::{AddOn, AddOnGrant, check_grants};
use license_core::amendment::{Amendment, is_undone_from, judged_at};
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::plan::PlanChoice;
use license_service::database::{Transaction, repeated};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::audit::{Action, PermittedChange};
use crate::keyed_call::{CREATED, note_answer};
use crate::licensing::amend::{
    AmendError, AmendRequest, Amended, AuditEntry, MAX_ORDER_CHARS, MAX_REASON_CHARS, Prepared,
    note_stored,
};
use crate::licensing::current::amendments_at;
use crate::licensing::plans::find_plan;
use crate::licensing::random_code::{NoRandomness, random_code};
use crate::licensing::text_bounds::fits;
use crate::store::add_ons::{self, StoredAddOn};
use crate::store::licenses::{self, License, Status};
use crate::store::{Store, StoreError, catalogue};

pub use error::AddOnError;
pub use shown::{ShownAddOn, ShownNewAddOn, ShownRedeemedAddOn, ShownRefundedAddOn};

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

/// A refunded add-on key.
#[derive(Clone, Debug)]
pub struct RefundedAddOn {
    /// The key.
    pub add_on: StoredAddOn,
    /// What the refund changes; `None` if the key was not redeemed, or its license no longer has
    /// what it granted.
    pub amended: Option<Amended>,
}

impl RefundedAddOn {
    /// The number of the amendment that undoes what the key granted.
    #[must_use]
    pub fn amendment(&self) -> Option<u32> {
        self.amended.as_ref().map(|it| it.amendment.number)
    }
}

/// Refunds an add-on key: it cannot be redeemed any more, and the amendment that it became is
/// undone. Without `is_stored`, tells what would be done.
///
/// # Errors
/// One [`AddOnError`] for each reason; nothing has changed then.
pub async fn refund_add_on(
    store: &Store,
    text: &str,
    reason: Option<&str>,
    change: &PermittedChange,
    is_stored: bool,
) -> Result<RefundedAddOn, AddOnError> {
    let outcome = match is_stored {
        true => Outcome::Stored,
        false => Outcome::Preview,
    };
    refund(store, text, reason, change, outcome).await
}

/// Refunds an add-on key as a preview said: with the amendment of this number, or without one.
///
/// # Errors
/// [`AddOnError::NotAsPreviewed`] if the amendment would be another one, or as [`refund_add_on`].
pub async fn refund_add_on_as_previewed(
    store: &Store,
    text: &str,
    reason: Option<&str>,
    change: &PermittedChange,
    amendment: Option<u32>,
) -> Result<RefundedAddOn, AddOnError> {
    let outcome = Outcome::StoredWith(amendment);
    refund(store, text, reason, change, outcome).await
}

/// What becomes of a refund.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is only shown.
    Preview,
    /// It is stored.
    Stored,
    /// It is stored if its amendment has this number, or if it has none.
    StoredWith(Option<u32>),
}

async fn refund(
    store: &Store,
    text: &str,
    reason: Option<&str>,
    change: &PermittedChange,
    outcome: Outcome,
) -> Result<RefundedAddOn, AddOnError> {
    if !fits(reason.unwrap_or_default(), MAX_REASON_CHARS) {
        return Err(AddOnError::TooLong {
            field: "reason",
            max: MAX_REASON_CHARS,
        });
    }
    let refunded = repeated(|| try_refund(store, text, reason, change, outcome)).await?;
    if outcome != Outcome::Preview {
        tracing::info!(add_on = refunded.add_on.masked, "add-on key refunded");
    }
    Ok(refunded)
}

async fn try_refund(
    store: &Store,
    text: &str,
    reason: Option<&str>,
    change: &PermittedChange,
    outcome: Outcome,
) -> Result<RefundedAddOn, AddOnError> {
    let known = look_up_add_on(store.reader(), text).await?;
    let license = match &known.add_on.redeemed {
        None => None,
        Some(redeemed) => {
            let found = licenses::find_by_id(store.reader(), &redeemed.license).await?;
            let missing = || StoreError::NoAmendments(redeemed.license.clone());
            Some(found.ok_or_else(missing)?)
        }
    };
    let (turn, license) = match (license, outcome) {
        (Some(license), Outcome::Stored | Outcome::StoredWith(_)) => {
            let (turn, license) = store.turn_to_amend(license).await?;
            (Some(turn), Some(license))
        }
        (license, _) => (None, license),
    };
    // Another refund may have had its turn before.
    let known = match &turn {
        Some(_) => look_up_add_on(store.reader(), text).await?,
        None => known,
    };
    let refunding = Refunding::prepare(store, known, license, reason, change).await?;
    match outcome {
        Outcome::Preview => return Ok(refunding.preview(store, change).await?),
        Outcome::StoredWith(number) if refunding.amendment() != number => {
            return Err(AddOnError::NotAsPreviewed);
        }
        Outcome::Stored | Outcome::StoredWith(_) => {}
    }
    let (transaction, held) = match &refunding.license {
        None => (store.begin().await?, None),
        Some(license) => {
            let (transaction, license) = store.hold(license.clone()).await?;
            (transaction, Some(license))
        }
    };
    let refunded = refunding.store(&transaction, held, change).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    refunded.amended.iter().for_each(note_stored);
    Ok(refunded)
}

/// An add-on key to refund, as it was checked before anything was locked.
struct Refunding<'a> {
    add_on: StoredAddOn,
    /// The row of the license that has redeemed it.
    license: Option<License>,
    /// What undoes the amendment that the key became, if the license may still be used and has it.
    undo: Option<Prepared>,
    reason: Option<&'a str>,
}

impl<'a> Refunding<'a> {
    async fn prepare(
        store: &Store,
        add_on: StoredAddOn,
        license: Option<License>,
        reason: Option<&'a str>,
        change: &PermittedChange,
    ) -> Result<Self, AddOnError> {
        if add_on.add_on.is_refunded {
            return Err(AddOnError::Refunded);
        }
        let mut refunding = Self {
            add_on,
            license,
            undo: None,
            reason,
        };
        refunding.undo = refunding.undo(store, change).await?;
        Ok(refunding)
    }

    /// The number of the amendment that undoes what the key granted.
    fn amendment(&self) -> Option<u32> {
        self.undo.as_ref().map(Prepared::number)
    }

    async fn preview(
        self,
        store: &Store,
        change: &PermittedChange,
    ) -> Result<RefundedAddOn, StoreError> {
        let amended = match self.undo {
            Some(undo) => Some(undo.preview(store, change.at).await?),
            None => None,
        };
        Ok(refunded(self.add_on, amended, change))
    }

    /// Refunds the key. The license that has redeemed it is locked and has this row.
    async fn store(
        self,
        db: &Transaction,
        license: Option<License>,
        change: &PermittedChange,
    ) -> Result<RefundedAddOn, StoreError> {
        // A site may redeem it at the same time, once.
        let held = add_ons::hold(db, self.add_on.id).await?;
        if held.as_ref() != Some(&self.add_on) || license != self.license {
            return Err(StoreError::changed());
        }
        let (id, masked) = (self.add_on.id, &self.add_on.masked);
        let action = Action::AddOnRefunded;
        let amended = match self.undo.zip(license) {
            Some((undo, license)) => {
                let details = json!({"addOn": masked, "id": id});
                let entry = AuditEntry { action, details };
                Some(undo.store(db, &license, entry, change).await?)
            }
            None => {
                let details = json!({"id": id, "reason": self.reason});
                change.note_other(db, action, masked, details).await?;
                None
            }
        };
        let by = change.by.to_string();
        add_ons::set_refunded(db, id, by, change.at.trunc_subsecs(0)).await?;
        Ok(refunded(self.add_on, amended, change))
    }

    /// What undoes the amendment that the key became.
    async fn undo(
        &self,
        store: &Store,
        change: &PermittedChange,
    ) -> Result<Option<Prepared>, AddOnError> {
        let (Some(license), Some(redeemed)) = (&self.license, &self.add_on.add_on.redeemed) else {
            return Ok(None);
        };
        if license.status == Status::Revoked {
            return Ok(None);
        }
        let known = amendments_at(store.reader(), &license.id, change.at).await?;
        let number = redeemed.amendment;
        if is_undone_from(&known, number, judged_at(&known, change.at)) {
            return Ok(None);
        }
        let amendment = self.undoing(number, &known, change)?;
        let prepared = Prepared::new(store, license.clone(), known, amendment, None, change);
        Ok(Some(prepared.await?))
    }

    fn undoing(
        &self,
        number: u32,
        known: &[Amendment],
        change: &PermittedChange,
    ) -> Result<Amendment, AmendError> {
        let masked = &self.add_on.masked;
        let reason = match self.reason {
            None => format!("Refund of the add-on key {masked}"),
            Some(reason) => format!("Refund of the add-on key {masked}: {reason}"),
        };
        let request = AmendRequest {
            reason: Some(reason.chars().take(MAX_REASON_CHARS).collect()),
            order: self.add_on.order.clone(),
            undoes: Some(number),
            ..AmendRequest::default()
        };
        request.without_changes(known, change)
    }
}

fn refunded(
    mut add_on: StoredAddOn,
    amended: Option<Amended>,
    change: &PermittedChange,
) -> RefundedAddOn {
    add_on.add_on.is_refunded = true;
    add_on.refunded_at = Some(change.at.trunc_subsecs(0));
    add_on.refunded_by = Some(change.by.to_string());
    RefundedAddOn { add_on, amended }
}

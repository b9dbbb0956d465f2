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
    AmendError, AmendRequest, Amended, AuditEntry, MAX_ORDER_CHARS, MAX_REASON_CHARS, apply,
    note_stored,
};
use crate::licensing::current::amendments_at;
use crate::licensing::plans::find_plan;
use crate::licensing::random_code::{NoRandomness, random_code};
use crate::licensing::text_bounds::fits;
use crate::store::add_ons::{self, StoredAddOn};
use crate::store::licenses::{self, Status};
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
    let mut known = look_up_add_on(store.reader(), text).await?;
    // Read again while it is locked: a site may redeem it at the same time, once.
    loop {
        let (transaction, license) = match &known.add_on.redeemed {
            None => (store.begin().await?, None),
            Some(redeemed) => {
                let found = licenses::find_by_id(store.reader(), &redeemed.license).await?;
                let missing = || StoreError::NoAmendments(redeemed.license.clone());
                let (transaction, license) = store.hold(found.ok_or_else(missing)?).await?;
                (transaction, Some(license))
            }
        };
        let held = add_ons::hold(&transaction, known.id).await?;
        let held = held.ok_or_else(|| AddOnError::Unknown(known.masked.clone()))?;
        if held.add_on.is_refunded {
            return Err(AddOnError::Refunded);
        }
        if held.add_on.redeemed != known.add_on.redeemed {
            known = held;
            continue;
        }
        let refunding = Refunding {
            add_on: held,
            license,
            reason,
        };
        let refunded = refunding.carry_out(&transaction, change).await?;
        if let Outcome::StoredWith(number) = outcome
            && refunded.amendment() != number
        {
            return Err(AddOnError::NotAsPreviewed);
        }
        if outcome != Outcome::Preview {
            transaction.commit().await.map_err(StoreError::from)?;
            refunded.amended.iter().for_each(note_stored);
        }
        return Ok(refunded);
    }
}

/// An add-on key to refund. It is locked, and so is the license that has redeemed it.
struct Refunding<'a> {
    add_on: StoredAddOn,
    license: Option<licenses::License>,
    reason: Option<&'a str>,
}

impl Refunding<'_> {
    async fn carry_out(
        self,
        db: &Transaction,
        change: &PermittedChange,
    ) -> Result<RefundedAddOn, AddOnError> {
        let now = change.at.trunc_subsecs(0);
        let by = change.by.to_string();
        add_ons::set_refunded(db, self.add_on.id, by.clone(), now).await?;
        let amended = self.undo(db, change).await?;
        if amended.is_none() {
            let details = json!({"id": self.add_on.id, "reason": self.reason});
            let subject = &self.add_on.masked;
            change
                .note_other(db, Action::AddOnRefunded, subject, details)
                .await?;
        }
        let mut add_on = self.add_on;
        add_on.add_on.is_refunded = true;
        add_on.refunded_at = Some(now);
        add_on.refunded_by = Some(by);
        Ok(RefundedAddOn { add_on, amended })
    }

    /// Undoes the amendment that the key became, if its license may still be used.
    async fn undo(
        &self,
        db: &Transaction,
        change: &PermittedChange,
    ) -> Result<Option<Amended>, AddOnError> {
        let (Some(license), Some(redeemed)) = (&self.license, &self.add_on.add_on.redeemed) else {
            return Ok(None);
        };
        if license.status == Status::Revoked {
            return Ok(None);
        }
        let known = amendments_at(db, &license.id, change.at).await?;
        let number = redeemed.amendment;
        if is_undone_from(&known, number, judged_at(&known, change.at)) {
            return Ok(None);
        }
        let amendment = self.undoing(number, &known, change)?;
        let entry = AuditEntry {
            action: Action::AddOnRefunded,
            details: json!({"addOn": self.add_on.masked, "id": self.add_on.id}),
        };
        let amended = apply(db, license.clone(), known, amendment, entry, change).await?;
        Ok(Some(amended))
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

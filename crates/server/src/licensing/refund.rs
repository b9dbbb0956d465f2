//! Refund add-on keys: what a key has granted is undone.

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::amendment::{Amendment, is_undone_from, judged_at};
use license_service::database::{Transaction, repeated};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::audit::{Action, PermittedChange};
use crate::licensing::add_ons::{AddOnError, ShownAddOn, look_up_add_on};
use crate::licensing::amend::{
    AmendRequest, Amended, AuditEntry, MAX_REASON_CHARS, Prepared, ShownAmended, note_stored,
};
use crate::licensing::amend_error::AmendError;
use crate::licensing::current::amendments_at;
use crate::licensing::evaluation::in_turn;
use crate::licensing::text_bounds::fits;
use crate::store::add_ons::{self, StoredAddOn};
use crate::store::licenses::{self, License, Status};
use crate::store::{Store, StoreError};

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
    if outcome == Outcome::Preview {
        let previewing = async {
            let refunding = Refunding::prepare(store, known, license, reason, change).await?;
            Ok(refunding.preview(store, change).await?)
        };
        return in_turn(store, previewing).await;
    }
    let (_turn, known, license) = match license {
        Some(license) => {
            let (turn, license) = store.turn_to_amend(license).await?;
            // Another refund may have had its turn before.
            let known = look_up_add_on(store.reader(), text).await?;
            (Some(turn), known, Some(license))
        }
        None => (None, known, None),
    };
    let preparing = Refunding::prepare(store, known, license, reason, change);
    let refunding = in_turn(store, preparing).await?;
    if let Outcome::StoredWith(number) = outcome
        && refunding.amendment() != number
    {
        return Err(AddOnError::NotAsPreviewed);
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

/// A refunded add-on key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RefundedAddOn)]
pub struct ShownRefundedAddOn {
    /// Whether it was stored; false for a preview.
    stored: bool,
    /// The key.
    add_on: ShownAddOn,
    /// The amendment that undoes what the key granted; `null` if it grants nothing now.
    amended: Option<ShownAmended>,
}

impl ShownRefundedAddOn {
    /// What was done at `now`, or would be done.
    #[must_use]
    pub fn of(refunded: RefundedAddOn, stored: bool, now: DateTime<Utc>) -> Self {
        Self {
            stored,
            add_on: refunded.add_on.into(),
            amended: refunded.amended.map(|it| ShownAmended::of(it, stored, now)),
        }
    }
}

//! Redeem an add-on key: it becomes an amendment of a license, once.

use chrono::{DateTime, Utc};
use license_core::add_on::{Redeem, RedeemRefusal, Redemption};
use license_core::amendment::{Amendment, contents};
use license_core::issued_code::{CodeKind, IssuedCode, IssuedCodeError};
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::audit::{Action, PermittedChange};
use crate::licensing::add_ons::ShownAddOn;
use crate::licensing::amend::{
    AmendRequest, Amended, AuditEntry, Prepared, ShownAmended, note_stored,
};
use crate::licensing::amend_error::AmendError;
use crate::licensing::current::amendments_at;
use crate::licensing::evaluation::in_turn;
use crate::licensing::look_up::{LookUpError, look_up};
use crate::store::add_ons::{self, StoredAddOn};
use crate::store::licenses::{License, Status};
use crate::store::{Store, StoreError};

/// Why an add-on key was not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The license does not exist.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The text is not an add-on key.
    #[error("invalid addOnKey: {0}")]
    Key(#[from] IssuedCodeError),
    /// No add-on key is like this.
    #[error("there is no add-on key {0}; compare it with the key that was issued")]
    Unknown(String),
    /// The key may not be redeemed for the license.
    #[error(transparent)]
    Refused(#[from] RedeemRefusal),
    /// The license cannot be amended in this way.
    #[error("the license cannot include what the add-on key grants: {0}")]
    Amend(AmendError),
    /// Revocation is permanent.
    #[error("the license was revoked, which cannot be undone; issue a new one")]
    Revoked,
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AmendError> for RedeemError {
    fn from(error: AmendError) -> Self {
        match error {
            AmendError::Store(error) => Self::Store(error),
            error => Self::Amend(error),
        }
    }
}

/// A redeemed add-on key.
#[derive(Clone, Debug)]
pub struct RedeemedAddOn {
    /// The key.
    pub add_on: StoredAddOn,
    /// The number of the amendment that it became.
    pub amendment: u32,
    /// What it changes; `None` if it was redeemed for the license before.
    pub amended: Option<Amended>,
}

/// Redeems an add-on key for a license. Without `is_stored`, tells what would be done.
///
/// # Errors
/// One [`RedeemError`] for each reason; nothing has changed then.
pub async fn redeem_add_on(
    store: &Store,
    license: &str,
    add_on_key: &str,
    change: &PermittedChange,
    is_stored: bool,
) -> Result<RedeemedAddOn, RedeemError> {
    let key = IssuedCode::parse(CodeKind::AddOn, add_on_key)?;
    repeated(|| try_redeem(store, license, &key, change, is_stored)).await
}

async fn try_redeem(
    store: &Store,
    license: &str,
    key: &IssuedCode,
    change: &PermittedChange,
    is_stored: bool,
) -> Result<RedeemedAddOn, RedeemError> {
    let license = look_up(store, license).await?;
    if !is_stored {
        let previewing = async {
            let redeeming = Redeeming::prepare(store, license, key, change).await?;
            Ok(redeeming.preview(store, change).await?)
        };
        return in_turn(store, previewing).await;
    }
    let (_turn, license) = store.turn_to_amend(license).await?;
    let preparing = Redeeming::prepare(store, license.clone(), key, change);
    let redeeming = in_turn(store, preparing).await?;
    let (transaction, license) = store.hold(license).await?;
    let redeemed = redeeming.store(&transaction, &license, change).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    redeemed.amended.iter().for_each(note_stored);
    Ok(redeemed)
}

/// An add-on key that is to be redeemed, as it was checked before anything was locked.
#[derive(Debug)]
pub(super) struct Redeeming {
    add_on: StoredAddOn,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// The license is amended.
    Amend(Box<Prepared>),
    /// The key is this amendment of the license already.
    Again(u32),
}

impl Redeeming {
    /// Checks whether a key may be redeemed for a license with this row.
    ///
    /// # Errors
    /// One [`RedeemError`] for each reason.
    pub(super) async fn prepare(
        store: &Store,
        license: License,
        key: &IssuedCode,
        change: &PermittedChange,
    ) -> Result<Self, RedeemError> {
        if license.status == Status::Revoked {
            return Err(RedeemError::Revoked);
        }
        let db = store.reader();
        let add_on = add_ons::find(db, key).await?;
        let add_on = add_on.ok_or_else(|| RedeemError::Unknown(key.masked()))?;
        let known = amendments_at(db, &license.id, change.at).await?;
        let mut amendment = amendment_of(&add_on, &known, change)?;
        let starts_at = contents(&known, amendment.effective_at).starts_at;
        let redeem = &add_on.add_on;
        let redeem = redeem.redeem(&license.id, starts_at, amendment.effective_at)?;
        let outcome = match redeem {
            Redeem::Amend(changes) => {
                amendment.changes = changes;
                let prepared = Prepared::new(store, license, known, amendment, None, change);
                Outcome::Amend(Box::new(prepared.await?))
            }
            Redeem::Again { amendment } => Outcome::Again(amendment),
        };
        Ok(Self { add_on, outcome })
    }

    async fn preview(
        self,
        store: &Store,
        change: &PermittedChange,
    ) -> Result<RedeemedAddOn, StoreError> {
        match self.outcome {
            Outcome::Again(amendment) => Ok(again(self.add_on, amendment)),
            Outcome::Amend(prepared) => {
                let redemption = Redemption {
                    license: prepared.basis().id.clone(),
                    amendment: prepared.number(),
                };
                let amended = prepared.preview(store, change.at).await?;
                Ok(redeemed(self.add_on, redemption, amended, change))
            }
        }
    }

    /// Redeems the key for a license that is locked and has this row.
    ///
    /// # Errors
    /// [`StoreError::changed`] if the license or the key has changed, or if the database returns an
    /// error.
    pub(super) async fn store(
        self,
        db: &impl ConnectionTrait,
        held: &License,
        change: &PermittedChange,
    ) -> Result<RedeemedAddOn, StoreError> {
        // Another license may redeem it at the same time.
        let add_on = add_ons::hold(db, self.add_on.id).await?;
        let add_on = add_on.filter(|it| *it == self.add_on);
        let add_on = add_on.ok_or_else(StoreError::changed)?;
        let prepared = match self.outcome {
            Outcome::Again(amendment) => return Ok(again(add_on, amendment)),
            Outcome::Amend(prepared) => prepared,
        };
        let redemption = Redemption {
            license: held.id.clone(),
            amendment: prepared.number(),
        };
        let entry = AuditEntry {
            action: Action::AddOnRedeemed,
            details: json!({"addOn": add_on.masked, "id": add_on.id}),
        };
        let amended = prepared.store(db, held, entry, change).await?;
        let by = change.by.to_string();
        add_ons::set_redeemed(db, add_on.id, &redemption, by, change.at).await?;
        Ok(redeemed(add_on, redemption, amended, change))
    }
}

/// A key that was redeemed for the license before.
fn again(add_on: StoredAddOn, amendment: u32) -> RedeemedAddOn {
    RedeemedAddOn {
        add_on,
        amendment,
        amended: None,
    }
}

fn redeemed(
    mut add_on: StoredAddOn,
    redemption: Redemption,
    amended: Amended,
    change: &PermittedChange,
) -> RedeemedAddOn {
    let amendment = redemption.amendment;
    add_on.add_on.redeemed = Some(redemption);
    add_on.redeemed_at = Some(change.at);
    add_on.redeemed_by = Some(change.by.to_string());
    RedeemedAddOn {
        add_on,
        amendment,
        amended: Some(amended),
    }
}

/// The amendment that the key becomes, without what it grants.
fn amendment_of(
    add_on: &StoredAddOn,
    known: &[Amendment],
    change: &PermittedChange,
) -> Result<Amendment, AmendError> {
    let request = AmendRequest {
        reason: Some(format!("Add-on key {}", add_on.masked)),
        order: add_on.order.clone(),
        ..AmendRequest::default()
    };
    request.without_changes(known, change)
}

/// A redeemed add-on key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RedeemedAddOn)]
pub struct ShownRedeemedAddOn {
    /// Whether it was stored; false for a preview.
    stored: bool,
    /// The key.
    add_on: ShownAddOn,
    /// The number of the amendment that it became.
    amendment: u32,
    /// What it changes; `null` if it was redeemed for the license before.
    amended: Option<ShownAmended>,
}

impl ShownRedeemedAddOn {
    /// What was done at `now`, or would be done.
    #[must_use]
    pub fn of(redeemed: RedeemedAddOn, stored: bool, now: DateTime<Utc>) -> Self {
        Self {
            stored,
            add_on: redeemed.add_on.into(),
            amendment: redeemed.amendment,
            amended: redeemed.amended.map(|it| ShownAmended::of(it, stored, now)),
        }
    }
}

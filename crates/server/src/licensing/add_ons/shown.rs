//! Add-on keys, as programs see them.

use chrono::{DateTime, Utc};
use license_core::add_on::AddOnGrant;
use license_core::issued_code::IssuedCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::add_ons::{AddOnState, StoredAddOn};

/// An add-on key, without the key itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AddOn)]
pub struct ShownAddOn {
    /// Its number.
    pub id: i64,
    /// The first and last characters of the key.
    pub masked_key: String,
    /// What became of it.
    #[schema(inline)]
    pub state: AddOnState,
    /// The plan and its version, if it was issued from one.
    pub plan: Option<String>,
    /// What it grants: objects with `key`, and as needed `quantity`, `from`, `until` and `for`.
    #[schema(value_type = Vec<Object>)]
    pub grants: Vec<AddOnGrant>,
    /// The last instant at which it may be redeemed; `null` if it has no end.
    pub redeem_by: Option<DateTime<Utc>>,
    /// The reference of the order.
    pub order: Option<String>,
    /// A free-text note.
    pub note: Option<String>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// Who issued it.
    pub created_by: String,
    /// The id of the license for which it was redeemed.
    pub license_id: Option<String>,
    /// The number of the amendment that it became.
    pub amendment: Option<u32>,
    /// When it was redeemed.
    pub redeemed_at: Option<DateTime<Utc>>,
    /// Who redeemed it: `site`, or a member of the staff.
    pub redeemed_by: Option<String>,
    /// When it was refunded.
    pub refunded_at: Option<DateTime<Utc>>,
    /// Who refunded it.
    pub refunded_by: Option<String>,
}

impl From<StoredAddOn> for ShownAddOn {
    fn from(stored: StoredAddOn) -> Self {
        let state = stored.state();
        let redeemed = stored.add_on.redeemed;
        let (license_id, amendment) = redeemed.map(|it| (it.license, it.amendment)).unzip();
        Self {
            id: stored.id,
            masked_key: stored.masked,
            state,
            plan: stored.plan,
            grants: stored.add_on.grants,
            redeem_by: stored.add_on.redeem_by,
            order: stored.order,
            note: stored.note,
            created_at: stored.created_at,
            created_by: stored.created_by,
            license_id,
            amendment,
            redeemed_at: stored.redeemed_at,
            redeemed_by: stored.redeemed_by,
            refunded_at: stored.refunded_at,
            refunded_by: stored.refunded_by,
        }
    }
}

/// A new add-on key. Only this response contains it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewAddOn)]
pub struct ShownNewAddOn {
    /// The key itself. It cannot be shown again.
    add_on_key: String,
    /// What is known about it.
    #[serde(flatten)]
    known: ShownAddOn,
}

impl ShownNewAddOn {
    /// A key that was just issued.
    #[must_use]
    pub fn of(key: &IssuedCode, stored: StoredAddOn) -> Self {
        Self {
            add_on_key: key.as_str().to_owned(),
            known: stored.into(),
        }
    }
}

//! Which customer staff mean by an id, a name or a reference.

use chrono::{DateTime, Utc};
use license_core::customer_id::{is_id, name_key};
use license_service::database::Transaction;
use sea_orm::ConnectionTrait;

use super::{CustomerError, check_distinct, check_name, new_customer};
use crate::store::customers::{self, Customer};
use crate::store::licenses::{self, License};
use crate::store::locks::{self, Lock};
use crate::store::{Store, StoreError};

/// The customer of a license.
#[derive(Clone, Debug, Default)]
pub(in crate::licensing) struct Chosen {
    /// The customer, who is locked; `None` for a license without one.
    pub(in crate::licensing) customer: Option<Customer>,
    /// Whether it was just added. The entry of the license in the audit log says so.
    pub(in crate::licensing) is_new: bool,
}

impl Chosen {
    /// The id of the customer; empty for none.
    pub(in crate::licensing) fn id(&self) -> String {
        let customer = self.customer.as_ref();
        customer.map_or_else(String::new, |it| it.id.clone())
    }

    /// The customer, if it was just added.
    pub(in crate::licensing) fn unstored(&self) -> Option<&Customer> {
        self.customer.as_ref().filter(|_| self.is_new)
    }

    /// Whether it is the same customer, with the same name.
    pub(in crate::licensing) fn is_same(&self, other: &Self) -> bool {
        let [one, other] = [self, other].map(|it| it.customer.as_ref());
        one.map(|it| (&it.id, &it.name)) == other.map(|it| (&it.id, &it.name))
    }
}

/// The customer that staff mean by an id, a name or a reference; a new one if no customer has the
/// name, and none if the text is empty. A new one is `new`, if there is one.
///
/// # Errors
/// For an unknown id, and a name that is too long.
pub(in crate::licensing) async fn choose(
    db: &impl ConnectionTrait,
    text: &str,
    new: Option<&Customer>,
    now: DateTime<Utc>,
) -> Result<Chosen, CustomerError> {
    let text = text.trim();
    if name_key(text).is_none() {
        return Ok(Chosen::default());
    }
    let chosen = |customer, is_new| Chosen {
        customer: Some(customer),
        is_new,
    };
    check_name(text, true)?;
    if let Some(found) = held(db, text).await? {
        return Ok(chosen(found, false));
    }
    if is_id(text) {
        return Err(CustomerError::UnknownId(text.to_owned()));
    }
    let customer = new.cloned().unwrap_or_else(|| new_customer(text, now));
    locks::hold(db, Lock::CustomerNames).await?;
    check_distinct(db, &customer).await?;
    if customers::insert(db, &customer).await? {
        return Ok(chosen(customer, true));
    }
    // Another call has added it at the same time.
    match held(db, text).await? {
        Some(found) => Ok(chosen(found, false)),
        None => Err(CustomerError::NameTaken(text.to_owned())),
    }
}

/// Locks a license that is about to get this customer, as [`Store::hold`] does. What [`choose`] needs is
/// locked before: a customer is renamed and merged with its licenses, so it always comes first.
///
/// # Errors
/// As [`Store::hold`].
pub(in crate::licensing) async fn hold_for_customer(
    store: &Store,
    license: License,
    customer: Option<&str>,
) -> Result<(Transaction, License), StoreError> {
    let transaction = store.begin_for(&license).await?;
    if let Some(text) = customer
        && name_key(text).is_some()
    {
        let mut found = customers::find(&transaction, text).await?;
        if found.is_empty() {
            // A new one, unless another call has just added it.
            locks::hold(&transaction, Lock::CustomerNames).await?;
            found = customers::find(&transaction, text).await?;
        }
        hold_all(&transaction, &found).await?;
    }
    let license = licenses::hold(&transaction, license).await?;
    Ok((transaction, license))
}

/// Locks customers, and those that they were merged into, in the order of their ids.
async fn hold_all(db: &impl ConnectionTrait, found: &[Customer]) -> Result<(), StoreError> {
    let ids = found
        .iter()
        .flat_map(|it| [Some(&it.id), it.merged_into.as_ref()]);
    let mut ids: Vec<&String> = ids.flatten().collect();
    ids.sort_unstable();
    for id in ids {
        customers::hold(db, id).await?;
    }
    Ok(())
}

/// A customer, or the one that it was merged into, locked.
async fn held(db: &impl ConnectionTrait, text: &str) -> Result<Option<Customer>, CustomerError> {
    let Some(found) = find(db, text).await? else {
        return Ok(None);
    };
    hold_all(db, std::slice::from_ref(&found)).await?;
    let Some(merged) = customers::find_merged(db, &found.id).await? else {
        return Ok(None);
    };
    if merged.id != found.id {
        // It may have been merged after it was found.
        customers::hold(db, &merged.id).await?;
    }
    Ok(customers::find_merged(db, &merged.id).await?)
}

/// The customer with this id, name or reference; `None` if there is none.
async fn find(db: &impl ConnectionTrait, text: &str) -> Result<Option<Customer>, CustomerError> {
    let mut found = customers::find(db, text).await?.into_iter();
    match (found.next(), found.next()) {
        (Some(named), Some(referenced)) => Err(CustomerError::Ambiguous {
            text: text.trim().to_owned(),
            named: named.id,
            referenced: referenced.id,
        }),
        (found, _) => Ok(found),
    }
}

/// The customer with this id, name or reference.
///
/// # Errors
/// If there is none, or the text is the name of one and the reference of another one.
pub async fn look_up(db: &impl ConnectionTrait, text: &str) -> Result<Customer, CustomerError> {
    let found = find(db, text).await?;
    found.ok_or_else(|| match is_id(text.trim()) {
        true => CustomerError::UnknownId(text.trim().to_owned()),
        false => CustomerError::Unknown(text.to_owned()),
    })
}

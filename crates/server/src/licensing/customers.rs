//! Customers: choose, add and change. Licenses carry the name of their customer, so that a new name
//! is in the next lease of each.

mod choice;
mod documents;
mod merge;

use chrono::{DateTime, Utc};
use license_core::customer_id::{from_random, is_id, name_key};
use license_core::signing_clock::ClockDoubt;
use license_service::database::repeated;
use license_service::random;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::sync::Mutex;

use crate::audit::{Action, Change};
use crate::licensing::document_size::TooLong;
use crate::licensing::text_bounds::fits;
use crate::store::customers::{self, Contact, Customer};
use crate::store::licenses;
use crate::store::locks::{self, Lock};
use crate::store::{Store, StoreError};
pub use choice::look_up;
pub(super) use choice::{Chosen, choose, hold_for_customer};
use documents::CheckedDocuments;
pub use merge::{Merged, NotAmended, merge};

/// Maximum length of a customer's name, in characters: the width of its column.
pub const MAX_CUSTOMER_CHARS: usize = 255;
/// Maximum length of a reference, and of each text of a contact, in characters.
pub const MAX_TEXT_CHARS: usize = 255;
/// Maximum number of contacts.
pub const MAX_CONTACTS: usize = 20;
/// Maximum length of the notes, in characters.
pub const MAX_NOTES_CHARS: usize = 4000;

/// What to change of a customer, or what a new one has. Fields that are `None` stay as they are.
#[derive(Clone, Debug, Default)]
pub struct CustomerEdit {
    /// The name.
    pub name: Option<String>,
    /// The vendor's own reference; `Some(None)` removes it.
    pub reference: Option<Option<String>>,
    /// All contacts.
    pub contacts: Option<Vec<Contact>>,
    /// For people.
    pub notes: Option<String>,
    /// When the customer was last changed, as far as the author knows. If it was changed later, it
    /// is not changed again.
    pub known_at: Option<DateTime<Utc>>,
}

/// Why a customer was not found, added or changed. Names of fields are those of the API.
#[derive(Debug, thiserror::Error)]
pub enum CustomerError {
    /// There is no such customer.
    #[error("no customer has the id {0}")]
    UnknownId(String),
    /// There is no such customer.
    #[error("no customer has the name or reference '{0}'")]
    Unknown(String),
    /// The name is too long.
    #[error("the name is limited to {MAX_CUSTOMER_CHARS} characters")]
    Name,
    /// The name is missing.
    #[error("the name is empty")]
    NoName,
    /// The name looks like an id.
    #[error("the name '{0}' looks like an id")]
    NameIsId(String),
    /// Another customer has the name.
    #[error("there is already a customer '{0}'; names that differ only in case count as the same")]
    NameTaken(String),
    /// Another customer has the reference.
    #[error("another customer has the reference '{0}'")]
    ReferenceTaken(String),
    /// The name is the reference of another customer, or the other way round.
    #[error(
        "'{text}' is the {is} of the customer {other}; the name of a customer cannot be the \
         reference of another customer, regardless of case"
    )]
    Confusing {
        /// The name or reference.
        text: String,
        /// `name` or `reference`.
        is: &'static str,
        /// The id of the other customer.
        other: String,
    },
    /// One customer has the text as its name, and another one as its reference.
    #[error(
        "'{text}' is the name of the customer {named} and the reference of the customer \
         {referenced}; use an id, or change the name or the reference"
    )]
    Ambiguous {
        /// The name and reference.
        text: String,
        /// The id of the customer with the name.
        named: String,
        /// The id of the customer with the reference.
        referenced: String,
    },
    /// Another field has an invalid value.
    #[error("invalid {field}: {why}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The customer was merged into another one.
    #[error("the customer {id} was merged into {into}")]
    Merged {
        /// The customer.
        id: String,
        /// The other one.
        into: String,
    },
    /// Others have changed the customer in the meantime.
    #[error("the customer was changed in the meantime; review the change, then make yours again")]
    Changed,
    /// A customer cannot be merged into itself.
    #[error("a customer cannot be merged into itself")]
    Itself,
    /// No site could read the documents of a license with the new name.
    #[error("the name is too long for the license {license}: {error}")]
    TooLong {
        /// The id of the license.
        license: String,
        /// How long it would be.
        error: TooLong,
    },
    /// A merge has moved only some of the licenses.
    #[error(
        "the merge was interrupted (licenses moved by it: {moved}); repeat the merge to move the \
         remaining licenses: {error}"
    )]
    Interrupted {
        /// How many it has moved.
        moved: u64,
        /// Why it ended.
        error: Box<CustomerError>,
    },
    /// The clock may be wrong.
    #[error(transparent)]
    Clock(#[from] ClockDoubt),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The customer that a request describes: `before` with other values, or a new one. Whether another
/// customer has its name or reference is not checked.
///
/// # Errors
/// For each value that is not accepted, and [`CustomerError::Changed`].
pub fn checked(
    before: Option<&Customer>,
    request: &CustomerEdit,
    now: DateTime<Utc>,
) -> Result<Customer, CustomerError> {
    let Some(before) = before else {
        let name = request.name.as_deref().unwrap_or_default();
        check_name(name, false)?;
        return edited(new_customer(name, now), request);
    };
    if let Some(name) = &request.name {
        check_name(name, false)?;
    }
    if request.known_at.is_some_and(|at| at != before.updated_at) {
        return Err(CustomerError::Changed);
    }
    edited(before.clone(), request)
}

/// Adds a customer.
///
/// # Errors
/// One [`CustomerError`] for each reason; nothing is added then.
pub async fn add(
    store: &Store,
    request: &CustomerEdit,
    change: &Change,
) -> Result<Customer, CustomerError> {
    let customer = checked(None, request, change.at)?;
    repeated(|| try_add(store, &customer, change)).await
}

async fn try_add(
    store: &Store,
    customer: &Customer,
    change: &Change,
) -> Result<Customer, CustomerError> {
    let transaction = store.begin().await?;
    locks::hold(&transaction, Lock::CustomerNames).await?;
    check_free(&transaction, customer).await?;
    if !customers::insert(&transaction, customer).await? {
        return Err(CustomerError::NameTaken(customer.name.clone()));
    }
    let details = json!({"name": customer.name, "reference": customer.reference});
    change
        .note_other(&transaction, Action::CustomerAdded, &customer.id, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(customer.clone())
}

/// Changes a customer. A new name is in the next lease of each of its licenses.
///
/// # Errors
/// One [`CustomerError`] for each reason; nothing is changed then.
pub async fn edit(
    store: &Store,
    customer: &str,
    request: &CustomerEdit,
    change: &Change,
) -> Result<Customer, CustomerError> {
    if let Some(name) = &request.name {
        check_name(name, false)?;
    }
    // What was checked need not be checked again when the transaction is repeated.
    let documents = &Mutex::new(CheckedDocuments::default());
    repeated(async || {
        let mut documents = documents.lock().await;
        try_edit(store, customer, request, &mut documents, change).await
    })
    .await
}

async fn try_edit(
    store: &Store,
    customer: &str,
    request: &CustomerEdit,
    documents: &mut CheckedDocuments,
    change: &Change,
) -> Result<Customer, CustomerError> {
    let known = look_up(store.reader(), customer).await?;
    let name = checked(Some(&known), request, change.at)?.name;
    if name != known.name {
        documents.check(store, &known.id, &name, change.at).await?;
    }
    let transaction = store.begin().await?;
    let id = known.id;
    if request.name.is_some() || request.reference.is_some() {
        locks::hold(&transaction, Lock::CustomerNames).await?;
    }
    customers::hold(&transaction, &id).await?;
    let before = look_up(&transaction, &id).await?;
    let after = checked(Some(&before), request, change.at)?;
    if after == before {
        return Ok(before);
    }
    let after = Customer {
        updated_at: change.at,
        ..after
    };
    if (&after.name, &after.reference) != (&before.name, &before.reference) {
        check_free(&transaction, &after).await?;
    }
    if after.name != before.name {
        if !documents.cover(&transaction, &id, &after.name).await? {
            return Err(StoreError::changed().into());
        }
        licenses::rename_customer(&transaction, &id, &after.name, change.at).await?;
    }
    match customers::save(&transaction, &after).await {
        // Another call has taken it at the same time.
        Err(error) if error.is_taken() => return Err(CustomerError::NameTaken(after.name)),
        saved => saved?,
    }
    let details = json!({
        "name": after.name,
        "before": (after.name != before.name).then_some(before.name),
        "reference": after.reference,
    });
    change
        .note_other(&transaction, Action::CustomerChanged, &id, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(after)
}

/// Checks that no other customer has the name or the reference.
async fn check_free(db: &impl ConnectionTrait, customer: &Customer) -> Result<(), CustomerError> {
    let found = customers::find(db, &customer.name).await?;
    let is_same = |found: &Customer| name_key(&found.name) == name_key(&customer.name);
    if found.iter().any(|it| it.id != customer.id && is_same(it)) {
        return Err(CustomerError::NameTaken(customer.name.clone()));
    }
    if let Some(reference) = &customer.reference
        && customers::has_reference(db, reference, &customer.id).await?
    {
        return Err(CustomerError::ReferenceTaken(reference.clone()));
    }
    check_distinct(db, customer).await
}

/// Checks that no other customer has the name as its reference, or the reference as its name.
async fn check_distinct(
    db: &impl ConnectionTrait,
    customer: &Customer,
) -> Result<(), CustomerError> {
    let Some(other) = customers::confused_with(db, customer).await? else {
        return Ok(());
    };
    let has_name = name_key(&customer.name);
    let is_reference = other.reference.as_deref().and_then(name_key) == has_name;
    let (text, is) = match &customer.reference {
        Some(reference) if !is_reference => (reference, "name"),
        _ => (&customer.name, "reference"),
    };
    Err(CustomerError::Confusing {
        text: text.clone(),
        is,
        other: other.id,
    })
}

fn new_customer(name: &str, now: DateTime<Utc>) -> Customer {
    Customer {
        id: from_random(&random::bytes()),
        name: name.trim().to_owned(),
        reference: None,
        contacts: Vec::new(),
        notes: String::new(),
        merged_into: None,
        created_at: now,
        updated_at: now,
    }
}

fn check_name(name: &str, may_be_id: bool) -> Result<(), CustomerError> {
    let name = name.trim();
    if !fits(name, MAX_CUSTOMER_CHARS) {
        return Err(CustomerError::Name);
    }
    if name_key(name).is_none() {
        return Err(CustomerError::NoName);
    }
    match is_id(name) && !may_be_id {
        true => Err(CustomerError::NameIsId(name.to_owned())),
        false => Ok(()),
    }
}

/// The customer with the requested values.
fn edited(customer: Customer, request: &CustomerEdit) -> Result<Customer, CustomerError> {
    let reference = request.reference.clone().unwrap_or(customer.reference);
    let reference = reference.map(|it| it.trim().to_owned());
    let edited = Customer {
        name: match &request.name {
            Some(name) => name.trim().to_owned(),
            None => customer.name,
        },
        reference: reference.filter(|it| !it.is_empty()),
        contacts: request.contacts.clone().unwrap_or(customer.contacts),
        notes: request.notes.clone().unwrap_or(customer.notes),
        ..customer
    };
    check_text("reference", edited.reference.as_deref(), MAX_TEXT_CHARS)?;
    check_text("notes", Some(&edited.notes), MAX_NOTES_CHARS)?;
    if edited.contacts.len() > MAX_CONTACTS {
        return Err(CustomerError::Field {
            field: "contacts",
            why: format!("limited to {MAX_CONTACTS} contacts"),
        });
    }
    for contact in &edited.contacts {
        let Contact { name, email, phone } = contact;
        for text in [Some(name.as_str()), email.as_deref(), phone.as_deref()] {
            check_text("contacts", text, MAX_TEXT_CHARS)?;
        }
        if name.trim().is_empty() && email.is_none() && phone.is_none() {
            return Err(CustomerError::Field {
                field: "contacts",
                why: "a contact must have a name, an e-mail address or a telephone number"
                    .to_owned(),
            });
        }
    }
    Ok(edited)
}

fn check_text(field: &'static str, text: Option<&str>, max: usize) -> Result<(), CustomerError> {
    let text = text.unwrap_or_default();
    if !fits(text, max) {
        let why = format!("limited to {max} characters");
        return Err(CustomerError::Field { field, why });
    }
    Ok(())
}

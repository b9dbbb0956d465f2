//! Issue a license.

mod error;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::amendment::{self, Amendment, TermChanges, check};
use license_core::catalogue::Catalogue;
use license_core::entitlement::Quantity;
use license_core::feature::FeatureKey;
use license_core::license_key::{LicenseKey, mask};
use license_core::license_state::Decided;
use license_core::plan::{LicenseEnd, Order, Plan, PlanChoice, issued};
use license_core::usage::Resource;
use license_service::database::{Transaction, repeated};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Action, PermittedChange};
use crate::keyed_call::{CREATED, note_answer};
use crate::licensing::catalogue::UNLIMITED;
use crate::licensing::customers::{MAX_CUSTOMER_CHARS, choose};
use crate::licensing::document_size::check_size;
use crate::licensing::expiry::check_expiry;
use crate::licensing::judge::ShownLicense;
use crate::licensing::line_done::Storing;
use crate::licensing::plans::find_plan;
use crate::licensing::random_code::random_key;
use crate::licensing::text_bounds::fits;
use crate::store::customers::Customer;
use crate::store::licenses::{self, License};
use crate::store::plans::PublishedPlan;
use crate::store::{Store, amendments, catalogue};
pub use error::IssueError;

/// The license to issue: a plan, and the differences from it.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// The plan.
    pub plan: PlanChoice,
    /// The customer: its id, name or reference, or the name of a new one; empty for none.
    pub customer: String,
    /// The terms that differ from the plan's.
    pub terms: TermChanges,
    /// Maximum number of cameras; -1 is unlimited.
    pub max_cameras: Option<i64>,
    /// Maximum number of users; -1 is unlimited.
    pub max_users: Option<i64>,
    /// Maximum storage in GB; -1 is unlimited.
    pub max_storage_gb: Option<i64>,
    /// How much of what is counted, in place of the plan's, by the keys of the catalogue.
    pub quantities: BTreeMap<String, Quantity>,
    /// Features in addition to the plan's.
    pub with: Vec<String>,
    /// Features of the plan to exclude.
    pub without: Vec<String>,
    /// The first instant at which anything is in force.
    pub starts_at: Option<DateTime<Utc>>,
    /// The last instant at which the license may be used; `None` is the plan's.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether the license never ends, even if the plan has a duration. Does not count if there is
    /// an end.
    pub never_expires: bool,
    /// A key to use; otherwise a new one is generated.
    pub key: Option<String>,
}

impl IssueRequest {
    /// A license of this plan, unmodified.
    #[must_use]
    pub fn of(plan: impl Into<PlanChoice>) -> Self {
        Self {
            plan: plan.into(),
            customer: String::new(),
            terms: TermChanges::default(),
            max_cameras: None,
            max_users: None,
            max_storage_gb: None,
            quantities: BTreeMap::new(),
            with: Vec::new(),
            without: Vec::new(),
            starts_at: None,
            expires_at: None,
            never_expires: false,
            key: None,
        }
    }
}

/// A license to issue, with its first amendment.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The license, with its key.
    pub license: License,
    /// What it consists of.
    pub first: Amendment,
}

/// Issues a license.
///
/// # Errors
/// One [`IssueError`] for each reason; nothing is issued then.
pub async fn issue(
    store: &Store,
    request: IssueRequest,
    change: &PermittedChange,
) -> Result<License, IssueError> {
    let draft = prepare(store, request, change).await?;
    repeated(|| add(store, draft.clone(), change, Storing::ALONE)).await
}

/// The same for a line of a file: exactly once, or with `is_dry_run` without issuing it.
///
/// # Errors
/// [`IssueError::Done`] if that was done before, and as [`issue`].
pub async fn issue_once(
    store: &Store,
    request: IssueRequest,
    change: &PermittedChange,
    line: &str,
    is_dry_run: bool,
) -> Result<License, IssueError> {
    let storing = Storing::of_line(line, is_dry_run);
    storing.check(store.reader()).await?;
    let draft = prepare(store, request, change).await?;
    let issued = repeated(|| add(store, draft.clone(), change, storing)).await;
    match issued {
        // Another process may have done the line at the same time.
        Err(IssueError::Store(error)) if error.is_taken() => {
            storing.check(store.reader()).await?;
            Err(error.into())
        }
        issued => issued,
    }
}

/// What [`issue`] would do, without doing it. The license in the draft has its customer.
///
/// # Errors
/// As [`issue`].
pub async fn preview(
    store: &Store,
    request: IssueRequest,
    change: &PermittedChange,
) -> Result<Draft, IssueError> {
    let draft = prepare(store, request, change).await?;
    let license = repeated(|| add(store, draft.clone(), change, Storing::PREVIEW)).await?;
    Ok(Draft { license, ..draft })
}

async fn add(
    store: &Store,
    draft: Draft,
    change: &PermittedChange,
    storing: Storing<'_>,
) -> Result<License, IssueError> {
    let transaction = store.begin().await?;
    storing.check(&transaction).await?;
    storing
        .note(&transaction, &draft.license, change.at)
        .await?;
    let license = add_in(&transaction, draft, change, json!({})).await?;
    if storing.is_stored() {
        let shown = || ShownLicense::of(license.clone(), change.at);
        note_answer(&transaction, CREATED, shown).await?;
    }
    if storing.end(transaction).await? {
        let license_key = mask(&license.license_key);
        tracing::info!(license_key, plan = license.plan, "license issued");
    }
    Ok(license)
}

/// Issues a license in a transaction. Its entry in the audit log has these details, too.
///
/// # Errors
/// As [`issue`].
pub(super) async fn add_in(
    db: &Transaction,
    draft: Draft,
    change: &PermittedChange,
    more: serde_json::Value,
) -> Result<License, IssueError> {
    let Draft { license, mut first } = draft;
    let known = licenses::find(db, &license.license_key).await?;
    if known.is_some() {
        return Err(IssueError::Exists(license.license_key));
    }
    let chosen = choose(db, &license.customer, None, change.at).await?;
    let is_new_customer = chosen.is_new;
    let license = license_of(license, chosen.customer);
    let id = license.customer_id.as_deref().unwrap_or_default();
    for change in &mut first.changes {
        if let amendment::Change::Customer(customer) = change {
            id.clone_into(customer);
        }
    }
    // The name may be longer than the text by which it was found.
    check_size(&license, std::slice::from_ref(&first), change.at)?;
    if let Err(error) = licenses::insert(db, &license).await {
        return Err(if error.is_taken() {
            // Another call has issued it at the same time.
            IssueError::Exists(license.license_key)
        } else {
            error.into()
        });
    }
    amendments::insert(db, &license.id, &first).await?;
    let mut details = json!({
        "tier": license.tier,
        "plan": license.plan,
        "customer": license.customer,
        "customerId": license.customer_id,
        "features": license.features,
        "maxCameras": license.max_cameras,
        "maxUsers": license.max_users,
        "maxStorageGb": license.max_storage_gb,
        "seats": license.seats,
        "moves": license.moves,
        "movesPeriodDays": license.moves_period_days,
        "expiresAt": license.expires_at,
        "lastsFromActivation": license.lasts_from_activation,
    });
    if is_new_customer {
        details["newCustomer"] = true.into();
    }
    if let (Some(details), serde_json::Value::Object(more)) = (details.as_object_mut(), more) {
        details.extend(more);
    }
    change.note(db, Action::Issued, &license, details).await?;
    Ok(license)
}

fn license_of(license: License, customer: Option<Customer>) -> License {
    let (id, name) = customer.map(|it| (it.id, it.name)).unzip();
    License {
        customer: name.unwrap_or_default(),
        customer_id: id,
        ..license
    }
}

/// The license to issue, as far as the request itself says.
///
/// # Errors
/// As [`issue`], for all that is wrong with the request itself.
async fn prepare(
    store: &Store,
    request: IssueRequest,
    change: &PermittedChange,
) -> Result<Draft, IssueError> {
    let plan = find_plan(store.reader(), &request.plan).await?;
    let catalogue = catalogue::kinds(store.reader()).await?;
    draft(&request, &plan, &catalogue, change)
}

/// The license that would be issued from this plan.
///
/// # Errors
/// As [`issue`], for all that is wrong with the request itself.
pub fn draft(
    request: &IssueRequest,
    plan: &PublishedPlan,
    catalogue: &Catalogue,
    change: &PermittedChange,
) -> Result<Draft, IssueError> {
    if plan.contents.add_on {
        return Err(IssueError::ForAddOns(plan.version.clone()));
    }
    let key = match &request.key {
        Some(text) => LicenseKey::parse(text)?,
        None => random_key()?,
    };
    let at = change.at.trunc_subsecs(0);
    let customer = request.customer.clone();
    let first = Amendment {
        number: 1,
        author: change.by.to_string(),
        reason: None,
        order: None,
        recorded_at: at,
        effective_at: at,
        undoes: None,
        changes: {
            let start = request.starts_at.unwrap_or(at);
            let order = order(request, &plan.contents, catalogue, start, change.at)?;
            issued(plan.version.clone(), &plan.contents, order, start)?
        },
    };
    check(&[], &first, Decided::Valid).map_err(|error| IssueError::Rule { error })?;
    let id = Uuid::new_v4().to_string();
    let license = License {
        customer,
        trial: plan.contents.trial,
        ..License::issued(id, key.to_string(), &first, change.at)
    };
    check_size(&license, std::slice::from_ref(&first), change.at)?;
    Ok(Draft { license, first })
}

/// The differences from the plan, for a license whose time starts at `start`.
fn order(
    request: &IssueRequest,
    plan: &Plan,
    catalogue: &Catalogue,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Order, IssueError> {
    let terms = plan.terms(start)?.with(&request.terms);
    let end = match request.expires_at {
        Some(end) => LicenseEnd::At(Some(end.trunc_subsecs(0))),
        None if request.never_expires => LicenseEnd::At(None),
        None => plan.end(start)?,
    };
    check_expiry(end.at(), now)?;
    if !fits(&request.customer, MAX_CUSTOMER_CHARS) {
        return Err(IssueError::Customer);
    }
    let is_feature = |key: &str| {
        let mut entitlements = plan.entitlements.iter();
        entitlements.any(|it| it.key == key && it.quantity.is_none())
    };
    if let Some(missing) = request.without.iter().find(|key| !is_feature(key)) {
        return Err(IssueError::NotInPlan(missing.clone()));
    }
    let without = request.without.iter().map(|key| feature_key(key));
    let with = request.with.iter().map(|key| {
        let parsed = feature_key(key)?;
        catalogue.check(key, None)?;
        Ok(parsed)
    });
    Ok(Order {
        starts_at: request.starts_at,
        end,
        terms,
        quantities: quantities(request, catalogue)?,
        without: without.collect::<Result<BTreeSet<_>, _>>()?,
        with: with.collect::<Result<_, IssueError>>()?,
        // The id is known when the license is stored.
        customer: String::new(),
    })
}

/// The quantities that differ from the plan's.
fn quantities(
    request: &IssueRequest,
    catalogue: &Catalogue,
) -> Result<BTreeMap<FeatureKey, Quantity>, IssueError> {
    let mut quantities = BTreeMap::new();
    for (key, quantity) in &request.quantities {
        let parsed = feature_key(key)?;
        catalogue
            .check(key, Some(*quantity))
            .map_err(IssueError::NotCounted)?;
        quantities.insert(parsed, *quantity);
    }
    for (resource, name, value) in [
        (Resource::Cameras, "maxCameras", request.max_cameras),
        (Resource::Users, "maxUsers", request.max_users),
        (Resource::StorageGb, "maxStorageGb", request.max_storage_gb),
    ] {
        let Some(value) = value else {
            continue;
        };
        let quantity = match u64::try_from(value) {
            Ok(number) => Quantity::Of(number),
            Err(_) if value == UNLIMITED => Quantity::Unlimited,
            Err(_) => return Err(IssueError::Limit { name, value }),
        };
        quantities.insert(feature_key(resource.as_str())?, quantity);
    }
    Ok(quantities)
}

fn feature_key(key: &str) -> Result<FeatureKey, IssueError> {
    FeatureKey::parse(key).map_err(|error| IssueError::Feature {
        key: key.to_owned(),
        error,
    })
}

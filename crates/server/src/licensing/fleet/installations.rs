//! Installations with their standing, as lists show them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, TryStreamExt as _};
use license_core::entitlement::Quantity;
use license_core::fleet::is_over;
use license_core::usage::{Resource, Usage};
use sea_orm::ConnectionTrait;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::licensing::seen_standing::Seen;
use crate::store::installations::{Installation, Window, all};
use crate::store::licenses::counts_schema;
use crate::store::page::{Page, PageStart, Room, SortOrder};
use crate::store::{StoreError, suspicions};

/// Suspicions older than this are not counted.
const SUSPECTED_FOR: TimeDelta = TimeDelta::days(30);

/// Filters of installations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Only those with this standing.
    pub standing: Option<Seen>,
    /// Only those of this version.
    pub version: Option<String>,
    /// `true` lists only installations that use more than their license allows, `false` only the
    /// others.
    pub over_limit: Option<bool>,
    /// Only those that are suspected of something, or only the others.
    pub suspected: Option<bool>,
}

/// An installation and its standing.
#[derive(Clone, Debug)]
pub struct Member {
    /// The data of the installation.
    pub installation: Installation,
    /// Its standing.
    pub seen: Seen,
    /// Whether it exceeds a limit of its license.
    pub over_limit: bool,
    /// Whether there is a suspicion about it.
    pub suspected: bool,
}

/// An installation as programs see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ListedInstallation)]
pub struct ShownInstallation {
    /// The id of the license.
    pub license_id: String,
    /// Its key.
    pub license_key: String,
    /// The name of the customer.
    pub customer: String,
    /// The machine.
    pub hardware_id: String,
    /// The installation on it.
    pub installation_id: String,
    /// Its display name.
    pub installation_name: String,
    /// The version of the VMS.
    pub installation_version: String,
    /// When it last called.
    pub last_seen_at: DateTime<Utc>,
    /// Its standing.
    pub standing: Seen,
    /// Whether it uses more than its license grants.
    pub over_limit: bool,
    /// Whether there was a suspicion about it in the last 30 days.
    pub suspected: bool,
    /// The usage that it last reported; `null` where it is not known.
    #[schema(value_type = Object)]
    pub usage: Usage,
    /// The number of cameras that its license grants; -1 is unlimited.
    pub max_cameras: i64,
    /// The number of users that its license grants; -1 is unlimited.
    pub max_users: i64,
    /// The storage that its license grants, in GB; -1 is unlimited.
    pub max_storage_gb: i64,
    /// Everything else that is counted, by its key.
    #[schema(schema_with = counts_schema)]
    pub max_counts: BTreeMap<String, Quantity>,
}

impl From<Member> for ShownInstallation {
    fn from(member: Member) -> Self {
        let it = member.installation;
        Self {
            max_cameras: it.limit(Resource::Cameras),
            max_users: it.limit(Resource::Users),
            max_storage_gb: it.limit(Resource::StorageGb),
            license_id: it.license_id,
            license_key: it.license_key,
            customer: it.customer,
            hardware_id: it.hardware_id,
            installation_id: it.installation_id,
            installation_name: it.installation_name,
            installation_version: it.installation_version,
            last_seen_at: it.last_seen_at,
            standing: member.seen,
            over_limit: member.over_limit,
            suspected: member.suspected,
            usage: it.usage,
            max_counts: it.counts,
        }
    }
}

/// The machines of each license that were suspected of something in the last 30 days.
///
/// # Errors
/// If the database returns an error.
pub async fn suspected(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<HashMap<String, HashSet<String>>, StoreError> {
    suspicions::suspected_since(db, now - SUSPECTED_FOR).await
}

/// A page of installations, and how many match in all.
pub(super) type Found = (Page<Member>, u64);

/// Evaluates every installation, for a page of those that match.
pub(super) async fn evaluate(
    app: &App,
    filter: &Filter,
    order: SortOrder,
    window: Window,
) -> Result<Found, StoreError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let suspected = suspected(db, now).await?;
    let mut rows = pin!(all(db, order, None).await?);
    let mut page = Filling::of(window.limit);
    let mut found = 0;
    while let Some(installation) = rows.try_next().await? {
        let it = Member::of(installation, &suspected, now);
        if !filter.takes(&it) {
            continue;
        }
        let has_begun = match &window.start {
            PageStart::Offset(offset) => found >= *offset,
            PageStart::After(cursor) => cursor.is_before(&it.installation),
        };
        if has_begun {
            page.push(it);
        }
        found += 1;
    }
    Ok((page.page, found))
}

/// The first installations of a stream, as many as fit on a page of at most `limit`.
pub(super) async fn fill(
    members: impl Stream<Item = Result<Member, StoreError>>,
    limit: u64,
) -> Result<Page<Member>, StoreError> {
    let mut members = pin!(members);
    let mut page = Filling::of(limit);
    while let Some(member) = members.try_next().await? {
        page.push(member);
    }
    Ok(page.page)
}

/// A page that is being filled.
struct Filling {
    page: Page<Member>,
    limit: usize,
    room: Room,
}

impl Filling {
    fn of(limit: u64) -> Self {
        Self {
            page: Page::default(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            room: Room::default(),
        }
    }

    /// Adds the next member, or notes that there is another page.
    fn push(&mut self, member: Member) {
        let Page { rows, has_more } = &mut self.page;
        let fits = rows.len() < self.limit && self.room.takes(member.installation.bytes());
        match fits && !*has_more {
            true => rows.push(member),
            false => *has_more = true,
        }
    }
}

impl Filter {
    pub(super) fn takes_all(&self) -> bool {
        self.standing.is_none()
            && self.version.is_none()
            && self.over_limit.is_none()
            && self.suspected.is_none()
    }

    /// Whether an installation matches.
    #[must_use]
    pub fn takes(&self, it: &Member) -> bool {
        let version = self.version.as_ref();
        self.standing.is_none_or(|seen| seen == it.seen)
            && version.is_none_or(|version| *version == it.installation.installation_version)
            && self.over_limit.is_none_or(|over| over == it.over_limit)
            && self
                .suspected
                .is_none_or(|suspected| suspected == it.suspected)
    }
}

impl Member {
    /// An installation at `now`, with the machines of each license that are suspected of something.
    #[must_use]
    pub fn of(
        installation: Installation,
        suspected: &HashMap<String, HashSet<String>>,
        now: DateTime<Utc>,
    ) -> Self {
        let suspected = suspected.get(&installation.license_id);
        Self {
            seen: Seen::of(
                installation.status,
                installation.expires_at,
                installation.signed,
                now,
            ),
            over_limit: is_over(&installation.usage, |key| installation.granted(key)),
            suspected: suspected.is_some_and(|it| it.contains(&installation.hardware_id)),
            installation,
        }
    }
}

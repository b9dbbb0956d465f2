//! The audit log of changes and their authors. An entry is written in the same transaction as its
//! change, and only if the author's token may still be used then.

mod action;

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, NaiveTime, Utc};
use license_core::license_key::mask;
use license_core::rate::max_site_entries;
use license_core::signing_clock::{ClockDoubt, SigningTime};
use license_service::clock::Clock;
use license_service::sessions::Door;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::keyed_call::note_change;
use crate::signing::clock::SigningClock;
use crate::store::audit_log::{self, Entry};
use crate::store::licenses::License;
use crate::store::{StoreError, admin_tokens, site_entries};
pub use action::Action;

/// The author of changes with the `ADMIN_TOKEN`.
pub const BREAK_GLASS: &str = "break-glass";

/// The author of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user on the License Server's machine.
    CommandLine,
    /// The same, with a token.
    Operator {
        /// The name of the token.
        name: String,
        /// The token.
        token: AuthorToken,
    },
    /// A person or program with a token.
    Staff {
        /// The name of the token, or [`BREAK_GLASS`].
        name: String,
        /// The named token; `None` for the `ADMIN_TOKEN`.
        token: Option<AuthorToken>,
        /// Whether it was a browser or a program.
        door: Door,
        /// The address of the caller.
        address: IpAddr,
    },
    /// The site itself.
    Site,
    /// The License Server itself, at its first start.
    Service,
}

/// The named token of an author, and the clock by which it expires: a change may be stored much later
/// than it was requested.
#[derive(Clone)]
pub struct AuthorToken {
    id: i64,
    clock: Arc<dyn Clock>,
}

impl AuthorToken {
    /// The token with this number.
    #[must_use]
    pub fn new(id: i64, clock: Arc<dyn Clock>) -> Self {
        Self { id, clock }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }
}

impl PartialEq for AuthorToken {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for AuthorToken {}

impl fmt::Debug for AuthorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthorToken").field(&self.id).finish()
    }
}

/// The author of several changes, each of which is stored in its own transaction, and made at the
/// time of that transaction.
pub struct Author<'a> {
    by: Actor,
    clock: &'a dyn Clock,
    signing_clock: &'a SigningClock,
}

impl<'a> Author<'a> {
    /// An author, with the clocks that tell the times of the changes.
    #[must_use]
    pub fn new(by: Actor, clock: &'a dyn Clock, signing_clock: &'a SigningClock) -> Self {
        Self {
            by,
            clock,
            signing_clock,
        }
    }

    /// The change that is made now.
    ///
    /// # Errors
    /// [`ClockDoubt`], while the clock may be wrong.
    pub fn change(&self) -> Result<PermittedChange, ClockDoubt> {
        let at = self.signing_clock.permit(self.clock.now())?;
        Ok(PermittedChange::new(self.by.clone(), at))
    }
}

/// The author and time of a change.
#[derive(Clone, Debug)]
pub struct Change {
    /// The author.
    pub by: Actor,
    /// The time.
    pub at: DateTime<Utc>,
}

/// A change at a time at which the clock is trusted: what it records counts from that time on, and
/// cannot be taken back.
#[derive(Clone, Debug)]
pub struct PermittedChange {
    change: Change,
    time: SigningTime,
}

impl PermittedChange {
    /// A change at this time.
    #[must_use]
    pub fn new(by: Actor, time: SigningTime) -> Self {
        let at = time.instant();
        Self {
            change: Change { by, at },
            time,
        }
    }

    /// The time.
    #[must_use]
    pub fn time(&self) -> SigningTime {
        self.time
    }
}

impl Deref for PermittedChange {
    type Target = Change;

    fn deref(&self) -> &Change {
        &self.change
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Operator { name, .. } | Self::Staff { name, .. } => f.write_str(name),
            Self::Site => f.write_str("site"),
            Self::Service => f.write_str("service"),
        }
    }
}

impl Actor {
    /// From where the owner of a token made a change.
    fn source(&self) -> Option<String> {
        match self {
            Self::Operator { .. } => Some("command line".to_owned()),
            Self::Staff { door, address, .. } => Some(match door {
                Door::Console => format!("console from {address}"),
                Door::Api => format!("API from {address}"),
            }),
            Self::CommandLine | Self::Site | Self::Service => None,
        }
    }
}

impl Change {
    /// Checks that the author's token is neither revoked nor expired now, in the transaction of the
    /// change, which may be much later than the request. Every entry is preceded by this check; a
    /// change without an entry calls it directly.
    ///
    /// # Errors
    /// [`StoreError::TokenRevoked`], [`StoreError::TokenExpired`], or if the database returns an
    /// error; nothing may be stored then.
    pub async fn check_author(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        match &self.by {
            Actor::Operator { name, token }
            | Actor::Staff {
                token: Some(token),
                name,
                ..
            } => {
                let now = token.clock.now();
                admin_tokens::check_usable(db, token.id, name, now).await
            }
            Actor::Staff { token: None, .. }
            | Actor::CommandLine
            | Actor::Site
            | Actor::Service => Ok(()),
        }
    }

    /// Records an action on a license.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn note(
        &self,
        db: &impl ConnectionTrait,
        action: Action,
        license: &License,
        details: Value,
    ) -> Result<(), StoreError> {
        let subject = mask(&license.license_key);
        self.write(db, action, Some(&license.id), subject, details)
            .await
    }

    /// Records an action on a machine's seat of a license, which must be locked. Actions of sites
    /// beyond [`max_site_entries`] are only counted, except for each machine's first taken and
    /// first freed seat of a day, which are always written: seats and moves limit the number of
    /// machines.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn note_seat(
        &self,
        db: &impl ConnectionTrait,
        action: Action,
        license: &License,
        hardware_id: &str,
        details: Value,
    ) -> Result<(), StoreError> {
        if self.by == Actor::Site && action.is_unbounded() {
            let max = max_site_entries(license.seats);
            let day = self.at.date_naive();
            let mut entries = site_entries::of_day(db, &license.id, day).await?;
            let is_written = entries.written < max
                || self
                    .is_first_of_day(db, action, license, hardware_id)
                    .await?;
            if is_written {
                entries.written += 1;
            } else {
                entries.counted += 1;
            }
            site_entries::save(db, &entries).await?;
            if !is_written {
                if entries.counted > 1 {
                    return Ok(());
                }
                let details = json!({"entries": max});
                let action = Action::SiteEntriesLimited;
                return self.note(db, action, license, details).await;
            }
        }
        let subject = hardware_id.to_owned();
        self.write(db, action, Some(&license.id), subject, details)
            .await
    }

    /// Whether a machine takes or frees a seat for the first time on this day.
    async fn is_first_of_day(
        &self,
        db: &impl ConnectionTrait,
        action: Action,
        license: &License,
        hardware_id: &str,
    ) -> Result<bool, StoreError> {
        if !matches!(action, Action::SeatTaken | Action::SeatGivenBack) {
            return Ok(false);
        }
        let day = self.at.date_naive().and_time(NaiveTime::MIN).and_utc();
        let before = audit_log::any_of_machine(db, action.as_str(), &license.id, hardware_id, day);
        Ok(!before.await?)
    }

    /// Records an action on a subject that is no license: a key, a plan, a token, a customer, or
    /// what else the action names.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn note_other(
        &self,
        db: &impl ConnectionTrait,
        action: Action,
        subject: &str,
        details: Value,
    ) -> Result<(), StoreError> {
        self.write(db, action, None, subject.to_owned(), details)
            .await
    }

    async fn write(
        &self,
        db: &impl ConnectionTrait,
        action: Action,
        license_id: Option<&str>,
        subject: String,
        details: Value,
    ) -> Result<(), StoreError> {
        // That something did not happen is recorded in any case.
        if action != Action::KeysUnchanged {
            self.check_author(db).await?;
            note_change(db, || done(action, license_id, &subject)).await?;
        }
        let entry = Entry {
            number: 0,
            at: self.at,
            actor: self.by.to_string(),
            source: self.by.source(),
            action: action.as_str().to_owned(),
            license_id: license_id.map(str::to_owned),
            subject,
            details: Some(details).filter(|details| !details.is_null()),
        };
        audit_log::append(db, entry).await
    }
}

/// What was done, for the caller of a call whose answer is lost.
fn done(action: Action, license_id: Option<&str>, subject: &str) -> String {
    let action = action.as_str();
    match license_id {
        Some(id) => format!("{action} {subject}, license {id}"),
        None => format!("{action} {subject}"),
    }
}

//! Who changes what, as the audit log has it: an entry is written in the same
//! transaction as its change.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use license_core::license_key::mask;
use sea_orm::ConnectionTrait;
use serde_json::Value;

use crate::store::StoreError;
use crate::store::audit_log::{self, Entry};
use crate::store::licenses::License;

/// Who changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody on the License Server's machine.
    CommandLine,
    /// A browser, from this address.
    Console(IpAddr),
    /// A program with the administrator's token, from this address.
    Api(IpAddr),
    /// The site itself.
    Site,
    /// The License Server by itself, at its first start.
    Service,
}

/// Who changes something, and when.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A license was issued.
    Issued,
    /// Its end was set.
    Renewed,
    /// It was taken back for the time being.
    Suspended,
    /// It was given back.
    Reinstated,
    /// It was taken back for good.
    Revoked,
    /// A machine has taken a seat.
    SeatTaken,
    /// A machine has given its seat back.
    SeatGivenBack,
    /// The vendor has taken a machine's seat.
    SeatFreed,
    /// A request file was answered.
    OfflineSigned,
    /// A signing key was made.
    KeyMade,
    /// A signing key was revoked.
    KeyRevoked,
    /// What the entry before says of a signing key was not done after all.
    KeysUnchanged,
}

impl Action {
    /// The text in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Renewed => "renewed",
            Self::Suspended => "suspended",
            Self::Reinstated => "reinstated",
            Self::Revoked => "revoked",
            Self::SeatTaken => "seat_taken",
            Self::SeatGivenBack => "seat_given_back",
            Self::SeatFreed => "seat_freed",
            Self::OfflineSigned => "offline_signed",
            Self::KeyMade => "key_made",
            Self::KeyRevoked => "key_revoked",
            Self::KeysUnchanged => "keys_unchanged",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Console(address) => write!(f, "console from {address}"),
            Self::Api(address) => write!(f, "API from {address}"),
            Self::Site => f.write_str("site"),
            Self::Service => f.write_str("service"),
        }
    }
}

impl Change {
    /// Notes what is done with a license.
    ///
    /// # Errors
    /// When the database refuses.
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

    /// Notes what is done with a machine's seat of a license.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_seat(
        &self,
        db: &impl ConnectionTrait,
        action: Action,
        license_id: &str,
        hardware_id: &str,
        details: Value,
    ) -> Result<(), StoreError> {
        let subject = hardware_id.to_owned();
        self.write(db, action, Some(license_id), subject, details)
            .await
    }

    /// Notes what is done with a signing key.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_key(
        &self,
        db: &impl ConnectionTrait,
        action: Action,
        kid: &str,
        details: Value,
    ) -> Result<(), StoreError> {
        self.write(db, action, None, kid.to_owned(), details).await
    }

    async fn write(
        &self,
        db: &impl ConnectionTrait,
        action: Action,
        license_id: Option<&str>,
        subject: String,
        details: Value,
    ) -> Result<(), StoreError> {
        let entry = Entry {
            number: 0,
            at: self.at,
            actor: self.by.to_string(),
            action: action.as_str().to_owned(),
            license_id: license_id.map(str::to_owned),
            subject,
            details: Some(details).filter(|details| !details.is_null()),
        };
        audit_log::append(db, entry).await
    }
}

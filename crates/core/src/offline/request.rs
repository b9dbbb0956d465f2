//! What a site asks for by file, and what it keeps of that until the answer comes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::armour::{REQUEST, armour};
use crate::license_key::fingerprint;
use crate::protocol::Call;

/// Maximum length of the text inside the armor of a request, in characters. Seven texts of 255
/// characters of four bytes each take less than 10,500 characters in JSON and base64,
/// and a proof less than 1,100.
pub const MAX_REQUEST_CHARS: usize = 12 * 1024;
/// Maximum time by which a request may be ahead of the vendor's clock.
pub const MAX_REQUEST_SKEW: TimeDelta = TimeDelta::minutes(10);
/// Maximum number of requests that can be pending.
pub const MAX_PENDING: usize = 16;

/// What a site requests by file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A seat.
    Activate,
    /// A longer lease.
    Renew,
    /// To free its seat. The site has already given up the license.
    Deactivate,
    /// To add what an add-on key grants, and a longer lease with it.
    Redeem,
    /// A trial, with or without a code.
    Trial,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Activate,
        Self::Renew,
        Self::Deactivate,
        Self::Redeem,
        Self::Trial,
    ];

    /// The word for it in requests, file names and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Renew => "renew",
            Self::Deactivate => "deactivate",
            Self::Redeem => "redeem",
            Self::Trial => "trial",
        }
    }

    /// The purpose that a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|purpose| purpose.as_str() == word)
    }

    /// The call that the request corresponds to. A refusal of an add-on key answers
    /// [`Call::Redeem`] instead, so that it says nothing about the license.
    #[must_use]
    pub fn call(self) -> Call {
        match self {
            Self::Activate => Call::Activate,
            Self::Trial => Call::Trial,
            Self::Renew | Self::Redeem => Call::Validate,
            Self::Deactivate => Call::Deactivate,
        }
    }
}

/// What a request says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfflineRequest {
    /// What for.
    pub purpose: Purpose,
    /// The license key; for a trial its code, or nothing.
    pub license_key: String,
    /// The add-on key, for [`Purpose::Redeem`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_on_key: Option<String>,
    /// The [secret](crate::trial_secret::TrialSecret) of the site, for [`Purpose::Trial`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_secret: Option<String>,
    /// The machine.
    pub hardware_id: String,
    /// The installation.
    pub installation_id: String,
    /// The display name of the installation.
    #[serde(default)]
    pub installation_name: String,
    /// The VMS's version.
    #[serde(default)]
    pub installation_version: String,
    /// 32 random bytes in base64url, which the response must repeat.
    pub nonce: String,
    /// When the request was written.
    pub created_at: DateTime<Utc>,
    /// Version of the key set that the site has; newer sets come with the response.
    #[serde(default)]
    pub key_set: u64,
    /// The highest sequence number that the site knows for the license; `None` if it knows none,
    /// and in files of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_seq: Option<u64>,
    /// Whether the site knows entitlements; false in files of older versions.
    #[serde(default, skip_serializing_if = "is_false")]
    pub entitlements: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde requires"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A pending request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The purpose of the request.
    pub purpose: Purpose,
    /// The license of the request; for a trial its code, or nothing.
    pub license_key: String,
    /// The [`fingerprint`] of the add-on key or the trial code of the request
    /// ([`OfflineRequest::code`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_hash: Option<String>,
    /// The request's nonce.
    pub nonce: String,
    /// When the request was written.
    pub created_at: DateTime<Utc>,
    /// The highest sequence number that was known when the request was written.
    pub newest_seq: Option<u64>,
}

/// A request dated in the future. Signing it would sign a future time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the request was written at {}, but the time here is {}: set the clock of the site's machine, \
     then write a new request there",
    .written_at.format("%Y-%m-%d %H:%M UTC"),
    .now.format("%Y-%m-%d %H:%M UTC")
)]
pub struct WrittenAhead {
    /// When it was written, according to the request.
    pub written_at: DateTime<Utc>,
    /// The time at which it was to be signed.
    pub now: DateTime<Utc>,
}

impl OfflineRequest {
    /// The request as a file without a proof.
    #[must_use]
    pub fn to_file(&self) -> String {
        armour(REQUEST, &STANDARD.encode(self.to_json()))
    }

    /// The content of a file without a proof.
    pub(super) fn to_json(&self) -> String {
        // A struct of strings can always be serialized as JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Checks that it was written before `now`, the vendor's time, according to both times that it
    /// contains: `createdAt` and the time in its nonce. A difference of up to [`MAX_REQUEST_SKEW`]
    /// is accepted.
    ///
    /// # Errors
    /// [`WrittenAhead`].
    pub fn check_written(&self, now: DateTime<Utc>) -> Result<(), WrittenAhead> {
        check_written(
            asked_at(&self.nonce)
                .max(Some(self.created_at))
                .unwrap_or(now),
            now,
        )
    }

    /// The add-on key or the trial code of the request; empty for a trial without a code. Every
    /// response names it.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self.purpose {
            Purpose::Redeem => Some(self.add_on_key.as_deref().unwrap_or_default()),
            Purpose::Trial => Some(&self.license_key),
            Purpose::Activate | Purpose::Renew | Purpose::Deactivate => None,
        }
    }

    /// The part of the request that the site stores.
    #[must_use]
    pub fn pending(&self) -> Pending {
        Pending {
            purpose: self.purpose,
            license_key: self.license_key.clone(),
            code_hash: self.code().map(fingerprint),
            nonce: self.nonce.clone(),
            created_at: self.created_at,
            newest_seq: self.newest_seq,
        }
    }
}

impl Pending {
    /// Checks that its nonce can still be used at `now`. The vendor refuses a nonce that was
    /// created while the clock was far ahead.
    ///
    /// # Errors
    /// [`WrittenAhead`].
    pub fn check_nonce(&self, now: DateTime<Utc>) -> Result<(), WrittenAhead> {
        check_written(asked_at(&self.nonce).unwrap_or(now), now)
    }
}

/// Whether a request to deactivate was written before the machine's last activation, and would free
/// a seat that is in use. Compared in whole seconds, the precision with which sites know the times
/// of their documents.
#[must_use]
pub fn is_outdated(written_at: DateTime<Utc>, last_activated_at: DateTime<Utc>) -> bool {
    written_at.timestamp() < last_activated_at.timestamp()
}

/// The nonce of a request that is written at `asked`: 24 random bytes and the time. The vendor uses
/// the time to refuse requests dated in the future; the site itself does not use it.
#[must_use]
pub fn nonce(random: [u8; 24], asked: DateTime<Utc>) -> String {
    let seconds = asked.timestamp().to_be_bytes();
    URL_SAFE_NO_PAD.encode([&random[..], &seconds].concat())
}

fn check_written(written_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), WrittenAhead> {
    if written_at - now > MAX_REQUEST_SKEW {
        return Err(WrittenAhead { written_at, now });
    }
    Ok(())
}

/// When the request with this nonce was written.
fn asked_at(nonce: &str) -> Option<DateTime<Utc>> {
    let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?;
    let seconds: [u8; 8] = bytes.get(24..32)?.try_into().ok()?;
    DateTime::from_timestamp(i64::from_be_bytes(seconds), 0)
}

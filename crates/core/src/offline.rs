//! Licensing by file, for sites without internet: the site writes a request,
//! the vendor answers it with a license file, the site reads that.
//!
//! Files are text in an armour like PEM's (RFC 7468), and survive an e-mail: what stands
//! around the armour, line endings, marks of quoting, markup, invisible characters and
//! what word processors make of hyphens do not matter. An answer is a signed document like any other; it counts once, for
//! the request whose nonce it bears.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::contact::{Address, Mismatch, Question};
use crate::document::{
    DenialReason, DocumentError, VerifiedDenial, VerifiedLicense, verify_denial, verify_license,
};
use crate::foreign_text;
use crate::keyring::Keyring;
use crate::license_key;
use crate::pasted_text::{half_width, is_dash, is_invisible, kind_of_text, shown, without_markup};
use crate::protocol::Call;
use crate::text_encoding::NotText;
use crate::unambiguous_json;

/// Maximum size of a file, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Maximum length of what is inside the armour of a request, in characters. Six texts of 255
/// characters of four bytes each, in JSON and base64, have less than 9,000.
pub const MAX_REQUEST_CHARS: usize = 12 * 1024;
/// Most requests that may wait for an answer.
pub const MAX_PENDING: usize = 16;
/// By how much a request may be ahead of the vendor's clock.
pub const MAX_REQUEST_SKEW: TimeDelta = TimeDelta::minutes(10);
/// What stands between the documents of a file; no document holds it.
const BETWEEN: char = '~';
/// Characters in a line of a file.
const LINE: usize = 64;
/// What the label of a request says.
const REQUEST: &str = "FOXSIGHT LICENSE REQUEST";
/// What the label of an answer says.
const ANSWER: &str = "FOXSIGHT LICENSE FILE";

/// What a site asks for by file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A seat.
    Activate,
    /// A longer lease.
    Renew,
    /// To give its seat back. The site has already given the license up.
    Deactivate,
}

impl Purpose {
    /// The word for it in requests, file names and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Renew => "renew",
            Self::Deactivate => "deactivate",
        }
    }

    /// The purpose that a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = [Self::Activate, Self::Renew, Self::Deactivate].into_iter();
        all.find(|purpose| purpose.as_str() == word)
    }

    /// The call that the request stands for.
    #[must_use]
    pub fn call(self) -> Call {
        match self {
            Self::Activate => Call::Activate,
            Self::Renew => Call::Validate,
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
    /// The license key.
    pub license_key: String,
    /// The machine.
    pub hardware_id: String,
    /// The installation.
    pub installation_id: String,
    /// What people call it.
    #[serde(default)]
    pub installation_name: String,
    /// The VMS's version.
    #[serde(default)]
    pub installation_version: String,
    /// 32 random bytes in base64url, which the answer must repeat.
    pub nonce: String,
    /// When the request was written.
    pub created_at: DateTime<Utc>,
    /// Version of the key set that the site has; newer ones come with the
    /// answer.
    #[serde(default)]
    pub key_set: u64,
    /// The highest sequence number that the site knows for the license; `None` where it
    /// knows none, and in the files of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_seq: Option<u64>,
}

/// A request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// What was asked for.
    pub purpose: Purpose,
    /// About which license.
    pub license_key: String,
    /// The request's nonce.
    pub nonce: String,
    /// When the request was written.
    pub created_at: DateTime<Utc>,
    /// The highest sequence number that was known then.
    pub newest_seq: Option<u64>,
}

/// Why a text is not a file of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Longer than [`MAX_FILE_BYTES`].
    #[error("the file has {bytes} bytes, the maximum is {MAX_FILE_BYTES}")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// It is no text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// There is no line that begins an armour.
    #[error("not a license or request file: line '-----BEGIN {expected}-----' is missing")]
    NotAFile {
        /// The label that was looked for.
        expected: &'static str,
    },
    /// Something that people have at hand beside such files.
    #[error("the file is {found}, expected a '{expected}'")]
    SomethingElse {
        /// The label that was looked for.
        expected: &'static str,
        /// What the file is.
        found: &'static str,
    },
    /// A file of ours, but of the other kind.
    #[error("the file is a '{found}', expected a '{expected}'")]
    OtherKind {
        /// The label that was looked for.
        expected: &'static str,
        /// The label that was found.
        found: &'static str,
    },
    /// The line that ends the armour is missing.
    #[error("the file is cut off: the line '-----END {expected}-----' is missing; copy it again")]
    Truncated {
        /// The label.
        expected: &'static str,
    },
    /// What is inside the armour cannot be read.
    #[error("the file is damaged ({0}); copy it again")]
    Damaged(String),
}

/// A request written in the future. Signing it would sign a future time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the request was written at {}, but it is {} here: set the clock of the site's machine, then \
     write a new request there",
    .written_at.format("%Y-%m-%d %H:%M UTC"),
    .now.format("%Y-%m-%d %H:%M UTC")
)]
pub struct WrittenAhead {
    /// When it was written, by what it says.
    pub written_at: DateTime<Utc>,
    /// When it was to be signed.
    pub now: DateTime<Utc>,
}

/// Why a license file does not count. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is no license file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It cannot be believed.
    #[error("the license file is not genuine: {0}")]
    NotGenuine(#[from] DocumentError),
    /// It is for another recipient.
    #[error("the license file is not for this site: {0}")]
    Foreign(#[source] Mismatch),
    /// It was imported before.
    #[error("the license file was already used; each request has one answer")]
    Reused,
    /// It answers no request of this site that still waits.
    #[error(
        "the license file answers none of this site's open requests; write a new request and have it signed"
    )]
    NotRequested,
    /// Its lease has run out while it was on its way.
    #[error(
        "the license file has expired at {valid_until}; write a new request and have it signed"
    )]
    Expired {
        /// Until when it was good.
        valid_until: DateTime<Utc>,
    },
    /// It is an answer for a site with internet.
    #[error("the license file holds no lease for a site without internet")]
    NotOffline,
    /// The license that it renews was given up or replaced.
    #[error("the license file renews a license other than the active one")]
    NotCurrent,
    /// It answers another question than the one that was asked.
    #[error("the license file does not answer what was asked for")]
    OtherPurpose,
}

/// A license file that counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Imported {
    /// A lease, as answer to an activation or a renewal.
    License(Box<VerifiedLicense>),
    /// The License Server denied the request.
    Denied(Box<VerifiedDenial>),
    /// The receipt of a deactivation: the seat is free.
    Deactivated,
}

/// Who reads a license file.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// This installation.
    pub installation_id: &'a str,
    /// This machine.
    pub hardware_id: &'a str,
    /// The requests that wait.
    pub pending: &'a [Pending],
    /// The license that is cached, and the highest sequence number seen for
    /// it.
    pub current: Option<(&'a str, Option<u64>)>,
}

impl Imported {
    /// When it was signed, where it proves the time. A receipt need not say; a
    /// denied activation changes nothing, and can be asked for with any key.
    #[must_use]
    pub fn signed_at(&self, answered: &Pending) -> Option<DateTime<Utc>> {
        match self {
            Self::License(document) => Some(document.claims().iat),
            Self::Denied(document) if answered.purpose == Purpose::Renew => {
                Some(document.claims().iat)
            }
            Self::Denied(_) | Self::Deactivated => None,
        }
    }

    /// Whether its lease still holds at `now`.
    ///
    /// # Errors
    /// [`ImportError::Expired`] when it does not.
    pub fn is_still_good(&self, now: DateTime<Utc>) -> Result<(), ImportError> {
        match self {
            Self::License(document) if document.claims().valid_until < now => {
                let valid_until = document.claims().valid_until;
                Err(ImportError::Expired { valid_until })
            }
            _ => Ok(()),
        }
    }
}

impl Pending {
    /// Whether its nonce can still be used at `now`. One that was made while the
    /// clock was far ahead is refused by the vendor.
    ///
    /// # Errors
    /// [`WrittenAhead`].
    pub fn check_nonce(&self, now: DateTime<Utc>) -> Result<(), WrittenAhead> {
        check_written(asked_at(&self.nonce).unwrap_or(now), now)
    }
}

impl OfflineRequest {
    /// The request as a file.
    #[must_use]
    pub fn to_file(&self) -> String {
        // A struct of texts always has a JSON form.
        let json = serde_json::to_vec(self).unwrap_or_default();
        armour(REQUEST, &STANDARD.encode(json))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// One [`FileError`] for each reason.
    pub fn from_file(text: &str) -> Result<Self, FileError> {
        let inside = unarmour(REQUEST, text, MAX_REQUEST_CHARS)?;
        let json = STANDARD_NO_PAD
            .decode(inside)
            .map_err(|error| FileError::Damaged(error.to_string()))?;
        let json =
            String::from_utf8(json).map_err(|error| FileError::Damaged(error.to_string()))?;
        unambiguous_json::from_str(&json)
            .map_err(|error| FileError::Damaged(foreign_text::json_fault(&error)))
    }

    /// Whether it was written before `now`, the vendor's time, by each of the two
    /// times that it holds: `createdAt`, and that in its nonce. Up to
    /// [`MAX_REQUEST_SKEW`] is forgiven.
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

    /// What the site keeps of it.
    #[must_use]
    pub fn pending(&self) -> Pending {
        Pending {
            purpose: self.purpose,
            license_key: self.license_key.clone(),
            nonce: self.nonce.clone(),
            created_at: self.created_at,
            newest_seq: self.newest_seq,
        }
    }
}

/// Whether a request to deactivate was written before the machine was activated last:
/// it would free a seat that is in use. In whole seconds, as sites know the time of
/// their documents.
#[must_use]
pub fn is_outdated(written_at: DateTime<Utc>, last_activated_at: DateTime<Utc>) -> bool {
    written_at.timestamp() < last_activated_at.timestamp()
}

/// A signed document as a license file, with the signed key sets that the site
/// may need for believing it.
#[must_use]
pub fn to_file(key_sets: &[impl AsRef<str>], jws: &str) -> String {
    let mut inside = String::new();
    for key_set in key_sets {
        inside.push_str(key_set.as_ref());
        inside.push(BETWEEN);
    }
    inside.push_str(jws);
    armour(ANSWER, &inside)
}

/// The key sets and the document in a license file. Nothing is verified yet.
///
/// # Errors
/// One [`FileError`] for each reason.
pub fn from_file(text: &str) -> Result<(Vec<String>, String), FileError> {
    let inside = unarmour(ANSWER, text, MAX_FILE_BYTES)?;
    let mut documents: Vec<String> = inside.split(BETWEEN).map(str::to_owned).collect();
    let document = documents.pop().unwrap_or_default();
    Ok((documents, document))
}

/// The nonce of a request that is written at `asked`: 24 random bytes and the
/// time, for the vendor: it signs nothing that was asked for later than it is.
/// The site itself does not go by it.
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

/// When a question with this nonce was asked.
fn asked_at(nonce: &str) -> Option<DateTime<Utc>> {
    let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?;
    let seconds: [u8; 8] = bytes.get(24..32)?.try_into().ok()?;
    DateTime::from_timestamp(i64::from_be_bytes(seconds), 0)
}

/// Judges the document of a license file; answers what it says, and which
/// request it answers. Whether it is still good is another question, once the
/// time that it proves is known: [`Imported::is_still_good`].
///
/// # Errors
/// One [`ImportError`] for each reason.
pub fn import(
    jws: &str,
    reader: &Reader<'_>,
    keyring: &Keyring,
) -> Result<(Imported, Pending), ImportError> {
    match verify_license(jws, keyring) {
        Ok(license) => {
            let claims = license.claims();
            let key = license.license().license_key().unwrap_or_default();
            let pending = reader.answered(&Address::from(claims), Some(key))?;
            if !claims.offline {
                return Err(ImportError::NotOffline);
            }
            let is_it = |(current, _): (&str, _)| license_key::same(current, key);
            if pending.purpose == Purpose::Renew && !reader.current.is_some_and(is_it) {
                return Err(ImportError::NotCurrent);
            }
            Ok((Imported::License(Box::new(license)), pending))
        }
        Err(DocumentError::Type { .. }) => {
            let denial = verify_denial(jws, keyring)?;
            let claims = denial.claims();
            let pending = reader.answered(&Address::from(claims), None)?;
            let asked = license_key::fingerprint(&pending.license_key);
            if claims
                .license_key_hash
                .as_ref()
                .is_some_and(|it| *it != asked)
            {
                return Err(ImportError::Foreign(Mismatch::LicenseKey));
            }
            // A receipt counts for a deactivation alone: `answered` has seen to that.
            if claims.reason == DenialReason::Deactivated {
                return Ok((Imported::Deactivated, pending));
            }
            Ok((Imported::Denied(Box::new(denial)), pending))
        }
        Err(error) => Err(error.into()),
    }
}

impl Reader<'_> {
    /// The request that a document answers. A denial names no license key.
    fn answered(
        &self,
        to: &Address<'_>,
        license_key: Option<&str>,
    ) -> Result<Pending, ImportError> {
        let found = self.pending.iter().find(|it| to.nonce() == Some(&it.nonce));
        let Some(pending) = found else {
            return Err(self.not_requested(to.seq(), license_key));
        };
        let is_it = |key: &str| license_key::same(key, &pending.license_key);
        let current = self.current.filter(|(key, _)| is_it(key));
        let question = Question {
            nonce: &pending.nonce,
            license_key: &pending.license_key,
            installation_id: self.installation_id,
            hardware_id: self.hardware_id,
            newest_seq: current.and_then(|(_, seq)| seq).max(pending.newest_seq),
        };
        question
            .check(pending.purpose.call(), to)
            .map_err(|mismatch| match mismatch {
                Mismatch::Sequence { .. } => ImportError::Reused,
                Mismatch::Question { .. } => ImportError::OtherPurpose,
                other => ImportError::Foreign(other),
            })?;
        if !license_key.is_none_or(is_it) {
            return Err(ImportError::Foreign(Mismatch::LicenseKey));
        }
        Ok(pending.clone())
    }

    /// No pending request for this document: it was already imported, or never requested.
    fn not_requested(&self, seq: u64, license_key: Option<&str>) -> ImportError {
        match self.current {
            Some((current, Some(newest)))
                if seq <= newest
                    && license_key.is_none_or(|key| license_key::same(key, current)) =>
            {
                ImportError::Reused
            }
            _ => ImportError::NotRequested,
        }
    }
}

/// No two hyphens stand together in a line: word processors make one dash of them.
fn armour(label: &str, inside: &str) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut line = String::new();
    for c in inside.chars() {
        if line.len() == LINE || (line.ends_with('-') && c == '-') {
            text.push_str(&line);
            text.push('\n');
            line.clear();
        }
        line.push(c);
    }
    text.push_str(&line);
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

/// What is inside the armour, at most `max_chars`, without the signs that fill up base64.
fn unarmour(label: &'static str, text: &str, max_chars: usize) -> Result<String, FileError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(FileError::TooLong { bytes: text.len() });
    }
    within_armour(label, text, max_chars).or_else(|error| {
        if !text.contains(['<', '&']) {
            return Err(error);
        }
        // A page of a mail program. Only then: a text may contain signs of markup, too.
        let stripped = without_markup(text);
        within_armour(label, &stripped, max_chars).map_err(|_| error)
    })
}

fn within_armour(
    expected: &'static str,
    text: &str,
    max_chars: usize,
) -> Result<String, FileError> {
    let carried = carried(text);
    let after = |label: &str| carried.split_once(&line("BEGIN", label)).map(|(_, it)| it);
    let Some(after) = after(expected) else {
        let other = [REQUEST, ANSWER].into_iter().find(|it| after(it).is_some());
        return Err(match (other, kind_of_text(text)) {
            (Some(found), _) => FileError::OtherKind { expected, found },
            (None, Some(found)) => FileError::SomethingElse { expected, found },
            (None, None) => FileError::NotAFile { expected },
        });
    };
    let (inside, _) = after
        .split_once(&line("END", expected))
        .ok_or(FileError::Truncated { expected })?;
    // What is inside neither begins nor ends with a hyphen. `=3D` is how mail programs
    // write the sign that fills up base64, and one at the end of a line is theirs.
    let inside = inside.trim_matches('-').replace("=3D", "=");
    let mut kept = String::new();
    for c in inside.chars().filter(|c| *c != '=') {
        let is_ours = c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '.');
        if !is_ours && c != BETWEEN {
            let odd = shown(c);
            return Err(FileError::Damaged(format!(
                "it contains the character {odd}"
            )));
        }
        if kept.len() == max_chars {
            return Err(FileError::Damaged(format!(
                "it has more than {max_chars} characters"
            )));
        }
        kept.push(c);
    }
    Ok(kept)
}

/// A line of an armour as [`carried`] leaves it, with the least of its hyphens.
fn line(word: &str, label: &str) -> String {
    format!("-{word}{}-", label.replace(' ', ""))
}

/// The text without what carrying it has added: white space, invisible characters and
/// the marks of a quotation, and with hyphens for all dashes.
fn carried(text: &str) -> String {
    let mut carried = String::with_capacity(text.len());
    for c in text.chars().map(half_width) {
        match c {
            '!'..='=' | '?'..='~' => carried.push(c),
            '>' => {}
            c if c.is_whitespace() || is_invisible(c) => {}
            // Made of two hyphens.
            '\u{2013}'..='\u{2015}' => carried.push_str("--"),
            c if is_dash(c) => carried.push('-'),
            c => carried.push(c),
        }
    }
    carried
}

//! A seat as a row of its table, and the other way round.

use chrono::{DateTime, Utc};
use license_core::binding::{BoundKey, FormerKey};
use license_core::file_trail::FileTrail;
use license_core::fleet::Signed;
use license_core::folded_text::folded;
use license_core::regressions::Regressions;
use license_core::seat::Overlap;
use license_core::suspicion::{FormerInstallation, Trail};
use sea_orm::ActiveValue;
use serde::Deserialize as _;
use serde_json::Value;

use super::{ActiveModel, Model, Seat};
use crate::store::StoreError;

/// The row of a seat.
pub(super) fn of(seat: &Seat) -> ActiveModel {
    let regressions = &seat.trail.regressions;
    ActiveModel {
        id: seat.row.map_or(ActiveValue::NotSet, ActiveValue::Unchanged),
        license_id: ActiveValue::Set(seat.license_id.clone()),
        hardware_id: ActiveValue::Set(seat.hardware_id.clone()),
        installation_id: ActiveValue::Set(seat.installation_id.clone()),
        installation_name: ActiveValue::Set(seat.installation_name.clone()),
        installation_name_folded: ActiveValue::Set(folded(&seat.installation_name)),
        installation_version: ActiveValue::Set(seat.installation_version.clone()),
        activated_at: ActiveValue::Set(seat.activated_at.naive_utc()),
        last_activated_at: ActiveValue::Set(Some(seat.last_activated_at.naive_utc())),
        last_seen_at: ActiveValue::Set(seat.last_seen_at.naive_utc()),
        freed_at: ActiveValue::Set(seat.freed_at.map(|time| time.naive_utc())),
        last_seq: ActiveValue::Set(number(seat.last_seq)),
        usage: ActiveValue::Set(seat.usage.clone()),
        system_info: ActiveValue::Set(seat.system_info.clone()),
        answered_seq: ActiveValue::Set(number(seat.trail.answered)),
        behind_seq: ActiveValue::Set(seat.trail.behind_at.map(number)),
        behind: ActiveValue::Set(i32::try_from(seat.trail.behind).unwrap_or(i32::MAX)),
        former_installations: ActiveValue::Set(former_installations_json(&seat.trail)),
        valid_until: ActiveValue::Set(seat.signed.map(|it| it.valid_until.naive_utc())),
        exp: ActiveValue::Set(seat.signed.map(|it| it.exp.naive_utc())),
        signed_until: ActiveValue::Set(seat.signed_until.map(|time| time.naive_utc())),
        overlap: ActiveValue::Set(seat.overlap.map(|it| it.as_str().to_owned())),
        says_seq: ActiveValue::Set(seat.trail.says_seq),
        acknowledged_seq: ActiveValue::Set(number(seat.trail.acknowledged)),
        regressed_seq: ActiveValue::Set(regressions.newest.map(number)),
        regressed_at: ActiveValue::Set(regression_times_json(&seat.trail)),
        behind_since: ActiveValue::Set(seat.trail.behind_since.map(|time| time.naive_utc())),
        lost_claim_seq: ActiveValue::Set(seat.trail.lost_claim.map(number)),
        request_files: ActiveValue::Set(request_files_json(&seat.trail)),
        excused_amendment: ActiveValue::Set(
            seat.excused_amendment
                .map(|it| i32::try_from(it).unwrap_or(i32::MAX)),
        ),
        bound_key: ActiveValue::Set(
            seat.bound_key
                .as_ref()
                .and_then(|bound| serde_json::to_value(bound).ok()),
        ),
        former_key: ActiveValue::Set(
            seat.former_key
                .as_ref()
                .and_then(|former| serde_json::to_value(former).ok()),
        ),
        document_hash: ActiveValue::Set(seat.document_hash.clone()),
        activated_seq: ActiveValue::Set(number(seat.activated_seq)),
    }
}

impl TryFrom<Model> for Seat {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            row: Some(row.id),
            license_id: row.license_id,
            hardware_id: row.hardware_id,
            installation_id: row.installation_id,
            installation_name: row.installation_name,
            installation_version: row.installation_version,
            activated_at: row.activated_at.and_utc(),
            last_activated_at: row.last_activated_at.unwrap_or(row.activated_at).and_utc(),
            last_seen_at: row.last_seen_at.and_utc(),
            freed_at: row.freed_at.map(|time| time.and_utc()),
            last_seq: u64::try_from(row.last_seq).unwrap_or_default(),
            usage: row.usage,
            system_info: row.system_info,
            signed: row.valid_until.zip(row.exp).map(|(until, exp)| Signed {
                valid_until: until.and_utc(),
                exp: exp.and_utc(),
            }),
            signed_until: row.signed_until.map(|time| time.and_utc()),
            overlap: row.overlap.as_deref().map(overlap_of).transpose()?,
            excused_amendment: row.excused_amendment.and_then(|it| u32::try_from(it).ok()),
            bound_key: row.bound_key.as_ref().map(bound_key).transpose()?,
            former_key: row.former_key.as_ref().map(former_key).transpose()?,
            document_hash: row.document_hash,
            activated_seq: u64::try_from(row.activated_seq).unwrap_or_default(),
            trail: Trail {
                says_seq: row.says_seq,
                acknowledged: u64::try_from(row.acknowledged_seq).unwrap_or_default(),
                regressions: Regressions {
                    times: regression_times(row.regressed_at)?,
                    newest: row.regressed_seq.and_then(|seq| u64::try_from(seq).ok()),
                },
                answered: u64::try_from(row.answered_seq).unwrap_or_default(),
                behind_at: row.behind_seq.and_then(|seq| u64::try_from(seq).ok()),
                behind_since: row.behind_since.map(|time| time.and_utc()),
                behind: u32::try_from(row.behind).unwrap_or_default(),
                lost_claim: row.lost_claim_seq.and_then(|seq| u64::try_from(seq).ok()),
                files: request_files(row.request_files)?,
                former_installations: former_installations(row.former_installations)?,
                ..Trail::default()
            },
        })
    }
}

/// `None` for an empty value: most seats have none.
fn former_installations_json(trail: &Trail) -> Option<Value> {
    let former = Some(&trail.former_installations).filter(|former| !former.is_empty());
    former.and_then(|former| serde_json::to_value(former).ok())
}

/// `None` for an empty value: most seats are answered only over the network.
fn request_files_json(trail: &Trail) -> Option<Value> {
    let files = Some(&trail.files).filter(|files| **files != FileTrail::default());
    files.and_then(|files| serde_json::to_value(files).ok())
}

/// `None` for an empty value: no honest site has any.
fn regression_times_json(trail: &Trail) -> Option<Value> {
    let times = Some(&trail.regressions.times).filter(|times| !times.is_empty());
    times.and_then(|times| serde_json::to_value(times).ok())
}

fn regression_times(json: Option<Value>) -> Result<Vec<DateTime<Utc>>, StoreError> {
    let Some(json) = json else {
        return Ok(Vec::new());
    };
    serde_json::from_value(json.clone()).map_err(|_| StoreError::Value {
        column: "seats.regressed_at",
        value: json.to_string(),
    })
}

fn request_files(json: Option<Value>) -> Result<FileTrail, StoreError> {
    let Some(json) = json else {
        return Ok(FileTrail::default());
    };
    serde_json::from_value(json.clone()).map_err(|_| StoreError::Value {
        column: "seats.request_files",
        value: json.to_string(),
    })
}

fn former_installations(json: Option<Value>) -> Result<Vec<FormerInstallation>, StoreError> {
    let Some(json) = json else {
        return Ok(Vec::new());
    };
    serde_json::from_value(json.clone()).map_err(|_| StoreError::Value {
        column: "seats.former_installations",
        value: json.to_string(),
    })
}

fn bound_key(json: &Value) -> Result<BoundKey, StoreError> {
    BoundKey::deserialize(json).map_err(|_| StoreError::Value {
        column: "seats.bound_key",
        value: json.to_string(),
    })
}

fn former_key(json: &Value) -> Result<FormerKey, StoreError> {
    FormerKey::deserialize(json).map_err(|_| StoreError::Value {
        column: "seats.former_key",
        value: json.to_string(),
    })
}

fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn overlap_of(word: &str) -> Result<Overlap, StoreError> {
    [Overlap::Moved, Overlap::Released]
        .into_iter()
        .find(|it| it.as_str() == word)
        .ok_or_else(|| StoreError::Value {
            column: "seats.overlap",
            value: word.to_owned(),
        })
}

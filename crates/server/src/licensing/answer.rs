//! Answer a site: activate, validate, heartbeat, deactivate.
//!
//! All four find the license, judge it, look at the machine's seat, and sign the result, in one
//! transaction that locks the license: the seat limit and the sequence numbers are correct
//! regardless of concurrent calls.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_core::document::DenialReason;
use license_core::foreign_text;
use license_core::license_key::{LicenseKey, LicenseKeyError};
use license_core::offline::is_outdated;
use license_core::protocol::{self, ActivateRequest, HeartbeatRequest, SystemInfo};
use license_core::restored::{Refusal, next_number, takes_seat};
use license_core::seat::SeatLimit;
use license_core::suspicion::{Report, Suspicion};
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::audit::{Action, Actor, Change};
use crate::licensing::claim::{NoPlace, claim, moves_left};
use crate::licensing::document::{Addressee, Denied, Envelope, signed_denial, signed_license};
use crate::licensing::judge::judge;
use crate::licensing::restored;
use crate::signing::SignError;
use crate::store::installations::used;
use crate::store::licenses::{self, License};
use crate::store::seats::{self, Seat};
use crate::store::{StoreError, suspicions, usage_days};

/// Maximum length of each text about a site's system that is stored.
const MAX_SYSTEM_TEXT_CHARS: usize = 255;

/// What a site asks for.
#[derive(Clone, Debug)]
pub enum Question {
    /// A seat.
    Activate(ActivateRequest),
    /// Whether the license is still good.
    Validate,
    /// The same, and it reports what is in use.
    Heartbeat(Box<HeartbeatRequest>),
    /// To give its seat back.
    Deactivate,
}

/// How a site asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallDetails {
    /// By file.
    pub offline: Option<ByFile>,
    /// The highest sequence number that it reports.
    pub newest_seq: Option<u64>,
    /// It reports changed hardware.
    pub drifted: bool,
}

/// How a request that came by file is answered.
#[derive(Clone, Copy, Debug)]
pub struct ByFile {
    /// With so long a lease.
    pub lease: TimeDelta,
    /// By whom.
    pub by: Actor,
    /// When the site wrote the request.
    pub written_at: DateTime<Utc>,
}

/// The message for it.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Yes: the license with its signed document.
    License(Map<String, Value>),
    /// Yes: the seat is free.
    Deactivated {
        /// The signed receipt: a denial with the reason `deactivated`.
        receipt: String,
    },
    /// No.
    Denied {
        /// Why.
        reason: DenialReason,
        /// The reason, for the site's operator.
        message: String,
        /// The signed denial.
        signature: String,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file asks for a deactivation, and the machine was activated after it was written.
    #[error(
        "the request to deactivate is older than the activation of {0}, and would free a seat in \
         use; write a new request there"
    )]
    Outdated(DateTime<Utc>),
    /// The refusal rests on nothing that the database holds, and the site was answered
    /// by a server whose answers it does not have.
    #[error("the database is older than the site")]
    OlderThanSite,
    /// The machine would take a seat, and the license's machines without one have taken
    /// or tried to take too many.
    #[error("too many machines have activated; the next activation is allowed in {0:?}")]
    TooManyCalls(Duration),
    /// A document could not be created.
    #[error(transparent)]
    Document(#[from] SignError),
}

/// Answers a site.
///
/// # Errors
/// One [`AnswerError`] for each reason; nothing has changed then.
pub async fn answer(
    app: &App,
    question: &Question,
    to: Addressee,
    details: &CallDetails,
) -> Result<Answer, AnswerError> {
    let now = app.clock.now();
    let (license_key, hardware_id) = (to.license_key.clone(), to.hardware_id.clone());
    let answered = repeated(|| decide(app, question, to.clone(), details, now)).await;
    let call = question.call().as_str();
    match answered {
        Err(AnswerError::OlderThanSite) => {
            app.traffic.note(call, "withheld", now);
            restored::alert(app, &license_key, &hardware_id).await;
        }
        Err(AnswerError::TooManyCalls(_)) => app.traffic.note(call, "throttled", now),
        _ => {}
    }
    let answered = answered?;
    let word = match &answered {
        Answer::License(_) | Answer::Deactivated { .. } => "confirmed",
        Answer::Denied { .. } => "denied",
    };
    app.traffic.note(call, word, now);
    Ok(answered)
}

async fn decide(
    app: &App,
    question: &Question,
    to: Addressee,
    call: &CallDetails,
    now: DateTime<Utc>,
) -> Result<Answer, AnswerError> {
    let key = LicenseKey::parse(&to.license_key);
    // Callers without a valid key must not make others wait; licenses are never removed.
    let known = match &key {
        Ok(key) => licenses::find(app.store.reader(), key.as_str()).await?,
        Err(_) => None,
    };
    let Some(known) = known else {
        let lost = match key {
            Ok(_) => lost_number(app, app.store.reader(), call, None, now).await?,
            Err(_) => None,
        };
        let envelope = Envelope {
            to: &to,
            question: question.call(),
            seq: next_number(0, lost, now),
            at: now,
        };
        return deny(app, None, envelope, unknown(key.err()), lost);
    };
    let (transaction, license) = app.store.hold(known).await?;
    let proof = restored::prove(&transaction, &app.numbering, now).await?;
    let seat = seats::find(&transaction, &license.id, &to.hardware_id).await?;
    refuse_outdated(question, call, seat.as_ref())?;
    let to = complete(to, seat.as_ref());
    let envelope = |seq| Envelope {
        to: &to,
        question: question.call(),
        seq,
        at: now,
    };
    let lost = lost_number(app, &transaction, call, seat.as_ref(), now).await?;
    let has_lease = |it: &Seat| it.is_held() && it.state().may_run(now);
    let report = Report {
        newest_seq: call.newest_seq,
        written_at: call.offline.map(|it| it.written_at),
        nonce: to.nonce.as_deref().unwrap_or_default(),
        asks_for_lease: question.is_kept(),
        has_running_lease: question.is_kept() && seat.as_ref().is_some_and(has_lease),
        is_activation: matches!(question, Question::Activate(_)),
        installation_id: &to.installation_id,
        drifted: call.drifted,
        knows_lost_number: lost.is_some(),
        longest_lease: app.terms.lease_hours + app.terms.grace_hours,
        at: now,
    };
    let seat = match seat {
        Some(seat) => Some(follow(&transaction, seat, &report).await?),
        None => None,
    };

    let judged = match question {
        // A seat may be given back regardless of the license's status.
        Question::Deactivate => Ok(()),
        _ => permit(&license, now),
    };
    let judged = match judged {
        Ok(()) => {
            let change = Change {
                by: Actor::Site,
                at: now,
            };
            let seat = seat.clone();
            let known = KnownMachine { seat, lost };
            take_seat(app, &transaction, question, &license, known, &to, &change).await?
        }
        Err(denied) => Err(denied),
    };
    // Whether the answer to a request file reaches the site is not known.
    let is_online = call.offline.is_none();
    let answer = match judged {
        Ok(mut seat) => {
            let lease = call.offline.map(|it| it.lease);
            if let Some(ByFile { by, .. }) = call.offline {
                let change = Change { by, at: now };
                let details = json!({"question": question.call().as_str()});
                change
                    .note_seat(
                        &transaction,
                        Action::OfflineSigned,
                        &license,
                        &to.hardware_id,
                        details,
                    )
                    .await?;
            }
            seat.last_seq = next_number(seat.last_seq, lost, now);
            if is_online && question.is_kept() {
                seat.note_answer(&report);
            }
            if seat.is_held() {
                let left = moves_left(&transaction, &license, now).await?;
                let (license, signed) =
                    signed_license(app, &license, left, envelope(seat.last_seq), lease)?;
                // For every call: what was signed counts until it ends.
                seat.note_signed(signed);
                if question.is_kept() {
                    seat.signed = Some(signed);
                    let found = seat.note_file(&report, signed.exp);
                    note(&transaction, &seat, found, now).await?;
                }
                seats::save(&transaction, &seat).await?;
                Answer::License(license)
            } else {
                seats::save(&transaction, &seat).await?;
                let receipt = Denied {
                    reason: DenialReason::Deactivated,
                    message: "The license was deactivated on this machine".to_owned(),
                };
                let envelope = envelope(seat.last_seq);
                Answer::Deactivated {
                    receipt: signed_denial(app, Some(&license), envelope, &receipt)?,
                }
            }
        }
        Err(denied) => {
            let seq = match seat {
                Some(mut seat) => {
                    if seat.is_held() {
                        seat.last_seen_at = now;
                    }
                    seat.last_seq = next_number(seat.last_seq, lost, now);
                    if is_online && question.is_kept() {
                        seat.note_answer(&report);
                    }
                    if question.is_kept() {
                        let found = seat.note_file(&report, now);
                        note(&transaction, &seat, found, now).await?;
                    }
                    seats::save(&transaction, &seat).await?;
                    seat.last_seq
                }
                None => next_number(0, lost, now),
            };
            deny(app, Some(&license), envelope(seq), denied, lost)?
        }
    };
    proof.commit(transaction).await.map_err(StoreError::from)?;
    Ok(answer)
}

impl Question {
    /// The call, as documents and statistics name it.
    #[must_use]
    pub fn call(&self) -> protocol::Call {
        match self {
            Self::Activate(_) => protocol::Call::Activate,
            Self::Validate => protocol::Call::Validate,
            Self::Heartbeat(_) => protocol::Call::Heartbeat,
            Self::Deactivate => protocol::Call::Deactivate,
        }
    }

    /// Whether a site keeps the document that it is answered with.
    fn is_kept(&self) -> bool {
        match self {
            Self::Activate(_) | Self::Validate => true,
            Self::Heartbeat(_) | Self::Deactivate => false,
        }
    }
}

/// Refuses a deactivation by a file that was kept from before the latest activation.
fn refuse_outdated(
    question: &Question,
    call: &CallDetails,
    seat: Option<&Seat>,
) -> Result<(), AnswerError> {
    if let (Question::Deactivate, Some(by_file), Some(seat)) = (question, call.offline, seat)
        && is_outdated(by_file.written_at, seat.last_activated_at)
    {
        let activated_at = seat.last_activated_at.trunc_subsecs(0);
        return Err(AnswerError::Outdated(activated_at));
    }
    Ok(())
}

/// The number that the site knows, where this database does not account for it. A seat
/// that was issued a newer one has all that the site knows.
async fn lost_number(
    app: &App,
    db: &impl ConnectionTrait,
    call: &CallDetails,
    seat: Option<&Seat>,
    now: DateTime<Utc>,
) -> Result<Option<u64>, StoreError> {
    let issued = seat.map_or(0, |seat| seat.last_seq);
    let Some(known) = call.newest_seq.filter(|known| *known > issued) else {
        return Ok(None);
    };
    let is_lost = restored::is_lost(db, &app.numbering, known, now).await?;
    Ok(is_lost.then_some(known))
}

/// Follows a machine's trail, and records suspicions for review.
async fn follow(
    db: &impl ConnectionTrait,
    mut seat: Seat,
    report: &Report<'_>,
) -> Result<Seat, StoreError> {
    let (trail, found) = seat.trail().followed(report);
    seat.set_trail(trail);
    note(db, &seat, found, report.at).await?;
    Ok(seat)
}

/// Records suspicions for review.
async fn note(
    db: &impl ConnectionTrait,
    seat: &Seat,
    found: impl IntoIterator<Item = Suspicion>,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    for suspicion in found {
        let noted = suspicions::note(db, &seat.license_id, &seat.hardware_id, suspicion, at);
        if noted.await? {
            warn_of(suspicion, &seat.hardware_id);
        }
    }
    Ok(())
}

/// Lines are limited by statement: those of a copy have one that no other kind uses up.
fn warn_of(suspicion: Suspicion, hardware_id: &str) {
    let hardware_id = &*foreign_text::identifier(hardware_id);
    match suspicion {
        Suspicion::SharedIdentity => tracing::warn!(
            hardware_id,
            suspicion = suspicion.as_str(),
            "several machines appear to share one identity"
        ),
        Suspicion::ImpossibleSequence | Suspicion::HardwareDrift => tracing::warn!(
            hardware_id,
            suspicion = suspicion.as_str(),
            "suspicious site; review it"
        ),
    }
}

/// Whether the license may be used at all, and if not, in which words.
fn permit(license: &License, now: DateTime<Utc>) -> Result<(), Refused> {
    let Some(reason) = judge(license.status, license.expires_at, now) else {
        return Ok(());
    };
    let end = license.expires_at.unwrap_or(now);
    let default = match reason {
        DenialReason::Expired => format!(
            "The license expired on {}; renew it with your vendor",
            end.format("%Y-%m-%d")
        ),
        DenialReason::Suspended => {
            "The license is suspended; ask your vendor to reinstate it".to_owned()
        }
        _ => "The license was revoked; ask your vendor for a new one".to_owned(),
    };
    let message = match reason {
        DenialReason::Expired => default,
        _ => license.status_message.clone().unwrap_or(default),
    };
    let refusal = match reason {
        DenialReason::Expired => Refusal::Expired,
        DenialReason::Suspended => Refusal::Suspended,
        _ => Refusal::Revoked,
    };
    Err(refused(refusal, reason, message))
}

/// What the database knows of the machine that asks.
struct KnownMachine {
    /// Its seat, held or freed.
    seat: Option<Seat>,
    /// A number that it knows and the database does not account for.
    lost: Option<u64>,
}

/// The machine's seat after the call: taken, kept or freed.
async fn take_seat(
    app: &App,
    db: &impl ConnectionTrait,
    question: &Question,
    license: &License,
    known: KnownMachine,
    to: &Addressee,
    change: &Change,
) -> Result<Result<Seat, Refused>, AnswerError> {
    let now = change.at;
    let KnownMachine { seat, lost } = known;
    let held = seat.as_ref().is_some_and(Seat::is_held);
    if !held {
        if !takes_seat(question.call(), seat.is_some(), lost.is_some()) {
            let refusal = match seat {
                Some(_) => Refusal::SeatFreed,
                None => Refusal::NoSeat,
            };
            let message = "This machine holds no seat of the license; activate it here again";
            let reason = DenialReason::HardwareMismatch;
            return Ok(Err(refused(refusal, reason, message.to_owned())));
        }
        // An activation was counted when the call was let in.
        if question.call() != protocol::Call::Activate {
            let running = app.clock.running();
            let counted = app.rates.newcomer(&license.id, license.seats, running);
            counted.map_err(AnswerError::TooManyCalls)?;
        }
        let longest_move = app.terms.lease_hours + app.terms.grace_hours;
        if let Err(no_place) = claim(db, license, &to.hardware_id, longest_move, change).await? {
            return Ok(Err(seat_limit(license, no_place)));
        }
    }
    let mut seat = seat.unwrap_or_else(|| {
        let mut seat = Seat::new(&license.id, &to.hardware_id, now);
        seat.note_lost_claim(lost);
        seat
    });
    if !held {
        seat.activated_at = now;
        seat.freed_at = None;
        seat.overlap = None;
        seat.signed = None;
    }
    seat.last_seen_at = now;
    if held && !seat.installation_id.is_empty() && seat.installation_id != to.installation_id {
        let details = json!({"from": seat.installation_id, "to": to.installation_id});
        let action = Action::InstallationChanged;
        change
            .note_seat(db, action, license, &to.hardware_id, details)
            .await?;
    }
    seat.installation_id.clone_from(&to.installation_id);
    if let Question::Activate(request) = question {
        seat.last_activated_at = now;
        seat.installation_name
            .clone_from(&request.installation_name);
        seat.installation_version
            .clone_from(&request.installation_version);
    }
    if !held {
        let details = json!({"installation": seat.installation_name});
        change
            .note_seat(db, Action::SeatTaken, license, &to.hardware_id, details)
            .await?;
    }
    match question {
        Question::Activate(_) | Question::Validate => {}
        Question::Heartbeat(request) => {
            seat.usage = serde_json::to_value(request.usage_metrics).ok();
            seat.system_info = serde_json::to_value(shortened(&request.system_info)).ok();
            let usage = used(request.usage_metrics);
            let day = now.date_naive();
            usage_days::note(db, &license.id, &to.hardware_id, day, &usage).await?;
        }
        Question::Deactivate => {
            seat.freed_at = Some(now);
            let details = json!({"installation": seat.installation_name});
            change
                .note_seat(db, Action::SeatGivenBack, license, &to.hardware_id, details)
                .await?;
        }
    }
    Ok(Ok(seat))
}

/// A site's system with texts as long as names may be.
fn shortened(system: &SystemInfo) -> SystemInfo {
    let text = |text: &str| text.chars().take(MAX_SYSTEM_TEXT_CHARS).collect();
    SystemInfo {
        os_platform: text(&system.os_platform),
        os_release: text(&system.os_release),
        os_version: text(&system.os_version),
        cpu_count: system.cpu_count,
        total_memory_gb: system.total_memory_gb,
        hostname: text(&system.hostname),
        architecture: text(&system.architecture),
    }
}

fn seat_limit(license: &License, no_place: NoPlace) -> Refused {
    let time = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S UTC");
    let NoPlace { limit, moves_left } = no_place;
    let (moves, days) = (license.moves, license.moves_period_days);
    let message = match (limit, license.seats) {
        (SeatLimit::AllHeld, 1) => {
            "The license is for one machine, and another one holds it; deactivate it there, or ask \
             your vendor to free the seat or sell another"
                .to_owned()
        }
        (SeatLimit::AllHeld, n) => format!(
            "The license is for {n} machines, and others hold all of its seats; deactivate it on \
             one of them, or ask your vendor to free a seat or sell another"
        ),
        (SeatLimit::NoMovesLeft { until }, _) => format!(
            "A seat of the license is free, but the machine that had it may run until {}, and no \
             moves are left ({moves} in {days} days); activate it here after that, or ask your \
             vendor to release the seat",
            time(until)
        ),
        (SeatLimit::LongLease { until }, _) => format!(
            "A seat of the license is free, but the machine that had it may run until {}, which is \
             too long for one of the {moves_left} moves left; activate it here after that, or ask \
             your vendor to release the seat",
            time(until)
        ),
    };
    refused(Refusal::SeatLimit, DenialReason::SeatLimit, message)
}

fn unknown(error: Option<LicenseKeyError>) -> Refused {
    let refusal = match error {
        Some(_) => Refusal::MalformedKey,
        None => Refusal::UnknownKey,
    };
    let message = match error {
        Some(LicenseKeyError::CheckCharacter) => {
            "The license key contains a typing error; compare it with the key you received"
                .to_owned()
        }
        other => match other.and_then(|error| error.odd_characters()) {
            Some(odd) => {
                format!("No license has this key, which contains {odd}; type it again")
            }
            None => "Unknown license key; compare it with the key you received".to_owned(),
        },
    };
    refused(refusal, DenialReason::UnknownLicense, message)
}

/// A no, and which one it is.
struct Refused {
    refusal: Refusal,
    denied: Denied,
}

fn refused(refusal: Refusal, reason: DenialReason, message: String) -> Refused {
    let denied = Denied { reason, message };
    Refused { refusal, denied }
}

fn deny(
    app: &App,
    license: Option<&License>,
    envelope: Envelope<'_>,
    refused: Refused,
    lost: Option<u64>,
) -> Result<Answer, AnswerError> {
    let Refused { refusal, denied } = refused;
    if !refusal.may_be_signed(lost.is_some()) {
        return Err(AnswerError::OlderThanSite);
    }
    let signature = signed_denial(app, license, envelope, &denied)?;
    app.numbering.note_denial(envelope.seq);
    let Denied { reason, message } = denied;
    Ok(Answer::Denied {
        reason,
        message,
        signature,
    })
}

/// A site that does not say which installation it is, is the one that took
/// the seat.
fn complete(to: Addressee, seat: Option<&Seat>) -> Addressee {
    match seat {
        Some(seat) if to.installation_id.is_empty() => Addressee {
            installation_id: seat.installation_id.clone(),
            ..to
        },
        _ => to,
    }
}

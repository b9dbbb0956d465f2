//! The refusals that sites receive, and the message of each.

use chrono::{DateTime, Utc};
use license_core::add_on::RedeemRefusal;
use license_core::binding;
use license_core::issued_code::{CodeKind, IssuedCodeError, KeyKind};
use license_core::license_key::LicenseKeyError;
use license_core::protocol::Call;
use license_core::restored::Refusal;
use license_core::seat::{Overlap, SeatLimit};
use license_core::trial::TrialRefusal;

use crate::app::App;
use crate::licensing::claim::SeatRefusal;
use crate::licensing::day_words;
use crate::licensing::document::{Denied, Envelope, signed_denial};
use crate::licensing::look_up::LookUpError;
use crate::licensing::redeem::RedeemError;
use crate::licensing::site_answer::{AnswerError, SiteAnswer};
use crate::licensing::start_trial_error::StartTrialError;
use crate::store::StoreError;
use crate::store::licenses::License;

const UNKNOWN_KEY: &str = "Unknown license key; compare it with the key you received";

/// A refusal, with its message for the site's operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    refusal: Refusal,
    message: String,
}

/// Why a use case stops before it confirms anything.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The request is refused with a signed denial.
    Refused(Refused),
    /// The site gets no answer.
    Failed(AnswerError),
}

impl Refused {
    /// No license has the key that was sent; `fault` says what is wrong with its form.
    pub(super) fn unknown_key(sent: &str, fault: Option<LicenseKeyError>) -> Self {
        let Some(fault) = fault else {
            return Self {
                refusal: Refusal::UnknownKey,
                message: UNKNOWN_KEY.to_owned(),
            };
        };
        match KeyKind::of(sent) {
            Some(KeyKind::Code(CodeKind::AddOn)) => return Self::add_on_without_license(),
            Some(KeyKind::Code(CodeKind::Trial)) => return Self::trial_code(),
            Some(KeyKind::License) | None => {}
        }
        let message = match fault {
            LicenseKeyError::CheckCharacter => {
                "The license key contains a typing error; compare it with the key you received"
                    .to_owned()
            }
            fault => match fault.odd_characters() {
                Some(odd) => {
                    format!("No license has this key, which contains {odd}; type it again")
                }
                None => UNKNOWN_KEY.to_owned(),
            },
        };
        Self {
            refusal: Refusal::MalformedKey,
            message,
        }
    }

    /// An add-on key was sent as a license key, or without one.
    pub(super) fn add_on_without_license() -> Self {
        Self {
            refusal: Refusal::AddOnKey,
            message: "This is an add-on key, which adds to a license. Activate the license key \
                      first, then redeem this key with 'Redeem an add-on key' in the console or \
                      'license-client redeem', or ask your vendor to redeem it"
                .to_owned(),
        }
    }

    fn trial_code() -> Self {
        Self {
            refusal: Refusal::TrialCode,
            message:
                "This is a trial code. Start the trial with 'Start a trial' in the console or \
                      'license-client start-trial'"
                    .to_owned(),
        }
    }

    /// The text is not an add-on key.
    pub(super) fn malformed_add_on(error: &IssuedCodeError) -> Self {
        Self {
            refusal: Refusal::MalformedAddOn,
            message: format!("{}; compare it with the key you received", sentence(error)),
        }
    }

    /// The add-on key is not redeemed for the license.
    ///
    /// # Errors
    /// If the database returned an error.
    pub(super) fn add_on(error: RedeemError) -> Result<Self, StoreError> {
        let vendor = "ask your vendor";
        let (refusal, message) = match error {
            RedeemError::Store(error) | RedeemError::LookUp(LookUpError::Store(error)) => {
                return Err(error);
            }
            RedeemError::Unknown(_) | RedeemError::Key(_) => (
                Refusal::UnknownAddOn,
                "Unknown add-on key; compare it with the key you received".to_owned(),
            ),
            RedeemError::Refused(refused @ RedeemRefusal::Elsewhere) => (
                Refusal::AddOnElsewhere,
                format!("{}; {vendor} for another one", sentence(&refused)),
            ),
            RedeemError::Refused(refused @ RedeemRefusal::Refunded) => (
                Refusal::AddOnRefunded,
                format!("{}; {vendor} for another one", sentence(&refused)),
            ),
            RedeemError::Refused(refused) => (
                Refusal::AddOnNotPossible,
                format!("{}; {vendor}", sentence(&refused)),
            ),
            error @ (RedeemError::Amend(_) | RedeemError::Revoked | RedeemError::LookUp(_)) => (
                Refusal::AddOnNotPossible,
                format!("{}; {vendor}", sentence(&error)),
            ),
        };
        Ok(Self { refusal, message })
    }

    /// The code of its reason, and its message.
    pub(super) fn words(self) -> (String, String) {
        (self.refusal.reason().as_str().to_owned(), self.message)
    }

    /// No trial is started.
    ///
    /// # Errors
    /// If the site gets no answer.
    pub(super) fn trial(error: StartTrialError) -> Result<Self, AnswerError> {
        let (refusal, message) = match error {
            StartTrialError::Store(error) => return Err(error.into()),
            StartTrialError::Signing(error) => return Err(error.into()),
            StartTrialError::TooMany(wait) => return Err(AnswerError::TooManyCalls(wait)),
            StartTrialError::Issue(error) => return Err(AnswerError::NotIssued(Box::new(error))),
            StartTrialError::Code(error) => (
                Refusal::MalformedTrialCode,
                format!(
                    "{}; compare it with the code you received",
                    sentence(&error)
                ),
            ),
            StartTrialError::Unknown => (
                Refusal::UnknownTrialCode,
                "Unknown trial code; compare it with the code you received".to_owned(),
            ),
            StartTrialError::UnusablePlan => (
                Refusal::UnknownTrialCode,
                "This trial code cannot start a trial; ask your vendor for another one".to_owned(),
            ),
            StartTrialError::NoneWithoutCode => (
                Refusal::UnknownTrialCode,
                "Trials are started with a trial code; ask your vendor for one".to_owned(),
            ),
            StartTrialError::NoSecret => (
                Refusal::UnknownTrialCode,
                "A trial without a code needs a secret that the License Client keeps in STATE_DIR; \
                 make sure that the License Client can write there, or ask your vendor for a trial \
                 code"
                    .to_owned(),
            ),
            StartTrialError::Refused(refused) => {
                let (refusal, what_to_do) = match refused {
                    TrialRefusal::DayUsedUp => (Refusal::TrialsOfTheDay, "try again tomorrow"),
                    TrialRefusal::OtherMachine => {
                        (Refusal::TrialElsewhere, "ask your vendor for a license")
                    }
                    TrialRefusal::NotProven => {
                        (Refusal::TrialElsewhere, "ask your vendor for the license key")
                    }
                    TrialRefusal::Converted | TrialRefusal::GivenUp => {
                        (Refusal::TrialConverted, "ask your vendor for the license key")
                    }
                    TrialRefusal::Withdrawn | TrialRefusal::Ended(_) | TrialRefusal::UsedUp => {
                        (Refusal::TrialCodeUsedUp, "ask your vendor for another one")
                    }
                };
                (refusal, format!("{}; {what_to_do}", sentence(&refused)))
            }
        };
        Ok(Self { refusal, message })
    }

    /// Whether it is about an add-on key alone.
    pub(super) fn is_about_add_on(&self) -> bool {
        self.refusal.is_about_add_on()
    }

    /// Whether it needs to be known which answers the database does not have.
    pub(super) fn may_be_mistaken(&self) -> bool {
        !self.refusal.is_recorded_decision()
    }

    /// The license has expired, or the vendor suspended or revoked it. The vendor's own message
    /// replaces the default one of a suspension or a revocation.
    pub(super) fn license_status(refusal: Refusal, license: &License, now: DateTime<Utc>) -> Self {
        let of_vendor = || license.status_message.clone();
        let message = match refusal {
            Refusal::Expired => {
                let end = license.expires_at.unwrap_or(now).format("%Y-%m-%d");
                format!("The license expired on {end}; renew it with your vendor")
            }
            Refusal::Suspended => of_vendor().unwrap_or_else(|| {
                "The license is suspended; ask your vendor to reinstate it".to_owned()
            }),
            _ => of_vendor().unwrap_or_else(|| {
                "The license was revoked; ask your vendor for a new one".to_owned()
            }),
        };
        Self { refusal, message }
    }

    /// The activation does not prove the installation key of the machine's seat.
    pub(super) fn unproven(refusal: binding::Refusal) -> Self {
        Self {
            refusal: Refusal::Unproven,
            message: sentence(&refusal),
        }
    }

    /// The machine has no seat, and the call does not take one. `was_freed` says whether it had one
    /// before, and `overlap` how its place was passed on.
    pub(super) fn no_seat(was_freed: bool, overlap: Option<Overlap>) -> Self {
        let refusal = match was_freed {
            true => Refusal::SeatFreed,
            false => Refusal::NoSeat,
        };
        let message = match overlap {
            Some(Overlap::Moved) => {
                "This machine's seat moved to another machine of the license, because it was freed \
                 or this machine had not called for more than a day; activate the license here \
                 again, or ask your vendor"
            }
            Some(Overlap::Released) | None => {
                "This machine has no seat; activate the license here again"
            }
        };
        Self {
            refusal,
            message: message.to_owned(),
        }
    }

    /// No seat of the license is free for the machine.
    pub(super) fn seat_limit(license: &License, no_place: SeatRefusal) -> Self {
        let time = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S UTC");
        let SeatRefusal { limit, moves_left } = no_place;
        let (moves, days) = (license.moves, day_words::days(license.moves_period_days));
        let message = match (limit, license.seats) {
            (SeatLimit::AllHeld, 1) => {
                "The license is for one machine, and another machine is using it; deactivate it \
                 there, or ask your vendor to free the seat or sell you another seat"
                    .to_owned()
            }
            (SeatLimit::AllHeld, n) => format!(
                "The license is for {n} machines, and other machines are using all of its seats; \
                 deactivate the license on one of them, or ask your vendor to free a seat or sell \
                 you another seat"
            ),
            (SeatLimit::NoMovesLeft { until }, _) => format!(
                "A seat of the license is free, but the machine that had it may run until {}, and \
                 no moves are left ({moves} in {days}); activate the license here after that, \
                 or ask your vendor to release the seat",
                time(until)
            ),
            (SeatLimit::LongLease { until }, _) => format!(
                "A seat of the license is free, but the machine that had it may run until {}, \
                 which is too long for a move (moves left: {moves_left}); activate the license \
                 here after that, or ask your vendor to release the seat",
                time(until)
            ),
        };
        Self {
            refusal: Refusal::SeatLimit,
            message,
        }
    }

    /// The license has fewer seats than are taken, the machine's seat was taken after the others, and
    /// its lease has ended. `seat_limit` answers only an activation: a site would not accept it
    /// otherwise.
    pub(super) fn too_few_seats(license: &License, call: Call) -> Self {
        let now_has = match license.seats {
            1 => "The license now has 1 seat, and another machine took it".to_owned(),
            n => format!("The license now has {n} seats, and other machines took them"),
        };
        Self {
            refusal: match call {
                Call::Activate => Refusal::SeatLimit,
                _ => Refusal::SeatFreed,
            },
            message: format!(
                "{now_has} before this one; deactivate the license on a machine that has \
                 a seat and activate it here again, or ask your vendor for another seat"
            ),
        }
    }

    /// Signs the refusal. `knows_lost_number` says that the site was answered by a server whose
    /// answers the database does not have.
    ///
    /// # Errors
    /// [`AnswerError::OlderThanSite`] where such a site must not be refused, or when nothing can
    /// be signed.
    pub(super) fn sign(
        self,
        app: &App,
        license: Option<&License>,
        envelope: Envelope<'_>,
        knows_lost_number: bool,
    ) -> Result<SiteAnswer, AnswerError> {
        if !self.refusal.may_be_signed(knows_lost_number) {
            return Err(AnswerError::OlderThanSite);
        }
        let denied = Denied {
            reason: self.refusal.reason(),
            message: self.message,
            amendment: None,
        };
        let signature = signed_denial(app, license, envelope, &denied)?;
        app.numbering.note_denial(envelope.seq);
        let Denied {
            reason, message, ..
        } = denied;
        Ok(SiteAnswer::Denied {
            reason,
            message,
            signature,
        })
    }
}

/// A text that begins with a capital.
fn sentence(text: &impl std::fmt::Display) -> String {
    let text = text.to_string();
    let mut rest = text.chars();
    let first = rest.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(rest).collect()
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<AnswerError> for Stopped {
    fn from(error: AnswerError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests;

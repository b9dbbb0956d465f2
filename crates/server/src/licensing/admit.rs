//! Decides whether a site's call is answered now, before any work is done for it.
//!
//! A malformed key, or one with a wrong check character, costs no query. For any other key, one
//! query determines whether the license exists and whether the machine holds a seat, and another one
//! whether there is the add-on key that is to be redeemed. Calls wait for
//! their turn before this query, and keep it until they are answered. A call about a license counts
//! for that seat, or for the license's machines without one; every other call counts as a failure
//! of its address.

use std::net::IpAddr;
use std::time::Duration;

use license_core::document::DenialReason;
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::license_key::LicenseKey;
use license_core::protocol::Call;
use license_core::rate::FAILURE_RATE;
use license_service::turns::Turn;

use crate::app::App;
use crate::call_queues::CallTurn;
use crate::licensing::site_answer::SiteAnswer;
use crate::signing::SignError;
use crate::store::{StoreError, add_ons, callers};

/// Why a call is not answered now.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The caller has exceeded its rate limit.
    #[error("too many calls; the next one is allowed in {0:?}")]
    TooManyCalls(Duration),
    /// Too many calls about the license, or with unknown keys, are waiting.
    #[error("too many calls are waiting")]
    Busy,
    /// Signing is suspended.
    #[error(transparent)]
    NotSigning(SignError),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Admits a call that starts a trial when it is its turn, and counts it against its address: there is
/// no license whose allowance it could take. The turn has to be kept until the call is answered.
///
/// # Errors
/// One [`AdmitError`] for each reason.
pub async fn admit_trial(app: &App, address: IpAddr) -> Result<Turn, AdmitError> {
    app.can_sign().map_err(AdmitError::NotSigning)?;
    let refused = |refusal| {
        let call = Call::Activate.as_str();
        app.traffic.note(call, "throttled", app.clock.now());
        refusal
    };
    let now = app.clock.running();
    let is_failing = app.rates.is_failing(address, now);
    let counted = app.rates.fail(address, now);
    counted.map_err(|wait| refused(AdmitError::TooManyCalls(wait)))?;
    let turn = app.queues.enter_without_license(is_failing).await;
    turn.map_err(|_| refused(AdmitError::Busy))
}

/// The origin and subject of a call.
#[derive(Clone, Copy)]
pub struct SiteCall<'a> {
    /// The address, as reported by trusted proxies.
    pub address: IpAddr,
    /// The kind of call.
    pub call: Call,
    /// The license key, as it was sent.
    pub license_key: &'a str,
    /// The machine.
    pub hardware_id: &'a str,
    /// The add-on key to redeem, as it was sent.
    pub add_on_key: Option<&'a str>,
}

impl SiteCall<'_> {
    /// Admits the call when it is its turn, and counts it. While nothing is signed, no call is
    /// admitted or counted. The turn has to be kept until the call is answered; a call that needs
    /// no database has no turn.
    ///
    /// # Errors
    /// One [`AdmitError`] for each reason.
    pub async fn admit(self, app: &App) -> Result<Option<CallTurn>, AdmitError> {
        app.can_sign().map_err(AdmitError::NotSigning)?;
        let now = app.clock.running();
        let add_on = self.add_on_key;
        let add_on = add_on.map(|text| IssuedCode::parse(CodeKind::AddOn, text));
        let (Ok(key), Ok(add_on)) = (LicenseKey::parse(self.license_key), add_on.transpose())
        else {
            let counted = app.rates.fail(self.address, now);
            return match counted {
                Ok(()) => Ok(None),
                Err(wait) => Err(self.refuse(app, AdmitError::TooManyCalls(wait))),
            };
        };
        let is_failing = app.rates.is_failing(self.address, now);
        let busy = || match is_failing {
            true => AdmitError::TooManyCalls(FAILURE_RATE.interval),
            false => AdmitError::Busy,
        };
        let turn = app.queues.enter(&key, self.hardware_id, is_failing).await;
        let turn = turn.map_err(|_| self.refuse(app, busy()))?;
        let db = app.store.reader();
        let (counted, turn) = match callers::find(db, key.as_str(), self.hardware_id).await? {
            Some(caller) => {
                let turn = app
                    .queues
                    .found(&key, self.hardware_id, caller.holds_seat, turn)
                    .await;
                let turn = turn.map_err(|_| self.refuse(app, AdmitError::Busy))?;
                let is_known = match &add_on {
                    Some(add_on) => add_ons::find(db, add_on).await?.is_some(),
                    None => true,
                };
                let counted = match is_known {
                    true => app.rates.call(&caller, self.hardware_id, self.call, now),
                    false => app.rates.fail(self.address, now),
                };
                (counted, turn)
            }
            None => (app.rates.fail(self.address, now), turn),
        };
        match counted {
            Ok(()) => Ok(Some(turn)),
            Err(wait) => Err(self.refuse(app, AdmitError::TooManyCalls(wait))),
        }
    }

    /// Counts a refused activation or add-on key against the address. The response is sent regardless: only calls
    /// with unknown keys are limited by the address.
    pub fn note(self, app: &App, answer: &SiteAnswer) {
        // An unknown key was counted when the call was admitted.
        let is_refused = match answer {
            SiteAnswer::Denied { reason, .. } => !matches!(
                reason,
                DenialReason::UnknownLicense
                    | DenialReason::UnknownAddOn
                    | DenialReason::UnknownTrialCode
                    | DenialReason::AddOnKey
                    | DenialReason::TrialCode
            ),
            SiteAnswer::License(_)
            | SiteAnswer::Deactivated { .. }
            | SiteAnswer::Redeemed { .. } => false,
        };
        if is_refused && (self.call == Call::Activate || self.add_on_key.is_some()) {
            app.rates.note_failure(self.address, app.clock.running());
        }
    }

    /// A refusal is counted, and no line is logged for it.
    fn refuse(self, app: &App, refusal: AdmitError) -> AdmitError {
        let call = self.call.as_str();
        app.traffic.note(call, "throttled", app.clock.now());
        refusal
    }
}

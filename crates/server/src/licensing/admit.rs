//! Whether a site's call is answered now, before anything is done for it.
//!
//! A key of the wrong form, or with a wrong check character, costs no query. For any
//! other one query says whether the license exists and whether the machine holds a
//! seat. A call about a license counts for that seat, or for the license's machines
//! without one; every other call counts as a failure of its address.

use std::net::IpAddr;
use std::time::Duration;

use license_core::document::DenialReason;
use license_core::license_key::LicenseKey;
use license_core::protocol::Call;

use crate::app::App;
use crate::licensing::answer::Answer;
use crate::signing::SignError;
use crate::store::{StoreError, callers};

/// Why a call is not answered now.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The caller has used its allowance.
    #[error("too many calls; the next one is allowed in {0:?}")]
    TooManyCalls(Duration),
    /// Nothing is signed.
    #[error(transparent)]
    NotSigning(SignError),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a call comes from, and what it is about.
#[derive(Clone, Copy)]
pub struct SiteCall<'a> {
    /// The address, as trusted proxies tell it.
    pub address: IpAddr,
    /// What is asked.
    pub call: Call,
    /// The license key, as it was sent.
    pub license_key: &'a str,
    /// The machine.
    pub hardware_id: &'a str,
}

impl SiteCall<'_> {
    /// Lets the call in, and counts it. While nothing is signed none is let in, and
    /// none is counted.
    ///
    /// # Errors
    /// One [`AdmitError`] for each reason.
    pub async fn admit(self, app: &App) -> Result<(), AdmitError> {
        app.can_sign().map_err(AdmitError::NotSigning)?;
        let now = app.clock.running();
        let caller = match LicenseKey::parse(self.license_key) {
            Ok(key) => {
                let turn = app.rates.turn_to_look_up(self.address, now).await;
                let _turn = turn.map_err(|wait| self.refuse(app, wait))?;
                let db = app.store.reader();
                callers::find(db, key.as_str(), self.hardware_id).await?
            }
            Err(_) => None,
        };
        let admitted = match caller {
            Some(caller) => app.rates.call(&caller, self.hardware_id, self.call, now),
            None => app.rates.fail(self.address, now),
        };
        admitted.map_err(|wait| self.refuse(app, wait))
    }

    /// Counts a refused activation against the address. The answer goes out all
    /// the same: only unknown keys wait for it.
    pub fn note(self, app: &App, answer: &Answer) {
        // An unknown key was counted when the call was let in.
        let is_refused = match answer {
            Answer::Denied { reason, .. } => *reason != DenialReason::UnknownLicense,
            Answer::License(_) | Answer::Deactivated { .. } => false,
        };
        if is_refused && self.call == Call::Activate {
            app.rates.note_failure(self.address, app.clock.running());
        }
    }

    /// A refusal is counted, and no line is logged for it.
    fn refuse(self, app: &App, wait: Duration) -> AdmitError {
        let call = self.call.as_str();
        app.traffic.note(call, "throttled", app.clock.now());
        AdmitError::TooManyCalls(wait)
    }
}

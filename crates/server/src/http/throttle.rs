//! Whether a site's call is answered now, before anything is done for it.
//!
//! A key of the wrong form, or with a wrong check character, costs no query. For any
//! other one query says whether the license exists and whether the machine holds a
//! seat. A call about a license counts for that seat, or for the license's
//! newcomers; every other call counts as a failure of its address.

use std::net::IpAddr;
use std::time::Duration;

use license_core::document::DenialReason;
use license_core::license_key::LicenseKey;

use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing::answer::Answer;
use crate::store::callers;

/// Where a call comes from, and what it is about.
#[derive(Clone, Copy)]
pub(super) struct SiteCall<'a> {
    /// The address, as trusted proxies tell it.
    pub(super) address: IpAddr,
    /// What is asked: `activate`, `validate`, `heartbeat` or `deactivate`.
    pub(super) kind: &'static str,
    /// The license key, as it was sent.
    pub(super) license_key: &'a str,
    /// The machine.
    pub(super) hardware_id: &'a str,
}

impl SiteCall<'_> {
    /// Lets the call in, and counts it. While nothing is signed none is let in, and
    /// none is counted.
    ///
    /// # Errors
    /// [`ApiError::TooManyCalls`] beyond a rate; [`ApiError::NotSigning`] while
    /// nothing is signed; and when the database refuses.
    pub(super) async fn admit(self, app: &App) -> Result<(), ApiError> {
        app.can_sign().map_err(|_| ApiError::NotSigning)?;
        let now = app.clock.running();
        let caller = match LicenseKey::parse(self.license_key) {
            Ok(key) => {
                let _turn = app.rates.turn_to_look_up(self.address, now).await;
                let db = app.store.reader();
                callers::find(db, key.as_str(), self.hardware_id).await?
            }
            Err(_) => None,
        };
        let admitted = match caller {
            Some(caller) => app.rates.call(&caller, self.hardware_id, now),
            None => app.rates.fail(self.address, now),
        };
        admitted.map_err(|wait| self.refuse(app, wait))
    }

    /// Counts a refused activation against the address. The answer goes out all
    /// the same: only unknown keys wait for it.
    pub(super) fn note(self, app: &App, answer: &Answer) {
        // An unknown key was counted when the call was let in.
        let is_refused = match answer {
            Answer::Denied { reason, .. } => *reason != DenialReason::UnknownLicense,
            Answer::License(_) | Answer::Deactivated { .. } => false,
        };
        if is_refused && self.kind == "activate" {
            app.rates.note_failure(self.address, app.clock.running());
        }
    }

    /// A refusal is counted, and no line is logged for it.
    fn refuse(self, app: &App, wait: Duration) -> ApiError {
        app.traffic.note(self.kind, "throttled", app.clock.now());
        ApiError::TooManyCalls(wait)
    }
}

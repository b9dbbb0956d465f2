//! Redeems an add-on key for a license that is locked.

use license_core::issued_code::IssuedCode;

use super::HeldLicense;
use crate::audit::{Actor, PermittedChange};
use crate::licensing::current;
use crate::licensing::redeem::redeem_held;
use crate::licensing::refusal::{Refused, Stopped};
use crate::licensing::site_answer::AnswerError;
use crate::signing::SignError;
use crate::store::seats::Seat;

impl HeldLicense<'_> {
    /// Redeems an add-on key; returns the number of the amendment that it is.
    ///
    /// # Errors
    /// [`Stopped::Refused`] if the key may not be redeemed, and [`Stopped::Failed`] if the clock may
    /// be wrong or the database returns an error.
    pub(in crate::licensing) async fn redeem(&mut self, key: &IssuedCode) -> Result<u32, Stopped> {
        let by = match &self.details.offline {
            Some(file) => file.by.clone(),
            None => Actor::Site,
        };
        let time = self.app.signing_clock.permit(self.now);
        let time = time.map_err(|doubt| AnswerError::from(SignError::from(doubt)))?;
        let change = PermittedChange::new(by, time);
        let (db, license) = (&self.transaction, self.license.clone());
        let redeemed = match redeem_held(db, license, key, &change).await {
            Ok(redeemed) => redeemed,
            Err(error) => return Err(Refused::add_on(error)?.into()),
        };
        if let Some(amended) = redeemed.amended {
            let amended = current::with_amendments(db, amended.license, self.now).await?;
            (self.license, self.amendments) = amended;
        }
        Ok(redeemed.amendment)
    }

    /// Puts the machine's seat back, for the refusal of the call.
    pub(in crate::licensing) fn return_seat(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }
}

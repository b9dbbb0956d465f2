//! Redeems an add-on key for a license that is locked.

use super::HeldLicense;
use crate::licensing::refusal::{Refused, Stopped};
use crate::licensing::site_redeem::SiteRedeeming;
use crate::store::seats::Seat;

impl HeldLicense<'_> {
    /// Redeems an add-on key; returns the number of the amendment that it is.
    ///
    /// # Errors
    /// [`Stopped::Refused`] if the key may not be redeemed, and [`Stopped::Failed`] if the license or
    /// the key has changed since that was checked, or the database returns an error.
    pub(in crate::licensing) async fn redeem(
        &mut self,
        prepared: SiteRedeeming,
    ) -> Result<u32, Stopped> {
        let redeeming = match prepared.redeeming {
            Ok(redeeming) => redeeming,
            Err(error) => return Err(Refused::add_on(error)?.into()),
        };
        let storing = redeeming.store(&self.transaction, &self.row, &prepared.change);
        let redeemed = storing.await?;
        if let Some(amended) = redeemed.amended {
            self.license = amended.license;
            self.amendments = match self.license.is_plain {
                true => Vec::new(),
                false => amended.all.to_vec(),
            };
        }
        Ok(redeemed.amendment)
    }

    /// Puts the machine's seat back, for the refusal of the call.
    pub(in crate::licensing) fn return_seat(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }
}

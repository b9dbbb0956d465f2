//! What holds after every step.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::feature::CORE_FEATURES;
use license_core::gate::{Entitlements, decide};
use license_core::lapse::LapseReason;
use license_core::lease::Lease;
use license_core::standing::{Standing, standing};
use license_core::time_guard::BELIEVED_LEAD;

use super::{Counted, PAID, World};
use crate::signer::{KEY, exact};

impl World {
    /// What has to be counted after a start, depending on the stored data that is left.
    pub(super) fn count_what_is_left(&mut self, signed: Option<DateTime<Utc>>) {
        let none = TimeDelta::zero();
        let seq = self.evidence.newest_seq(KEY).unwrap();
        let signed_after = self.ran_when_signed.get(&seq).copied().unwrap_or(none);
        let mut counted = Counted {
            here: signed_after,
            shared: signed_after,
            certain: signed_after,
        };
        if let Some(file) = &self.kept.file {
            // The machine knows how long it has been running since the file was written. For a
            // document that is newer than the time counted by then this means nothing, unless no
            // time was left out and the machine was not off in between.
            let since = TimeDelta::from_std(self.since_boot).unwrap();
            let before = TimeDelta::milliseconds(file.value.since_boot_ms.cast_signed());
            let unseen = TimeDelta::milliseconds(file.value.unseen_ms.cast_signed());
            self.charged += unseen;
            let ran = self.ran - file.ran;
            let names_it = file.value.boot_id.is_some() && !self.is_masked;
            let carried = if file.boot == self.boots {
                ran
            } else if names_it || since < before {
                // Running time before a power cut counts, too.
                ran.min(since + unseen)
            } else {
                ran.min(unseen.max(since - before))
            };
            let says = |then: TimeDelta| {
                signed_after <= then || file.boot == self.boots && then == file.ran
            };
            for (counted, then) in [
                (&mut counted.here, file.counted.here),
                (&mut counted.shared, file.counted.shared),
                (&mut counted.certain, file.counted.certain),
            ] {
                if says(then) {
                    *counted = (*counted).max(then + carried);
                }
            }
        }
        // A mark that knows no document as new as this one is older than it.
        for mark in [&self.kept.local, &self.kept.row].into_iter().flatten() {
            if mark.value.signed_at >= signed {
                counted.here = counted.here.max(mark.counted.here);
                counted.shared = counted.shared.max(mark.counted.shared);
            }
        }
        // The claims in the local copy count where the file has none.
        if let (None, Some(local)) = (&self.kept.file, &self.kept.local)
            && local.value.signed_at >= signed
        {
            counted.certain = counted.certain.max(local.counted.certain);
        }
        let is_right = self.wall_off >= none;
        self.wall_will_count = self.kept.file.is_none() && is_right;
        if self.wall_will_count && !self.guard.awaits_validation() {
            counted.here = self.ran;
            self.wall_will_count = false;
        }
        self.counted = counted;
    }

    pub(super) fn check_nothing_lapses_before_asking(&self) {
        if self.kept.local.is_some() || self.kept.row.is_some() {
            return;
        }
        let signed = self.evidence.newest_signed_at().unwrap();
        assert!(self.readings().wall - signed > BELIEVED_LEAD);
        let stands = standing(&self.evidence, self.now(), &self.policy);
        assert!(
            !matches!(
                stands,
                Standing::Lapsed(LapseReason::GracePeriodExpired | LapseReason::LicenseExpired)
            ),
            "off before the License Server was asked"
        );
    }

    pub(super) fn check(&mut self) {
        let now = self.now();
        let Some(Lease::Signed(document)) = self.evidence.lease.as_ref() else {
            panic!("the license is gone");
        };
        let stands = standing(&self.evidence, now, &self.policy);
        let granted = self.evidence.lease.as_ref().unwrap().license().granted();
        let entitlements = Entitlements::new(granted, Default::default());
        for core in CORE_FEATURES {
            assert!(
                decide(core, exact(now), &stands, &entitlements, &self.policy).available,
                "a core feature is off"
            );
        }
        let on = decide(PAID, exact(now), &stands, &entitlements, &self.policy).available;

        // Never past the signed end, in running time. Time that is in no remaining copy does
        // not have to count, unless the wall clock shows it.
        let signed_span = document.claims().exp - document.claims().iat;
        let signed_after = self.ran_when_signed[&document.claims().seq];
        let counted = self.counted.here - signed_after - TimeDelta::minutes(2);
        assert!(
            !(on && counted > signed_span),
            "on {counted} after the lease was signed, which is good for {signed_span}"
        );
        // Not off earlier than the signed end minus the possible claims of clocks.
        let left_alone = !self.restored && !self.tampered;
        if stands == Standing::Lapsed(LapseReason::GracePeriodExpired) && left_alone {
            let least = TimeDelta::hours(if self.failed_since_confirmed { 48 } else { 72 });
            let ran = self.since_confirmed + self.charged + TimeDelta::minutes(2);
            assert!(ran >= least, "off after {ran} of running time");
        }
        if let Standing::Lapsed(LapseReason::Denied(_)) = &stands {
            assert!(self.denials_issued > 0, "a denial that nobody has issued");
        }
        let seq = self.evidence.newest_seq(KEY).unwrap();
        assert!(
            self.restored || seq >= self.highest_seq,
            "the sequence ran backward"
        );
        self.highest_seq = self.highest_seq.max(seq);
    }
}

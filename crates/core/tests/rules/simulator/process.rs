//! The process at the site: what it stores, and how it starts again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use license_core::document::{verify_denial, verify_license};
use license_core::evidence::{Evidence, Failure};
use license_core::lease::Lease;
use license_core::schedule::jitter::Jitter;
use license_core::schedule::next_validation;
use license_core::standing::standing;
use license_core::time_guard::{Mark, TimeGuard};

use super::{Copy, Counted, STORE_INTERVAL, World};

impl World {
    pub(super) fn observe(&mut self) {
        let (guard, _) = self.guard.observed(self.readings());
        self.guard = guard;
        if self.truth - self.kept_at >= STORE_INTERVAL {
            self.keep();
        } else if self.truth - self.filed_at >= self.gap() {
            self.file();
        }
        self.look_at_the_wall();
        let now = self.now();
        assert!(now >= self.last_effective, "time ran backward");
        self.last_effective = now;
    }

    /// Uncertain values are not stored.
    pub(super) fn keep(&mut self) {
        self.kept.evidence = self.evidence.clone();
        if self.guard.awaits_validation() {
            return;
        }
        self.file();
        self.kept.local = Some(self.copy(self.guard.mark()));
        let ours = self.guard.shared_mark();
        let mark = match &self.kept.row {
            Some(row) => ours.merged(row.value),
            None => ours,
        };
        if mark == ours {
            let row = self.copy(ours);
            self.kept.row = Some(Copy {
                counted: Counted {
                    here: row.counted.shared,
                    ..row.counted
                },
                ..row
            });
        }
        self.kept_at = self.truth;
    }

    pub(super) fn file(&mut self) {
        if self.guard.awaits_validation() {
            return;
        }
        self.kept.file = Some(self.copy(self.guard.believed()));
        self.filed_at = self.truth;
    }

    pub(super) fn copy<T>(&self, value: T) -> Copy<T> {
        Copy {
            value,
            counted: self.counted,
            ran: self.ran,
            boot: self.boots,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        let now = self.now();
        let standing = standing(&self.evidence, now, &self.policy);
        let due = next_validation(
            &self.evidence,
            &standing,
            self.failures,
            self.validated_at,
            TimeDelta::hours(24),
            Jitter::from_bits(1 << 31),
        );
        due.is_some_and(|due| due <= now)
    }

    /// The process ends and restarts, immediately or after a while.
    pub(super) fn restart(&mut self, after_a_while: bool) {
        if after_a_while {
            let span = self.dice.up_to(TimeDelta::days(3));
            self.truth += span;
            self.since_boot += span.to_std().unwrap();
            self.ran_for(span);
        }
        self.start();
    }

    pub(super) fn start(&mut self) {
        self.running = Duration::ZERO;
        self.evidence = self.recalled();
        let signed = self.evidence.newest_signed_at();
        let file = self.kept.file.as_ref().map(|copy| copy.value.clone());
        let local = self.kept.local.as_ref().map(|copy| copy.value);
        let row = self.kept.row.as_ref().map(|copy| copy.value);
        let floor = DateTime::UNIX_EPOCH;
        let readings = self.readings();
        let (guard, _) = TimeGuard::start(file.as_ref(), local.as_ref(), signed, floor, readings);
        let row = row.map(Mark::as_claim);
        let (guard, _) = guard.recalled(row.as_ref(), signed, self.readings());
        // A new process has not exposed any time later than its start.
        self.guard = guard;
        self.count_what_is_left(signed);
        self.last_effective = self.now();
        let tried = self.evidence.last_failure.as_ref().map(Failure::at);
        let now = self.now();
        self.validated_at = self
            .evidence
            .confirmed_at
            .max(tried)
            .unwrap_or(now)
            .min(now);
        self.failures = u32::from(tried.is_some());
        if self.guard.awaits_validation() {
            self.check_nothing_lapses_before_asking();
            self.validate();
        }
        self.keep();
    }

    /// Stored data is verified again.
    fn recalled(&self) -> Evidence {
        let keyring = self.vendor.keyring();
        let mut evidence = self.kept.evidence.clone();
        if let Some(Lease::Signed(document)) = &evidence.lease {
            let again = verify_license(document.jws(), &keyring).unwrap();
            evidence.lease = Some(Lease::Signed(Box::new(again)));
        }
        if let Some(denial) = &evidence.denial {
            evidence.denial = Some(verify_denial(denial.jws(), &keyring).unwrap());
        }
        evidence
    }
}

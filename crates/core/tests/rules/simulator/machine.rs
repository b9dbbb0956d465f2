//! The machine and its user: clocks, restarts, and files that are edited or restored.

use chrono::{DateTime, TimeDelta};
use license_core::time_guard::{Mark, Readings, keep_again_after};

use super::{Copy, Way, World};

impl World {
    pub(super) fn readings(&self) -> Readings {
        Readings {
            wall: self.truth + self.wall_off,
            running: self.running,
            since_boot: self.since_boot,
            boot_id: Some(self.boots.to_string()).filter(|_| !self.is_masked),
        }
    }

    pub(super) fn pass(&mut self, span: TimeDelta) {
        self.truth += span;
        self.running += span.to_std().unwrap();
        self.since_boot += span.to_std().unwrap();
        self.ran_for(span);
        self.counted.here += span;
        self.counted.shared += span;
        self.counted.certain += span;
    }

    /// For how long the content of the file is valid.
    pub(super) fn gap(&self) -> TimeDelta {
        match &self.kept.file {
            Some(file) if file.value.unseen_ms > 0 => {
                TimeDelta::milliseconds(file.value.unseen_ms.cast_signed())
            }
            _ => TimeDelta::from_std(keep_again_after(self.running)).unwrap(),
        }
    }

    pub(super) fn ran_for(&mut self, span: TimeDelta) {
        self.ran += span;
        self.since_confirmed += span;
    }

    /// Records whether the wall clock was behind the true time.
    pub(super) fn look_at_the_wall(&mut self) {
        self.wall_will_count &= self.wall_off >= TimeDelta::zero();
    }

    pub(super) fn change_way(&mut self) {
        self.way = match self.dice.roll(9) {
            0..4 => Way::Open,
            4..6 => Way::Cut,
            6 => Way::Portal,
            7 => [Way::Fault, Way::Replays][self.dice.roll(2) as usize],
            _ => Way::Forges,
        };
    }

    pub(super) fn step_the_wall(&mut self) {
        let by = match self.dice.roll(8) {
            0 => self.dice.up_to(TimeDelta::minutes(4)),
            1 => -self.dice.up_to(TimeDelta::minutes(10)),
            2 => self.dice.up_to(TimeDelta::hours(20)),
            3 => -self.dice.up_to(TimeDelta::days(400)),
            4 => self.dice.up_to(TimeDelta::days(4000)),
            // 1970 and 2038.
            5 => DateTime::UNIX_EPOCH - self.truth - self.wall_off,
            6 => DateTime::from_timestamp(i32::MAX.into(), 0).unwrap() - self.truth - self.wall_off,
            _ => -self.wall_off,
        };
        self.wall_off += by;
        self.look_at_the_wall();
    }

    /// Power off and on: unsaved data is lost.
    pub(super) fn reboot(&mut self) {
        let off = match self.dice.roll(3) {
            0 => self.dice.up_to(TimeDelta::minutes(10)),
            1 => self.dice.up_to(TimeDelta::hours(20)),
            _ => self.dice.up_to(TimeDelta::days(20)),
        };
        let up = self.dice.up_to(TimeDelta::minutes(20)) + TimeDelta::seconds(30);
        if self.dice.roll(2) == 0 {
            // A clean stop.
            self.observe();
            self.keep();
            self.kept.file = Some(self.copy(self.guard.stopped()));
        }
        self.truth += off + up;
        self.ran_at_boot = self.ran;
        self.ran_for(up);
        self.since_boot = up.to_std().unwrap();
        self.boots += 1;
        if !self.battery {
            self.wall_off = DateTime::UNIX_EPOCH - self.truth;
        }
        self.start();
    }

    /// The machine is suspended: its boot clock continues, the process does not.
    pub(super) fn sleep(&mut self) {
        let span = match self.dice.roll(2) {
            0 => self.dice.up_to(TimeDelta::hours(10)),
            _ => self.dice.up_to(TimeDelta::days(6)),
        };
        self.truth += span;
        self.since_boot += span.to_std().unwrap();
        self.observe();
    }

    /// The user restores an old license and its related data.
    pub(super) fn restore(&mut self) {
        let Some(old) = &self.restorable else {
            return;
        };
        self.kept.evidence = old.evidence.clone();
        self.restored = true;
        self.start();
    }

    /// The user stops the process, removes, restores or edits any stored data, may set the wall
    /// clock, and starts the process again.
    pub(super) fn tamper(&mut self) {
        self.tamperings += 1;
        self.tampered = true;
        let old = self.restorable.clone();
        let mut kept = self.kept.clone();
        match (self.dice.roll(3), &old) {
            (0, _) => kept.file = None,
            (1, Some(old)) => kept.file = old.file.clone(),
            _ => {}
        }
        kept.local = self.tampered_with(kept.local, old.as_ref().map(|old| &old.local));
        kept.row = self.tampered_with(kept.row, old.as_ref().map(|old| &old.row));
        if let Some(old) = &old
            && self.dice.roll(3) == 0
        {
            kept.evidence = old.evidence.clone();
            self.restored = true;
        }
        self.kept = kept;
        if self.dice.roll(3) == 0 {
            self.step_the_wall();
        }
        if self.dice.roll(3) == 0 {
            self.is_masked = !self.is_masked;
        }
        if self.dice.roll(3) == 0 {
            // The files are changed before the power is back.
            let off = self.dice.up_to(TimeDelta::days(400));
            let up = TimeDelta::minutes(1);
            self.truth += off + up;
            self.ran_at_boot = self.ran;
            self.ran_for(up);
            self.since_boot = up.to_std().unwrap();
            self.boots += 1;
        }
        self.start();
    }

    /// A mark that was stored, removed, restored or forged. A mark that exceeds the truth is
    /// useless to its author.
    fn tampered_with(
        &mut self,
        mark: Option<Copy<Mark>>,
        old: Option<&Option<Copy<Mark>>>,
    ) -> Option<Copy<Mark>> {
        match (self.dice.roll(4), old) {
            (0, _) => None,
            (1, Some(old)) => old.clone(),
            (2, _) => {
                let at = self.truth - self.dice.up_to(TimeDelta::days(300));
                let number = |number: u64| i64::try_from(number).unwrap();
                let mark = Mark {
                    at,
                    signed_at: Some(at + self.dice.up_to(TimeDelta::days(90_000))),
                    lead_ms: number(self.dice.roll(u64::MAX)),
                    assumed_ms: number(self.dice.roll(u64::MAX)),
                    shared_claim_ms: number(self.dice.roll(u64::MAX)),
                };
                let mut forged = self.copy(mark);
                // It is useless.
                forged.counted.here = TimeDelta::zero();
                forged.counted.shared = TimeDelta::zero();
                forged.counted.certain = TimeDelta::zero();
                Some(forged)
            }
            _ => mark,
        }
    }
}

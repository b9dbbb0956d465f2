//! Calls to the License Server, and license files.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use license_core::document::{DenialReason, verify_license};
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::response::{Contact, Question, Reply, TransportFailure};
use license_core::schedule::unsigned_validity;
use license_core::standing::{Standing, standing};
use serde_json::json;

use super::{Way, World};
use crate::signer::{
    HARDWARE, INSTALLATION, KEY, Signer, denial_claims, license_claims, validation,
};

impl World {
    /// The user has a license file signed and keeps it, or imports one of those kept. The user may
    /// remove the license first, so that the file counts again, and set the wall clock for just
    /// that moment.
    pub(super) fn by_file(&mut self) {
        if self.files.is_empty() || self.dice.roll(3) == 0 {
            self.seq = (self.seq + 1).max(u64::try_from(self.truth.timestamp_millis()).unwrap());
            self.ran_when_signed.insert(self.seq, self.ran);
            let mut claims = license_claims();
            claims.seq = self.seq;
            claims.offline = true;
            claims.iat = DateTime::from_timestamp(self.truth.timestamp(), 0).unwrap();
            claims.nbf = claims.iat;
            claims.valid_until = claims.iat + TimeDelta::days(5);
            claims.exp = claims.valid_until + TimeDelta::hours(72);
            let jws = self.vendor.license(&claims);
            let document = verify_license(&jws, &self.vendor.keyring());
            self.files.push(document.unwrap());
            return;
        }
        let at = usize::try_from(self.dice.roll(self.files.len() as u64)).unwrap();
        let document = self.files[at].clone();
        let newest = self.evidence.newest_seq(KEY);
        let forgets = self.dice.roll(2) == 0;
        if !forgets && Some(document.claims().seq) <= newest {
            return;
        }
        self.imports += 1;
        let wall_off = self.wall_off;
        if self.dice.roll(2) == 0 {
            self.step_the_wall();
        }
        let (signed, good_until) = (document.claims().iat, document.claims().valid_until);
        let before = self.now();
        let (guard, _) = self.guard.answered(signed, self.readings());
        self.guard = guard;
        let now = self.now();
        self.last_effective = now;
        let certain = self
            .counted
            .certain
            .max(self.ran_when_signed[&document.claims().seq]);
        self.counted.certain = certain;
        if now < before {
            self.counted.shared = certain;
            if self.wall_off < TimeDelta::zero() {
                self.counted.here = certain;
            }
        }
        for counted in [&mut self.counted.here, &mut self.counted.shared] {
            *counted = (*counted).max(certain);
        }
        // A signed answer replaces the mark in the database.
        self.kept.row = None;
        if now <= good_until {
            let lease = Lease::Signed(Box::new(document));
            let before = if forgets {
                Evidence::default()
            } else {
                self.evidence.clone()
            };
            self.evidence = before.activated(lease, now);
            self.restored = true;
        }
        self.keep();
        self.wall_off = wall_off;
    }

    pub(super) fn validate(&mut self) {
        self.validations += 1;
        let nonce = format!("nonce-{}", self.dice.roll(u64::MAX));
        let reply = self.answer(&nonce);
        let question = Question {
            nonce: &nonce,
            license_key: KEY,
            installation_id: INSTALLATION,
            hardware_id: HARDWARE,
            code_hash: None,
            newest_seq: self.evidence.newest_seq(KEY),
        };
        let contact = validation(&reply, &question, &self.trust);
        if let Some((signed, _)) = contact.proof() {
            assert_eq!(self.way, Way::Open, "only the vendor proves anything");
            let (guard, _) = self.guard.proven(signed, Duration::ZERO, self.readings());
            self.guard = guard;
            self.last_effective = self.now();
            self.counted.here = self.ran;
            self.counted.shared = self.ran;
            self.counted.certain = self.ran;
            // A signed answer replaces the mark in the database.
            self.kept.row = None;
        } else {
            let (guard, _) = self.guard.unanswered(self.readings());
            self.guard = guard;
            if self.wall_will_count {
                self.counted.here = self.ran;
            }
        }
        self.wall_will_count = false;
        let now = self.now();
        self.evidence =
            self.evidence
                .validated(&contact, now, unsigned_validity(TimeDelta::hours(24)));
        self.keep();
        self.validated_at = now;
        match contact {
            Contact::Confirmed(_) => {
                self.failures = 0;
                self.since_confirmed = TimeDelta::zero();
                self.failed_since_confirmed = false;
                self.restored = false;
                self.tampered = false;
                self.charged = TimeDelta::zero();
                assert_eq!(
                    standing(&self.evidence, now, &self.policy),
                    Standing::Active,
                    "a fresh confirmed answer makes the site active"
                );
            }
            Contact::Denied(_) | Contact::None(_) => {
                self.failures += 1;
                self.failed_since_confirmed = true;
            }
        }
    }

    fn answer(&mut self, nonce: &str) -> Reply {
        let answer = |status, body: Vec<u8>| Reply::Answer { status, body };
        match self.way {
            Way::Cut => {
                let detail = "no route to host".into();
                Reply::Failure(TransportFailure::Unreachable { detail })
            }
            Way::Portal => answer(200, b"<html>Please sign in</html>".to_vec()),
            Way::Fault => answer(
                503,
                br#"{"success":false,"data":{"isValid":false}}"#.to_vec(),
            ),
            Way::Replays => match self.recorded.len() {
                0 => answer(200, b"{}".to_vec()),
                n => answer(
                    200,
                    self.recorded[self.dice.roll(n as u64) as usize].clone(),
                ),
            },
            Way::Forges => {
                let signer = self.untrusted.license_header();
                let (yes, no) = (self.yes(nonce, false), self.no(nonce, false));
                let forged = [yes, no][self.dice.roll(2) as usize].clone();
                assert!(!signer.is_empty());
                answer(200, forged)
            }
            Way::Open => {
                let millis = u64::try_from(self.truth.timestamp_millis()).unwrap();
                self.seq = millis.max(self.seq + 1);
                self.ran_when_signed.insert(self.seq, self.ran);
                let body = if self.suspended {
                    self.denials_issued += 1;
                    self.no(nonce, true)
                } else {
                    self.yes(nonce, true)
                };
                self.recorded.push(body.clone());
                if self.recorded.len() > 50 {
                    self.recorded.remove(0);
                }
                answer(200, body)
            }
        }
    }

    fn yes(&self, nonce: &str, genuine: bool) -> Vec<u8> {
        let mut claims = license_claims();
        claims.seq = self.seq;
        claims.nonce = Some(nonce.into());
        claims.iat = DateTime::from_timestamp(self.truth.timestamp(), 0).unwrap();
        claims.nbf = claims.iat;
        claims.valid_until = claims.iat + TimeDelta::hours(24);
        claims.exp = claims.valid_until + TimeDelta::hours(72);
        let jws = self.signer(genuine).license(&claims);
        let license = json!({"licenseKey": KEY, "signature": jws});
        let data = json!({"isValid": true, "license": license, "gracePeriodActive": false});
        json!({"success": true, "data": data})
            .to_string()
            .into_bytes()
    }

    fn no(&self, nonce: &str, genuine: bool) -> Vec<u8> {
        let mut claims = denial_claims();
        claims.seq = self.seq;
        claims.nonce = Some(nonce.into());
        claims.iat = DateTime::from_timestamp(self.truth.timestamp(), 0).unwrap();
        claims.reason = DenialReason::Suspended;
        let jws = self.signer(genuine).denial(&claims);
        let data = json!({"isValid": false, "reason": "suspended", "signature": jws});
        json!({"success": true, "data": data})
            .to_string()
            .into_bytes()
    }

    pub(super) fn signer(&self, genuine: bool) -> &Signer {
        if genuine {
            &self.vendor
        } else {
            &self.untrusted
        }
    }
}

//! A history of a site: what its calls came to, and when they were made.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::response::{Contact, Question, Reply, Trust};
use license_core::schedule::unsigned_validity;
use license_core::standing::Policy;
use proptest::prelude::*;
use serde_json::json;

use crate::signer::{
    HARDWARE, INSTALLATION, KEY, NONCE, Signer, T0, denial_claims, license_claims, license_object,
    validation,
};

/// The result of one validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Confirmed,
    NoContact,
    Denied,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) wait: TimeDelta,
    pub(super) outcome: Outcome,
}

/// One site: whether its License Server signs, its settings, and its history.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) signed: bool,
    pub(super) policy: Policy,
    pub(super) expires_after: Option<TimeDelta>,
    pub(super) steps: Vec<Step>,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Confirmed),
        6 => Just(Outcome::NoContact),
        1 => Just(Outcome::Denied),
    ];
    let wait = prop_oneof![
        Just(TimeDelta::zero()),
        (1..120_i64).prop_map(TimeDelta::minutes),
        (1..60_i64).prop_map(TimeDelta::hours),
    ];
    let step = (wait, outcome).prop_map(|(wait, outcome)| Step { wait, outcome });
    prop::collection::vec(step, 1..12)
}

pub(super) fn history() -> impl Strategy<Value = History> {
    let expiry = prop::option::weighted(0.2, (1..400_i64).prop_map(TimeDelta::hours));
    let policy = (0..100_i64, any::<bool>()).prop_map(|(hours, allow)| Policy {
        grace: TimeDelta::hours(hours),
        allow_unlicensed_core: allow,
    });
    (any::<bool>(), policy, expiry, steps()).prop_map(|(signed, policy, expires_after, steps)| {
        History {
            signed,
            policy,
            expires_after,
            steps,
        }
    })
}

/// A License Server that answers at `now`, and a site that calls it.
pub(super) struct World {
    signer: Signer,
    signed: bool,
    expires_at: Option<DateTime<Utc>>,
    seq: u64,
}

impl World {
    pub(super) fn of(history: &History) -> Self {
        Self {
            signer: Signer::vendor(),
            signed: history.signed,
            expires_at: history.expires_after.map(|after| T0 + after),
            seq: 100,
        }
    }

    fn trust(&self) -> Trust {
        if self.signed {
            Trust::Keys(self.signer.keyring())
        } else {
            Trust::Unsigned
        }
    }

    /// The answer as read by the site.
    pub(super) fn contact(
        &mut self,
        evidence: &Evidence,
        outcome: Outcome,
        now: DateTime<Utc>,
    ) -> Contact {
        self.seq += 1;
        let body = match outcome {
            Outcome::Confirmed => {
                let mut license = license_object();
                let expires_at = self.expires_at.map(|at| at.to_rfc3339());
                license.insert("expiresAt".into(), expires_at.into());
                if self.signed {
                    let mut claims = license_claims();
                    (claims.iat, claims.nbf, claims.seq) = (now, now, self.seq);
                    claims.valid_until = now + TimeDelta::hours(24);
                    claims.exp = now + TimeDelta::hours(96);
                    claims.license = license.clone();
                    let jws = self.signer.license(&claims);
                    license.insert("signature".into(), jws.into());
                }
                json!({"isValid": true, "license": license}).to_string()
            }
            Outcome::Denied => {
                let mut claims = denial_claims();
                claims.seq = self.seq;
                let jws = self.signer.denial(&claims);
                json!({"success": false, "data": {"signature": jws}}).to_string()
            }
            Outcome::NoContact => "<html>".into(),
        };
        let body = body.into_bytes();
        let question = Question {
            nonce: NONCE,
            license_key: KEY,
            installation_id: INSTALLATION,
            hardware_id: HARDWARE,
            code_hash: None,
            newest_seq: evidence.newest_seq(KEY),
        };
        validation(
            &Reply::Answer { status: 200, body },
            &question,
            &self.trust(),
        )
    }

    pub(super) fn activate(&mut self) -> Evidence {
        let now = T0;
        let contact = self.contact(&Evidence::default(), Outcome::Confirmed, now);
        let Contact::Confirmed(confirmation) = contact else {
            panic!("not confirmed");
        };
        let lease = confirmation.lease(KEY, now, validity()).unwrap();
        Evidence::default().activated(lease, now)
    }
}

fn validity() -> TimeDelta {
    unsigned_validity(TimeDelta::hours(24))
}

/// The evidence of two replicas that split after some step of a history and then each
/// continued alone, and the time of the split.
pub(super) fn parted(
    history: &History,
    first: &[Step],
    second: &[Step],
) -> [(Evidence, DateTime<Utc>); 2] {
    let mut world = World::of(history);
    let (mut evidence, mut now) = (world.activate(), T0);
    let mut go_on = |evidence: &mut Evidence, now: &mut DateTime<Utc>, steps: &[Step]| {
        for step in steps {
            *now += step.wait;
            let contact = world.contact(evidence, step.outcome, *now);
            *evidence = evidence.validated(&contact, *now, validity());
        }
    };
    go_on(&mut evidence, &mut now, &history.steps);
    [first, second].map(|steps| {
        let (mut evidence, mut now) = (evidence.clone(), now);
        go_on(&mut evidence, &mut now, steps);
        (evidence, now)
    })
}

/// Plays a history; `look` gets the evidence after each step.
pub(super) fn play(
    history: &History,
    mut look: impl FnMut(&Evidence, DateTime<Utc>, Option<Outcome>),
) {
    let mut world = World::of(history);
    let mut evidence = world.activate();
    let mut now = T0;
    look(&evidence, now, None);
    for step in &history.steps {
        now += step.wait;
        look(&evidence, now, None);
        let contact = world.contact(&evidence, step.outcome, now);
        evidence = evidence.validated(&contact, now, validity());
        look(&evidence, now, Some(step.outcome));
    }
}

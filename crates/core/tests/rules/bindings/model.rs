//! A site, a thief who knows its license key and hardware id, and a License Server, at random.
//!
//! `BINDING_STEPS` sets the number of steps.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::binding::{BoundKey, JudgedCall, JudgedSeat, Refusal, SentProof, Served, decide};
use license_core::call::Call;
use license_core::proof::{VerifiedProof, document_hash};

use super::{Said, jkt, proof_of};
use crate::dice::{Dice, number};
use crate::signer::T0;

const DEFAULT_STEPS: u64 = 6_000;
/// A lease with its grace.
const LEASE: TimeDelta = TimeDelta::hours(96);
const THIEF: u8 = 200;

/// A signed license.
#[derive(Clone, Debug)]
struct Document {
    seq: u64,
    exp: DateTime<Utc>,
    /// The key that was bound and proven when it was signed.
    proven: Option<u8>,
}

impl Document {
    fn text(&self) -> String {
        format!("document.{}", self.seq)
    }
}

#[derive(Clone, Debug, Default)]
struct Party {
    /// `None` is version 1.0.0.
    key: Option<u8>,
    document: Option<Document>,
}

struct World {
    at: DateTime<Utc>,
    bound: Option<BoundKey>,
    newest: Option<String>,
    signed_until: Option<DateTime<Utc>>,
    issued: u64,
    activated: u64,
    moves_left: u32,
    nonces: u64,
    /// Proofs that were accepted while their key was bound.
    accepted: Vec<(Call, VerifiedProof)>,
    seen: Seen,
}

/// How often each thing happened, to show that the model reaches it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Steps after which the site's key was bound.
    bound: u64,
    tolerated: u64,
    challenged: u64,
    removed: u64,
    refused_thefts: u64,
    refused_replays: u64,
    lost_keys: u64,
}

impl World {
    fn is_bound_to(&self, key: Option<u8>) -> bool {
        let bound = self.bound.as_ref().map(BoundKey::jkt);
        bound.is_some() && bound == key.map(jkt)
    }

    fn judge(&self, asked: Call, proof: SentProof<'_>) -> Result<Served, Refusal> {
        let presented = match proof {
            SentProof::Valid(proof) => proof.document_hash(),
            _ => None,
        };
        let seat = JudgedSeat {
            former: None,
            is_new: self.issued == 0,
            bound: self.bound.as_ref(),
            signed_until: self.signed_until,
            issued: self.issued,
            activated: self.activated,
            outdated_until: None,
            requires_proof: false,
            moves_left: self.moves_left,
        };
        let call = JudgedCall {
            call: asked,
            is_by_file: false,
            proof,
            presents_newest: presented.is_some() && presented == self.newest.as_deref(),
            at: self.at,
        };
        decide(&seat, &call)
    }

    /// A call by a party that repeats it when it receives a number.
    fn ask(&mut self, party: &Party, asked: Call) -> Result<Document, Refusal> {
        let mut challenge = None;
        loop {
            match self.ask_once(party, asked, challenge) {
                Err(Refusal::Stale { newest }) if challenge.is_none() => {
                    self.seen.challenged += 1;
                    challenge = Some(newest);
                }
                answered => return answered,
            }
        }
    }

    fn ask_once(
        &mut self,
        party: &Party,
        asked: Call,
        challenge: Option<u64>,
    ) -> Result<Document, Refusal> {
        self.nonces += 1;
        let nonce = format!("nonce {}", self.nonces);
        let text = party.document.as_ref().map(Document::text);
        let proof = party.key.map(|key| {
            let said = Said {
                nonce: &nonce,
                seq: party.document.as_ref().map(|document| document.seq),
                challenge,
                document: text.as_deref(),
            };
            proof_of(key, said)
        });
        let sent = proof.as_ref().map_or(SentProof::Absent, SentProof::Valid);
        let served = self.judge(asked, sent)?;
        if let (Some(proof), true) = (&proof, matches!(served, Served::Proven(_))) {
            self.accepted.push((asked, proof.clone()));
        }
        Ok(self.answer(party, asked, served))
    }

    fn answer(&mut self, party: &Party, asked: Call, served: Served) -> Document {
        self.moves_left -= u32::from(served.spends_move());
        self.seen.removed += u64::from(served.spends_move());
        self.seen.tolerated += u64::from(matches!(served, Served::Tolerated { .. }));
        self.issued += 1;
        let signs = asked.answer_is_kept();
        let exp = signs.then_some(self.at + LEASE);
        let is_key = matches!(served, Served::Bind(_) | Served::Proven(_));
        self.bound = served.bound_key(exp);
        let document = Document {
            seq: self.issued,
            exp: self.at + LEASE,
            proven: party.key.filter(|_| is_key),
        };
        if signs {
            self.signed_until = self.signed_until.max(exp);
            self.newest = Some(document_hash(&document.text()));
        }
        if asked == Call::Activate {
            self.activated = self.issued;
        }
        document
    }
}

fn world(seed: u64) -> World {
    World {
        at: T0,
        bound: None,
        newest: None,
        signed_until: None,
        issued: 0,
        activated: 0,
        moves_left: 1 + u32::try_from(seed % 4).unwrap(),
        nonces: 0,
        accepted: Vec::new(),
        seen: Seen::default(),
    }
}

/// The site's validation in time. It must be answered, unless the site has lost the key with which
/// its license was signed; then its operator activates.
fn validate(world: &mut World, site: &mut Party, dice: &mut Dice) {
    let held = site.document.clone().unwrap();
    let is_in_time = world.at <= held.exp;
    let has_lost_key = held.proven.is_some() && held.proven != site.key;
    let answered = match world.ask(site, Call::Validate) {
        Ok(document) => Some(document),
        Err(refusal) => {
            let is_own = world.is_bound_to(site.key);
            assert!(
                !is_own && (!is_in_time || has_lost_key),
                "an honest site was refused: {refusal:?} {site:?} {:?}",
                world.bound
            );
            world.seen.lost_keys += u64::from(is_in_time);
            activate(world, site)
        }
    };
    // The answer may be lost.
    if let Some(document) = answered.filter(|_| dice.roll(6) > 0) {
        site.document = Some(document);
    }
}

fn activate(world: &mut World, site: &Party) -> Option<Document> {
    let had_moves = world.moves_left > 0;
    match world.ask(site, Call::Activate) {
        Ok(document) => Some(document),
        Err(refusal) => {
            assert!(matches!(refusal, Refusal::NoMovesLeft(_)), "{refusal:?}");
            assert!(!had_moves, "{refusal:?}");
            // Staff grant another move.
            world.moves_left += 1;
            Some(world.ask(site, Call::Activate).unwrap())
        }
    }
}

/// What the thief tries.
fn steal(world: &mut World, thief: &mut Party, dice: &mut Dice) {
    thief.key = [None, Some(THIEF)][usize::try_from(dice.roll(2)).unwrap()];
    let is_protected = world.bound.is_some() && !world.is_bound_to(Some(THIEF));
    let unproven_until = world.bound.as_ref().and_then(BoundKey::unproven_until);
    let is_firm = is_protected && unproven_until.is_none_or(|end| end < world.at);
    match dice.roll(6) {
        0 => {
            if let Ok(document) = world.ask(thief, Call::Activate) {
                thief.document = Some(document);
            }
        }
        1 | 2 => match world.ask(thief, Call::Validate) {
            Ok(document) => {
                assert!(!is_firm, "a lease without the key");
                thief.document = Some(document);
            }
            Err(_) => world.seen.refused_thefts += 1,
        },
        3 if is_protected => {
            for asked in [Call::Deactivate, Call::Heartbeat, Call::Redeem] {
                assert!(world.ask(thief, asked).is_err(), "{asked:?}");
            }
        }
        _ => {
            let mut refused = 0;
            let replayed = world.accepted.iter();
            for (asked, proof) in replayed
                .filter(|(_, it)| world.bound.as_ref().map(BoundKey::jkt) == Some(it.thumbprint()))
            {
                let again = world.judge(*asked, SentProof::Valid(proof));
                assert!(again.is_err(), "replayed: {again:?}");
                refused += 1;
            }
            world.seen.refused_replays += refused;
        }
    }
}

/// What happens to the site.
fn change(site: &mut Party, backup: &mut Party, next_key: &mut u8, dice: &mut Dice) {
    match dice.roll(30) {
        // An upgrade, with the key that an earlier upgrade left behind or a new one.
        0 | 1 if site.key.is_none() => {
            *next_key = (*next_key + u8::try_from(dice.roll(2)).unwrap()).max(1) % THIEF;
            site.key = Some(*next_key);
        }
        // A rollback to version 1.0.0.
        2 => site.key = None,
        // A lost key.
        3 if site.key.is_some() => {
            *next_key = (*next_key + 1) % THIEF;
            site.key = Some(*next_key);
        }
        4..8 => *backup = site.clone(),
        8 if backup.document.is_some() => *site = backup.clone(),
        _ => {}
    }
}

#[test]
fn no_thief_gets_anything_from_a_bound_seat_and_no_honest_site_is_locked_out() {
    let steps = number("BINDING_STEPS", DEFAULT_STEPS);
    let mut seen = Seen::default();
    for seed in 1..=steps / 200 {
        let mut dice = Dice::seeded(seed);
        let mut world = World {
            seen,
            ..world(seed)
        };
        let mut next_key = 1;
        let mut site = Party {
            key: (dice.roll(2) == 0).then_some(next_key),
            document: None,
        };
        let mut thief = Party::default();
        let mut backup = Party::default();
        // In some histories, the thief comes late.
        let theft = [0, 60, 120][usize::try_from(dice.roll(3)).unwrap()];
        site.document = activate(&mut world, &site);
        for step in 0..200 {
            world.at += TimeDelta::hours(i64::try_from(dice.roll(12)).unwrap());
            change(&mut site, &mut backup, &mut next_key, &mut dice);
            match dice.roll(4) {
                0 | 1 => validate(&mut world, &mut site, &mut dice),
                2 => {
                    let is_own = world.is_bound_to(site.key) || world.bound.is_none();
                    let beat = world.ask(&site, Call::Heartbeat);
                    assert!(beat.is_ok() || !is_own, "{beat:?}");
                }
                _ if step >= theft => steal(&mut world, &mut thief, &mut dice),
                _ => {}
            }
            world.seen.bound += u64::from(world.is_bound_to(site.key));
        }
        seen = world.seen;
    }
    println!("{steps} steps: {seen:?}");
    let Seen {
        bound,
        tolerated,
        challenged,
        removed,
        refused_thefts,
        refused_replays,
        lost_keys,
    } = seen;
    for count in [
        bound,
        tolerated,
        challenged,
        removed,
        refused_thefts,
        refused_replays,
        lost_keys,
    ] {
        assert!(count > 0, "{seen:?}");
    }
}

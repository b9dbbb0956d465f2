//! Whether a genuine document answers the request that was sent.

use super::{Mismatch, Question};
use crate::document::{DenialClaims, DenialReason, LicenseClaims};
use crate::foreign_text;
use crate::protocol::Call;

/// The request that a genuine document states that it answers.
pub(crate) struct Address<'a> {
    nonce: Option<&'a str>,
    installation_id: &'a str,
    hardware_id: &'a str,
    seq: u64,
    question: Option<Call>,
    code_hash: Option<&'a str>,
    /// The reason of a denial.
    denial: Option<&'a DenialReason>,
}

impl<'a> From<&'a LicenseClaims> for Address<'a> {
    fn from(claims: &'a LicenseClaims) -> Self {
        Self {
            nonce: claims.nonce.as_deref(),
            installation_id: &claims.installation_id,
            hardware_id: &claims.hardware_id,
            seq: claims.seq,
            question: claims.question,
            code_hash: claims.code_hash.as_deref(),
            denial: None,
        }
    }
}

impl<'a> From<&'a DenialClaims> for Address<'a> {
    fn from(claims: &'a DenialClaims) -> Self {
        Self {
            nonce: claims.nonce.as_deref(),
            installation_id: &claims.installation_id,
            hardware_id: &claims.hardware_id,
            seq: claims.seq,
            question: claims.question,
            code_hash: claims.code_hash.as_deref(),
            denial: Some(&claims.reason),
        }
    }
}

impl Address<'_> {
    /// The request's nonce.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.nonce
    }

    /// The document's sequence number.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether the document answers this call. A document that does not name the call, because the
    /// server is older, counts only for calls to which it can be the response: a request that was
    /// rewritten on its way to such a server cannot make a site lapse. Servers that know add-on keys
    /// and trials name the call.
    fn answers(&self, call: Call) -> bool {
        let possible = match self.denial {
            // The only response to a deactivation that is not a refusal.
            Some(DenialReason::Deactivated) => call == Call::Deactivate,
            // A machine that holds a seat does not need another one.
            Some(DenialReason::SeatLimit | DenialReason::TrialCode | DenialReason::Unproven) => {
                matches!(call, Call::Activate | Call::Trial)
            }
            // An installation with a license starts no trial.
            Some(
                DenialReason::UnknownTrialCode
                | DenialReason::TrialCodeUsedUp
                | DenialReason::TrialsOfTheDay
                | DenialReason::TrialElsewhere
                | DenialReason::TrialConverted,
            ) => call == Call::Trial,
            // What becomes of an add-on key says nothing about the license.
            Some(
                DenialReason::Redeemed
                | DenialReason::UnknownAddOn
                | DenialReason::AddOnElsewhere
                | DenialReason::AddOnRefunded
                | DenialReason::AddOnNotPossible,
            ) => call == Call::Redeem,
            Some(DenialReason::AddOnKey) => {
                matches!(call, Call::Activate | Call::Redeem | Call::Trial)
            }
            Some(_) => true,
            None => !matches!(call, Call::Deactivate | Call::Redeem),
        };
        let is_named = match self.question {
            Some(question) => question == call,
            None => !matches!(call, Call::Redeem | Call::Trial),
        };
        possible && is_named
    }
}

impl Question<'_> {
    /// A genuine document counts only as the response to this exact request, which made `call`.
    ///
    /// # Errors
    /// The first [`Mismatch`] that applies.
    pub(crate) fn check(&self, call: Call, to: &Address<'_>) -> Result<(), Mismatch> {
        match to.nonce {
            Some(nonce) if nonce == self.nonce => {}
            Some(_) => return Err(Mismatch::Nonce),
            None => return Err(Mismatch::NoNonce),
        }
        if to.installation_id != self.installation_id {
            let found = foreign_text::identifier(to.installation_id);
            return Err(Mismatch::Installation { found });
        }
        if to.hardware_id != self.hardware_id {
            return Err(Mismatch::Hardware);
        }
        if !to.answers(call) {
            return Err(Mismatch::Question {
                asked: call.as_str(),
                answered: to.question.map_or("unnamed", Call::as_str),
            });
        }
        if to.code_hash != self.code_hash {
            return Err(Mismatch::Code);
        }
        match self.newest_seq {
            Some(newest) if to.seq <= newest => Err(Mismatch::Sequence {
                found: to.seq,
                newest,
            }),
            _ => Ok(()),
        }
    }
}

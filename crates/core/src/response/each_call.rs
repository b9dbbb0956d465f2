//! What a well-formed response means, for each call.

use serde::Serialize;
use serde_json::{Map, Value};

use super::address::Address;
use super::well_formed::{inner, read, refusal};
use super::{
    Acknowledgement, Confirmation, ConfirmedLicense, Contact, Denial, Mismatch, NoContact, Proven,
    Question, Receipt, Redeemed, Refusal, Reply, Trust,
};
use crate::document::{DenialReason, verify_denial, verify_license};
use crate::license::License;
use crate::license_key;
use crate::protocol::{
    self, ActivateRequest, Call, DeactivateRequest, HeartbeatRequest, RedeemRequest, TrialRequest,
    ValidateRequest,
};
use crate::usage::sent;

/// A request to the License Server, and how its response is read.
pub trait Request: Serialize {
    /// What the request asks.
    const CALL: Call;
    /// The path below `LICENSE_API_URL`.
    const PATH: &'static str;
    /// What a confirmation contains.
    type Yes: Proven;

    /// The license key in the request.
    fn license_key(&self) -> &str;

    /// The add-on key or the trial code in the request; empty for a trial without a code. The
    /// response must be about it.
    fn code(&self) -> Option<&str> {
        None
    }

    /// The name and the value of the header with what the body does not contain, if there is one.
    fn header(&self) -> Option<(&'static str, String)> {
        None
    }

    /// What the response means. `question` and `trust` are those of the request.
    fn judge(reply: &Reply, question: &Question, trust: &Trust) -> Contact<Self::Yes>;
}

impl Request for ActivateRequest {
    const CALL: Call = Call::Activate;
    const PATH: &'static str = protocol::ACTIVATE;
    type Yes = Confirmation;

    fn license_key(&self) -> &str {
        &self.license_key
    }

    fn judge(reply: &Reply, question: &Question, trust: &Trust) -> Contact {
        classify(Self::CALL, reply, question, trust, |answer| {
            let data = answer.get("data").and_then(Value::as_object);
            let data = data.ok_or(Unread::Unexpected("no data"))?;
            let license = data
                .get("license")
                .map_or(Some(data), Value::as_object)
                .ok_or(Unread::Unexpected("no license"))?;
            confirmation(Self::CALL, license, false, question, trust)
        })
    }
}

impl Request for ValidateRequest {
    const CALL: Call = Call::Validate;
    const PATH: &'static str = protocol::VALIDATE;
    type Yes = Confirmation;

    fn license_key(&self) -> &str {
        &self.license_key
    }

    fn judge(reply: &Reply, question: &Question, trust: &Trust) -> Contact {
        classify(Self::CALL, reply, question, trust, |answer| {
            let inner = inner(answer).ok_or(Unread::Unexpected("no data"))?;
            if inner.get("isValid") != Some(&Value::Bool(true)) {
                return Err(Unread::Unexpected("no isValid"));
            }
            let server_in_grace = inner.get("gracePeriodActive") == Some(&Value::Bool(true));
            let Some(license) = inner.get("license") else {
                return cached(server_in_grace, trust);
            };
            let license = license
                .as_object()
                .ok_or(Unread::Unexpected("no license"))?;
            confirmation(Self::CALL, license, server_in_grace, question, trust)
        })
    }
}

impl Request for TrialRequest {
    const CALL: Call = Call::Trial;
    const PATH: &'static str = protocol::TRIAL;
    type Yes = Confirmation;

    /// The code, or nothing.
    fn license_key(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    fn code(&self) -> Option<&str> {
        Some(self.license_key())
    }

    /// The key of the license is new.
    fn judge(reply: &Reply, question: &Question, trust: &Trust) -> Contact {
        classify(Self::CALL, reply, question, trust, |answer| {
            let data = inner(answer).ok_or(Unread::Unexpected("no data"))?;
            let license = data.get("license").and_then(Value::as_object);
            let license = license.ok_or(Unread::Unexpected("no license"))?;
            of_any_key(Self::CALL, license, false, question, trust)
        })
    }
}

impl Request for DeactivateRequest {
    const CALL: Call = Call::Deactivate;
    const PATH: &'static str = protocol::DEACTIVATE;
    type Yes = Receipt;

    fn license_key(&self) -> &str {
        &self.license_key
    }

    /// If keys are trusted, the receipt and the refusal are both signed, so an attacker between
    /// site and vendor cannot make a site give up its license without freeing the seat.
    fn judge(reply: &Reply, question: &Question, trust: &Trust) -> Contact<Receipt> {
        classify(Self::CALL, reply, question, trust, |answer| {
            // The site forgets the license because of this response.
            if answer.get("success") != Some(&Value::Bool(true)) {
                return Err(Unread::Unexpected("'success' is not true"));
            }
            let nothing = Map::new();
            let data = inner(answer).unwrap_or(&nothing);
            receipt(
                Self::CALL,
                data,
                &DenialReason::Deactivated,
                question,
                trust,
            )
        })
    }
}

impl Request for RedeemRequest {
    const CALL: Call = Call::Redeem;
    const PATH: &'static str = protocol::REDEEM;
    type Yes = Redeemed;

    fn license_key(&self) -> &str {
        &self.license_key
    }

    fn code(&self) -> Option<&str> {
        Some(&self.add_on_key)
    }

    /// The receipt grants nothing: the site validates afterwards. Where keys are trusted, it is
    /// signed and names the add-on key, so that no one in between can keep the key, send another one,
    /// and tell the site that its key was redeemed.
    fn judge(reply: &Reply, question: &Question, trust: &Trust) -> Contact<Redeemed> {
        classify(Self::CALL, reply, question, trust, |answer| {
            if answer.get("success") != Some(&Value::Bool(true)) {
                return Err(Unread::Unexpected("'success' is not true"));
            }
            let data = inner(answer).ok_or(Unread::Unexpected("no data"))?;
            let receipt = receipt(Self::CALL, data, &DenialReason::Redeemed, question, trust)?;
            let amendment = match &receipt.0 {
                Some(document) => document.claims().amendment,
                None => {
                    let unsigned = data.get("amendment").and_then(Value::as_u64);
                    unsigned.and_then(|it| u32::try_from(it).ok())
                }
            };
            let amendment = amendment.ok_or(Unread::Unexpected("no amendment"))?;
            Ok(Redeemed { amendment, receipt })
        })
    }
}

/// The signed receipt in the data of an answer.
fn receipt(
    call: Call,
    data: &Map<String, Value>,
    reason: &DenialReason,
    question: &Question,
    trust: &Trust,
) -> Result<Receipt, Unread> {
    let Trust::Keys(_) = trust else {
        return Ok(Receipt(None));
    };
    let signature = data.get("signature").and_then(Value::as_str);
    let receipt = Refusal {
        reason: None,
        message: None,
        signature: signature.map(str::to_owned),
    };
    match judge_refusal(call, receipt, question, trust)? {
        Denial::Signed(document) if document.claims().reason == *reason => {
            Ok(Receipt(Some(document)))
        }
        _ => Err(Unread::Unexpected("no receipt")),
    }
}

impl Request for HeartbeatRequest {
    const CALL: Call = Call::Heartbeat;
    const PATH: &'static str = protocol::HEARTBEAT;
    type Yes = Acknowledgement;

    fn license_key(&self) -> &str {
        &self.license_key
    }

    fn header(&self) -> Option<(&'static str, String)> {
        Some((protocol::USAGE_HEADER, sent::header(&self.usage)))
    }

    /// A heartbeat proves nothing about the license, so its response need not be signed.
    fn judge(reply: &Reply, question: &Question, _: &Trust) -> Contact<Acknowledgement> {
        classify(Self::CALL, reply, question, &Trust::Unsigned, |_| {
            Ok(Acknowledgement)
        })
    }
}

/// Reads the response to a request for key sets: the signed sets, in order. [`crate::rotation`]
/// decides whether they are followed.
///
/// # Errors
/// One [`NoContact`] for each reason.
pub fn key_sets(reply: &Reply) -> Result<KeySetsAnswer, NoContact> {
    let (status, answer) = read(reply)?;
    let chain = answer.get("chain").and_then(Value::as_array);
    let Some(chain) = chain.filter(|_| (200..300).contains(&status)) else {
        let what = "no key set chain";
        return Err(NoContact::Unexpected { status, what });
    };
    let texts = chain.iter().filter_map(Value::as_str);
    Ok(KeySetsAnswer {
        documents: texts.map(str::to_owned).collect(),
        newest: answer.get("version").and_then(Value::as_u64),
    })
}

/// A License Server's response about its key sets. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetsAnswer {
    /// The signed sets, in order.
    pub documents: Vec<String>,
    /// Version of the newest set. The documents may end before it, because the size of a response
    /// is bounded.
    pub newest: Option<u64>,
}

/// Why a response that is not a refusal is not the expected confirmation.
enum Unread {
    /// The JSON does not have the expected form: what is missing.
    Unexpected(&'static str),
    /// The document is not accepted.
    NoContact(NoContact),
}

impl<E: Into<NoContact>> From<E> for Unread {
    fn from(error: E) -> Self {
        Self::NoContact(error.into())
    }
}

/// Processes every response: its status code, the refusal if it is one, and then `read_yes`.
fn classify<Y>(
    call: Call,
    reply: &Reply,
    question: &Question,
    trust: &Trust,
    read_yes: impl FnOnce(&Map<String, Value>) -> Result<Y, Unread>,
) -> Contact<Y> {
    let judged = read(reply).and_then(|(status, answer)| {
        if let Some(refusal) = refusal(&answer, question.license_key) {
            return judge_refusal(call, refusal, question, trust).map(Contact::Denied);
        }
        let unexpected = |what| NoContact::Unexpected { status, what };
        if !(200..300).contains(&status) {
            return Err(unexpected("neither a success nor a refusal"));
        }
        // Some servers omit `success`; if it is present, only `true` is a confirmation.
        if answer
            .get("success")
            .is_some_and(|it| *it != Value::Bool(true))
        {
            return Err(unexpected("'success' is not true"));
        }
        match read_yes(&answer) {
            Ok(yes) => Ok(Contact::Confirmed(yes)),
            Err(Unread::Unexpected(what)) => Err(unexpected(what)),
            Err(Unread::NoContact(why)) => Err(why),
        }
    });
    judged.unwrap_or_else(|why| Contact::None(why.without_key(question.license_key)))
}

fn confirmation(
    call: Call,
    license: &Map<String, Value>,
    server_in_grace: bool,
    question: &Question,
    trust: &Trust,
) -> Result<Confirmation, Unread> {
    let confirmation = of_any_key(call, license, server_in_grace, question, trust)?;
    match &confirmation.license {
        ConfirmedLicense::Signed(document)
            if !license_key::same(document.license_key(), question.license_key) =>
        {
            Err(NoContact::from(Mismatch::LicenseKey).into())
        }
        _ => Ok(confirmation),
    }
}

/// A confirmation with a license of any key.
fn of_any_key(
    call: Call,
    license: &Map<String, Value>,
    server_in_grace: bool,
    question: &Question,
    trust: &Trust,
) -> Result<Confirmation, Unread> {
    let license = License::new(license.clone());
    if license.license_key().is_none() {
        return Err(Unread::Unexpected("no licenseKey"));
    }
    Ok(Confirmation {
        license: judge_license(call, license, question, trust)?,
        server_in_grace,
    })
}

/// A confirmation that does not repeat the license. If keys are trusted, nothing proves it.
fn cached(server_in_grace: bool, trust: &Trust) -> Result<Confirmation, Unread> {
    match trust {
        Trust::Unsigned => Ok(Confirmation {
            license: ConfirmedLicense::Cached,
            server_in_grace,
        }),
        Trust::Keys(_) => Err(NoContact::ServerDoesNotSign.into()),
    }
}

fn judge_license(
    call: Call,
    license: License,
    question: &Question,
    trust: &Trust,
) -> Result<ConfirmedLicense, NoContact> {
    let Trust::Keys(keyring) = trust else {
        return Ok(ConfirmedLicense::Unsigned(license));
    };
    if license.signature().is_empty() {
        return Err(NoContact::ServerDoesNotSign);
    }
    let document = verify_license(license.signature(), keyring)?;
    question.check(call, &Address::from(document.claims()))?;
    // Leases of months without contact are never requested over the network.
    if document.claims().offline {
        return Err(Mismatch::ByFile.into());
    }
    Ok(ConfirmedLicense::Signed(Box::new(document)))
}

fn judge_refusal(
    call: Call,
    refusal: Refusal,
    question: &Question,
    trust: &Trust,
) -> Result<Denial, NoContact> {
    let Trust::Keys(keyring) = trust else {
        return Ok(Denial::Unsigned(refusal));
    };
    let signature = refusal.signature.ok_or(NoContact::ServerDoesNotSign)?;
    let document = verify_denial(&signature, keyring)?;
    let claims = document.claims();
    question.check(call, &Address::from(claims))?;
    // An attacker in the middle must not be able to ask about another license with our nonce.
    let asked = license_key::fingerprint(question.license_key);
    if claims
        .license_key_hash
        .as_ref()
        .is_some_and(|it| *it != asked)
    {
        return Err(Mismatch::LicenseKey.into());
    }
    Ok(Denial::Signed(Box::new(document)))
}

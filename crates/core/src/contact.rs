//! What an answer from the License Server means: confirmed, denied, or no
//! contact at all.
//!
//! This distinction is central to the service. A proxy's error page, a captive portal or a forged
//! document never denies a license: anything that is not a well-formed answer is no contact, and
//! the grace period applies.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::document::{
    DenialClaims, DenialReason, DocumentError, LicenseClaims, VerifiedDenial, VerifiedLicense,
    verify_denial, verify_license,
};
use crate::foreign_text;
use crate::keyring::Keyring;
use crate::lease::Lease;
use crate::license::License;
use crate::license_key;
use crate::protocol::{
    self, ActivateRequest, Call, DeactivateRequest, HeartbeatRequest, ValidateRequest,
};
use crate::text_encoding;
use crate::unambiguous_json;

/// Whose word counts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// No keys are known: the License Server's word over TLS, as version
    /// 1.0.0 took it.
    Unsigned,
    /// Only what one of these keys has signed.
    Keys(Keyring),
}

/// What was sent with a request; a signed answer has to fit all of it.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// `X-License-Nonce` of this request.
    pub nonce: &'a str,
    /// The key that was sent.
    pub license_key: &'a str,
    /// This installation.
    pub installation_id: &'a str,
    /// This machine.
    pub hardware_id: &'a str,
    /// The highest sequence number seen for this license.
    pub newest_seq: Option<u64>,
}

/// What came back.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An HTTP answer, read to its end.
    Answer {
        /// Status code.
        status: u16,
        /// Body, of any kind.
        body: Vec<u8>,
    },
    /// An HTTP answer that asks to wait; [`Reply::of`] says which ones can.
    Later {
        /// Status code.
        status: u16,
        /// How long to wait, as the answer says.
        retry_after: Duration,
    },
    /// No complete answer.
    Failure(TransportFailure),
}

impl Reply {
    /// An HTTP answer, read to its end, and how long it asks to wait, if it does.
    /// Only answers that can mean "later" can ask to wait (RFC 9110, section
    /// 10.2.3).
    #[must_use]
    pub fn of(status: u16, body: Vec<u8>, retry_after: Option<Duration>) -> Self {
        match (status, retry_after) {
            (408 | 425 | 429 | 500..=510 | 512.., Some(retry_after)) => Self::Later {
                status,
                retry_after,
            },
            _ => Self::Answer { status, body },
        }
    }
}

/// Why there was no complete answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportFailure {
    /// Name resolution, routing, connecting or reading failed.
    #[error(
        "the License Server cannot be reached ({detail}); check the network and LICENSE_API_URL"
    )]
    Unreachable {
        /// The innermost cause.
        detail: String,
    },
    /// The server's certificate is not accepted, or the server offers no TLS that is supported.
    #[error("no TLS connection to the License Server: {detail}")]
    Tls {
        /// What is wrong, and what to do.
        detail: String,
    },
    /// The head of the answer is too large or malformed.
    #[error(
        "the License Server's answer cannot be read ({detail}); check LICENSE_API_URL and proxies"
    )]
    MalformedHead {
        /// What is wrong.
        detail: String,
    },
    /// The time allowed has passed.
    #[error(
        "the License Server did not answer within {seconds} s; check the network or raise LICENSE_API_TIMEOUT"
    )]
    TimedOut {
        /// The time allowed.
        seconds: u64,
    },
    /// The answer is longer than any real one.
    #[error(
        "the answer is longer than {limit} bytes; something other than the License Server is answering"
    )]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

impl TransportFailure {
    /// The same with its detail changed.
    fn map_detail(mut self, change: impl FnOnce(String) -> String) -> Self {
        match &mut self {
            Self::Unreachable { detail }
            | Self::Tls { detail }
            | Self::MalformedHead { detail } => *detail = change(std::mem::take(detail)),
            Self::TimedOut { .. } | Self::TooLong { .. } => {}
        }
        self
    }
}

/// What a call came to.
#[derive(Clone, Debug)]
pub enum Contact<Y = Confirmation> {
    /// A well-formed yes.
    Confirmed(Y),
    /// A well-formed no.
    Denied(Denial),
    /// Anything else.
    None(NoContact),
}

/// When a document was signed, and the version of the License Server's newest
/// key set.
pub type Proof = (DateTime<Utc>, Option<u64>);

/// A yes that may prove something.
pub trait Proven {
    /// What it proves; `None` where nothing is signed.
    fn proof(&self) -> Option<Proof>;
}

/// The yes to an activation or a validation.
#[derive(Clone, Debug)]
pub struct Confirmation {
    license: ConfirmedLicense,
    /// `gracePeriodActive` of the answer.
    pub server_in_grace: bool,
}

#[derive(Clone, Debug)]
enum ConfirmedLicense {
    Signed(Box<VerifiedLicense>),
    Unsigned(License),
    /// The one that is cached: the answer does not repeat it.
    Cached,
}

/// The yes to a deactivation: the seat is free. Signed where keys are trusted.
#[derive(Clone, Debug)]
pub struct Receipt(Option<Box<VerifiedDenial>>);

/// The yes to a heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledgement;

/// A well-formed no.
#[derive(Clone, Debug)]
pub enum Denial {
    /// Signed by a trusted key: it takes effect immediately.
    Signed(Box<VerifiedDenial>),
    /// In unsigned mode: it starts the grace period.
    Unsigned(Refusal),
}

/// A no as the License Server words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Option<String>,
    message: Option<String>,
    signature: Option<String>,
}

/// Why an answer is no contact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoContact {
    /// There was no complete answer.
    #[error(transparent)]
    Transport(#[from] TransportFailure),
    /// 3xx: redirects are not followed.
    #[error(
        "the License Server's address redirects elsewhere (HTTP {status}); check LICENSE_API_URL and captive portals"
    )]
    Redirected {
        /// Status code.
        status: u16,
    },
    /// 401, 407, or 511 from a captive portal.
    #[error(
        "a proxy or portal between here and the License Server requires a sign-in (HTTP {status}); check HTTPS_PROXY and the network"
    )]
    SignInDemanded {
        /// Status code.
        status: u16,
    },
    /// 408, 409, 425 or 429.
    #[error("the License Server is busy (HTTP {status}); retrying later")]
    Busy {
        /// Status code.
        status: u16,
    },
    /// 5xx.
    #[error("the License Server or a proxy reports a fault (HTTP {status}); retrying later")]
    ServerFault {
        /// Status code.
        status: u16,
    },
    /// 408, 425, 429 or 5xx, and how long to wait.
    #[error(
        "the License Server is busy (HTTP {status}) and asks to wait {} s; retrying then",
        retry_after.as_secs()
    )]
    Later {
        /// Status code.
        status: u16,
        /// How long to wait, as the answer says.
        retry_after: Duration,
    },
    /// The body is not JSON: an HTML page, or nothing.
    #[error(
        "the answer is not from a License Server (HTTP {status}, not JSON); check \
         LICENSE_API_URL and captive portals"
    )]
    NotJson {
        /// Status code.
        status: u16,
    },
    /// JSON, but not of a form that counts.
    #[error(
        "the answer is not from a License Server (HTTP {status}, {what}); check LICENSE_API_URL"
    )]
    Unexpected {
        /// Status code.
        status: u16,
        /// What is missing.
        what: &'static str,
    },
    /// Keys are trusted, and the answer bears no signature.
    #[error(
        "the License Server does not sign its answers, but keys to check them are configured; use a server that signs, or remove LICENSE_TRUSTED_KEYS"
    )]
    ServerDoesNotSign,
    /// A document that cannot be believed.
    #[error("the answer is not genuine: {0}")]
    NotGenuine(#[from] DocumentError),
    /// A genuine document that does not answer this request.
    #[error("the answer is not meant for this request: {0}")]
    NotForUs(#[from] Mismatch),
}

/// How a genuine document fails to answer the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Another request's nonce, or none: a replayed answer.
    #[error("it answers another request (wrong nonce)")]
    Nonce,
    /// Another installation's document.
    #[error("it is for the installation '{found}'")]
    Installation {
        /// What the document says.
        found: String,
    },
    /// Another machine's document.
    #[error("it is for another machine")]
    Hardware,
    /// Another license's document.
    #[error("it is for another license key")]
    LicenseKey,
    /// Another question's answer: the request was changed on its way.
    #[error("it answers another call ({answered} instead of {asked})")]
    Question {
        /// The call that was made.
        asked: &'static str,
        /// The call that the document names; `unnamed` where it names none.
        answered: &'static str,
    },
    /// A lease for a site without internet, which is asked for by file.
    #[error("it is a license file's document")]
    ByFile,
    /// Not newer than what is already known.
    #[error("its sequence number {found} is not above {newest}")]
    Sequence {
        /// What the document says.
        found: u64,
        /// The highest seen.
        newest: u64,
    },
}

impl NoContact {
    /// The same with `license_key` masked in any form.
    fn without_key(self, license_key: &str) -> Self {
        let message = |text: String| foreign_text::message_about(&text, license_key);
        match self {
            Self::Transport(failure) => Self::Transport(failure.map_detail(message)),
            Self::NotGenuine(error) => Self::NotGenuine(error.without_key(license_key)),
            Self::NotForUs(Mismatch::Installation { found }) => {
                let found = foreign_text::identifier_about(&found, license_key);
                Self::NotForUs(Mismatch::Installation { found })
            }
            other => other,
        }
    }

    /// A short code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Transport(
                TransportFailure::Unreachable { .. } | TransportFailure::Tls { .. },
            ) => "unreachable",
            Self::Transport(TransportFailure::TimedOut { .. }) => "timed_out",
            Self::Transport(
                TransportFailure::TooLong { .. } | TransportFailure::MalformedHead { .. },
            )
            | Self::NotJson { .. }
            | Self::Unexpected { .. } => "unexpected_answer",
            Self::Redirected { .. } => "redirected",
            Self::SignInDemanded { .. } => "proxy_sign_in",
            Self::Busy { .. } | Self::Later { status: ..500, .. } => "server_busy",
            Self::ServerFault { .. } | Self::Later { .. } => "server_fault",
            Self::ServerDoesNotSign => "server_does_not_sign",
            Self::NotGenuine(_) => "not_genuine",
            Self::NotForUs(_) => "not_for_us",
        }
    }

    /// Whether the License Server signs with a key that is not known here: its
    /// newer key sets may say that it may.
    #[must_use]
    pub fn is_unknown_key(&self) -> bool {
        matches!(self, Self::NotGenuine(DocumentError::UnknownKeyId(_)))
    }

    /// How long the answer asks to wait, where it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether this may be tampering, which belongs in the security log.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        matches!(self, Self::NotGenuine(_) | Self::NotForUs(_))
    }
}

impl<Y: Proven> Contact<Y> {
    /// What a signed answer to our own question proves.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        match self {
            Self::Confirmed(yes) => yes.proof(),
            Self::Denied(Denial::Signed(document)) => Some(document.proof()),
            Self::Denied(Denial::Unsigned(_)) | Self::None(_) => None,
        }
    }
}

impl VerifiedDenial {
    fn proof(&self) -> Proof {
        (self.claims().iat, self.claims().key_set)
    }
}

impl Proven for Confirmation {
    fn proof(&self) -> Option<Proof> {
        match &self.license {
            ConfirmedLicense::Signed(document) => {
                Some((document.claims().iat, document.claims().key_set))
            }
            ConfirmedLicense::Unsigned(_) | ConfirmedLicense::Cached => None,
        }
    }
}

impl Proven for Receipt {
    fn proof(&self) -> Option<Proof> {
        self.0.as_ref().map(|document| document.proof())
    }
}

impl Proven for Acknowledgement {
    fn proof(&self) -> Option<Proof> {
        None
    }
}

impl Confirmation {
    /// The lease that the answer amounts to. An unsigned one is good for
    /// `unsigned_validity` from `now`. `None` where the answer to a validation confirms
    /// the cached license without repeating it, as version 1.0.0 accepted.
    #[must_use]
    pub fn lease(&self, now: DateTime<Utc>, unsigned_validity: TimeDelta) -> Option<Lease> {
        match &self.license {
            ConfirmedLicense::Signed(document) => Some(Lease::Signed(document.clone())),
            ConfirmedLicense::Unsigned(license) => Some(Lease::Unsigned {
                license: license.clone(),
                valid_until: now + unsigned_validity,
            }),
            ConfirmedLicense::Cached => None,
        }
    }
}

impl Denial {
    /// A short code for programs.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Signed(document) => document.claims().reason.as_str(),
            Self::Unsigned(refusal) => refusal.reason(),
        }
    }

    /// The License Server's words, when it has any.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Signed(document) => Some(&document.claims().message),
            Self::Unsigned(refusal) => refusal.message.as_deref(),
        }
    }
}

impl Refusal {
    /// A short word that programs can compare; `denied` when the License
    /// Server gives none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or("denied")
    }

    /// Words for people.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message
            .as_deref()
            .unwrap_or("The License Server denied the license")
    }
}

/// A request to the License Server, with the way its answer is read.
pub trait Request: Serialize {
    /// What it asks.
    const CALL: Call;
    /// Its path below `LICENSE_API_URL`.
    const PATH: &'static str;
    /// What a yes says.
    type Yes: Proven;

    /// The license key that is sent.
    fn license_key(&self) -> &str;

    /// What the answer means. `question` and `trust` are those of the request.
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

impl Request for DeactivateRequest {
    const CALL: Call = Call::Deactivate;
    const PATH: &'static str = protocol::DEACTIVATE;
    type Yes = Receipt;

    fn license_key(&self) -> &str {
        &self.license_key
    }

    /// Where keys are trusted, the receipt and the refusal are both signed:
    /// nothing in between makes a site give its license up in vain.
    fn judge(reply: &Reply, question: &Question, trust: &Trust) -> Contact<Receipt> {
        classify(Self::CALL, reply, question, trust, |answer| {
            // The license is forgotten because of it.
            if answer.get("success") != Some(&Value::Bool(true)) {
                return Err(Unread::Unexpected("success is not true"));
            }
            let Trust::Keys(_) = trust else {
                return Ok(Receipt(None));
            };
            let signature = inner(answer).and_then(|inner| inner.get("signature"));
            let receipt = Refusal {
                reason: None,
                message: None,
                signature: signature.and_then(Value::as_str).map(str::to_owned),
            };
            match judge_refusal(Self::CALL, receipt, question, trust)? {
                Denial::Signed(document)
                    if document.claims().reason == DenialReason::Deactivated =>
                {
                    Ok(Receipt(Some(document)))
                }
                _ => Err(Unread::Unexpected("no receipt")),
            }
        })
    }
}

impl Request for HeartbeatRequest {
    const CALL: Call = Call::Heartbeat;
    const PATH: &'static str = protocol::HEARTBEAT;
    type Yes = Acknowledgement;

    fn license_key(&self) -> &str {
        &self.license_key
    }

    /// A heartbeat proves nothing about the license, so its answer need not be
    /// signed.
    fn judge(reply: &Reply, question: &Question, _: &Trust) -> Contact<Acknowledgement> {
        classify(Self::CALL, reply, question, &Trust::Unsigned, |_| {
            Ok(Acknowledgement)
        })
    }
}

/// Reads the answer to a question for key sets: the signed sets, in order.
/// Whether they are to be followed is up to [`crate::rotation`].
///
/// # Errors
/// One [`NoContact`] for each reason.
pub fn key_sets(reply: &Reply) -> Result<KeySetsAnswer, NoContact> {
    let (status, answer) = read(reply)?;
    let chain = answer.get("chain").and_then(Value::as_array);
    let Some(chain) = chain.filter(|_| (200..300).contains(&status)) else {
        let what = "no chain of key sets";
        return Err(NoContact::Unexpected { status, what });
    };
    let texts = chain.iter().filter_map(Value::as_str);
    Ok(KeySetsAnswer {
        documents: texts.map(str::to_owned).collect(),
        newest: answer.get("version").and_then(Value::as_u64),
    })
}

/// What a License Server answers about its key sets. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetsAnswer {
    /// The signed sets, in order.
    pub documents: Vec<String>,
    /// Version of the newest set, which the documents need not reach: one answer is
    /// bounded.
    pub newest: Option<u64>,
}

/// Why an answer that is no refusal is not the yes that was asked for.
enum Unread {
    /// Its JSON does not have the form: what is missing.
    Unexpected(&'static str),
    /// Its document does not count.
    NoContact(NoContact),
}

impl<E: Into<NoContact>> From<E> for Unread {
    fn from(error: E) -> Self {
        Self::NoContact(error.into())
    }
}

/// What every answer goes through: its status code, the refusal that it may
/// be, and then what `read_yes` makes of it.
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
            return Err(unexpected("neither success nor refusal"));
        }
        // Some say nothing of success; who does, and does not say `true`, says no yes.
        if answer
            .get("success")
            .is_some_and(|it| *it != Value::Bool(true))
        {
            return Err(unexpected("success is not true"));
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
    let license = License::new(license.clone());
    if license.license_key().is_none() {
        return Err(Unread::Unexpected("no licenseKey"));
    }
    Ok(Confirmation {
        license: judge_license(call, license, question, trust)?,
        server_in_grace,
    })
}

/// A yes that repeats no license. Where keys are trusted, nothing vouches for it.
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
    // Leases of months without contact are not requested over the network.
    if document.claims().offline {
        return Err(Mismatch::ByFile.into());
    }
    let key = document.license().license_key().unwrap_or_default();
    if !license_key::same(key, question.license_key) {
        return Err(Mismatch::LicenseKey.into());
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
    // A man in the middle must not ask about another license with our nonce.
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

/// Which request a genuine document answers, as it says.
pub(crate) struct Address<'a> {
    nonce: Option<&'a str>,
    installation_id: &'a str,
    hardware_id: &'a str,
    seq: u64,
    question: Option<Call>,
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

    /// Whether the document answers this call. A document of a server that does
    /// not name the call counts only for calls that can have its answer: what
    /// was rewritten on its way to such a server cannot lapse a site.
    fn answers(&self, call: Call) -> bool {
        let possible = match self.denial {
            // The only answer to a deactivation that is no refusal.
            Some(DenialReason::Deactivated) => call == Call::Deactivate,
            // A machine that holds a seat needs no other.
            Some(DenialReason::SeatLimit) => call == Call::Activate,
            Some(_) => true,
            None => call != Call::Deactivate,
        };
        possible && self.question.is_none_or(|question| question == call)
    }
}

impl Question<'_> {
    /// A genuine document counts only as the answer to this very request, which
    /// made `call`.
    ///
    /// # Errors
    /// The first [`Mismatch`] that applies.
    pub(crate) fn check(&self, call: Call, to: &Address<'_>) -> Result<(), Mismatch> {
        if to.nonce != Some(self.nonce) {
            return Err(Mismatch::Nonce);
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
        match self.newest_seq {
            Some(newest) if to.seq <= newest => Err(Mismatch::Sequence {
                found: to.seq,
                newest,
            }),
            _ => Ok(()),
        }
    }
}

/// The answer as a JSON object, unless its status code says that it does not
/// come from the License Server's rules at all.
fn read(reply: &Reply) -> Result<(u16, Map<String, Value>), NoContact> {
    let (status, body) = match reply {
        Reply::Answer { status, body } => (*status, body),
        Reply::Later {
            status,
            retry_after,
        } => {
            let (status, retry_after) = (*status, *retry_after);
            return Err(NoContact::Later {
                status,
                retry_after,
            });
        }
        Reply::Failure(TransportFailure::Unreachable { detail }) => {
            // It may name what the other side shows, such as its certificate.
            let detail = foreign_text::message(detail);
            return Err(TransportFailure::Unreachable { detail }.into());
        }
        Reply::Failure(failure) => return Err(failure.clone().into()),
    };
    match status {
        300..=399 => return Err(NoContact::Redirected { status }),
        401 | 407 | 511 => return Err(NoContact::SignInDemanded { status }),
        408 | 409 | 425 | 429 => return Err(NoContact::Busy { status }),
        500.. => return Err(NoContact::ServerFault { status }),
        _ => {}
    }
    let unexpected = |what| Err(NoContact::Unexpected { status, what });
    let text = text_encoding::unicode(body).map_err(|_| NoContact::NotJson { status })?;
    match unambiguous_json::from_str(&text) {
        Ok(Value::Object(answer)) => Ok((status, answer)),
        Ok(_) => unexpected("not a JSON object"),
        Err(error) if unambiguous_json::is_duplicate(&error) => {
            unexpected("an object has a duplicate member")
        }
        Err(_) => Err(NoContact::NotJson { status }),
    }
}

/// `data` where the answer is wrapped, the answer itself where it is bare.
fn inner(answer: &Map<String, Value>) -> Option<&Map<String, Value>> {
    answer.get("data").map_or(Some(answer), Value::as_object)
}

/// The refusal in an answer about `license_key`, if it is one.
fn refusal(answer: &Map<String, Value>, license_key: &str) -> Option<Refusal> {
    let inner = inner(answer);
    let is_false =
        |object: &Map<String, Value>, field| object.get(field) == Some(&Value::Bool(false));
    let refused =
        is_false(answer, "success") || inner.is_some_and(|inner| is_false(inner, "isValid"));
    if !refused {
        return None;
    }
    let error = answer.get("error");
    // Texts are shown to many, logged and stored.
    let text = |value: Option<&Value>, shown: fn(&str, &str) -> String| {
        let text = shown(value?.as_str()?, license_key);
        Some(text).filter(|text| !text.is_empty())
    };
    let id = |value| text(value, foreign_text::identifier_about);
    let message = |value| text(value, foreign_text::message_about);
    let of_inner = |name| inner.and_then(|inner| inner.get(name));
    let of_error = |name| error.and_then(|error| error.get(name));
    Some(Refusal {
        reason: id(of_inner("reason")).or_else(|| id(of_error("code"))),
        message: message(of_inner("message"))
            .or_else(|| message(of_error("message")))
            .or_else(|| message(error)),
        // Not shortened: a document is either whole or worthless.
        signature: inner
            .and_then(|inner| inner.get("signature"))
            .and_then(Value::as_str)
            .map(str::to_owned),
    })
}

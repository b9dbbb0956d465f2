//! What an answer from the License Server means: confirmed, denied, or no
//! contact at all.
//!
//! The distinction is the heart of the service. A proxy's error page, a
//! captive portal or a forged document never denies a license: whatever is
//! not a well-formed answer is no contact, and the grace period carries the
//! site.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::document::{
    DenialReason, DocumentError, VerifiedDenial, VerifiedLicense, verify_denial, verify_license,
};
use crate::keyring::Keyring;
use crate::lease::Lease;
use crate::license::License;
use crate::license_key;

/// Whose word counts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// No keys are known: the License Server's word over TLS, as version
    /// 1.0.0 took it.
    Unsigned,
    /// Only what one of these keys has signed.
    Keys(Keyring),
}

/// What was asked; a signed answer has to fit all of it.
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
        /// Body, whatever it is.
        body: Vec<u8>,
    },
    /// No complete answer.
    Failure(TransportFailure),
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

/// What an activation or a validation came to.
#[derive(Clone, Debug)]
pub enum Contact {
    /// A well-formed yes.
    Confirmed(Confirmation),
    /// A well-formed no.
    Denied(Denial),
    /// Anything else.
    None(NoContact),
}

/// A well-formed yes.
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
}

/// A well-formed no.
#[derive(Clone, Debug)]
pub enum Denial {
    /// Signed by a trusted key: it takes effect at once.
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
    /// 407, or 511 from a captive portal.
    #[error(
        "a proxy or portal on the way demands a sign-in (HTTP {status}); check HTTPS_PROXY and the network"
    )]
    SignInDemanded {
        /// Status code.
        status: u16,
    },
    /// 408, 425 or 429.
    #[error("the License Server is busy (HTTP {status}); it is asked again later")]
    Busy {
        /// Status code.
        status: u16,
    },
    /// 5xx.
    #[error(
        "the License Server or a proxy reports a fault (HTTP {status}); it is asked again later"
    )]
    ServerFault {
        /// Status code.
        status: u16,
    },
    /// The body is not JSON: an HTML page, or nothing.
    #[error(
        "the answer is not one of a License Server (HTTP {status}, not JSON); check LICENSE_API_URL and captive portals"
    )]
    NotJson {
        /// Status code.
        status: u16,
    },
    /// JSON, but not of a form that counts.
    #[error(
        "the answer is not one of a License Server (HTTP {status}, {what}); check LICENSE_API_URL"
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
    /// A short word that programs can compare.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Transport(TransportFailure::Unreachable { .. }) => "unreachable",
            Self::Transport(TransportFailure::TimedOut { .. }) => "timed_out",
            Self::Transport(TransportFailure::TooLong { .. })
            | Self::NotJson { .. }
            | Self::Unexpected { .. } => "unexpected_answer",
            Self::Redirected { .. } => "redirected",
            Self::SignInDemanded { .. } => "proxy_sign_in",
            Self::Busy { .. } => "server_busy",
            Self::ServerFault { .. } => "server_fault",
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

    /// Whether somebody may be tampering, which belongs in the security log.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        matches!(self, Self::NotGenuine(_) | Self::NotForUs(_))
    }
}

impl Contact {
    /// What a signed answer to our own question proves: when it was signed,
    /// and the version of the License Server's newest key set.
    #[must_use]
    pub fn proof(&self) -> Option<(DateTime<Utc>, Option<u64>)> {
        match self {
            Self::Confirmed(Confirmation {
                license: ConfirmedLicense::Signed(document),
                ..
            }) => Some((document.claims().iat, document.claims().key_set)),
            Self::Denied(Denial::Signed(document)) => {
                Some((document.claims().iat, document.claims().key_set))
            }
            Self::Confirmed(_) | Self::Denied(Denial::Unsigned(_)) | Self::None(_) => None,
        }
    }
}

impl Confirmation {
    /// The lease that the answer amounts to. An unsigned one is good for
    /// `unsigned_validity` from `now`.
    #[must_use]
    pub fn lease(&self, now: DateTime<Utc>, unsigned_validity: TimeDelta) -> Lease {
        match &self.license {
            ConfirmedLicense::Signed(document) => Lease::Signed(document.clone()),
            ConfirmedLicense::Unsigned(license) => Lease::Unsigned {
                license: license.clone(),
                valid_until: now + unsigned_validity,
            },
        }
    }
}

impl Denial {
    /// A short word that programs can compare.
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
    /// A message is shown to many and logged: a license key in it is masked.
    fn without_key(self, license_key: &str) -> Self {
        let masked = |text: String| {
            if license_key.is_empty() {
                return text;
            }
            text.replace(license_key, &license_key::mask(license_key))
        };
        Self {
            reason: self.reason.map(masked),
            message: self.message.map(masked),
            signature: self.signature,
        }
    }

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
            .unwrap_or("The License Server says that the license is not valid")
    }
}

/// Reads the answer to an activation.
#[must_use]
pub fn activation(reply: &Reply, question: &Question, trust: &Trust) -> Contact {
    classify(reply, question, trust, |answer| {
        let data = answer.get("data").and_then(Value::as_object);
        let data = data.ok_or("no data")?;
        let license = data
            .get("license")
            .map_or(Some(data), Value::as_object)
            .ok_or("no license")?;
        Ok((license, false))
    })
}

/// Reads the answer to a validation.
#[must_use]
pub fn validation(reply: &Reply, question: &Question, trust: &Trust) -> Contact {
    classify(reply, question, trust, |answer| {
        let inner = inner(answer).ok_or("no data")?;
        if inner.get("isValid") != Some(&Value::Bool(true)) {
            return Err("no isValid");
        }
        let license = inner.get("license").and_then(Value::as_object);
        let server_in_grace = inner.get("gracePeriodActive") == Some(&Value::Bool(true));
        Ok((license.ok_or("no license")?, server_in_grace))
    })
}

/// Reads the answer to a deactivation: a receipt, or the License Server's no.
/// Where keys are trusted, both are signed: nothing that stands between makes
/// a site give its license up in vain.
///
/// # Errors
/// `Ok(Err(_))` is the License Server's no; `Err(_)` is no contact.
pub fn deactivation(
    reply: &Reply,
    question: &Question,
    trust: &Trust,
) -> Result<Result<(), Denial>, NoContact> {
    let (status, answer) = read(reply)?;
    if let Some(refusal) = refusal(&answer) {
        return Ok(Err(judge_refusal(refusal, question, trust)?));
    }
    let unexpected = |what| NoContact::Unexpected { status, what };
    if !(200..300).contains(&status) {
        return Err(unexpected("neither success nor refusal"));
    }
    let Trust::Keys(_) = trust else {
        return Ok(Ok(()));
    };
    let signature = inner(&answer).and_then(|inner| inner.get("signature"));
    let receipt = Refusal {
        reason: None,
        message: None,
        signature: signature.and_then(Value::as_str).map(str::to_owned),
    };
    match judge_refusal(receipt, question, trust)? {
        Denial::Signed(document) if document.claims().reason == DenialReason::Deactivated => {
            Ok(Ok(()))
        }
        _ => Err(unexpected("no receipt")),
    }
}

/// Reads the answer to a heartbeat, which proves nothing about the license and
/// therefore need not be signed.
///
/// # Errors
/// `Ok(Err(_))` is the License Server's no; `Err(_)` is no contact.
pub fn acknowledgement(reply: &Reply) -> Result<Result<(), Refusal>, NoContact> {
    let (status, answer) = read(reply)?;
    if let Some(refusal) = refusal(&answer) {
        return Ok(Err(refusal));
    }
    if !(200..300).contains(&status) {
        let what = "neither success nor refusal";
        return Err(NoContact::Unexpected { status, what });
    }
    Ok(Ok(()))
}

/// Reads the answer to a question for key sets: the signed sets, in order.
/// Whether they are to be followed is up to [`crate::rotation`].
///
/// # Errors
/// One [`NoContact`] for each reason.
pub fn key_sets(reply: &Reply) -> Result<Vec<String>, NoContact> {
    let (status, answer) = read(reply)?;
    let chain = answer.get("chain").and_then(Value::as_array);
    let Some(chain) = chain.filter(|_| (200..300).contains(&status)) else {
        let what = "no chain of key sets";
        return Err(NoContact::Unexpected { status, what });
    };
    let texts = chain.iter().filter_map(Value::as_str);
    Ok(texts.map(str::to_owned).collect())
}

fn classify(
    reply: &Reply,
    question: &Question,
    trust: &Trust,
    find_license: impl FnOnce(&Map<String, Value>) -> Result<(&Map<String, Value>, bool), &'static str>,
) -> Contact {
    let judged = read(reply).and_then(|(status, answer)| {
        if let Some(refusal) = refusal(&answer) {
            let refusal = refusal.without_key(question.license_key);
            return judge_refusal(refusal, question, trust).map(Contact::Denied);
        }
        let unexpected = |what| NoContact::Unexpected { status, what };
        if !(200..300).contains(&status) {
            return Err(unexpected("neither success nor refusal"));
        }
        let (license, server_in_grace) = find_license(&answer).map_err(unexpected)?;
        let license = License::new(license.clone());
        if license.license_key().is_none() {
            return Err(unexpected("no licenseKey"));
        }
        let license = judge_license(license, question, trust)?;
        Ok(Contact::Confirmed(Confirmation {
            license,
            server_in_grace,
        }))
    });
    judged.unwrap_or_else(Contact::None)
}

fn judge_license(
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
    let claims = document.claims();
    check_binding(
        question,
        claims.nonce.as_deref(),
        &claims.installation_id,
        &claims.hardware_id,
        claims.seq,
    )?;
    let key = document.license().license_key().unwrap_or_default();
    if !license_key::same(key, question.license_key) {
        return Err(Mismatch::LicenseKey.into());
    }
    Ok(ConfirmedLicense::Signed(Box::new(document)))
}

fn judge_refusal(
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
    check_binding(
        question,
        claims.nonce.as_deref(),
        &claims.installation_id,
        &claims.hardware_id,
        claims.seq,
    )?;
    // Who stands in between must not ask about another license with our nonce.
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

/// A genuine document counts only as the answer to this very request.
pub(crate) fn check_binding(
    question: &Question,
    nonce: Option<&str>,
    installation_id: &str,
    hardware_id: &str,
    seq: u64,
) -> Result<(), Mismatch> {
    if nonce != Some(question.nonce) {
        return Err(Mismatch::Nonce);
    }
    if installation_id != question.installation_id {
        let found = installation_id.to_owned();
        return Err(Mismatch::Installation { found });
    }
    if hardware_id != question.hardware_id {
        return Err(Mismatch::Hardware);
    }
    match question.newest_seq {
        Some(newest) if seq <= newest => Err(Mismatch::Sequence { found: seq, newest }),
        _ => Ok(()),
    }
}

/// The answer as a JSON object, unless its status code says that it does not
/// come from the License Server's rules at all.
fn read(reply: &Reply) -> Result<(u16, Map<String, Value>), NoContact> {
    let (status, body) = match reply {
        Reply::Answer { status, body } => (*status, body),
        Reply::Failure(failure) => return Err(failure.clone().into()),
    };
    match status {
        300..400 => return Err(NoContact::Redirected { status }),
        407 | 511 => return Err(NoContact::SignInDemanded { status }),
        408 | 425 | 429 => return Err(NoContact::Busy { status }),
        500.. => return Err(NoContact::ServerFault { status }),
        _ => {}
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(answer)) => Ok((status, answer)),
        Ok(_) => {
            let what = "not a JSON object";
            Err(NoContact::Unexpected { status, what })
        }
        Err(_) => Err(NoContact::NotJson { status }),
    }
}

/// `data` where the answer is wrapped, the answer itself where it is bare.
fn inner(answer: &Map<String, Value>) -> Option<&Map<String, Value>> {
    answer.get("data").map_or(Some(answer), Value::as_object)
}

/// The refusal in an answer, if it is one.
fn refusal(answer: &Map<String, Value>) -> Option<Refusal> {
    let inner = inner(answer);
    let is_false =
        |object: &Map<String, Value>, field| object.get(field) == Some(&Value::Bool(false));
    let refused =
        is_false(answer, "success") || inner.is_some_and(|inner| is_false(inner, "isValid"));
    if !refused {
        return None;
    }
    let error = answer.get("error");
    let text = |value: Option<&Value>| {
        let text = value?.as_str()?;
        // A database holds no NUL.
        let printable = text.chars().filter(|c| *c != '\0');
        let short: String = printable.take(LONGEST_TEXT).collect();
        Some(short).filter(|text| !text.is_empty())
    };
    let member = |value: Option<&Value>, name| text(value?.get(name));
    let of_inner = |name| text(inner?.get(name));
    Some(Refusal {
        reason: of_inner("reason").or_else(|| member(error, "code")),
        message: of_inner("message")
            .or_else(|| member(error, "message"))
            .or_else(|| text(error)),
        // Not shortened: a document is either whole or worthless.
        signature: inner
            .and_then(|inner| inner.get("signature"))
            .and_then(Value::as_str)
            .map(str::to_owned),
    })
}

/// Longest reason or message that is taken over from an answer, in characters.
const LONGEST_TEXT: usize = 1000;

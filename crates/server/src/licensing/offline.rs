//! Answers a request file with a license file.

use std::net::IpAddr;

use chrono::TimeDelta;
use license_core::offline::{
    FileError, OfflineRequest, Purpose, RequestFile, WrittenAhead, to_file,
};
use license_core::protocol::ActivateRequest;
use license_core::trial_secret::{NotASecret, TrialSecret};

use crate::app::App;
use crate::audit::Actor;
use crate::licensing::answer::answer;
use crate::licensing::document::Addressee;
pub use crate::licensing::lease_terms::OfflineLease;
use crate::licensing::sent_proof::CheckedProof;
use crate::licensing::site_answer::{AnswerError, SiteAnswer};
use crate::licensing::site_question::{ByFile, CallDetails, SiteQuestion};
use crate::licensing::start_trial::{TrialStart, answer_trial};
use crate::licensing::text_bounds::fits;

/// Why there is no license file.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The request cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A text in the request is longer than any real one.
    #[error("the request is not from a License Client: {0} is empty or too long")]
    Field(&'static str),
    /// The secret of a trial is not one.
    #[error("the request is not from a License Client: invalid trialSecret: {0}")]
    Secret(#[from] NotASecret),
    /// It is dated in the future.
    #[error(transparent)]
    WrittenAhead(#[from] WrittenAhead),
    /// The vendor answers no request files.
    #[error(
        "this License Server refuses request files because OFFLINE_DAYS is 0; to sign this \
         request, use 'license-server offline sign --offline-days 90'"
    )]
    NotOffered,
    /// The key sets that the site lacks do not fit into a file.
    #[error(
        "the site has version {known} of the key set, and the newer sets do not fit into a license file; install the output of 'license-server keys export' at the site as LICENSE_TRUSTED_KEYS, and write a new request"
    )]
    TooFarBehind {
        /// Version of the set that the site has.
        known: u64,
    },
    /// The request was not answered.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// A license file and its content.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The content of the request.
    pub request: OfflineRequest,
    /// The message for the site.
    pub answer: SiteAnswer,
    /// The file.
    pub file: String,
}

/// Maximum length of a text in a request, in characters: the width of its column.
const MAX_TEXT_CHARS: usize = 255;

/// Reads a request file, without answering it.
///
/// # Errors
/// If it is not a request file.
pub fn read(file: &str) -> Result<RequestFile, OfflineError> {
    let file = RequestFile::read(file)?;
    let request = &file.request;
    let nothing = String::new();
    let add_on_key = request.add_on_key.as_ref().unwrap_or(&nothing);
    for (field, text, may_be_empty) in [
        (
            "licenseKey",
            &request.license_key,
            request.purpose == Purpose::Trial,
        ),
        ("hardwareId", &request.hardware_id, false),
        ("installationId", &request.installation_id, false),
        ("nonce", &request.nonce, false),
        ("installationName", &request.installation_name, true),
        ("installationVersion", &request.installation_version, true),
        ("addOnKey", add_on_key, request.purpose != Purpose::Redeem),
    ] {
        if !fits(text, MAX_TEXT_CHARS) || (text.is_empty() && !may_be_empty) {
            return Err(OfflineError::Field(field));
        }
    }
    // What a request does not ask for must not decide how it is answered.
    if request.purpose != Purpose::Redeem && request.add_on_key.is_some() {
        return Err(OfflineError::Field("addOnKey"));
    }
    Ok(file)
}

/// What a request asks about a license; `None` if it asks for a trial.
#[must_use]
pub fn question(request: &OfflineRequest) -> Option<SiteQuestion> {
    match request.purpose {
        Purpose::Trial => None,
        Purpose::Activate => Some(SiteQuestion::Activate(ActivateRequest {
            license_key: request.license_key.clone(),
            hardware_id: request.hardware_id.clone(),
            installation_id: request.installation_id.clone(),
            installation_name: request.installation_name.clone(),
            installation_version: request.installation_version.clone(),
        })),
        Purpose::Renew => Some(SiteQuestion::Validate),
        Purpose::Redeem => {
            let add_on_key = request.add_on_key.clone().unwrap_or_default();
            Some(SiteQuestion::RedeemByFile(add_on_key))
        }
        Purpose::Deactivate => Some(SiteQuestion::Deactivate),
    }
}

/// Checks whether the vendor answers request files with a lease of this duration.
///
/// # Errors
/// [`OfflineError::NotOffered`].
pub fn check_offered(lease: TimeDelta) -> Result<(), OfflineError> {
    match lease > TimeDelta::zero() {
        true => Ok(()),
        false => Err(OfflineError::NotOffered),
    }
}

/// Answers a request file: a lease, a denial, or the receipt of a deactivation. The file
/// also contains the key sets that the site does not have yet.
///
/// # Errors
/// One [`OfflineError`] for each reason; nothing has changed then.
pub async fn sign(
    app: &App,
    file: RequestFile,
    lease: impl Into<OfflineLease>,
    by: Actor,
) -> Result<Signed, OfflineError> {
    sign_for(app, file, lease, by, None).await
}

/// The same for a caller at this address, which may start only so many trials.
///
/// # Errors
/// As [`sign`].
pub async fn sign_for(
    app: &App,
    file: RequestFile,
    lease: impl Into<OfflineLease>,
    by: Actor,
    address: Option<IpAddr>,
) -> Result<Signed, OfflineError> {
    let lease = lease.into();
    check_offered(lease.length())?;
    let proof = CheckedProof::of_file(&file);
    let request = file.request;
    request.check_written(app.clock.now())?;
    // Checked before anything is changed: the site could not read the file.
    let known = request.key_set;
    if !app.keys().path_from(known).is_complete {
        return Err(OfflineError::TooFarBehind { known });
    }
    let question = question(&request);
    let to = Addressee {
        license_key: request.license_key.clone(),
        sent_key: None,
        code: request.code().map(str::to_owned),
        nonce: Some(request.nonce.clone()),
        installation_id: request.installation_id.clone(),
        hardware_id: request.hardware_id.clone(),
    };
    let call = CallDetails {
        offline: Some(ByFile {
            lease,
            by,
            written_at: request.created_at,
        }),
        newest_seq: request.newest_seq,
        knows_entitlements: request.entitlements,
        proof,
        ..CallDetails::default()
    };
    let answer = match question {
        Some(question) => answer(app, &question, to, &call).await?,
        None => answer_trial(app, &trial(&request, address)?, to, &call).await?,
    };
    let document = match &answer {
        SiteAnswer::License(license) => license
            .get("signature")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default(),
        SiteAnswer::Deactivated { receipt } | SiteAnswer::Redeemed { receipt, .. } => receipt,
        SiteAnswer::Denied { signature, .. } => signature,
    };
    let file = to_file(&app.keys().path_from(known).documents, document);
    Ok(Signed {
        request,
        answer,
        file,
    })
}

/// The trial that a request asks for. An empty code means that there is none.
fn trial(request: &OfflineRequest, address: Option<IpAddr>) -> Result<TrialStart, NotASecret> {
    let code = Some(request.license_key.clone());
    let secret = request.trial_secret.as_deref().map(TrialSecret::parse);
    Ok(TrialStart {
        code: code.filter(|code| !code.is_empty()),
        secret: secret.transpose()?,
        installation_id: request.installation_id.clone(),
        installation_name: request.installation_name.clone(),
        installation_version: request.installation_version.clone(),
        hardware_id: request.hardware_id.clone(),
        address,
    })
}
